"""Opens a source of frames: a video file, an animation, an image or a folder of images."""

from __future__ import annotations

from pathlib import Path

from streamkind.errors import UsageError
from streamkind.video.deinterlace import Deinterlace
from streamkind.video.footage import VideoSource
from streamkind.video.format import VideoFormat
from streamkind.video.frames import ChoosePixFmt, Source, rgb24
from streamkind.video.images import ImageSource, is_still
from streamkind.video.sequence import SequenceSource, is_sequence
from streamkind.video.storage import as_path
from streamkind.video.timeline import check_times

__all__ = ["ImageSource", "SequenceSource", "Source", "VideoFormat", "VideoSource", "open_source"]


def open_source(
    path: str | Path,
    *,
    start: float = 0.0,
    duration: float | None = None,
    pix_fmt: ChoosePixFmt = rgb24,
    hwaccel: str = "none",
    fps: float | None = None,
    deinterlace: Deinterlace = "frame",
    video_stream: int | None = None,
) -> Source:
    """Open a video, an image or a folder of images, and decode the first frame.

    `start` and `duration`, in seconds, are for videos; the timeline of a part begins at about 0.
    `pix_fmt` chooses the pixel format of upright frames. `hwaccel` is the hardware that decodes:
    none, auto, or FFmpeg's name. `fps` is the rate of a folder of images, or of a raw stream such
    as .h264. `video_stream` is the index of the stream to read; None: the default one. Raises
    InputError, and UsageError for options that are not valid.
    """
    check_times(start, duration)
    path = as_path(path)
    if video_stream and (is_sequence(path) or is_still(path)):
        raise UsageError(
            f"video-stream={video_stream}: {path} has a single video, of pictures; leave it out"
        )
    if is_sequence(path) and (fps is not None or not is_still(path)):
        return SequenceSource(path, fps=fps, start=start, duration=duration)
    if is_still(path):
        return ImageSource(path, start=start, duration=duration)
    return VideoSource(
        path,
        start=start,
        duration=duration,
        pix_fmt=pix_fmt,
        hwaccel=hwaccel,
        deinterlace=deinterlace,
        fps=fps,
        video_stream=video_stream,
    )
