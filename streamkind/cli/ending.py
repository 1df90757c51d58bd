"""How the command is ended from outside: signals and the exit code. Quick to import."""

from __future__ import annotations

from streamkind.platform import RELOAD, STOP

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
ENDING = (*STOP, *RELOAD)
"""Ctrl-C, a service manager's stop, and the end of a terminal."""
