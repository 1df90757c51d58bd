"""How far a build of TensorRT is, and Ctrl-C while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Phases:
    """Phases within phases -> the share that is done, 0 to 1, never falling."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str | None, int]] = {}
        self._done: dict[str, int] = {}
        self.share = 0.0

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Begin a phase of so many steps; it is one step of its parent."""
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


@contextmanager
def watcher(trt: Any, config: Any, tell: Callable[[float], None]) -> Iterator[None]:
    """Tell how much of a build is done. What `tell` raises, Ctrl-C too, ends the build."""
    phases, errors = Phases(), list[BaseException]()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # known at run time only
        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            phases.start(name, parent, steps)

        def step_complete(self, name: str, step: int) -> bool:
            # An exception must not cross TensorRT: it is kept, and the build is ended.
            try:
                phases.step(name, step)
                tell(phases.share)
            except BaseException as error:
                errors.append(error)
            return not errors

        def phase_finish(self, name: str) -> None:
            phases.finish(name)

    monitor = Monitor()
    config.progress_monitor = monitor
    yield
    if errors:
        raise errors[0]
    tell(1.0)
