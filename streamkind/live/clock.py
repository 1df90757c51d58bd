"""Time stamps of live cameras, which always rise, also over reconnects; and `Backoff`.

The constants were chosen by hand. `tests/test_live_parts.py` checks them on simulated clocks that
jump, stand still, or are too fast or too slow.
"""

from __future__ import annotations

import random
from collections import deque

JUMP_SECONDS = 3.0
"""Difference, in seconds, between the step of a camera's clock from one picture to the next and the
time that has passed on this machine. With a larger one, the camera's clock was set ahead."""
BACK_SECONDS = 0.25
"""Step back of a camera's clock from one picture to the next, in seconds. With a larger one, the
clock was set back."""
AHEAD_SECONDS = 1.0
"""Step ahead, in seconds, that counts for `MOST_SETS`. A clock that stands still for most of the
time makes such steps."""
MOST_SETS, SETS_SECONDS = 3, 15.0
"""Number of times that a camera's clock is set or steps ahead, and the time in seconds. With so
many within this time, the clock is not followed."""
WINDOW_SECONDS, WINDOW_PICTURES = 1.0, 4
"""Least duration, in seconds, and least number of pictures for one measurement of a speed."""
WRONG_SPEED = 0.25
"""Relative difference between the speed of a camera's clock and that of this machine. If it is
larger in two measurements in a row, the camera's clock is not followed."""
RIGHT_WINDOWS = 10
"""Number of correct measurements in a row after which a clock is followed again."""
SOUND_SECONDS = 1.0
"""Difference between the times of sound and picture, in seconds, from which on the sound counts as
being on another timeline."""


class Speed:
    """Measures the speed of a camera's clock, from the smallest delay of its pictures.

    Stalls and bursts of the network only increase the delay of some pictures.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Drop all measurements, because another timeline begins."""
        self._began: float | None = None
        self._count = 0
        self._least = (0.0, 0.0)
        self._before: tuple[float, float] | None = None
        self._wrong = 0
        self.right = 0
        """Number of correct measurements in a row."""

    def __call__(self, seconds: float, now: float) -> float:
        """Add the time stamp of a picture, in seconds. Return the speed if it is wrong, else 0."""
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
    """Maps the times of a camera, whose clock restarts at each connection, to one timeline.

    The thread that reads the camera changes it; any thread may call `at`.
    """

    def __init__(self, now: float) -> None:
        """Begin the timeline at 0 at the time `now`, in seconds of `time.monotonic`."""
        self._last = (0.0, 0.0, now)
        """Time on the timeline, time of the camera and `now` of the last picture. The tuple is
        replaced as a whole, because other threads read it."""
        self._offset: float | None = None
        self._sound_offset: float | None = None
        self._speed = Speed()
        self._begun = (0.0, now)
        """Time on the timeline and `now` of the first picture after the last connection or jump."""
        self.wrong_speed = 0.0
        """Seconds that a wrong camera clock counts per second; 0 while its speed is right."""
        self.set_too_often = False
        """Whether the camera's clock is set so often that it is not followed."""
        self._sets: deque[float] = deque(maxlen=MOST_SETS)
        """Times at which the camera's clock was set last, in seconds of `time.monotonic`."""

    def restart(self) -> None:
        """Prepare for other time stamps, because a new connection begins."""
        self._offset = self._sound_offset = None
        self.wrong_speed, self.set_too_often = 0.0, False
        self._sets.clear()
        self._speed.restart()

    def at(self, now: float) -> float:
        """Return the time on the timeline, in seconds, of a moment after the last picture."""
        ours, _, when = self._last
        return ours + max(0.0, now - when)

    def __call__(self, seconds: float | None, now: float) -> float:
        """Return the time on the timeline of a picture with the camera's time `seconds`."""
        if seconds is None:
            return self.at(now)
        ours, before, when = self._last
        step = seconds - before
        # After a pause of the network all pictures come late. That is not a jump.
        jumped = not -BACK_SECONDS <= step <= now - when + JUMP_SECONDS
        fell = step != 0.0 and seconds + (self._offset or 0.0) < ours - BACK_SECONDS
        begins = self._offset is None
        if self._offset is None or jumped or fell:
            self._offset = self.at(now) - seconds
            self._speed.restart()
            self._begun = self.at(now), now
        elif not self._followed:
            self._offset = self.at(now) - seconds
        if not begins and (jumped or fell or step > now - when + AHEAD_SECONDS):
            self._note_set(now)
        speed = self._speed(seconds, now)
        if self._speed.right >= RIGHT_WINDOWS:
            self.wrong_speed, self.set_too_often = 0.0, False
        if speed and not self.wrong_speed:
            self.wrong_speed = speed
            # With a slow clock, the pictures so far are too close: continue at the correct time.
            first, began = self._begun
            self._offset = max(self.at(now), first + now - began) - seconds
        # Some clocks step only once a second. Between two steps, the clock of this machine counts.
        shown = max(ours, self.at(now) if step == 0.0 else seconds + self._offset)
        self._last = (shown, seconds, now if shown > ours else when)
        return shown

    @property
    def _followed(self) -> bool:
        return not (self.wrong_speed or self.set_too_often)

    def _note_set(self, now: float) -> None:
        self._sets.append(now)
        if len(self._sets) == MOST_SETS and now - self._sets[0] < SETS_SECONDS:
            self.set_too_often = True

    def sound(self, seconds: float | None, now: float) -> float:
        """Return the time on the timeline of a packet of sound."""
        if seconds is None:
            return self.at(now)
        if self._offset is not None and self._followed:
            self._sound_offset = self._offset
        ours, _, when = self._last
        ahead = seconds + (self._sound_offset or 0.0) - ours
        if self._sound_offset is None or not -SOUND_SECONDS <= ahead <= now - when + SOUND_SECONDS:
            self._sound_offset = self.at(now) - seconds
        return seconds + self._sound_offset


class Backoff:
    """Pauses that double. Up to half is subtracted at random: not all cameras reconnect at once."""

    def __init__(self, first_seconds: float = 1.0, most_seconds: float = 30.0) -> None:
        self._first = first_seconds
        self._most = most_seconds
        self._count = 0

    def reset(self) -> None:
        """Start with the shortest pause again."""
        self._count = 0

    def next_seconds(self) -> float:
        """Return the next pause, in seconds."""
        pause = min(self._first * 2.0**self._count, self._most)
        self._count = min(self._count + 1, 16)
        return pause * random.uniform(0.5, 1.0)
