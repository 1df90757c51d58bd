"""Footage that comes in through a pipe, and is read several times while it still comes."""

from __future__ import annotations

import threading
from io import BufferedReader
from pathlib import Path

from streamkind.errors import InputError

_BLOCK = 1 << 16
"""Bytes that are taken from the pipe at once, at most."""


class Spool:
    """Keeps what comes through a pipe in a file. It has the methods of a path that readers need.

    A reader that needs more than has come takes it from the pipe. So no more is read than is used.
    """

    def __init__(self, pipe: BufferedReader, folder: Path, suffix: str) -> None:
        """Read from `pipe`, and keep it in `folder`. `suffix` says what kind of footage it is."""
        self.name, self.suffix = f"-{suffix}", suffix
        self._pipe, self._folder = pipe, folder
        self._kept = folder / f"input{suffix}"
        self._file = self._kept.open("wb", buffering=0)
        self._lock = threading.Lock()
        self._size, self._ended = 0, False

    def __str__(self) -> str:
        """Return the name for messages."""
        return "-"

    def exists(self) -> bool:
        """Return that there is something to read."""
        return True

    def is_file(self) -> bool:
        """Return that it can be opened."""
        return True

    def is_dir(self) -> bool:
        """Return that it is not a folder."""
        return False

    def open(self, mode: str = "rb") -> SpoolReader:
        """Open it for reading from the beginning."""
        return SpoolReader(self, self._kept)

    def receive(self) -> Path:
        """Wait for the end of the input, and return the file in which it is. Raises InputError."""
        while self.take(self._size):
            pass
        return self._kept

    def take(self, position: int) -> bool:
        """Wait until there is a byte at `position`. Return False if the input ends before it.

        Raises InputError if there is no room for what comes.
        """
        while position >= self._size and not self._ended:
            with self._lock:
                if position < self._size or self._ended:
                    break
                block = self._pipe.read1(_BLOCK)
                self._keep(block)
                self._ended = not block
        return position < self._size

    def _keep(self, block: bytes) -> None:
        try:
            self._file.write(block)
        except OSError as exc:
            self._ended = True
            raise InputError(
                f"-: no space in {self._folder} ({exc.strerror}); set TMPDIR to another disk"
            ) from exc
        self._size += len(block)

    def close(self) -> None:
        """Close the file. What was kept is the caller's to remove."""
        self._file.close()


class SpoolReader:
    """Reads a spool once, from the beginning. It cannot seek, as a pipe cannot."""

    def __init__(self, spool: Spool, kept: Path) -> None:
        """Open the file in which the spool keeps what has come."""
        self.name = spool.name
        """Name for FFmpeg, which knows Y4M by its ending."""
        self._spool, self._file, self._position = spool, kept.open("rb", buffering=0), 0

    def read(self, size: int = _BLOCK) -> bytes:
        """Return at most `size` bytes, at least one; none at the end."""
        if not self._spool.take(self._position):
            return b""
        data = self._file.read(size) or b""
        self._position += len(data)
        return data

    def __enter__(self) -> SpoolReader:
        """Return the reader, open."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the reader."""
        self.close()

    def close(self) -> None:
        """Close the reader."""
        self._file.close()
