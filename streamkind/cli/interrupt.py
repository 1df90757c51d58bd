"""Ends a command at a signal."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

from streamkind.cli.early import ENDING
from streamkind.platform import signal_main_thread

AGAIN_SECONDS = 0.02
"""Time until a signal that arrived during an import is sent again, in seconds. Chosen by hand."""
CLEANUP_SECONDS = 2.0
"""Time after the first signal in which others are ignored, in seconds. The end of a session may
send several at once, and the second one must not interrupt the removal of partial results. Chosen
by hand."""


class InterruptHandler:
    """Ends the command at the first signal by KeyboardInterrupt: partial results are removed.

    During an import the signal is sent again a little later, because a compiled module may convert
    the exception to an ImportError, and cannot be imported again.
    """

    begun: float | None = None
    """When KeyboardInterrupt was raised, in seconds of the monotonic clock."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        now = time.monotonic()
        if self.begun is not None and now < self.begun + CLEANUP_SECONDS:
            return
        while frame is not None:
            if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
                timer = threading.Timer(AGAIN_SECONDS, signal_main_thread, [number])
                timer.daemon = True
                timer.start()
                return
            frame = frame.f_back
        self.begun = now
        raise KeyboardInterrupt


def interrupted() -> bool:
    """Return whether a signal has begun to end the command. Any thread may ask."""
    handlers = (signal.getsignal(number) for number in ENDING)
    return any(getattr(handler, "begun", None) is not None for handler in handlers)
