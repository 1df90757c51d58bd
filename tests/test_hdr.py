"""HDR is tone-mapped to SDR; the result is that of FFmpeg's zscale and tonemap."""

from __future__ import annotations

import subprocess
import tempfile
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image
from support.media import PALETTE, read_video

from streamkind.platform import keeps_scheduling
from streamkind.video.image_files import read_still
from streamkind.video.source import open_source
from streamkind.video.tonemap import ToneMapper, linear, tone_mapped

TRANSFERS = {"hlg": ("arib-std-b67", 18), "pq": ("smpte2084", 16)}
RECIPE = (
    "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p"
)


def make_hdr(path: Path, kind: str, *, size: tuple[int, int] = (64, 48), frames: int = 3) -> Path:
    """Write an HDR video of flat patches in 10 bits, most of them dark; one has 900 nits."""
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
    """Return the first frame, tone-mapped by FFmpeg, as uint8 RGB."""
    output = path.with_suffix(".png")
    words = ["-i", path, "-vf", RECIPE, "-frames:v", "1", output]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True)
    return cv2.imread(str(output))[..., ::-1]


def middles(image: np.ndarray) -> np.ndarray:
    """Return the pixels of each patch without its border, where 4:2:0 blurs the chroma."""
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
    """Check both ways through `realtime`: a large picture as YUV planes, a small one as RGB."""
    path = make_hdr(tmp_path / "in.mp4", "hlg", size=size, frames=1)
    words = "--ratio", "1", "--profile", "realtime"
    code, _, err = call("enhance", path, tmp_path / "out.mp4", *words)
    assert code == 0, err
    assert err.count("HDR video (HLG)") == 1
    video = read_video(tmp_path / "out.mp4")
    assert video.color == (1, 1, 1, 1)
    pair = middles(video.images[0]), middles(reference(path))
    assert np.abs(pair[0].astype(int) - pair[1]).mean() < 3


def test_the_table_is_found_in_any_folder(tmp_path, monkeypatch):
    (tmp_path / "C:a=b'c").mkdir()  # on Windows, the name of every folder has a colon
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "C:a=b'c"))
    frame = av.VideoFrame(16, 16, ToneMapper.pix_fmt)
    assert ToneMapper(16, frame)(frame).width == 16


def test_curves_map_the_reference_whites_and_rise():
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


def hdr_still(path: Path, transfer: int) -> np.ndarray:
    """Write a still of more than 8 bits, or of 8 if its name says so; return its signal, uint16."""
    rows = np.linspace(0, 40_000, 64)[:, None] * np.ones(96)
    signal = np.dstack([rows, rows * 0.8, rows * 0.6]).astype(np.uint16)
    signal[:20, :32] = 60_000
    if path.suffix == ".heic":
        image = pillow_heif.from_bytes("RGB;16", (96, 64), signal.tobytes())
        tags = {"color_primaries": 9, "matrix_coefficients": 9, "full_range_flag": 1}
        image.save(path, quality=-1, transfer_characteristics=transfer, **tags)
    elif path.suffix == ".avif":
        write_avif(path, signal, transfer)
    else:
        deep = "8" not in path.stem
        levels = signal if deep else (signal // 257).astype(np.uint8)
        data = cv2.imencode(".png", levels[..., ::-1])[1].tobytes()
        body = b"cICP" + bytes([9, transfer, 0, 1])
        chunk = (4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
        path.write_bytes(data[:33] + chunk + data[33:])  # after IHDR
    return signal


def write_avif(path: Path, signal: np.ndarray, transfer: int) -> None:
    frame = av.VideoFrame.from_ndarray(signal, format="rgb48le")
    frame = frame.reformat(
        format="yuv420p10le", dst_colorspace=9, src_color_range=2, dst_color_range=2
    )
    with keeps_scheduling(), av.open(str(path), "w", format="avif") as output:
        stream = output.add_stream("libsvtav1", rate=1, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p10le"
        for made in (stream.codec_context, frame):
            made.color_range, made.colorspace = 2, 9
            made.color_primaries, made.color_trc = 9, transfer
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


@pytest.mark.parametrize("transfer", [16, 18], ids=["pq", "hlg"])
@pytest.mark.parametrize("name", ["a.heic", "a.avif", "a.png", "8.png"])
def test_hdr_stills_look_as_hdr_videos(tmp_path, name, transfer):
    signal = hdr_still(tmp_path / name, transfer)
    still = read_still(tmp_path / name)
    wanted = tone_mapped(signal / 65_535, transfer, 10.0) * 255
    assert abs(still.rgb - wanted).mean() < 1
    assert [note for note in still.notes if "HDR" in note] == [
        f"{name}: HDR ({ {16: 'PQ', 18: 'HLG'}[transfer] }), tone-mapped: the result is SDR"
    ]
    assert (still.deep is not None) == (name == "a.png")
    if still.deep is not None:
        assert abs(still.deep / 257.0 - wanted).mean() < 0.3


@pytest.mark.parametrize("name", ["a.heic", "a.png", "8.png"])
def test_stills_of_ten_bits_that_are_sdr_stay_as_they_are(tmp_path, name):
    signal = hdr_still(tmp_path / name, 1)
    still = read_still(tmp_path / name)
    assert not any("HDR" in note for note in still.notes)
    assert abs(still.rgb - signal / 257.0).mean() < 1


def test_the_gain_map_of_a_photo_does_not_make_it_hdr(tmp_path):
    hdr_still(tmp_path / "a.avif", 16)
    box = tmp_path.joinpath("a.avif").read_bytes()
    Image.new("RGB", (96, 64), (90, 60, 30)).save(tmp_path / "b.avif", quality=90)
    # A box behind the picture has the HDR tags of another picture.
    data = (tmp_path / "b.avif").read_bytes()
    at = box.index(b"colrnclx") - 4
    free = box[at : at + 19]
    rest = (8 + len(free)).to_bytes(4, "big") + b"free" + free
    (tmp_path / "b.avif").write_bytes(data + rest)
    still = read_still(tmp_path / "b.avif")
    assert not still.notes
    assert abs(still.rgb.astype(int) - (90, 60, 30)).mean() < 4
