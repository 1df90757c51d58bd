"""Write docs/cli.md from the program's own help: python tools/write_cli_docs.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

INTRODUCTION = """# Command line

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a batch of which some files failed, 130 interrupted.
A failure is one line on stderr.
Messages and progress go to stderr. The output appears under its name only when it is complete.
"""

COMMANDS = (
    *("enhance", "batch", "stream", "serve", "track", "plot", "score", "bench", "doctor"),
    *(f"engines {name}" for name in ("build", "list", "info", "prune", "verify")),
)


def help_of(command: str) -> str:
    """Return what `streamkind COMMAND --help` prints."""
    words = [sys.executable, "-m", "streamkind", *command.split(), "--help"]
    environment = os.environ | {"COLUMNS": "100"}
    result = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    return result.stdout.strip()


def main() -> None:
    """Write the page."""
    parts = [INTRODUCTION]
    for command in COMMANDS:
        parts.append(f"## streamkind {command}\n\n```\n{help_of(command)}\n```\n")
    path = Path(__file__).parents[1] / "docs" / "cli.md"
    path.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
