"""Fuzzing of an HTTP API by its OpenAPI document."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.console_at import TOKEN


def fuzzed(url: str, folder: Path, examples: int) -> subprocess.CompletedProcess[str]:
    """Run schemathesis in `folder`, with `examples` examples for each operation of the API."""
    command = [Path(sys.executable).with_name("schemathesis"), "run"]
    command += ["--max-examples", str(examples), "--seed", "1", "--no-color"]
    command += ["--header", f"Authorization: Bearer {TOKEN}"]
    # A JSON schema cannot say which names, places and URLs exist. In an answer 405, Starlette
    # lists the methods of the first route of a path only.
    command += ["--exclude-checks", "positive_data_acceptance,allow_header_conformance"]
    return subprocess.run(
        [*command, url + "openapi.json"], capture_output=True, text=True, timeout=280, cwd=folder
    )
