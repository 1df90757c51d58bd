"""Flicker, delay and trails of the released model, on scenes whose bright version is known."""

import json

import numpy as np
import pytest
from support.media import read_video
from support.tools import load_tool

import streamkind
from streamkind.light.smoother import RatioSmoother
from streamkind.measure.score import OUTPUT, UNSMOOTHED, score
from streamkind.pipeline import find_track

make_scenes = load_tool("make_scenes")
pytestmark = pytest.mark.slow
SIZE = (304, 208)


@pytest.fixture
def scene(tmp_path):
    """Return a function that renders a scene, and returns its folder and its truth."""

    def render(name, seconds, seed=0):
        make_scenes.write(name, tmp_path / name, size=SIZE, seconds=seconds, seed=seed)
        return tmp_path / name, json.loads((tmp_path / name / "truth.json").read_text())

    return render


def enhanced(folder, **options):
    """Enhance a scene, encoded without loss; return the path, and luma in [0, 1], (N, H, W)."""
    name = "-".join(map(str, options.values())).replace("/", "") or "default"
    path = folder / f"{name}.mkv"
    streamkind.enhance(folder / "dark.mkv", path, crf=0, preset="veryfast", **options)
    frames = np.stack(read_video(path).images)
    return path, frames @ np.array([0.299, 0.587, 0.114]) / 255


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_static_scene_is_still(scene, seed):
    # Six seconds, as in docs/flicker/scenes. The first three frames are up to 0.25 % brighter,
    # because there are too few frames yet to filter noise over time. That is no flicker.
    folder, _ = scene("static", 6, seed)
    plain, own_luma = enhanced(folder, steady=())
    held, luma = enhanced(folder)
    scores = score(folder / "dark.mkv", held, unsmoothed=plain)
    smooth, own = scores.figures(OUTPUT), scores.figures(UNSMOOTHED)
    # Without loss in the encoder, the flicker is that of the networks: 0.12 % of the brightness.
    # The filter over time leaves a quarter of it (seed 0). Both depend on the noise and the
    # weights. The limit that must hold is the one after it: a tenth of the excess.
    assert smooth["flicker"] < 0.8 * own["flicker"]
    assert smooth["excess_flicker"] <= 0.1 * abs(own["excess_flicker"])
    assert smooth["log_luma_deviation"] < 0.002
    assert np.log(find_track(folder / "dark.mkv").wanted).std() < 0.01  # before smoothing
    assert smooth["e_warp_gain_normalised"] < 0.5 * own["e_warp_gain_normalised"]
    # Of the mean picture, because in a single one noise would count as detail.
    sharp, own_sharp = (np.abs(np.diff(y.mean(axis=0))).mean() / y.mean() for y in (luma, own_luma))
    assert sharp > 0.95 * own_sharp


def test_the_track_of_a_dusk_follows_what_is_wanted_within_two_percent(scene):
    folder, _ = scene("dusk", 8)
    track = find_track(folder / "dark.mkv")
    assert track.ratio[-1] > 2 * track.ratio[0]
    assert np.abs(track.ratio / track.wanted - 1).max() < 0.02


@pytest.mark.parametrize("two_pass", [False, True])
def test_a_tunnel_is_entered_and_left_without_a_flash(scene, two_pass):
    folder, truth = scene("tunnel", 5)
    _, luma = enhanced(folder, two_pass=two_pass)
    level = np.log2(luma.mean(axis=(1, 2)))
    for at, end in ((truth["enter"], truth["leave"]), (truth["leave"], len(level))):
        settled = level[at + 15 : end].mean()
        within = 0 if two_pass else 12  # frames, which is half a second
        assert np.abs(level[at + within : end] - settled).max() < 0.15
        if two_pass:
            assert np.abs(level[at:end] - settled).max() < np.log2(1.03) + 0.02


@pytest.mark.parametrize("two_pass", [False, True])
def test_behind_passing_headlights_the_background_stays(scene, two_pass):
    folder, truth = scene("headlights", 3)
    _, luma = enhanced(folder, two_pass=two_pass)
    x0, y0, x1, y1 = truth["background"]
    level = luma[:, y0:y1, x0:x1].mean(axis=(1, 2))
    assert np.ptp(level) / level.mean() < 0.05


@pytest.mark.parametrize("two_pass", [False, True])
def test_after_a_cut_the_first_frames_are_right(scene, two_pass):
    folder, truth = scene("cut", 2)
    _, luma = enhanced(folder, two_pass=two_pass)
    level = luma[truth["at"] :].mean(axis=(1, 2))
    assert np.abs(level / level[5:].mean() - 1).max() < 0.02


def test_behind_a_moving_disc_there_is_no_trail(scene):
    folder, truth = scene("ghost", 1.2)
    one = {"ratio": 6.0}
    _, plain = enhanced(folder, steady=(), **one)
    _, held = enhanced(folder, steady=("light", "noise"), **one)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    for i in range(8, len(held)):
        gone = np.hypot(x - truth["x"][i - 3], y - truth["y"]) < truth["radius"]
        clear = gone & (np.hypot(x - truth["x"][i], y - truth["y"]) > 2 * truth["radius"])
        assert abs((held[i] - plain[i])[clear].mean()) < 2 / 255


def test_smoothing_as_frames_come_is_right_at_once_after_a_cut_and_saved_between_runs(scene):
    folder, truth = scene("cut", 2)
    images = read_video(folder / "dark.mkv").images
    with streamkind.open_engine() as engine:
        told = [engine.decompose(image[None]).statistics for image in images]
    whole, first = RatioSmoother(), RatioSmoother()
    ratios = [whole(s, [i / 25])[0] for i, s in enumerate(told)]
    for i, statistics in enumerate(told[:10]):
        first(statistics, [i / 25])
    second = RatioSmoother(state=first.state)
    assert [second(s, [i / 25])[0] for i, s in enumerate(told) if i >= 10] == ratios[10:]
    after = ratios[truth["at"] :]
    assert abs(np.log2(after[0] / after[-1])) < 0.05
