"""Files where they are: local paths as they are, s3:// and its like through fsspec."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from streamkind.errors import OutputError, UsageError
from streamkind.video.publish import Staging

_LIVE = frozenset({"rtp", "rtsp", "rtsps", "rtmp", "rtmps", "srt", "tcp", "udp", "mms", "ws"})
"""Schemes of what has no end, and of which nothing but a part can be read."""
_BLOCK, _BLOCKS = 1 << 18, 16


def as_path(name: str | Path) -> Path:
    """Return a local path, or for s3://bucket/key and the like an object that acts as one.

    Raises UsageError when what reads it is not installed.
    """
    if not isinstance(name, str):
        return name
    scheme, separator, _ = name.partition("://")
    if not separator:
        return Path(name)
    if scheme.lower() == "file":
        return Path(unquote(urlsplit(name).path))
    if scheme.lower() in _LIVE:
        raise UsageError(
            f"{scheme}://...: a live stream; expected a file. Use: streamkind stream URL --to ..."
        )
    try:
        from upath import UPath

        return cast(Path, UPath(name))
    except (ImportError, ValueError) as exc:
        raise UsageError(
            f"{name}: {exc}; other storage than disks needs: pip install 'streamkind[storage]'"
        ) from exc


def is_local(path: Path) -> bool:
    """Whether a path is on a disk of this machine."""
    return isinstance(path, Path)


def open_remote(path: Path) -> BinaryIO:
    """Open an object for reading at any place; what is needed is fetched, nothing is kept."""
    return cast(BinaryIO, path.open("rb"))


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file, whole or not at all. Raises OutputError."""
    if not is_local(path):
        path.write_bytes(data)  # object stores show an object when it is complete
        return
    staging = Staging(path)
    try:
        staging.path.write_bytes(data)
    except OSError as exc:
        staging.discard()
        raise OutputError(f"{path}: cannot be written ({exc.strerror})") from exc
    staging.publish()


@contextmanager
def local_file(path: Path) -> Iterator[Path]:
    """Give a local name to write to; afterwards the file is at `path`, on an exception nothing."""
    if is_local(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="streamkind-") as folder:
        local = Path(folder, path.name)
        yield local
        try:
            with local.open("rb") as source, path.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 22)
        except OSError as exc:
            raise OutputError(f"{path}: cannot be written ({exc})") from exc


def remove_folder(path: Path) -> None:
    """Remove a folder and all in it; fine if there is none."""
    if is_local(path):
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.rmdir(recursive=True)  # type: ignore[call-arg]  # UPath's


def sha256(path: Path) -> str:
    """Return the digest of a whole file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """Tell a file from others by its size and samples of 16 places; quick however large it is."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for i in range(_BLOCKS):
            file.seek(max(0, (size - _BLOCK) * i // (_BLOCKS - 1)))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()
