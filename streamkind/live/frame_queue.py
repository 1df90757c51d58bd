"""A short queue of frames. Adding never waits: the oldest frame is dropped instead."""

from __future__ import annotations

import threading
from collections import deque

from streamkind.engine.whole import Finish
from streamkind.video.frames import Pixels

INTERVALS = 16
"""Number of intervals between frames that are averaged."""


class WaitingFrame:
    """A frame that waits for the engine or for the encoder."""

    __slots__ = "_lock", "_pixels", "before", "decoded", "seconds"

    def __init__(
        self,
        pixels: Pixels | Finish,
        seconds: float,
        decoded: float,
        before: Pixels | None = None,
    ) -> None:
        """`pixels` may be the function that finishes an enhanced frame."""
        self._pixels = pixels
        self._lock = threading.Lock()
        self.seconds = seconds
        """Time on the output's timeline, in seconds."""
        self.decoded = decoded
        """Time at which it was decoded, by `time.monotonic`."""
        self.before = before
        """The same frame before it was enhanced, if outputs show it too."""

    @property
    def pixels(self) -> Pixels:
        """RGB, uint8, (H, W, 3), or yuv420p with the tags `HD`, (3 H / 2, W).

        An enhanced frame is finished by the first thread that reads it. One that is dropped never
        is.
        """
        with self._lock:
            if callable(self._pixels):
                self._pixels = self._pixels()
            return self._pixels


class FrameQueue:
    """A queue of at most `depth` frames. Any thread may add and take frames."""

    def __init__(self, depth: int, ready: threading.Condition | None = None) -> None:
        """Create an empty queue that notifies `ready` of each frame."""
        self.ready = ready or threading.Condition()
        self._frames: deque[WaitingFrame] = deque()
        self._depth = depth
        self._dropped = 0
        self._came: deque[float] = deque(maxlen=INTERVALS + 1)

    def __len__(self) -> int:
        """Return the number of waiting frames."""
        with self.ready:
            return len(self._frames)

    @property
    def dropped(self) -> int:
        """Number of frames that were replaced by newer ones, were too old, or failed."""
        with self.ready:
            return self._dropped

    @property
    def interval(self) -> float:
        """Mean interval of the last frames, in seconds; 0 before the second frame."""
        with self.ready:
            intervals = max(1, len(self._came) - 1)
            return (self._came[-1] - self._came[0]) / intervals if self._came else 0.0

    @property
    def is_full(self) -> bool:
        """Whether `put` would drop the oldest frame."""
        return len(self) >= self._depth

    def put(self, frame: WaitingFrame) -> None:
        """Add a frame without waiting. If the queue is full, the oldest frame is dropped."""
        with self.ready:
            if self.is_full:
                self._frames.popleft()
                self._dropped += 1
            self._frames.append(frame)
            self._came.append(frame.decoded)
            self.ready.notify_all()

    def peek(self) -> WaitingFrame | None:
        """Return the oldest frame and leave it in the queue; None if there is none."""
        with self.ready:
            return self._frames[0] if self._frames else None

    def take(self, oldest: float, *, last: bool = True) -> WaitingFrame | None:
        """Take the first frame that was decoded at `oldest` or later. Drop the frames before it.

        `oldest` is a time of `time.monotonic`. Returns None if there is no such frame. With `last`,
        the newest frame is taken even if it is too old, so that the output continues.
        """
        with self.ready:
            while len(self._frames) > last and self._frames[0].decoded < oldest:
                self._frames.popleft()
                self._dropped += 1
            return self._frames.popleft() if self._frames else None

    def count_dropped(self) -> None:
        """Count a frame as dropped, because it was taken and could not be enhanced."""
        with self.ready:
            self._dropped += 1

    def clear(self) -> None:
        """Drop all frames."""
        with self.ready:
            self._dropped += len(self._frames)
            self._frames.clear()
