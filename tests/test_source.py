from __future__ import annotations

import itertools
import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from support.media import PALETTE, make_clip, number_of, patch_colors, patches, picture, read_video

from streamkind.errors import InputError, StreamkindError, UsageError
from streamkind.video.frames import Frame
from streamkind.video.source import ImageSource, Source, VideoSource, open_source
from streamkind.video.storage import as_path

KINDS = ["mp4", "mov", "mkv", "ts", "avi", "webm", "image", "folder"]


def make(kind: str, folder: Path) -> Path:
    if kind == "image":
        return write_image(folder / "one.png", picture(0))
    if kind == "folder":
        for number in range(10):
            write_image(folder / "in" / f"{number:03}.png", picture(number))
        return folder / "in"
    path = folder / f"clip.{kind}"
    if kind == "avi":
        return make_clip(path, codec="mjpeg", pix_fmt="yuvj420p", time_base=Fraction(1, 25))
    if kind == "webm":
        options = {"crf": "10", "deadline": "realtime"}
        return make_clip(path, codec="libvpx-vp9", options=options, time_base=Fraction(1, 1000))
    return make_clip(path, time_base=Fraction(1, {"mkv": 1000, "ts": 90_000}.get(kind, 12_800)))


def write_image(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    bgr = image[..., ::-1] if image.ndim == 3 else image
    path.write_bytes(cv2.imencode(path.suffix, bgr)[1].tobytes())
    return path


def read(path: Path, **options: float) -> tuple[Source, list[Frame]]:
    with open_source(path, **options) as source:
        return source, list(source)


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_arrives_once_in_order(kind: str, tmp_path: Path) -> None:
    path = make(kind, tmp_path)
    source, frames = read(path)
    count = 1 if kind == "image" else 10
    assert [number_of(frame.data) for frame in frames] == list(range(count))
    assert source.format.frames == count
    assert all(b.pts > a.pts for a, b in itertools.pairwise(frames))
    assert source.lost == 0
    assert source.path == path
    assert source.still == (kind in ("image", "folder"))
    assert all(frame.time_base == source.format.time_base for frame in frames)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_contiguous_and_as_announced(kind: str, tmp_path: Path) -> None:
    source, frames = read(make(kind, tmp_path))
    for frame in frames:
        assert frame.data.shape == (source.format.height, source.format.width, 3) == (48, 64, 3)
        assert frame.data.flags.c_contiguous
    for one, two in itertools.pairwise(frames):
        assert not np.shares_memory(one.data, two.data)


@pytest.mark.parametrize("kind", KINDS)
def test_close_twice_is_fine_and_a_source_is_read_once(kind: str, tmp_path: Path) -> None:
    with open_source(make(kind, tmp_path)) as source:
        assert len(list(source)) > 0
        with pytest.raises(UsageError, match="once"):
            iter(source)
        source.close()
    source.close()


VARIABLE = [0, 512, 1100, 1101, 3000, 5555, 9000]


@pytest.mark.parametrize(
    ("name", "time_base", "pts"),
    [
        ("a.mp4", Fraction(1, 12_800), VARIABLE),
        ("late.mp4", Fraction(1, 90_000), [p + 12_345 for p in VARIABLE]),
        ("a.mov", Fraction(1, 600), [0, 20, 41, 60]),
        ("a.mkv", Fraction(1, 1000), [0, 33, 67, 100, 500, 501]),
        ("a.ts", Fraction(1, 90_000), [9000, 9001, 20_000, 90_000]),
    ],
)
def test_times_are_exactly_those_of_the_file(
    name: str, time_base: Fraction, pts: list[int], tmp_path: Path
) -> None:
    path = make_clip(tmp_path / name, time_base=time_base, pts=pts)
    reference = read_video(path)
    _, frames = read(path)
    if not name.endswith(".ts"):  # in .ts, FFmpeg adds the delay of B-frames to all pts
        assert reference.pts == pts
    assert [frame.pts for frame in frames] == reference.pts
    assert [frame.duration for frame in frames] == reference.durations
    assert {frame.time_base for frame in frames} == {reference.time_base} == {time_base}
    assert frames[0].duration > 0 or name.endswith(".ts")


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
def test_colours_are_those_of_the_tags(
    matrix: int, full: bool, pix_fmt: str, tmp_path: Path
) -> None:
    path = make_clip(
        tmp_path / "a.mp4",
        images=[patches()] * 2,
        pts=[0, 512],
        pix_fmt=pix_fmt,
        color=(2 if full else 1, matrix, 1, 1),
        options={"crf": "1"},
    )
    source, frames = read(path)
    assert np.abs(patch_colors(frames[-1].data) - PALETTE.astype(int)).max() <= 3
    assert source.format.color.matrix == matrix
    assert source.format.color.range == (2 if full else 1)
    assert source.warnings == []


@pytest.mark.parametrize(("height", "matrix"), [(48, 6), (720, 1)])
def test_an_unspecified_matrix_is_guessed_by_height(
    height: int, matrix: int, tmp_path: Path
) -> None:
    path = make_clip(tmp_path / "a.mp4", size=(64, height), frames=1, color=None)
    source, _ = read(path)
    assert source.format.color.matrix == matrix
    name = {1: "BT.709", 6: "BT.601"}[matrix]
    assert source.warnings == [
        f"the colour matrix is not specified; {name} is assumed from a height of {height}"
    ]


def test_an_infrared_cameras_gray_is_read(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", codec="ffv1", pix_fmt="gray", color=None)
    source, frames = read(path)
    assert [number_of(frame.data) for frame in frames] == list(range(10))
    assert source.format.pix_fmt == "gray"
    assert source.warnings == []


@pytest.mark.parametrize("size", [(63, 48), (64, 47), (33, 31)])
def test_odd_sizes_are_read(size: tuple[int, int], tmp_path: Path) -> None:
    source, frames = read(make_clip(tmp_path / "a.mp4", size=size, pix_fmt="yuv444p"))
    assert (source.format.width, source.format.height) == size
    assert frames[0].data.shape == (size[1], size[0], 3)


CORNER = np.zeros((48, 64, 3), np.uint8)
CORNER[:24, :32] = 200  # top left
CORNER[:24, 32:] = 100  # top right


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [(False, False), (True, False), (False, True)])
def test_the_display_matrix_is_applied(
    degrees: int, mirror: tuple[bool, bool], tmp_path: Path
) -> None:
    path = make_clip(
        tmp_path / "a.mp4",
        images=[CORNER],
        pts=[0],
        rotation=(degrees, *mirror),
        sar=Fraction(4, 3),
    )
    upright = np.rot90(CORNER, degrees // 90)  # counter-clockwise, as PyAV's degrees
    if mirror[0]:
        upright = upright[:, ::-1]
    if mirror[1]:
        upright = upright[::-1]
    source, frames = read(path)
    assert frames[0].data.shape == upright.shape
    assert np.abs(frames[0].data.astype(int) - upright).mean() < 4
    turned = degrees in (90, 270)
    assert source.format.sample_aspect_ratio == (Fraction(3, 4) if turned else Fraction(4, 3))
    assert (source.format.width, source.format.height) == ((48, 64) if turned else (64, 48))


def test_a_change_of_size_is_scaled_with_one_warning(tmp_path: Path) -> None:
    with (tmp_path / "both.ts").open("wb") as both:
        for name, size in [("a.ts", (64, 48)), ("b.ts", (128, 96))]:
            offset = 0 if name == "a.ts" else 90_000
            path = make_clip(
                tmp_path / name,
                size=size,
                time_base=Fraction(1, 90_000),
                pts=[offset + 3600 * i for i in range(5)],
            )
            both.write(path.read_bytes())
    source, frames = read(tmp_path / "both.ts")
    assert {frame.data.shape for frame in frames} == {(48, 64, 3)}
    assert len(frames) == 10
    assert sum("picture's size changes" in w for w in source.warnings) == 1


def test_frames_without_time_get_one_and_are_counted(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", options={"bf": "0", "crf": "20"})
    raw = tmp_path / "a.h264"
    with av.open(str(clip)) as source, av.open(str(raw), "w") as output:
        copy = output.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    opened, frames = read(raw)
    assert [number_of(frame.data) for frame in frames] == list(range(10))
    steps = {b.pts - a.pts for a, b in itertools.pairwise(frames)}
    assert len(steps) == 1
    assert steps.pop() > 0
    assert opened.lost == 0


@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(
    ("start", "duration", "numbers"),
    [
        (0.0, 0.2, range(0, 5)),
        (0.28, None, range(7, 40)),
        (0.79, 0.1, range(20, 23)),
        (1.56, None, range(39, 40)),
        (1.2, 60.0, range(30, 40)),
    ],
)
def test_a_part_of_a_video(
    kind: str, start: float, duration: float | None, numbers: range, tmp_path: Path
) -> None:
    base = Fraction(1, {"mkv": 1000, "ts": 90_000}.get(kind, 12_800))
    path = make_clip(tmp_path / f"a.{kind}", frames=40, time_base=base)
    with open_source(path, start=start, duration=duration) as source:
        frames = list(source)
    assert [number_of(frame.data) for frame in frames] == list(numbers)
    assert 0 <= frames[0].time < Fraction(1, 25)
    assert source.format.frames is not None
    assert abs(source.format.frames - len(numbers)) <= 1


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"start": -1}, UsageError, "start=-1"),
        ({"start": float("nan")}, UsageError, "start=nan"),
        ({"duration": 0}, UsageError, "duration=0"),
        ({"start": 99}, InputError, r"no frame from start=99 s on; it lasts 0\.4 s"),
    ],
)
def test_impossible_times_are_refused(
    options: dict[str, float], error: type[StreamkindError], text: str, clip: Path
) -> None:
    with pytest.raises(error, match=text):
        open_source(clip, **options)


def test_a_part_between_two_frames_is_told_to_be_too_short(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", frames=3, time_base=Fraction(1, 10), pts=[0, 10, 20])
    with pytest.raises(InputError, match=r"for duration=0\.2 s; .* or a longer duration"):
        open_source(path, start=0.5, duration=0.2)


def test_times_are_not_for_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="start and duration are for videos"):
        open_source(make("folder", tmp_path), start=1)


@pytest.mark.parametrize("fps", [None, 5.0])
def test_pictures_have_no_second_stream(tmp_path: Path, fps: float | None) -> None:
    folder = make("folder", tmp_path)
    with pytest.raises(UsageError, match=r"video-stream=4: .* has a single video, of pictures"):
        open_source(folder, video_stream=4, fps=fps)
    with open_source(folder, video_stream=0, fps=fps) as source:
        assert next(iter(source)).data.size


def encrypted(path: Path) -> Path:
    key = "00112233445566778899aabbccddeeff"
    scheme = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": key, "encryption_kid": key}
    return make_clip(path, container_options=scheme)


def sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        sound.codec_context.layout = "mono"
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    return path


def bad_input(kind: str, folder: Path) -> Path:
    path = folder / "bad.mp4"
    if kind == "a folder without images":
        path.mkdir()
        (path / "notes.txt").write_text("nothing here")
    elif kind == "empty":
        path.touch()
    elif kind == "no moov":
        data = make_clip(path).read_bytes()
        path.write_bytes(data[: data.rindex(b"moov") - 4])
    elif kind == "sound only":
        sound_only(path)
    elif kind == "encrypted":
        encrypted(path)
    elif kind == "text":
        path.write_text("this is no video\n" * 100)
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(1).bytes(5000))
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "broken image":
        path = folder / "bad.png"
        path.write_bytes(b"\x89PNG no")
    elif kind == "unreadable":
        make_clip(path).chmod(0)
    return path


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("missing", "no such file"),
        ("a folder without images", "no images in this folder"),
        ("empty", "the file is empty"),
        ("no moov", "moov"),
        ("sound only", "no video in it, only audio"),
        ("encrypted", "encrypted"),
        ("text", "not a video that FFmpeg can open"),
        ("noise", "not a video that FFmpeg can open"),
        ("a pipe", "not a regular file"),
        ("broken image", "a PNG that is damaged or cut off .its header"),
        ("unreadable", "permissions"),
    ],
)
def test_bad_input_is_one_clear_line(kind: str, text: str, tmp_path: Path) -> None:
    if kind == "unreadable" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = bad_input(kind, tmp_path)
    with pytest.raises(InputError, match=text) as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def corrupt(path: Path, numbers: list[int]) -> None:
    """Overwrite the middle of some packets of the video."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        places = [(packets[n].pos, packets[n].size) for n in numbers]
    data = bytearray(path.read_bytes())
    for place, size in places:
        data[place + 4 : place + size] = b"\xff" * (size - 4)
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_damage_in_the_middle_costs_only_the_damaged_frames(kind: str, tmp_path: Path) -> None:
    base = Fraction(1, 1000 if kind == "mkv" else 12_800)
    x264 = {"g": "1", "crf": "10", "threads": "1"}  # every frame is a keyframe
    path = make_clip(tmp_path / f"a.{kind}", frames=30, time_base=base, options=x264)
    corrupt(path, [8, 9, 20])
    source, frames = read(path)
    assert [number_of(frame.data) for frame in frames] == [
        n for n in range(30) if n not in (8, 9, 20)
    ]
    assert source.lost == 3
    assert any("3 of about 30 frames could not be decoded" in w for w in source.warnings)


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
def test_a_truncated_file_gives_what_it_has_and_counts_the_rest(kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (40, 48, 64, 3), np.uint8)
    path = make_clip(
        tmp_path / f"a.{kind}",
        images=list(noise),
        pts=[40 * i for i in range(40)],
        time_base=Fraction(1, 1000),
        container_options={"movflags": "+faststart"} if kind == "mp4" else {},
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    source, frames = read(path)
    assert 12 < len(frames) < 28
    assert source.lost == 40 - len(frames)
    assert any("cut off" in warning for warning in source.warnings)


def test_cover_art_is_not_taken_for_the_video(tmp_path: Path) -> None:
    source, frames = read(make_clip(tmp_path / "a.mp4", cover=True))
    assert len(frames) == 10
    assert source.format.width == 64


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tiff"])
def test_images_with_names_of_any_script(suffix: str, tmp_path: Path) -> None:
    path = write_image(tmp_path / f"夜の写真 é{suffix}", picture(7))
    _, frames = read(path)
    assert [number_of(frame.data) for frame in frames] == [7]


def test_videos_with_names_that_look_like_protocols(tmp_path: Path) -> None:
    path = tmp_path / "夜: 100%d [a].mp4"
    shutil.move(make_clip(tmp_path / "a.mp4"), path)
    assert len(read(path)[1]) == 10


def test_the_url_of_a_file_becomes_a_path_as_the_system_writes_it(monkeypatch) -> None:
    assert as_path("file:///tmp/a%20b.mp4") == Path("/tmp/a b.mp4")
    monkeypatch.setattr("urllib.request.url2pathname", lambda path: path.removeprefix("/"))
    assert as_path("file:///C:/a.mp4") == Path("C:/a.mp4")  # on Windows


def test_sixteen_bit_gray_and_alpha_images(tmp_path: Path) -> None:
    deep = picture(9).astype(np.uint16) * 257
    folder = write_image(tmp_path / "in" / "a.png", deep).parent
    write_image(folder / "b.png", picture(9)[..., 0])
    alpha = np.dstack([picture(9), np.zeros((48, 64), np.uint8)])
    (folder / "c.png").write_bytes(cv2.imencode(".png", alpha)[1].tobytes())
    _, frames = read(folder)
    assert [number_of(frame.data) for frame in frames] == [9, 9, 9]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.jpg", CORNER)
    data = path.read_bytes()
    entry = b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"  # orientation 6: turn clockwise
    body = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + data[2:])
    _, frames = read(path)
    assert frames[0].data.shape == (64, 48, 3)
    assert np.abs(frames[0].data.astype(int) - np.rot90(CORNER, -1)).mean() < 4


def test_a_folder_skips_what_is_no_image_and_counts_what_is_broken(tmp_path: Path) -> None:
    folder = make("folder", tmp_path)
    write_image(folder / "wide.png", picture(3, 80, 20))
    (folder / "000.png").write_bytes(b"broken")
    (folder / "004.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    (folder / "._001.png").write_bytes(b"a Mac was here")
    source, frames = read(folder)
    assert isinstance(source, ImageSource)
    assert [number_of(frame.data) for frame in frames] == [1, 2, 3, 5, 6, 7, 8, 9, 3]
    assert frames[-1].data.shape == (20, 80, 3)
    assert source.lost == 2
    assert len(source.warnings) == 2
    assert "000.png" in source.warnings[0]


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    import tracemalloc

    path = make_clip(tmp_path / "a.mp4", frames=200)
    tracemalloc.start()
    with open_source(path) as source:
        assert isinstance(source, VideoSource)
        for _ in source:
            pass
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30 * 64 * 48 * 3
