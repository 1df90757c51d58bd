"""The pipes to stdin and from stdout of a process, with limited waits.

Reading never waits. Writing waits for a limited time.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
from typing import Protocol

from streamkind.platform import WINDOWS

_BLOCK = 1 << 16
"""Most bytes that are read or written at once."""
_WAIT_SECONDS = 0.1
"""Longest wait of a thread, in seconds, before it checks whether `close` or `finish` was called."""


class ProcessPipes(Protocol):
    """Two pipes, by file descriptors that the caller closes. Use them from one thread only."""

    def write(self, data: memoryview, seconds: float) -> int:
        """Return how many bytes were written: 0 after `seconds` without room. Raises OSError."""
        ...

    def read(self) -> bytes:
        """Return the data that has arrived since the last call."""
        ...

    def finish(self, seconds: float) -> bool:
        """Wait until all has been written. Return False if that takes longer than `seconds`."""
        ...

    def close(self) -> None:
        """Stop writing. It may be called twice."""
        ...


def open_pipes(into: int, out: int) -> ProcessPipes:
    """Return the pipes for the descriptors of a process's stdin and stdout."""
    return ThreadedPipes(into, out) if WINDOWS else SelectedPipes(into, out)


class SelectedPipes:
    """Pipes that do not block, for systems whose `poll` accepts pipes."""

    def __init__(self, into: int, out: int) -> None:
        """Take the descriptors to write to and to read from."""
        self._in, self._out = into, out
        os.set_blocking(into, False)
        os.set_blocking(out, False)

    def write(self, data: memoryview, seconds: float) -> int:
        """Return how many bytes were taken: 0 after `seconds` without room. Raises OSError."""
        try:
            return os.write(self._in, data)
        except BlockingIOError:
            room = select.poll()  # select.select refuses descriptors above 1023
            room.register(self._in, select.POLLOUT)
            room.poll(1000 * seconds)
            return 0

    def read(self) -> bytes:
        """Return the data that has arrived since the last call."""
        found = b""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._out, _BLOCK):
                found += part
        return found

    def finish(self, seconds: float) -> bool:
        """Return True: all has been written."""
        return True

    def close(self) -> None:
        """Do nothing."""


class ThreadedPipes:
    """Pipes that block, each in a thread, for Windows, which has no `poll` for pipes."""

    def __init__(self, into: int, out: int) -> None:
        """Take the descriptors to write to and to read from."""
        self._in, self._out = into, out
        self._blocks: queue.Queue[bytes] = queue.Queue(1)
        self._received: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._error: OSError | None = None
        self._last, self._closing = threading.Event(), threading.Event()
        self._writer = threading.Thread(target=self._write, name="streamkind-pipe", daemon=True)
        self._writer.start()
        threading.Thread(target=self._read, name="streamkind-pipe", daemon=True).start()

    def write(self, data: memoryview, seconds: float) -> int:
        """Return how many bytes were taken: 0 after `seconds` without room. Raises OSError."""
        if self._error is not None:
            raise self._error
        block = bytes(data[:_BLOCK])
        try:
            self._blocks.put(block, timeout=seconds)
        except queue.Full:
            return 0
        return len(block)

    def read(self) -> bytes:
        """Return the data that has arrived since the last call."""
        found = b""
        with contextlib.suppress(queue.Empty):
            while True:
                found += self._received.get_nowait()
        return found

    def finish(self, seconds: float) -> bool:
        """Wait until all has been written. Return False if that takes longer than `seconds`."""
        self._last.set()
        self._writer.join(seconds)
        return not self._writer.is_alive()

    def close(self) -> None:
        """Stop writing when the process has read the present data, or has ended."""
        self._closing.set()
        self._last.set()

    def _write(self) -> None:
        while not self._closing.is_set():
            try:
                block = memoryview(self._blocks.get(timeout=_WAIT_SECONDS))
            except queue.Empty:
                if self._last.is_set():
                    return
                continue
            try:
                while block:
                    block = block[os.write(self._in, block) :]
            except OSError as error:  # the process has ended
                self._error = error
                return

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while part := os.read(self._out, _BLOCK):
                self._received.put(part)
