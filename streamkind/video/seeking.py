"""Finds the byte from which a file is read to reach a position, or that it must be read completely.

MPEG-TS and MPEG-PS have no index, and their time stamps may step. The times after a step are known
only to a reader that has read everything before it. So this module reads one time stamp every two
seconds of video, up to the position, to check that they do not step.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from streamkind.video.demux import PacketReader, open_input, read_only
from streamkind.video.pipe_input import PipeInput
from streamkind.video.storage import is_local

_HEAD_SECONDS = 10
"""Length of the beginning of a file that is read completely, in seconds. It gives the bytes per
second."""
_STRIDE_SECONDS = 2
"""Distance of two readings of the clock, in seconds of video, chosen by hand. It is converted to
bytes by the bytes per second so far."""
_LEAD_SECONDS = 2
"""Time before a position at which reading begins, in seconds. In files of FFmpeg, audio is up to
0.7 s later in the file than the video of the same time."""
_EARLIER_SECONDS = (0, 1, 10)
"""Seconds before a position to which FFmpeg seeks in turn, until a keyframe is early enough."""


class _ClockReading(NamedTuple):
    """The time of the first video packet after a byte of the file."""

    place: int
    """Byte at which reading began."""
    found: int
    """Byte of the first video packet."""
    time: Fraction
    """Decoding time of that packet, in seconds on the file's own clock."""


def find_place(path: Path, index: int, pts: int) -> int | None:
    """Return the byte of the file from which to read for the frames from `pts` on.

    A keyframe lies between it and the frame at `pts` of stream `index`. Return None if the file
    must be read from its beginning: time stamps step before `pts`, or `pts` is near the beginning.
    Files of remote storage always give None, because some kinds cannot be opened twice.
    """
    if isinstance(path, PipeInput) or not is_local(path):
        return None
    with _opened(path, index) as (container, stream):
        search = _ClockSearch(container, stream)
        try:
            return search.place_before(pts) if search.reaches(pts) else None
        except av.FFmpegError:
            return None


def find_target(path: Path, index: int, pts: int) -> int | None:
    """Return the pts to which FFmpeg must seek to reach a keyframe at or before `pts`.

    Return None if FFmpeg reaches none, as in ASF without an index. In some files, FFmpeg reaches a
    later keyframe and reports success. In others, it searches by dts, which is before the pts.
    Files of remote storage are not tried, because some kinds cannot be opened twice.
    """
    if isinstance(path, PipeInput):
        return None
    if not is_local(path):
        return pts
    with _opened(path, index) as (container, stream):
        for seconds in _EARLIER_SECONDS:
            target = pts - round(seconds / (stream.time_base or Fraction(1, 90_000)))
            try:
                container.seek(target, stream=stream)
            except av.FFmpegError:
                return None
            packets = PacketReader(container, [stream])
            stamps = (
                packet.pts if packet.pts is not None else packet.dts
                for packet in packets
                if packet.is_keyframe
            )
            found = next((stamp for stamp in stamps if stamp is not None), None)
            if found is not None and found <= pts:
                return target
    return None


@contextmanager
def _opened(path: Path, index: int) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file once more, to read stream `index` alone."""
    with open_input(path) as container:
        stream = container.streams[index]
        assert isinstance(stream, VideoStream)
        read_only(container, [stream])
        yield container, stream


class _ClockSearch:
    """Reads the clock of a file at regular distances."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container, self._stream = container, stream
        self._time_base = stream.time_base or Fraction(1, 90_000)
        self._readings: list[_ClockReading] = []

    def reaches(self, pts: int) -> bool:
        """Return whether time stamps do not step before `pts`. `pts` must not be in the head."""
        goal = pts * self._time_base - _LEAD_SECONDS
        if not self._read_head(goal):
            return False
        while self._readings[-1].time <= goal:
            before, here = self._readings[-2:]
            rate = (here.found - before.found) / (here.time - before.time)
            there = self._read_clock(here.place + max(1, round(rate * _STRIDE_SECONDS)))
            if there is None or there.found <= here.found or there.time <= here.time:
                return False
            passed = (there.time - here.time) / _STRIDE_SECONDS
            # Either the bit rate has changed, or time stamps step between the two readings. To know
            # which, everything between them is read.
            if not 0.5 < passed < 2 and not self._is_steady(before, there):
                return False
            self._readings.append(there)
        return True

    def place_before(self, pts: int) -> int | None:
        """Return the last byte that is early enough and has a keyframe between it and `pts`."""
        goal = pts * self._time_base - _LEAD_SECONDS
        early = [reading for reading in self._readings[1:] if reading.time <= goal]
        end = pts
        for reading in reversed(early):
            begin = round(reading.time / self._time_base)
            if self._has_keyframe(reading.place, begin, end, pts):
                return reading.place
            end = begin
        return None

    def _has_keyframe(self, place: int, begin: int, end: int, pts: int) -> bool:
        """Return whether there is a keyframe with dts in `begin` to `end`, and not after `pts`."""
        self._container.seek(place, unsupported_byte_offset=True)
        for packet in PacketReader(self._container, [self._stream]):
            if packet.dts is None or packet.pts is None or packet.dts < begin:
                continue
            if packet.dts >= end:
                return False
            if packet.is_keyframe and packet.pts <= pts:
                return True
        return False

    def _read_head(self, goal: Fraction) -> bool:
        """Read the beginning of the file. Return False if it contains `goal` or a step."""
        reader = PacketReader(self._container, [self._stream])
        first = None
        for packet in reader:
            reading = self._reading_of(packet, packet.pos or 0)
            if reading is None:
                continue
            first = first or reading
            if goal < first.time + _HEAD_SECONDS:
                return False
            if reading.time - first.time >= _HEAD_SECONDS:
                self._readings = [first, reading]
                return not _moved(reader) and reading.found > first.found
        return False

    def _read_clock(self, place: int) -> _ClockReading | None:
        self._container.seek(place, unsupported_byte_offset=True)
        reader = PacketReader(self._container, [self._stream])
        readings = (self._reading_of(packet, place) for packet in reader)
        reading = next((reading for reading in readings if reading is not None), None)
        return None if _moved(reader) else reading

    def _reading_of(self, packet: av.Packet[VideoStream], place: int) -> _ClockReading | None:
        if packet.dts is None or packet.pos is None:
            return None
        return _ClockReading(place, packet.pos, packet.dts * self._time_base)

    def _is_steady(self, begin: _ClockReading, end: _ClockReading) -> bool:
        """Read everything between two readings. Return whether time stamps do not step there."""
        self._container.seek(begin.place, unsupported_byte_offset=True)
        reader = PacketReader(self._container, [self._stream])
        for packet in reader:
            if packet.pos is not None and packet.pos >= end.found:
                return not _moved(reader)
        return False


def _moved(reader: PacketReader) -> bool:
    return reader.bridge is not None and reader.bridge.moved
