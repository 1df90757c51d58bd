"""Executors for the tasks of a batch: this process, several processes or a cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from types import TracebackType
from typing import Any

from streamkind.backends.process import configure_process
from streamkind.errors import UsageError
from streamkind.platform import cores


def open_executor(
    jobs: int, cluster: str | None, device: str
) -> tuple[Executor, Callable[[], int]]:
    """Return an executor, and a function that returns how many tasks to submit at once.

    Raises UsageError.
    """
    if jobs < 1:
        raise UsageError(f"jobs={jobs}: expected a number of processes from 1 up")
    if cluster is not None and jobs != 1:
        raise UsageError(
            f"jobs={jobs}: a cluster runs as many tasks as it has cores or cards; leave --jobs out"
        )
    if cluster is None:
        return (InProcess() if jobs == 1 else Processes(jobs)), lambda: jobs
    from streamkind.batch.cluster import Cluster

    ray = Cluster(cluster, device=device)
    return ray, lambda: 2 * ray.slots  # twice as many, so that no node waits for this process


class InProcess(Executor):
    """An executor that runs each task at once, in the calling thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call a function, and return a finished future with its result or error."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Processes(ProcessPoolExecutor):
    """Processes that share the cores of this machine.

    They end at an exception in the caller, and if the caller's process ends in any way.
    """

    def __init__(self, count: int) -> None:
        threads = max(1, cores() // count)
        super().__init__(
            count, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(threads,)
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for the processes. On an exception, such as Ctrl-C, end them."""
        if error is not None:
            self.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
        self.shutdown(wait=True)


def _begin(threads: int) -> None:
    configure_process()
    os.environ["OMP_NUM_THREADS"] = str(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is sent to all; the caller ends the rest
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait until the caller's process has ended, then end this one. A killed one ends no others."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
