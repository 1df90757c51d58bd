"""What a stranger gets: the wheel alone, and `make demo` from a fresh clone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from streamkind import __version__
from streamkind.model.released import APART, PARTS

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


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What is committed, and nothing else."""
    folder = tmp_path_factory.mktemp("source") / "clone"
    run("git", "clone", "--quiet", ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def dist(clone, tmp_path_factory):
    """The folder of the wheel and the source distribution, as they would be published."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", folder, clone)
    return folder


def wheel_of(dist: Path) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


def test_what_is_published_is_whole_and_small(dist):
    run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir())
    assert wheel_of(dist).stat().st_size < 20e6
    names = set(zipfile.ZipFile(wheel_of(dist)).namelist())
    models = json.loads((ROOT / "engines" / "engine.json").read_text())["models"]
    graphs = {
        f"streamkind/engines/{info[part]['file']}"
        for name, info in models.items()
        for part in PARTS
        if name not in APART
    }
    assert graphs == {name for name in names if name.endswith(".onnx")}
    assert {f"streamkind/{p}" for p in ("live/web/page/index.html", "app/page/files.html")} <= names
    assert not [n for n in names if n.startswith(("tests", "tools", "engines"))]


def test_the_wheel_alone_enhances_and_serves_without_torch(dist, clone, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    binaries = tmp_path / "venv" / "bin"
    run(binaries / "pip", "install", "--quiet", f"{wheel_of(dist)}[live]")
    assert "torch" not in run(binaries / "pip", "list")
    sample, clear = clone / "samples" / "night_street.mp4", tmp_path / "clear.mp4"
    enhance = (binaries / "streamkind", "enhance", sample, clear, "--duration", "0.2")
    told = run(binaries / "streamkind", "doctor", cwd=tmp_path)
    assert "verified" in told
    assert "problem" not in told
    run(*enhance, cwd=tmp_path)
    assert clear.stat().st_size > 1000
    failed = subprocess.run(
        [*enhance, "--model", "kindpp"], capture_output=True, text=True, cwd=tmp_path
    )
    assert failed.returncode == 1
    assert "name its folder in STREAMKIND_ENGINES" in " ".join(failed.stderr.split())
    named = ("env", f"STREAMKIND_ENGINES={clone / 'engines'}")
    told = run(*named, binaries / "streamkind", "doctor", cwd=tmp_path)
    assert len(re.findall(r"^kindpp .* verified", told, re.MULTILINE)) == len(PARTS)
    (tmp_path / "cameras.toml").write_text(
        f'[console]\nport = 0\n[camera.a]\nurl = "file:{sample}"\n'
    )
    serve = [binaries / "streamkind", "serve", "cameras.toml"]
    with subprocess.Popen(serve, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as server:
        told = next((line for line in server.stderr if "a: " in line), "")
        server.terminate()
        assert told
        assert server.wait(30) == 0


def test_uvx_runs_the_wheel(dist, tmp_path):
    uvx = Path(sys.executable).with_name("uvx")
    told = run(uvx, "--from", wheel_of(dist), "streamkind", "--version", cwd=tmp_path)
    assert __version__ in told.split()  # uvx tells what it installs, too


def test_make_demo_from_a_fresh_clone(clone):
    told = run("make", "demo", cwd=clone)
    for name in ("clear.mp4", "before-after.png"):
        assert str(clone / "demo" / name) in told
        assert (clone / "demo" / name).stat().st_size > 10_000
    assert not (clone / ".venv" / "lib" / "python3.11" / "site-packages" / "torch").exists()
    assert run("git", "status", "--porcelain", cwd=clone) == ""
