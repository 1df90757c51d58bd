"""Local ratio and colour rule at lit places, black places, edges and gray."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from PIL import Image
from support.engines import Gain, plug_in

import streamkind
from streamkind.engine import chroma
from streamkind.engine.chroma import recorded_chroma, restrain, restrain_rgb, restrain_stills
from streamkind.engine.engine import Engine
from streamkind.engine.local import raise_rgb, raise_yuv
from streamkind.engine.reduced import Reduced
from streamkind.engine.stream import Stream
from streamkind.engine.whole import Filmed, Whole
from streamkind.light.exposure import FixedRatio
from streamkind.light.local import MOST_GAIN, VIVID, local_maps
from streamkind.video.color import rgb_of_yuv, yuv_of_rgb
from streamkind.video.format import ColorRange, ColorTags
from streamkind.video.frames import Frame
from streamkind.video.image_data import Still
from streamkind.video.image_files import read_still

SIZE = 180, 320
VIDEO = ColorTags(range=ColorRange.LIMITED, matrix=6)


def relit(luma, ratio=4.0):
    """Apply a tone curve like the network's: a gain of `ratio` in the dark, and white stays."""
    return (luma * ratio / (1 + (ratio - 1) * luma)).astype(np.float32)


def raised(luma, ratio=4.0):
    luma = np.asarray(luma, np.float32)
    made = relit(luma, ratio)
    maps = local_maps(luma, made, luma, luma)
    return maps.relit * made + maps.own * luma + maps.offset


def even(luma):
    return np.full(SIZE, luma, np.float32)


def halves(left, right):
    picture = even(left)
    picture[:, SIZE[1] // 2 :] = right
    return picture


@pytest.mark.parametrize("luma", [0.05, 0.2, 0.5, 0.9])
def test_a_ratio_of_one_leaves_a_frame_as_it_is(luma):
    noisy = even(luma) + np.random.default_rng(0).normal(0, 0.01, SIZE).astype(np.float32)
    noisy = np.clip(noisy, 0, 1)
    np.testing.assert_allclose(raised(noisy, 1.0), noisy, atol=0.012)
    assert abs((raised(noisy, 1.0) - noisy).mean()) < 0.002


def test_more_ratio_is_more_light_everywhere_and_never_more_than_seven_times():
    luma = np.tile(np.linspace(0.004, 1, SIZE[1], dtype=np.float32) ** 2, (SIZE[0], 1))
    before = luma
    for ratio in (1.0, 1.5, 2.0, 3.0, 5.0, 10.0):
        after = raised(luma, ratio)
        assert (after - before).min() > -0.006
        assert (after / np.maximum(luma, 0.004)).max() < MOST_GAIN * 1.05
        before = after


@pytest.mark.parametrize("ratio", [1.5, 3.0, 7.0, 10.0])
def test_brighter_places_stay_brighter(ratio):
    lumas = np.linspace(0.01, 0.95, 40)
    means = [float(raised(even(luma), ratio).mean()) for luma in lumas]
    assert (np.diff(means) > -1e-3).all()


@pytest.mark.parametrize("ratio", [3.0, 10.0])
@pytest.mark.parametrize("luma", [0.4, 0.6, 0.85])
def test_a_lit_place_keeps_its_light_and_its_contrast(luma, ratio):
    frame = even(0.03)
    lit = np.s_[40:140, 100:220]
    rng = np.random.default_rng(1)
    frame[lit] = (
        luma + cv2.GaussianBlur(rng.normal(0, 0.2, SIZE).astype(np.float32), (0, 0), 2)[lit]
    )
    frame = np.clip(frame, 0, 1)
    after = raised(frame, ratio)
    inner = np.s_[60:120, 120:200]
    assert after[inner].mean() - frame[inner].mean() < 0.13
    assert after[inner].std() / frame[inner].std() == pytest.approx(1, abs=0.1)
    assert after[:, :40].mean() > 2.4 * frame[:, :40].mean()  # the dark area around it


@pytest.mark.parametrize("luma", [0.0, 0.002, 0.004])
def test_black_stays_black(luma):
    frame = halves(luma, 0.5)
    assert raised(frame, 8.0)[:, : SIZE[1] // 2 - 2].max() < 0.03


@pytest.mark.parametrize("light", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("width", [2, 3, 5, 12])
@pytest.mark.parametrize("black", [0.0, 0.002])
def test_a_narrow_black_bar_beside_a_picture_stays_black(black, width, light):
    rng = np.random.default_rng(2)
    frame = np.clip(light + rng.normal(0, light / 5, SIZE).astype(np.float32), 0, 1)
    for bar in (np.s_[:width], np.s_[:, -width:], np.s_[60 : 60 + width]):
        frame[bar] = black
    after = raised(frame, 8.0)
    assert after[: width - 1, : -width - 1].max() < 0.012
    assert after[width + 1 :, 1 - width :].max() < 0.012
    assert after[61 : 59 + width, : -width - 1].max(initial=0) < 0.012


@pytest.mark.parametrize("dark, light", [(0.03, 0.5), (0.08, 0.4), (0.02, 0.9)])
def test_a_silhouette_before_lit_ground_stays_one_without_a_halo(dark, light):
    after = raised(halves(dark, light), 6.0)
    left, right = after[:, : SIZE[1] // 2 - 2], after[:, SIZE[1] // 2 + 2 :]
    assert left.max() < right.min() - 0.02
    assert np.ptp(right[0]) < 0.12 and np.diff(left[0]).min() > -0.02


@pytest.mark.parametrize("width", [4, 8, 12])
@pytest.mark.parametrize(
    ("light", "near", "far", "least"),
    [
        (0.9, 0.06, 0.04, 1.1),
        (0.9, 0.08, 0.05, 0.98),
        (0.7, 0.08, 0.05, 0.94),
        (0.9, 0.15, 0.1, 0.64),
    ],
)
def test_a_place_beside_a_lit_one_is_no_darker_than_darker_ones(light, near, far, least, width):
    edge = SIZE[1] // 2
    luma = halves(light, far)
    luma[:, edge : edge + width] = near
    row = raised(luma, 6.0)[SIZE[0] // 2]
    assert row[edge : edge + width].min() / row[-20:].mean() > least


@pytest.mark.parametrize("level", [1, 2, 4, 8])
@pytest.mark.parametrize("block", [8, 16, 32])
def test_blocks_that_differ_by_one_code_value_are_not_amplified(level, block):
    """Check blocks of 2, 4 and 8 pixels of a map; 8 are 16 pixels at 640x360, and 48 at 1080p."""
    rng = np.random.default_rng(block)
    side = max(1, block // 4)
    one = rng.integers(0, 2, (SIZE[0] // side + 1, SIZE[1] // side + 1))
    blocks = np.kron(one, np.ones((side, side)))[: SIZE[0], : SIZE[1]]
    luma = ((level + blocks) / 219).astype(np.float32)
    steps = np.abs(np.diff(raised(luma), axis=1))[:, side - 1 :: side]
    recorded = np.abs(np.diff(luma, axis=1))[:, side - 1 :: side]
    assert steps.mean() < 1.5 * recorded.mean()  # although the luma is raised up to fourfold
    assert raised(luma).mean() > 2 * luma.mean() or level == 1


@pytest.mark.parametrize("level", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("end", [3, 40, 177])
def test_the_result_is_finite_beside_areas_without_detail(level, end):
    luma = even(level)
    rng = np.random.default_rng(3)
    luma[:end, : 2 * end] = rng.integers(0, 66, luma[:end, : 2 * end].shape) / np.float32(255)
    found = raised(luma)
    assert np.isfinite(found).all() and found.min() > -0.02


def test_noise_of_a_still_scene_does_not_change_the_local_ratio():
    rng = np.random.default_rng(2)
    means = []
    for _ in range(8):
        frame = halves(0.04, 0.45) + rng.normal(0, 2 / 255, SIZE).astype(np.float32)
        means.append(raised(np.clip(frame, 0, 1), 5.0).reshape(18, 10, 32, 10).mean(axis=(1, 3)))
    assert np.std(means, axis=0).max() < 0.004


def yuv(luma, u, v, size=(120, 160)):
    picture = np.empty((*size, 3), np.uint8)
    picture[:] = luma, u, v
    return picture


def restrained(seen, made, black):
    return restrain(cv2.split(seen), cv2.split(made), black)


ROUNDED = [(129, 128), (128, 127), (129, 129), (127, 129), (128, 128)]


@pytest.mark.parametrize("u, v", ROUNDED)
@pytest.mark.parametrize("luma", [18, 25, 40])
@pytest.mark.parametrize("made", [(110, 150), (145, 149), (128, 128)])
def test_gray_that_was_rounded_stays_gray(luma, u, v, made):
    after = restrained(yuv(luma, u, v), yuv(min(16 + 7 * (luma - 16), 235), *made), 16.0)
    assert np.abs(after[..., 1:].astype(int) - 128).max() <= 1


def test_patterns_of_rounding_stay_gray():
    seen = yuv(24, 128, 128)
    seen[..., 1:] += (
        np.random.default_rng(0)
        .integers(0, 2, (15, 20, 2), np.uint8)
        .repeat(8, axis=0)
        .repeat(8, axis=1)
    )
    after = restrained(seen, yuv(80, 150, 110), 16.0)
    assert np.abs(after[..., 1:].astype(int) - 128).max() <= 2


@pytest.mark.parametrize("u, v", [(160, 110), (100, 180), (128, 90)])
def test_strong_colour_is_nearly_that_of_the_network(u, v):
    gain = 3
    made = yuv(16 + gain * 20, *(128 + np.clip(gain * (c - 128), -127, 127) for c in (u, v)))
    after = restrained(yuv(36, u, v), made, 16.0)
    apart = after[..., 1:].astype(int) - made[..., 1:]
    assert np.abs(apart).max() <= 0.25 * np.abs(made[0, 0, 1:].astype(int) - 128).max()


def test_faint_colour_of_a_large_place_is_kept_in_part_and_has_no_edge():
    seen, made = yuv(30, 128, 128), yuv(72, 128, 128)
    seen[:, 80:, 1], made[:, 80:, 1] = 132, 144
    after = restrained(seen, made, 16.0)[60, :, 1].astype(int) - 128
    assert after[-20:].min() > 10  # of the 16 that the network made
    assert after[:50].max() == 0
    assert after[50:60].max() <= 1  # lent by the neighbours; the luma is 56
    steps = np.diff(after)
    assert steps.min() >= -1 and after[-1] - after[76] > 0


def fading(saturation=0.25):
    """Return YUV of a colour that fades to the right, as a codec stores it, and its luma."""
    luma = 40 * 0.97 ** np.arange(320, dtype=np.float32)
    blue = -saturation * luma
    stored = np.where(np.abs(blue) < 1.5, 0, np.round(blue))
    seen = yuv(0, 128, 128).repeat(2, axis=1)
    seen[..., 0], seen[..., 1] = np.round(luma + 16), 128 + stored
    return seen, luma


@pytest.mark.parametrize("way", ["planes", "RGB", "skipped frames"])
def test_a_colour_that_fades_with_the_light_has_no_edge(way, monkeypatch):
    seen, luma = fading()

    def saturation():
        if way == "skipped frames":
            return -recorded_chroma(seen, 16.0)[0][60] / luma
        if way == "planes":
            made = seen.astype(np.float32)
            made[..., 0] = 16 + 5 * luma
            after = restrained(seen, made, 16.0)
        else:
            tags = ColorTags()
            before = cv2.transform(
                seen - np.uint8([16, 0, 0]), np.ascontiguousarray(rgb_of_yuv(tags))
            )
            made = np.repeat((5 * luma)[None, :, None], 120, axis=0).repeat(3, axis=2)
            made = np.ascontiguousarray(made, np.float32)
            restrain_rgb(before, made)
            after = cv2.transform(made, yuv_of_rgb(tags))
        return (128 - after[60, :, 1]) / (5 * luma)

    def steepest(found):
        """Return the largest fall within 16 columns, where the luma is not near black."""
        return (found[:-16] - found[16:])[:80].max()

    lent = saturation()
    monkeypatch.setattr(chroma, "LENT", np.float32(0))
    assert steepest(lent) < 0.7 * steepest(saturation())
    assert np.abs(5 * luma * lent)[-40:].max() < 1


def test_neighbours_of_other_colours_leave_gray_gray():
    """Check that the middle between two opposite colours stays gray."""
    seen = yuv(30, 128, 128)
    seen[:, :60, 1], seen[:, -60:, 1] = 116, 140
    made = seen.astype(np.float32)
    made[..., 0] = 86
    after = restrained(seen, made, 16.0) - 128
    assert np.abs(after[60, 79:81, 1:]).max() < 0.5


def colour_rule(seen, way):
    """Apply the colour rule at a gain of 5; return chroma, U and V around 0, (h, w, 2)."""
    made = seen.astype(np.float32) * 5 - (4 * 16, 4 * 128, 4 * 128)
    if way == "skipped frames":
        return 5 * np.dstack(recorded_chroma(seen, 16.0))
    if way == "planes":
        return restrained(seen, np.float32(made), 16.0)[..., 1:] - 128
    tags = ColorTags()
    before, after = (
        cv2.transform(
            np.float32(p) - np.float32([16, 0, 0]), np.ascontiguousarray(rgb_of_yuv(tags))
        )
        for p in (seen, made)
    )
    restrain_rgb(before, after)
    return cv2.transform(after, yuv_of_rgb(tags))[..., 1:] - 128


@pytest.mark.parametrize("luma", [22, 30, 60])
@pytest.mark.parametrize("way", ["planes", "RGB", "skipped frames"])
def test_noise_of_chroma_is_not_raised_with_the_light(way, luma, monkeypatch):
    seen = yuv(luma, 125, 130)
    noise = np.random.default_rng(0).normal(0, 3, (60, 80, 2)).repeat(2, axis=0).repeat(2, axis=1)
    noise = cv2.GaussianBlur(noise, (0, 0), 3)  # standard deviation: 0.6 code values
    seen[..., 1:] = np.round(seen[..., 1:] + noise)
    calm = colour_rule(seen, way)[20:-20, 20:-20]
    monkeypatch.setattr(chroma, "NOISE_POWER", np.float32(1e-6))
    noisy = colour_rule(seen, way)[20:-20, 20:-20]
    assert calm.std(axis=(0, 1)).max() < 0.6 * noisy.std(axis=(0, 1)).min()
    assert np.abs(calm.mean(axis=(0, 1)) - noisy.mean(axis=(0, 1))).max() < 1


@pytest.mark.parametrize("way", ["planes", "RGB", "skipped frames"])
def test_a_dark_place_beside_a_bright_colour_does_not_get_it(way):
    """Check a gray wall with a tenth of a red wall's luma: it gets at most a tenth of its red."""
    seen = yuv(20, 128, 128)
    seen[:, 80:] = 56, 124, 138
    after = colour_rule(seen, way)[60, :, 1]
    assert after[-40:].min() > 30
    assert after[:78].max() < after[-1] / 10


@pytest.mark.parametrize("size", [4, 8, 16])
@pytest.mark.parametrize("way", ["planes", "RGB", "skipped frames"])
def test_a_small_thing_of_a_strong_colour_keeps_it(way, size):
    seen = yuv(40, 128, 128)
    thing = slice(60 - size // 2, 60 + size // 2), slice(80 - size // 2, 80 + size // 2)
    seen[thing] = 40, 120, 148
    after = colour_rule(seen, way)
    assert after[60, 80, 1] > 60  # of the 100 that the network made
    assert np.abs(after[60, 20]).max() < 1


def test_an_all_gray_result_fails_where_colour_was_recorded():
    seen, made = yuv(60, 150, 110), yuv(120, 180, 70)
    after = restrained(seen, made, 16.0).astype(int) - 128
    colored = np.hypot(after[..., 1], after[..., 2]).mean()
    assert colored > 0.8 * np.hypot(52, 58)


@pytest.mark.parametrize("color", [(20, 20, 20), (21, 20, 21), (60, 20, 20), (30, 60, 90)])
def test_rgb_and_planes_come_out_alike(color):
    rgb = np.full((*SIZE, 3), color, np.uint8)
    made = np.clip(4 * rgb.astype(int) + (20, 0, 10), 0, 255).astype(np.uint8)
    tags = ColorTags()
    planes, own = raise_yuv(rgb, cv2.transform(made, yuv_of_rgb(tags)), rgb[..., 1].copy(), tags)
    whole = made.copy()
    raise_rgb(rgb, whole)
    apart = cv2.transform(whole, yuv_of_rgb(tags)).astype(int) - planes
    assert np.abs(apart[8:-8, 8:-8]).max() <= 4 and own.shape == SIZE


def test_rgb_is_held_to_recorded_colour_as_planes_are():
    gray = np.full((120, 160, 3), (21, 20, 21), np.uint8)
    made = np.full((120, 160, 3), (120, 90, 130), np.uint8)
    restrain_rgb(gray, made)
    assert np.ptp(made.astype(int), axis=2).max() <= 3


def test_a_lamp_is_not_clipped():
    frame = np.full((*SIZE, 3), 12, np.uint8)
    cv2.circle(frame, (160, 90), 9, (228, 214, 190), -1)
    made = np.clip(frame.astype(int) * 4, 0, 255).astype(np.uint8)
    raise_rgb(frame, made)
    assert made.max() < 250 and made[90, 160].min() > 180


@pytest.mark.parametrize("color", [(90, 40, 16), (20, 24, 70), (70, 66, 20), (16, 60, 40)])
@pytest.mark.parametrize("planes", [False, True])
def test_no_channel_of_a_colour_is_clipped(color, planes):
    frame = np.full((*SIZE, 3), color, np.uint8)
    made = np.clip(frame.astype(int) * 6, 0, 255).astype(np.uint8)
    if planes:
        yuv = cv2.transform(made, yuv_of_rgb(VIDEO))
        points = cv2.transform(frame, yuv_of_rgb(VIDEO))[..., 0]
        made = cv2.transform(
            raise_yuv(frame, yuv, points, VIDEO)[0], np.ascontiguousarray(rgb_of_yuv(VIDEO))
        )
    else:
        raise_rgb(frame, made)
    assert made.max() < 250 and made.max() > 1.3 * frame.max()
    assert made[90, 160].argmax() == np.argmax(color)


@pytest.mark.parametrize("color", [(4, 8, 60), (60, 6, 4), (5, 50, 10), (40, 4, 50), (10, 10, 120)])
@pytest.mark.parametrize("planes", [False, True])
def test_a_dark_strong_colour_is_raised_and_does_not_become_neon(color, planes):
    frame = np.full((*SIZE, 3), color, np.uint8)
    made = np.clip(frame.astype(int) * 6, 0, 255).astype(np.uint8)
    if planes:
        yuv = cv2.transform(made, yuv_of_rgb(ColorTags()))
        points = cv2.transform(frame, yuv_of_rgb(ColorTags()))[..., 0]
        clear = raise_yuv(frame, yuv, points, ColorTags())[0]
        made = cv2.transform(clear, np.ascontiguousarray(rgb_of_yuv(ColorTags())))
    else:
        raise_rgb(frame, made)
    brightest = made[20:-20, 20:-20].max(axis=2)
    assert 1.1 * max(color) < brightest.mean() < max(255 * VIVID, 1.2 * max(color))


@pytest.mark.parametrize("planes", [False, True])
def test_a_stream_raises_the_dark_and_keeps_the_lit(planes):
    frame = np.full((240, 320, 3), 14, np.uint8)
    frame[60:180, 160:300] = (150, 140, 130)
    pixels = frame
    if planes:
        yuv420 = cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420)
        pixels = yuv420
    reduced = Reduced(Filmed(Whole(Gain())), 160 * 120, VIDEO if planes else None)
    layers = reduced.decompose(pixels[None])
    after = reduced.recompose(layers, np.array([4.0], np.float32))[0]
    luma = after[:240].astype(int) if planes else after[..., 1].astype(int)
    before = pixels[:240].astype(int) if planes else frame[..., 1].astype(int)
    black = 16 if planes else 0
    assert luma[10, 10] - black > 2.2 * (before[10, 10] - black)
    assert abs(luma[120, 230] - before[120, 230]) < 34


@pytest.mark.parametrize("reduces", [False, True])
def test_places_near_black_do_not_flicker_with_their_noise(reduces):
    """Check means of 8x8 pixels, because this backend does not filter reflectance over time."""
    rng = np.random.default_rng(0)
    frames = rng.normal(4, 2, (24, 240, 320, 1)).clip(0, 255).astype(np.uint8).repeat(3, axis=3)
    engine = Engine(Gain(), area=160 * 120 if reduces else None)
    moved = {}
    for steady in ((), ("light",)):
        stream = Stream(engine, FixedRatio(6.0), steady=steady)
        made = [stream(frame[None], [i / 25])[0][0, ..., 1] for i, frame in enumerate(frames)]
        places = np.stack(made).reshape(24, 30, 8, 40, 8).mean(axis=(2, 4))
        moved[steady] = places[6:].std(axis=0).mean()
    assert moved[("light",)] < 0.75 * moved[()]


def turning(color, frames=7, size=(960, 540)):
    """Return frames of a thin line that turns fast over a still texture, and masks of the line."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    ground = 40 + 18 * np.sign(np.sin(x / 1.5) * np.sin(y / 1.7))
    rng, pictures, places = np.random.default_rng(0), [], []
    for angle in np.radians(25 * np.arange(frames) + 10):
        noisy = ground[..., None] + rng.normal(0, 1, (height, width, 3))
        frame, place = noisy.clip(0, 255).astype(np.uint8), np.zeros((height, width), np.uint8)
        ends = np.array([[0, 0], [np.cos(angle), np.sin(angle)]]) * 240 + (width / 2, height / 2)
        for picture, value in ((frame, color), (place, 255)):
            cv2.line(picture, *ends.astype(int).tolist(), value, 2)
        pictures.append(frame)
        places.append(place)
    return pictures, places


@pytest.mark.parametrize("reduces", [False, True])
@pytest.mark.parametrize("color", [(110, 8, 22), (8, 40, 120), (200, 30, 30), (60, 30, 40)])
def test_a_thin_coloured_line_that_turns_fast_leaves_no_trail(color, reduces):
    """Check it at 58 frames a second, also for a line with the same luma as the texture."""
    engine = Engine(Gain(), area=480 * 270 if reduces else None)
    frames, places = turning(color)
    made = []
    for steady in ((), ("light", "noise")):
        stream = Stream(engine, FixedRatio(6.0), steady=steady)
        made.append([stream(f[None], [i / 58])[0][0].astype(int) for i, f in enumerate(frames)])
    for i in range(2, len(frames)):
        gone = (places[i - 1] > 0) & (cv2.dilate(places[i], np.ones((25, 25))) == 0)
        trail = (made[1][i] - made[0][i])[gone].mean(axis=0)
        assert np.abs(trail).max() < 0.5


@pytest.mark.parametrize("color", [(110, 8, 22), (8, 40, 120), (200, 30, 30), (60, 30, 40)])
def test_a_thin_coloured_line_has_its_colour_in_skipped_frames(color):
    frames, places = turning(color)
    made = []
    for every in (1, 3):
        stream = Stream(Engine(Gain(), area=480 * 270, every=every), FixedRatio(6.0), steady=())
        made.append([stream(f[None], [i / 58])[0][0].astype(int) for i, f in enumerate(frames)])
    for i in range(1, len(frames)):
        gone = (places[i - 1] > 0) & (cv2.dilate(places[i], np.ones((25, 25))) == 0)
        for where, most in ((gone, 10), (places[i] > 0, 30)):
            assert np.abs((made[1][i] - made[0][i])[where].mean(axis=0)).max() < most


def test_stills_are_raised_by_one_ratio():
    engine = Engine(Gain())
    frame = np.full((64, 96, 3), 20, np.uint8)
    frame[:, 48:] = 120
    still = Stream(engine, FixedRatio(2.0), film=False)(frame[None], [0.0])[0][0]
    film = Stream(engine, FixedRatio(2.0))(frame[None], [0.0])[0][0]
    assert still[32, 90, 0] > film[32, 90, 0] + 20
    assert engine.enhance(frame, ratio=2.0)[32, 90, 0] == still[32, 90, 0]


KINDS = {
    "jpg": ({"quality": 90}, True),
    "jpeg": ({"quality": 75}, True),
    "webp": ({"quality": 80}, True),
    "lossless.webp": ({"lossless": True}, False),
    "avif": ({"quality": 80}, True),
    "heic": ({"quality": 80}, True),
    "png": ({}, False),
    "tif": ({}, False),
    "bmp": ({}, False),
}


@pytest.mark.parametrize("name", KINDS)
def test_which_formats_of_stills_have_rounded_chroma(tmp_path, name):
    options, lossy = KINDS[name]
    path = tmp_path / f"a.{name}"
    Image.fromarray(np.full((64, 64, 3), (60, 20, 20), np.uint8)).save(path, **options)
    assert read_still(path).lossy == lossy


@pytest.mark.parametrize("lossy", [True, False])
@pytest.mark.parametrize("ratio", [1.0, 5.0])
@pytest.mark.parametrize("color", [(20, 20, 20), (21, 20, 20), (20, 20, 21), (60, 20, 20)])
def test_faint_colour_of_lossy_stills_is_no_patch(lossy, ratio, color):
    seen = np.full((80, 120, 3), color, np.uint8)
    made = np.full((1, 80, 120, 3), (120, 90, 130), np.uint8)
    before = made.copy()
    frame = Frame(seen, 0, Fraction(1), still=Still(seen, lossy=lossy))
    restrain_stills([frame], made, np.array([ratio], np.float32))
    faint = max(color) < 60
    if lossy and ratio != 1 and faint:
        assert np.ptp(made.astype(int), axis=3).max() <= 3
    else:
        np.testing.assert_array_equal(made, before)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_still_is_held_to_recorded_colour_by_its_format(tmp_path, monkeypatch, name):
    rng = np.random.default_rng(0)
    blocks = rng.integers(19, 22, (10, 16, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
    path, made = tmp_path / name, tmp_path / "made.png"
    Image.fromarray(blocks).save(path, quality=90)
    seen = read_still(path).rgb
    streamkind.enhance(path, made, ratio=5, backend=plug_in(monkeypatch))
    after = read_still(made).rgb.astype(float)
    plain = 5.0 * seen
    spread = np.ptp(after, axis=2).mean() / np.ptp(plain, axis=2).mean()
    assert abs(after.mean() - plain.mean()) < 1.5
    assert (spread < 0.6) if name == "a.jpg" else (spread == 1)
