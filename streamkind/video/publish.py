"""Publishes results: a result appears under its name when it is complete, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import weakref
from pathlib import Path

from streamkind.errors import OutputError, UsageError
from streamkind.platform import replace, sync

STDOUT = "pipe:1"
"""FFmpeg's name of standard output. The path of a result that is sent there is this name, with an
ending for the format."""


def is_stdout(path: Path) -> bool:
    """Return whether a result is to be sent to standard output."""
    return path.stem == STDOUT and path.parent == Path()


def check_not_input(output: Path, source: Path) -> None:
    """Raise UsageError if both are the same file, also if one is a link."""
    try:
        same = os.path.samefile(output, source)
    except (OSError, ValueError):  # no such file, or no name of a file
        return
    except TypeError:  # one is not on a disk
        same = str(output) == str(source)
    if same:
        raise UsageError(f"{output}: input and output are the same file; choose another output")


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists and can be removed."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def behind_link(path: Path) -> Path:
    """Return the path of the file that is written: the target of a link, or the path itself."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


class Staging:
    """A hidden temporary file beside the final path, on the same disk. A rename publishes it.

    If the program ends without a call of `publish` or `discard`, the file is removed too.
    """

    def __init__(self, final: Path) -> None:
        """Choose a name. If `final` is a link, the file that it names is replaced, not the link.

        Raises OutputError if the folder does not exist or is not writable, and UsageError if there
        is a pipe or a device of this name.
        """
        self.final = final
        try:
            target = behind_link(final)
            folder = target.parent
            if target.exists() and not (target.is_file() or target.is_dir()):
                raise UsageError(f"{final}: a pipe or a device; expected the name of a file, or -")
            if not folder.is_dir():
                raise OutputError(f"{final}: no folder {folder}; create it first")
        except OSError as exc:  # a folder above that nobody may enter, a disk that fails
            raise OutputError(
                f"{final}: cannot be written ({exc.strerror}); check the folder and disk"
            ) from exc
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"{final}: the folder {folder} is not writable; choose another")
        # Shortened: most file systems allow 255 bytes, and UTF-8 has up to 4 per character.
        stem = final.name.encode(errors="ignore")[:180].decode(errors="ignore")
        self.path = folder / f".{stem}.{secrets.token_hex(4)}.partial{final.suffix}"
        weakref.finalize(self, remove, self.path)

    @property
    def url(self) -> str:
        """URL of the temporary file, for FFmpeg."""
        return f"file:{self.path}"

    def make_folder(self) -> None:
        """Create the temporary as a folder. Raises OutputError."""
        try:
            self.path.mkdir()
        except OSError as exc:
            raise OutputError(
                f"{self.final}: cannot be created ({exc.strerror}); check the folder and disk"
            ) from exc

    def publish(self) -> None:
        """Sync the temporary to the disk, then give it its final name. Raises OutputError."""
        try:
            sync(self.path)
            target = behind_link(self.final)
            replace(self.path, target)
            sync(target.parent)
        except OSError as exc:
            self.discard()
            raise OutputError(
                f"{self.final}: cannot be put in place ({exc.strerror}); check the folder and disk"
            ) from exc

    def discard(self) -> None:
        """Remove the temporary, if it exists."""
        remove(self.path)


def check_file(path: Path) -> None:
    """Raise OutputError or UsageError if a file of this name cannot be written."""
    Staging(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; expected the name of a file")


class StdoutStaging:
    """A result that is sent to a pipe while it is made, with the methods of `Staging`."""

    url = STDOUT

    def publish(self) -> None:
        """Do nothing: everything has been sent."""

    def discard(self) -> None:
        """Do nothing: sent data cannot be removed."""
