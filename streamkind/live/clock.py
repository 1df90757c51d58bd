"""Time for months: one rising timeline through reconnects, and pauses between attempts."""

from __future__ import annotations

import random

JUMP_SECONDS = 3.0
"""A clock that goes back by more, or ahead of ours, from one packet to the next, was set."""


class LiveClock:
    """Follows a camera's own clock, which starts anew at each connection; the result goes on.

    Written by the thread that reads the camera; `at` may be asked from any thread.
    """

    def __init__(self, now: float) -> None:
        """Begin at 0, which is `now`, in seconds of a clock that never jumps."""
        self._last = (0.0, 0.0, now)  # ours, the camera's, and when; one object, so never half new
        self._offset: float | None = None

    def restart(self) -> None:
        """Expect other time stamps: a new connection."""
        self._offset = None

    def at(self, now: float) -> float:
        """Return the place on the timeline, in seconds, of a moment after the last packet."""
        ours, _, when = self._last
        return ours + max(0.0, now - when)

    def __call__(self, seconds: float | None, now: float) -> float:
        """Return the place on the timeline of a packet with the camera's time `seconds`."""
        _, before, when = self._last
        if seconds is None:
            return self.at(now)
        # After a stall of the network all comes late, and that is no jump.
        jumped = not -JUMP_SECONDS <= seconds - before <= now - when + JUMP_SECONDS
        if self._offset is None or jumped:
            self._offset = self.at(now) - seconds
        ours = seconds + self._offset
        self._last = (ours, seconds, now)
        return ours


class Backoff:
    """Pauses that double, each shortened at random so that many cameras do not come at once."""

    def __init__(self, first_seconds: float = 1.0, most_seconds: float = 30.0) -> None:
        self._first = first_seconds
        self._most = most_seconds
        self._count = 0

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._count = 0

    def next_seconds(self) -> float:
        """Return the next pause."""
        pause = min(self._first * 2.0**self._count, self._most)
        self._count = min(self._count + 1, 16)
        return pause * random.uniform(0.5, 1.0)
