"""A short queue of frames that never makes anybody wait: the oldest give way."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from streamkind.video.frames import Pixels


@dataclass(frozen=True, slots=True)
class Waiting:
    """A frame on its way."""

    pixels: Pixels
    """RGB, uint8, (H, W, 3), or planes in the colours of `HD`, (3 H / 2, W)."""
    seconds: float
    """On the output's timeline."""
    decoded: float
    """When it was decoded, `time.monotonic`."""


class Inbox:
    """Frames that wait, at most `depth`. Any thread may put and take."""

    def __init__(self, depth: int, ready: threading.Condition | None = None) -> None:
        """Notify `ready` of each frame."""
        self.ready = ready or threading.Condition()
        self._frames: deque[Waiting] = deque()
        self._depth = depth
        self._dropped = 0

    def __len__(self) -> int:
        """Return how many wait."""
        with self.ready:
            return len(self._frames)

    @property
    def dropped(self) -> int:
        """Frames that gave way, were too old, or came to nothing."""
        with self.ready:
            return self._dropped

    @property
    def is_full(self) -> bool:
        """Whether one more would make the oldest give way."""
        return len(self) >= self._depth

    def put(self, frame: Waiting) -> None:
        """Add a frame; never waits."""
        with self.ready:
            if self.is_full:
                self._frames.popleft()
                self._dropped += 1
            self._frames.append(frame)
            self.ready.notify_all()

    def peek(self) -> Waiting | None:
        """Return the oldest frame, which stays."""
        with self.ready:
            return self._frames[0] if self._frames else None

    def take(self, oldest: float, *, last: bool = True) -> Waiting | None:
        """Return the oldest frame decoded since `oldest`; all before are dropped.

        But the newest is not, with `last`: where all is late, something must still come.
        """
        with self.ready:
            while len(self._frames) > last and self._frames[0].decoded < oldest:
                self._frames.popleft()
                self._dropped += 1
            return self._frames.popleft() if self._frames else None

    def lose(self) -> None:
        """Count a frame that was taken, and came to nothing."""
        with self.ready:
            self._dropped += 1

    def clear(self) -> None:
        """Drop all."""
        with self.ready:
            self._dropped += len(self._frames)
            self._frames.clear()
