"""The ratio of a frame from its statistics, and the ratio over time."""

import pickle

import numpy as np
import pytest
from parts import smoothing as filters

from streamkind.light import smoother as smoothing
from streamkind.light.exposure import (
    DAY,
    DEFAULT_TARGET,
    NIGHT,
    PARTLY,
    RATIOS,
    SHADOW,
    SKY,
    FixedRatio,
    Statistics,
    auto_ratio,
    wanted_luma,
    without_lamps,
)
from streamkind.light.smoother import RatioSmoother, is_cut

FPS = 25


def scene(seed, luma=0.1, shape=(12, 16)):
    """Return the thumbnail of a scene, which depends on the seed, with a mean luma of `luma`."""
    blocks = np.random.default_rng(seed).random(shape) ** 2 + 0.05
    return (blocks * luma / blocks.mean()).astype(np.float32)


def brightened(luma, ratio):
    """Brighten luma by a tone curve like that of a trained network: the identity at ratio 1."""
    return luma ** (ratio**-0.45)


def even(luma):
    """Return the thumbnail of a frame with the same luma everywhere."""
    return np.full((6, 8), luma, np.float32)


def statistics(*thumbnails, exposure=DEFAULT_TARGET):
    """Return statistics of frames with these thumbnails and the estimated exposure `exposure`."""
    thumbs = np.stack(thumbnails)
    lumas = without_lamps(thumbs, thumbs)
    curve = np.stack([[brightened(luma, r) for r in RATIOS] for luma in lumas])
    return Statistics.of(curve, thumbs, np.full(len(thumbs), exposure))


def run(smoother, lumas, times=None, seed=0):
    """Return the smoothed ratios of a stream whose frames have the given mean luma."""
    times = np.arange(len(lumas)) / FPS if times is None else times
    frames = (statistics(scene(seed, luma)) for luma in lumas)
    return np.array([smoother(f, [t])[0] for f, t in zip(frames, times, strict=True)])


def stops(ratios):
    return np.log2(np.asarray(ratios, float))


def test_statistics_keep_the_mean_of_the_thumbnail_in_float32():
    told = Statistics.of(
        np.zeros((2, 17)),
        np.stack([scene(0, 0.05), scene(1, 0.08)]).astype(float),
        np.array([0.4, 0.5]),
    )
    assert told.luma == pytest.approx([0.05, 0.08], rel=1e-5)
    types = {t.dtype for t in (told.luma, told.curve, told.thumbnail, told.exposure)}
    assert types == {np.dtype(np.float32)}


def test_the_statistics_of_one_frame():
    both = statistics(scene(0, 0.05), scene(1, 0.08), exposure=0.3)
    alone = both.frame(1)
    assert (alone.luma, alone.exposure) == (both.luma[1:], both.exposure[1:])
    np.testing.assert_array_equal(alone.curve[0], both.curve[1])
    assert auto_ratio(alone).tolist() == auto_ratio(both)[1:].tolist()


@pytest.mark.parametrize("luma", [0.04, 0.06, 0.1, 0.15, 0.25])
@pytest.mark.parametrize("target", [0.3, DEFAULT_TARGET, 0.5])
def test_a_night_frame_is_brought_to_the_target(luma, target):
    (ratio,) = auto_ratio(statistics(even(luma)), target)
    assert 1 < ratio < RATIOS[-1]
    assert brightened(luma, ratio) == pytest.approx(target, abs=0.01)


@pytest.mark.parametrize("exposure", [0.3, 0.4, 0.6])
@pytest.mark.parametrize("target", [DEFAULT_TARGET, 0.3])
def test_a_scene_gets_the_exposure_that_suits_it_scaled_by_the_target(exposure, target):
    (ratio,) = auto_ratio(statistics(even(0.1), exposure=exposure), target)
    wanted = exposure * target / DEFAULT_TARGET
    assert brightened(0.1, ratio) == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("exposure", [0.3, 0.6])
@pytest.mark.parametrize("bright, capped", [(0.15, False), (0.42, True), (0.9, False)])
def test_a_still_that_is_partly_bright_is_not_washed_out(exposure, bright, capped):
    frame = even(0.08)
    frame[:, 0] = bright
    told = statistics(frame, exposure=exposure)
    (aim,) = wanted_luma(told, still=True)
    assert aim == pytest.approx(min(exposure, PARTLY) if capped else exposure, rel=1e-3)
    assert wanted_luma(told) == pytest.approx(exposure, rel=1e-3)  # a video has no cap


@pytest.mark.parametrize("luma, capped", [(0.04, True), (SKY, False)])
def test_bright_parts_of_a_still_are_lamps_where_all_else_is_dark(luma, capped):
    frame = even(luma)
    frame[:, 0] = 0.42
    told = statistics(frame, exposure=0.5)
    assert wanted_luma(told, still=True) == pytest.approx([PARTLY if capped else 0.5], rel=1e-3)


def test_a_lamp_that_grows_a_little_brighter_changes_the_exposure_by_little():
    frame = np.full((7, 12), 0.08, np.float32)
    frame.flat[-8:] = 0.27, 0.36, 0.41, 0.42, 0.43, 0.45, 0.48, 0.4
    aims = []
    for lamp in np.linspace(0.4, 0.6, 41):
        frame.flat[-1] = lamp
        aims.append(wanted_luma(statistics(frame, exposure=0.5), still=True)[0])
    assert np.ptp(aims) > 0.01
    assert np.abs(np.diff(aims)).max() < 0.003


def test_a_frame_that_is_partly_black_is_raised_less():
    half = even(0.1)
    half[:, : half.shape[1] // 2] = 0.5 / 255
    aims = wanted_luma(statistics(even(0.1), half, even(0.5 / 255)))
    assert aims == pytest.approx(DEFAULT_TARGET * np.array([1, (1 + SHADOW) / 2, SHADOW]), rel=1e-3)


@pytest.mark.parametrize("bright, share", [(0.1, 1.0), (0.45, 1 - (1 - SHADOW) / 8)])
def test_a_few_black_blocks_of_a_still_are_shadows_unless_something_is_bright(bright, share):
    frame = even(0.1)
    frame[:, 0] = 0.5 / 255  # an eighth of the blocks
    frame[:, 1] = bright
    (aim,) = wanted_luma(statistics(frame, exposure=PARTLY), still=True)
    assert aim == pytest.approx(PARTLY * share, rel=0.02)
    (aim,) = wanted_luma(statistics(frame, exposure=PARTLY))  # in a video they always lower the aim
    assert aim == pytest.approx(PARTLY * (1 - (1 - SHADOW) / 8), rel=0.02)


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("bars", [1, 2, 3])
@pytest.mark.parametrize("luma, day", [(0.1, False), (0.25, False), (DAY, True), (0.8, True)])
def test_bars_beside_a_picture_do_not_make_it_night(luma, day, bars, still):
    frame = even(luma)
    frame[:, :bars] = frame[:, -bars:] = 0.0
    told = statistics(frame, exposure=0.6)
    assert (auto_ratio(told, still=still)[0] == 1) == day


@pytest.mark.parametrize("luma", [DAY, 0.6, 0.95])
def test_a_bright_frame_is_left_as_it_is(luma):
    assert auto_ratio(statistics(scene(0, luma))).tolist() == [1.0]


def test_dusk_lies_between_night_and_day_without_a_step():
    lumas = np.linspace(0.1, 0.6, 101)
    ratios = auto_ratio(statistics(*(even(luma) for luma in lumas)))
    assert (np.diff(ratios) <= 1e-6).all()
    assert abs(np.diff(stops(ratios))).max() < 0.4
    told = statistics(even(NIGHT), even(DAY))
    assert wanted_luma(told) == pytest.approx([DEFAULT_TARGET, DAY], rel=1e-4)


def table(curve, luma=0.0):
    thumbnail = np.full((1, 4, 4), luma, np.float32)
    return Statistics.of(np.array([curve]), thumbnail, np.array([DEFAULT_TARGET]))


@pytest.mark.parametrize(
    "curve, luma, wanted",
    [
        ([0.0] * 17, 0.0, (1, 1)),  # black stays black
        ([0.2] * 17, 0.0, (1, 1)),
        (np.linspace(0, 0.05, 17), 0.01, (11, 11)),  # so faint that the ratio is limited
        (np.linspace(0, 0.05, 17), 0.05, (32, 32)),  # even the largest ratio is not enough
        ([*[0.1] * 8, 0.2, 0.6, *[0.2] * 7], 0.1, (1, 4)),  # falls again: only the rise counts
    ],
    ids=["black", "flat", "faint", "dim", "falling"],
)
def test_odd_curves_give_a_finite_ratio_in_range(curve, luma, wanted):
    (ratio,) = auto_ratio(table(curve, luma))
    assert np.isfinite(ratio)
    assert wanted[0] - 1e-3 <= ratio <= wanted[1] + 1e-3


def test_each_frame_of_a_batch_has_its_own_ratio():
    frames = [scene(0, luma) for luma in (0.05, 0.5, 0.15)]
    alone = [auto_ratio(statistics(f))[0] for f in frames]
    assert auto_ratio(statistics(*frames)).tolist() == alone
    assert alone[0] > alone[2] > alone[1] == 1


@pytest.mark.parametrize("value", [0.1, 1.0, 7.5])
def test_fixed_ratio(value):
    ratios = FixedRatio(value)(statistics(scene(0), scene(1)), [0.0, 0.04])
    assert ratios.dtype == np.float32
    assert ratios.tolist() == pytest.approx([value, value])


@pytest.mark.parametrize("batch", [1, 4, 12])
def test_constant_light_gives_the_automatic_ratio_from_the_first_frame_on(batch):
    frames = [scene(0, 0.08)] * batch
    smoother = RatioSmoother()
    for start in range(0, 24, batch):
        ratios = smoother(statistics(*frames), [(start + i) / FPS for i in range(batch)])
        assert ratios.dtype == np.float32
        assert ratios == pytest.approx(auto_ratio(statistics(*frames)), rel=1e-5)


def test_batches_do_not_change_the_result():
    frames = [scene(0, luma) for luma in np.linspace(0.03, 0.15, 12)]
    times = [i / FPS for i in range(12)]
    one, four = RatioSmoother(), RatioSmoother()
    singly = [one(statistics(f), [t])[0] for f, t in zip(frames, times, strict=True)]
    fours = [four(statistics(*frames[i : i + 4]), times[i : i + 4]) for i in (0, 4, 8)]
    assert np.concatenate(fours).tolist() == singly


def wander(smoother, wanted, fps=FPS):
    """Return smoothed ratios for the automatic ratios `wanted`, both in stops, of a still scene."""
    told = statistics(scene(0))
    with pytest.MonkeyPatch.context() as patch:
        ratios = []
        for i, stops_wanted in enumerate(wanted):
            value = np.array([2.0**stops_wanted])
            patch.setattr(smoothing, "auto_ratio", lambda *_, value=value: value)
            ratios.append(smoother(told, [i / fps])[0])
    return stops(ratios)


def noise(sigma, count):
    return np.random.default_rng(0).normal(0, sigma, count)


@pytest.mark.parametrize("sigma", [0.002, 0.005, 0.01, 0.02])
def test_noise_is_not_followed(sigma):
    raw = 2 + noise(sigma, 500)
    smooth = wander(RatioSmoother(), raw)
    assert np.diff(smooth).std() < 0.05 * np.diff(raw).std()
    assert (np.diff(smooth) == 0).mean() > 0.95
    assert smooth[100:].mean() == pytest.approx(2, abs=2 * sigma)


@pytest.mark.parametrize("sigma, within", [(0.0, 0.017), (0.005, 0.025)])
def test_a_dusk_of_three_stops_in_ten_minutes_is_followed(sigma, within):
    truth = np.linspace(0, 1, 200 * FPS)  # the first third
    smooth = wander(RatioSmoother(), truth + noise(sigma, len(truth)))
    assert np.abs(2 ** (smooth - truth)[FPS:] - 1).max() < within


@pytest.mark.parametrize(
    "depth, seconds, least", [(0.6, 1, 1), (-0.9, 1, 1), (0.6, 2, 0.55), (3, 2, 0)]
)
def test_a_passing_change_is_not_followed_and_a_lasting_one_is_followed_fully(
    depth, seconds, least
):
    wanted = np.full(150, 2.0)
    wanted[50 : 50 + seconds * FPS] -= depth
    left = 1 - np.abs(wander(RatioSmoother(), wanted) - 2).max() / abs(depth)
    assert left == pytest.approx(least, abs=0.02)


@pytest.mark.parametrize("before, after", [(3.0, 0.0), (0.0, 3.0)])
def test_a_tunnel_is_followed_by_nine_tenths_within_half_a_second(before, after):
    smooth = wander(RatioSmoother(), [before] * 50 + [after] * 50)
    frame = 50 + round(0.5 * FPS) - 1
    assert abs(smooth[frame] - after) <= 0.1 * 3
    assert smooth.min() >= 0 and smooth.max() <= 3  # no overshoot


def test_passing_headlights_leave_the_ratio_alone():
    street = scene(0, 0.06)
    plain, lit = (auto_ratio(statistics(s))[0] for s in (street, with_headlights(street)))
    assert lit == pytest.approx(plain, rel=0.02)
    told = statistics(with_headlights(street))
    assert told.thumbnail.mean() > 1.15 * street.mean()  # a plain mean would follow


def test_the_comparison_of_filters_runs():
    _, _, tunnel, overshoot, headlights = filters.figures(filters.as_frames_come)
    assert tunnel <= 12 and overshoot == 0 and headlights < 0.1


def test_a_white_frame_has_an_exposure_too():
    told = statistics(even(1.0))
    assert told.luma == pytest.approx([1.0])
    assert auto_ratio(told) == pytest.approx([1.0])


def test_the_state_can_be_saved_and_given_to_another():
    lumas = list(np.random.default_rng(0).uniform(0.03, 0.15, 20))
    whole = run(RatioSmoother(), lumas)
    first = RatioSmoother()
    run(first, lumas[:11])
    saved = pickle.loads(pickle.dumps(first.state))
    second = RatioSmoother(state=saved)
    rest = run(second, lumas[11:], np.arange(11, 20) / FPS)
    np.testing.assert_array_equal(rest, whole[11:])
    assert not np.allclose(run(RatioSmoother(), lumas[11:])[:3], whole[11:14])


@pytest.mark.parametrize("before, after", [(0.04, 0.25), (0.25, 0.04), (0.05, 0.6)])
def test_a_step_is_followed_within_two_seconds_and_not_overshot(before, after):
    ratios = stops(run(RatioSmoother(), [before] * 10 + [after] * 50))
    start, end = (stops(auto_ratio(statistics(scene(0, x))))[0] for x in (before, after))
    assert ratios[9] == pytest.approx(start, abs=1e-4)
    assert np.abs(np.diff(ratios)).max() <= 8 / FPS + 1e-4  # at most eight stops a second
    assert (np.sign(end - start) * np.diff(ratios) >= -1e-6).all()
    assert min(start, end) - 1e-4 <= ratios.min() and ratios.max() <= max(start, end) + 1e-4
    assert ratios[-1] == pytest.approx(end, abs=0.05)


def test_the_frame_rate_does_not_change_how_fast_a_step_is_followed():
    def after_half_a_second(fps):
        smoother = RatioSmoother(max_stops_per_second=1e9)
        times = np.concatenate([[0], np.arange(1, fps // 2 + 1) / fps])
        return stops(run(smoother, [0.05] + [0.12] * (fps // 2), times))[-1]

    assert after_half_a_second(10) == pytest.approx(after_half_a_second(60), abs=1e-3)


@pytest.mark.parametrize("limit", [0.5, 2.0])
def test_the_ratio_changes_no_faster_than_the_limit(limit):
    smoother = RatioSmoother(max_stops_per_second=limit)
    steps = np.diff(stops(run(smoother, [0.02] * 3 + [0.6] * 20)))
    assert abs(steps).max() == pytest.approx(limit / FPS, rel=1e-3)


@pytest.mark.parametrize(
    "time, starts_anew",
    [(0.2, False), (2.1, False), (2.2, True), (60.0, True), (0.0, True), (-5.0, True)],
)
def test_a_gap_in_time_starts_anew(time, starts_anew):
    smoother = RatioSmoother(gap_seconds=2.0)
    run(smoother, [0.05, 0.05], [0.0, 0.12])
    (ratio,) = run(smoother, [0.15], [time])
    new = auto_ratio(statistics(scene(0, 0.15)))[0]
    assert (ratio == pytest.approx(new, rel=1e-6)) == starts_anew


def test_a_scene_cut_starts_anew():
    smoother = RatioSmoother()
    run(smoother, [0.05] * 5)
    (ratio,) = run(smoother, [0.15], [5 / FPS], seed=1)
    assert ratio == pytest.approx(auto_ratio(statistics(scene(1, 0.15)))[0], rel=1e-6)


def test_two_streams_know_nothing_of_each_other():
    dark, light = [0.03, 0.09, 0.05, 0.08], [0.15, 0.1, 0.3, 0.12]
    alone = [run(RatioSmoother(), lumas).tolist() for lumas in (dark, light)]
    a, b = RatioSmoother(), RatioSmoother()
    mixed = [], []
    for i in range(4):
        for smoother, lumas, out in ((a, dark, mixed[0]), (b, light, mixed[1])):
            out.append(run(smoother, [lumas[i]], [i / FPS])[0])
    assert list(map(list, mixed)) == alone


def noisy(thumbnail, seed=5):
    """Return the thumbnail of the same scene in 8 bits, with the noise of a night camera."""
    pixels = thumbnail.repeat(16, axis=0).repeat(16, axis=1) * 255
    pixels = pixels + np.random.default_rng(seed).normal(0, 6, pixels.shape)
    height, width = thumbnail.shape
    blocks = np.clip(pixels.round(), 0, 255).reshape(height, 16, width, 16)
    return (blocks.mean(axis=(1, 3)) / 255).astype(np.float32)


def with_headlights(thumbnail):
    """Return the thumbnail with two lamps added, like those of a car."""
    lit = thumbnail.copy()
    lit[8:10, [4, 5, 10, 11]] = 0.9
    return lit


FLAT = np.full((12, 16), 0.1, np.float32)
BLACK = np.zeros((12, 16), np.float32)


@pytest.mark.parametrize(
    "before, after, cut",
    [
        (scene(0), scene(0), False),
        (scene(0), scene(1), True),
        (scene(0, 0.05), scene(1, 0.4), True),
        (scene(0, 0.05), scene(0, 0.4), False),
        (scene(0, 0.4), scene(0, 0.02), False),
        (scene(0, 0.05), noisy(scene(0, 0.05)), False),
        (noisy(scene(0, 0.01)), noisy(scene(0, 0.01), 6), False),
        (scene(0), np.roll(scene(0), 1, axis=1) * 0.2 + scene(0) * 0.8, False),
        (scene(0, 0.05), with_headlights(scene(0, 0.05)), False),
        (FLAT, noisy(FLAT), False),
        (BLACK, BLACK, False),
        (noisy(BLACK), noisy(BLACK, 6), False),
        (scene(0), scene(0)[:, ::-1], True),
        (scene(0), scene(0, shape=(8, 16)), True),
    ],
    ids=[
        "same", "other", "other-and-brighter", "lamp-on", "lamp-off", "noise", "noise-in-the-dark",
        "slow-pan", "headlights", "flat", "black", "noise-on-black", "mirrored", "other-size",
    ],
)  # fmt: skip
def test_scene_cuts_are_told_from_other_changes(before, after, cut):
    assert is_cut(before, after) is cut
