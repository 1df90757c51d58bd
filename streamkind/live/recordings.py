"""Lists the recordings in the output folders of a camera."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streamkind.errors import UsageError
from streamkind.live.config import CameraConfig
from streamkind.live.publish import RECORDING
from streamkind.live.secrets import resolve

WRITTEN_SECONDS = 10.0
"""A file whose last write is less than this time ago, in seconds, counts as being written."""
DIGITS = len("20261128-180000")
"""Length of the date and time at the beginning of a recording's name, in characters."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording, which is one file."""

    name: str
    begins: float
    """Unix time of the first frame, from the file's name."""
    ends: float
    """Unix time of the last write."""
    bytes: int
    writing: bool
    """Whether it is still being written."""


def recordings_of(
    config: CameraConfig, now: float, *, since: float = 0.0, until: float = float("inf")
) -> list[Recording]:
    """Return the recordings that begin from `since` on and before `until`, the oldest first.

    All are Unix times in seconds.
    """
    found: dict[str, Recording] = {}
    for folder in folders_of(config):
        for path in _files(folder):
            begins = begin_of(path.name)
            if since <= begins < until:
                with suppress(FileNotFoundError):  # it was deleted meanwhile, to keep the limits
                    found.setdefault(path.name, _told(path, begins, now))
    return sorted(found.values(), key=lambda recording: (recording.begins, recording.name))


def span_of(config: CameraConfig) -> tuple[float, float] | None:
    """Return the Unix times at which the first and the last recording begin; None without any."""
    begins = [begin_of(path.name) for folder in folders_of(config) for path in _files(folder)]
    return (min(begins), max(begins)) if begins else None


def find_recording(config: CameraConfig, name: str) -> Path | None:
    """Return the file of a recording; None for any other name, and for a link."""
    for folder in folders_of(config):
        for path in _files(folder):
            if path.name == name:
                return path
    return None


def folders_of(config: CameraConfig) -> list[Path]:
    """Return the folders that a camera records to."""
    return [Path(resolve(url)) for url in config.to if is_folder(url)]


def is_folder(url: str) -> bool:
    """Return whether an output is a folder of recordings."""
    return _kind(url) == "folder"


def is_playlist(url: str) -> bool:
    """Return whether an output is HLS."""
    return _kind(url) == "playlist"


def _kind(url: str) -> str:
    with suppress(UsageError):  # a secret is missing; the output itself reports this
        place = resolve(url)
        if "://" not in place:
            return "playlist" if place.endswith(".m3u8") else "folder"
    return "other"


def begin_of(name: str) -> float:
    """Return the time in the name of a recording, Unix time; names without Z are local time."""
    try:
        told = time.strptime(name[:DIGITS], "%Y%m%d-%H%M%S")
        utc = name[DIGITS : DIGITS + 1] == "Z"
        return float(calendar.timegm(told)) if utc else time.mktime(told)
    except (ValueError, OverflowError):  # digits that are not a date
        return 0.0


def _files(folder: Path) -> Iterator[Path]:
    with suppress(OSError):  # it does not exist yet, or may not be read
        for path in folder.iterdir():
            if RECORDING.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                yield path


def is_written(last: float, now: float) -> bool:
    """Return whether a file is being written, by the Unix time of its last write.

    A time that is far in the future comes from a wrong clock.
    """
    return abs(now - last) < WRITTEN_SECONDS


def _told(path: Path, begins: float, now: float) -> Recording:
    told = path.stat()
    writing = is_written(told.st_mtime, now)
    return Recording(path.name, begins, told.st_mtime, told.st_size, writing)
