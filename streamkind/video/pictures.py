"""Decodes the progressive frames of a video from any position on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from streamkind.video.bridge import may_step
from streamkind.video.decode import Decoder
from streamkind.video.deinterlace import Deinterlace, Deinterlacer, progressive
from streamkind.video.seeking import find_place, find_target
from streamkind.video.timeline import FrameClock


class Pictures:
    """Decodes one stream, and can begin again at another position."""

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        path: Path,
        *,
        fps: float | None,
        deinterlace: Deinterlace,
    ) -> None:
        """Use `fps` for a stream without time stamps. Raises UsageError for other streams."""
        self.clock = FrameClock(container, stream, path, fps)
        """Gives the frames their times. Each `start` restarts it."""
        self.place: int | None = None
        """Byte of the file at which `seek` began to read; None if it used an index or none."""
        self.indexed = True
        """Whether `seek` has found its positions by an index so far."""
        self._container, self._stream, self._path = container, stream, path
        self._deinterlace = deinterlace

    def start(self, place: int | None = None) -> Iterator[av.VideoFrame]:
        """Decode from byte `place` of the file, or from the present position of the container."""
        if place is not None:
            self._container.seek(place, unsupported_byte_offset=True)
        self.decoder = decoder = Decoder(self._container, self._stream, self._path)
        self.clock.restart()
        self.deinterlacer = Deinterlacer(self._deinterlace, self.clock.time_base)
        stamped = self.clock.stamp(decoder, lambda: decoder.skipped)
        return progressive(stamped, self.deinterlacer)

    def seek(
        self, pictures: Iterator[av.VideoFrame], pts: int, *, origin: int, indexed: bool
    ) -> Iterator[av.VideoFrame]:
        """Return frames from the keyframe before `pts` on, or from the beginning.

        `pictures` are the frames from the beginning, whose pts is `origin`. With `indexed`, the
        time stamps of the file are known not to step.
        """
        if pts == origin:
            return pictures
        if self.deinterlacer.found:  # it needs the frame before, too
            pts = max(origin, pts - self.clock.step)
        if self.clock.missing:
            return self._count(pictures, pts // self.clock.step)
        if may_step(self._container) and not indexed:
            self.place = find_place(self._path, self._stream.index, pts)
            pictures = pictures if self.place is None else self.start(self.place)
            self.decoder.skip_to(pts)
            return pictures
        found = find_target(self._path, self._stream.index, pts)
        self.indexed = found is not None
        if found is None:
            self.decoder.skip_to(pts)
            return pictures
        for target in (found, origin):
            try:
                self._container.seek(target, stream=self._stream)
            except av.FFmpegError:
                return pictures
            pictures = self.start()
            first = next(pictures, None)
            if first is not None:
                pictures = chain([first], pictures)
                if first.pts is not None and first.pts <= pts:
                    break
        return pictures

    def _count(self, pictures: Iterator[av.VideoFrame], number: int) -> Iterator[av.VideoFrame]:
        """Return frames from the keyframe before frame `number` on, if frames can be counted."""
        if self.deinterlacer.found or not self.decoder.counts:
            return pictures  # a packet may be a field instead of a frame
        pictures = self.start(0)
        self.decoder.count_to(number)
        return pictures
