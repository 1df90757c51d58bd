"""The whole pipeline: every frame once, errors of every stage, ratios over time."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.engines import Gain
from support.media import make_clip, read_video

import streamkind
from streamkind.backends.base import Layers
from streamkind.engine.engine import Engine
from streamkind.engine.stream import Stream
from streamkind.engine.whole import Whole
from streamkind.light.exposure import DEFAULT_TARGET, RATIOS, FixedRatio, Statistics
from streamkind.pipeline import Report, find_track, run
from streamkind.video.frames import Frame
from streamkind.video.sink import open_sink
from streamkind.video.source import open_source

SIZE = (96, 64)


class Brighten:
    """A backend without networks, which multiplies frames by the ratio."""

    description = "brighten"

    def __init__(self, max_batch: int = 1) -> None:
        self.max_batch = max_batch

    def decompose(self, pixels):
        light = pixels.mean(axis=(1, 2, 3)) / 255
        told = Statistics(
            light.astype(np.float32),
            np.clip(np.outer(light, RATIOS), 0, 1).astype(np.float32),
            pixels[:, ::16, ::16, 1].astype(np.float32) / 255,
            np.full(len(pixels), DEFAULT_TARGET, np.float32),
        )
        return Layers(pixels, None, told, pixels)

    def recompose(self, layers, ratios):
        gain = np.asarray(ratios)[:, None, None, None]
        return np.clip(layers.reflectance * gain, 0, 255).astype(np.uint8)

    def steady(self, layers, before, strength):
        return layers

    def close(self):
        pass


def stream(backend=None, ratio=1.0):
    """Return a stream with one ratio, or with the ratios that a function chooses."""
    choose = ratio if callable(ratio) else FixedRatio(ratio)
    return Stream(Engine(backend or Brighten()), choose, steady=())


class ListSource:
    """A source of `count` frames in memory, which fails at frame `fail_at`."""

    still, lost, warnings, path = False, 0, (), Path("memory")

    def __init__(self, count: int, fail_at: int | None = None) -> None:
        self.count, self.fail_at, self.given = count, fail_at, 0

    def __iter__(self):
        for i in range(self.count):
            if i == self.fail_at:
                raise OSError("reader failed")
            self.given += 1
            level = (
                i * 37 % 256
            )  # far from the frame before, because small changes are filtered over time
            yield Frame(np.full((32, 32, 3), level, np.uint8), i, Fraction(1, 25))


class ListSink:
    """A sink that keeps its frames, and fails at frame `fail_at`."""

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
    run(ListSource(count), stream(Brighten(max_batch), 2.0), sink, report)
    assert [f.pts for f in sink.frames] == list(range(count))
    alone = stream(Brighten(), 2.0)
    made = [alone(frame.data[None], [frame.time])[0] for frame in ListSource(count)]
    assert [f.data.tobytes() for f in sink.frames] == [pixels.tobytes() for pixels in made]
    assert len({pixels.tobytes() for pixels in made[:100]}) >= 0.8 * min(
        count, 100
    )  # most frames differ
    assert report.frames == count


@pytest.mark.parametrize(("overlaps", "area"), [(True, 256), (False, 256), (True, None)])
def test_steps_run_in_the_threads_that_the_stream_allows(overlaps, area):
    count, together, threads, at = 6, overlaps and area is not None, [], defaultdict(set)
    begun = [threading.Event() for _ in range(count)]

    class Backend(Gain):
        max_batch = 1

        def decompose(self, pixels):
            begun[len(self.seen)].set()
            return super().decompose(pixels)

        def recompose(self, layers, ratios):
            threads.append(threading.current_thread().name)
            if together and len(threads) < count:
                assert begun[len(threads)].wait(60)
            return super().recompose(layers, ratios)

    class Noted(Stream):
        def timed(self, step):
            at[step].add(threading.current_thread().name)
            return super().timed(step)

    backend, sink = Backend(), ListSink()
    backend.overlaps = overlaps
    made = Noted(Engine(backend, area=area), FixedRatio(2.0), steady=(), film=False)
    run(ListSource(count), made, sink, Report(None, "test"))
    assert [f.pts for f in sink.frames] == list(range(count))
    first, second, third = "MainThread", "streamkind-between", "streamkind-write"
    assert at.pop("decompose") == at.pop("steady") == at.pop("ratio") == {first}
    assert at == {
        "relight": {second if together else first},
        "adapt": {second},
        "finish": {third},
    }
    assert {*threads} == at["relight"]


@pytest.mark.parametrize("most", [1, 4])
def test_whole_frames_are_finished_beside_the_network_only_if_it_takes_batches(most, monkeypatch):
    """Check that a large network on a processor, which takes single frames, runs alone."""
    finished = []
    monkeypatch.setattr(Whole, "raise_places", lambda self, *rest: finished.append(rest))
    backend = Gain()
    backend.max_batch = most
    view = Whole(backend)
    frame = np.full((1, 32, 32, 3), 20, np.uint8)
    adapt = view.relight(view.decompose(frame), np.array([3.0], np.float32))
    assert len(finished) == (1 if most == 1 else 0)
    first, second = adapt()(), view.recompose(view.decompose(frame), np.array([3.0], np.float32))
    np.testing.assert_array_equal(first, second)
    assert len(finished) == 2


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_batch_size_that_falls_after_the_first_frames_is_respected(after):
    """Check a smaller batch, as if a card failed, and the CPU continued."""

    class Failing(Brighten):
        def decompose(self, pixels):
            assert len(pixels) <= self.max_batch
            self.max_batch = after
            return super().decompose(pixels)

    sink, report = ListSink(), Report(None, "test")
    run(ListSource(13), stream(Failing(4), 2.0), sink, report)
    assert [f.pts for f in sink.frames] == list(range(13))
    wanted = stream(Brighten(), 2.0)
    made = [wanted(f.data[None], [f.time])[0] for f in ListSource(13)]
    assert [f.data.tobytes() for f in sink.frames] == [pixels.tobytes() for pixels in made]


@pytest.mark.parametrize(
    "stage", ["source", "decompose", "ratio", "recompose", "show", "sink", "progress"]
)
def test_an_error_in_any_stage_surfaces_at_once(stage):
    source = ListSource(100_000, fail_at=5 if stage == "source" else None)
    sink = ListSink(fail_at=5 if stage == "sink" else None)
    engine = engine_failing_in(stage) if stage in ("decompose", "recompose") else Brighten()

    def ratio(statistics, times):
        if stage == "ratio" and times[0] > 0.2:
            raise OSError("ratio failed")
        return np.full(len(times), 2, np.float32)  # at 1 nothing would be recomposed

    def show(before, after):
        if stage == "show":
            raise OSError("show failed")
        return after

    def progress(report):
        if stage == "progress" and report.frames > 5:
            raise OSError("progress failed")

    with pytest.raises(OSError, match="failed"):
        made = stream(engine, ratio)
        run(source, made, sink, Report(None, "test"), show=show, progress=progress)
    assert source.given < 100  # two queues and the frames in each stage, of 100 000
    assert [t.name for t in threading.enumerate() if t.name.startswith("streamkind")] == []


def test_an_interrupted_run_leaves_nothing(tmp_path):
    make_clip(tmp_path / "in.mp4", frames=30, size=SIZE)

    def interrupt(report):
        if report.frames == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streamkind.enhance(tmp_path / "in.mp4", tmp_path / "out.mp4", progress=interrupt)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_an_interrupted_first_pass_leaves_nothing(tmp_path):
    make_clip(tmp_path / "in.mp4", frames=30, size=SIZE)
    seen = []

    def interrupt(report):
        seen.append((report.surveyed, report.frames))
        if report.surveyed == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streamkind.enhance(tmp_path / "in.mp4", tmp_path / "out.mp4", progress=interrupt)
    assert seen[-1] == (3, 0)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]
    assert [t.name for t in threading.enumerate() if t.name.startswith("streamkind")] == []


def damaged(path):
    """Write a clip whose end is missing, so that frames are lost."""
    make_clip(path, frames=30, size=SIZE, options={"g": "10"})
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def test_both_passes_lose_the_same_frames_and_tell_it_once(tmp_path):
    damaged(tmp_path / "in.mkv")
    one = streamkind.enhance(tmp_path / "in.mkv", tmp_path / "one.mkv", two_pass=False)
    two = streamkind.enhance(tmp_path / "in.mkv", tmp_path / "two.mkv")
    assert two.surveyed == two.frames == one.frames < 30
    assert (two.lost, two.warnings) == (one.lost, one.warnings)
    assert one.lost and len(set(two.warnings)) == len(two.warnings)


def test_a_track_of_a_damaged_file_tells_what_was_lost(tmp_path):
    damaged(tmp_path / "in.mkv")
    reports = []
    track = find_track(tmp_path / "in.mkv", progress=reports.append)
    assert reports[-1].surveyed == len(track.time) < 30
    assert reports[-1].lost and "could not be decoded" in reports[-1].warnings[0]


def test_frames_alive_are_bounded_however_long_the_video():
    alive, most = 0, 0

    def count_out():
        nonlocal alive
        alive -= 1

    class Source(ListSource):
        def __iter__(self):
            nonlocal alive, most
            for frame in super().__iter__():
                weakref.finalize(frame.data, count_out)
                alive += 1
                most = max(most, alive)
                yield frame

    class SlowSink(ListSink):
        def write(self, frame):
            time.sleep(0.001)

    run(Source(300), stream(), SlowSink(), Report(None, "test"))
    assert 1 < most <= 12  # two queues of four, and the frames in each stage


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
    """Return four frames of a slow pan over a drawn scene by day: sky, houses in colour, road."""
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
        tmp_path / "in.mp4",
        tmp_path / "out.mp4",
        progress=lambda r: seen.append((r.surveyed, r.frames)),
    )
    before, after = read_video(tmp_path / "in.mp4"), read_video(tmp_path / "out.mp4")
    assert (after.pts, after.time_base) == (before.pts, before.time_base)
    assert mean_luma(tmp_path / "out.mp4") > 4 * mean_luma(tmp_path / "in.mp4")
    assert seen == [(i, 0) for i in range(5)] + [(4, i) for i in range(1, 5)]
    assert (report.frames, report.total, report.lost) == (4, 4, 0)
    assert set(report.stages) == {
        "first pass", "decode", "decompose", "steady", "ratio", "relight", "adapt", "finish",
        "encode",
    }  # fmt: skip


def test_a_fixed_ratio_is_used_and_a_higher_one_is_brighter(tmp_path, daylight):
    dark = [(image * 0.2).astype(np.uint8) for image in daylight[:2]]
    make_clip(tmp_path / "in.mp4", frames=2, size=(192, 128), images=dark)
    lumas = []
    for ratio in (0.1, 1.0, 2.0, 10.0):
        report = streamkind.enhance(tmp_path / "in.mp4", tmp_path / "out.mp4", ratio=ratio)
        assert report.ratio == pytest.approx(ratio)
        lumas.append(mean_luma(tmp_path / "out.mp4"))
    assert lumas == sorted(lumas)
    assert lumas[1] == pytest.approx(mean_luma(tmp_path / "in.mp4"), rel=0.05)


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
        ({"steady": ["ratio", "nope"]}, "steady: unknown nope; choose from ratio, light, noise"),
        (
            {"steady": "noise"},
            r"steady takes a collection of names, got .noise.; expected \[.noise.\]",
        ),
        ({"ratio": 2, "ratio_track": "t.csv"}, "exclude each other"),
        ({"ratio": 2, "two_pass": True}, "leave out the fixed ratio"),
        ({"ratio_track": "t.csv", "two_pass": True}, "leave out .* the ratio track"),
        ({"steady": ["light"], "two_pass": True}, "leave out .* steady without ratio"),
        ({"ratio_track": "t.csv"}, "t.csv cannot be read as a ratio track"),
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
    """Check the real source and sink with an engine that returns its input."""
    make_clip(tmp_path / "in.mkv", frames=7, size=SIZE)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_source(tmp_path / "in.mkv"))
        sink = stack.enter_context(open_sink(tmp_path / "out.mkv", source, crf=4))
        run(source, stream(), sink, Report(None, "test"))
    before, after = read_video(tmp_path / "in.mkv"), read_video(tmp_path / "out.mkv")
    assert after.pts == before.pts
    for a, b in zip(before.images, after.images, strict=True):
        assert np.abs(a.astype(int) - b).mean() < 2


def drift(count, size=(128, 96), seed=0):
    """Return frames of a night scene whose brightness changes from frame to frame."""
    rng = np.random.default_rng(seed)
    scene = np.repeat(np.repeat(rng.uniform(0.2, 1, (6, 8, 3)), 16, axis=0), 16, axis=1)
    light = 24 + 6 * rng.uniform(-1, 1, count)
    return [np.uint8(scene[: size[1], : size[0]] * level) for level in light]


def ratios_of(tmp_path, **options):
    """Enhance in.mkv; return the ratio of every frame."""
    seen = []
    streamkind.enhance(
        tmp_path / "in.mkv",
        tmp_path / "out.mkv",
        progress=lambda r: seen.append(r.ratio) if r.frames else None,
        **options,
    )
    return np.array(seen)


def test_steadiness_can_be_switched_off(tmp_path):
    make_clip(tmp_path / "in.mkv", frames=20, size=(128, 96), images=drift(20))
    own = ratios_of(tmp_path, steady=())
    one = ratios_of(tmp_path, steady=["ratio"], two_pass=False)
    two = ratios_of(tmp_path, steady=["ratio"])
    assert np.diff(np.log2(own)).std() > 0.1
    for smooth in (one, two):
        assert np.diff(np.log2(smooth)).std() < 0.6 * np.diff(np.log2(own)).std()
    assert not np.array_equal(one, two)


def test_a_track_found_written_and_given_back_makes_the_same_video(tmp_path):
    make_clip(tmp_path / "in.mkv", frames=8, size=(128, 96), images=drift(8))
    ratios = ratios_of(tmp_path)
    wanted = read_video(tmp_path / "out.mkv").images
    track = find_track(tmp_path / "in.mkv")
    np.testing.assert_allclose(track.ratio, ratios, rtol=1e-6)
    track.write(tmp_path / "track.csv")
    given = ratios_of(tmp_path, ratio_track=tmp_path / "track.csv")
    np.testing.assert_array_equal(given, ratios)
    np.testing.assert_array_equal(read_video(tmp_path / "out.mkv").images, wanted)


def test_an_edited_track_is_followed(tmp_path):
    make_clip(tmp_path / "in.mkv", frames=5, size=(128, 96), images=drift(5), rate=10)
    (tmp_path / "t.csv").write_text("time,ratio\n0,2\n0.4,8\n")
    ratios = ratios_of(tmp_path, ratio_track=tmp_path / "t.csv")
    np.testing.assert_allclose(np.log2(ratios), [1, 1.5, 2, 2.5, 3], atol=1e-3)


def test_a_part_of_a_video_is_surveyed_alone(tmp_path):
    make_clip(tmp_path / "in.mkv", frames=12, size=(128, 96), images=drift(12), rate=10)
    seen = []
    streamkind.enhance(
        tmp_path / "in.mkv",
        tmp_path / "out.mkv",
        start=0.4,
        duration=0.5,
        progress=lambda r: seen.append(r.surveyed),
    )
    assert max(seen) == 5


def test_stills_share_no_exposure_and_need_no_first_pass(tmp_path, daylight):
    import cv2

    (tmp_path / "in").mkdir()
    for i, gain in enumerate((0.05, 0.12, 0.08)):
        cv2.imwrite(str(tmp_path / "in" / f"{i}.png"), (daylight[0] * gain).astype(np.uint8))
    seen = []
    report = streamkind.enhance(
        tmp_path / "in", tmp_path / "out", progress=lambda r: seen.append(r.ratio)
    )
    assert report.surveyed == 0
    assert seen[1] > seen[3] > seen[2]  # each has its own ratio, without smoothing
    with pytest.raises(streamkind.UsageError, match="for videos, but the input is stills"):
        find_track(tmp_path / "in")


def test_a_folder_that_becomes_a_video_takes_two_passes_as_a_file_does(tmp_path):
    (tmp_path / "in").mkdir()
    for number, image in enumerate(drift(4)):
        Image.fromarray(image).save(tmp_path / "in" / f"{number}.png")
    for profile, asked, passes in (
        ("balanced", None, 2),
        ("realtime", None, 1),
        ("realtime", True, 2),
    ):
        report = streamkind.enhance(
            tmp_path / "in", tmp_path / "out.mp4", profile=profile, two_pass=asked
        )
        assert (report.frames, report.surveyed) == (4, 4 * (passes - 1))


@pytest.mark.parametrize(("lit_from", "passes"), [(50, 1), (25, 2)])
def test_realtime_takes_two_passes_where_key_frames_tell_of_another_light(
    tmp_path, lit_from, passes
):
    dim, lit = drift(1)[0] // 4, drift(1)[0]
    images = [lit if i >= lit_from else dim for i in range(50)]
    make_clip(tmp_path / "in.mkv", frames=50, size=(128, 96), images=images, options={"g": "25"})
    report = streamkind.enhance(tmp_path / "in.mkv", tmp_path / "out.mkv", profile="realtime")
    assert (report.frames, report.surveyed) == (50, 50 * (passes - 1))
