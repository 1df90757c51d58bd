"""Examples in the documents run as documented."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.live import LIMIT_SECONDS, camera_server, command, published, record_server, wait_for
from support.media import make_clip

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture
def footage(tmp_path, monkeypatch):
    """Write the input files that the README names; return their folder."""
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "night.mp4", frames=16, rate=4, time_base=Fraction(1, 12_800))
    (tmp_path / "footage").mkdir()
    make_clip(tmp_path / "footage" / "night.mp4", frames=4, rate=4)
    (tmp_path / "photos").mkdir()
    cv2.imwrite("photos/one.jpg", np.full((48, 64, 3), 20, np.uint8))
    return tmp_path


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_readme_python_runs(footage, capsys):
    image = np.full((48, 64, 3), 20, np.uint8)
    (code,) = blocks("python")
    names = {"image": image}
    exec(code, names)
    assert (footage / "clear.mp4").exists()
    assert names["clear"].shape == image.shape
    assert capsys.readouterr().out.split()[-1] == "16"


def test_the_readme_commands_run(footage):
    commands = re.findall(r"^\$ (streamkind .*)$", README, re.MULTILINE)
    assert len(commands) >= 4
    for line in commands:
        if " stream " in line:
            continue  # it does not end; the next test runs it
        words = [sys.executable, "-m", "streamkind", *shlex.split(line, comments=True)[1:]]
        result = subprocess.run(words, capture_output=True, text=True, cwd=footage)
        assert result.returncode == 0, line + result.stderr
    assert (footage / "clear-photos" / "one.jpg").exists()


def test_the_readme_stream_runs(tmp_path):
    (line,) = re.findall(r"^\$ streamkind (stream .*)$", README, re.MULTILINE)
    with camera_server(tmp_path) as camera, record_server(tmp_path) as server:
        url = f"rtsp://127.0.0.1:{camera.port}/1"
        words = line.replace("rtsp://camera/1", url)
        words = words.replace("rtsp://server:8554/night", published(server))
        seen = tmp_path / "seen.mkv"
        with command(*shlex.split(words, comments=True)) as process:
            wait_for(lambda: seen.exists() and seen.stat().st_size > 2000, "nothing comes")
            process.terminate()
            assert process.wait(LIMIT_SECONDS) == 0, process.communicate()


def test_the_readme_links_exist():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_the_makefile_has_the_readme_targets():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^\$ make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
