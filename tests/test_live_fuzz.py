"""The API against its own OpenAPI: no 500 and no undeclared answer to schemathesis."""

from __future__ import annotations

import pytest
from support.console_at import TOKEN, console_at, two_cameras
from support.fuzz import fuzzed


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path):
    with console_at(two_cameras(), TOKEN) as console:
        done = fuzzed(console.url, tmp_path, 40)
        assert console.get("/healthz").status_code == 200
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Tested: 14" in done.stdout
