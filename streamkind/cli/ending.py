"""How the command is ended from outside: signals and the exit code. Quick to import."""

from __future__ import annotations

import signal

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""
ENDING = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
"""Ctrl-C, a service manager's stop, and the end of a terminal."""
