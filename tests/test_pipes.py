"""`-` is standard input and standard output, as for FFmpeg."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.media import make_clip, number_of, read_tracks, read_video

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}


def piped(words: list[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "streamkind", "enhance", *words, "--ratio", "1"]
    return subprocess.run(command, input=data, capture_output=True, env=ENVIRONMENT)


@pytest.mark.parametrize(("kind", "format"), [("nut", "nut"), ("y4m", "yuv4mpegpipe")])
def test_video_goes_through_pipes(tmp_path, kind, format):
    make_clip(tmp_path / "in.mp4", audio="aac" if kind == "nut" else None)
    words = ["-i", str(tmp_path / "in.mp4"), "-f", format]
    words += ["-c", "copy"] if kind == "nut" else []
    sent = subprocess.run(["ffmpeg", "-v", "error", *words, "-"], capture_output=True, check=True)
    done = piped(["-", "-"], sent.stdout)
    assert done.returncode == 0, done.stderr
    (tmp_path / f"out.{kind}").write_bytes(done.stdout)
    video = read_video(tmp_path / f"out.{kind}")
    assert [number_of(image) for image in video.images] == list(range(10))
    begin = video.pts[0] * video.time_base
    assert float(video.pts[-1] * video.time_base - begin) == pytest.approx(0.36)
    sounds = [track.codec for track in read_tracks(tmp_path / f"out.{kind}")]
    assert sounds == (["aac"] if kind == "nut" else [])


def test_a_pipe_into_a_file(tmp_path):
    data = make_clip(tmp_path / "in.mkv").read_bytes()
    assert piped(["-", str(tmp_path / "out.mp4")], data).returncode == 0
    assert len(read_video(tmp_path / "out.mp4").images) == 10


@pytest.mark.parametrize("data", [b"", b"no video" * 100])
def test_what_is_no_footage_is_one_line(data):
    done = piped(["-", "-"], data)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"streamkind: ") and done.stderr.count(b"\n") == 1
