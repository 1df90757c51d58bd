"""The command line: one line for every failure, exit codes, no files left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.media import make_clip
from support.waiting import wait_until

import streamkind

ROOT = Path(__file__).parents[1]


def audio_only(path):
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=d=0.2", str(path)], check=True
    )


def truncated(path):
    make_clip(path, frames=20)
    path.write_bytes(path.read_bytes()[:400])


BAD_INPUT = {
    "missing": (lambda path: None, "no such file"),
    "empty": (lambda path: path.touch(), "empty"),
    "text": (lambda path: path.write_text("not a video\n" * 100), "footage|video"),
    "truncated": (truncated, "truncated|moov|incomplete|footage"),
    "audio only": (audio_only, "no video|audio"),
    "folder without images": (lambda path: path.mkdir(), "image"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_ends_in_one_line_and_code_1(call, tmp_path, case):
    make, says = BAD_INPUT[case]
    make(tmp_path / "in.mp4")
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call("enhance", tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert code == 1
    assert out == ""
    assert re.fullmatch(rf"streamkind: [^\n]*({says})[^\n]*\n", err)
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


USAGE = {
    "unknown option": (["--nope"], "nope"),
    "ratio out of range": (["--ratio", "11"], "0.1 to 10"),
    "ratio not a number": (["--ratio", "high"], "'auto' or a number"),
    "crf not a number": (["--crf", "high"], "crf"),
    "unknown codec": (["--codec", "nope"], "nope"),
    "unknown model": (["--model", "nope"], "nope"),
    "unknown backend": (["--backend", "nope"], "nope"),
    "unknown device": (["--device", "toaster"], "toaster"),
    "unknown name in steady": (
        ["--steady", "ratio,shake"],
        "shake; choose from ratio, light, noise",
    ),
    "no track": (["--ratio-track", "no.csv"], "no.csv cannot be read as a ratio track"),
    "track and ratio": (["--ratio", "2", "--ratio-track", "t.csv"], "exclude each other"),
    "negative start": (["--start", "-1"], "start"),
    "no duration": (["--duration", "0"], "duration"),
}


@pytest.mark.parametrize("case", USAGE)
def test_impossible_options_end_in_one_line_and_code_2(call, tmp_path, case):
    words, says = USAGE[case]
    make_clip(tmp_path / "in.mp4", frames=2)
    code, out, err = call("enhance", tmp_path / "in.mp4", tmp_path / "out.mp4", *words)
    assert (code, out) == (2, "")
    assert re.search(rf"^streamkind: .*{says}.*$", err, re.MULTILINE)
    assert err.count("streamkind: ") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_output_equal_to_input_is_refused(call, tmp_path):
    make_clip(tmp_path / "in.mp4", frames=2)
    before = (tmp_path / "in.mp4").read_bytes()
    (tmp_path / "link.mp4").symlink_to("in.mp4")
    for output in ("in.mp4", "link.mp4"):
        code, _, err = call("enhance", tmp_path / "in.mp4", tmp_path / output)
        assert code == 2
        assert err.startswith("streamkind: ")
    assert (tmp_path / "in.mp4").read_bytes() == before


def test_an_output_folder_that_is_not_there(call, tmp_path):
    make_clip(tmp_path / "in.mp4", frames=2)
    code, _, err = call("enhance", tmp_path / "in.mp4", tmp_path / "no" / "out.mp4")
    assert code == 1
    assert re.fullmatch(r"streamkind: [^\n]*no[^\n]*\n", err)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a small file system")
def test_a_full_disk_ends_in_one_line_and_leaves_nothing(tmp_path):
    """Check it on a full file system: a tmpfs of 1 MB in its own mount namespace."""
    script = """
        mount -t tmpfs -o size=1m none "$1/disk" && cp "$1/in.mp4" "$1/disk/" || exit 77
        head -c 2m /dev/zero >"$1/disk/filler" 2>/dev/null
        "$2" -m streamkind enhance "$1/in.mp4" "$1/disk/out.mp4"
        code=$?
        ls -A "$1/disk"
        exit $code
    """
    (tmp_path / "disk").mkdir()
    make_clip(tmp_path / "in.mp4", frames=3)
    command = ["unshare", "--mount", "sh", "-c", script, "sh", tmp_path, sys.executable]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if result.returncode == 77 or "unshare" in result.stderr:
        pytest.skip("this machine allows no mount namespace")
    assert result.returncode == 1
    assert re.search(r"^streamkind: .*(full|space).*$", result.stderr, re.MULTILINE)
    assert "Traceback" not in result.stderr
    assert result.stdout.split() == ["filler", "in.mp4"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_leaves_no_half_file_and_exits_130(tmp_path, number):
    make_clip(tmp_path / "in.mp4", frames=600, size=(192, 128))
    command = [sys.executable, "-m", "streamkind", "enhance", "in.mp4", "out.mp4"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        env=environment,
        # A process in the background ignores SIGINT. These tests may run in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # A second file appears: the output under a temporary name.
    wait_until(lambda: process.poll() is not None or len(list(tmp_path.iterdir())) >= 2)
    assert process.poll() is None
    time.sleep(0.5)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"interrupted" in err
    assert b"Traceback" not in err
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_enhance_tells_engine_frames_speed_and_stages(call, tmp_path):
    make_clip(tmp_path / "in.mp4", frames=3)
    code, out, err = call("enhance", tmp_path / "in.mp4", tmp_path / "out.mp4", "--ratio", "3")
    assert (code, out) == (0, "")
    first, last = err.splitlines()[0], err.splitlines()[-1]
    assert re.fullmatch(r"in\.mp4: balanced: lite on cpu, openvino .*, (bf16|f32)", first)
    assert re.search(r"out\.mp4: 3 frames in .* fps\); busy: .*decompose .*encode", last)
    assert (tmp_path / "out.mp4").stat().st_size > 0


def test_a_track_is_written_drawn_edited_and_given_back(call, tmp_path):
    pytest.importorskip("matplotlib")
    clip, table, drawing = tmp_path / "in.mp4", tmp_path / "t.csv", tmp_path / "t.png"
    make_clip(clip, frames=4)
    code, out, err = call("track", clip, table)
    assert (code, out) == (0, "")
    assert err.endswith("t.csv: ratios of 4 frames\n")
    assert table.read_text().splitlines()[0] == "time,ratio,wanted,luma,cut"
    assert call("plot", table, drawing) == (0, "", "")
    assert drawing.read_bytes().startswith(b"\x89PNG")
    table.write_text("time,ratio\n0,3\n")
    code, _, err = call("enhance", clip, tmp_path / "out.mp4", "--ratio-track", table)
    assert code == 0
    assert "first pass" not in err  # the track is given


@pytest.mark.parametrize("words, first", [([], True), (["--one-pass"], False)])
def test_the_first_pass_is_reported_and_can_be_left_out(call, tmp_path, words, first):
    make_clip(tmp_path / "in.mp4", frames=3)
    code, _, err = call("enhance", tmp_path / "in.mp4", tmp_path / "out.mp4", *words)
    assert code == 0
    assert ("busy: first pass" in err) == first


def test_without_smoothing_there_is_no_first_pass(call, tmp_path):
    make_clip(tmp_path / "in.mp4", frames=3)
    code, _, err = call("enhance", tmp_path / "in.mp4", tmp_path / "o.mp4", "--steady", "none")
    assert code == 0
    assert "first pass" not in err


@pytest.mark.parametrize(("output", "told"), [("no/t.csv", "no folder"), (".", "is a folder")])
def test_a_track_that_could_not_be_written_is_refused_before_the_work(call, tmp_path, output, told):
    make_clip(tmp_path / "in.mp4", frames=3)
    code, _, err = call("track", tmp_path / "in.mp4", tmp_path / output)
    assert code == 1
    assert re.fullmatch(rf"streamkind: [^\n]*{told}[^\n]*\n", err)  # no line about the engine


def test_a_damaged_file_is_done_as_far_as_possible_and_reported(call, tmp_path):
    make_clip(tmp_path / "in.mkv", frames=40, options={"g": "10"})
    data = bytearray((tmp_path / "in.mkv").read_bytes())
    cut = len(data) * 2 // 3
    (tmp_path / "in.mkv").write_bytes(data[:cut])
    code, _, err = call("enhance", tmp_path / "in.mkv", tmp_path / "out.mkv")
    assert code == 0
    told = re.findall(r"^warning: .*\d+.*$", err, re.MULTILINE)
    assert told and len(set(told)) == len(told)
    code, _, err = call("track", tmp_path / "in.mkv", tmp_path / "t.csv")
    assert code == 0
    assert re.findall(r"^warning: .*\d+.*$", err, re.MULTILINE) == told


def test_version_and_help(call):
    assert call("--version") == (0, f"{streamkind.__version__}\n", "")
    code, out, _ = call("enhance", "--help")
    assert code == 0
    assert "--side-by-side" in out


def test_doctor_finds_everything_whole(call):
    code, out, _ = call("doctor")
    assert code == 0
    for word in ("streamkind", "openvino", "cpu", "backend openvino", "kind decompose", "verified"):
        assert word in out


def test_doctor_tells_a_damaged_model(call, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "engines", tmp_path / "engines")
    path = tmp_path / "engines" / "kind-decompose.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    monkeypatch.setattr("streamkind.model.released.engines_folder", lambda: tmp_path / "engines")
    code, out, _ = call("doctor")
    assert code == 1
    assert "not the released graph" in out


def test_the_documented_help_is_the_programs(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    written = (ROOT / "docs" / "cli.md").read_text()
    engines = [f"engines {name}" for name in ("build", "list", "info", "prune", "verify")]
    videos = ("enhance", "batch", "app", "stream", "serve", "track", "plot", "score", "bench")
    for command in (*videos, "doctor", *engines):
        _, out, _ = call(*command.split(), "--help")
        assert out.strip() in written, f"run: COLUMNS=100 streamkind {command} --help"
