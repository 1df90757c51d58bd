"""What all tests share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from media import make_clip


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    left = [t.name for t in threading.enumerate() if t.name.startswith("streamkind-")]
    assert not left


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten frames, 64x48, 25 a second, BT.601."""
    return make_clip(tmp_path / "clip.mp4")
