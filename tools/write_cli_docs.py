"""Write docs/cli.md from the program's help, and the settings of cameras in docs/live.md."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from streamkind.live.config import CameraSettings

DOCS = Path(__file__).parents[1] / "docs"

INTRODUCTION = """# Command line

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a batch of which some files failed, 130 interrupted.
`stream`, `serve` and `app` end with 0 when they are stopped. `doctor` ends with 1 if it finds a
problem. A failure is one line on stderr. `streamkind --version` prints the version.
Messages and progress go to stderr. The output appears under its name only when it is complete.
"""

COMMANDS = (
    *("enhance", "batch", "app", "stream", "serve", "track", "plot", "score", "bench", "doctor"),
    *(f"engines {name}" for name in ("build", "export", "list", "info", "prune", "verify")),
)
"""Commands that docs/cli.md shows, in this order."""


def help_of(command: str) -> str:
    """Return what `streamkind COMMAND --help` prints."""
    words = [sys.executable, "-m", "streamkind", *command.split(), "--help"]
    environment = os.environ | {"COLUMNS": "100"}
    result = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    return result.stdout.strip()


def values_of(told: dict[str, Any]) -> str:
    """Return the values that a setting may have, by its JSON schema, as Markdown."""
    kinds = told.get("anyOf", [told])
    choices = [f"`{v}`" for kind in kinds for v in kind.get("enum", [kind.get("const")]) if v]
    for kind in kinds:
        least = kind.get("minimum", kind.get("exclusiveMinimum"))
        if least is not None:
            above = "above " if "exclusiveMinimum" in kind else ""
            most = f" to {kind['maximum']:g}" if "maximum" in kind else " or more"
            choices.append(f"{above}{least:g}{most}")
    return ", ".join(choices)


def settings_table() -> str:
    """Return the settings of a camera as a Markdown table."""
    lines = ["| key | default | values | what |", "| --- | --- | --- | --- |"]
    for name, told in CameraSettings.model_json_schema()["properties"].items():
        default = f"`{json.dumps(told['default'])}`" if "default" in told else ""
        what = " ".join(told["description"].split())
        lines.append(f"| `{name}` | {default} | {values_of(told)} | {what} |")
    return "\n".join(lines)


def main() -> None:
    """Write docs/cli.md, and the table of settings in docs/live.md."""
    parts = [INTRODUCTION]
    for command in COMMANDS:
        parts.append(f"## streamkind {command}\n\n```\n{help_of(command)}\n```\n")
    (DOCS / "cli.md").write_text("\n".join(parts))
    page = (DOCS / "live.md").read_text()
    table = re.compile(r"^\| key \| default .*?(?=\n\n)", re.DOTALL | re.MULTILINE)
    (DOCS / "live.md").write_text(table.sub(lambda _: settings_table(), page))


if __name__ == "__main__":
    main()
