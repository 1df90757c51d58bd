"""Handles signals and closed streams before the rest of the command is imported.

It imports only modules that Python has loaded already.
"""

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
"""Signals that end the command: Ctrl-C, the stop of a service manager, the end of a terminal, and
Ctrl-Break on Windows."""


def hold_closed_streams() -> None:
    """Open the null device as each standard stream that is closed.

    Otherwise a file of the command would get its number, and libraries would print into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number


def leave_at_signals() -> None:
    """End with one line at each of `ENDING` that is not ignored. nohup, for one, ignores SIGHUP."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def _leave(number: int, frame: object) -> None:
    """End without an exception, because during an import it may be converted to another one."""
    sys.stderr.write("streamkind: interrupted; nothing was begun\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)
