"""The API of the page for files, tested by its OpenAPI: no 500, no undeclared response."""

from __future__ import annotations

import pytest
from support.app_at import app_at
from support.console_at import TOKEN, two_cameras
from support.fuzz import fuzzed
from support.media import make_clip


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path):
    folder = tmp_path / "nights"
    folder.mkdir()
    make_clip(folder / "night.mp4")
    with app_at(tmp_path, [folder], TOKEN, fleet=two_cameras()) as app:
        done = fuzzed(app.url, tmp_path, 10)
        assert app.get("/api/about").status_code == 200
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Tested: 34" in done.stdout
