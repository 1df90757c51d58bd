"""Finds and lists videos in the folders that the page shows, and nothing outside them."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from streamkind.batch.files import is_wanted
from streamkind.errors import InputError, UsageError
from streamkind.platform import WINDOWS
from streamkind.video.storage import natural

UPLOADS = "uploads"
"""Name of the folder for files that were dropped on the page."""
MOST_LISTED = 2000
"""Largest number of entries of a folder that are shown."""
FOREIGN = ("\\", ":") if WINDOWS else ()
"""Characters that separate paths, and do not occur in names."""


class UnknownPlaceError(InputError):
    """A place that does not exist, or is not shown."""


@dataclass(frozen=True)
class Listed:
    """A video in a folder."""

    place: str
    """Place of the file: the key of its folder, and the path below that folder, with /."""
    name: str
    size: int
    """Size in bytes."""
    modified: float
    """Unix time of the last change, in seconds."""


@dataclass(frozen=True)
class Folder:
    """A folder that can be opened."""

    place: str
    name: str


@dataclass(frozen=True)
class Listing:
    """The content of a folder: folders and videos, in natural order (2 before 10)."""

    place: str
    folders: list[Folder]
    files: list[Listed]
    more: bool = False
    """Whether the folder has more entries than are listed."""


class Library:
    """Finds files by their place: the key of a folder of the command, and a path below it.

    Hidden names are refused. Links are followed only where they stay in the same folder.
    """

    def __init__(self, folders: Sequence[Path], uploads: Path) -> None:
        """Use the folders that the user named. Raises UsageError if one cannot be shown."""
        for folder in folders:
            if not folder.is_dir():
                raise UsageError(f"{folder}: no such folder; name folders with videos")
        for folder in (*folders, uploads):
            if not is_utf8(str(folder.resolve())):
                raise UsageError(
                    f"{str(folder)!a}: the page can only show names in UTF-8; rename the folder"
                )
        self.uploads = uploads
        known = {f"{number}": folder for number, folder in enumerate(folders, 1)}
        self._folders = {key: path.resolve() for key, path in known.items()}

    def folders(self) -> list[Folder]:
        """Return the folders of the command."""
        return [Folder(key, path.name or str(path)) for key, path in self._folders.items()]

    def find(self, place: str) -> Path:
        """Return the path of a place. Raises InputError if it does not exist or is not shown.

        The message is the same in both cases, so that it does not show which files exist.
        """
        key, *names = place.split("/")
        root = self.uploads.resolve() if key == UPLOADS else self._folders.get(key)
        try:
            if root is None or any(is_refused(name) for name in names):
                raise FileNotFoundError(place)
            path = root.joinpath(*names).resolve(strict=True)
            path.relative_to(root)  # a link may lead elsewhere
        except (OSError, ValueError, RuntimeError) as exc:  # RuntimeError: links in a circle
            raise unknown(place) from exc
        return path

    def file(self, place: str) -> Path:
        """Return the path of a video. Raises InputError."""
        path = self.find(place)
        if not stat.S_ISREG(path.stat().st_mode) or not is_wanted(path, ()):
            raise unknown(place)
        return path

    def again(self, path: Path) -> Path:
        """Return a path that was shown before. Raises InputError if it is not shown any more."""
        for key, root in (*self._folders.items(), (UPLOADS, self.uploads.resolve())):
            if path.is_relative_to(root):
                return self.file("/".join((key, *path.relative_to(root).parts)))
        raise unknown(path.name)

    def list(self, place: str) -> Listing:
        """Return what a folder holds; for "", the folders of the command. Raises InputError."""
        if not place:
            return Listing("", self.folders(), [])
        if place == UPLOADS and not self.uploads.exists():
            return Listing(place, [], [])
        folder = self.find(place)
        if not folder.is_dir():
            raise unknown(place)
        found = Listing(place, [], [])
        try:
            names = sorted(os.listdir(folder), key=natural)
        except OSError as exc:
            raise InputError(
                f"{place}: cannot be read ({exc.strerror}); check its permissions and the disk"
            ) from exc
        for name in names:
            if len(found.files) + len(found.folders) >= MOST_LISTED:
                return replace(found, more=True)
            self._add(found, f"{place}/{name}", name)
        return found

    def _add(self, found: Listing, place: str, name: str) -> None:
        """Add an entry to a listing, unless it is hidden, leads elsewhere or is no video."""
        try:
            path = self.find(place)
            told = path.stat()
        except (InputError, OSError):
            return
        if not is_utf8(name):
            return
        if stat.S_ISDIR(told.st_mode):
            found.folders.append(Folder(place, name))
        elif stat.S_ISREG(told.st_mode) and is_wanted(path, ()):
            found.files.append(Listed(place, name, told.st_size, told.st_mtime))


def is_utf8(name: str) -> bool:
    """Return whether a name can be written as JSON. Linux allows any bytes in names."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_refused(name: str) -> bool:
    """Return whether a name is empty, hidden, or leads out of its folder."""
    return not name or name.startswith(".") or any(c in name for c in ("/", "\0", *FOREIGN))


def unknown(place: str) -> UnknownPlaceError:
    """Return the error for a place that does not exist, or is not shown."""
    return UnknownPlaceError(
        f"{place}: not a video or folder that this page shows; GET /api/files lists them"
    )
