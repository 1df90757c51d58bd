"""Streams of several videos on one engine: each has its own state."""

from __future__ import annotations

import numpy as np
import pytest
from support.engines import Gain
from support.media import scene

from streamkind.engine.engine import Engine
from streamkind.engine.stream import Stream, StreamState, choose_ratio, enhance_together
from streamkind.errors import EngineError, UsageError
from streamkind.light.exposure import DEFAULT_TARGET, RATIOS, FixedRatio, Statistics

FPS = 25


class Meter(Gain):
    """`Gain` with statistics of its pictures, and layers that are mixed with earlier layers."""

    def __init__(self, max_batch=2):
        super().__init__()
        self.max_batch = max_batch

    def decompose(self, pixels):
        layers = super().decompose(pixels)
        light = pixels.mean(axis=(1, 2, 3)) / 255
        thumbnail = pixels[:, 8::16, 8::16, 1] / 255
        curve = np.clip(np.outer(light, RATIOS), 0, 1)
        told = Statistics.of(curve, thumbnail, np.full(len(light), DEFAULT_TARGET))
        return type(layers)(layers.reflectance / np.float32(1), layers.illumination, told, pixels)

    def steady(self, layers, before, strength):
        held, last = [], before.reflectance[-1:]
        for i in range(len(layers.reflectance)):
            last = layers.reflectance[i : i + 1] * (1 - strength[0]) + last * strength[0]
            held.append(last)
        return type(layers)(**{
            **{name: getattr(layers, name) for name in layers.__dataclass_fields__},
            "reflectance": np.concatenate(held),
        })  # fmt: skip


def night(seed, count=12, size=(240, 320)):
    """Return noisy dark frames whose brightness oscillates, (count, *size, 3) uint8."""
    rng = np.random.default_rng(seed)
    ground = scene(*size[::-1]) // (2 + seed)
    light = 1 + 0.3 * np.sin(np.arange(count) + seed)
    noisy = [ground * gain + rng.normal(0, 2, ground.shape) for gain in light]
    return np.clip(noisy, 0, 255).astype(np.uint8)


def times(count, begin=0):
    return [(begin + i) / FPS for i in range(count)]


def engine(kind):
    """Return an engine whose network runs on whole frames, reduced frames, or only some frames."""
    whole = {} if kind == "whole" else {"area": 120 * 80}
    return Engine(Meter(), **whole, every=3 if kind == "skipping" else 1)


KINDS = pytest.mark.parametrize("kind", ["whole", "reduced", "skipping"])


def frame_by_frame(stream, frames, begin=0):
    made = [stream(f[None], [t]) for f, t in zip(frames, times(len(frames), begin), strict=True)]
    return np.concatenate([m[0] for m in made]), np.concatenate([m[1] for m in made])


@KINDS
def test_streams_in_turns_give_what_each_gives_alone(kind):
    videos = [night(0), night(1)]
    alone = [frame_by_frame(Stream(engine(kind)), video) for video in videos]
    shared = engine(kind)
    streams, made = [Stream(shared), Stream(shared)], ([], [])
    for i, at in enumerate(times(len(videos[0]))):
        for stream, video, into in zip(streams, videos, made, strict=True):
            into.append(stream(video[i][None], [at])[0][0])
    for (wanted, _), got in zip(alone, made, strict=True):
        np.testing.assert_array_equal(np.stack(got), wanted)


@KINDS
@pytest.mark.parametrize("cut", [1, 5, 7])
def test_a_saved_stream_goes_on_frame_for_frame(kind, cut):
    video, shared = night(0), engine(kind)
    wanted = frame_by_frame(Stream(shared), video)
    first = Stream(shared)
    frame_by_frame(first, video[:cut])
    state = first.state
    frame_by_frame(first, video[:3], begin=90)  # the saved state does not change
    second = Stream(shared, state=state)
    for got, all_of in zip(frame_by_frame(second, video[cut:], begin=cut), wanted, strict=True):
        np.testing.assert_array_equal(got, all_of[cut:])
    fresh = frame_by_frame(Stream(shared), video[cut:], begin=cut)
    assert not np.array_equal(fresh[0], wanted[0][cut:])


def test_another_engine_goes_on_with_the_ratio_alone():
    stream = Stream(engine("whole"))
    frame_by_frame(stream, night(0))
    state = stream.state.elsewhere()
    assert state == StreamState(ratio=stream.state.ratio) and state.ratio is not None


@KINDS
def test_a_batch_of_a_video_is_its_frames_one_by_one(kind):
    video = night(0, 6)
    wanted = frame_by_frame(Stream(engine(kind)), video)
    stream = Stream(engine(kind))
    stream(video[:1], [0.0])  # no frame comes before the first one, so it is not mixed
    got = stream(video[1:], times(5, 1))
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one, other[1:])


@pytest.mark.parametrize("kind", ["whole", "reduced"])
def test_frames_of_several_videos_share_a_batch_and_nothing_else(kind):
    videos = [night(0), night(1)]
    alone = [frame_by_frame(Stream(engine(kind)), video) for video in videos]
    backend = Meter()
    shared = Engine(backend, **({} if kind == "whole" else {"area": 120 * 80}))
    streams = [Stream(shared, skip=False) for _ in videos]
    for i, at in enumerate(times(len(videos[0]))):
        finish, ratios = enhance_together(streams, np.stack([v[i] for v in videos]), [at, at])
        for own, picture, ratio in zip(alone, finish(), ratios, strict=True):
            np.testing.assert_array_equal(picture, own[0][i])
            assert ratio == own[1][i]
    assert {shape[0] for shape in backend.seen} == {2}
    assert all(
        stream.seconds[step] > 0 for stream in streams for step in ("relight", "adapt", "finish")
    )


@KINDS
@pytest.mark.parametrize("ratio", [1.0, 1.1, 4.0])
def test_results_are_the_callers_own(kind, ratio):
    frame = scene()
    clear, _ = Stream(engine(kind), FixedRatio(ratio))(frame[None], [0.0])
    assert not np.shares_memory(clear, frame)
    one = engine(kind).enhance(frame, ratio=ratio)
    assert not np.shares_memory(one, frame)


def test_a_bright_picture_comes_back_in_memory_of_its_own():
    bright = np.full((64, 64, 3), 230, np.uint8)
    with engine("whole") as opened:
        clear = opened.enhance(bright)
    np.testing.assert_array_equal(clear, bright)
    assert not np.shares_memory(clear, bright)


@pytest.mark.parametrize("use", ["enhance", "decompose", "stream"])
def test_a_closed_engine_says_so(use):
    opened, picture = engine("whole"), scene()
    stream = Stream(opened)
    opened.close()
    opened.close()
    work = {
        "enhance": lambda: opened.enhance(picture),
        "decompose": lambda: opened.decompose(picture[None]),
        "stream": lambda: stream(picture[None], [0.0]),
    }
    with pytest.raises(EngineError, match="this engine is closed; open another"):
        work[use]()


@pytest.mark.parametrize("target", [0, -1, 5, np.nan, np.inf, True])
def test_an_impossible_target_is_refused(target):
    with pytest.raises(UsageError, match="target must be a mean luma above 0 and up to 1"):
        engine("whole").enhance(scene(), target=target)


@pytest.mark.parametrize("ratio", [3, 3.0, np.float32(3), np.float64(3), np.int64(3)])
def test_any_number_is_a_ratio(ratio):
    np.testing.assert_array_equal(
        engine("whole").enhance(scene(), ratio=ratio), engine("whole").enhance(scene(), ratio=3.0)
    )


@pytest.mark.parametrize("ratio", [True, False, 0, -1, 11, np.nan, "bright", None])
def test_a_value_that_is_no_ratio_is_refused(ratio):
    with pytest.raises(UsageError, match=r"ratio must be 'auto' or a number from 0\.1 to 10"):
        engine("whole").enhance(scene(), ratio=ratio)


def test_the_ratio_of_a_stream_can_be_chosen_anew():
    stream = Stream(engine("whole"), FixedRatio(2.0))
    assert stream(scene()[None], [0.0])[1] == [2.0]
    stream.choose = choose_ratio(3.0)
    assert stream(scene()[None], [0.04])[1] == [3.0]
