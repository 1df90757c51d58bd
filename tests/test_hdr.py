"""HDR video is tone-mapped as FFmpeg's zscale and tonemap do it, and comes out as SDR."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.media import PALETTE, read_video

from streamkind.video.source import open_source
from streamkind.video.tonemap import linear, tone_mapped

TRANSFERS = {"hlg": ("arib-std-b67", 18), "pq": ("smpte2084", 16)}
RECIPE = (
    "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p"
)


def make_hdr(path: Path, kind: str, *, size: tuple[int, int] = (64, 48), frames: int = 3) -> Path:
    """Flat colours, dark ones most, in 10 bits; the brightest is a lamp of 900 nits."""
    name, _ = TRANSFERS[kind]
    light = (PALETTE / 255.0) ** 2.4 * 0.6
    light[2, 1] = 9.0
    if kind == "pq":
        y = (light * 100 / 10_000) ** 0.1593017578125
        signal = ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375
    else:
        scene = (light / 10) ** (1 / 1.2)
        high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)
    width, height = size
    image = (signal * 65535).round().astype("<u2").repeat(height // 3, 0).repeat(width // 4, 1)
    color = ["-color_trc", name, "-color_primaries", "bt2020", "-colorspace", "bt2020nc"]
    params = f"log-level=none:crf=4:colorprim=bt2020:transfer={name}:colormatrix=bt2020nc"
    words = ["-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", f"{width}x{height}", "-r", "25"]
    words += ["-i", "-", "-vf", "zscale=m=2020_ncl:r=limited,format=yuv420p10le", "-c:v", "libx265"]
    words += ["-x265-params", params, *color, "-tag:v", "hvc1", str(path)]
    pixels = image.tobytes() * frames
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words], input=pixels, check=True)
    return path


def reference(path: Path) -> np.ndarray:
    """What FFmpeg makes of the first frame."""
    output = path.with_suffix(".png")
    words = ["-i", path, "-vf", RECIPE, "-frames:v", "1", output]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True)
    return cv2.imread(str(output))[..., ::-1]


def middles(image: np.ndarray) -> np.ndarray:
    """Each patch without its border, which chroma of half the size smears."""
    height, width = image.shape[0] // 3, image.shape[1] // 4
    rows = np.concatenate([np.arange(4, height - 4) + height * n for n in range(3)])
    columns = np.concatenate([np.arange(4, width - 4) + width * n for n in range(4)])
    return image[np.ix_(rows, columns)]


@pytest.mark.parametrize("kind", TRANSFERS)
def test_hdr_looks_as_ffmpeg_makes_it(tmp_path, kind):
    color = pytest.importorskip("skimage.color")
    path = make_hdr(tmp_path / "in.mp4", kind, size=(128, 96))
    with open_source(path) as source:
        image = next(iter(source)).data
        assert (source.format.color.transfer, source.format.color.primaries) == (1, 1)
        assert sum("HDR" in warning for warning in source.warnings) == 1
    pair = [color.rgb2lab(middles(i)) for i in (image, reference(path))]
    assert color.deltaE_ciede2000(*pair).max() < 3


@pytest.mark.parametrize("size", [(128, 96), (1280, 720)])
def test_the_result_is_sdr(call, tmp_path, size):
    """A large one goes as planes through `realtime`, a small one as RGB."""
    path = make_hdr(tmp_path / "in.mp4", "hlg", size=size, frames=1)
    words = "--ratio", "1", "--profile", "realtime"
    code, _, err = call("enhance", path, tmp_path / "out.mp4", *words)
    assert code == 0, err
    assert err.count("HDR video (HLG)") == 1
    video = read_video(tmp_path / "out.mp4")
    assert video.color == (1, 1, 1, 1)
    pair = middles(video.images[0]), middles(reference(path))
    assert np.abs(pair[0].astype(int) - pair[1]).mean() < 3


def test_what_is_known_of_the_curves():
    black, white = np.zeros(3), np.full(3, 0.75)
    assert linear(white, 18)[0] == pytest.approx(2.03, abs=0.02)  # HLG's reference white: 203 nits
    assert linear(np.full(3, 0.5081), 16)[0] == pytest.approx(1.0, abs=0.01)  # PQ's 100 nits
    for transfer in (16, 18):
        assert np.abs(tone_mapped(black, transfer, 10.0)).max() < 0.01
        ramp = tone_mapped(np.linspace(0, 0.75, 50)[:, None].repeat(3, 1), transfer, 10.0)
        assert (np.diff(ramp[:, 0]) > 0).all() and np.ptp(ramp, axis=1).max() < 1e-3


def test_dolby_vision_without_a_base_picture_is_refused(call, tmp_path):
    words = ["-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.2", "-pix_fmt", "yuv420p10le"]
    words += ["-c:v", "libx265", "-x265-params", "log-level=none", "-tag:v", "hvc1"]
    path = tmp_path / "in.mp4"
    subprocess.run(["ffmpeg", "-v", "error", *words, path], check=True)
    path.write_bytes(path.read_bytes().replace(b"hvc1", b"dvh1"))
    code, _, err = call("enhance", tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert code == 1
    assert "profile 5" in err
