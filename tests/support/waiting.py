"""Waiting in tests for what other threads and processes do."""

from __future__ import annotations

import time
from collections.abc import Callable

LIMIT_SECONDS = 120.0
"""How long to wait for what must happen: far longer than on the busiest machine of tests."""
LOOK_SECONDS = 0.02
"""Interval at which a condition is looked at."""


def wait_until(true: Callable[[], object], seconds: float = LIMIT_SECONDS, what: str = "") -> None:
    """Look again and again until something is true; fail when it does not become so."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"{what or 'not true'} within {seconds:g} s"
        time.sleep(LOOK_SECONDS)
