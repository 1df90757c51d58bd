"""Pictures of every size, through files and cameras: each region keeps its colour to the border."""

from __future__ import annotations

import functools
import subprocess
import sys
from fractions import Fraction
from threading import Event

import av
import numpy as np
import pytest
from support.engines import Gain, plug_in
from support.media import PALETTE, make_clip, read_video

from streamkind.engine.engine import Engine
from streamkind.engine.profiles import PROFILES, open_engine
from streamkind.engine.stream import Stream
from streamkind.light.exposure import FixedRatio
from streamkind.live.encoder import LiveEncoder, fit
from streamkind.live.source import Connection
from streamkind.pipeline import enhance
from streamkind.video.color import Reader, YuvWriter, read_tags
from streamkind.video.format import HD, ColorRange, ColorTags
from streamkind.video.frames import size_of

BT709 = ColorTags(range=ColorRange.LIMITED, matrix=1, primaries=1, transfer=1)
REMAINDERS = [(i, 7 * i % 16) for i in range(16)]
"""Remainders of width and height by 16. Each occurs once."""
SIZES = [(656 + i, 400 + j) for i, j in REMAINDERS]
"""Widths and heights that are just large enough for pictures to be reduced."""
RATIO = 4.0
LEVELS = 8
DARK = np.clip(PALETTE // 5 + 6, 0, 255).astype(np.uint8)
"""Colour of each region, (3, 4, 3) uint8 RGB. At a gain of 4 it is not clipped."""


def scene(width, height, colors=DARK):
    """Return a picture of three rows of four regions, each of one colour, up to the border."""
    row, column = np.arange(height) * 3 // height, np.arange(width) * 4 // width
    return colors[row[:, None], column]


def seen_in(image):
    """Return the colours in the middle of the regions, and at the border: (5, 6, 3) int."""
    height, width = image.shape[:2]
    rows = [0, *(height * (2 * i + 1) // 6 for i in range(3)), height - 1]
    columns = [0, *(width * (2 * i + 1) // 8 for i in range(4)), width - 1]
    return image[np.ix_(rows, columns)].astype(int)


def expected(colors=DARK, ratio=1.0):
    """Return the colours that `seen_in` must find at a gain of `ratio`, (5, 6, 3)."""
    lit = np.clip(colors * ratio, 0, 255)
    return np.round(lit)[np.ix_([0, 0, 1, 2, 2], [0, 0, 1, 2, 3, 3])]


@functools.cache
def relit(profile="balanced", size=(672, 416)):
    """Return what `seen_in` finds in `scene`, enhanced as RGB with sides of multiples of 16."""
    engine = Engine(Gain(), area=PROFILES[profile].area, whole=PROFILES[profile].whole)
    lit = Stream(engine, FixedRatio(RATIO), skip=False)(scene(*size)[None], [0.0])[0][0]
    return seen_in(lit)


def far(image, *how):
    """Return the largest difference of colours, in levels, from `relit`."""
    return np.abs(seen_in(image) - relit(*how)).max()


def apart(image, colors=DARK, ratio=1.0):
    """Return the largest difference of colours, in levels, from `expected`."""
    return np.abs(seen_in(image) - expected(colors, ratio)).max()


@pytest.mark.parametrize("width", range(64, 80))
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "nv12"])
def test_pictures_become_frames_and_frames_pictures(width, pix_fmt):
    for height in range(48, 64):
        frame = YuvWriter(BT709, pix_fmt)(scene(width, height, PALETTE))
        assert (frame.width, frame.height) == (width, height)
        assert apart(Reader(BT709, width, height)(frame), PALETTE) <= 3


@pytest.mark.parametrize("width", range(64, 80, 2))
def test_planes_become_frames_and_frames_planes(width):
    for height in range(48, 64, 2):
        planes = np.random.default_rng(height).integers(0, 256, (height * 3 // 2, width), np.uint8)
        planes.flags.writeable = height % 4 == 0
        assert size_of(planes) == (width, height)
        frame = YuvWriter(BT709, "yuv420p")(planes)
        assert (frame.width, frame.height) == (width, height)
        assert np.array_equal(Reader(BT709, width, height, "yuv420p")(frame), planes)


GUARDED = """
import ctypes, mmap
import numpy as np
from streamkind.video.color import YuvWriter
from streamkind.video.format import ColorTags

libc = ctypes.CDLL(None)
libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
for width, rows, channels in [(w, 3 * 50, ()) for w in range(64, 80, 2)] + [
    (w, 100, (3,)) for w in range(64, 80)
]:
    size = rows * width * (3 if channels else 1)
    pages = mmap.mmap(-1, -(-size // 4096) * 4096 + 4096)
    start = np.frombuffer(pages, np.uint8).ctypes.data
    assert libc.mprotect(start + len(pages) - 4096, 4096, 0) == 0
    pixels = np.frombuffer(pages, np.uint8, size, len(pages) - 4096 - size)
    for pix_fmt in ("yuv420p", "yuv444p", "nv12"):
        YuvWriter(ColorTags(), pix_fmt)(pixels.reshape(rows, width, *channels))
"""
"""Program that makes frames of pictures, and crashes if memory behind a picture is read."""


@pytest.mark.skipif(sys.platform != "linux", reason="mprotect")
def test_no_memory_beyond_a_picture_is_read():
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def clip_of(path, size, frames=1, codec="ffv1", pix_fmt="yuv420p", **more):
    images = [scene(*size)] * frames
    color = (1, 1, 1, 1)
    return make_clip(
        path, size=size, images=images, pts=[512 * i for i in range(frames)], color=color,
        codec=codec, pix_fmt=pix_fmt, **more,
    )  # fmt: skip


@pytest.mark.parametrize("profile", ["quality", "balanced", "realtime"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_video_of_any_size_keeps_its_size_and_pixels(tmp_path, monkeypatch, size, profile):
    clip = clip_of(tmp_path / "in.mkv", size, frames=2)
    made = enhanced(clip, tmp_path / "out.mp4", plug_in(monkeypatch), profile)
    assert made.size == size and len(made.images) == 2
    assert max(far(image, profile) for image in made.images) <= LEVELS


def enhanced(clip, output, backend, profile, **more):
    options = {"ratio": RATIO, "crf": 1, "preset": "ultrafast"} | more
    enhance(clip, output, backend=backend, profile=profile, **options)
    return read_video(output)


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("size", SIZES[::5], ids=str)
def test_a_rotated_clip_of_any_size_is_turned_upright(tmp_path, monkeypatch, size, degrees):
    pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
    clip = clip_of(
        tmp_path / "in.mp4", size, codec="libx264", pix_fmt=pix_fmt, options={"qp": "1"},
        rotation=(degrees, False, False),
    )  # fmt: skip
    made = enhanced(clip, tmp_path / "out.mp4", plug_in(monkeypatch), "balanced")
    assert made.size == (size if degrees == 180 else size[::-1])
    assert far(np.rot90(made.images[0], -degrees // 90)) <= LEVELS


@pytest.mark.parametrize("codec", ["hevc", "av1", "vp9", "mjpeg", "ffv1"])
@pytest.mark.parametrize("size", [(658, 402), (660, 407), (661, 406), (663, 409)], ids=str)
def test_every_codec_keeps_any_size(tmp_path, monkeypatch, codec, size):
    preset = {"hevc": "ultrafast", "av1": "12"}.get(codec)
    clip = clip_of(tmp_path / "in.mkv", size)
    made = enhanced(
        clip, tmp_path / "out.mkv", plug_in(monkeypatch), "balanced", codec=codec, preset=preset,
        crf=4,
    )  # fmt: skip
    assert made.size == size
    assert far(made.images[0]) <= LEVELS


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p", "bgr0", "yuv420p10le"])
def test_every_pixel_format_keeps_an_odd_size(tmp_path, monkeypatch, pix_fmt):
    clip = clip_of(tmp_path / "in.mkv", (662, 406), pix_fmt=pix_fmt)
    made = enhanced(clip, tmp_path / "out.mp4", plug_in(monkeypatch), "balanced")
    assert far(made.images[0]) <= LEVELS


@pytest.mark.parametrize("size", [(368 + i, 720 + j) for i, j in REMAINDERS], ids=str)
def test_a_camera_of_any_size_keeps_its_size_and_pixels(tmp_path, size):
    """Check sizes that are large enough for yuv420p from the connection to the encoder."""
    clip = clip_of(tmp_path / "in.mkv", size)
    engine = Engine(Gain(), area=PROFILES["balanced"].area, whole=PROFILES["balanced"].whole)
    view = engine.view(HD)
    with Connection(f"file:{clip}", 5, Event(), lambda *told: None, engine.pix_fmt) as camera:
        (pixels,) = [picture.pixels for picture in camera]
    assert size_of(pixels) == size and pixels.ndim == (3 if size[0] % 2 or size[1] % 2 else 2)
    lit = view.recompose(view.decompose(pixels[None]), np.array([RATIO], np.float32))[0]
    (image,) = streamed(lit, size)
    # The local ratio depends on the shape of the picture, so the reference has the same shape.
    assert far(image, "balanced", (368, 720)) <= LEVELS


def streamed(pixels, size):
    """Encode a picture as a camera's output does; return the decoded pictures."""
    encoder = LiveEncoder("h264", size, Fraction(25), Fraction(1))
    packets = [*encoder(pixels, 0.0, key=True), *encoder.finish()]
    decoder = av.CodecContext.create("h264", "r")
    frames = [f for p in packets for f in decoder.decode(av.Packet(p.data))] + decoder.decode(None)
    return [Reader(read_tags(f, []), f.width, f.height)(f) for f in frames]


@pytest.mark.parametrize("own", [(656, 402), (672, 416), (661, 405)], ids=str)
@pytest.mark.parametrize("size", SIZES[::2], ids=str)
def test_a_camera_that_comes_back_with_another_size(own, size):
    pixels = scene(*own, PALETTE)
    if own[0] % 2 == own[1] % 2 == 0:
        pixels = Reader(HD, *own, "yuv420p")(YuvWriter(HD, "yuv420p")(pixels))
    whole = fit(pixels, size)
    assert whole.shape == (*size[::-1], 3)
    lit = np.flatnonzero(whole.max(axis=(1, 2)) > 30), np.flatnonzero(whole.max(axis=(0, 2)) > 30)
    (top, bottom), (left, right) = ((line[0], line[-1] + 1) for line in lit)
    assert abs((right - left) / (bottom - top) - own[0] / own[1]) < 0.01
    assert apart(whole[top:bottom, left:right], PALETTE) <= 3
    assert streamed(whole, size)[0].shape == whole.shape


@pytest.mark.parametrize("profile", ["balanced", "realtime"])
def test_the_nets_see_the_same_in_planes_and_in_rgb(profile):
    with open_engine(profile=profile, backend="openvino") as engine:
        view = engine.view(BT709)
        for size in [(658, 402), (670, 414)]:
            planes = YuvWriter(BT709, "yuv420p")(scene(*size))
            pictures = [Reader(BT709, *size, form)(planes) for form in ("yuv420p", "rgb24")]
            carried, plain = (
                view.recompose(view.decompose(p[None]), np.array([RATIO], np.float32))[0]
                for p in pictures
            )
            read = Reader(BT709, *size)(YuvWriter(BT709, "yuv420p")(carried))
            assert np.abs(seen_in(read) - seen_in(plain)).max() <= LEVELS
