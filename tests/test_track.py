"""Ratios of a whole video: smoothed with look-ahead, written, edited and read again."""

import re
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from streamkind.backends.base import Layers
from streamkind.engine.survey import SURVEY_SIDE, correction, reduced, survey
from streamkind.errors import InputError, OutputError, UsageError
from streamkind.light.exposure import DEFAULT_TARGET, RATIOS, Statistics, auto_ratio
from streamkind.light.lookahead import smooth_track
from streamkind.light.track import Track, TrackRatio
from streamkind.measure.plots import draw_track
from streamkind.video.frames import Frame

FPS = 25
FRAMES = 200


def clock(count=FRAMES, fps=FPS):
    return np.arange(count) / fps


def smoothed(wanted, times=None, cuts=()):
    wanted = np.asarray(wanted, float)
    cut = np.zeros(len(wanted), bool)
    cut[list(cuts)] = True
    return smooth_track(wanted, clock(len(wanted)) if times is None else times, cut)


def noise(sigma, count=FRAMES, seed=0):
    return np.random.default_rng(seed).normal(0, sigma, count)


@pytest.mark.parametrize("sigma", [0.001, 0.003, 0.01])
def test_noise_vanishes_wholly(sigma):
    smooth = smoothed(2 + noise(sigma))
    assert np.ptp(smooth) == 0
    assert smooth[0] == pytest.approx(2, abs=0.006)


@pytest.mark.parametrize("sigma", [0.03, 0.05])
def test_strong_noise_is_damped_to_a_fiftieth(sigma):
    wanted = 2 + noise(sigma)
    smooth = smoothed(wanted)
    assert np.diff(smooth).std() < 0.02 * np.diff(wanted).std()
    assert np.abs(smooth - 2).max() < sigma


@pytest.mark.parametrize("value", [0.0, 1.7, np.log2(3)])
@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_a_constant_stays_exactly_what_it_is(value, count):
    assert (smoothed(np.full(count, value)) == value).all()


@pytest.mark.parametrize("sigma", [0, 0.01, 0.03])
@pytest.mark.parametrize("stops", [3, -3])
def test_dusk_is_followed_within_two_percent_to_its_ends(sigma, stops):
    truth = np.linspace(0, stops, FRAMES)
    smooth = smoothed(truth + noise(sigma))
    assert np.abs(2 ** (smooth - truth) - 1).max() < 0.02


@pytest.mark.parametrize("sigma, but_for_ends", [(0.005, 0), (0.01, 10)])
@pytest.mark.parametrize("ends", [(0, 3), (3, 0)])
def test_dusk_is_followed_whatever_the_noise_happens_to_be(ends, sigma, but_for_ends):
    truth = np.linspace(*ends, FRAMES)
    inner = slice(but_for_ends, FRAMES - but_for_ends)
    for seed in range(40):
        error = smoothed(truth + noise(sigma, seed=seed)) - truth
        assert np.abs(2 ** error[inner] - 1).max() < 0.02


def test_a_curved_dusk_is_followed_within_two_percent():
    truth = 1.5 - 1.5 * np.cos(np.pi * clock() / clock()[-1])
    assert np.abs(2 ** (smoothed(truth + noise(0.01)) - truth) - 1).max() < 0.02


def test_an_hour_takes_seconds():
    wanted = np.cumsum(noise(0.01, 108_000))
    began = time.thread_time()
    smoothed(wanted)
    assert time.thread_time() - began < 10


def test_irregular_times_count():
    times = np.sort(np.random.default_rng(0).uniform(0, 8, FRAMES))
    truth = 3 * times / 8
    assert np.abs(2 ** (smoothed(truth + noise(0.01), times) - truth) - 1).max() < 0.02


@pytest.mark.parametrize("sigma", [0, 0.01, 0.03])
@pytest.mark.parametrize("before, after", [(3.0, 0.0), (0.0, 3.0), (2.0, 1.0)])
def test_a_step_stays_on_its_frame_and_is_not_overshot(before, after, sigma):
    truth = np.where(np.arange(FRAMES) < 100, before, after)
    smooth = smoothed(truth + noise(sigma))
    assert np.abs(smooth - truth).max() < 0.01 + sigma / 3


def test_a_lone_frame_is_smoothed_over():
    wanted = np.full(FRAMES, 2.0)
    wanted[[50, 120, 121]] = 3.0, 0.5, 0.5
    assert (smoothed(wanted) == 2).all()


def bump(height, seconds):
    count = round(seconds * FPS)
    wanted = np.full(FRAMES, 2.0)
    wanted[60 : 60 + count] -= height * np.sin(np.pi * np.arange(count) / count) ** 0.3
    return wanted


@pytest.mark.parametrize("height", [0.3, -0.3, 0.6])
def test_passing_headlights_do_not_change_the_track(height):
    assert np.abs(smoothed(bump(height, 2)) - 2).max() < 0.03


@pytest.mark.parametrize("height, seconds", [(1.5, 1), (0.5, 4), (-2, 2)])
def test_deeper_or_longer_changes_are_followed(height, seconds):
    wanted = bump(height, seconds)
    middle = slice(60 + 5, 60 + round(seconds * FPS) - 5)
    assert np.abs(smoothed(wanted) - wanted)[middle].max() < 0.1


def test_scenes_are_smoothed_each_alone():
    wanted = np.concatenate([2 + noise(0.01, 60), 2.1 + noise(0.01, 60, seed=1)])
    smooth = smoothed(wanted, cuts=[0, 60])
    np.testing.assert_array_equal(smooth[:60], smoothed(wanted[:60]))
    np.testing.assert_array_equal(smooth[60:], smoothed(wanted[60:]))
    assert smooth[60] - smooth[59] == pytest.approx(0.1, abs=0.015)


def test_nothing_leaves_the_range_of_what_was_wanted():
    wanted = np.cumsum(noise(0.2, 500))
    smooth = smoothed(wanted)
    assert wanted.min() <= smooth.min() and smooth.max() <= wanted.max()


def track(**columns):
    count = len(columns["time"])
    full = {
        "ratio": np.full(count, 2.0),
        "wanted": np.full(count, 2.2),
        "luma": np.full(count, 0.1),
        "cut": np.zeros(count, bool),
    } | {k: np.asarray(v) for k, v in columns.items()}
    return Track(full["time"], full["ratio"], full["wanted"], full["luma"], full["cut"])


def test_a_track_is_read_as_it_was_written(tmp_path):
    times = np.array([float(Fraction(i * 1001, 30_000)) for i in range(50)])
    ratios = 2.0 ** np.random.default_rng(0).uniform(-3, 4, 50)
    wrote = track(time=times, ratio=ratios, cut=np.arange(50) % 20 == 0)
    wrote.write(tmp_path / "t.csv")
    read = Track.read(tmp_path / "t.csv")
    np.testing.assert_array_equal(read.time, wrote.time)
    np.testing.assert_array_equal(read.ratio, wrote.ratio)
    np.testing.assert_array_equal(read.cut, wrote.cut)
    np.testing.assert_allclose(read.wanted, wrote.wanted)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_spaces_after_commas_are_fine(tmp_path):
    (tmp_path / "t.csv").write_text("time, ratio, cut\n0, 2, 1\n1, 4, 0\n")
    read = Track.read(tmp_path / "t.csv")
    assert read.ratio.tolist() == [2, 4] and read.cut.tolist() == [True, False]


def test_time_and_ratio_are_enough(tmp_path):
    (tmp_path / "t.csv").write_text("\ufeffratio,time,mine\n2,0,x\n4,1,y\n", encoding="utf-8")
    read = Track.read(tmp_path / "t.csv")
    assert read.time.tolist() == [0, 1] and read.ratio.tolist() == [2, 4]
    assert np.isnan(read.wanted).all() and not read.cut.any()


BAD = {
    "missing": (None, r"cannot be read as a ratio track .*streamkind track"),
    "binary": (b"\xff\xfe\x00\x9c", r"cannot be read as a ratio track"),
    "empty": (b"", r"no column ratio and time; .*time,ratio,wanted,luma,cut"),
    "no ratio": (b"time,value\n0,1\n", r"no column ratio;"),
    "no rows": (b"time,ratio\n", r"has no rows; .* at least one"),
    "no number": (b"time,ratio\n0,2\n1,much\n", r"line 3: ratio is 'much', expected .*0\.1 to 32"),
    "nothing": (b"time,ratio\n0,\n", r"line 2: ratio is '', expected a number"),
    "short row": (b"time,ratio\n0\n", r"line 2: ratio is '', expected a number"),
    "too high": (
        b"time,ratio\n0,33\n",
        r"line 2: ratio is '33', expected a number from 0\.1 to 32",
    ),
    "nan": (b"time,ratio\n0,nan\n", r"line 2: ratio is 'nan'"),
    "no time": (b"time,ratio\nnoon,2\n", r"line 2: time is 'noon'"),
    "back in time": (
        b"time,ratio\n0,2\n\n2,2\n1,2\n",
        r"line 5: time 1 follows 2; times must rise .*sort",
    ),
    "twice": (b"time,ratio\n0,2\n0,2\n", r"line 3: time 0 follows 0; times must rise"),
    "twice after an hour": (
        b"time,ratio\n3600.04,2\n3600.041,2\n3600.04,2\n",
        r"line 4: time 3600\.04 follows 3600\.041",
    ),
    "decimal commas": (b"time,ratio\n0,5,2,0\n", r"line 2: more values .* a point, not a comma"),
    "no CSV": (b"time,ratio\n0," + b"1" * 200_000, r"cannot be read as a ratio track"),
    "semicolons": (b"time;ratio\n0;2\n", r"no column ratio and time"),
    "endless": (b"time,ratio\ninf,2\n", r"line 2: time is 'inf'"),
    "bad cut": (b"time,ratio,cut\n0,2,yes\n", r"line 2: cut is 'yes', expected .* 0 to 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_csv_that_is_no_track_is_named_with_its_line(tmp_path, case):
    data, says = BAD[case]
    if data is not None:
        (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(UsageError, match=rf"t\.csv.*{says}"):
        Track.read(tmp_path / "t.csv")


@pytest.mark.parametrize("ratio", ["0.1", "32"])
def test_the_ends_of_the_range_are_fine(tmp_path, ratio):
    (tmp_path / "t.csv").write_text(f"time,ratio\n0,{ratio}\n")
    assert Track.read(tmp_path / "t.csv").ratio[0] == float(ratio)


def test_a_track_that_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match="no folder"):
        track(time=[0.0]).write(tmp_path / "no" / "t.csv")


NOTHING = Statistics.of(np.zeros((1, len(RATIOS))), np.zeros((1, 1, 1)), np.ones(1))


@pytest.mark.parametrize(
    "time, stops",
    [(-1, 1), (0, 1), (0.5, 1.5), (1, 2), (1.25, 2), (1.999, 2), (2, 5), (3, 4.5), (4, 4), (9, 4)],
)
def test_the_ratio_is_interpolated_between_rows_up_to_a_cut_and_constant_beyond_the_ends(
    time, stops
):
    keys = track(time=[0.0, 1.0, 2.0, 4.0], ratio=[2.0, 4.0, 32.0, 16.0], cut=[1, 0, 1, 0])
    (ratio,) = TrackRatio(keys)(NOTHING, [time])
    assert np.log2(ratio) == pytest.approx(stops, abs=1e-6)


class Camera:
    """A source of frames of one scene at given levels, and of another scene from `cut` on."""

    still, lost, warnings, path = False, 0, (), Path("memory")

    def __init__(self, levels, cut=None, size=(96, 160)):
        self.levels, self.cut, self.size = levels, cut, size

    def __iter__(self):
        height, width = self.size
        for i, level in enumerate(self.levels):
            seed = 1 + (self.cut is not None and i >= self.cut)
            blocks = np.random.default_rng(seed).uniform(0.2, 1, (height // 16, width // 16))
            gray = blocks.repeat(16, axis=0).repeat(16, axis=1) * level
            yield Frame(np.repeat(gray[..., None], 3, axis=2).astype(np.uint8), i, Fraction(1, FPS))


class Meter:
    """An engine that can only decompose. It records the shapes of its batches."""

    def __init__(self):
        self.sizes = []

    def decompose(self, pixels):
        self.sizes.append(pixels.shape)
        light = pixels.mean(axis=(1, 2, 3)) / 255
        thumbnail = pixels[:, 8::16, 8::16, 1] / 255
        wanted = np.full(len(light), DEFAULT_TARGET)
        told = Statistics.of(np.clip(np.outer(light, RATIOS), 0, 1), thumbnail, wanted)
        return Layers(None, None, told, pixels)


def test_a_survey_has_a_row_for_every_frame_and_never_recomposes():
    engine, seen = Meter(), []
    found = survey(Camera([20, 20, 40, 40]), engine, seen=seen.append)
    assert found.time.tolist() == [0, 0.04, 0.08, 0.12]
    assert seen == [1, 2, 3, 4]
    assert found.luma[2] == pytest.approx(2 * found.luma[1], rel=0.1)
    assert found.wanted[0] > found.wanted[3] > 1
    assert len(engine.sizes) == 4


def test_a_survey_finds_where_scenes_begin_and_a_step_on_its_frame():
    found = survey(Camera([20] * 20 + [40] * 20, cut=30), Meter())
    assert np.flatnonzero(found.cut).tolist() == [0, 30]
    assert np.argmin(np.diff(np.log2(found.ratio[:30]))) == 19
    assert np.ptp(found.ratio[:20]) == 0


def test_a_survey_looks_at_small_frames():
    engine = Meter()
    survey(Camera([20], size=(1088, 1920)), engine)
    shape, whole = engine.sizes
    assert whole == (1, 1088, 1920, 3)  # the first of its scene
    assert max(shape[1:3]) == SURVEY_SIDE
    assert shape[2] / shape[1] == pytest.approx(1920 / 1088, rel=0.02)
    small = np.zeros((40, 64, 3), np.uint8)
    assert reduced(small) is small


@pytest.mark.parametrize(
    "small, whole, power",
    [(4, 4, 1), (4, 4.5, 1.085), (4, 3.5, 0.9037),
     (4, 1, 7 / 8), (2, 32, 8 / 7), (1, 1, 1), (1, 4, 1), (1.05, 2, 1)],
)  # fmt: skip
def test_the_small_frames_ratio_is_corrected_by_an_eighth_at_most(small, whole, power):
    assert correction(small, whole) == pytest.approx(power, abs=1e-4)


def test_the_whole_first_frame_of_each_scene_corrects_the_small_ones():
    class Biased(Meter):
        def decompose(self, pixels):
            told = super().decompose(pixels)
            if max(pixels.shape[1:3]) > SURVEY_SIDE:
                return told
            darker = replace(told.statistics, curve=told.statistics.curve * 0.9)
            return Layers(None, None, darker, pixels)

    levels, size = [20] * 4 + [40] * 4, (384, 640)
    engine = Biased()
    found = survey(Camera(levels, cut=4, size=size), engine)
    large = [shape for shape in engine.sizes if shape[2] == 640]
    assert len(large) == 2 and len(engine.sizes) == 10
    assert found.cut.tolist() == [True, False, False, False] * 2
    first = auto_ratio(Meter().decompose(next(iter(Camera([20], size=size))).data[None]).statistics)
    assert found.wanted[0] == pytest.approx(float(first[0]), rel=1e-3)


def test_a_survey_of_a_very_dark_video_gives_a_track_that_can_be_read(tmp_path):
    class Dim(Meter):
        def decompose(self, pixels):
            told = super().decompose(pixels)
            rise = 0.41 if max(pixels.shape[1:3]) <= SURVEY_SIDE else 0.3
            curve = np.maximum(rise * np.log(RATIOS) / np.log(24), 0)[None]
            return Layers(None, None, replace(told.statistics, curve=curve), pixels)

    path = tmp_path / "track.csv"
    survey(Camera([40] + [16] * 9, size=(384, 640)), Dim()).write(path)
    assert set(Track.read(path).wanted[1:]) == {32}


def test_a_survey_without_frames_is_an_error():
    with pytest.raises(InputError, match="memory has no frame that can be decoded"):
        survey(Camera([]), Meter())


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_track_is_drawn(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    draw_track(track(time=clock(20), cut=np.arange(20) == 7), tmp_path / f"t{suffix}")
    start = (tmp_path / f"t{suffix}").read_bytes()[:8]
    assert start.startswith({".png": b"\x89PNG", ".svg": b"<?xml"}[suffix])


@pytest.mark.parametrize("last, least", [(6.5, 1), (6.6, 2), (6.9, 2)])
def test_a_steady_track_has_numbers_at_its_side(tmp_path, last, least):
    matplotlib = pytest.importorskip("matplotlib")
    ratios = np.linspace(6.5, last, 20)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        draw_track(track(time=clock(20), ratio=ratios, wanted=ratios), tmp_path / "t.svg")
    written = re.findall(r"<text[^>]*>([\d.]+)<", (tmp_path / "t.svg").read_text())
    assert sum(6 < float(text) < 7 for text in written) >= least


def test_a_picture_of_an_unknown_kind(tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match=r"cannot write 'mp4'; end the name in \.png"):
        draw_track(track(time=clock(3)), tmp_path / "t.mp4")
    assert not list(tmp_path.iterdir())


def test_drawing_without_matplotlib_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'streamkind\[score\]'"):
        draw_track(track(time=clock(3)), tmp_path / "t.png")
