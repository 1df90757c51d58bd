"""Times of live cameras: one rising timeline through reconnects, and pauses between attempts.

The tests put clocks that jump, stand still or run wrong through it (`tests/test_live_parts.py`).
"""

from __future__ import annotations

import random
from collections import deque

JUMP_SECONDS = 3.0
"""Step ahead of our clock, from one picture to the next, from which on the camera's clock was
set."""
BACK_SECONDS = 0.25
"""Step back, from one picture to the next, from which on the camera's clock was set."""
AHEAD_SECONDS = 1.0
"""Step ahead of our clock that a clock which runs does not often take."""
MOST_SETS, SETS_SECONDS = 3, 15.0
"""A camera's clock that is set, or steps so far ahead, so often in this time is not followed."""
WINDOW_SECONDS, WINDOW_PICTURES = 1.0, 4
"""Least duration and least number of pictures of one measurement of a clock's speed."""
WRONG_SPEED = 0.25
"""Relative difference of speed from our clock, in two measurements in a row, from which on the
camera's clock is not followed."""
RIGHT_WINDOWS = 10
"""Correct measurements in a row after which a clock is followed again."""
SOUND_SECONDS = 1.0
"""Distance from the picture from which on sound belongs to another timeline."""


class Speed:
    """Measures the speed of a camera's clock, from the smallest delay of its pictures.

    Stalls and bursts of the network only increase the delay of some pictures.
    """

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget all measurements, as another timeline begins."""
        self._began: float | None = None
        self._count = 0
        self._least = (0.0, 0.0)
        self._before: tuple[float, float] | None = None
        self._wrong = 0
        self.right = 0
        """Measurements in a row that were not wrong."""

    def __call__(self, seconds: float, now: float) -> float:
        """Take the time stamp of a picture. Return the speed of a wrong clock, else 0."""
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
    """Maps a camera's clock, which starts anew at each connection, to one rising timeline.

    The thread that reads the camera changes it; any thread may call `at`.
    """

    def __init__(self, now: float) -> None:
        """Begin the timeline at 0 at the time `now`, in seconds of `time.monotonic`."""
        self._last = (0.0, 0.0, now)  # ours, the camera's, and when; one tuple, changed at once
        self._offset: float | None = None
        self._sound_offset: float | None = None
        self._speed = Speed()
        self._begun = (0.0, now)
        """Our time and `now` of the first picture of this timeline."""
        self.wrong_speed = 0.0
        """Seconds that a wrong camera clock counts per second; 0 while its speed is right."""
        self.restless = False
        """Whether the camera's clock is set so often that it is not followed."""
        self._sets: deque[float] = deque(maxlen=MOST_SETS)
        """When it was set last."""

    def restart(self) -> None:
        """Expect other time stamps, because of a new connection."""
        self._offset = self._sound_offset = None
        self.wrong_speed, self.restless = 0.0, False
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
        # After a stall of the network everything comes late. That is not a jump.
        jumped = not -BACK_SECONDS <= step <= now - when + JUMP_SECONDS
        fell = step != 0.0 and seconds + (self._offset or 0.0) < ours - BACK_SECONDS
        if self._offset is None or jumped or fell:
            self._offset = self.at(now) - seconds
            self._speed.restart()
            self._begun = self.at(now), now
        elif not self._followed:
            self._offset = self.at(now) - seconds
        if jumped or fell or step > now - when + AHEAD_SECONDS:
            self._was_set(now)
        speed = self._speed(seconds, now)
        if self._speed.right >= RIGHT_WINDOWS:
            self.wrong_speed, self.restless = 0.0, False
        if speed and not self.wrong_speed:
            self.wrong_speed = speed
            # A slow clock has compressed the pictures so far: continue at the correct time.
            first, began = self._begun
            self._offset = max(self.at(now), first + now - began) - seconds
        # Some clocks step seldom, once a second: between two steps ours goes on.
        shown = max(ours, self.at(now) if step == 0.0 else seconds + self._offset)
        self._last = (shown, seconds, now if shown > ours else when)
        return shown

    @property
    def _followed(self) -> bool:
        return not (self.wrong_speed or self.restless)

    def _was_set(self, now: float) -> None:
        self._sets.append(now)
        if len(self._sets) == MOST_SETS and now - self._sets[0] < SETS_SECONDS:
            self.restless = True

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
    """Pauses that double, each shortened at random so that cameras do not reconnect together."""

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
