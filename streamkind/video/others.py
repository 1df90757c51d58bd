"""Copies the other enhanced videos of a file, such as that of a rear camera, into the output."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from streamkind.errors import OutputError
from streamkind.video.containers import MP4_LIKE
from streamkind.video.demux import PacketReader, open_input
from streamkind.video.mux import PacketTimes
from streamkind.video.source import VideoSource

PART_SUFFIX = ".nut"
"""Ending of a part's file. NUT holds every time base and the output of every encoder."""
AddVideo = Callable[[OutputContainer], VideoStream]
"""Adds the stream of an encoder to a container, and returns it."""


@dataclass(frozen=True, slots=True)
class Part:
    """The file of a video, or of a part of a video, that VideoSink has written."""

    path: Path
    frames: int
    end_pts: int
    """End of its last frame, in the time base of the source."""


class OtherVideo:
    """A video that is first enhanced into a file of its own, and then copied from that file."""

    def __init__(
        self, source: VideoSource, add: AddVideo, time_base: Fraction, part: Callable[[], Part]
    ) -> None:
        """Copy a video in `time_base`. `add` adds its stream. `part` returns the enhanced video."""
        self.index = source.stream_index
        """Index of the stream in the input."""
        self._add, self._time_base, self._part = add, time_base, part
        self._source = source
        self._times = PacketTimes(time_base)
        self._packets: Generator[av.Packet[Any], None, None] | None = None
        self._waiting: av.Packet[Any] | None = None

    def again(self) -> OtherVideo:
        """Return a copy that has not been read."""
        return OtherVideo(self._source, self._add, self._time_base, self._part)

    def add(self, container: OutputContainer) -> VideoStream:
        """Add the stream to a container."""
        self._output = container
        self._stream = self._add(container)
        return self._stream

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copy the packets before `seconds` of the output's timeline; all the rest for None."""
        if self._packets is None:
            self._packets = self._read(self._part())
            self._waiting = next(self._packets, None)
        while self._waiting is not None:
            packet = self._waiting
            if seconds is not None and (packet.dts or 0) * self._time_base > seconds:
                return
            self._times.complete(packet)
            self._waiting = next(self._packets, None)
            if self._waiting is None and self._output.format.name in MP4_LIKE:
                self._times.stretch(packet)
            packet.stream = self._stream
            self._output.mux_one(packet)

    def close(self) -> None:
        """Close the file of the part. It may be called twice."""
        if self._packets is not None:
            self._packets.close()

    def _read(self, part: Part) -> Generator[av.Packet[Any], None, None]:
        # The times of a part count from the first frame of the source, or from the cut.
        tick, whole = self._source.format.time_base, self._source.cut is None
        begin = self._source.start_pts * tick if whole else Fraction(0)
        origin = round((begin - self._source.origin) / self._time_base) if whole else 0
        end = part.end_pts * tick - begin
        self._times.expect(origin, 0)
        self._times.expect(origin + round(end / self._time_base), 0)
        for packet in packets_of(part, self._stream.codec_context.extradata):
            move(packet, self._time_base, origin)
            yield packet


def packets_of(part: Part, extradata: bytes | None) -> Iterator[av.Packet[Any]]:
    """Yield the packets of a part. Raises OutputError for another encoder or number of frames."""
    frames = 0
    with open_input(part.path) as container:
        stream = container.streams.video[0]
        if extradata is not None and stream.codec_context.extradata != extradata:
            raise OutputError(f"{part.path}: made by another encoder; delete it and run again")
        for packet in PacketReader(container, [stream]):
            frames += 1
            yield packet
    if frames != part.frames:
        raise OutputError(
            f"{part.path}: {frames} frames in it, expected {part.frames}; delete it and run again"
        )


def move(packet: av.Packet[Any], time_base: Fraction, origin: int) -> None:
    """Convert the times of a packet to `time_base`, counted from `origin`."""
    scale = packet.time_base / time_base
    packet.pts = origin + round((packet.pts or 0) * scale)
    packet.dts = None if packet.dts is None else origin + round(packet.dts * scale)
    packet.duration = 0  # NUT stores no durations; the muxer derives them from the next packet
    packet.time_base = time_base
