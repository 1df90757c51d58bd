"""Reads and writes frames in threads, while the caller works.

Rules of both classes: a thread ends before its `with` block ends. Every wait is short and then
checks a stop flag. The error of a thread is raised in the caller.

Nest them so that the writer ends before the sink:

    with open_sink(path, source) as sink, WriteBehind(sink) as output:
        ...

At the end of the block, `WriteBehind` first writes the rest of the queue; then the sink publishes
its file. `WriteBehind.__exit__` raises an error of the writer, so that the sink publishes nothing.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from streamkind.video.frames import Batch, Frame

_WAIT_SECONDS = 0.05
"""Longest wait before the stop flag is checked, in seconds."""


class FrameSink(Protocol):
    """An object that `WriteBehind` writes frames to."""

    def write(self, frame: Frame) -> None:
        """Write one frame."""


Item = TypeVar("Item")
"""What waits in a queue."""
Made = Batch | Callable[[], Batch]
"""A batch, or the function that returns it."""


class _Worker(Generic[Item]):
    """A thread with a bounded queue, a stop flag and its error."""

    _name = "streamkind"

    def __init__(self, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self.seconds = 0.0
        """Time that the thread has worked so far, without waits, in seconds."""
        self._queue: queue.Queue[Item | None] = queue.Queue(depth)  # None is the end
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def _start(self, work: Callable[[], None]) -> None:
        if self._thread is not None:
            raise RuntimeError(f"{type(self).__name__} can be entered once only")
        self._thread = threading.Thread(target=self._run, args=(work,), name=self._name)
        self._thread.start()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # the caller raises it
            self._error = error

    def _alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _join(self) -> None:
        try:
            while self._alive():
                self._wait_for_thread()
        finally:
            # Ctrl-C while waiting: the thread still must not outlive the `with`.
            self._stop.set()
            while self._alive():
                self._wait_for_thread()

    def _wait_for_thread(self) -> None:
        if self._thread is not None:
            self._thread.join(_WAIT_SECONDS)

    def _offer(self, item: Item | None) -> bool:
        """Put an item if there is room within `_WAIT_SECONDS`. Return whether it was put."""
        try:
            self._queue.put(item, timeout=_WAIT_SECONDS)
        except queue.Full:
            return False
        return True


class ReadAhead(_Worker[Frame]):
    """Iterates a source in a thread, at most `depth` frames ahead of the caller."""

    _name = "streamkind-read"

    def __init__(self, source: Iterable[Frame], *, depth: int = 4) -> None:
        """Read from `source`, which only the thread may use until the `with` block ends."""
        super().__init__(depth)
        self._source = source

    def __enter__(self) -> Self:
        """Start reading."""
        self._start(self._read)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop reading and wait for the thread. Frames that were not taken are dropped."""
        self._stop.set()
        self._join()

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order. Raises what the source raised."""
        while True:
            # Checked before the queue: a finished thread has put all its frames.
            alive = self._alive()
            try:
                item = self._queue.get(timeout=_WAIT_SECONDS if alive else 0)
            except queue.Empty:
                if alive:
                    continue
                if self._error is not None:
                    raise self._error from None
                return
            if item is not None:
                yield item

    def _read(self) -> None:
        frames = iter(self._source)
        try:
            while not self._stop.is_set():
                began = time.perf_counter()
                frame = next(frames, None)
                self.seconds += time.perf_counter() - began
                if frame is None:
                    return
                while not self._offer(frame):
                    if self._stop.is_set():
                        return
        finally:
            # A generator must end in the thread that ran it.
            close = getattr(frames, "close", None)
            if close is not None:
                close()


class _Behind(_Worker[Item]):
    """Handles items in a thread, at most `depth` items behind the caller."""

    def __enter__(self) -> Self:
        """Start the thread."""
        self._start(self._work)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Handle the rest of the queue, and raise the thread's error. On an exception, drop it."""
        if error is not None:
            self._stop.set()
            self._join()
            return
        try:
            while self._alive() and not self._offer(None):
                pass
        finally:
            self._join()
        if self._error is not None:
            raise self._error

    def put(self, item: Item) -> None:
        """Add an item to the queue, and wait for room in it. Raises the thread's error."""
        while True:
            alive = self._alive()  # checked before the error: a thread sets its error, then ends
            if self._error is not None:
                raise self._error
            if not alive:
                raise RuntimeError(f"put() outside of `with {type(self).__name__}(...)`")
            if self._offer(item):
                return

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                item = self._queue.get(timeout=_WAIT_SECONDS)
            except queue.Empty:
                continue
            if item is None:
                return
            self._handle(item)

    def _handle(self, item: Item) -> None:
        """Handle one item in the thread."""
        raise NotImplementedError


class WriteBehind(_Behind[Made]):
    """Writes batches to a sink in a thread, at most `depth` batches behind the caller.

    It calls the functions among them, and writes what they return.
    """

    _name = "streamkind-write"

    def __init__(self, sink: FrameSink, *, depth: int = 4) -> None:
        """Write to `sink`, which only the thread may use until the `with` block ends."""
        super().__init__(depth)
        self._sink = sink

    def _handle(self, item: Made) -> None:
        batch = item() if callable(item) else item
        for frame in batch.frames:
            if self._stop.is_set():
                return
            began = time.perf_counter()
            try:
                self._sink.write(frame)
            finally:
                self.seconds += time.perf_counter() - began


class Between(_Behind[Callable[[], Made]]):
    """Calls functions in a thread between the caller and a writer, which gets what they return."""

    _name = "streamkind-between"

    def __init__(self, output: WriteBehind, *, depth: int = 1) -> None:
        """Give results to `output`, which only the thread may use until the `with` block ends."""
        super().__init__(depth)
        self._output = output

    def _handle(self, item: Callable[[], Made]) -> None:
        self._output.put(item())
