"""How much work comes to the engine, and how long decoded frames may wait for it."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 1.0
"""Time, in seconds, over which the load is measured."""
FULL = 0.98
"""Load from which on frames that wait would never be caught up with. Clocks are not exact."""
WAIT, FULL_WAIT = 5.0, 1.5
"""Longest wait of a frame for the engine, in intervals of its camera: usually as long as a network
may hold frames back; at full load less, but more than one, as frames do not all take as long."""


class Load:
    """The share of its time that the engine needs for all frames that come.

    A frame that was dropped counts as one that was enhanced, so that drops do not lower the load.
    """

    def __init__(self) -> None:
        self._batches: deque[tuple[float, float, int, int]] = deque()

    def note(self, began: float, ended: float, done: int, dropped: int) -> None:
        """Note a batch of `done` frames, and how many were dropped for them.

        Times are those of `time.monotonic`, in seconds.
        """
        self._batches.append((began, ended, done, done + dropped))

    def longest_wait(self, now: float) -> float:
        """Return how long a frame may have waited, in intervals of its camera.

        An engine without a pause is behind: after a start, after a stall, or because it is slow.
        """
        since = now - WINDOW_SECONDS
        while self._batches and self._batches[0][1] <= since:
            self._batches.popleft()
        busy = sum(ended - max(began, since) for began, ended, _, _ in self._batches)
        done = sum(batch[2] for batch in self._batches)
        came = sum(batch[3] for batch in self._batches)
        full = done > 0 and busy * came / done >= FULL * WINDOW_SECONDS
        return FULL_WAIT if full else WAIT
