"""The published packages: the wheel alone, and `make demo` from a fresh clone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from streamkind import __version__
from streamkind.model.released import APART, PARTS

ROOT = Path(__file__).parents[1]
HOME = "https://github.com/owner/name"
PYTHONS = ("3.11", "3.12", "3.13")
UV = Path(sys.executable).with_name("uv")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


OWN = ("PYTHONPATH", "VIRTUAL_ENV")
OUTSIDE = {name: value for name, value in os.environ.items() if name not in OWN}
"""Environment variables outside this virtual environment, as a user has them."""


def run(*command, code: int = 0, **options) -> str:
    """Run a command as a user would, outside this environment; return its output."""
    words = [str(c) for c in command]
    result = subprocess.run(words, capture_output=True, text=True, env=OUTSIDE, **options)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Return a clone of the repository, which has only committed files."""
    folder = tmp_path_factory.mktemp("source") / "clone"
    run("git", "clone", "--quiet", ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def dist(clone, tmp_path_factory):
    """Return a folder with the wheel and the source distribution, built as for a release."""
    folder = tmp_path_factory.mktemp("dist")
    source = shutil.copytree(clone, tmp_path_factory.mktemp("named") / "source")
    run(sys.executable, source / ".github" / "name_home.py", HOME, "v0", source)
    run(sys.executable, "-m", "build", "--outdir", folder, source)
    return folder


def wheel_of(dist: Path) -> Path:
    (wheel,) = dist.glob("*.whl")
    return wheel


def test_the_published_packages_are_complete_and_small(dist):
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


def test_the_page_of_the_package_leads_to_the_repository(dist):
    with zipfile.ZipFile(wheel_of(dist)) as wheel:
        (told,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        page = message_from_bytes(wheel.read(told))
    urls = dict(line.split(", ") for line in page.get_all("Project-URL"))
    assert urls["Homepage"] == HOME
    assert urls["Changelog"] == f"{HOME}/blob/v0/CHANGELOG.md"
    text = page.get_payload()
    assert f"]({HOME}/raw/v0/docs/before-after.jpg)" in text
    assert re.findall(r"\]\((?!https://)[^)]*\)", text) == []
    assert page["Author"] and page["Version"] == __version__
    python = {c.rpartition(" ")[2] for c in page.get_all("Classifier") if "Python :: 3." in c}
    assert python == set(PYTHONS)


def interpreter(version: str) -> Path:
    """Return the path of a Python of a version; skip the test if there is none."""
    if sys.version.startswith(f"{version}."):
        return Path(sys.executable)
    kept = (".pyenv/versions", ".local/share/uv/python")
    found = [
        path for folder in kept for path in Path.home().glob(f"{folder}/*/bin/python{version}")
    ]
    for path in [shutil.which(f"python{version}"), *found]:
        if path and not subprocess.run([path, "--version"], capture_output=True).returncode:
            return Path(path)
    pytest.skip(f"there is no Python {version} here")


@pytest.mark.parametrize("python", PYTHONS)
def test_the_wheel_alone_enhances_and_serves_without_torch(dist, clone, tmp_path, python):
    run(UV, "venv", "--quiet", "--python", interpreter(python), tmp_path / "venv")
    binaries = tmp_path / "venv" / "bin"
    here = ("--python", binaries / "python")
    run(UV, "pip", "install", "--quiet", *here, f"{wheel_of(dist)}[live]")
    assert "torch" not in run(UV, "pip", "list", *here)
    sample, clear = clone / "samples" / "night_street.mp4", tmp_path / "clear.mp4"
    enhance = (binaries / "streamkind", "enhance", sample, clear, "--duration", "0.2")
    told = run(binaries / "streamkind", "doctor", cwd=tmp_path)
    assert "verified" in told
    assert "problem" not in told
    run(*enhance, cwd=tmp_path)
    assert clear.stat().st_size > 1000
    told = run(*enhance, "--model", "kindpp", code=1, cwd=tmp_path)
    assert "set STREAMKIND_ENGINES to its folder" in " ".join(told.split())
    named = ("env", f"STREAMKIND_ENGINES={clone / 'engines'}")
    told = run(*named, binaries / "streamkind", "doctor", cwd=tmp_path)
    assert len(re.findall(r"^kindpp .* verified", told, re.MULTILINE)) == len(PARTS)
    (tmp_path / "cameras.toml").write_text(
        f'[console]\nport = 0\n[camera.a]\nurl = "file:{sample}"\n'
    )
    serve = [binaries / "streamkind", "serve", "cameras.toml"]
    options = {"stderr": subprocess.PIPE, "text": True, "cwd": tmp_path, "env": OUTSIDE}
    with subprocess.Popen(serve, **options) as server:
        told = next((line for line in server.stderr if "a: " in line), "")
        server.terminate()
        assert told
        assert server.wait(30) == 0


@pytest.mark.parametrize("runner", ["uvx", "pipx"])
def test_runners_run_the_wheel(dist, clone, tmp_path, runner):
    uvx, home = UV.with_name("uvx"), f"PIPX_HOME={tmp_path}"
    words = {
        "uvx": (uvx, "--from", wheel_of(dist), "streamkind"),
        "pipx": ("env", home, uvx, "pipx", "run", "--spec", wheel_of(dist), "streamkind"),
    }[runner]
    told = run(*words, "--version", cwd=tmp_path)
    assert __version__ in told.split()  # runners also print what they install
    sample, clear = clone / "samples" / "night_street.mp4", tmp_path / "clear.mp4"
    run(*words, "enhance", sample, clear, "--duration", "0.2", cwd=tmp_path)
    assert clear.stat().st_size > 1000


def test_make_demo_from_a_fresh_clone(clone):
    told = run("make", "demo", cwd=clone)
    for name in ("clear.mp4", "before-after.png"):
        assert str(clone / "demo" / name) in told
        assert (clone / "demo" / name).stat().st_size > 10_000
    assert not (clone / ".venv" / "lib" / "python3.11" / "site-packages" / "torch").exists()
    assert run("git", "status", "--porcelain", cwd=clone) == ""
