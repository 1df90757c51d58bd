"""Stills keep their metadata; animations and files of several pages are enhanced as videos."""

from __future__ import annotations

import math
import re
import subprocess
import warnings
from fractions import Fraction
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, PngImagePlugin, TiffImagePlugin
from support.media import make_clip, number_of, picture, read_video

from streamkind.errors import InputError, OutputError, UsageError
from streamkind.video.encoders import usual_codec
from streamkind.video.image_files import read_still
from streamkind.video.images import is_still, list_images
from streamkind.video.sink import open_sink
from streamkind.video.source import open_source

pillow_heif.register_heif_opener()
TAKEN = "2026:11:28 21:00:00"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF'
    b' xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description'
    b' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"'
    b' xmlns:dc="http://purl.org/dc/elements/1.1/" dc:title="a dark yard"/></rdf:RDF></x:xmpmeta>'
)
CORNER = np.full((48, 64, 3), 40, np.uint8)
CORNER[:24, :32] = 120


def tagged(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x0132] = orientation, TAKEN
    exif.get_ifd(0x8825)[1] = "N"
    return exif


def xmp_options(suffix: str) -> dict:
    """Return Pillow's options to write XMP, which also has the orientation."""
    if suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        return {"pnginfo": info}
    return {} if suffix == ".tif" else {"xmp": XMP}


def copy(path: Path, output: Path) -> list[str]:
    """Write every frame unchanged, without an engine; return the warnings."""
    with open_source(path) as source, open_sink(output, source) as sink:
        for frame in source:
            sink.write(frame)
    return [*source.warnings, *sink.warnings]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".tif", ".heic"])
def test_tags_and_profile_stay_and_the_picture_stands_upright(tmp_path, suffix):
    path, output = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    exif = tagged(6)
    if suffix == ".tif":
        exif[700] = XMP
    Image.fromarray(CORNER).save(path, exif=exif, icc_profile=SRGB, **xmp_options(suffix))
    expected = (
        np.rot90(CORNER, -1) if suffix != ".heic" else np.asarray(opened(path).convert("RGB"))
    )
    assert copy(path, output) == []
    image = opened(output)
    assert np.abs(np.asarray(image.convert("RGB")).astype(int) - expected).mean() < 4
    exif = image.getexif()
    assert exif.get(0x0132) == TAKEN
    assert exif.get(0x0112, 1) == 1
    assert suffix == ".tif" or exif.get_ifd(0x8825)[1] == "N"
    assert image.info["icc_profile"] == SRGB
    xmp = read_still(output).xmp
    assert b"a dark yard" in xmp
    assert b"Orientation" not in xmp


MOTION = {
    "Google": b' GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"/>',
    "Google, 2018": b" GCamera:MicroVideo='1' GCamera:MicroVideoOffset='99'/>",
    "an element": b"><GCamera:MotionPhoto>1</GCamera:MotionPhoto></rdf:Description>",
    "no mark": b"/>",
}
"""Marks in XMP that a video follows the picture. Files of Samsung have no such mark."""


@pytest.mark.parametrize("suffix", [".jpg", ".heic"])
@pytest.mark.parametrize("mark", MOTION)
def test_the_video_of_a_motion_photo_is_told(tmp_path, mark, suffix):
    path, output = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    named = b' xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"'
    xmp = XMP.replace(b"/></rdf:RDF>", named + MOTION[mark] + b"</rdf:RDF>")
    Image.fromarray(CORNER).save(path, xmp=xmp)
    assert copy(path, output) == []
    make_clip(tmp_path / "video.mp4", frames=5)
    video = (tmp_path / "video.mp4").read_bytes()
    box = (len(video) + 8).to_bytes(4) + b"mpvd" if suffix == ".heic" else b"MotionPhoto_Data"
    path.write_bytes(path.read_bytes() + box + video)
    (told,) = copy(path, output)
    assert "motion photo" in told
    (command,) = re.findall(r"\((tail .*)\)$", told)
    subprocess.run(command, shell=True, check=True, cwd=tmp_path)
    assert len(read_video(tmp_path / "video.mp4").pts) == 5
    assert b'Photo="1"' not in (kept := read_still(output).xmp) and b"a dark yard" in kept
    assert b"Photo>1" not in kept and b"Video='1" not in kept and b'Video="1' not in kept


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif", ".avif"])
def test_alpha_stays_where_the_format_has_it(tmp_path, suffix):
    alpha = np.arange(48 * 64).reshape(48, 64).astype(np.uint8)
    Image.fromarray(np.dstack([CORNER, alpha])).save(tmp_path / "in.png")
    assert copy(tmp_path / "in.png", tmp_path / f"out{suffix}") == []
    kept = np.asarray(opened(tmp_path / f"out{suffix}").getchannel("A"))
    assert np.abs(kept.astype(int) - alpha).mean() < 2


def test_alpha_that_is_lost_is_reported(tmp_path):
    Image.fromarray(np.dstack([CORNER, CORNER[..., :1]])).save(tmp_path / "in.png")
    assert "transparency" in copy(tmp_path / "in.png", tmp_path / "out.jpg")[0]


@pytest.mark.parametrize("kind", ["gray", "colour", "colour and alpha"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_stay(tmp_path, suffix, kind):
    deep = np.linspace(0, 65535, 48 * 64).astype(np.uint16).reshape(48, 64)
    channels = {"gray": 1, "colour": 3, "colour and alpha": 4}[kind]
    deep = deep if channels == 1 else np.dstack([deep // (n + 1) for n in range(channels)])
    path, output = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    cv2.imwrite(str(path), deep)
    copy(path, output)
    kept = cv2.imread(str(output), cv2.IMREAD_UNCHANGED)
    assert kept.dtype == np.uint16 and np.array_equal(kept, deep)
    assert "8 bits of 16" in "".join(copy(path, tmp_path / "out.jpg"))


def test_the_low_bits_of_sixteen_are_enhanced_with_the_others(call, tmp_path):
    """Check a ramp of 1,024 steps within four 8-bit levels: in 8 bits it would have four steps."""
    ramp = np.linspace(8 * 257, 12 * 257, 1024).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "in.png"), np.dstack([np.tile(ramp, (64, 1))] * 3))
    code, _, err = call("enhance", tmp_path / "in.png", tmp_path / "out.png", "--ratio", "5")
    assert code == 0, err
    row = cv2.imread(str(tmp_path / "out.png"), cv2.IMREAD_UNCHANGED)[32, 50:-50, 1]
    assert row.mean() > 2 * ramp.mean()
    assert len(np.unique(row)) > 200


def test_gray_stays_gray(call, tmp_path):
    Image.fromarray(CORNER[..., 0]).save(tmp_path / "in.jpg")
    assert call("enhance", tmp_path / "in.jpg", tmp_path / "out.jpg", "--ratio", "3")[0] == 0
    assert opened(tmp_path / "out.jpg").mode == "L"


@pytest.mark.parametrize("suffix", [".heic", ".avif"])
def test_a_picture_of_many_tiles_is_whole(tmp_path, suffix):
    whole = np.asarray(Image.effect_mandelbrot((1300, 900), (-2, -1, 1, 1), 50).convert("RGB"))
    Image.fromarray(whole).save(tmp_path / f"in{suffix}", quality=90)
    copy(tmp_path / f"in{suffix}", tmp_path / "out.png")
    kept = np.asarray(opened(tmp_path / "out.png"))
    assert kept.shape == whole.shape
    assert np.abs(kept.astype(int) - whole).mean() < 6


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_picture_that_is_cut_off_is_called_so(call, tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / f"in{suffix}")
    data = (tmp_path / f"in{suffix}").read_bytes()
    (tmp_path / f"in{suffix}").write_bytes(data[: len(data) // 2])
    code, _, err = call("enhance", tmp_path / f"in{suffix}", tmp_path / "out.png")
    assert code == 1
    assert "damaged or cut off" in err
    assert len(err.splitlines()) == 1


SHOWN = [40, 80, 40, 200, 120]
"""Durations of the frames of an animation, in milliseconds."""


def animation(path: Path) -> Path:
    images = [Image.fromarray(picture(4 * n)) for n in range(5)]
    options = {"duration": SHOWN, "lossless": True} if path.suffix != ".tif" else {}
    options |= {"disposal": 1} if path.suffix == ".gif" else {}
    images[0].save(path, save_all=True, append_images=images[1:], **options)
    return path


@pytest.mark.parametrize("suffix", [".webp", ".png", ".apng", ".gif", ".tif"])
def test_all_pictures_of_an_animation_go_through_with_their_timing(tmp_path, suffix):
    path = animation(tmp_path / f"in{suffix}")
    assert copy(path, tmp_path / "out.mp4") == []
    video = read_video(tmp_path / "out.mp4")
    assert [number_of(image) for image in video.images] == [0, 4, 8, 12, 16]
    begins = [round(1000 * float(pts * video.time_base)) for pts in video.pts]
    assert begins == ([0, 1000, 2000, 3000, 4000] if suffix == ".tif" else [0, 40, 120, 160, 360])


def test_warnings_of_a_program_are_shown_while_it_reads_an_animation(tmp_path):
    before = list(warnings.filters)
    with open_source(animation(tmp_path / "in.gif")) as source:
        for _ in source:
            assert warnings.filters == before


def test_the_picture_for_programs_without_animations_is_left_out(tmp_path):
    images = [Image.fromarray(picture(4 * n)) for n in range(4)]
    options = {"default_image": True, "duration": [40, 80, 40]}
    images[0].save(tmp_path / "in.apng", save_all=True, append_images=images[1:], **options)
    with open_source(tmp_path / "in.apng") as source:
        frames = list(source)
    assert [number_of(frame.data) for frame in frames] == [4, 8, 12]
    assert [1000 * frame.time for frame in frames] == [0, 40, 120]
    assert source.format.frames == 3


def test_pictures_that_are_shown_shorter_than_the_first_keep_their_times(tmp_path):
    images = [Image.fromarray(picture(4 * n)) for n in range(4)]
    shown = [100 / 3, 10, 10, 50]
    images[0].save(tmp_path / "in.apng", save_all=True, append_images=images[1:], duration=shown)
    with open_source(tmp_path / "in.apng") as source:
        times = [frame.time for frame in source]
    assert times == [0, *(Fraction(1, 30) + Fraction(n, 100) for n in range(3))]


@pytest.mark.parametrize("suffix", [".webp", ".png", ".apng", ".gif", ".avif"])
def test_an_animation_becomes_an_animation(call, tmp_path, suffix):
    path = animation(tmp_path / "in.webp")
    output = tmp_path / f"out{suffix}"
    code, _, err = call("enhance", path, output, "--ratio", "1")
    assert code == 0, err
    with Image.open(output) as image:
        frames = []
        for number in range(image.n_frames):
            image.seek(number)
            image.load()
            frames.append((image.info["duration"], np.asarray(image.convert("RGB"))))
    assert len(frames) == 5
    assert [round(shown) for shown, _ in frames] == SHOWN
    for n, (_, kept) in enumerate(frames):
        assert np.abs(kept.astype(int) - picture(4 * n)).mean() < 4


@pytest.mark.parametrize("suffix", [".webp", ".apng", ".gif"])
def test_an_animation_is_played_as_often_as_its_format_can_say(tmp_path, suffix):
    images = [Image.fromarray(picture(4 * n)) for n in range(3)]
    images[0].save(tmp_path / "in.gif", save_all=True, append_images=images[1:], loop=65535)
    codec = usual_codec(f"a{suffix}", "auto")
    with (
        open_source(tmp_path / "in.gif") as source,
        open_sink(tmp_path / f"out{suffix}", source, codec=codec) as sink,
    ):
        for frame in source:
            sink.write(frame)
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert image.info["loop"] == 65535


@pytest.mark.parametrize("times", [0, 1, 2, 7])
@pytest.mark.parametrize("output", [".gif", ".apng", ".webp"])
@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_an_animation_is_played_as_often_as_before(call, tmp_path, suffix, output, times):
    images = [Image.fromarray(picture(4 * n)) for n in range(3)]
    repeated = {0: 0, 1: None}.get(times, times - 1) if suffix == ".gif" else times
    loop = {} if repeated is None else {"loop": repeated}
    images[0].save(tmp_path / f"in{suffix}", save_all=True, append_images=images[1:], **loop)
    code, _, err = call("enhance", tmp_path / f"in{suffix}", tmp_path / f"out{output}")
    assert code == 0, err
    with Image.open(tmp_path / f"out{output}") as image:
        found = image.info.get("loop")
    expected = {0: 0, 1: None}.get(times, times - 1) if output == ".gif" else times
    assert found == expected


def test_a_folder_of_images_becomes_a_video(call, tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(5):
        Image.fromarray(picture(4 * n)).save(tmp_path / "in" / f"{n}.png")
    words = "enhance", tmp_path / "in", tmp_path / "out.mp4", "--ratio", "1"
    for fps, told in ((25, ()), (5, ("--fps", "5"))):
        assert call(*words, *told)[0] == 0
        video = read_video(tmp_path / "out.mp4")
        assert [number_of(image) for image in video.images] == [0, 4, 8, 12, 16]
        assert float(video.pts[4] * video.time_base) == 4 / fps


def test_images_of_a_folder_are_in_the_order_of_their_numbers(tmp_path):
    names = ["9.png", "10.png", "Frame 2.png", "frame 2b.png", "frame 10.png", "frame 0011.png"]
    for name in reversed(names):
        Image.new("RGB", (16, 16)).save(tmp_path / name)
    assert [path.name for path in list_images(tmp_path)] == names


@pytest.mark.parametrize("fps", [0, -5, math.nan, math.inf, 1e-9, 2000])
def test_a_rate_that_cannot_be_is_refused(tmp_path, fps):
    Image.fromarray(CORNER).save(tmp_path / "a.png")
    for path in (tmp_path, tmp_path / "a.png"):
        with pytest.raises(UsageError, match=r"fps=.*: expected frames per second, from 0.001"):
            open_source(path, fps=fps)


@pytest.mark.parametrize("error", [MemoryError(), Image.DecompressionBombError("bomb")])
def test_a_picture_that_is_too_large_is_not_called_damaged(tmp_path, monkeypatch, error):
    for name in ("a.png", "a.gif"):
        Image.fromarray(CORNER).save(tmp_path / name)
        monkeypatch.setattr(Image, "open", Mock(side_effect=error))
        with pytest.raises(InputError, match=r"too large for the memory|than \d+ million pixels"):
            open_source(tmp_path / name)
        monkeypatch.undo()


@pytest.mark.parametrize("dots", [(0, 0), (0, 1), (2**32 - 1, 1)])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp"])
def test_dots_per_inch_that_cannot_be_are_left_out(tmp_path, suffix, dots):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[296], tags[282], tags[283] = 2, *[TiffImagePlugin.IFDRational(*dots)] * 2
    Image.fromarray(CORNER).save(tmp_path / "in.tif", tiffinfo=tags)
    copy(tmp_path / "in.tif", tmp_path / f"out{suffix}")
    assert read_still(tmp_path / f"out{suffix}").rgb.shape == CORNER.shape


def test_pages_that_a_tiff_cannot_hold_are_told_in_words(tmp_path):
    pages = [Image.fromarray(CORNER)] * 3
    pages[0].save(tmp_path / "in.tif", save_all=True, append_images=pages[1:])
    with (
        open_source(tmp_path / "in.tif") as source,
        pytest.raises(OutputError, match=r"a TIFF holds 4 GB; choose .*\.mkv"),
        open_sink(tmp_path / "out.tif", source) as sink,
    ):
        for frame in source:
            sink.write(frame)
            sink._file.f.truncate(1 << 32)  # takes no space on the disk
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


@pytest.mark.parametrize(
    "words",
    [
        ["--codec", "hevc"],
        ["--crf", "9"],
        ["--two-pass"],
        ["--steady", "none"],
        ["--deinterlace", "off"],
    ],
)
def test_options_of_videos_are_refused_for_stills(call, tmp_path, words):
    Image.fromarray(CORNER).save(tmp_path / "in.png")
    code, _, err = call("enhance", tmp_path / "in.png", tmp_path / "out.png", *words)
    assert code == 2
    assert words[0].strip("-") in err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    "suffix, codec", [(".webm", "vp9"), (".gif", "gif"), (".avif", "av1"), (".h265", "hevc")]
)
def test_the_name_of_the_output_chooses_the_codec(call, clip, tmp_path, suffix, codec):
    code, _, err = call("enhance", clip, tmp_path / f"out{suffix}", "--ratio", "1")
    assert code == 0, err
    words = ["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", "-count_frames"]
    done = subprocess.run(
        ["ffprobe", *words, tmp_path / f"out{suffix}"], capture_output=True, text=True, check=True
    )
    assert codec in done.stdout


@pytest.mark.parametrize("suffix", [".tif", ".TIFF"])
def test_pages_become_pages(tmp_path, suffix):
    path, output = tmp_path / "in.tif", tmp_path / f"out{suffix}"
    pages = [Image.fromarray(picture(number)) for number in range(5)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    assert len(copy(path, output)) == 1
    with Image.open(output) as image:
        assert image.n_frames == 5
        for number in range(5):
            image.seek(number)
            assert np.array_equal(np.asarray(image), picture(number))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.tif", f"out{suffix}"]


@pytest.mark.parametrize("kind", [1, 4])  # a thumbnail, a mask
def test_a_thumbnail_is_no_page_of_a_tiff(tmp_path, kind):
    small = TiffImagePlugin.ImageFileDirectory_v2()
    small[254] = kind
    with TiffImagePlugin.AppendingTiffWriter(str(tmp_path / "in.tif"), new=True) as file:
        Image.fromarray(CORNER).save(file, "TIFF")
        file.newFrame()
        Image.fromarray(CORNER[::4, ::4]).save(file, "TIFF", tiffinfo=small)
        file.newFrame()
    with Image.open(tmp_path / "in.tif") as image:
        assert image.n_frames == 2
    assert is_still(tmp_path / "in.tif")
    assert read_still(tmp_path / "in.tif").notes == ()
    assert np.array_equal(read_still(tmp_path / "in.tif").rgb, CORNER)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_pages_of_more_than_8_bits_are_rounded_not_clipped(tmp_path, kind):
    pages = [
        Image.fromarray((picture(n)[..., 0].astype(np.int64) * 257).astype(kind)) for n in (1, 2)
    ]
    pages[0].save(tmp_path / "in.tif", save_all=True, append_images=pages[1:])
    with open_source(tmp_path / "in.tif") as source:
        for number, frame in enumerate(source, 1):
            assert np.array_equal(frame.data[..., 1], picture(number)[..., 0])
    assert source.warnings == ["in.tif: it has more than 8 bits, but is read in 8"]


@pytest.mark.parametrize(
    "suffix", [".bmp", ".heic", ".jp2", ".jpg", ".pgm", ".png", ".tga", ".tif"]
)
def test_gray_stays_gray_in_each_format(tmp_path, suffix):
    path, output = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    Image.fromarray(CORNER[..., 0]).save(path)
    assert copy(path, output) == []
    with Image.open(output) as image:
        assert image.mode == "L"
        assert np.abs(np.asarray(image).astype(int) - CORNER[..., 0]).mean() < 2


def test_a_palette_with_transparency_keeps_its_colours(tmp_path):
    image = Image.fromarray(np.dstack([CORNER, CORNER[..., :1]]), "RGBA")
    image.paste((200, 30, 10, 90), (0, 0, 20, 20))
    image.convert("RGB").convert("PA").save(tmp_path / "in.tif")
    still = read_still(tmp_path / "in.tif")
    assert not still.gray
    assert np.abs(still.rgb[4, 4].astype(int) - (200, 30, 10)).max() < 30


def test_a_tiff_of_16_bits_without_tags_loses_none(tmp_path):
    cv2.imwrite(str(tmp_path / "in.tif"), CORNER.astype(np.uint16) * 257)
    assert copy(tmp_path / "in.tif", tmp_path / "out.tif") == []


def tiff(deep: np.ndarray, tags: dict[int, int], planes: int = 1) -> bytes:
    """Return an uncompressed TIFF of (H, W, N) of 8 or 16 bits. Pillow writes only some of them."""
    height, width, channels = deep.shape
    data = (deep.transpose(2, 0, 1) if planes > 1 else deep).tobytes()
    depth = 8 * deep.itemsize
    found = {256: [width], 257: [height], 258: [depth] * channels, 262: [2 if channels > 1 else 1]}
    found |= {277: [channels], 278: [height], 284: [2 if planes > 1 else 1]}
    found |= {number: [value] for number, value in tags.items()}
    size = len(data) // planes
    rest, begin = b"", 10 + 12 * (len(found) + 2) + 4
    places = [begin + 64 + size * n for n in range(planes)]
    entries = b""
    for number, values in sorted((found | {273: places, 279: [size] * planes}).items()):
        packed = b"".join(value.to_bytes(4, "little") for value in values)
        at = begin + len(rest)
        kept, rest = (
            (at.to_bytes(4, "little"), rest + packed) if len(values) > 1 else (packed, rest)
        )
        entries += number.to_bytes(2, "little") + b"\4\0"
        entries += len(values).to_bytes(4, "little") + kept
    head = b"II*\0\x08\0\0\0" + (len(found) + 2).to_bytes(2, "little")
    return head + entries + bytes(4) + rest.ljust(64, b"\0") + data


def test_a_tiff_of_16_bits_looks_as_one_of_8(tmp_path):
    """Check each orientation, and gray in which 0 is white."""
    gray, colour = CORNER[..., :1].copy(), CORNER.copy()
    gray[:5, 60:], colour[:5, 60:] = 200, (200, 90, 10)
    cases = [(gray, {0x0112: turn}) for turn in range(1, 9)]
    for image, tags in [*cases, (colour, {0x0112: 6}), (gray, {262: 0})]:
        (tmp_path / "8.tif").write_bytes(tiff(image, tags))
        (tmp_path / "16.tif").write_bytes(tiff(image.astype(np.uint16) * 257, tags))
        deep, shallow = read_still(tmp_path / "16.tif"), read_still(tmp_path / "8.tif")
        assert np.array_equal(deep.rgb, shallow.rgb), tags
        assert deep.deep is not None


def test_channels_that_would_be_mixed_up_are_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(CORNER.astype(np.uint16) * 257, {}, 3))
    with pytest.raises(InputError, match=r"stored one after the other; expected .* tiffcp -p"):
        read_still(tmp_path / "a.tif")


@pytest.mark.parametrize("tag, value", [(256, 64), (257, 48), (284, 2), (338, 1), (339, (2, 2, 2))])
def test_exif_of_a_camera_does_not_change_the_layout_of_a_tiff(tmp_path, tag, value):
    exif = tagged(6)
    exif[tag], exif[282] = value, 240.0
    Image.fromarray(CORNER).save(tmp_path / "in.png", exif=exif)
    assert copy(tmp_path / "in.png", tmp_path / "out.tif") == []
    made = opened(tmp_path / "out.tif")
    assert np.array_equal(np.asarray(made), np.rot90(CORNER, -1))
    assert (made.getexif()[0x0132], made.getexif()[282]) == (TAKEN, 240)


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
def test_layers_and_other_pictures_of_a_tiff_are_not_in_the_result(tmp_path, suffix):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[37724], tags[37724] = 7, b"Adobe Photoshop Document Data Block\0" + bytes(70_000)
    tags.tagtype[330], tags[330] = 4, 8
    Image.fromarray(CORNER).save(tmp_path / "in.tif", tiffinfo=tags)
    (told,) = copy(tmp_path / "in.tif", tmp_path / f"out{suffix}")
    assert "its layers are left out" in told
    assert not {330, 37724} & set(opened(tmp_path / f"out{suffix}").getexif())


@pytest.mark.parametrize("name", ["exif", "xmp"])
def test_metadata_that_a_jpeg_cannot_hold_are_left_out_and_told(tmp_path, name):
    exif = tagged(1)
    exif[0x010E] = "a dark yard" + " " * 70_000 * (name == "exif")
    xmp = {"xmp": XMP + b" " * 70_000} if name == "xmp" else {}
    Image.fromarray(CORNER).save(tmp_path / "in.webp", exif=exif, lossless=True, **xmp)
    (told,) = copy(tmp_path / "in.webp", tmp_path / "out.jpg")
    assert told == f"out.jpg: {name.upper()} is too long for a JPEG; .png keeps it"
    assert (0x010E in opened(tmp_path / "out.jpg").getexif()) == (name == "xmp")
    assert copy(tmp_path / "in.webp", tmp_path / "out.png") == []


def test_a_tiff_of_an_unsupported_variant_is_reported(tmp_path):
    cv2.imwrite(str(tmp_path / "in.tif"), CORNER.astype(np.float32) / 255)
    with pytest.raises(InputError, match=r"a TIFF that is damaged .* variant is not supported"):
        read_still(tmp_path / "in.tif")


def deep_heic(path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 48 * 3).astype(np.uint16).reshape(48, 64, 3)
    made = pillow_heif.from_bytes("RGB;16", (64, 48), ramp.tobytes())
    made.save(path, quality=90)


DEEP = {
    "a.pgm": lambda path: cv2.imwrite(str(path), np.full((8, 8), 900, np.uint16)),
    "a.ppm": lambda path: path.write_bytes(b"P6 # of 12 bits\n4 2 4095\n" + bytes(48)),
    "a.jp2": lambda path: Image.fromarray(np.full((64, 64), 900, np.uint16)).save(path),
    "a.heic": deep_heic,
    "a.tif": lambda path: Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(path),
}
"""Functions that write pictures of more than 8 bits in formats that are read with 8."""


@pytest.mark.parametrize("name", DEEP)
def test_bits_that_are_lost_in_reading_are_reported(tmp_path: Path, name: str) -> None:
    DEEP[name](tmp_path / name)
    assert any("more than 8 bits" in note for note in read_still(tmp_path / name).notes)
    Image.fromarray(CORNER).save(tmp_path / f"plain{name[1:]}")
    assert not read_still(tmp_path / f"plain{name[1:]}").notes


def test_fractions_are_not_black(tmp_path: Path) -> None:
    level = CORNER[..., 0]
    Image.fromarray(level / np.float32(255)).save(tmp_path / "in.tif")
    assert np.array_equal(read_still(tmp_path / "in.tif").rgb[..., 1], level)


def test_sixteen_bits_under_a_wrong_name_are_read(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), CORNER.astype(np.uint16) * 200)
    (tmp_path / "in.png").rename(tmp_path / "in.jpg")
    assert read_still(tmp_path / "in.jpg").deep is not None


def test_a_damaged_tag_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    """Check it with a resolution that is text, which Pillow can read but not write."""
    number = (282).to_bytes(2, "little") + b"\2\0\7\0\0\0"
    entries = b"\2\0" + number + (38).to_bytes(4, "little")
    entries += (306).to_bytes(2, "little") + b"\2\0\x14\0\0\0" + (46).to_bytes(4, "little")
    body = b"Exif\0\0II*\0\x08\0\0\0" + entries + bytes(4) + b"300300\0\0" + TAKEN.encode() + b"\0"
    Image.fromarray(CORNER).save(tmp_path / "in.jpg", exif=body)
    told = copy(tmp_path / "in.jpg", tmp_path / "out.jpg")
    assert told == ["in.jpg: damaged EXIF tags are left out: XResolution"]
    assert opened(tmp_path / "out.jpg").getexif().get(0x0132) == TAKEN


def test_a_picture_whose_exif_cannot_be_read_is_read_without_it(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n       8\n45xyz6966")
    Image.fromarray(CORNER).save(tmp_path / "in.png", pnginfo=info)
    still = read_still(tmp_path / "in.png")
    assert np.array_equal(still.rgb, CORNER)
    assert still.notes == ("in.png: its EXIF is damaged and left out",)
    deep = Image.fromarray(CORNER[..., 0].astype(np.uint16) * 257)
    deep.save(tmp_path / "in.png", pnginfo=info)
    assert read_still(tmp_path / "in.png").notes == still.notes


@pytest.mark.parametrize("suffix", [".webp", ".png"])
def test_tags_of_an_animation_that_are_left_out_are_reported(tmp_path: Path, suffix: str) -> None:
    images = [Image.fromarray(picture(4 * n)) for n in range(3)]
    path = tmp_path / f"in{suffix}"
    images[0].save(path, save_all=True, append_images=images[1:], exif=tagged(1))
    assert ["EXIF" in line for line in copy(path, tmp_path / "out.mp4")] == [True]


def profile(space: bytes) -> bytes:
    """Return a colour profile of a header only; its colour space is at byte 16."""
    return b"\0" * 12 + b"mntr" + space + b"XYZ " + b"\0" * 200


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif", ".tif", ".heic"])
@pytest.mark.parametrize("space", [b"GRAY", b"RGB "])
def test_a_profile_is_only_in_pictures_that_it_fits(
    tmp_path: Path, suffix: str, space: bytes
) -> None:
    image = Image.fromarray(CORNER).convert("L" if space == b"GRAY" else "RGB")
    image.save(tmp_path / "in.png", icc_profile=profile(space))
    told = copy(tmp_path / "in.png", tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as made:
        kept = made.info.get("icc_profile") or b""
        assert kept[16:20] == (b"" if space == b"GRAY" and made.mode == "RGB" else space)
    assert bool(kept) != any("profile" in note for note in told)


def test_tags_that_jpeg_2000_does_not_get_are_reported(tmp_path: Path) -> None:
    Image.fromarray(CORNER).save(tmp_path / "in.jpg", exif=tagged(1), icc_profile=SRGB)
    told = copy(tmp_path / "in.jpg", tmp_path / "out.jp2")
    assert [note for note in told if "EXIF" in note and ".png keeps them" in note]
