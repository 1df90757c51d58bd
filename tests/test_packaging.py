"""What a stranger gets: the wheel alone, and `make demo` from a fresh clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command, **options) -> str:
    """Run a command as a user would, outside this environment; return its output."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    result = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, env=environment, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture
def clone(tmp_path):
    """What is committed, and nothing else."""
    run("git", "clone", "--quiet", ROOT, tmp_path / "clone")
    return tmp_path / "clone"


def test_the_wheel_alone_enhances_without_torch(clone, tmp_path):
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, clone)
    wheel = next(tmp_path.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert "streamkind/engines/kind-recompose.onnx" in names
    assert "streamkind/live/web/page/index.html" in names
    assert not [n for n in names if n.startswith(("tests", "tools", "engines"))]
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    binaries = tmp_path / "venv" / "bin"
    run(binaries / "pip", "install", "--quiet", wheel)
    assert "torch" not in run(binaries / "pip", "list")
    assert "verified" in run(binaries / "streamkind", "doctor", cwd=tmp_path)
    sample, clear = clone / "samples" / "night_street.mp4", tmp_path / "clear.mp4"
    run(binaries / "streamkind", "enhance", sample, clear, "--duration", "0.2", cwd=tmp_path)
    assert clear.stat().st_size > 1000


def test_make_demo_from_a_fresh_clone(clone):
    told = run("make", "demo", cwd=clone)
    for name in ("clear.mp4", "before-after.png"):
        assert str(clone / "demo" / name) in told
        assert (clone / "demo" / name).stat().st_size > 10_000
    assert not (clone / ".venv" / "lib" / "python3.11" / "site-packages" / "torch").exists()
    assert run("git", "status", "--porcelain", cwd=clone) == ""
