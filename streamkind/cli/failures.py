"""Tells a failure in one line."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

from streamkind.cli.show import console
from streamkind.live.secrets import redact

DEBUG = "STREAMKIND_DEBUG"
"""The environment variable that, set to 1, shows where a failure comes from."""


def foreign(error: Exception) -> str:
    """Tell in one line of an exception that nothing in streamkind foresaw."""
    if isinstance(error, MemoryError):
        return "the memory of this machine does not suffice; free some, or choose profile realtime"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; check the path, its permissions and the disk"
    return (
        f"unexpected {type(error).__name__}: {redact(str(error)) or 'no reason given'}; expected "
        f"no such failure. Run it again with {DEBUG}=1, and report what it shows"
    )


def fail(message: str, code: int, error: BaseException | None = None) -> NoReturn:
    """Print one line and leave; before it the traceback, if it is asked for."""
    try:
        if error is not None and os.environ.get(DEBUG) == "1":
            traceback.print_exception(error)
        console.print("streamkind: " + " ".join(message.split()), markup=False)
    except OSError:  # a closed pipe or a full disk; at the end it would be tried again
        sys.stderr = None
    sys.exit(code)
