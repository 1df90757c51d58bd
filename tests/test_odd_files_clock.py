"""Time stamps of cameras (late, joined, wrapped, with gaps), compared with `ffmpeg -c copy`."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from support.media import make_clip, number_of, read_video
from support.odd import copy_of, ffmpeg, first_and_last, make_base, pass_through, probe, times

from streamkind.batch.divide import divide
from streamkind.errors import UsageError
from streamkind.video.bridge import TS_DISCONT, Bridge
from streamkind.video.demux import origin_of
from streamkind.video.source import open_source
from streamkind.video.timeline import RisingClock

NEAR = 0.0015
"""Tolerance of times, in seconds. Matroska stores whole milliseconds."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two seconds of H.264 and AAC; return its path.

    The file bframes.mp4 beside it has the same with B-frames.
    """
    folder = tmp_path_factory.mktemp("base")
    make_base(folder / "bframes.mp4", words="-bf 2 -preset veryfast")
    return make_base(folder / "base.mp4", words="-ar 44100")


def late(base: Path, path: Path, seconds: float) -> Path:
    """Write a copy whose time stamps begin at `seconds`; return its path."""
    ffmpeg("-i", base, "-c", "copy", "-output_ts_offset", seconds, path)
    return path


def joined(base: Path, folder: Path, *starts: float) -> Path:
    """Join recordings in MPEG-TS of two seconds each, as `cat` does; return the path.

    `starts` are their first time stamps, in seconds.
    """
    parts = [late(base, folder / f"{i}.ts", s).read_bytes() for i, s in enumerate(starts)]
    path = folder / "joined.ts"
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("name, start", [("a.ts", 50_000), ("a.ts", 0), ("a.mkv", 5), ("a.flv", 9)])
def test_a_file_begins_where_a_copy_by_ffmpeg_does(
    name: str, start: float, suffix: str, base: Path, tmp_path: Path
) -> None:
    path = late(base, tmp_path / name, start)
    output, copy = tmp_path / f"out.{suffix}", tmp_path / f"copy.{suffix}"
    assert pass_through(path, output)[1] == []
    copy_of(path, copy)
    # FFmpeg delays all of a transport stream by the reordering delay of its pictures.
    begin = times(output, "a")[0] - times(copy, "a")[0] if suffix == "ts" else 0
    assert abs(begin) < 0.1
    for kind in "va":
        wanted = [begin + time for time in times(copy, kind)]
        assert times(output, kind) == pytest.approx(wanted, abs=NEAR)
    durations = [float(probe(p)["format"]["duration"]) for p in (output, copy)]
    assert durations[0] == pytest.approx(durations[1], abs=0.05)


def test_a_program_stream_begins_at_0(tmp_path: Path) -> None:
    path = make_base(tmp_path / "a.mpg", words="-c:v mpeg2video -c:a mp2 -output_ts_offset 3")
    pass_through(path, tmp_path / "out.mp4")
    assert times(tmp_path / "out.mp4", "v")[0] == pytest.approx(0, abs=0.1)
    assert len(times(tmp_path / "out.mp4", "v")) == 50


def test_the_start_of_epoch_seconds_is_no_57_years(base: Path, tmp_path: Path) -> None:
    path = late(base, tmp_path / "a.mkv", 1_790_000_000)
    pass_through(path, tmp_path / "out.mp4")
    assert float(probe(tmp_path / "out.mp4")["format"]["duration"]) < 2.2


def test_sound_that_begins_before_the_picture_keeps_its_lead(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    ffmpeg("-itsoffset", 1.5, "-i", base, "-i", base, "-map", "0:v", "-map", "1:a", "-c", "copy",
           "-output_ts_offset", 100, path)  # fmt: skip
    for suffix in ("mp4", "mkv"):
        output = tmp_path / f"out.{suffix}"
        pass_through(path, output)
        assert times(output, "v")[0] == pytest.approx(1.5, abs=0.03)
        assert times(output, "a")[0] == pytest.approx(0, abs=0.03)


JOINTS = {
    "set back by two hours": (7000, 0),
    "a gap of two hours": (0, 7000),
    "set back by twelve seconds": (12, 0),
    "back and forth": (7000, 0, 20_000),
}


@pytest.mark.parametrize("starts", JOINTS.values(), ids=JOINTS)
def test_steps_of_time_stamps_are_removed_and_reported(
    starts: tuple[float, ...], base: Path, tmp_path: Path
) -> None:
    path, output = joined(base, tmp_path, *starts), tmp_path / "out.mp4"
    warnings, _ = pass_through(path, output)
    count = len(starts)
    video, sound = times(output, "v"), times(output, "a")
    assert len(video) == 50 * count
    assert (sound[0], video[0]) == pytest.approx((0, 0), abs=0.05)
    steps = [b - a for a, b in itertools.pairwise(video)]
    assert min(steps) > 0.03 and max(steps) < 0.12
    assert video[-1] == pytest.approx(2 * count, abs=0.1 * count)
    # In each part, the distance of picture and sound is that of the single recording.
    part = tmp_path / "part.mp4"
    pass_through(tmp_path / "0.ts", part)
    lead = times(part, "v")[0] - times(part, "a")[0]
    per = len(sound) // count
    for number in range(1, count):
        begin = video[50 * number] - lead
        assert min(abs(time - begin) for time in sound) < 0.012
        assert sound[per * number - 1] < sound[per * number]
    assert sum(f"jump {count - 1} time" in warning for warning in warnings) == 1


def test_a_wrap_of_the_33_bits_is_no_step(base: Path, tmp_path: Path) -> None:
    for name, start in (("a", 95_441.3), ("b", 10)):
        path = late(base.with_name("bframes.mp4"), tmp_path / f"{name}.ts", start)
        warnings, _ = pass_through(path, tmp_path / f"{name}.mp4")
        assert not any("time stamps" in warning for warning in warnings)
    for kind in "va":
        one, two = times(tmp_path / "a.mp4", kind), times(tmp_path / "b.mp4", kind)
        assert one == pytest.approx(two, abs=NEAR)


def test_a_part_after_a_step_is_found(base: Path, tmp_path: Path) -> None:
    path, output = joined(base, tmp_path, 7000, 0), tmp_path / "out.mp4"
    whole = tmp_path / "whole.mp4"
    pass_through(path, whole)
    video, sound = times(whole, "v"), times(whole, "a")
    for start in (0.5, 1.9, 2.5, 3.9):
        pass_through(path, output, start=start)
        kept = [time for time in video if time >= video[0] + start - 0.001]
        assert len(times(output, "v")) == len(kept)
        assert abs(len(times(output, "a")) - sum(time >= start for time in sound)) <= 2


@pytest.mark.parametrize("starts", [(7000, 0), (0, 7000), (95_441.3,)])
def test_a_video_whose_clock_steps_is_one_part_for_batch(
    starts: tuple[float, ...], base: Path, tmp_path: Path
) -> None:
    assert divide(joined(base, tmp_path, *starts), None).starts == [0]


def packet(stream: Any, seconds: float, duration: float = 0.04) -> av.Packet[Any]:
    made = av.Packet(b"x")
    made.stream, made.time_base = stream, Fraction(1, 90_000)
    made.pts = made.dts = round(seconds * 90_000)
    made.duration = round(duration * 90_000)
    return made


@pytest.mark.parametrize(
    "told, wanted",
    [
        ("v0 a0 v.04 a.04", "v0 a0 v.04 a.04"),
        ("v100 a100 v0 a0", "v100 a100 v100.04 a100.04"),
        ("v100 a100 a0 a.04 v0 v.04", "v100 a100 a100.04 a100.08 v100.04 v100.08"),
        ("v0 a.2 v500 a500", "v0 a.2 v.24 a.24"),
        ("v0 v.04 v9 v9.04", "v0 v.04 v9 v9.04"),
        ("v10 v9.99 v10.04", "v10 v9.99 v10.04"),
        ("v100 a100 v500 v100.04 a100.1", "v100 a100 v? v100.04 a100.1"),
        ("v95443.7 v0 v.04", "v95443.7 v95443.7177 v95443.7577"),
        ("v7 v3 v7 v3", "v7 v7.04 v11.04 v11.08"),
    ],
)
def test_stamps_of_two_streams_go_on_by_the_same_step(told: str, wanted: str) -> None:
    with av.open("/dev/null", "w", format="mpegts") as output:
        streams = {"v": output.add_stream("libx264", rate=25), "a": output.add_stream("mp2")}
        bridge, out = Bridge(), []
        for word in told.split():
            out += bridge.feed(packet(streams[word[0]], float(word[1:])))
        out += bridge.finish()
        found: dict[str, list[float | None]] = {"v": [], "a": []}
        for p in out:
            found["va"[p.stream_index]].append(None if p.pts is None else p.pts / 90_000)
        output.start_encoding()
    for name in "va":
        expected = [w[1:] for w in wanted.split() if w[0] == name]
        assert len(found[name]) == len(expected)
        for one, two in zip(found[name], expected, strict=True):
            assert (one is None) if two == "?" else one == pytest.approx(float(two), abs=0.001)


@pytest.mark.parametrize(
    "rate, codec, suffix",
    [
        ("10", "libx264", "h264"),
        ("30000/1001", "libx264", "h264"),
        ("60", "libx264", "264"),
        ("10", "libx265", "h265"),
    ],
)
def test_a_raw_stream_runs_at_the_rate_that_it_states(
    rate: str, codec: str, suffix: str, tmp_path: Path
) -> None:
    path, output = tmp_path / f"a.{suffix}", tmp_path / "out.mp4"
    extra = ["-x265-params", "log-level=none:pools=1"] if codec == "libx265" else ["-bf", "2"]
    source = ["-f", "lavfi", "-i", f"testsrc=s=64x48:r={rate}:d=1"]
    ffmpeg(*source, "-c:v", codec, *extra, "-threads", 1, "-pix_fmt", "yuv420p", path)
    warnings, _ = pass_through(path, output)
    count, first, last = first_and_last(output, "v")
    assert (count, first) == (round(float(Fraction(rate))), 0)
    assert last == pytest.approx((count - 1) / Fraction(rate), abs=0.001)
    assert not any("time stamps" in warning for warning in warnings)
    pass_through(path, output, fps=12.5)
    assert times(output, "v") == pytest.approx([n / 12.5 for n in range(count)], abs=0.001)


@pytest.mark.parametrize("start, duration", [(0.4, None), (0.4, 0.3), (1.6, None)])
def test_a_part_of_a_raw_stream(start: float, duration: float | None, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=50, options={"bf": "0", "crf": "10"})
    ffmpeg("-i", clip, "-c", "copy", tmp_path / "a.h264")
    pass_through(tmp_path / "a.h264", tmp_path / "out.mp4", start=start, duration=duration)
    end = 2 if duration is None else start + duration
    found = [number_of(image) for image in read_video(tmp_path / "out.mp4").images]
    assert found == [n for n in range(50) if start <= n / 25 < end - 0.001]


def test_a_file_with_a_clock_takes_no_rate(clip: Path) -> None:
    with pytest.raises(UsageError, match=r"fps=3: .* has time stamps of its own"):
        open_source(clip, fps=3)


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_empty_chunks_of_avi_are_no_damage(codec: str, tmp_path: Path) -> None:
    path, output = tmp_path / "a.avi", tmp_path / "out.mkv"
    source = ["-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=1", "-vsync", "vfr"]
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    ffmpeg(
        *source, "-vf", "select='not(between(n,5,10))'", "-c:v", codec, "-pix_fmt", pix_fmt, path
    )
    with open_source(path) as source:
        stamps = [frame.pts for frame in source]
    assert stamps == [*range(5), *range(11, 25)]
    assert source.lost == 0 and not any("damaged" in w for w in source.warnings)
    pass_through(path, output)
    assert times(output, "v") == pytest.approx(times(copy_of(path, tmp_path / "c.mkv"), "v"))


AVI = {
    "no B-frames": ("-c:v libx264 -bf 0", 0),
    "ticks without a frame": ("-c:v libx264 -bf 0 -r 50 -vsync passthrough", 0),
    "B-frames": ("-c:v libx264 -bf 2", 0.08),
    "B-frames of MPEG-4": ("-c:v mpeg4 -bf 2", 0.04),
}
"""Options of ffmpeg, and the time of the first frame in seconds. An AVI stores only dts."""


@pytest.mark.parametrize("case", AVI)
def test_an_avi_is_shown_by_its_dts(case: str, tmp_path: Path) -> None:
    words, begin = AVI[case]
    path, output = tmp_path / "a.avi", tmp_path / "out.mkv"
    source = ["-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=1", "-f", "lavfi", "-i", "sine=440:d=1"]
    ffmpeg(*source, *words.split(), "-threads", 1, "-pix_fmt", "yuv420p", "-c:a", "mp2", path)
    told, _ = pass_through(path, output)
    expected = [begin + n / 25 for n in range(25)]
    assert times(output, "v") == pytest.approx(expected, abs=0.001)
    assert times(output, "a")[0] == pytest.approx(0, abs=0.001)
    assert not [note for note in told if "repaired" in note or "damaged" in note]
    pass_through(path, output, start=0.4)
    assert len(times(output, "v")) == 15


STARTS = {
    "marks before the footage": (0.7, [("video", "h264", 1.5), ("data", "scte_35", 0.7)], 1.5),
    "marks among it": (1.4, [("video", "h264", 1.4), ("data", "scte_35", 1.6)], 1.4),
    "places before the footage": (0.7, [("video", "h264", 1.5), ("data", "klv", 0.7)], 0.7),
    "marks only": (0.7, [("data", "scte_35", 0.7)], 0.7),
}
"""Start of the file that FFmpeg reports, streams of it, and the time that becomes 0, in seconds.

A stream is given by type, name and start."""


@pytest.mark.parametrize("case", STARTS)
def test_marks_of_a_broadcast_do_not_move_the_start(case: str) -> None:
    """Check the start with a double of the file, because FFmpeg cannot write SCTE-35."""
    told, streams, expected = STARTS[case]
    base = Fraction(1, 90_000)
    container: Any = SimpleNamespace(
        format=SimpleNamespace(flags=TS_DISCONT),
        start_time=round(told * 1_000_000),
        streams=[
            SimpleNamespace(type=kind, name=name, start_time=round(start / base), time_base=base)
            for kind, name, start in streams
        ],
    )
    assert float(origin_of(container)) == pytest.approx(expected, abs=1e-5)


def test_a_cut_off_avi_still_counts_what_is_missing(tmp_path: Path) -> None:
    path = make_clip(
        tmp_path / "a.avi", frames=40, codec="mjpeg", pix_fmt="yuvj420p",
        time_base=Fraction(1, 25),
    )  # fmt: skip
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with open_source(path) as source:
        frames = len(list(source))
    assert frames < 30 and source.lost == 40 - frames


def test_the_frame_rate_of_dv_is_not_that_of_its_time_base(tmp_path: Path) -> None:
    path, output = tmp_path / "a.dv", tmp_path / "out.mp4"  # its time code needs the true rate
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=720x576:r=25:d=0.2", "-pix_fmt", "yuv420p", path)
    with open_source(path) as source:
        assert (source.format.frame_rate, source.format.frames) == (25, 5)
    pass_through(path, output)
    assert times(output, "v") == pytest.approx([n / 25 for n in range(5)], abs=0.001)


def test_frames_that_an_edit_list_hides_do_not_count_as_lost(base: Path, tmp_path: Path) -> None:
    for name, words in {
        "early": ("-i", base, "-output_ts_offset", "-1", "-avoid_negative_ts", "disabled"),
        "cut": ("-ss", "0.5", "-i", base),
    }.items():
        path = tmp_path / f"{name}.mp4"
        ffmpeg(*words, "-c", "copy", path)
        with open_source(path) as source:
            stamps = [frame.time for frame in source]
        assert stamps[0] == 0 and len(stamps) in (25, 37)
        assert source.lost == 0 and not any("damaged" in w for w in source.warnings)


def test_frames_before_0_keep_their_distance(base: Path, tmp_path: Path) -> None:
    path, output = tmp_path / "a.mkv", tmp_path / "out.mp4"  # FFmpeg writes no pts below 0
    ffmpeg("-i", base, "-c", "copy", "-output_ts_offset", "-1", "-avoid_negative_ts", "disabled",
           path)  # fmt: skip
    warnings, _ = pass_through(path, output)
    assert not any("time stamps" in warning for warning in warnings)
    video = times(output, "v")
    steps = [b - a for a, b in itertools.pairwise(video)]
    assert len(video) == 50 and steps == pytest.approx([0.04] * 49, abs=NEAR)
    assert video[0] - times(output, "a")[0] == pytest.approx(0.021, abs=0.03)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("name", ["a.flv", "a.mov", "a.mp4"])
def test_b_frames_whose_pts_are_in_the_order_of_decoding_come_out_in_even_steps(
    codec: str, name: str, tmp_path: Path
) -> None:
    """Check files of some cameras and old converters: each pts is the dts of its packet."""
    if codec == "mpeg4" and name == "a.flv":
        pytest.skip("FLV holds no MPEG-4")
    words = f"-c:v {codec} -bf 2 -preset veryfast -an -bsf:v setts=pts=DTS"
    path = make_base(tmp_path / name, words=words)
    with open_source(path) as source:
        shown = [float(frame.time) for frame in source]
    steps = [after - before for before, after in itertools.pairwise(shown[4:-2])]
    assert len(shown) >= 48  # an edit list may hide the first frames
    assert steps == pytest.approx([0.04] * len(steps), abs=NEAR)
    repaired = [line for line in source.warnings if "time stamps" in line]
    assert all(int(line.split()[0]) <= 2 for line in repaired)


@pytest.mark.parametrize("seconds", [0.4, 0.8, 1])
def test_short_recordings_that_were_joined_follow_each_other(
    seconds: float, tmp_path: Path
) -> None:
    """Check a second recording of another size and sound, with the same first time stamp."""
    first = make_base(tmp_path / "a.ts", seconds=seconds)
    second = make_base(tmp_path / "b.ts", seconds=seconds, words="-s 96x64 -ar 44100 -ac 1")
    path = tmp_path / "joined.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    warnings, _ = pass_through(path, tmp_path / "out.mp4")
    assert sum("jump 1 time" in line for line in warnings) == 1
    assert not any("repaired" in line for line in warnings)
    shown = times(tmp_path / "out.mp4", "v")
    assert len(shown) == round(50 * seconds)
    steps = [after - before for before, after in itertools.pairwise(shown)]
    assert max(steps) < 0.12 and min(steps) == pytest.approx(0.04, abs=NEAR)
    assert times(tmp_path / "out.mp4", "a")[-1] == pytest.approx(shown[-1], abs=0.12)


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ("5000 5040 0 5120 5160", "5000 5040 5080 5120 5160"),  # one wrong time stamp
        ("5000 5040 0 0 5160 5200", "5000 5040 5080 5081 5160 5200"),
        ("5000 5040 0 40 80 2080", "5000 5040 5080 5120 5160 7160"),  # a clock that was set back
    ],
)
def test_one_wrong_time_stamp_does_not_move_all_later_ones(told: str, wanted: str) -> None:
    clock = RisingClock(Fraction(1, 1000), 40)
    assert [clock(int(stamp)) for stamp in told.split()] == [int(time) for time in wanted.split()]


@pytest.mark.parametrize("flags", [0, TS_DISCONT])
def test_a_stream_of_a_type_that_nobody_knows_has_a_start_too(flags):
    """Check a stream without a name. PyAV returns such streams for damaged MPEG-TS and FLV."""
    stream = SimpleNamespace(start_time=90_000, time_base=Fraction(1, 90_000))
    container = SimpleNamespace(
        start_time=1_000_000, streams=[stream], format=SimpleNamespace(flags=flags)
    )
    assert origin_of(container) == 1
