"""Opens files on local disks, and through fsspec on other storage, such as s3://.

Also has the order of names in lists.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import urlsplit

from streamkind.errors import InputError, OutputError, UsageError
from streamkind.video.publish import Staging

_LIVE = frozenset({"rtp", "rtsp", "rtsps", "rtmp", "rtmps", "srt", "tcp", "udp", "mms", "ws"})
"""URL schemes of live streams."""
_BLOCK, _BLOCKS = 1 << 18, 16
"""Size of a sample of a fingerprint, in bytes, and number of samples."""


def as_path(name: str | Path) -> Path:
    """Return a local path. For a URL such as s3://bucket/key, return an object like a path.

    Raises UsageError for anything else, and if the library for it is not installed.
    """
    if not isinstance(name, str):
        if not hasattr(name, "open"):
            raise UsageError(f"expected a path as str or Path, got {name!r}")
        return name
    scheme, separator, _ = name.partition("://")
    if not separator:
        return Path(name)
    if scheme.lower() == "file":
        from urllib.request import url2pathname  # takes long to import

        return Path(url2pathname(urlsplit(name).path))
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


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder. Raises InputError if that cannot be found out."""
    try:
        return path.is_dir()
    except Exception as exc:  # a library of remote storage has kinds of its own
        raise InputError(
            f"{path}: cannot be looked up ({exc}); check the name, the network and the rights"
        ) from exc


def is_local(path: Path) -> bool:
    """Return whether a path is on a disk of this machine."""
    return isinstance(path, Path)


def file_url(path: Path) -> str:
    """Return a URL for a local file. FFmpeg would take a name with a colon for a protocol."""
    return f"file:{path}"


def open_remote(path: Path) -> BinaryIO:
    """Open a remote file for reading at any position. Only the parts that are read are fetched."""
    return cast(BinaryIO, path.open("rb"))


def natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Return the sort key of a name: numbers by their value (2 before 10), letters of any case."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], name


def write_whole(path: Path, data: bytes) -> None:
    """Write a small file, completely or not at all. Raises OutputError."""
    if not is_local(path):
        path.write_bytes(data)  # object stores show only complete objects
        return
    staging = Staging(path)
    try:
        staging.path.write_bytes(data)
    except OSError as exc:
        staging.discard()
        raise OutputError(
            f"{path}: cannot be written ({exc.strerror}); check the folder and disk"
        ) from exc
    staging.publish()


@contextmanager
def local_file(path: Path) -> Iterator[Path]:
    """Yield a local path to write to. Without an exception, the file is copied to `path`."""
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
            raise OutputError(
                f"{path}: cannot be written ({exc}); check the name, the network and the rights"
            ) from exc


def remove_folder(path: Path) -> None:
    """Remove a folder with its content, if it exists."""
    if is_local(path):
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.rmdir(recursive=True)  # type: ignore[call-arg]  # UPath's


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a whole file, in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """Return a digest of a file's size and of 16 samples of its data: fast for any size."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for i in range(_BLOCKS):
            file.seek(max(0, (size - _BLOCK) * i // (_BLOCKS - 1)))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()
