"""Reports the progress of a TensorRT build, and lets Ctrl-C interrupt it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

log = logging.getLogger("streamkind.engines")
T = TypeVar("T")


class Phases:
    """Computes the finished share, 0 to 1, from nested phases. It never decreases."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str | None, int]] = {}
        self._done: dict[str, int] = {}
        self.share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Begin a phase of a number of steps. It is one step of its parent."""
        self._open[name] = (parent, max(steps, 1))
        self._done[name] = 0

    def step(self, name: str, step: int) -> None:
        """Note that a step, counted from 0, has ended."""
        self._done[name] = step + 1
        self.share = max(self.share, min(self._share_from(name), 1.0))

    def finish(self, name: str) -> None:
        """End a phase."""
        self._open.pop(name, None)

    def _share_from(self, name: str) -> float:
        share = 0.0
        at: str | None = name
        while at is not None and at in self._open:
            parent, steps = self._open[at]
            share = (self._done[at] + share) / steps
            at = parent
        return share


def run_watched(trt: Any, build: Callable[[Any], T], tell: Callable[[float], None]) -> T:
    """Run a build, and report its progress by `tell`. Ctrl-C or an exception of `tell` ends it.

    `build` receives the progress monitor for TensorRT, and runs in a thread of its own, because
    TensorRT ignores a KeyboardInterrupt that is raised in one of its callbacks.
    """
    phases, errors = Phases(), list[BaseException]()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # known at run time only
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            phases.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            try:
                phases.step(name, step)
                tell(phases.share)
            except BaseException as error:
                errors.append(error)
            return not errors

        def phase_finish(self, name: str) -> None:
            phases.finish(name)

    with ThreadPoolExecutor(1, thread_name_prefix="streamkind-build") as pool:
        future = pool.submit(build, Monitor())
        try:
            result = future.result()
        except BaseException as error:
            errors.append(error)  # at its next step the build ends; the pool waits for it
            raise
    if errors:
        raise errors[0]
    tell(1.0)
    return result


class BuildLog:
    """Logs the progress of a build every `every_seconds`."""

    def __init__(self, recipe: object, every_seconds: float = 10.0) -> None:
        self._recipe, self._every = recipe, every_seconds
        self._began = self._last = time.monotonic()

    def __call__(self, share: float) -> None:
        """Log the finished share of the build, 0 to 1, unless the last message is too recent."""
        now = time.monotonic()
        if now - self._last < self._every or not share:
            return
        self._last = now
        left = (now - self._began) * (1 - share) / share
        log.warning("%s: %d %% built, about %.0f s left", self._recipe, 100 * share, left)
