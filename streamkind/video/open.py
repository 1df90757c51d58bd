"""The public reader and writer of videos, for programs that process the frames themselves."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from streamkind.errors import OutputError, UsageError
from streamkind.video.encoders import usual_codec
from streamkind.video.frames import Frame, size_of
from streamkind.video.sink import VideoSink
from streamkind.video.source import VideoSource, open_source


def open_video(
    path: str | Path, *, start: float = 0.0, duration: float | None = None
) -> VideoSource:
    """Open a video for reading: a context manager that yields upright frames in order, once.

    Each is a `Frame` of (H, W, 3) uint8 RGB. `start` and `duration` are in seconds. Frames that
    cannot be decoded are left out and counted in `lost`. Raises InputError if nothing can be
    decoded, and UsageError for anything but a video.
    """
    source = open_source(path, start=start, duration=duration)
    if not isinstance(source, VideoSource):
        source.close()
        raise UsageError(f"{path}: expected a video, got an image or a folder of images")
    return source


def create_video(
    path: str | Path,
    *,
    like: VideoSource,
    codec: str = "auto",
    crf: int | None = None,
    preset: str | None = None,
) -> VideoWriter:
    """Create a video for processed frames of `like`: a context manager with `write(frame)`.

    Size, frame rate and colour are those of `like`, which must stay open. Its sound, subtitles,
    chapters and tags are copied. Frames of `like` need not all be written. `codec`, `crf` and
    `preset` are those of `enhance`. The file appears under its name when the block ends without an
    exception; otherwise no file is left. Raises UsageError and OutputError.
    """
    if not isinstance(like, VideoSource):
        raise UsageError(f"like must be a video of open_video(), got {like!r}")
    codec = usual_codec(path, codec)
    sink = VideoSink(Path(path), like, codec=codec, crf=crf, preset=preset)
    return VideoWriter(sink, (like.format.width, like.format.height))


class VideoWriter:
    """Writes the frames of a video. `create_video` returns one."""

    def __init__(self, sink: VideoSink, size: tuple[int, int]) -> None:
        self._sink, self._size = sink, size
        self.frames = 0
        """Number of frames written so far."""
        self._closed = False

    @property
    def warnings(self) -> list[str]:
        """Messages for the user, such as on streams that the output cannot hold."""
        return self._sink.warnings

    def write(self, frame: Frame) -> None:
        """Encode one frame of the size of the video. Raises UsageError and OutputError."""
        if self._closed:
            raise UsageError(f"{self._sink.path}: this video is closed; create another one")
        if not isinstance(frame, Frame):
            raise UsageError(
                f"expected a Frame, got {type(frame).__name__}; use frame.with_pixels(picture)"
            )
        if (size := size_of(frame.data)) != self._size:
            (width, height), (wanted, rows) = size, self._size
            raise UsageError(
                f"a frame is {width}x{height}, expected {wanted}x{rows}, as the video `like`;"
                " scale it first"
            )
        self._sink.write(frame)
        self.frames += 1

    def __enter__(self) -> Self:
        """Return the writer, already open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publish the file. On an exception, or if no frame was written, remove it.

        It may be called twice.
        """
        if self._closed:
            return
        self._closed = True
        if kind is None and not self.frames:
            empty = OutputError(f"{self._sink.path}: no frame was written, so no file is made")
            self._sink.__exit__(OutputError, empty, None)
            raise empty
        self._sink.__exit__(kind, error, trace)
