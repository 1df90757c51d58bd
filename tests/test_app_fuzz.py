"""The API of the page for files against its own OpenAPI: no 500, no undeclared answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.app_at import app_at
from support.console_at import TOKEN, two_cameras
from support.media import make_clip


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path):
    folder = tmp_path / "nights"
    folder.mkdir()
    make_clip(folder / "night.mp4")
    command = [Path(sys.executable).with_name("schemathesis"), "run", "--max-examples", "10"]
    command += ["--header", f"Authorization: Bearer {TOKEN}", "--seed", "1", "--no-color"]
    # Which places and names there are, no JSON schema says; and with 405 Starlette tells the
    # methods of the first route of a path, not of all.
    command += ["--exclude-checks", "positive_data_acceptance,allow_header_conformance"]
    with app_at(tmp_path, [folder], TOKEN, fleet=two_cameras()) as app:
        done = subprocess.run(
            [*command, app.url + "openapi.json"],
            capture_output=True,
            text=True,
            timeout=280,
            cwd=tmp_path,
        )
        assert app.get("/api/about").status_code == 200
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Tested: 34" in done.stdout
