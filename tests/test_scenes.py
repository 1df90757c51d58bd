"""The rendered test scenes agree with the truth that is stored with them."""

import json

import numpy as np
import pytest
from support.media import read_video
from support.tools import load_tool

make_scenes = load_tool("make_scenes")
SIZE = (96, 64)
SECONDS = dict.fromkeys(make_scenes.SCENES, 1.0) | {"dusk": 2.0, "tunnel": 2.0, "sign": 2.0}


def rendered(name, seed=0):
    """Return the reference frames and the dark frames of a scene, and its truth."""
    render, _ = make_scenes.SCENES[name]
    scene = render(SIZE, round(SECONDS[name] * make_scenes.RATE))
    pairs = list(make_scenes.frames_of(scene, seed))
    return *map(np.stack, zip(*pairs, strict=True)), scene.truth


def means(frames):
    return frames.astype(float).mean(axis=(1, 2, 3)) / 255


@pytest.mark.parametrize("name", make_scenes.SCENES)
def test_a_scene_is_dark_and_its_reference_is_well_exposed(name):
    reference, dark, _ = rendered(name)
    assert reference.shape == dark.shape == (round(25 * SECONDS[name]), 64, 96, 3)
    assert 0.2 < means(reference).mean() < 0.5
    darkest = means(dark).min()
    assert 0.02 < darkest < 0.12
    assert darkest < 0.3 * means(reference).min()


def test_a_scene_is_the_same_each_time_and_its_noise_is_the_seeds():
    one, again, other = (rendered("static", seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_the_static_scene_has_noise_and_nothing_else():
    reference, dark, _ = rendered("static")
    assert np.ptp(reference, axis=0).max() == 0
    assert 0.5 < dark.astype(float).std(axis=0).mean() < 5
    assert means(dark).std() < 0.002


def test_dusk_falls_by_three_stops():
    _, dark, truth = rendered("dusk")
    light = [make_scenes.linear(frame).mean() for frame in dark]
    assert np.log2(light[0] / light[-1]) == pytest.approx(3, abs=0.2)
    assert truth["stops"][-1] - truth["stops"][0] == 3


@pytest.mark.parametrize(
    "name, events",
    [("tunnel", {"enter": -1, "leave": 1}), ("switched", {"at": 1}), ("cut", {"at": 1})],
)
def test_a_step_is_on_the_frame_that_the_truth_names(name, events):
    _, dark, truth = rendered(name)
    steps = np.diff(np.log2(means(dark)))
    assert set(truth) == set(events)
    for event, sign in events.items():
        assert steps[truth[event] - 1] * sign > 0.5
    still = np.delete(steps, [frame - 1 for frame in truth.values()])
    assert np.abs(still).max() < 0.05


@pytest.mark.parametrize("name", ["headlights", "sign"])
def test_behind_lamps_the_background_stays_still(name):
    reference, dark, truth = rendered(name)
    x0, y0, x1, y1 = truth["background"]
    assert np.ptp(means(dark)) > 0.005
    background = reference[:, y0:y1, x0:x1]
    assert np.ptp(background, axis=0).max() <= 40  # only the rim of a glow reaches it
    assert np.ptp(means(dark[:, y0:y1, x0:x1])) < 0.15 * np.ptp(means(dark))


def test_the_disc_is_where_the_truth_says():
    _, dark, truth = rendered("ghost")
    for frame, x in zip(dark[3:-3], truth["x"][3:-3], strict=True):
        rows, columns = np.nonzero(frame.min(axis=2) > 200)
        assert columns.mean() == pytest.approx(x, abs=0.7)
        assert rows.mean() == pytest.approx(truth["y"], abs=0.7)


def test_a_pan_moves_by_four_pixels():
    reference, _, truth = rendered("pan")
    assert truth["x"][1] - truth["x"][0] in (4, -4)
    by = truth["x"][1] - truth["x"][0]
    np.testing.assert_array_equal(reference[1][:, 8:40], reference[0][:, 8 + by : 40 + by])


def test_files_are_written_whole(tmp_path):
    make_scenes.write("cut", tmp_path / "cut", size=SIZE, seconds=0.4, seed=0)
    names = {"reference.mkv", "dark.mkv", "dark-high.mp4", "dark-low.mp4"}
    assert {p.name for p in (tmp_path / "cut").iterdir()} == names | {"truth.json"}
    assert json.loads((tmp_path / "cut" / "truth.json").read_text()) == {"rate": 25, "at": 5}
    for name in names:
        assert len(read_video(tmp_path / "cut" / name).pts) == 10
    scene = make_scenes.cut(SIZE, 10)
    wanted = [dark for _, dark in make_scenes.frames_of(scene, 0)]
    np.testing.assert_array_equal(read_video(tmp_path / "cut" / "dark.mkv").images, wanted)
    sizes = [(tmp_path / "cut" / f"dark-{rate}.mp4").stat().st_size for rate in ("high", "low")]
    assert sizes[0] > 1.5 * sizes[1]
