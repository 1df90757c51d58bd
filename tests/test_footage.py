"""The first half second of real night clips, if they are beside the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.media import read_video

import streamkind
from streamkind.video.source import open_source

CLIPS = sorted((Path(__file__).parents[2] / "shared" / "data" / "video").glob("*.mp4"))
LIT = "dashcam_night_city_lit"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not CLIPS, reason="no real clips beside the project"),
]


def luma(images) -> float:
    return float(np.mean([image @ (0.299, 0.587, 0.114) for image in images]) / 255)


@pytest.mark.parametrize("clip", CLIPS, ids=lambda path: path.stem)
def test_a_real_clip_becomes_clear(clip, tmp_path):
    with open_source(clip, duration=0.5) as source:
        before = list(source)
    report = streamkind.enhance(clip, tmp_path / "clear.mp4", duration=0.5)
    after = read_video(tmp_path / "clear.mp4")
    assert report.lost == 0
    assert after.time_base == before[0].time_base
    assert after.pts == [frame.pts for frame in before]
    assert after.images[0].shape == before[0].data.shape
    dark = luma([frame.data for frame in before])
    gained = luma(after.images) - dark
    if clip.stem == LIT:
        assert abs(gained) < 0.03  # lit already: left nearly as it is
    else:
        assert gained > min(0.1, 1.5 * dark)  # a nearly black clip is raised sevenfold at most
    if clip.stem.startswith("ir_"):
        colour = np.mean([np.ptp(image.astype(int), axis=2).mean() for image in after.images])
        assert colour < 6  # infrared stays gray
