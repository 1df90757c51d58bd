"""Finds where in a file to begin reading for a position, or that it has to be read whole.

MPEG-TS and MPEG-PS have no index, and their clock may step: what is behind a step can be found only
by reading all that is before it. So the clock is looked at every two seconds of the way.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from streamkind.video.demux import PacketReader, open_input, read_only
from streamkind.video.spool import Spool
from streamkind.video.storage import is_local

_HEAD_SECONDS = 10
"""Seconds at the beginning of a file that are read whole. It tells the bytes per second."""
_STRIDE_SECONDS = 2
"""Seconds between two looks, by the bytes per second before: twice the least step of the clock that
counts (`BACK_SECONDS`), so that a step back shows."""
_LEAD_SECONDS = 2
"""Seconds to begin before a position: packets of other streams may lie later in the file than those
of the video, by up to 0.7 s in what FFmpeg writes."""

_EARLIER_SECONDS = (0, 1, 10)
"""Seconds before a position for which FFmpeg is asked, until it comes to a keyframe before it."""


class _Look(NamedTuple):
    """What the clock of the video says at a place of the file."""

    place: int
    """Where reading began, in bytes."""
    found: int
    """Where the first packet of the video is, in bytes."""
    time: Fraction
    """Its decoding time, in seconds on the file's own clock."""


def find_place(path: Path, index: int, pts: int) -> int | None:
    """Return a place in bytes; reading from it gives what reading all gives from `pts` on.

    From there to the frame at `pts` of stream number `index` there is a keyframe. None: the file
    has to be read from its beginning, as the clock steps before `pts`, or `pts` is near. Files of
    remote storage always are: some kinds cannot be open twice.
    """
    if isinstance(path, Spool) or not is_local(path):
        return None
    with open_input(path) as container:
        stream = container.streams[index]
        assert isinstance(stream, VideoStream)
        read_only(container, [stream])
        walk = _Walk(container, stream)
        try:
            return walk.place_before(pts) if walk.reaches(pts) else None
        except av.FFmpegError:
            return None


def find_target(path: Path, index: int, pts: int) -> int | None:
    """Return for which pts to seek, so that FFmpeg comes to a keyframe at or before `pts`.

    None: it does not, as in ASF without an index. In some files it comes to a later keyframe and
    reports success; in others it searches for the dts, which comes before the pts. Files of remote
    storage are not tried, as some kinds cannot be open twice.
    """
    if isinstance(path, Spool):
        return None
    if not is_local(path):
        return pts
    with open_input(path) as container:
        stream = container.streams[index]
        read_only(container, [stream])
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


class _Walk:
    """Goes through a file in strides."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._container, self._stream = container, stream
        self._time_base = stream.time_base or Fraction(1, 90_000)
        self._looks: list[_Look] = []

    def reaches(self, pts: int) -> bool:
        """Return whether the clock goes on without a step up to `pts`, which is not near."""
        goal = pts * self._time_base - _LEAD_SECONDS
        if not self._read_head(goal):
            return False
        while self._looks[-1].time <= goal:
            before, here = self._looks[-2:]
            rate = (here.found - before.found) / (here.time - before.time)
            there = self._look(here.place + max(1, round(rate * _STRIDE_SECONDS)))
            if there is None or there.found <= here.found or there.time <= here.time:
                return False
            passed = (there.time - here.time) / _STRIDE_SECONDS
            # A step may hide in the stride before, if that is longer by as much.
            if not 0.5 < passed < 2 and not self._is_steady(before, there):
                return False
            self._looks.append(there)
        return True

    def place_before(self, pts: int) -> int | None:
        """Return the last place that is early enough, with a keyframe between it and `pts`."""
        goal = pts * self._time_base - _LEAD_SECONDS
        early = [look for look in self._looks[1:] if look.time <= goal]
        end = pts
        for look in reversed(early):
            begin = round(look.time / self._time_base)
            if self._has_keyframe(look.place, begin, end, pts):
                return look.place
            end = begin
        return None

    def _has_keyframe(self, place: int, begin: int, end: int, pts: int) -> bool:
        """Return whether a keyframe that is shown until `pts` has its dts in `begin` to `end`."""
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
        """Read the beginning of the file. Return False if `goal` is in it, or a step."""
        reader = PacketReader(self._container, [self._stream])
        first = None
        for packet in reader:
            look = self._seen(packet, packet.pos or 0)
            if look is None:
                continue
            first = first or look
            if goal < first.time + _HEAD_SECONDS:
                return False
            if look.time - first.time >= _HEAD_SECONDS:
                self._looks = [first, look]
                return not _moved(reader) and look.found > first.found
        return False

    def _look(self, place: int) -> _Look | None:
        self._container.seek(place, unsupported_byte_offset=True)
        reader = PacketReader(self._container, [self._stream])
        looks = (self._seen(packet, place) for packet in reader)
        look = next((look for look in looks if look is not None), None)
        return None if _moved(reader) else look

    def _seen(self, packet: av.Packet[VideoStream], place: int) -> _Look | None:
        if packet.dts is None or packet.pos is None:
            return None
        return _Look(place, packet.pos, packet.dts * self._time_base)

    def _is_steady(self, begin: _Look, end: _Look) -> bool:
        """Read all between two places. Return whether the clock goes on without a step."""
        self._container.seek(begin.place, unsupported_byte_offset=True)
        reader = PacketReader(self._container, [self._stream])
        for packet in reader:
            if packet.pos is not None and packet.pos >= end.found:
                return not _moved(reader)
        return False


def _moved(reader: PacketReader) -> bool:
    return reader.bridge is not None and reader.bridge.moved
