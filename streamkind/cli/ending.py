"""Signals that end the command, and its exit code after them. Quick to import."""

from __future__ import annotations

from streamkind.platform import RELOAD, STOP

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells use it: 128 and the number of SIGINT."""
ENDING = (*STOP, *RELOAD)
"""Ctrl-C, a service manager's stop, and the end of a terminal."""
