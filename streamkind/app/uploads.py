"""Stores files that are dropped on the page. Each is written to the disk while it arrives."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import AsyncIterable, Container
from pathlib import Path

from anyio import to_thread

from streamkind.app.library import is_refused
from streamkind.batch.files import is_wanted
from streamkind.batch.work import SPARE_BYTES
from streamkind.errors import OutputError, StreamkindError, UsageError
from streamkind.platform import unified
from streamkind.video.publish import Staging

MOST_BYTES = 64 << 30
"""Largest file, in bytes."""
BLOCK = 1 << 20
"""Number of bytes that are written at once."""
LONGEST = 200
"""Largest length of a name, in bytes. Most file systems allow 255, and the hidden names made from a
name are longer than it."""
FOREIGN = '\\/:*?"<>|'
"""Characters that names cannot have on Windows and on disks with FAT or exFAT."""
_naming = threading.Lock()
"""Held while a file gets its name, so that no two files get the same one."""


class NoSpaceError(StreamkindError):
    """The disk has no space for the file."""


def stored_name(name: str) -> str:
    """Return the name under which a file is stored. Raises UsageError if it is not a video's.

    Characters that some systems do not allow in names are replaced by _. Long names are cut.
    """
    name = "".join(c if c.isprintable() and c not in FOREIGN else "_" for c in name)
    if is_refused(name):
        raise UsageError(
            f"{name!r}: not a file name; expected a name that does not begin with a dot"
        )
    if not is_wanted(Path(name), ()):
        raise UsageError(f"{name}: not the name of a video; expected .mp4, .mov, .mkv, .avi, .ts")
    stem, dot, ending = name.rpartition(".")
    return shortened(stem, dot + ending)


def shortened(stem: str, ending: str) -> str:
    """Return a name of at most `LONGEST` bytes that has this ending. A long stem is cut."""
    most = LONGEST - len(ending.encode())
    return stem.encode()[:most].decode(errors="ignore") + ending


def free_path(folder: Path, stem: str, added: str, suffix: str, taken: Container[str] = ()) -> Path:
    """Return a path in a folder that does not exist and is not `taken`, which has `unified` names.

    Its name is stem, `added` and suffix, with a number before the suffix if needed.
    """
    number, path = 1, folder / shortened(stem, added + suffix)
    while path.exists() or unified(path) in taken:
        number += 1
        path = folder / shortened(stem, f"{added} ({number}){suffix}")
    return path


def remove_unfinished(folder: Path) -> None:
    """Remove the files of uploads that were interrupted. No upload may be under way."""
    for path in folder.glob(".*.partial.*"):
        with contextlib.suppress(OSError):  # its disk cannot be written
            path.unlink()


def check_space(folder: Path, needed: int) -> None:
    """Raise NoSpaceError unless `needed` and `SPARE_BYTES` bytes are free on a disk."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise NoSpaceError(
            f"{(needed + SPARE_BYTES) >> 20} MiB are needed, but {free >> 20} MiB are free on the"
            f" disk of {folder}; free some space, or start with another --out"
        )


async def receive(folder: Path, name: str, body: AsyncIterable[bytes], length: int) -> Path:
    """Write a body of `length` bytes, 0 if not known, to a new file in `folder`.

    Memory does not grow with the length. The file gets its name when it is complete. Returns its
    path. Raises UsageError, NoSpaceError or OutputError.
    """
    name = stored_name(name)
    folder.mkdir(parents=True, exist_ok=True)
    check_space(folder, length)
    staging = Staging(folder / name)
    try:
        await _write(staging.path, body)
        await to_thread.run_sync(_publish, staging, name)
    except BaseException:  # the browser may have disconnected
        staging.discard()
        raise
    return staging.final


def _publish(staging: Staging, name: str) -> None:
    with _naming:
        path = Path(name)
        staging.final = free_path(staging.final.parent, path.stem, "", path.suffix)
        staging.publish()


async def _write(path: Path, body: AsyncIterable[bytes]) -> None:
    waiting, size, checked = bytearray(), 0, 0
    try:
        with path.open("xb") as file:  # an unbuffered file may write a part, without an error
            async for part in body:
                waiting += part
                size += len(part)
                if len(waiting) >= BLOCK:
                    if size - checked >= SPARE_BYTES // 2:  # `length` may be unknown
                        check_space(path.parent, 0)
                        checked = size
                    await to_thread.run_sync(file.write, bytes(waiting))
                    waiting.clear()
            await to_thread.run_sync(file.write, bytes(waiting))
    except OSError as exc:
        raise OutputError(
            f"{path.parent}: cannot be written ({exc.strerror}); check the disk, or start with"
            " another --out"
        ) from exc
    if not size:
        raise UsageError("the file is empty; choose another")
