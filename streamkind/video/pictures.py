"""The decoded, progressive pictures of a video, from any position on."""

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
from streamkind.video.places import find_place, find_target
from streamkind.video.timeline import FrameClock


class Pictures:
    """Decodes one stream, and decodes again from elsewhere."""

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
        """Gives the pictures their times. It starts anew with each `start`."""
        self.place: int | None = None
        """Where in the file `seek` began, in bytes, if it was not found by an index."""
        self.indexed = True
        """Whether positions are found by an index, as far as `seek` has tried."""
        self._container, self._stream, self._path = container, stream, path
        self._deinterlace = deinterlace

    def start(self, place: int | None = None) -> Iterator[av.VideoFrame]:
        """Decode from a place in bytes, or from where the container stands."""
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
        """Return pictures from the keyframe before `pts` on, or from the beginning.

        `pictures` are those from `origin` on, which is the beginning. With `indexed`, a clock that
        may step is known not to.
        """
        if pts == origin:
            return pictures
        if self.deinterlacer.found:  # it looks at the picture before, too
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
        """Return pictures from the keyframe before the one of a number on, if they are counted."""
        if self.deinterlacer.found or not self.decoder.counts:
            return pictures  # a packet may be a field
        pictures = self.start(0)
        self.decoder.count_to(number)
        return pictures
