"""Files with more than one video stream, and videos with transparency."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import pytest
from support.media import make_clip, number_of, read_video

from streamkind.errors import UsageError
from streamkind.video.source import open_source


def two_cameras(path: Path) -> Path:
    """The second stream is 32x32, the first 64x48."""
    return make_clip(path, second_video=True)


@pytest.mark.parametrize(("wanted", "size"), [(None, (64, 48)), (0, (64, 48)), (1, (32, 32))])
def test_one_video_is_enhanced_and_the_other_told_of(call, tmp_path, wanted, size):
    path = two_cameras(tmp_path / "in.mp4")
    words = [] if wanted is None else ["--video-stream", wanted]
    code, _, err = call("enhance", path, tmp_path / "out.mp4", "--ratio", "3", *words)
    assert code == 0, err
    assert f"--video-stream {0 if wanted == 1 else 1} enhances that one" in err
    with av.open(str(tmp_path / "out.mp4")) as before, av.open(str(path)) as after:
        assert [(s.width, s.height) for s in before.streams.video] == [(64, 48), (32, 32)]
        copied = 0 if wanted == 1 else 1
        pair = [
            [bytes(p) for p in c.demux(c.streams.video[copied]) if p.size] for c in (before, after)
        ]
    assert pair[0] == pair[1]
    with open_source(path, video_stream=wanted) as source:
        assert (source.format.width, source.format.height) == size


def test_a_stream_that_is_no_video_is_refused(tmp_path):
    path = make_clip(tmp_path / "in.mp4", audio="aac")
    with pytest.raises(UsageError, match=r"video-stream=1: .* has video in 0;"):
        open_source(path, video_stream=1)


def test_a_cover_is_no_second_video(call, tmp_path):
    path = make_clip(tmp_path / "in.mp4", cover=True)
    code, _, err = call("enhance", path, tmp_path / "out.mp4", "--ratio", "1")
    assert code == 0
    assert "--video-stream" not in err
    assert number_of(read_video(tmp_path / "out.mp4").images[3]) == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.mov", ["-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le"]),
        ("a.webm", ["-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-deadline", "realtime"]),
        ("a.mkv", ["-c:v", "ffv1", "-pix_fmt", "bgra"]),
    ],
)
def test_transparency_that_is_lost_is_told(tmp_path, name, words):
    source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.2,format=yuva444p"]
    path = tmp_path / name
    subprocess.run(["ffmpeg", "-v", "error", *source, *words, path], check=True)
    with open_source(path) as opened:
        assert sum("transparency" in warning for warning in opened.warnings) == 1
