from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from support.media import PALETTE, make_clip, number_of, patch_colors, patches, picture, read_video

from streamkind.errors import OutputError, StreamkindError, UsageError
from streamkind.platform import schedulings
from streamkind.video.frames import Batch, Frame, batched
from streamkind.video.mux import PacketTimes
from streamkind.video.publish import Staging
from streamkind.video.sink import open_sink
from streamkind.video.source import VideoSource, open_source
from streamkind.video.storage import write_whole
from streamkind.video.threads import ReadAhead, WriteBehind


def copy(path: Path, output: Path, **options: Any) -> tuple[list[str], list[str]]:
    """Copy all frames without change; return the warnings of source and sink."""
    with open_source(path) as source, open_sink(output, source, **options) as sink:
        for frame in source:
            sink.write(frame)
    return source.warnings, sink.warnings


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


VARIABLE = [0, 512, 1100, 1101, 3000, 5555, 9000]


@pytest.mark.parametrize("codec", ["h264", "hevc"])
@pytest.mark.parametrize(
    ("name", "time_base", "pts"),
    [
        ("a.mp4", Fraction(1, 12_800), VARIABLE),
        ("late.mp4", Fraction(1, 90_000), [p + 12_345 for p in VARIABLE]),
        ("ntsc.mp4", Fraction(1, 30_000), [1001 * i for i in range(12)]),
        ("a.mov", Fraction(1, 600), [0, 20, 41, 60]),
        ("a.mkv", Fraction(1, 1000), [0, 33, 67, 100, 500, 501]),
        ("late.mkv", Fraction(1, 1000), [5000, 5033, 5067]),
        ("a.ts", Fraction(1, 90_000), [9000, 9001, 20_000, 90_000]),
        ("one.mp4", Fraction(1, 12_800), [0]),
    ],
)
def test_times_are_kept_exactly(
    name: str, time_base: Fraction, pts: list[int], codec: str, tmp_path: Path
) -> None:
    path = make_clip(tmp_path / name, time_base=time_base, pts=pts)
    output = tmp_path / f"out_{name}"
    copy(path, output, codec=codec, preset="ultrafast")
    before, after = read_video(path), read_video(output)
    # A file begins at 0. A transport stream begins at the time that FFmpeg chooses.
    begin = after.pts[0] if name == "a.ts" else 0
    assert after.pts == [begin + stamp - before.pts[0] for stamp in before.pts]
    assert after.time_base == before.time_base == time_base
    assert [number_of(image) for image in after.images] == list(range(len(pts)))


@pytest.mark.parametrize(("before", "after"), [("mp4", "mkv"), ("mkv", "mp4"), ("ts", "mp4")])
def test_another_container_keeps_times_to_its_precision(
    before: str, after: str, tmp_path: Path
) -> None:
    base = Fraction(1, {"mkv": 1000, "ts": 90_000}.get(before, 12_800))
    pts = [round(p * base.denominator / 12_800) for p in VARIABLE[:3] + VARIABLE[4:]]
    path = make_clip(tmp_path / f"a.{before}", time_base=base, pts=pts)
    output = tmp_path / f"out.{after}"
    copy(path, output)
    one, two = read_video(path), read_video(output)
    assert len(one.pts) == len(two.pts)
    for a, b in zip(one.pts, two.pts, strict=True):
        time = (a - one.pts[0]) * one.time_base
        assert abs(time - b * two.time_base) <= two.time_base / 2


def test_the_last_frame_keeps_its_duration(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "a.mp4", frames=4, last_duration=5000, options={"bf": "0", "crf": "20"}
    )
    assert read_video(path).durations == [512, 512, 512, 5000]
    copy(path, tmp_path / "out.mp4")
    with av.open(str(path)) as one, av.open(str(tmp_path / "out.mp4")) as two:
        assert one.streams.video[0].duration == two.streams.video[0].duration == 3 * 512 + 5000


@pytest.mark.parametrize("garbage", [2**62, -(2**62), None, 5])
def test_decoding_times_that_the_encoder_left_out_are_made_up(garbage: int | None) -> None:
    times = PacketTimes(Fraction(1, 1000))
    order = [0, 3, 1, 2]  # in the order of decoding
    for pts in range(4):
        times.expect(pts, 1)
    packets = []
    for pts in order:
        packet = av.Packet(b"x")
        packet.pts, packet.dts = pts, garbage
        times.complete(packet)
        packets.append(packet)
    assert all(packet.dts <= packet.pts for packet in packets)
    assert all(a.dts < b.dts for a, b in itertools.pairwise(packets))
    assert [packet.duration for packet in packets] == [1, 1, 1, 1]


def test_frames_with_another_time_base_begin_at_0_too(tmp_path: Path) -> None:
    stamps = [180_000 + 3600 * n for n in range(5)]
    path = make_clip(tmp_path / "a.ts", time_base=Fraction(1, 90_000), pts=stamps)
    micro = Fraction(1, 1_000_000)
    with open_source(path) as source, open_sink(tmp_path / "b.mp4", source) as sink:
        for frame in source:
            assert frame.time > 1
            sink.write(Frame(frame.data, round(frame.time / micro), micro))
    video = read_video(tmp_path / "b.mp4")
    assert [pts * video.time_base for pts in video.pts] == [Fraction(n, 25) for n in range(5)]


def test_avi_counts_frames(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    copy(path, tmp_path / "out.avi")
    after = read_video(tmp_path / "out.avi")
    assert [number_of(image) for image in after.images] == list(range(10))
    assert {b - a for a, b in itertools.pairwise(after.pts)} == {1}


def test_pictures_before_zero_are_kept_though_moved(clip: Path, tmp_path: Path) -> None:
    with open_source(clip) as source:
        assert isinstance(source, VideoSource)
        source.start_pts = -1024
        with open_sink(tmp_path / "out.mp4", source) as sink:
            for frame in source:
                sink.write(replace(frame, pts=frame.pts - 1024))
    after = read_video(tmp_path / "out.mp4")
    assert [number_of(image) for image in after.images] == list(range(10))
    assert {b - a for a, b in itertools.pairwise(after.pts)} == {512}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "h264"), ("a.mkv", "hevc")])
def test_colours_and_tags_survive(
    name: str, codec: str, matrix: int, full: bool, tmp_path: Path
) -> None:
    color = (2 if full else 1, matrix, 6, 1)
    base = Fraction(1, 1000)
    path = make_clip(
        tmp_path / name,
        images=[patches()] * 2,
        pts=[0, 40],
        time_base=base,
        color=color,
        options={"crf": "1"},
    )
    copy(path, tmp_path / f"out_{name}", codec=codec, crf=1, preset="ultrafast")
    before, after = read_video(path), read_video(tmp_path / f"out_{name}")
    assert after.color == before.color == color
    first, last = patch_colors(before.images[-1]), patch_colors(after.images[-1])
    # Rounding twice to 8-bit chroma; the widest gamut has the coarsest steps.
    assert np.abs(first - last).max() <= (3 if matrix == 9 else 2)
    assert np.abs(PALETTE.astype(int) - last).max() <= 4


def test_yuvj_is_full_range(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "a.mkv",
        codec="mjpeg",
        pix_fmt="yuvj420p",
        images=[patches()] * 2,
        pts=[0, 40],
        time_base=Fraction(1, 1000),
        color=None,
        options={"flags": "+qscale", "global_quality": "118"},
    )
    copy(path, tmp_path / "out.mkv", crf=1)
    before, after = read_video(path), read_video(tmp_path / "out.mkv")
    assert before.color[0] == after.color[0] == 2
    assert np.abs(patch_colors(before.images[-1]) - patch_colors(after.images[-1])).max() <= 3


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("h264", "yuv444p"), ("hevc", "yuv444p"), ("vp9", "yuv420p")]
)
@pytest.mark.parametrize("size", [(63, 48), (64, 47), (63, 47)])
def test_odd_sizes_are_kept(
    size: tuple[int, int], codec: str, pix_fmt: str, tmp_path: Path
) -> None:
    path = make_clip(tmp_path / "a.mp4", size=size, frames=3, pix_fmt="yuv444p")
    copy(path, tmp_path / "out.mp4", codec=codec)
    after = read_video(tmp_path / "out.mp4")
    assert after.size == size
    even_width = size[0] % 2 == 0
    assert after.pix_fmt == ("yuv422p" if pix_fmt == "yuv444p" and even_width else pix_fmt)
    assert [number_of(image) for image in after.images] == [0, 1, 2]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
@pytest.mark.parametrize("degrees", [0, 90])
def test_rotation_is_applied_and_its_tag_dropped(degrees: int, name: str, tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / name,
        time_base=Fraction(1, 1000),
        rotation=(degrees, False, False) if degrees else None,
        sar=Fraction(4, 3),
    )
    copy(path, tmp_path / f"out_{name}")
    after = read_video(tmp_path / f"out_{name}")
    assert not after.rotated
    assert after.size == ((48, 64) if degrees else (64, 48))
    assert after.sar == (Fraction(3, 4) if degrees else Fraction(4, 3))


def test_side_by_side_is_twice_as_wide(clip: Path, tmp_path: Path) -> None:
    with (
        open_source(clip) as source,
        open_sink(tmp_path / "out.mp4", source, side_by_side=True) as sink,
    ):
        for frame in source:
            sink.write(replace(frame, data=np.hstack([frame.data, frame.data])))
    after = read_video(tmp_path / "out.mp4")
    assert after.size == (128, 48)
    assert number_of(after.images[5]) == 5


@pytest.mark.parametrize(
    ("codec", "name"),
    [("h264", "h264"), ("h265", "hevc"), ("vp9", "vp9"), ("av1", "libdav1d"), ("mpeg4", "mpeg4")],
)
def test_each_codec_writes_all_frames_in_order(
    codec: str, name: str, clip: Path, tmp_path: Path, capfd: Any
) -> None:
    copy(clip, tmp_path / "out.mkv", codec=codec)
    after = read_video(tmp_path / "out.mkv")
    assert after.codec == name
    assert [number_of(image) for image in after.images] == list(range(10))
    assert capfd.readouterr().err == ""


def test_crf_and_preset_do_something(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (5, 48, 64, 3), np.uint8)
    path = make_clip(tmp_path / "a.mp4", images=list(noise), pts=[512 * i for i in range(5)])
    sizes = {}
    for crf, preset in [(10, "medium"), (40, "medium"), (40, "ultrafast")]:
        output = tmp_path / f"{crf}{preset}.mp4"
        copy(path, output, crf=crf, preset=preset)
        sizes[crf, preset] = output.stat().st_size
    assert sizes[10, "medium"] > 2 * sizes[40, "medium"]
    assert sizes[40, "ultrafast"] != sizes[40, "medium"]


@pytest.mark.parametrize(
    ("name", "options", "error", "text"),
    [
        ("out.mp4", {"codec": "nope"}, UsageError, "no such video encoder; try h264, hevc"),
        ("out.mp4", {"codec": "aac"}, UsageError, "encodes audio, not video"),
        ("out.mp4", {"crf": 99}, UsageError, "crf=99"),
        ("out.mp4", {"crf": -1}, UsageError, "crf=-1"),
        ("out.mp4", {"crf": 52}, UsageError, "crf=52: expected 0 .best. to 51"),
        ("out.mp4", {"crf": 52, "codec": "hevc"}, UsageError, "to 51 .smallest. for libx265"),
        ("out.mp4", {"crf": 64, "codec": "av1"}, UsageError, "crf=64: expected 0 .best. to 63"),
        ("out.mp4", {"preset": "warp"}, UsageError, "preset='warp': libx264 knows ultrafast"),
        ("out.mkv", {"codec": "mpeg4", "preset": "fast"}, UsageError, "has no presets"),
        ("out.mp4", {"codec": "h264_nvenc"}, OutputError, "25 frames a second .* ending in .mkv"),
        ("out.webm", {}, UsageError, "the format webm cannot hold it; try codec"),
        ("out.xyz", {}, UsageError, "unknown kind of file"),
        ("out", {}, UsageError, "unknown kind of file"),
        ("out.png", {}, UsageError, "the input is a video"),
        ("none/out.mp4", {}, OutputError, "create it first"),
        ("clip.mp4", {}, UsageError, "the same file"),
        ("link.mp4", {}, UsageError, "the same file"),
        ("hard.mp4", {}, UsageError, "the same file"),
        ("folder.mp4", {}, UsageError, "is a folder"),
    ],
)
def test_impossible_options_are_refused_at_once(
    name: str,
    options: dict[str, Any],
    error: type[StreamkindError],
    text: str,
    clip: Path,
    tmp_path: Path,
) -> None:
    if options.get("codec") == "h264_nvenc" and Path("/dev/nvidiactl").exists():
        pytest.skip("there is a card here")
    (tmp_path / "link.mp4").symlink_to(clip)
    os.link(clip, tmp_path / "hard.mp4")
    (tmp_path / "folder.mp4").mkdir()
    before = listing(tmp_path)
    with open_source(clip) as source, pytest.raises(error, match=text) as caught:
        open_sink(tmp_path / name, source, **options)
    assert "\n" not in str(caught.value)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_an_exception_leaves_nothing_and_keeps_what_was_there(
    suffix: str, error: type[BaseException], clip: Path, tmp_path: Path
) -> None:
    output = tmp_path / f"out.{suffix}"
    output.write_text("precious")
    before = listing(tmp_path)
    with pytest.raises(error), open_source(clip) as source, open_sink(output, source) as sink:
        for number, frame in enumerate(source):
            sink.write(frame)
            assert listing(tmp_path) > before
            if number == 5:
                raise error
    assert listing(tmp_path) == before
    assert output.read_text() == "precious"


def test_a_place_that_cannot_be_looked_at_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot be written \(.+\); check the folder"):
        write_whole(tmp_path / f"{'long' * 100}.json", b"x")


def test_the_result_appears_complete_with_normal_permissions(clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    output.write_text("old")
    umask = os.umask(0o027)
    try:
        with open_source(clip) as source, open_sink(output, source) as sink:
            for frame in source:
                sink.write(frame)
                assert output.read_text() == "old"
            hidden = listing(tmp_path) - {"clip.mp4", "out.mp4"}
            assert all(name.startswith(".") for name in hidden)
            assert {Path(name).suffix for name in hidden} == {".mp4", ".nut"}
    finally:
        os.umask(umask)
    assert output.stat().st_mode & 0o777 == 0o640
    assert listing(tmp_path) == {"clip.mp4", "out.mp4"}
    data = output.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_a_folder_that_may_be_written_to_but_not_read_takes_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging, real = Staging(tmp_path / "out.mp4"), os.open
    staging.path.write_text("new")

    def refuse(path: Path, *options: Any) -> int:
        if Path(path) == tmp_path:
            raise PermissionError(13, "Permission denied")
        return real(path, *options)

    monkeypatch.setattr(os, "open", refuse)
    staging.publish()
    assert (tmp_path / "out.mp4").read_text() == "new"


FULL_DISK = """
import resource, sys
from pathlib import Path
from streamkind.errors import OutputError
from streamkind.video.mux import PacketTimes
from streamkind.video.publish import Staging
from streamkind.video.sink import open_sink
from streamkind.video.source import open_source
clip, output = Path(sys.argv[1]), Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    with open_source(clip) as source, open_sink(output, source, crf=0) as sink:
        for frame in source:
            sink.write(frame)
except OutputError as error:
    print(error)
    sys.exit(7)
"""


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("room", [100, 40_000])
def test_a_full_disk_is_an_output_error_that_leaves_nothing(
    room: int, suffix: str, tmp_path: Path
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (20, 48, 64, 3), np.uint8)
    clip = make_clip(
        tmp_path / "clip.mp4", images=list(noise), pts=[512 * i for i in range(20)], audio="aac"
    )
    output = tmp_path / f"out.{suffix}"
    command = [sys.executable, "-c", FULL_DISK, str(clip), str(output), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 7, done.stderr
    assert "writing failed (File too large), nothing was kept; free some space" in done.stdout
    assert done.stderr == ""
    assert listing(tmp_path) == {"clip.mp4"}


def test_threads_together(clip: Path, tmp_path: Path) -> None:
    with (
        open_source(clip) as source,
        open_sink(tmp_path / "out.mp4", source) as sink,
        ReadAhead(source) as frames,
        WriteBehind(sink) as output,
    ):
        for batch in batched(frames, 4):
            output.put(batch.replace(batch.pixels))
    after = read_video(tmp_path / "out.mp4")
    assert [number_of(image) for image in after.images] == list(range(10))


def test_nothing_is_published_if_the_writer_fails(clip: Path, tmp_path: Path) -> None:
    wrong = Frame(np.zeros((48, 64, 3), np.uint8), 10**30, Fraction(1, 12_800))
    with (
        pytest.raises(OverflowError),
        open_source(clip) as source,
        open_sink(tmp_path / "out.mp4", source) as sink,
        WriteBehind(sink) as output,
    ):
        output.put(Batch(wrong.data[None], (wrong,)))
    assert listing(tmp_path) == {"clip.mp4"}


def folder_of_images(folder: Path, *, suffix: str = ".png") -> Path:
    folder.mkdir()
    for number in range(3):
        image = picture(number, 64 + 16 * number, 48)
        (folder / f"夜{number}{suffix}").write_bytes(cv2.imencode(suffix, image)[1].tobytes())
    return folder


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_a_folder_becomes_a_folder_of_the_same_names(suffix: str, tmp_path: Path) -> None:
    folder = folder_of_images(tmp_path / "in", suffix=suffix)
    (tmp_path / "out").mkdir()
    copy(folder, tmp_path / "out")
    assert listing(tmp_path / "out") == listing(folder)
    assert listing(tmp_path) == {"in", "out"}
    with open_source(tmp_path / "out") as source:
        frames = list(source)
    assert [number_of(frame.data) for frame in frames] == [0, 1, 2]
    assert [frame.data.shape[1] for frame in frames] == [64, 80, 96]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
def test_an_image_becomes_an_image(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", patches()[..., ::-1])[1].tobytes())
    output = tmp_path / f"out{suffix}"
    copy(path, output)
    with open_source(output) as source:
        (frame,) = source
    assert np.abs(patch_colors(frame.data) - PALETTE.astype(int)).max() <= 6
    assert listing(tmp_path) == {"a.png", output.name}


@pytest.mark.parametrize(
    ("source_name", "name", "text"),
    [
        ("in", "full", "exists already; expected a new or an empty folder"),
        ("in", "in", "the same file"),
        ("in", "file.txt", "exists already"),
        ("in", "none/out", "create it first"),
        ("in/夜0.png", "out.mp4", "the input is an image"),
        ("in/夜0.png", "in/夜0.png", "the same file"),
    ],
)
def test_image_outputs_that_cannot_work(
    source_name: str, name: str, text: str, tmp_path: Path
) -> None:
    folder_of_images(tmp_path / "in")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    (tmp_path / "file.txt").touch()
    before = listing(tmp_path)
    with open_source(tmp_path / source_name) as source, pytest.raises(StreamkindError, match=text):
        open_sink(tmp_path / name, source)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("name", ["in", "in/夜1.png"])
def test_an_exception_leaves_no_images(name: str, tmp_path: Path) -> None:
    folder_of_images(tmp_path / "in")
    with (
        pytest.raises(KeyboardInterrupt),
        open_source(tmp_path / name) as source,
        open_sink(tmp_path / "out.png", source) as sink,
    ):
        sink.write(next(iter(source)))
        raise KeyboardInterrupt
    assert listing(tmp_path) == {"in"}


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
def test_an_encoder_takes_no_priority_over_other_programs(tmp_path, clip, codec):
    """Check the priority of threads: as root, SVT-AV1 sets a real-time priority for some.

    These are its own threads, and the thread that opens it.
    """
    before = set(schedulings().values())
    with (
        open_source(clip) as source,
        open_sink(tmp_path / "out.mkv", source, codec=codec) as sink,
    ):
        for frame in source:
            sink.write(frame)
        assert set(schedulings().values()) == before


@pytest.mark.parametrize("size", [(64, 48), (320, 240)])
def test_the_same_frames_become_the_same_packets(size: tuple[int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 100, (*size[::-1], 3)).astype(np.uint8) for _ in range(30)]
    path = make_clip(tmp_path / "in.mkv", images=images, frames=30, size=size)
    written = set()
    for number in range(12):
        copy(path, output := tmp_path / f"{number}.mp4")
        written.add(output.read_bytes())
    assert len(written) == 1
