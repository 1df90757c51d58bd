"""Reports a failure in one line."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

from streamkind.cli.show import console, printable
from streamkind.errors import in_words
from streamkind.live.secrets import redact

DEBUG = "STREAMKIND_DEBUG"
"""Environment variable that shows the traceback of a failure if it is 1."""


def line_for(error: Exception) -> str:
    """Return one line for an exception that is not one of streamkind's own."""
    return in_words(error) or (
        f"unexpected {type(error).__name__}: {redact(str(error)) or 'no reason given'}; this is a "
        f"bug in streamkind; run the command again with {DEBUG}=1, and report its output"
    )


def fail(message: str, code: int, error: BaseException | None = None) -> NoReturn:
    """Print one line, with the traceback before it if that is asked for, and exit with `code`."""
    try:
        if error is not None and os.environ.get(DEBUG) == "1":
            traceback.print_exception(error)
        console.print("streamkind: " + printable(" ".join(message.split())), markup=False)
    except OSError:  # a closed pipe or a full disk; Python would try to write again at exit
        sys.stderr = None
    sys.exit(code)
