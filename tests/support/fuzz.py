"""Fuzzing of an HTTP API by its OpenAPI document."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.console_at import TOKEN


def fuzzed(url: str, folder: Path, examples: int) -> subprocess.CompletedProcess[str]:
    """Run schemathesis with so many examples for each operation, in a folder of its own."""
    command = [Path(sys.executable).with_name("schemathesis"), "run"]
    command += ["--max-examples", str(examples), "--seed", "1", "--no-color"]
    command += ["--header", f"Authorization: Bearer {TOKEN}"]
    # What names, places and URLs there are, no JSON schema says; and with 405 Starlette tells the
    # methods of the first route of a path, not of all.
    command += ["--exclude-checks", "positive_data_acceptance,allow_header_conformance"]
    return subprocess.run(
        [*command, url + "openapi.json"], capture_output=True, text=True, timeout=280, cwd=folder
    )
