"""The whole path: every frame once, errors from every stage at once, light handled as promised."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from media import make_clip, read_video

import streamkind
from streamkind.backends.base import Layers
from streamkind.exposure import RATIOS, FixedRatio, Statistics
from streamkind.pipeline import Report, run
from streamkind.video.frames import Frame
from streamkind.video.sink import open_sink
from streamkind.video.source import open_source

SIZE = (96, 64)


class Brighten:
    """An engine without nets: the ratio is a gain."""

    description = "brighten"

    def __init__(self, max_batch: int = 1) -> None:
        self.max_batch = max_batch

    def decompose(self, pixels):
        light = pixels.mean(axis=(1, 2, 3)) / 255
        told = Statistics(
            light.astype(np.float32),
            np.clip(np.outer(light, RATIOS), 0, 1).astype(np.float32),
            pixels[:, ::16, ::16, 1].astype(np.float32) / 255,
        )
        return Layers(pixels, None, told, pixels)

    def recompose(self, layers, ratios):
        gain = np.asarray(ratios)[:, None, None, None]
        return np.clip(layers.reflectance * gain, 0, 255).astype(np.uint8)

    def close(self):
        pass


class ListSource:
    """Frames from memory, without an end if asked."""

    still, lost, warnings, path = False, 0, (), Path("memory")

    def __init__(self, count: int, fail_at: int | None = None) -> None:
        self.count, self.fail_at = count, fail_at

    def __iter__(self):
        for i in range(self.count):
            if i == self.fail_at:
                raise OSError("reader failed")
            yield Frame(np.full((32, 32, 3), i % 256, np.uint8), i, Fraction(1, 25))


class ListSink:
    """Keeps what it is given."""

    warnings = ()

    def __init__(self, fail_at: int | None = None) -> None:
        self.frames, self.fail_at = [], fail_at

    def write(self, frame):
        if len(self.frames) == self.fail_at:
            raise OSError("writer failed")
        self.frames.append(frame)


def engine_failing_in(stage: str):
    engine = Brighten()

    def fail(*args):
        raise OSError(f"{stage} failed")

    setattr(engine, stage, fail)
    return engine


@pytest.mark.parametrize("max_batch", [1, 3, 4])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 300])
def test_every_frame_arrives_once_in_order(count, max_batch):
    sink, report = ListSink(), Report(count, "test")
    run(ListSource(count), Brighten(max_batch), FixedRatio(2.0), sink, report)
    assert [f.pts for f in sink.frames] == list(range(count))
    assert [int(f.data[0, 0, 0]) for f in sink.frames] == [
        min(2 * (i % 256), 255) for i in range(count)
    ]
    assert report.frames == count


@pytest.mark.parametrize("stage", ["source", "decompose", "ratio", "recompose", "sink", "progress"])
def test_an_error_in_any_stage_surfaces_within_a_second(stage):
    source = ListSource(100_000, fail_at=5 if stage == "source" else None)
    sink = ListSink(fail_at=5 if stage == "sink" else None)
    engine = engine_failing_in(stage) if stage in ("decompose", "recompose") else Brighten()

    def ratio(statistics, times):
        if stage == "ratio" and times[0] > 0.2:
            raise OSError("ratio failed")
        return np.ones(len(times), np.float32)

    def progress(report):
        if stage == "progress" and report.frames > 5:
            raise OSError("progress failed")

    began = time.monotonic()
    with pytest.raises(OSError, match="failed"):
        run(source, engine, ratio, sink, Report(None, "test"), progress=progress)
    assert time.monotonic() - began < 1
    assert [t.name for t in threading.enumerate() if t.name.startswith("streamkind")] == []


def test_an_interrupted_run_leaves_nothing(tmp_path):
    make_clip(tmp_path / "in.mp4", frames=30, size=SIZE)

    def interrupt(report):
        if report.frames == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streamkind.enhance(tmp_path / "in.mp4", tmp_path / "out.mp4", progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_frames_alive_are_bounded_however_long_the_video():
    alive, most = 0, 0

    def forget():
        nonlocal alive
        alive -= 1

    class Source(ListSource):
        def __iter__(self):
            nonlocal alive, most
            for frame in super().__iter__():
                weakref.finalize(frame.data, forget)
                alive += 1
                most = max(most, alive)
                yield frame

    class SlowSink(ListSink):
        def write(self, frame):
            time.sleep(0.001)

    run(Source(300), Brighten(), FixedRatio(1.0), SlowSink(), Report(None, "test"))
    assert 1 < most <= 12  # two queues of four, and what each stage has in hand


def mean_luma(path) -> float:
    weights = np.array([0.299, 0.587, 0.114])
    return float(np.mean([image @ weights for image in read_video(path).images]) / 255)


@pytest.mark.parametrize("ratio", ["auto", 10.0])
def test_black_stays_black(tmp_path, ratio):
    make_clip(
        tmp_path / "in.mp4",
        frames=3,
        size=SIZE,
        images=[np.zeros((SIZE[1], SIZE[0], 3), np.uint8)] * 3,
    )
    streamkind.enhance(tmp_path / "in.mp4", tmp_path / "out.mp4", ratio=ratio)
    assert mean_luma(tmp_path / "out.mp4") < 0.05


def test_white_stays_white(tmp_path):
    make_clip(
        tmp_path / "in.mp4",
        frames=3,
        size=SIZE,
        images=[np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)] * 3,
    )
    streamkind.enhance(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert mean_luma(tmp_path / "out.mp4") > 0.95


def test_daylight_is_left_nearly_as_it_is(tmp_path, daylight):
    make_clip(tmp_path / "in.mp4", frames=4, size=daylight[0].shape[1::-1], images=daylight)
    streamkind.enhance(tmp_path / "in.mp4", tmp_path / "out.mp4")
    before, after = mean_luma(tmp_path / "in.mp4"), mean_luma(tmp_path / "out.mp4")
    assert 0.3 < before < 0.7
    assert abs(after - before) < 0.03


@pytest.fixture
def daylight():
    """A drawn day: sky, houses in colour, road; four frames of a slow pan."""
    rng = np.random.default_rng(1)
    scene = np.zeros((128, 240, 3), np.float32)
    scene[:50] = (150, 190, 230)
    scene[80:] = (100, 100, 104)
    for x in range(0, 240, 30):
        scene[30:85, x : x + 26] = rng.uniform(60, 200, 3)
        scene[45:60, x + 6 : x + 18] = (50, 60, 80)
    scene += rng.normal(0, 2, scene.shape)
    pixels = np.clip(scene, 0, 255).astype(np.uint8)
    return [np.ascontiguousarray(pixels[:, 2 * i : 2 * i + 192]) for i in range(4)]


def test_a_dark_clip_becomes_clear_and_keeps_its_times(tmp_path, daylight):
    dark = [(image * 0.12).astype(np.uint8) for image in daylight]
    pts = [0, 512, 1100, 3000]
    make_clip(tmp_path / "in.mp4", frames=4, size=(192, 128), images=dark, pts=pts, audio="aac")
    seen = []
    report = streamkind.enhance(
        tmp_path / "in.mp4", tmp_path / "out.mp4", progress=lambda r: seen.append(r.frames)
    )
    before, after = read_video(tmp_path / "in.mp4"), read_video(tmp_path / "out.mp4")
    assert (after.pts, after.time_base) == (before.pts, before.time_base)
    assert mean_luma(tmp_path / "out.mp4") > 0.3
    assert seen == [0, 1, 2, 3, 4]
    assert (report.frames, report.total, report.lost) == (4, 4, 0)
    assert set(report.stages) == {"decode", "decompose", "recompose", "encode"}


def test_a_fixed_ratio_is_used_and_a_higher_one_is_brighter(tmp_path, daylight):
    dark = [(image * 0.2).astype(np.uint8) for image in daylight[:2]]
    make_clip(tmp_path / "in.mp4", frames=2, size=(192, 128), images=dark)
    lumas = []
    for ratio in (0.1, 0.5, 1.0, 2.0, 5.0, 10.0):
        report = streamkind.enhance(tmp_path / "in.mp4", tmp_path / "out.mp4", ratio=ratio)
        assert report.ratio == pytest.approx(ratio)
        lumas.append(mean_luma(tmp_path / "out.mp4"))
    assert lumas == sorted(lumas)
    assert lumas[2] == pytest.approx(mean_luma(tmp_path / "in.mp4"), rel=0.05)


def test_side_by_side_puts_the_original_left(tmp_path, daylight):
    dark = [(image * 0.12).astype(np.uint8) for image in daylight]
    make_clip(tmp_path / "in.mp4", frames=4, size=(192, 128), images=dark)
    streamkind.enhance(tmp_path / "in.mp4", tmp_path / "out.mp4", side_by_side=True)
    image = read_video(tmp_path / "out.mp4").images[0]
    assert image.shape == (128, 384, 3)
    assert abs(image[:, :192].mean() - dark[0].mean()) < 2
    assert image[:, 192:].mean() > 4 * dark[0].mean()


def test_a_still_image(tmp_path, daylight):
    import cv2

    cv2.imwrite(str(tmp_path / "in.png"), (daylight[0] * 0.12).astype(np.uint8))
    streamkind.enhance(tmp_path / "in.png", tmp_path / "out.png")
    assert cv2.imread(str(tmp_path / "out.png")).mean() > 70


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ratio": 11}, "0.1 to 10"),
        ({"ratio": "bright"}, "'auto' or a number"),
        ({"target": 0}, "above 0"),
        ({"model": "nope"}, "unknown model 'nope'"),
        ({"backend": "nope"}, "unknown backend 'nope'"),
        ({"codec": "nope"}, "nope"),
        ({"start": -1}, "start"),
    ],
)
def test_impossible_options_are_refused_before_any_work(tmp_path, options, says):
    make_clip(tmp_path / "in.mp4", frames=2, size=SIZE)
    with pytest.raises(streamkind.UsageError, match=says):
        streamkind.enhance(tmp_path / "in.mp4", tmp_path / "out.mp4", **options)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_engine_enhances_one_image(daylight):
    dark = (daylight[0] * 0.12).astype(np.uint8)[:101, :151]
    with streamkind.open_engine(model="kind", backend="auto", profile="quality") as engine:
        clear = engine.enhance(dark, ratio="auto")
        assert (clear.shape, clear.dtype) == (dark.shape, np.uint8)
        assert clear.mean() > 3 * dark.mean()
        with pytest.raises(ValueError, match="uint8"):
            engine.enhance(dark.astype(np.float32))


def test_sources_and_sinks_agree_with_the_pipeline(tmp_path):
    """The real source and sink around an engine without nets: what goes in comes out."""
    make_clip(tmp_path / "in.mkv", frames=7, size=SIZE)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_source(tmp_path / "in.mkv"))
        sink = stack.enter_context(open_sink(tmp_path / "out.mkv", source, crf=4))
        run(source, Brighten(), FixedRatio(1.0), sink, Report(None, "test"))
    before, after = read_video(tmp_path / "in.mkv"), read_video(tmp_path / "out.mkv")
    assert after.pts == before.pts
    for a, b in zip(before.images, after.images, strict=True):
        assert np.abs(a.astype(int) - b).mean() < 2
