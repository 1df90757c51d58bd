"""Waiting in tests for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT_SECONDS = 120.0
"""Longest wait for a condition, in seconds. No condition takes that long on a busy machine."""
LOOK_SECONDS = 0.02
"""Interval between two checks of a condition, in seconds."""


def wait_until(true: Callable[[], object], seconds: float = LIMIT_SECONDS, what: str = "") -> None:
    """Call `true` until it returns a true value; fail after `seconds`."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"{what or 'not true'} within {seconds:g} s"
        time.sleep(LOOK_SECONDS)
