"""Files with more than one video stream, and videos with transparency."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
from support.media import make_clip, number_of, read_video

from streamkind.errors import UsageError
from streamkind.pipeline import enhance
from streamkind.video.source import open_source


def two_cameras(path: Path, **options: str) -> Path:
    """Write a clip with two videos. The first is 64x48, the second 32x32."""
    return make_clip(path, second_video=True, **options)


def videos_of(path: Path) -> list[tuple[tuple[int, int], list[float], float]]:
    """Return size, times in seconds and mean level of each video of a file."""
    found = []
    with av.open(str(path)) as container:
        count = len(container.streams.video)
    for number in range(count):
        with av.open(str(path)) as container:
            frames = list(container.decode(container.streams.video[number]))
            level = np.mean([frame.to_ndarray(format="gray").mean() for frame in frames])
            size = frames[0].width, frames[0].height
            found.append((size, [float(f.pts * f.time_base) for f in frames], level))
    return found


def types_of(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.type for stream in container.streams]


def late_camera(path: Path) -> Path:
    """Write two videos. The second begins 0.2 s after the first, and lasts as long."""
    words = ["-v", "error", "-f", "lavfi", "-i", "color=0x202020:s=64x48:r=25:d=1"]
    words += ["-itsoffset", "0.2", "-f", "lavfi", "-i", "color=0x303030:s=32x32:r=10:d=1"]
    words += [
        "-map",
        "0",
        "-map",
        "1",
        "-fps_mode",
        "passthrough",
        "-c:v",
        "libx264",
        "-g",
        "50",
        "-pix_fmt",
        "yuv420p",
    ]
    subprocess.run(["ffmpeg", *words, path], check=True)
    return path


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov", ".ts", ".avi"])
def test_all_videos_are_enhanced_with_their_times(tmp_path, ending):
    path, output = late_camera(tmp_path / "in.mp4"), tmp_path / f"out{ending}"
    report = enhance(path, output, ratio=4.0, preset="ultrafast", profile="realtime")
    assert not [warning for warning in report.warnings if "copied" in warning]
    before, after = videos_of(path), videos_of(output)
    assert report.frames == sum(len(times) for _, times, _ in before)
    assert [size for size, *_ in after] == [size for size, *_ in before]
    for (_, times, level), (_, kept, raised) in zip(before, after, strict=True):
        assert raised > 1.5 * level
        if ending != ".avi":  # AVI stores no time stamps, and begins at 0
            begin = min(after[0][1][0], after[1][1][0])  # FFmpeg begins a TS at 1.4 s
            assert [round(t - begin, 3) for t in kept] == pytest.approx(times, abs=2e-3)
    assert [p.name for p in tmp_path.iterdir() if p not in (path, output)] == []


def test_a_part_is_the_same_part_of_all_videos(tmp_path):
    path, output = late_camera(tmp_path / "in.mp4"), tmp_path / "out.mkv"
    enhance(path, output, profile="realtime", ratio=4.0, start=0.3, duration=0.5, side_by_side=True)
    (size, times, _), (small, later, _) = videos_of(output)
    assert (size, small) == ((128, 48), (64, 32))
    assert times == pytest.approx([n / 25 - 0.02 for n in range(1, 13)], abs=0.021)
    assert later == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=2e-3)


def test_a_part_that_one_video_does_not_reach(tmp_path):
    path, output = late_camera(tmp_path / "in.mp4"), tmp_path / "out.mkv"
    report = enhance(path, output, profile="realtime", ratio=4.0, start=0.9, video_stream=1)
    assert report.frames == 1
    report = enhance(path, tmp_path / "other.mkv", ratio=4.0, start=0.0, duration=0.1)
    assert any("stream #1 is left out: it has no frame" in warning for warning in report.warnings)


@pytest.mark.parametrize("video_stream", [None, 0])
@pytest.mark.parametrize("ending", ["mkv", "ts"])
def test_a_video_without_a_frame_is_reported_once(tmp_path, ending, video_stream):
    clip, path = make_clip(tmp_path / "in.mp4", audio="aac"), tmp_path / f"empty.{ending}"
    with av.open(str(clip)) as whole, av.open(str(path), "w") as output:
        of = {s.index: output.add_stream_from_template(s) for s in whole.streams}
        output.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux():
            if packet.dts is not None:
                packet.stream = of[packet.stream_index]
                output.mux(packet)
    report = enhance(path, tmp_path / "out.mp4", ratio=4.0, video_stream=video_stream)
    assert len([note for note in report.warnings if "#" in note]) == 1
    assert types_of(tmp_path / "out.mp4") == types_of(clip)


def test_an_enhancement_layer_is_no_second_camera(tmp_path):
    path = tmp_path / "in.mp4"
    words = ["-f", "lavfi", "-i", "testsrc=s=128x96:r=25:d=0.2", "-map", "0", "-map", "0"]
    hevc = ["-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p"]
    subprocess.run(["ffmpeg", "-v", "error", *words, *hevc, path], check=True)
    head, _, rest = path.read_bytes().rpartition(b"hev1")
    path.write_bytes(head + b"dvhe" + rest)  # the codec tag of Dolby Vision
    report = enhance(path, tmp_path / "out.mp4", ratio=4.0)
    notes = [note for note in report.warnings if "#" in note]
    assert len(notes) == 1 and "enhancement layer" in notes[0]
    assert [size for size, *_ in videos_of(tmp_path / "out.mp4")] == [(128, 96)]


def test_each_video_has_its_own_light_and_first_pass(tmp_path):
    path = two_cameras(tmp_path / "in.mp4", audio="aac")
    seen = []
    report = enhance(
        path,
        tmp_path / "out.mp4",
        profile="realtime",
        two_pass=True,
        progress=lambda r: seen.append(r.surveyed),
    )
    assert seen.count(10) > 1  # two first passes, of 10 frames each
    assert (report.frames, report.total) == (20, 20)
    assert types_of(tmp_path / "out.mp4") == types_of(path)


@pytest.mark.parametrize("stage", ["first video", "second video"])
def test_nothing_is_left_of_a_run_that_fails(tmp_path, stage):
    path = two_cameras(tmp_path / "in.mp4")

    def fail(report):
        if report.frames >= (15 if stage == "second video" else 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        enhance(path, tmp_path / "out.mp4", ratio=3.0, profile="realtime", progress=fail)
    assert list(tmp_path.iterdir()) == [path]


def test_messages_on_streams_come_once_and_before_the_work(call, tmp_path):
    path = two_cameras(tmp_path / "in.mkv", audio="aac", subtitles="subrip", attachment=b"font")
    seen = []
    enhance(
        path,
        tmp_path / "a.avi",
        ratio=1.0,
        profile="realtime",
        progress=lambda r: seen.append((r.frames, r.early)),
    )
    frames, early = seen[0]
    assert frames == 0
    assert sum("the format avi" in warning for warning in early) == 2
    code, _, err = call(
        "enhance", path, tmp_path / "b.avi", "--ratio", "1", "--profile", "realtime"
    )
    assert code == 0
    for line in early:
        assert err.count(line) == 1
        assert err.index(line) < err.index(" frames in ")


@pytest.mark.parametrize("wanted", [0, 1])
def test_one_video_is_enhanced_and_a_message_names_the_other(call, tmp_path, wanted):
    path = two_cameras(tmp_path / "in.mp4")
    words = ["--ratio", "3", "--profile", "realtime", "--video-stream", wanted]
    code, _, err = call("enhance", path, tmp_path / "out.mp4", *words)
    assert code == 0, err
    copied = 1 - wanted
    assert f"stream #{wanted} is enhanced; other videos are copied unchanged: #{copied}" in err
    with av.open(str(tmp_path / "out.mp4")) as before, av.open(str(path)) as after:
        assert [(s.width, s.height) for s in before.streams.video] == [(64, 48), (32, 32)]
        pair = [
            [bytes(p) for p in c.demux(c.streams.video[copied]) if p.size] for c in (before, after)
        ]
    assert pair[0] == pair[1]
    with open_source(path, video_stream=wanted) as source:
        assert (source.format.width, source.format.height) == [(64, 48), (32, 32)][wanted]


def test_a_stream_that_is_no_video_is_refused(tmp_path):
    path = make_clip(tmp_path / "in.mp4", audio="aac")
    with pytest.raises(UsageError, match=r"video-stream=1: .* has video in 0;"):
        open_source(path, video_stream=1)


def test_a_cover_is_no_second_video(call, tmp_path):
    path = make_clip(tmp_path / "in.mp4", cover=True)
    code, _, err = call(
        "enhance", path, tmp_path / "out.mp4", "--ratio", "1", "--profile", "realtime"
    )
    assert code == 0
    assert "--video-stream" not in err
    assert number_of(read_video(tmp_path / "out.mp4").images[3]) == 3


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.mov", ["-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le"]),
        ("a.webm", ["-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-deadline", "realtime"]),
        ("a.mkv", ["-c:v", "ffv1", "-pix_fmt", "bgra"]),
    ],
)
def test_transparency_that_is_lost_is_reported(tmp_path, name, words):
    source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:d=0.2,format=yuva444p"]
    path = tmp_path / name
    subprocess.run(["ffmpeg", "-v", "error", *source, *words, path], check=True)
    with open_source(path) as opened:
        assert sum("transparency" in warning for warning in opened.warnings) == 1
