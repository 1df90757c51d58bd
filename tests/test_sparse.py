"""Skipped frames: when the network runs, and the results of the frames that it skips."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.engines import Gain
from support.media import make_clip, read_video, scene

import streamkind
from streamkind.backends.openvino import OpenVINOBackend
from streamkind.engine import profiles
from streamkind.engine.fits import Fit
from streamkind.engine.reduced import Reduced
from streamkind.engine.skipping import (
    NetworkResult,
    SkippedLayers,
    Skipping,
    carry_on,
    motion,
)
from streamkind.engine.steady import Steadier
from streamkind.engine.whole import Whole

AREA = 120 * 80


def reduced(area=AREA):
    return Reduced(Whole(Gain()), area)


def skipping(area=AREA):
    return Skipping(reduced(area), every=3)


def shown(engine, frames, ratios=None):
    """Enhance frames; return the results, and for which of them the network ran."""
    hold, made, seen = Steadier(engine), [], []
    for i, frame in enumerate(frames):
        layers = hold(engine.decompose(frame[None]), [i / 25])
        seen.append(not isinstance(layers, SkippedLayers))
        ratio = 4.0 if ratios is None else ratios[i]
        made.append(engine.recompose(layers, np.array([ratio], np.float32))[0])
    return np.stack(made).astype(int), seen


def test_the_network_runs_on_every_third_frame_of_a_still_scene():
    frames = [scene()] * 7
    made, seen = shown(skipping(), frames)
    assert seen == [True, False, False, True, False, False, True]
    assert np.ptp(made, axis=0).max() == 0


def test_the_network_runs_on_every_second_frame_where_much_moves():
    frames = [np.roll(scene(), 6 * i, axis=1) for i in range(6)]
    made, seen = shown(skipping(), frames)
    assert seen == [True, False] * 3
    plain, _ = shown(reduced(), frames)
    assert np.abs(made - plain).mean() < 4  # of 255, at a gain of 4


@pytest.mark.parametrize("ratios", [[4.0] * 6, [1.0] * 6, [1, 1, 2, 4, 4, 1], [4, 4, 4, 1, 2, 2]])
@pytest.mark.parametrize("step", [0, 6])
def test_frames_come_out_alike_if_later_ones_are_decomposed_before(step, ratios):
    frames = [np.roll(scene(), step * i, axis=1) for i in range(6)]
    wanted, _ = shown(skipping(), frames, ratios)
    ahead = skipping()
    hold = Steadier(ahead)
    layers = [hold(ahead.decompose(frame[None]), [i / 25]) for i, frame in enumerate(frames)]
    chosen = np.array(ratios, np.float32)
    made = [ahead.recompose(one, chosen[i : i + 1])[0] for i, one in enumerate(layers)]
    np.testing.assert_array_equal(np.stack(made), wanted)


def test_the_network_runs_on_the_first_frame_of_a_scene():
    rng = np.random.default_rng(0)
    scenes = [cv2.resize(rng.integers(0, 60, (6, 8, 3), np.uint8), (320, 240)) for _ in range(2)]
    _, seen = shown(skipping(), [scenes[0], scenes[1], scenes[1], scenes[0]])
    assert seen == [True, True, False, True]


def test_the_network_runs_when_the_mean_luma_rises():
    """Check a rise by one level everywhere, which is no more than noise in each pixel."""
    frames = [np.full((240, 320, 3), level, np.uint8) for level in (12, 12, 13, 13)]
    _, seen = shown(skipping(), frames)
    assert seen == [True, False, True, False]


def test_a_new_ratio_applies_to_a_skipped_frame():
    ratios = [4.0, 2.0, 2.005, 4.0]
    engine = skipping()
    made, seen = shown(engine, [scene()] * 4, ratios)
    assert seen == [True, False, False, True]
    assert made[1].mean() == pytest.approx(made[0].mean() / 2, rel=0.05)
    assert np.abs(made[2] - made[1]).max() <= 1


def test_a_disc_that_moves_leaves_no_trail():
    def frame(x):
        picture = np.full((240, 320, 3), 10, np.uint8)
        return cv2.circle(picture, (x, 120), 25, (45, 45, 45), -1)

    made, seen = shown(skipping(), [frame(60 + 12 * i) for i in range(6)])
    assert not all(seen)
    for i in range(1, 6):
        wanted = frame(60 + 12 * i).astype(int) * 4
        behind = (slice(80, 160), slice(20, 60 + 12 * i - 34))
        ahead = (slice(80, 160), slice(60 + 12 * i + 34, 300))
        for part in (behind, ahead):
            assert np.abs(made[i][part] - wanted[part]).mean() < 3


@pytest.mark.parametrize("ratios", [[4.0] * 4, [4.0, 3.0, 2.5, 2.5], [3.0, 4.0, 3.9, 3.8]], ids=str)
def test_a_lamp_that_jumps_leaves_no_trail(ratios):
    """Check a white disc, 50 pixels wide, that moves 60 pixels a frame over a coloured ground."""
    rng = np.random.default_rng(1)
    blots = rng.integers(4, 60, (5, 7, 3), np.uint8)
    ground = cv2.resize(blots, (640, 480), interpolation=cv2.INTER_CUBIC)
    frames = [
        cv2.circle(ground.copy(), (50 + 60 * i, 120), 25, (240, 240, 240), -1) for i in range(4)
    ]
    made, seen = shown(skipping(4 * AREA), frames, ratios)
    assert seen == [True, False, False, True]
    plain, _ = shown(reduced(4 * AREA), frames, ratios)
    for i in (1, 2):
        # Where the lamp was when the network ran, and where it is.
        for x, most in ((50, 30), (50 + 60 * i, 3)):
            part = (slice(105, 135), slice(x - 15, x + 15))
            assert np.abs(made[i][part] - plain[i][part]).mean() < most


def test_motion_is_found_where_it_is_and_noise_is_none():
    rng = np.random.default_rng(0)
    still = np.full((90, 160), 20, np.uint8)
    noisy = [np.clip(still + rng.normal(0, 1, still.shape) + 0.5, 0, 255).astype(np.uint8)
             for _ in range(2)]  # fmt: skip
    assert motion(*noisy).mean() < 0.02
    moved = noisy[1].copy()
    moved[40:50, 80:90] = 60
    found = motion(noisy[0], moved)
    assert found[45, 85] == 1 and found[:, :60].mean() < 0.02


def test_the_fitted_line_is_applied_where_something_moves():
    rng = np.random.default_rng(0)
    before, now = (cv2.GaussianBlur(rng.integers(20, 90, (60, 80, 3)).astype(np.float32), (0, 0), 2)
                   for _ in range(2))  # fmt: skip
    clear = np.clip(2 * before + 5, 0, 255)
    clear[..., 1:] = 3 * (before[..., 1:] - 128) + 128
    made = [x.astype(np.uint8) for x in (before, clear, now)]
    found = NetworkResult(cv2.split(made[1]), Fit(made[0], cv2.split(made[1]), 0.0))
    got = carry_on(found, made[2], np.ones((60, 80), np.float32), 0.0)
    assert np.abs(got.planes[0] - (2 * now[..., 0] + 5))[5:-5, 5:-5].mean() < 12


@pytest.mark.parametrize("moved", [4, 8, 12])
def test_ground_that_something_uncovers_looks_like_the_ground_beside_it(moved):
    """Check a dark block that moves before a sky. Elsewhere, the same luma is raised less."""

    def frame(block):
        picture = np.full((120, 320, 3), 128, np.uint8)
        picture[..., 0] = 80
        picture[:, block : block + 20, 0] = 40
        return picture

    before, now = frame(60), frame(60 - moved)
    clear = before.astype(np.float32)
    clear[:, :160, 0] *= 2
    made = NetworkResult(cv2.split(clear), Fit(before, cv2.split(clear), 0.0))
    got = carry_on(made, now, np.ones(now.shape[:2], np.float32), 0.0)
    uncovered = got.planes[0][60, 80 - moved : 80]
    assert uncovered == pytest.approx(160, abs=5)  # not 120, the mean result for this luma


def test_a_lit_place_keeps_its_detail_where_it_moves():
    before, now = (np.full((60, 80, 3), 128, np.uint8) for _ in range(2))
    before[..., 0], now[..., 0] = 20, 20
    before[:, :40, 0], now[:, 40:, 0] = 120, 120  # the light moves from the left to the right
    own = np.where(before[..., 0] == 120, 0.9, 0.2).astype(np.float32)
    clear = before.astype(np.float32)
    made = cv2.split(clear)
    found = NetworkResult(made, Fit(before, made, 0.0, own), own)
    moved = np.ones((60, 80), np.float32)
    moved[:10] = 0
    share = carry_on(found, now, moved, 0.0).own
    assert share[10:, 40:] == pytest.approx(0.9) and share[10:, :40] == pytest.approx(0.2)
    assert share[:10, :40] == pytest.approx(0.9) and share[:10, 40:] == pytest.approx(0.2)


def test_a_video_in_realtime_keeps_all_frames(tmp_path, monkeypatch):
    small = replace(profiles.PROFILES["realtime"], area=64 * 48, whole=64 * 48)
    monkeypatch.setitem(profiles.PROFILES, "realtime", small)
    clip = make_clip(tmp_path / "in.mp4", frames=9, size=(160, 128), rate=9)
    report = streamkind.enhance(clip, tmp_path / "out.mp4", profile="realtime", ratio=4.0)
    assert report.frames == 9 and report.engine.startswith("realtime: student")
    assert report.surveyed == 0  # there is no first pass


@pytest.mark.parametrize("size", [(160, 128), (608, 400)], ids=str)
def test_files_come_out_alike_where_steps_overlap(tmp_path, monkeypatch, size):
    images = [np.roll(scene(*size), 4 * max(0, i - 6), axis=1) for i in range(16)]
    clip, made = make_clip(tmp_path / "in.mp4", images=images, size=size), []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for overlaps in (True, False):
        monkeypatch.setattr(OpenVINOBackend, "overlaps", overlaps)
        out = tmp_path / f"{overlaps}.mkv"
        streamkind.enhance(clip, out, profile="realtime", codec="ffv1", backend="openvino")
        made.append(np.stack(read_video(out).images))
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize("size", [(160, 128), (161, 127)], ids=["even", "odd"])
def test_small_pictures_are_whole_and_frames_of_them_are_skipped_too(size):
    """Check that small pictures, which are not reduced, differ little from the network's result."""
    width, height = size
    rng = np.random.default_rng(5)
    still = cv2.GaussianBlur(rng.integers(10, 90, (height, width, 3)).astype(np.float32), (0, 0), 3)
    pixels = np.repeat(still.astype(np.uint8)[None], 2, axis=0)
    with (
        profiles.open_engine(profile="realtime") as engine,
        profiles.open_engine("student") as whole,
    ):
        skipping, plain = engine.view(skip=True), whole.view()
        ratio = np.full(1, 3.0, np.float32)
        made = [skipping.recompose(skipping.decompose(p[None]), ratio)[0] for p in pixels]
        assert skipping.state.skipped == 1
        wanted = plain.recompose(plain.decompose(pixels[:1]), ratio)[0]
    for picture in made:
        assert picture.shape == (height, width, 3)
        apart = np.abs(picture.astype(int) - wanted)
        assert apart.mean() < 2
