"""Converts interlaced video to progressive video, by FFmpeg's filter bwdif."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, Literal, get_args

import av
from av.filter import Graph

from streamkind.errors import UsageError

Deinterlace = Literal["frame", "field", "off"]
"""An interlaced frame becomes one frame, becomes one frame for each field, or is not changed."""
_MODES = {"frame": "send_frame", "field": "send_field"}
"""Modes of FFmpeg's filter bwdif."""


def check_deinterlace(mode: str) -> None:
    """Raise UsageError for an unknown mode."""
    if mode not in get_args(Deinterlace):
        known = ", ".join(get_args(Deinterlace))
        raise UsageError(f"deinterlace must be one of {known}, got '{mode}'")


class Deinterlacer:
    """Converts decoded frames to progressive ones. Use it from one thread only.

    Frames before the first interlaced frame are returned at once. Later frames are returned one
    frame late. Frames that are not interlaced are not changed.
    """

    def __init__(self, mode: Deinterlace, time_base: Fraction) -> None:
        """Return frames whose `pts` and durations are in units of `time_base`."""
        check_deinterlace(mode)
        self.found = False
        """Whether any frame so far was interlaced."""
        self._mode = mode
        self._time_base = time_base
        self._graph: Graph | None = None
        self._kind: tuple[Any, ...] = ()

    @property
    def notes(self) -> list[str]:
        """One message if the video is interlaced; else none."""
        if not self.found or self._mode == "off":
            return []
        each = "frame" if self._mode == "frame" else "field"
        return [
            f"the video is interlaced: it is deinterlaced to one frame for each {each}"
            " (--deinterlace frame, field or off)"
        ]

    def rate(self, rate: Fraction | None) -> Fraction | None:
        """Return the frame rate of the output for the rate of the input, in frames per second.

        Raises UsageError if the time base is too coarse to separate the fields of a frame.
        """
        if not self.found or self._mode != "field" or rate is None:
            return rate
        if rate * self._time_base > Fraction(1, 2):
            raise UsageError(
                f"deinterlace=field: the time base is {self._time_base} s, which is too coarse"
                " for two fields in a frame; choose frame, or first: ffmpeg -i IN -c copy OUT.mkv"
            )
        return 2 * rate

    def __call__(self, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Take a frame, and return the frames that are ready. None is the end of the video."""
        if frame is None:
            return self._flush()
        self.found = self.found or frame.interlaced_frame
        if self._mode == "off" or not self.found or frame.pts is None:
            return [frame]
        kind = frame.width, frame.height, frame.format.name
        late = self._flush() if kind != self._kind else []
        if self._graph is None:
            self._graph, self._kind = self._build(frame), kind
        frame.time_base = self._time_base
        self._graph.push(frame)
        return [*late, *self._pull()]

    def _build(self, frame: av.VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=self._time_base,
        )
        filter = graph.add("bwdif", f"mode={_MODES[self._mode]}:parity=auto:deint=interlaced")
        graph.link_nodes(source, filter, graph.add("buffersink")).configure()
        return graph

    def _flush(self) -> list[av.VideoFrame]:
        if self._graph is None:
            return []
        self._graph.push(None)
        frames = list(self._pull())
        self._graph = None
        return frames

    def _pull(self) -> Iterator[av.VideoFrame]:
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(frame, av.VideoFrame)
            scale = (frame.time_base or self._time_base) / self._time_base  # bwdif halves ticks
            frame.pts = None if frame.pts is None else round(frame.pts * scale)
            frame.duration = round((frame.duration or 0) * scale)
            frame.time_base = self._time_base
            yield frame


def progressive(
    frames: Iterable[av.VideoFrame], deinterlacer: Deinterlacer
) -> Iterator[av.VideoFrame]:
    """Yield the progressive frames of a video."""
    for frame in frames:
        yield from deinterlacer(frame)
    yield from deinterlacer(None)
