"""Layers that are filtered over time: calls of the engine, and results in pictures."""

from dataclasses import replace

import numpy as np
import pytest

from streamkind.backends.base import Layers
from streamkind.engine.profiles import open_engine
from streamkind.engine.steady import KEPT, STEADY, Steadier
from streamkind.light.exposure import RATIOS, Statistics

FPS = 25


class Recorder:
    """An engine that records the calls of its filter, and marks the layers that were filtered."""

    def __init__(self):
        self.asked = []

    def steady(self, layers, before, strength):
        self.asked.append((layers.reflectance, before.reflectance, strength.tolist()))
        return replace(layers, reflectance=layers.reflectance + "'")


def layers(name, size=(16, 16), count=1):
    pixels = np.zeros((count, *size, 3), np.uint8)
    told = Statistics.of(np.zeros((count, len(RATIOS))), np.zeros((count, 1, 1)), np.ones(count))
    return Layers(name, name, told, pixels)


def test_each_frame_is_filtered_with_the_filtered_frame_before():
    engine = Recorder()
    hold = Steadier(engine)
    got = [hold(layers(name), [i / FPS]).reflectance for i, name in enumerate("abc")]
    assert got == ["a", "b'", "c'"]
    assert [a[:2] for a in engine.asked] == [("b", "a"), ("c", "b'")]


@pytest.mark.parametrize(
    "what, strength",
    [
        (STEADY, [KEPT, KEPT]),
        (["noise"], [KEPT, 0]),
        (["ratio", "light"], [0, KEPT]),
        (["ratio"], None),
        ([], None),
    ],
)
def test_only_the_named_layers_are_filtered(what, strength):
    engine = Recorder()
    hold = Steadier(engine, what)
    for i, name in enumerate("ab"):
        hold(layers(name), [i / FPS])
    assert [a[2] for a in engine.asked] == ([] if strength is None else [pytest.approx(strength)])


@pytest.mark.parametrize("time, held", [(0.04, True), (2.0, True), (2.1, False), (-1.0, False)])
def test_a_gap_in_time_starts_anew(time, held):
    engine = Recorder()
    hold = Steadier(engine)
    hold(layers("a"), [0.0])
    hold(layers("b"), [time])
    assert bool(engine.asked) == held


def test_a_batch_is_timed_by_its_ends():
    engine = Recorder()
    hold = Steadier(engine, gap_seconds=1.0)
    hold(layers("a", count=3), [0.0, 2.0, 4.0])
    hold(layers("b", count=2), [4.5, 9.0])
    hold(layers("c"), [10.1])
    assert [a[0] for a in engine.asked] == ["b"]


def test_a_change_of_size_starts_anew():
    engine = Recorder()
    hold = Steadier(engine)
    for i, size in enumerate([(16, 16), (16, 32), (16, 32)]):
        hold(layers(str(i), size), [i / FPS])
    assert [a[:2] for a in engine.asked] == [("2", "1")]


@pytest.fixture(scope="module")
def kind():
    pytest.importorskip("openvino")
    with open_engine(backend="openvino") as engine:
        yield engine


def enhanced(kind, frames, what, ratio=6.0):
    """Return the clear pictures of consecutive frames at one ratio."""
    hold = Steadier(kind, what)
    told = (hold(kind.decompose(f[None]), [i / FPS]) for i, f in enumerate(frames))
    ratios = np.array([ratio], np.float32)
    return np.stack([kind.recompose(each, ratios)[0] for each in told]).astype(int)


def test_noise_falls_and_the_picture_stays(kind):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :96] / 64
    ground = np.stack([12 + 6 * np.sin(9 * x), 11 + 6 * np.sin(7 * y), 10 + 4 * x], axis=2)
    frames = [
        np.clip(ground + rng.normal(0, 1.5, ground.shape) + 0.5, 0, 255).astype(np.uint8)
        for _ in range(14)
    ]
    plain, held = (enhanced(kind, frames, what)[8:] for what in ((), STEADY))
    assert held.std(axis=0).mean() < 0.6 * plain.std(axis=0).mean()
    assert np.abs(held.mean(axis=0) - plain.mean(axis=0)).mean() < 2


def test_a_moving_lamp_leaves_no_trail(kind):
    """Check the trail of a disc of 24 pixels, which moves 12 pixels a frame on dark ground."""
    y, x = np.mgrid[:96, :256]
    ground = np.full((96, 256, 3), 10.0) + 3 * np.sin(x / 9)[..., None]
    centers = [20 + 12 * i for i in range(16)]
    discs = [np.hypot(y - 48, x - c)[..., None] for c in centers]
    frames = [np.where(d < 12, 230, ground + 60 * np.exp(-d / 6)).astype(np.uint8) for d in discs]
    frames = [ground.astype(np.uint8)] * 3 + frames
    plain, held = (enhanced(kind, frames, what) for what in ((), STEADY))
    for i in range(8, 19):
        gone = np.hypot(y - 48, x - centers[i - 6]) < 14  # where the disc was three frames ago
        trail = (held[i] - plain[i])[gone]
        assert np.abs(trail.mean()) < 2
        assert np.percentile(np.abs(trail), 95) <= 4  # from bf16 and restoration
    assert plain[8][np.hypot(y - 48, x - centers[5]) < 8].mean() > 200  # there is a lamp


def test_a_light_that_is_switched_on_is_followed_at_once(kind):
    rng = np.random.default_rng(0)
    room = rng.integers(8, 16, (64, 96, 3)).astype(np.uint8)
    frames = [room] * 5 + [room * 3] * 2
    plain, held = (enhanced(kind, frames, what, ratio=3.0) for what in ((), STEADY))
    assert plain[5].mean() > 1.5 * plain[4].mean()
    np.testing.assert_allclose(held[5], plain[5], atol=2)
