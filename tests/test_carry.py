"""Results of reduced pictures, transferred to the full size: sizes, colours, edges and noise."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from parts.memory import peak
from support.engines import Gain
from support.media import make_clip, scene

import streamkind
from streamkind.backends.base import Layers
from streamkind.backends.processor import BF16_UNITS, flags
from streamkind.engine.engine import Engine
from streamkind.engine.profiles import PROFILES, choose_profile, open_engine
from streamkind.engine.reduced import Reduced, ReducedLayers, along_lines, carry, reduced_size
from streamkind.engine.shrink import planes_of, reduce, shrunk, without_cast
from streamkind.engine.whole import Whole
from streamkind.errors import UsageError
from streamkind.video.color import UNSURE, Reader, rgb_of_yuv, yuv_of_rgb
from streamkind.video.format import ColorRange, ColorTags, VideoFormat

GRAY = ColorTags(range=ColorRange.LIMITED, matrix=1)


@pytest.mark.parametrize("width, height", [(1280, 720), (640, 360), (1281, 720), (1920, 1080)])
def test_a_plane_is_scaled_down_by_its_means(width, height):
    plane = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
    plane = cv2.GaussianBlur(plane, (0, 0), 2)
    means = cv2.resize(plane, (427, 240), interpolation=cv2.INTER_AREA)
    apart = shrunk(plane, (427, 240)) - means
    assert abs(apart.mean()) < 0.2 and np.abs(apart).max() <= 3


def as_planes(rgb, tags):
    yuv = cv2.transform(rgb, yuv_of_rgb(tags))
    chroma = [cv2.resize(yuv[..., i], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
              for i in (1, 2)]  # fmt: skip
    return np.concatenate([yuv[..., 0], np.stack(chroma).reshape(-1, rgb.shape[1])])


def as_rgb(planes, tags):
    y, u, v = planes_of(planes)
    full = [y, *(cv2.resize(p, y.shape[::-1]) for p in (u, v))]
    return cv2.transform(cv2.merge(full), rgb_of_yuv(tags))


@pytest.mark.parametrize(
    "size, area, whole, reduced",
    [
        ((1920, 1080), 640 * 400, 640 * 400, (640, 360)),
        ((1280, 720), 640 * 400, 640 * 400, (640, 360)),
        ((640, 400), 640 * 400, 640 * 400, None),
        ((600, 400), 640 * 360, 640 * 360, (300, 200)),
        ((3840, 2160), 640 * 360, 640 * 360, (640, 360)),
        ((2000, 2), 1000, 1000, (1000, 1)),
        # At least `whole` pixels are left, up to rounding.
        ((320, 240), 480 * 270, 320 * 240, None),
        ((480, 270), 480 * 270, 320 * 240, (370, 208)),
        ((640, 360), 480 * 270, 320 * 240, (370, 208)),
        ((640, 480), 480 * 270, 320 * 240, (320, 240)),
        ((960, 544), 480 * 270, 320 * 240, (368, 209)),
        ((1280, 720), 480 * 270, 320 * 240, (427, 240)),
        ((1920, 1080), 480 * 270, 320 * 240, (480, 270)),
    ],
)
def test_pictures_are_reduced_by_an_integer_unless_too_little_were_left(size, area, whole, reduced):
    assert reduced_size(*size, area, whole) == reduced


def test_a_larger_picture_gets_no_much_smaller_network_input():
    """Check it with a tolerance of 10 %, because sides are extended to multiples of 16."""
    chosen = PROFILES["realtime"]
    engine = Engine(Gain(), area=chosen.area, whole=chosen.whole)
    sizes = [(320, 240), (352, 288), (480, 270), (608, 400), (640, 360), (640, 480), (1280, 720)]
    seen = [math.prod(engine.seen_size(*size)) for size in sizes]
    assert all(now <= 1.1 * then for now, then in itertools.pairwise(seen)), seen


@pytest.mark.parametrize("size", [(480, 270), (608, 400), (640, 360)])
def test_a_divisor_that_is_no_integer_gives_means_too(size):
    """Check that noise falls as in means of as many pixels, and that a slope does not shift."""
    width, height = size
    reduced = reduced_size(*size, 480 * 270, 320 * 240)
    rng = np.random.default_rng(0)
    noise = np.clip(rng.normal(60, 8, (height, width)), 0, 255).astype(np.uint8)
    slope = np.tile(np.linspace(20, 200, width), (height, 1)).astype(np.uint8)
    of_noise, of_slope = (shrunk(plane, reduced) for plane in (noise, slope))
    assert of_noise.std() < 8 * reduced[0] / width
    places = (np.arange(reduced[0]) + 0.5) * width / reduced[0] - 0.5
    expected = np.interp(places, np.arange(width), slope[0])
    assert np.abs(of_slope - expected)[:, 1:-1].max() < 1


@pytest.mark.parametrize(
    "size, pix_fmt", [((320, 240), "yuv420p"), ((321, 240), "rgb24"), ((120, 80), "rgb24")]
)
def test_yuv420p_is_requested_where_rgb_is_not_needed(size, pix_fmt):
    assert Engine(Gain(), area=120 * 80).pix_fmt(*size) == pix_fmt


@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9, 10])
@pytest.mark.parametrize("range_", [ColorRange.LIMITED, ColorRange.FULL])
def test_matrices_are_those_of_swscale(matrix, range_):
    tags = ColorTags(range=range_, matrix=matrix)
    rgb = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    back = cv2.transform(cv2.transform(rgb, yuv_of_rgb(tags)), rgb_of_yuv(tags))
    assert np.abs(back.astype(int) - rgb).mean() < 0.7
    if matrix in (1, 5, 9):
        from streamkind.video.color import YuvWriter

        yuv = YuvWriter(tags, "yuv444p")(rgb).to_ndarray()
        yuv = yuv if yuv.shape[-1] == 3 else yuv.transpose(1, 2, 0)
        assert np.abs(yuv.astype(int) - cv2.transform(rgb, yuv_of_rgb(tags))).max() <= 1


@pytest.mark.parametrize("tags", [GRAY, ColorTags(range=ColorRange.FULL, matrix=5)])
@pytest.mark.parametrize("planes", [False, True])
def test_a_gain_is_transferred_to_all_detail(tags, planes):
    rgb = scene()
    backend = Gain()
    engine = Reduced(Whole(backend), 120 * 80, tags)
    pixels = as_planes(rgb, tags) if planes else rgb
    layers = engine.decompose(np.stack([pixels, pixels]))
    assert isinstance(layers, ReducedLayers) and backend.seen == [(2, 80, 112, 3)]
    made = engine.recompose(layers, np.array([4.0, 2.0], np.float32))
    assert made.shape == (2, *pixels.shape) and made.dtype == np.uint8
    for picture, ratio in zip(made, (4, 2), strict=True):
        got = as_rgb(picture, tags) if planes else picture
        wanted = np.clip(rgb.astype(int) * ratio, 0, 255)
        error = np.abs(got - wanted)[4:-4, 4:-4]
        # Fine detail that is as weak as noise is halved. The edge does not move.
        assert error.mean() < 1.3 * ratio and np.abs((got - wanted).mean()) < 0.7 * ratio


def test_ratio_1_changes_nothing_and_near_it_little():
    rgb = scene()
    engine = Reduced(Whole(Gain()), 120 * 80)
    layers = engine.decompose(rgb[None])
    same = engine.recompose(layers, np.array([1.0], np.float32))
    assert np.array_equal(same, layers.pixels) and not np.shares_memory(same, rgb)
    near = engine.recompose(layers, np.array([1.1], np.float32))[0]
    assert np.abs(near.astype(int) - rgb).mean() < 2


def test_small_pictures_are_not_reduced():
    engine = Reduced(Whole(Gain()), 320 * 240)
    layers = engine.decompose(scene()[None])
    assert type(layers) is Layers
    assert np.array_equal(engine.recompose(layers, np.array([2.0], np.float32))[0], scene() * 2)


def test_layers_of_reduced_pictures_are_filtered_and_sliced_as_others():
    engine = Reduced(Whole(Gain()), 120 * 80)
    layers = engine.decompose(np.stack([scene(), scene() // 2]))
    one = layers.frame(1)
    assert one.small.shape == (1, 80, 107, 3) and one.luma.shape == (1, 80, 107)
    held = engine.steady(one, layers.frame(0), np.array([0.5, 0.5], np.float32))
    assert isinstance(held, ReducedLayers) and np.array_equal(held.small, one.small)


@pytest.mark.parametrize("low, high", [(8, 40), (2, 120), (20, 30)])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_no_halo_is_wider_than_3_pixels(low, high, factor):
    """Check an edge between two levels. The gain is 6 on the dark side and 2 on the bright side."""
    y = np.full((96, 192), low, np.uint8)
    y[:, 97:] = high
    tags = ColorTags()
    planes = (y, np.full_like(y, 128), np.full_like(y, 128))
    picture = cv2.transform(cv2.merge(planes), rgb_of_yuv(tags))
    _, luma = reduce(picture, (192 // factor, 96 // factor), tags)
    gain = np.interp(luma.astype(float), [low, high], [6.0, 2.0])
    made = np.clip(luma * gain, 0, 255).astype(np.uint8)
    clear = cv2.merge([made, np.full_like(made, 128), np.full_like(made, 128)])
    row = carry(planes, luma, cv2.split(clear))[0][48].astype(int)
    dark, bright = 6 * low, min(2 * high, 255)
    contrast = abs(bright - dark)
    far = np.abs(np.arange(192) - 96.5) > 3.5
    wanted = np.where(np.arange(192) < 97, dark, bright)
    assert np.abs(row - wanted)[far].max() <= max(3, 0.04 * contrast)  # levels


@pytest.mark.parametrize("low, high", [(8, 40), (2, 120), (20, 30), (4, 200)])
def test_ripple_of_realtime_at_a_hard_edge_is_small(low, high):
    """Check the released student: its ripple beside an edge is below a tenth of the edge."""
    picture = np.full((720, 1280, 3), low, np.uint8)
    picture[:, 641:] = high
    with open_engine(profile="realtime") as engine:
        row = engine.enhance(picture, ratio=4.0)[200:520].mean(axis=(0, 2))
    dark, bright = np.median(row[441:581]), np.median(row[701:841])
    assert bright - dark > 20
    apart = np.abs(row - np.where(np.arange(1280) < 641, dark, bright))[541:741]
    beyond = np.abs(np.arange(541, 741) - 640.5) > 3.5
    assert apart[beyond].max() < 0.1 * (bright - dark)


def test_noise_is_not_transferred():
    rng = np.random.default_rng(0)
    y = np.clip(20 + rng.normal(0, 1.5, (240, 320)) + 0.5, 0, 255).astype(np.uint8)
    planes = (y, np.full_like(y, 128), np.full_like(y, 128))
    luma = cv2.resize(y, (107, 80), interpolation=cv2.INTER_AREA)
    made = np.full((80, 107), 100, np.uint8)  # restored by the network, without noise
    clear = cv2.merge([made, np.full_like(made, 128), np.full_like(made, 128)])
    assert carry(planes, luma, cv2.split(clear))[0].std() < 0.5
    noisy = cv2.merge([5 * luma, np.full_like(made, 128), np.full_like(made, 128)])
    assert carry(planes, luma, cv2.split(noisy))[0].std() < 0.6 * (5 * y.astype(float)).std()


def form(width, height):
    return VideoFormat(width, height, Fraction(1, 25), Fraction(25), Fraction(1), GRAY, "yuv420p",
                       None, None)  # fmt: skip


@pytest.mark.parametrize(
    "name, size, pix_fmt",
    [
        ("quality", (1920, 1080), "rgb24"),
        ("balanced", (1920, 1080), "yuv420p"),
        ("balanced", (640, 400), "yuv420p"),
        ("quality", (640, 400), "rgb24"),
        ("realtime", (1279, 721), "rgb24"),
        ("realtime", (1280, 720), "yuv420p"),
    ],
)
def test_yuv420p_is_requested_where_the_result_is_transferred(name, size, pix_fmt):
    assert PROFILES[name].pix_fmt(form(*size)) == pix_fmt


def test_a_profile_is_chosen_by_the_machine():
    assert choose_profile("auto", "auto", "auto") == "balanced"
    assert choose_profile("auto", "auto", "auto", still=True) == "quality"
    assert choose_profile("auto", "auto", "cuda:1") == "quality"
    assert choose_profile("realtime", "auto", "cuda:1") == "realtime"
    with pytest.raises(UsageError, match="unknown profile 'fast'; choose auto, quality, balanced"):
        choose_profile("fast", "auto", "auto")


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (2, 5, 6, 6)])
def test_a_video_keeps_its_colours_and_times(tmp_path, tags):
    """Compare YUV planes from decoder to encoder (`balanced`) with the same model in RGB."""
    clip = make_clip(tmp_path / "in.mp4", frames=3, size=(960, 544), rate=5, color=tags)
    results, stamps = {}, set()
    for name in ("quality", "balanced"):
        out = tmp_path / f"{name}.mkv"
        report = streamkind.enhance(clip, out, profile=name, model="lite", ratio=4.0, crf=0)
        assert f"{name}: lite" in report.engine
        with av.open(str(out)) as container:
            frames = list(container.decode(video=0))
        stamps.add(tuple(f.pts for f in frames))
        assert (frames[0].color_range, frames[0].colorspace) == tags[:2]
        results[name] = np.stack([f.to_ndarray(format="rgb24") for f in frames]).astype(int)
    assert len(stamps) == 1
    apart = np.abs(results["quality"] - results["balanced"])
    assert results["balanced"].mean() > 40 and apart.mean() < 6
    colors = [r.mean(axis=(0, 1, 2)) for r in results.values()]
    assert np.abs(colors[0] - colors[1]).max() < 4


@pytest.mark.parametrize(
    "size, options, wanted",
    [
        ((1280, 720), {}, b"subme=2"),
        ((1282, 720), {}, b"subme=1"),
        ((1282, 720), {"preset": "veryfast"}, b"subme=2"),
    ],
)
def test_encoding_keeps_up_with_realtime_at_any_size(tmp_path, size, options, wanted):
    """Check the settings that x264 writes into files: subme=2 is veryfast, 1 is superfast."""
    clip = make_clip(tmp_path / "in.mp4", frames=2, size=size)
    streamkind.enhance(clip, tmp_path / "out.mp4", profile="realtime", **options)
    assert wanted + b" " in (tmp_path / "out.mp4").read_bytes()


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(900)  # 9 s a frame on two cores with AVX2 only
@pytest.mark.parametrize("profile, frames, limit", [("quality", 30, 1500), ("realtime", 60, 600)])
def test_memory_at_1080p_stays_within_its_limit(tmp_path, profile, frames, limit):
    """Check the peak resident memory, in MiB.

    There are enough frames to fill every queue. In `realtime` they also fill the look-ahead of
    x264, which is the same in `quality`.
    """
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 40, (1080, 1920, 3), np.uint8) for _ in range(3)]
    clip = make_clip(tmp_path / "in.mp4", images=[images[i % 3] for i in range(frames)], rate=30,
                     frames=frames, size=(1920, 1080), options={"preset": "ultrafast"})  # fmt: skip
    most = peak("enhance", str(clip), str(tmp_path / "out.mp4"), "--profile", profile)
    # The activations of the networks of `quality` take twice as much memory in float32.
    single = profile == "quality" and not BF16_UNITS & flags()
    assert most < limit + (200 if single else 0)


@pytest.mark.parametrize("form", ["planes", "rgb"])
@pytest.mark.parametrize("size", [(1280, 720), (960, 540)])
def test_dark_light_that_rises_slowly_has_no_steps(size, form):
    """Check a rise of four levels over the picture. Means of noisy pixels are finer than 8 bits."""
    width, height = size
    light = np.linspace(28, 32, width) + np.random.default_rng(0).normal(0, 1, (height, width))
    y = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    gray = np.full((height // 2, width), 128, np.uint8)
    picture = np.vstack([y, gray]) if form == "planes" else np.dstack([y, y, y])
    view = Reduced(Whole(Gain()), 480 * 270)
    made = view.recompose(view.decompose(picture[None]), np.array([6], np.float32))[0]
    row = (made[:height] if form == "planes" else made[..., 1]).mean(axis=0)[8:-8]
    x = np.arange(len(row))
    assert np.abs(row - np.polyval(np.polyfit(x, row, 1), x)).max() < 1


@pytest.mark.parametrize("profile", ["balanced", "realtime"])
def test_ten_bits_come_out_smoother_than_their_eight_bit_copy(tmp_path, profile):
    """Compare the steps in relit pictures of a rise by 6 levels of 8 bits, without any noise."""
    width, height = 960, 540
    light = np.broadcast_to(np.linspace(24, 30, width), (height, width))
    steps = {}
    for bits, pix_fmt in ((8, "yuv420p"), (10, "yuv420p10le")):
        scale, kind = 2 ** (bits - 8), np.uint8 if bits == 8 else np.uint16
        gray = np.full((height // 2, width), 128 * scale)
        planes = np.vstack([np.rint(light * scale), gray]).astype(kind)
        frame = av.VideoFrame.from_ndarray(planes, pix_fmt)
        pixels = Reader(GRAY, width, height, "yuv420p")(frame)
        with open_engine(backend="openvino", profile=profile) as engine:
            view = engine.view(GRAY)
            made = view.recompose(view.decompose(pixels[None]), np.array([6], np.float32))[0]
        row = made[:height].mean(axis=0)[24:-24]
        x = np.arange(len(row))
        steps[bits] = np.std(row - np.polyval(np.polyfit(x, row, 3), x))
    assert steps[10] < 0.75 * steps[8]
    assert steps[10] < 0.32  # rounding to whole levels alone gives 0.29


@pytest.mark.parametrize("tags", [ColorTags(), ColorTags(range=ColorRange.FULL)])
def test_areas_near_black_lose_their_colour_and_others_keep_it(tags):
    black = yuv_of_rgb(tags)[0, 3]
    yuv = np.random.default_rng(0).integers(0, 40, (60, 80, 3), np.uint8) + np.uint8([0, 108, 108])
    before = yuv.astype(np.float32)
    found = np.dstack(without_cast([*np.moveaxis(before, 2, 0)], tags))
    level = yuv[..., 0] - black
    np.testing.assert_array_equal(found[..., 0], yuv[..., 0])
    assert (found[level <= UNSURE[0], 1:] == 128).all()
    lit = level >= UNSURE[1]
    np.testing.assert_allclose(found[lit], before[lit], atol=1e-4)
    between = (level > UNSURE[0]) & (level < UNSURE[1])
    assert 0 < np.abs(found - 128)[between, 1:].mean() < np.abs(before - 128)[between, 1:].mean()


def test_areas_of_a_still_near_black_lose_their_colour_and_others_are_unchanged():
    rng = np.random.default_rng(1)
    still = cv2.resize(rng.integers(0, 30, (40, 60, 3), np.uint8), (120, 80))
    still[:40] //= 8
    small, _ = reduce(still, (60, 40), ColorTags())
    means = cv2.resize(still.astype(np.float32), (60, 40), interpolation=cv2.INTER_AREA)
    level = means @ [0.2126, 0.7152, 0.0722] * 219 / 255
    dark, lit = level < UNSURE[0] - 0.5, level > UNSURE[1] + 0.5
    assert np.ptp(means[dark], axis=1).max() >= 2 and np.ptp(small[dark], axis=1).max() <= 1
    np.testing.assert_array_equal(small[lit], means[lit])


@pytest.mark.parametrize(
    "size", [(1080, 480, 270), (720, 427, 240), (768, 455, 256), (334, 66, 111)]
)
def test_a_picture_relit_in_strips_is_as_relit_at_once(size):
    height, w, h = size
    rng = np.random.default_rng(0)
    luma = rng.integers(0, 256, (height, 4 * w), np.uint8)
    slope, offset = rng.uniform(0, 5, (h, w)), rng.uniform(-40, 40, (h, w))
    made = np.empty_like(luma)
    along_lines(luma, *(plane.astype(np.float32) for plane in (slope, offset)), made)
    lit, raised = (
        cv2.resize(plane.astype(np.float32), luma.shape[::-1]) for plane in (slope, offset)
    )
    np.testing.assert_array_equal(made, cv2.add(luma * lit, raised, dtype=cv2.CV_8U))
