"""Inputs of more than 8 bits, from the decoder through the network to the encoder."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from support.engines import Gain, plug_in

import streamkind
from streamkind.engine.engine import Engine
from streamkind.engine.profiles import PROFILES, open_engine
from streamkind.engine.stream import Stream
from streamkind.light.exposure import FixedRatio
from streamkind.video.color import Reader, YuvWriter
from streamkind.video.format import ColorRange, ColorTags, is_deep
from streamkind.video.frames import MOST_DEEP, levels, stored
from streamkind.video.source import open_source

GRAY = ColorTags(range=ColorRange.LIMITED, matrix=1)
PROFILE_NAMES = list(PROFILES)


def planes_of(luma, bits, u=128.0, v=128.0):
    """Return planes of yuv420p, (3 H / 2, W), in 8 or 10 bits, for luma (H, W) in 8-bit levels."""
    height, width = luma.shape
    chroma = [np.full((height // 2, width // 2), c).reshape(-1, width) for c in (u, v)]
    return stored(np.vstack([luma, *chroma]), np.uint8 if bits == 8 else np.uint16)


def write(path, pictures, bits, codec="ffv1", **options):
    """Write planes as a video of limited range, and return its path."""
    pix_fmt = "yuv420p" if bits == 8 else "yuv420p10le"
    with av.open(str(path), "w") as container:
        height, width = pictures[0].shape[0] * 2 // 3, pictures[0].shape[1]
        stream = container.add_stream(codec, 25, width=width, height=height)
        stream.pix_fmt, stream.options = pix_fmt, options
        stream.codec_context.color_range, stream.codec_context.colorspace = 1, 1
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, pix_fmt)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def ramp(width, height):
    """Return dark planes of 10 bits. Luma rises by 6 levels from left to right."""
    light = np.broadcast_to(np.linspace(24, 30, width), (height, width))
    return planes_of(light, 10, 131.25, 126.5)


def read_back(path):
    """Return pixel format and luma of the first frame. Luma is in 8-bit levels."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        luma = frame.reformat(format="gray16le").to_ndarray()
        return frame.format.name, luma / 256


DEEP_FORMATS = {"yuv420p": False, "gray": False, "pal8": False, "bgr0": False, "cuda": False}
DEEP_FORMATS |= {"yuv422p10le": True, "p010le": True, "gbrp12le": True, "gray10le": True}


@pytest.mark.parametrize("pix_fmt", DEEP_FORMATS)
def test_which_formats_have_more_than_eight_bits(pix_fmt):
    assert is_deep(pix_fmt) == DEEP_FORMATS[pix_fmt]


@pytest.mark.parametrize("tags", [GRAY, ColorTags(range=ColorRange.FULL, matrix=1)])
@pytest.mark.parametrize("size", [(96, 62), (64, 48), (32, 18)])
def test_ten_bits_go_in_and_out_again(size, tags):
    rng = np.random.default_rng(0)
    rows, columns = size[1] * 3 // 2, size[0]
    planes = rng.integers(64, 940, (rows, columns)).astype(np.uint16)
    planes[size[1] :] = rng.integers(500, 524, (size[1] // 2, columns))  # colours that RGB has
    frame = av.VideoFrame.from_ndarray(planes, "yuv420p10le")
    read = Reader(tags, *size, "yuv420p10le")(frame)
    np.testing.assert_array_equal(read, planes)
    out = YuvWriter(tags, "yuv420p10le")(read)
    np.testing.assert_array_equal(out.to_ndarray(), planes)


@pytest.mark.parametrize("tags, most", [(GRAY, 4), (ColorTags(range=ColorRange.FULL, matrix=1), 5)])
@pytest.mark.parametrize("size", [(96, 62), (61, 47)])
def test_rgb_of_ten_bits_goes_in_and_out_again(size, tags, most):
    """Check RGB within a tolerance: chroma is rounded, and swscale's white is not exact.

    Rounding of chroma alone changes blue by 2 values of 10 bits.
    """
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 1021, (size[1], size[0], 3)).astype(np.uint16)
    pixels[:2] = 0, 0, 1020
    out = YuvWriter(tags, "yuv444p10le")(pixels)
    back = Reader(tags, *size, "gbrp16le")(out)
    assert back.dtype == np.uint16 and np.abs(back.astype(int) - pixels).max() <= most
    shallow = YuvWriter(tags, "yuv444p")(pixels)
    fewer = Reader(tags, *size)(shallow)
    assert np.abs(fewer - levels(pixels)).max() <= most / 1.6


@pytest.mark.parametrize("tags", [GRAY, ColorTags(range=ColorRange.FULL, matrix=6)])
@pytest.mark.parametrize("luma", [30.25, 80.5, 200.75])
def test_rgb_of_ten_bits_is_that_of_eight_with_more_bits(luma, tags):
    frame = av.VideoFrame.from_ndarray(
        planes_of(np.full((48, 64), luma), 10, 131, 126), "yuv420p10le"
    )
    deep, usual = (Reader(tags, 64, 48, pix_fmt)(frame) for pix_fmt in ("gbrp16le", "rgb24"))
    assert np.abs(levels(deep)[24, 32] - usual[24, 32]).max() <= 1.5
    red, green, blue = levels(deep)[24, 32]
    assert blue > green > red


@pytest.mark.parametrize("size", [(32, 32), (50, 30), (16, 2)])
@pytest.mark.parametrize("pix_fmt", ["gbrap16le", "gbrap16be", "gbrap12le", "rgba64le"])
def test_rgb_of_sixteen_bits_with_transparency_is_read_whole(size, pix_fmt):
    width, height = size
    rgb = np.full((height, width, 3), (46_080, 15_360, 25_600), np.uint16)
    frame = av.VideoFrame.from_ndarray(rgb, "rgb48le").reformat(format=pix_fmt)
    read = Reader(ColorTags(), width, height, "gbrp16le")(frame)
    assert np.abs(read.reshape(-1, 3).astype(int) - (717, 239, 398)).max() <= 1


def test_eight_bits_are_rounded_and_not_dithered():
    planes = planes_of(np.full((48, 64), 30.25), 10)
    out = YuvWriter(GRAY, "yuv420p")(planes).to_ndarray()
    assert (out[:48] == 30).all() and (out[48:] == 128).all()


@pytest.mark.parametrize("profile", PROFILE_NAMES)
@pytest.mark.parametrize(
    "codec, kept", [("hevc", True), ("av1", True), ("ffv1", True), ("h264", False)]
)
def test_the_depth_of_the_input_is_kept_where_the_codec_can(
    tmp_path, monkeypatch, profile, codec, kept
):
    clip = write(tmp_path / "in.mkv", [ramp(720, 408)] * 2, 10)
    made = tmp_path / "out.mkv"
    told = {"preset": {"hevc": "ultrafast", "av1": "12", "h264": "ultrafast"}.get(codec)}
    report = streamkind.enhance(
        clip, made, codec=codec, profile=profile, backend=plug_in(monkeypatch), ratio=4, **told
    )
    pix_fmt, luma = read_back(made)
    assert pix_fmt == ("yuv420p10le" if kept else "yuv420p")
    notes = [note for note in report.warnings if "8 bits" in note]
    assert len(notes) == (0 if kept else 1)
    assert 40 < luma[200, 300] < 90


@pytest.mark.parametrize("words", [{"side_by_side": True}, {"duration": 0.04}, {"steady": ()}])
def test_ten_bits_with_other_options(tmp_path, monkeypatch, words):
    clip = write(tmp_path / "in.mkv", [ramp(720, 408)] * 3, 10)
    made = tmp_path / "out.mkv"
    backend = plug_in(monkeypatch)
    streamkind.enhance(
        clip, made, codec="ffv1", profile="balanced", backend=backend, ratio=4, **words
    )
    pix_fmt, luma = read_back(made)
    assert pix_fmt == "yuv420p10le"
    assert luma[200, -200] > 1.8 * luma[200, 100] or "side_by_side" not in words


def test_eight_bits_stay_eight(tmp_path, monkeypatch):
    clip = write(tmp_path / "in.mkv", [planes_of(np.full((48, 64), 30.0), 8)] * 2, 8)
    made = tmp_path / "out.mkv"
    report = streamkind.enhance(
        clip, made, codec="hevc", preset="ultrafast", backend=plug_in(monkeypatch), ratio=4
    )
    assert read_back(made)[0] == "yuv420p"
    assert not [note for note in report.warnings if "8 bits" in note]


@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_frames_have_the_depth_of_the_input(tmp_path, profile):
    clip = write(tmp_path / "in.mkv", [ramp(720, 408)], 10)
    with open_source(clip, pix_fmt=PROFILES[profile].pix_fmt) as source:
        (frame,) = source
    assert frame.data.dtype == np.uint16
    assert len(np.unique(frame.data[:408])) > 20


@pytest.mark.parametrize("ratio", [1.0, 1.05, 4.0])
@pytest.mark.parametrize("area, planes", [(None, False), (160 * 120, False), (160 * 120, True)])
def test_white_stays_white_and_a_ratio_of_one_changes_nothing(ratio, area, planes):
    frame = np.full((240, 320, 3), 40, np.uint16)
    frame[:, 200:] = 1020
    if planes:
        frame = ramp(320, 240)
        frame[:240, 200:] = MOST_DEEP
    stream = Stream(Engine(Gain(), area=area), FixedRatio(ratio), color=GRAY)
    made = stream(frame[None], [0.0])[0][0]
    assert made.dtype == np.uint16 and made.shape == frame.shape and made.max() <= MOST_DEEP
    white = made[:240, 230:] if planes else made[:, 230:]
    assert white.min() > 900
    if ratio == 1:
        np.testing.assert_array_equal(made, frame)


def coded(light):
    """Convert linear light, 0 to 1, to sRGB levels, 0 to 255, without rounding."""
    curve = 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055
    return 255 * np.where(light <= 0.0031308, 12.92 * light, curve)


def rendered(size, frames):
    """Return the luma of a wall with soft spots of light: the truth, and noisy dark frames of it.

    The frames have six stops less light, and the noise of a good sensor. Luma is in levels of
    limited range.
    """
    x, y = np.meshgrid(*(np.linspace(0, 1, n) for n in size))
    light = 0.12 + 0.3 * np.exp(-8 * ((x - 0.3) ** 2 + (y - 0.6) ** 2)) + 0.1 * x
    rng, night = np.random.default_rng(0), light * 2.0**-6
    noisy = (night + rng.normal(0, 6e-5, night.shape) for _ in range(frames))
    return 16 + coded(light) * 219 / 255, [16 + coded(n) * 219 / 255 for n in noisy]


def errors(luma, truth):
    """Return the standard deviations of steps and of noise in relit luma, in levels.

    A polynomial of the true luma is subtracted before. Steps are what a blur of 5x5 keeps, and
    noise is the rest.
    """
    rest = luma - np.polyval(np.polyfit(truth.ravel(), luma.ravel(), 5), truth)
    inner = (rest - cv2.blur(rest, (65, 65)))[16:-16, 16:-16]
    return float(cv2.blur(inner, (5, 5)).std()), float((inner - cv2.blur(inner, (5, 5))).std())


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILE_NAMES)
def test_a_dark_scene_of_ten_bits_is_smoother_than_its_copy_of_eight(profile):
    size = (480, 272) if profile == "quality" else (960, 544)
    truth, frames = rendered(size, 3)
    found = {}
    with open_engine(backend="openvino", profile=profile) as engine:
        for bits in (8, 10):
            pix_fmt = "yuv420p" if bits == 8 else "yuv420p10le"
            asked = engine.pix_fmt(*size)
            asked = asked if bits == 8 else {"rgb24": "gbrp16le", "yuv420p": pix_fmt}[asked]
            read, stream = Reader(GRAY, *size, asked), Stream(engine, FixedRatio(6.0), color=GRAY)
            for i, luma in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(planes_of(luma, bits), pix_fmt)
                made = stream(read(frame)[None], [i / 25])[0]
            out = YuvWriter(GRAY, pix_fmt)(made[0]).to_ndarray()
            found[bits] = errors(levels(out[: size[1]]).astype(float), truth)
    (steps, noise), (fewer, less) = found[8], found[10]
    assert fewer < 0.75 * steps
    assert less < 0.75 * noise
