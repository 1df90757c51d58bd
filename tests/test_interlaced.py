"""Interlaced video becomes progressive, with the same frames and times."""

from __future__ import annotations

import subprocess
from fractions import Fraction

import numpy as np
import pytest
from support.interlaced import SPEED, combing, woven
from support.media import read_video

from streamkind.errors import UsageError
from streamkind.video.source import VideoSource

CASES = [
    ("a.mp4", "libx264", True),
    ("a.ts", "libx264", False),
    ("a.mpg", "mpeg2video", True),
    ("a.avi", "mpeg4", True),
]


@pytest.mark.parametrize(("name", "codec", "top"), CASES)
def test_a_frame_for_each_frame_without_combs(tmp_path, name, codec, top):
    path = woven(tmp_path / name, codec, top=top)
    with VideoSource(path, deinterlace="off") as source:
        before = list(source)
        assert source.warnings == [w for w in source.warnings if "interlaced" not in w]
    with VideoSource(path) as source:
        after = list(source)
        assert sum("the video is interlaced" in warning for warning in source.warnings) == 1
    assert [frame.pts for frame in after] == [frame.pts for frame in before]
    assert np.mean([combing(f.data) for f in before]) > 5
    assert max(combing(f.data) for f in after[1:-1]) < 2


def test_a_frame_for_each_field_where_it_is_asked_for(tmp_path):
    path = woven(tmp_path / "a.mp4")
    with VideoSource(path, deinterlace="field") as source:
        frames = list(source)
        assert source.format.frame_rate == 50
        assert source.format.frames == 20
    assert [frame.time for frame in frames] == [Fraction(n, 50) for n in range(20)]
    for number, frame in enumerate(frames[2:-2], 2):  # the bar is at its place in that field
        bright = np.flatnonzero(frame.data[40, :, 1] > 115)
        assert abs(bright.mean() - (15.5 + SPEED * number)) < 1.5


def test_impossible_modes_are_refused(tmp_path):
    path = woven(tmp_path / "a.avi", "mpeg4")
    for mode, says in (("field", "too coarse"), ("bob", "frame, field, off")):
        with pytest.raises(UsageError, match=says):
            VideoSource(path, deinterlace=mode)


def test_progressive_video_is_left_alone(clip):
    with VideoSource(clip, deinterlace="off") as source:
        left = [frame.data for frame in source]
    with VideoSource(clip) as source:
        assert all(np.array_equal(a.data, b) for a, b in zip(source, left, strict=True))
        assert source.warnings == []


def test_the_output_is_progressive(call, tmp_path):
    path = woven(tmp_path / "a.mp4")
    code, _, err = call("enhance", path, tmp_path / "out.mp4", "--ratio", "1")
    assert code == 0
    assert err.count("is interlaced") == 1
    video = read_video(tmp_path / "out.mp4")
    assert len(video.images) == 10
    assert max(combing(image) for image in video.images[1:-1]) < 2
    words = ["-show_entries", "stream=field_order", "-of", "csv=p=0", str(tmp_path / "out.mp4")]
    done = subprocess.run(["ffprobe", "-v", "error", *words], capture_output=True, text=True)
    assert done.stdout.strip() in ("progressive", "unknown")
