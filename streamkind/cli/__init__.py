"""The command line: all commands, and everything that is printed. This module imports quickly."""

from __future__ import annotations

import atexit
import os
import signal
import sys

from streamkind.cli.early import ENDING, hold_closed_streams, leave_at_signals

TYPE_CHECKING = False  # the module `typing` takes longer to import than this one
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the program: the command line, and then the end of the process."""
    quick_exit = QuickExit()
    atexit.register(quick_exit)  # the first one that is registered is the last one that is called
    try:
        run()
    except SystemExit as exc:
        for number in ENDING:  # the rest is short, and the last line has been printed
            signal.signal(number, signal.SIG_IGN)
        quick_exit.code = exc.code if isinstance(exc.code, int) else 0
        raise


def run() -> NoReturn:
    """Run the command line; every failure is one line on stderr and an exit code."""
    leave_at_signals()
    hold_closed_streams()
    from streamkind.platform import print_anything

    print_anything()
    from streamkind.cli.app import main as run_app

    run_app()


class QuickExit:
    """Ends the process by `os._exit`, so that Python does not destroy the objects of libraries.

    That could take seconds. If a thread still uses such an object, for example to compile, the
    process would abort or wait forever.
    """

    code: int | None = None
    """Exit code; None if Python has a traceback to print."""

    def __call__(self) -> None:
        """Leave, after all other functions that `atexit` calls."""
        if self.code is None:
            return
        try:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
        except (OSError, ValueError):  # a closed pipe or a full disk, which Python reports
            return
        os._exit(self.code)
