"""What ends the command before the rest of it is imported. Imports only what Python has loaded."""

from __future__ import annotations

import os
import signal
import sys

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells use it: 128 and the number of SIGINT."""
ENDING = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
]
"""Ctrl-C, a service manager's stop, the end of a terminal, and Ctrl-Break on Windows."""


def leave_at_signals() -> None:
    """End with one line at each of these signals, unless it is ignored, as SIGHUP by nohup."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def _leave(number: int, frame: object) -> None:
    """End while modules are being imported: an exception there may be turned into another."""
    sys.stderr.write("streamkind: interrupted; nothing was begun\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)
