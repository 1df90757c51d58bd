"""Stores an input that comes through a pipe, so that several readers can read all of it."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

from streamkind.errors import InputError
from streamkind.platform import WINDOWS

_BLOCK = 1 << 16
"""Most bytes that are read from the pipe at once."""
_WAIT_SECONDS = 0.05
"""Longest wait for data before it is checked whether the command was interrupted, in seconds."""


class PipeInput:
    """Stores the data of a pipe in a file. It has the methods of a `Path` that readers need.

    Data is read from the pipe only when a reader needs it.
    """

    def __init__(
        self,
        pipe: BufferedReader,
        folder: Path,
        suffix: str,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        """Read from `pipe`, and store the data in `folder`. `suffix` is the format's ending.

        Once `interrupted` returns True, the input ends, also for a reader that waits for data.
        """
        self.name, self.suffix = f"-{suffix}", suffix
        self._pipe, self._folder, self._interrupted = pipe, folder, interrupted
        self._kept = folder / f"input{suffix}"
        self._file = self._kept.open("wb", buffering=0)
        self._lock = threading.Lock()
        self._size, self._ended = 0, False

    def __str__(self) -> str:
        """Return the name for messages."""
        return "-"

    def exists(self) -> bool:
        """Return True, as for a file that exists."""
        return True

    def is_file(self) -> bool:
        """Return True, as for a file."""
        return True

    def is_dir(self) -> bool:
        """Return False, as for a file."""
        return False

    def open(self, mode: str = "rb") -> PipeInputReader:
        """Open the data for reading from the beginning."""
        return PipeInputReader(self, self._kept)

    def receive(self) -> Path:
        """Wait for the end of the input, and return the file that has it. Raises InputError."""
        while self.take(self._size):
            pass
        return self._kept

    def take(self, position: int) -> bool:
        """Wait until there is a byte at `position`. Return False if the input ends before it.

        Raises InputError if the disk is full.
        """
        while position >= self._size and not self._ended:
            with self._lock:
                if position < self._size or self._ended:
                    break
                if self._interrupted():
                    self._ended = True
                elif self._has_data():
                    block = self._pipe.read1(_BLOCK)
                    self._keep(block)
                    self._ended = not block
        return position < self._size

    def _has_data(self) -> bool:
        """Return whether the pipe has data or has ended. Wait for that, but not long.

        Windows cannot wait for a pipe. The first data may be in the buffer of the pipe already.
        """
        return (
            WINDOWS or not self._size or bool(select.select([self._pipe], [], [], _WAIT_SECONDS)[0])
        )

    def _keep(self, block: bytes) -> None:
        while block:
            try:
                written = self._file.write(block)  # only a part if the disk is nearly full
            except OSError as exc:
                self._ended = True
                raise InputError(
                    f"-: no space in {self._folder} ({exc.strerror}); set TMPDIR to another disk"
                ) from exc
            self._size, block = self._size + written, block[written:]

    def close(self) -> None:
        """Close the file. The caller removes it."""
        self._file.close()


class PipeInputReader:
    """Reads a `PipeInput` once, from its beginning. Like a pipe, it cannot seek."""

    def __init__(self, pipe_input: PipeInput, kept: Path) -> None:
        """Open `kept`, the file in which `pipe_input` stores its data."""
        self.name = pipe_input.name
        """Name for FFmpeg, which recognises Y4M by its ending."""
        self._input, self._file, self._position = pipe_input, kept.open("rb", buffering=0), 0

    def read(self, size: int = _BLOCK) -> bytes:
        """Return 1 to `size` bytes, or b"" at the end."""
        if not self._input.take(self._position):
            return b""
        data = self._file.read(size) or b""
        self._position += len(data)
        return data

    def __enter__(self) -> PipeInputReader:
        """Return the reader, open."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the reader."""
        self.close()

    def close(self) -> None:
        """Close the reader."""
        self._file.close()
