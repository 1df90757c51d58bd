"""Time for months: one rising timeline through reconnects, and pauses between attempts."""

from __future__ import annotations

import random

JUMP_SECONDS = 3.0
"""A clock that is ahead of ours by more, from one packet to the next, was set."""
BACK_SECONDS = 0.25
"""A picture that is earlier than the one before by more is of a clock that was set back."""
WINDOW_SECONDS, WINDOW_PICTURES = 1.0, 4
"""Least length of what the speed of a clock is measured over, once."""
WRONG_SPEED = 0.25
"""A clock that runs faster or slower than ours by more, twice in succession, is none."""
RIGHT_WINDOWS = 10
"""Measurements in a row by which a clock is followed again: it was the network that was slow."""
SOUND_SECONDS = 1.0
"""Sound that is further from the picture is of another timeline than it."""


class Speed:
    """Measures how fast a camera's clock runs, from the least delay of its pictures.

    Stalls and bursts of the network only add to the delay of some pictures.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget all: another timeline."""
        self._began: float | None = None
        self._count = 0
        self._least = (0.0, 0.0)
        self._before: tuple[float, float] | None = None
        self._wrong = 0
        self.right = 0
        """Measurements in a row that were not wrong."""

    def __call__(self, seconds: float, now: float) -> float:
        """Take a picture's time stamp; return the clock's speed where it is wrong, else 0."""
        late = now - seconds
        if self._began is None:
            self._began, self._count, self._least = now, 0, (late, now)
        self._count += 1
        if late < self._least[0]:
            self._least = late, now
        if now - self._began < WINDOW_SECONDS or self._count < WINDOW_PICTURES:
            return 0.0
        before, self._before, self._began = self._before, self._least, None
        if before is None:
            return 0.0
        slower = (self._before[0] - before[0]) / max(self._before[1] - before[1], 1e-3)
        sign = (slower > WRONG_SPEED) - (slower < -WRONG_SPEED)
        self._wrong = sign + (self._wrong if self._wrong * sign > 0 else 0)
        self.right = 0 if sign else self.right + 1
        return max(1.0 - slower, 1e-3) if abs(self._wrong) >= 2 else 0.0


class LiveClock:
    """Follows a camera's own clock, which starts anew at each connection; the result goes on.

    Written by the thread that reads the camera; `at` may be asked from any thread.
    """

    def __init__(self, now: float) -> None:
        """Begin at 0, which is `now`, in seconds of a clock that never jumps."""
        self._last = (0.0, 0.0, now)  # ours, the camera's, and when; one object, so never half new
        self._offset: float | None = None
        self._sound_offset: float | None = None
        self._speed = Speed()
        self._begun = (0.0, now)
        """Ours and when of the first picture of this timeline."""
        self.wrong_speed = 0.0
        """How many seconds the camera's clock counted in one; 0 while it is followed."""

    def restart(self) -> None:
        """Expect other time stamps: a new connection."""
        self._offset = self._sound_offset = None
        self.wrong_speed = 0.0
        self._speed.restart()

    def at(self, now: float) -> float:
        """Return the place on the timeline, in seconds, of a moment after the last picture."""
        ours, _, when = self._last
        return ours + max(0.0, now - when)

    def __call__(self, seconds: float | None, now: float) -> float:
        """Return the place on the timeline of a picture with the camera's time `seconds`."""
        if seconds is None:
            return self.at(now)
        _, before, when = self._last
        step = seconds - before
        # After a stall of the network all comes late, and that is no jump.
        jumped = not -BACK_SECONDS <= step <= now - when + JUMP_SECONDS
        if self._offset is None or jumped:
            self._offset = self.at(now) - seconds
            self._speed.restart()
            self._begun = self.at(now), now
        elif self.wrong_speed or step == 0.0:
            self._offset = self.at(now) - seconds
        speed = self._speed(seconds, now)
        if self._speed.right >= RIGHT_WINDOWS:
            self.wrong_speed = 0.0
        if speed and not self.wrong_speed:
            self.wrong_speed = speed
            # A slow clock has squeezed what came until now: go on where it should be.
            ours, began = self._begun
            self._offset = max(self.at(now), ours + now - began) - seconds
        self._last = (seconds + self._offset, seconds, now)
        return seconds + self._offset

    def sound(self, seconds: float | None, now: float) -> float:
        """Return the place of a packet of sound, which is in time with the pictures."""
        if seconds is None:
            return self.at(now)
        if self._offset is not None and not self.wrong_speed:
            self._sound_offset = self._offset
        ours, _, when = self._last
        ahead = seconds + (self._sound_offset or 0.0) - ours
        if self._sound_offset is None or not -SOUND_SECONDS <= ahead <= now - when + SOUND_SECONDS:
            self._sound_offset = self.at(now) - seconds
        return seconds + self._sound_offset


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
