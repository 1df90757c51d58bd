"""Finds FFmpeg's format for the name of an output, and refuses names that cannot be a video."""

from __future__ import annotations

from pathlib import Path

import av

from streamkind.errors import OutputError, UsageError
from streamkind.video.image_files import ANIMATED_SUFFIXES, IMAGE_SUFFIXES
from streamkind.video.publish import STDOUT, check_not_input
from streamkind.video.source import Source, VideoSource

_NO_FILE = 0x1  # AVFMT_NOFILE: playlists with their segments

_FORMATS = {".m4v": "mp4", ".png": "apng", ".nut": "nut", ".y4m": "yuv4mpegpipe"}
"""Formats for endings for which FFmpeg would choose another format, and for endings of `pipe:1`."""
_NO_VIDEO = ("none", "png")
"""Default video codecs of FFmpeg's audio formats: none, or PNG for cover art."""


def format_of(path: Path, url: str) -> str:
    """Return FFmpeg's name of the format for an output. `url` is the place where it is written.

    Raises UsageError for a format that holds no video.
    """
    kind = _FORMATS.get(path.suffix.lower())
    try:
        probe = av.open(url, "w", format=kind)  # nothing is written yet
    except (av.FFmpegError, ValueError) as exc:
        raise UsageError(
            f"{path}: unknown kind of file; expected a name ending in .mp4, .mkv or .mov"
        ) from exc
    name: str = probe.format.name
    if probe.format.flags & _NO_FILE:
        raise UsageError(
            f"{path}: a {name} output consists of many files; expected a name ending in .mp4 or"
            f" .mkv; afterwards `ffmpeg -i OUT.mp4 -c copy {path.name}` makes them"
        )
    if probe.default_video_codec in _NO_VIDEO:
        raise UsageError(
            f"{path}: {name} files hold no video; expected a name such as {path.stem}.mp4"
        )
    if url == STDOUT:
        probe.close()
    return name


def check_name(path: Path, source: Source) -> None:
    """Raise UsageError if the output is a folder, the input itself, or named as a still image.

    Raises OutputError for a name that the file system refuses.
    """
    check_not_input(path, source.path)
    try:
        folder = path.is_dir()
    except OSError as exc:
        raise OutputError(f"{path}: {exc.strerror}; choose another name") from exc
    if folder:
        raise UsageError(f"{path}: is a folder; expected the name of a file to write")
    animated = ANIMATED_SUFFIXES - {".tif", ".tiff"}
    if isinstance(source, VideoSource):
        animated -= {".png"}  # the ending of an animated PNG is .apng
    if path.suffix.lower() in IMAGE_SUFFIXES - animated:
        raise UsageError(f"{path}: the input is a video; expected a name such as {path.stem}.mp4")
