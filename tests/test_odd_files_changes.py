"""Videos whose rotation, size, colour tags or codec change: they are converted and reported."""

from __future__ import annotations

import gc
import re
import threading
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from support.odd import ffmpeg, pass_through, probe, times

from streamkind.app.facts import look_at
from streamkind.batch.divide import divide
from streamkind.live.source import Connection, Picture
from streamkind.video.format import ColorTags
from streamkind.video.frames import Pixels, size_of
from streamkind.video.side_data import display_matrix, has_rpu, is_spherical, is_stereo
from streamkind.video.source import open_source
from streamkind.video.tonemap import peak_of, refuse_dolby
from streamkind.video.upright import read_orientation

RED, GREEN = "color=red:s=96x64:r=5:d=1", "color=green:s=96x64:r=5:d=1"
TOP = f"{RED}[a];{GREEN},scale=96:32[b];[a][b]overlay=0:32"
"""Filter that makes red above green, so that a rotation can be seen."""
CODED = "-c:v libx264 -preset ultrafast -g 50 -pix_fmt yuv420p -threads 1"
TURNED = "-bsf:v h264_metadata=display_orientation=insert:rotate=90"
"""Options that mark H.264 as rotated. The mark is in the first picture only."""


def recording(path: Path, shape: str = "", words: str = "") -> Path:
    ffmpeg("-filter_complex", TOP + shape, *CODED.split(), *words.split(), path)
    return path


def joined(folder: Path, *parts: tuple[str, str]) -> Path:
    """Join recordings, each with its own filter and options, byte by byte as `cat` does."""
    made = [recording(folder / f"{i}.ts", *part) for i, part in enumerate(parts)]
    whole = folder / "joined.ts"
    whole.write_bytes(b"".join(path.read_bytes() for path in made))
    return whole


def colour_at(picture: Pixels, x: float, y: float) -> str:
    """Return the strongest channel (r, g, b, or - for none) of a place; x and y are 0 to 1."""
    height, width = picture.shape[:2]
    pixel = picture[int(y * height), int(x * width)].astype(int)
    first, second = np.sort(pixel)[[2, 1]]
    return "rgb"[int(pixel.argmax())] if first > second + 50 else "-"


def edges(picture: Pixels) -> str:
    """Return the strongest channels at the left, right, top and bottom, such as --rg."""
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
    assert edges(turned[-1])[:2] in ("rg", "gr")  # red and green beside each other
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
    assert np.abs(shown[2] - shown[7]).mean() > 3  # HLG is not shown as if it were SDR


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


CODECS = {
    "h264": "-c:v libx264 -preset ultrafast -pix_fmt yuv420p",
    "hevc": "-c:v libx265 -preset ultrafast -pix_fmt yuv420p -x265-params log-level=0:pools=1",
    "mpeg2video": "-c:v mpeg2video -r 25",
}


def long_recording(path: Path, words: str) -> Path:
    """Write a recording of 6 s: longer than the 5 s by which FFmpeg detects the streams."""
    made = "-f lavfi -i testsrc2=s=96x64:r=25:d=6 -f lavfi -i sine=440:d=6 -g 25 -threads 1"
    ffmpeg(*made.split(), *words.split(), path)
    return path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("codecs")
    return {
        name: long_recording(folder / f"{name}.ts", f"{words} -c:a mp2")
        for name, words in CODECS.items()
    }


@pytest.mark.parametrize(
    "names",
    [
        ("h264", "mpeg2video"),
        ("mpeg2video", "h264"),
        ("h264", "hevc"),
        ("hevc", "h264"),
        ("h264", "mpeg2video", "h264"),
    ],
    ids=" ".join,
)
def test_all_codecs_of_a_transport_stream_are_decoded_and_reported(
    names: tuple[str, ...], recordings: dict[str, Path], tmp_path: Path
) -> None:
    path, output = tmp_path / "in.ts", tmp_path / "out.mp4"
    path.write_bytes(b"".join(recordings[name].read_bytes() for name in names))
    warnings, _ = pass_through(path, output)
    changes = len(names) - 1
    assert 150 * len(names) - 4 * changes <= len(times(output, "v")) <= 150 * len(names)
    (told,) = [note for note in warnings if "codec" in note]
    assert f"changes {changes} time" in told and f"({', '.join(names)})" in told
    assert divide(path, None)[0] == [0]
    with open_source(path) as source:
        shown = [np.mean(frame.data) for frame in source]
    assert max(shown) - min(shown) < 20  # no part is gray or green


def test_a_codec_that_changes_within_the_first_seconds_is_followed_too(tmp_path: Path) -> None:
    """Check a file for which FFmpeg reports the last codec as that of the whole file."""
    parts = [tmp_path / "a.ts", tmp_path / "b.ts"]
    for path, codec in zip(parts, ("h264", "hevc"), strict=True):
        ffmpeg("-f", "lavfi", "-i", RED, *CODECS[codec].split(), "-threads", 1, path)
    path = tmp_path / "in.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_source(path) as source:
        shown = [colour_at(frame.data, 0.5, 0.5) for frame in source]
    assert set(shown) == {"r"} and 8 <= len(shown) <= 10
    assert any("(h264, hevc)" in note for note in source.warnings)


def test_pids_that_change_go_on(recordings: dict[str, Path], tmp_path: Path) -> None:
    moved, path, output = tmp_path / "b.ts", tmp_path / "in.ts", tmp_path / "out.mp4"
    ffmpeg("-i", recordings["h264"], "-c", "copy", "-mpegts_start_pid", "0x200", moved)
    path.write_bytes(recordings["h264"].read_bytes() + moved.read_bytes())
    pass_through(path, output)
    assert [s["codec_type"] for s in probe(output)["streams"]] == ["video", "audio"]
    assert len(times(output, "v")) == 300
    assert times(output, "a")[-1] > 11.8


def test_sound_of_another_codec_is_left_out_and_reported(
    recordings: dict[str, Path], tmp_path: Path
) -> None:
    other, path, output = tmp_path / "b.ts", tmp_path / "in.ts", tmp_path / "out.mkv"
    ffmpeg("-i", recordings["h264"], "-c:v", "copy", "-c:a", "ac3", other)
    path.write_bytes(recordings["h264"].read_bytes() + other.read_bytes())
    _, told = pass_through(path, output)
    assert [note for note in told if "stream #1" in note and "its ac3 is left out" in note]
    assert not any("could not be written" in note for note in told)
    assert times(output, "a")[-1] == pytest.approx(6, abs=0.1)


FORMATS = "-ar 44100 -ac 1", "-ar 48000 -ac 6"


@pytest.mark.parametrize("codec", ["ac3", "aac"])
@pytest.mark.parametrize("suffix", ["flv", "webm", "avi"])
def test_sound_whose_format_changes_is_converted_to_its_end(
    codec: str, suffix: str, tmp_path: Path
) -> None:
    path, output = tmp_path / "in.ts", tmp_path / f"out.{suffix}"
    made = f"-f lavfi -i {RED} -f lavfi -i sine=440:d=1".split()
    parts = []
    for number, words in enumerate(FORMATS):
        part = tmp_path / f"{number}.ts"
        ffmpeg(*made, *CODED.split(), "-c:a", codec, *words.split(), part)
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    video = {"webm": "vp9"}.get(suffix, "h264")
    _, told = pass_through(
        path, output, codec=video, preset=None if video == "vp9" else "ultrafast"
    )
    copied = not any("converted" in note for note in told)
    assert sum("players expect those of the beginning" in note for note in told) == (
        copied and codec == "aac"
    )
    sound = times(output, "a")
    assert sound == sorted(sound) and sound[-1] == pytest.approx(2, abs=0.1)
    assert max(np.diff(sound)) < 0.12


def test_a_shape_of_pixels_that_changes_is_reported(tmp_path: Path) -> None:
    with open_source(joined(tmp_path, ("", ""), (",setsar=4/3", ""))) as source:
        assert len(list(source)) == 10
    assert [note for note in source.warnings if "SAR 1:1, 4:3" in note]
    with open_source(joined(tmp_path, ("", ""), ("", ""))) as source:
        list(source)
    assert not [note for note in source.warnings if "SAR" in note]


@pytest.mark.parametrize("suffix", ["ts", "mp4", "mkv"])
@pytest.mark.parametrize("gop", [10, 1000])
def test_the_page_shows_a_video_in_the_size_of_the_result(
    gop: int, suffix: str, tmp_path: Path
) -> None:
    """Check a video whose rotation is in the first picture only, with many and few keyframes."""
    path = tmp_path / f"in.{suffix}"
    made = TOP.replace("d=1", "d=9")
    words = f"{CODED.replace('-g 50', f'-g {gop}')} -x264-params scenecut=0 {TURNED}"
    ffmpeg("-filter_complex", made, *words.split(), path)
    with open_source(path) as source:
        wanted = source.format.width, source.format.height
    facts = look_at(path).facts
    assert (facts.width, facts.height) == wanted == (64, 96)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "asf", "ts"])
def test_a_second_recording_that_is_not_read_is_reported(
    suffix: str, recordings: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, rest = Path(f"22:30.{suffix}"), tmp_path / f"rest.{suffix}"  # looks like a protocol
    made, other = [], "-mpegts_service_id 7 -mpegts_start_pid 0x300 -mpegts_pmt_start_pid 0x777"
    for number, words in enumerate(("", other if suffix == "ts" else "")):
        part = tmp_path / f"{number}.{suffix}"
        # Null packets make the first recording longer than the part that FFmpeg examines.
        muxed = f"{words} -muxrate 8M" if suffix == "ts" else ""
        ffmpeg("-i", recordings["h264"], "-c", "copy", *muxed.split(), part)
        made.append(part.read_bytes())
    path.write_bytes(b"".join(made))
    with open_source(path) as source:
        assert len(list(source)) == 150
    (told,) = [note for note in source.warnings if "another recording" in note]
    begin = int(re.findall(r"byte (\d+)", told)[0])
    rest.write_bytes(path.read_bytes()[begin:])
    with open_source(rest, video_stream=None) as source:
        assert len(list(source)) in range(149, 152)
    with open_source(tmp_path / f"0.{suffix}") as source:
        list(source)
    assert not [note for note in source.warnings if "another recording" in note]
