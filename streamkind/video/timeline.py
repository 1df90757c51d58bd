"""Time stamps that only rise: what encoders and containers insist on, and broken files lack."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from streamkind.errors import UsageError

_JUMP_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of a file; its timeline is moved so that `start` becomes 0."""

    start: Fraction
    """Seconds, on the file's own clock."""
    end: Fraction | None
    """Seconds, on the file's own clock; None is the end of the file."""


class RisingClock:
    """Repairs time stamps that are missing or do not rise; leaves all others exactly alone."""

    def __init__(self, time_base: Fraction, step: int) -> None:
        """Bridge gaps with `step`, the usual distance between stamps, in `time_base`."""
        self.repaired = 0
        self.last: int | None = None
        self._step = max(1, step)
        self._jump = int(_JUMP_SECONDS / time_base)
        self._offset = 0

    def __call__(self, stamp: int | None, *, least: int = 1) -> int:
        """Return `stamp`, or its repair, at least `least` above the one before."""
        if stamp is None:
            self.repaired += 1
            self.last = 0 if self.last is None else self.last + self._step
            return self.last
        result = stamp + self._offset
        if self.last is not None and result < self.last + least:
            self.repaired += 1
            # A clock that was set back (a camera restarted) stays moved; a stray stamp does not.
            if self.last - result > self._jump:
                self._offset += self.last + self._step - result
                result = self.last + self._step
            else:
                result = self.last + least
        self.last = result
        return result


def check_times(start: float, duration: float | None) -> None:
    """Refuse what is no part of a video. Raises UsageError."""
    if not (math.isfinite(start) and start >= 0):
        raise UsageError(f"start={start}: expected seconds from 0 up")
    if duration is not None and not (math.isfinite(duration) and duration > 0):
        raise UsageError(f"duration={duration}: expected seconds above 0, or none for all")
