"""Enhances several videos of one file in one run, such as those of a front and a rear camera."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from streamkind.errors import InputError
from streamkind.video.frames import rgb24
from streamkind.video.remarks import layer_note
from streamkind.video.sink import Sink, VideoSink, open_sink
from streamkind.video.source import Source, VideoSource
from streamkind.video.timeline import NothingThereError


class VideosOfFile:
    """A source and the other videos of its file, all of the same part of the file."""

    def __init__(self, source: Source, read: Callable[[], Source], *, others: bool = True) -> None:
        """Open the other videos, if `others`. `read` opens `source` once more.

        A video that cannot be decoded is left out, and a message says so.
        """
        self.main, self._read = source, read
        self.others: list[VideoSource] = []
        self._open = ExitStack()
        self._failures: list[str] = []
        if isinstance(source, VideoSource) and others:
            with ExitStack() as undo:
                undo.callback(self._open.close)
                for index in tuple(source.others):
                    self._open_other(source, index)
                undo.pop_all()

    def _open_other(self, source: VideoSource, index: int) -> None:
        try:
            other = source.open_other(index)
            if _is_layer(other, source):
                other.close()
                source.leave_out(index)
                self._failures.append(layer_note(index))
                return
            self.others.append(self._open.enter_context(other))
        except NothingThereError:
            source.leave_out(index)
            told = f"stream #{index} is left out: it has no frame in this part of the file"
            self._failures.append(told)
        except InputError as error:
            self._failures.append(f"stream #{index} is not enhanced: {error}")

    @property
    def total(self) -> int | None:
        """Number of frames of all videos. None if the container does not say."""
        counts = [video.format.frames for video in (*self.others, self.main)]
        return None if None in counts else sum(count or 0 for count in counts)

    @property
    def lost(self) -> int:
        """Number of frames of all videos that could not be decoded so far."""
        return sum(video.lost for video in (*self.others, self.main))

    def told(self, sink: Sink) -> list[str]:
        """Return all messages so far, about the videos and their output."""
        notes = [f"stream #{v.stream_index}: {note}" for v in self.others for note in v.warnings]
        return [*self.main.warnings, *self._failures, *notes, *sink.warnings]

    def write(self, path: str | Path, **options: Any) -> Sink:
        """Open the output of all videos. The options are those of `open_sink`."""
        return open_sink(path, self.main, others=self.others, **options)

    def each(self, sink: Sink) -> Iterator[tuple[Source, Sink]]:
        """Yield each video with its sink. The main video is last: the others are copied into it."""
        parts = sink.parts if isinstance(sink, VideoSink) else []
        for video, part in zip(self.others, parts, strict=True):
            with part:
                yield video, part
        yield self.main, sink

    def again(self, video: Source) -> Source:
        """Open one of the videos once more, in RGB."""
        if isinstance(video, VideoSource):
            return video.open_other(video.stream_index, rgb24)
        return self._read()

    def __enter__(self) -> Self:
        """Return the videos, already open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the other videos."""
        self._open.close()


def _is_layer(video: VideoSource, main: VideoSource) -> bool:
    """Return whether a video is the enhancement layer of `main`, as in the MPEG-TS of a Blu-ray."""
    half = 2 * video.format.width == main.format.width
    return video.dolby and not main.dolby and half
