"""Functions for systems other than Linux, tested on a simulated Windows where needed."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from support.media import make_clip, read_video

import streamkind
from streamkind import platform

ROOT = Path(__file__).parents[1]
WINDOWS = ROOT / "tests" / "support" / "windows.py"
COMMANDS = {
    "doctor": "doctor",
    "engines": "engines list",
    "enhance": "enhance clip.mp4 clear.mp4 --profile realtime",
    "again": "enhance clip.mp4 clear.mp4 --profile realtime",
    "folder": "enhance photos clear-photos --model student",
    "batch": "batch clip.mp4 more --out out --nice 5 --profile realtime",
    "track": "track clip.mp4 ratios.csv",
    "serve": "serve cameras.toml",
}
PLATFORMS = {
    "win_amd64": ["win_amd64"],
    "macosx arm64": [f"macosx_{version}_0_arm64" for version in (11, 12, 13, 14)],
    # By the version of glibc that wheels need. Debian 12 has 2.36, Ubuntu 22.04 has 2.35.
    "manylinux aarch64": [
        f"manylinux{libc}_aarch64" for libc in ("2014", "_2_17", "_2_28", "_2_31", "_2_34", "_2_35")
    ],
}
"""Platform tags of pip for each system."""
CAMERAS = """
[console]
port = 0

[camera.a]
url = "file:clip.mp4"
"""


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """Run COMMANDS on the simulated Windows; return their folder, and their results by name."""
    folder = tmp_path_factory.mktemp("windows")
    make_clip(folder / "clip.mp4", frames=8)
    (folder / "photos").mkdir()
    (folder / "clear-photos").mkdir()
    (folder / "more").mkdir()
    make_clip(folder / "more" / "b.mp4", frames=4)
    cv2.imwrite(str(folder / "photos" / "one.png"), np.full((48, 64, 3), 20, np.uint8))
    (folder / "cameras.toml").write_text(CAMERAS)
    words = json.dumps([line.split() for line in COMMANDS.values()])
    environment = os.environ | {"LOCALAPPDATA": str(folder / "local"), "PYTHONPATH": str(ROOT)}
    environment.pop("STREAMKIND_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-P", WINDOWS, words],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    imported, *results = json.loads(done.stdout)
    return folder, dict(zip(["import", *COMMANDS], [imported, *results], strict=True))


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_run_with_what_windows_has(windows, name):
    result = windows[1][name]
    assert result["code"] == 0, result["told"]


def test_every_module_of_the_runtime_is_imported_there(windows):
    assert len(windows[1]["import"]["told"]) > 60


def test_results_are_put_in_place_there(windows):
    folder, results = windows
    assert len(read_video(folder / "clear.mp4").images) == 8
    assert [p.name for p in (folder / "clear-photos").iterdir()] == ["one.png"]
    assert {p.name for p in (folder / "out").rglob("*") if p.is_file()} >= {"clip.mp4", "b.mp4"}
    assert not [p for p in folder.rglob("*") if "partial" in p.name or p.suffix == ".lock"]
    assert str(folder / "local" / "streamkind" / "plans") in results["doctor"]["told"]
    assert "frames out" in results["serve"]["told"]


def test_text_is_read_and_written_as_utf8_whatever_the_system_has():
    lacking = []
    for path in sorted(Path(streamkind.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                named = {keyword.arg for keyword in node.keywords}
                if node.func.attr in ("read_text", "write_text") and "encoding" not in named:
                    lacking.append(f"{path.name}:{node.lineno}")
    assert lacking == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [("наряд", "?????"), ("夜", "?"), ("naïve", "naïve")],
)
def test_a_console_of_cp1252_shows_what_it_can(tmp_path, name, shown):
    words = [sys.executable, "-m", "streamkind", "enhance", f"{name}.mp4", "b.mp4"]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252:strict", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, capture_output=True, cwd=tmp_path, env=environment, timeout=60)
    assert done.returncode == 1
    assert f"{shown}.mp4: no such file" in done.stderr.decode("cp1252")


@pytest.mark.parametrize(
    ("windows", "failures", "fails"),
    [(True, 0, False), (True, 3, False), (True, 10**6, True), (False, 1, True)],
)
def test_replacing_a_file_that_a_virus_scanner_holds_is_retried_on_windows(
    tmp_path, monkeypatch, windows, failures, fails
):
    left = iter([PermissionError] * failures)
    real = os.replace

    def replace(source, target):
        if error := next(left, None):
            raise error(13, "used by another process")
        real(source, target)

    monkeypatch.setattr(platform, "WINDOWS", windows)
    monkeypatch.setattr(platform, "REPLACE_SECONDS", 0.2 if fails else 60)
    monkeypatch.setattr(os, "replace", replace)
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    if fails:
        with pytest.raises(PermissionError):
            platform.replace(tmp_path / "a", tmp_path / "b")
    else:
        platform.replace(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == ("old" if fails else "new")


@pytest.mark.skipif(sys.platform != "linux", reason="others have no such scheduling")
def test_scheduling_is_undone_also_after_an_error(monkeypatch):
    own, undone = threading.get_native_id(), []
    found = iter([{own: (0, 0)}, {own: (2, 50)}])  # real time, after the library was called
    monkeypatch.setattr(platform, "schedulings", lambda: next(found))
    monkeypatch.setattr(os, "sched_setscheduler", lambda *told: undone.append(told[:2]))
    with pytest.raises(ValueError, match="no encoder"), platform.keeps_scheduling():
        raise ValueError("no encoder")
    assert undone == [(own, 0)]


def test_a_lock_keeps_others_out_until_it_is_let_go(tmp_path):
    path, entered = tmp_path / "lock", threading.Event()

    def wait_for_it():
        with platform.locked(path):
            entered.set()

    other = threading.Thread(target=wait_for_it)
    with platform.locked(path):
        with pytest.raises(BlockingIOError), platform.locked(path, wait=False):
            pass
        other.start()
        assert not entered.wait(0.3)
    assert entered.wait(120)
    other.join()


@pytest.mark.parametrize(
    ("variables", "windows", "folder"),
    [
        ({"STREAMKIND_CACHE": "/x"}, False, "/x/plans"),
        ({"STREAMKIND_CACHE": "/x", "LOCALAPPDATA": "/l"}, True, "/x/plans"),
        ({"LOCALAPPDATA": "/l", "XDG_CACHE_HOME": "/c"}, True, "/l/streamkind/plans"),
        ({"LOCALAPPDATA": "/l", "XDG_CACHE_HOME": "/c"}, False, "/c/streamkind/plans"),
        ({"HOME": "/h"}, False, "/h/.cache/streamkind/plans"),
    ],
)
def test_caches_lie_where_the_system_has_them(monkeypatch, variables, windows, folder):
    for name in ("STREAMKIND_CACHE", "LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(platform, "WINDOWS", windows)
    assert platform.cache_folder("plans") == Path(folder)


@pytest.mark.parametrize(("mode", "others"), [(0o700, False), (0o755, False), (0o777, True)])
def test_a_folder_that_others_may_write_to_is_reported(tmp_path, mode, others):
    tmp_path.chmod(mode)
    assert platform.writable_by_others(tmp_path) is others


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("system", PLATFORMS)
def test_all_that_the_runtime_needs_has_wheels(tmp_path, system, python):
    with (ROOT / "pyproject.toml").open("rb") as file:
        needed = tomllib.load(file)["project"]["dependencies"]
    tags = [f"--platform={tag}" for tag in PLATFORMS[system]]
    report = tmp_path / "report.json"
    # A dry run chooses wheels, also for indirect dependencies, but does not download them.
    words = ["pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
    where = ["--report", report, "--target", tmp_path, f"--python-version={python}", *tags]
    done = subprocess.run([sys.executable, "-m", *words, *where, *needed], text=True, timeout=250)
    assert done.returncode == 0
    installed = json.loads(report.read_text())["install"]
    found = {normalized(item["metadata"]["name"]) for item in installed}
    assert {normalized(re.match(r"[\w.-]+", requirement)[0]) for requirement in needed} <= found


def normalized(name: str) -> str:
    """Return a distribution's name as PyPI compares it (PEP 503). Wheels may write it otherwise."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_only_the_major_version_of_pyav_that_the_tests_run_with_is_taken():
    """Check that the next major version is excluded: with PyAV 19, streamkind can open no file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (most,) = (
        found[1] for d in project["dependencies"] if (found := re.match(r"av>=.*,<(\d+)$", d))
    )
    assert int(most) == int(av.__version__.split(".")[0]) + 1
