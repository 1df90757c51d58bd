"""The command line: all commands and all printing. This module is quick to import."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from streamkind.cli.ending import ENDING, INTERRUPTED
from streamkind.platform import print_anything


def main() -> NoReturn:
    """Run the command line; every failure is one line on stderr and an exit code."""
    print_anything()
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup has SIGHUP ignored
            signal.signal(number, _leave)
    from streamkind.cli.app import main as run

    run()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """End while modules are being imported: an exception there may be turned into another."""
    sys.stderr.write("streamkind: interrupted; nothing was begun\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)
