"""The load of the engine, and how long decoded frames may wait for it."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 1.0
"""Time, in seconds, over which the load is measured."""
FULL = 0.98
"""Load from which on the engine counts as too slow for all frames. It is below 1, because measured
times vary."""
WAIT, FULL_WAIT = 5.0, 1.5
"""Longest wait of a frame for the engine, in intervals of its camera. `WAIT` allows for a network
that delays frames. `FULL_WAIT` applies at full load. It is more than 1, because some frames take
longer than others."""


class Load:
    """The share of time that the engine would need for all frames that arrive.

    A dropped frame counts as much as an enhanced one. Otherwise dropping would lower the load.
    """

    def __init__(self) -> None:
        self._batches: deque[tuple[float, float, int, int]] = deque()

    def note(self, began: float, ended: float, done: int, dropped: int) -> None:
        """Add a batch of `done` frames, before which `dropped` frames were dropped.

        Times are those of `time.monotonic`, in seconds.
        """
        self._batches.append((began, ended, done, done + dropped))

    def longest_wait(self, now: float) -> float:
        """Return how long a frame may wait for the engine, in intervals of its camera.

        At full load the wait is shorter. The load is full after a start, after a pause of the
        machine, or if the engine is too slow.
        """
        since = now - WINDOW_SECONDS
        while self._batches and self._batches[0][1] <= since:
            self._batches.popleft()
        busy = sum(ended - max(began, since) for began, ended, _, _ in self._batches)
        done = sum(batch[2] for batch in self._batches)
        came = sum(batch[3] for batch in self._batches)
        full = done > 0 and busy * came / done >= FULL * WINDOW_SECONDS
        return FULL_WAIT if full else WAIT
