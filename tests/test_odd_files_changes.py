"""Videos whose pictures change: rotation, size, colour tags, bits. What is changed is said."""

from __future__ import annotations

import gc
import threading
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from support.odd import ffmpeg

from streamkind.live.source import Connection, Picture
from streamkind.video.format import ColorTags
from streamkind.video.frames import Pixels, size_of
from streamkind.video.side_data import display_matrix, has_rpu, is_spherical, is_stereo
from streamkind.video.source import open_source
from streamkind.video.tonemap import peak_of, refuse_dolby
from streamkind.video.upright import read_orientation

RED, GREEN = "color=red:s=96x64:r=5:d=1", "color=green:s=96x64:r=5:d=1"
TOP = f"{RED}[a];{GREEN},scale=96:32[b];[a][b]overlay=0:32"
"""Red above green, so that one sees which way is up."""
CODED = "-c:v libx264 -preset ultrafast -g 50 -pix_fmt yuv420p -threads 1"
TURNED = "-bsf:v h264_metadata=display_orientation=insert:rotate=90"
"""The orientation is in the first picture only, as H.264 has it."""


def recording(path: Path, shape: str = "", words: str = "") -> Path:
    ffmpeg("-filter_complex", TOP + shape, *CODED.split(), *words.split(), path)
    return path


def joined(folder: Path, *parts: tuple[str, str]) -> Path:
    """Join recordings with filters and options of their own, as `cat` does."""
    made = [recording(folder / f"{i}.ts", *part) for i, part in enumerate(parts)]
    whole = folder / "joined.ts"
    whole.write_bytes(b"".join(path.read_bytes() for path in made))
    return whole


def colour_at(picture: Pixels, x: float, y: float) -> str:
    """Return r, g, b or - (none of them) at a place of an RGB picture, 0 to 1 each way."""
    height, width = picture.shape[:2]
    pixel = picture[int(y * height), int(x * width)].astype(int)
    first, second = np.sort(pixel)[[2, 1]]
    return "rgb"[int(pixel.argmax())] if first > second + 50 else "-"


def edges(picture: Pixels) -> str:
    """Return the colours at the left, right, top and bottom."""
    places = ((0.1, 0.5), (0.9, 0.5), (0.5, 0.1), (0.5, 0.9))
    return "".join(colour_at(picture, *place) for place in places)


@pytest.mark.parametrize("order", ["first", "second"])
def test_each_recording_is_turned_by_its_own_mark(tmp_path: Path, order: str) -> None:
    parts = [("", TURNED), ("", "")]
    whole = joined(tmp_path, *(parts if order == "first" else parts[::-1]))
    with open_source(whole) as source:
        shown = [frame.data for frame in source]
        assert {size_of(data) for data in shown} == {(source.format.width, source.format.height)}
    upright, turned = (shown[5:], shown[:5]) if order == "first" else (shown[:5], shown[5:])
    assert {edges(data)[2:] for data in upright} == {"rg"}  # red above green
    assert len({edges(data) for data in turned}) == 1
    assert edges(turned[-1])[:2] in ("rg", "gr")  # beside each other
    told = [note for note in source.warnings if "rotation" in note]
    assert len(told) == 1
    assert f"{source.format.width}x{source.format.height}" in told[0]


def test_a_part_that_begins_between_keyframes_is_turned_too(tmp_path: Path) -> None:
    turned = recording(tmp_path / "turned.ts", words=TURNED)
    with open_source(turned) as source:
        whole = [frame.data for frame in source]
    with open_source(turned, start=0.6) as source:
        part = [frame.data for frame in source]
    assert [edges(data) for data in part] == [edges(data) for data in whole[3:]]


def test_a_camera_stays_turned_between_keyframes(tmp_path: Path) -> None:
    turned = recording(tmp_path / "turned.ts", words=TURNED)
    url, ignored = f"file:{turned}", lambda packets, seconds: None
    with Connection(url, 5.0, threading.Event(), ignored, lambda width, height: "rgb24") as camera:
        shown = [made.pixels for made in camera if isinstance(made, Picture)]
    assert {data.shape for data in shown} == {(96, 64, 3)}
    assert len({edges(data) for data in shown}) == 1


@pytest.mark.parametrize("pix_fmt", ["rgb24", "yuv420p"])
def test_planes_and_pixels_of_all_recordings_are_alike(tmp_path: Path, pix_fmt) -> None:
    parts = ("", ""), (",scale=64:96", ""), ("", TURNED), ("", "-pix_fmt yuv444p")
    with open_source(joined(tmp_path, *parts), pix_fmt=lambda form: pix_fmt) as source:
        shown = [frame.data for frame in source]
    assert {(data.shape, data.dtype) for data in shown} == {(shown[0].shape, shown[0].dtype)}
    assert len(shown) == 20
    assert any("size and rotation" in n or "size" in n for n in source.warnings)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("-color_range tv -colorspace bt709", "-color_range pc -colorspace bt470bg"),
        ("-color_range pc -colorspace smpte170m", "-color_range tv -colorspace bt709"),
    ],
)
def test_colours_stay_when_their_tags_change(tmp_path: Path, first: str, second: str) -> None:
    parts = [
        (f",scale=out_color_matrix={words.split()[-1]}:out_range={words.split()[1]}", words)
        for words in (first, second)
    ]
    with open_source(joined(tmp_path, *parts)) as source:
        shown = [frame.data.astype(int) for frame in source]
    assert np.abs(shown[2] - shown[7]).mean() < 3
    assert sum("colour tags change" in note for note in source.warnings) == 1


def test_hdr_within_a_video_is_tone_mapped(tmp_path: Path) -> None:
    hlg = "-color_trc arib-std-b67 -color_primaries bt2020 -colorspace bt2020nc"
    sdr = "-color_trc bt709 -color_primaries bt709 -colorspace bt709"
    with open_source(joined(tmp_path, ("", sdr), ("", hlg))) as source:
        shown = [frame.data.astype(int) for frame in source]
    assert any("HLG" in note for note in source.warnings)
    assert np.abs(shown[2] - shown[7]).mean() > 3  # not shown as if it were SDR


@pytest.mark.parametrize(
    "look",
    [
        read_orientation,
        is_spherical,
        is_stereo,
        has_rpu,
        peak_of,
        partial(refuse_dolby, codec_tag="avc1", tags=ColorTags(), path="in.mp4"),
    ],
    ids=["rotation", "sphere", "stereo", "Dolby Vision", "peak", "profile 5"],
)
def test_a_frame_that_was_looked_at_does_not_wait_for_the_garbage_collector(tmp_path, look):
    clip = recording(tmp_path / "in.mp4", words=TURNED)
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0))
    gc.collect()
    assert display_matrix(frame) is not None
    look(frame)
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        del frame
        gc.collect()
        assert not [thing for thing in gc.garbage if isinstance(thing, av.VideoFrame)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
