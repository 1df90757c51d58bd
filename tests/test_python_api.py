"""The public Python API: streams of frames, reader and writer, cancelling."""

from __future__ import annotations

import copy
import pickle
import re
import threading
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from support.media import make_clip, read_tracks, read_video, scene

import streamkind
from streamkind.engine.stream import Stream, choose_ratio
from streamkind.measure.score import flicker
from streamkind.pipeline import Report, run

DOCS = Path(__file__).parents[1] / "docs" / "python.md"
FPS, SIZE = 25, (64, 48)


def night(count):
    """Yield dark, noisy frames whose brightness flickers."""
    rng = np.random.default_rng(0)
    ground = scene(*SIZE).astype(np.float32)
    for _ in range(count):
        noisy = ground * rng.uniform(0.9, 1.1) + rng.normal(0, 1.5, ground.shape)
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def timed(count):
    for i, picture in enumerate(night(count)):
        yield i / FPS, picture


@pytest.fixture(scope="module")
def engine():
    with streamkind.open_engine("student", backend="openvino") as opened:
        yield opened


def test_the_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "night.mp4", frames=8, rate=4, audio="aac",
              images=list(night(8)))  # fmt: skip
    shown = []
    names = {"image": scene(*SIZE), "show": lambda *told: shown.append(told)}
    for code in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL):
        exec(code, names)
    assert "cancelled; nothing is left" in capsys.readouterr().out
    assert not (tmp_path / "cancelled.mp4").exists()
    assert len(shown) == 10 + 2 * 10 + 8
    assert all(pixels.shape == (48, 64, 3) and ratio > 1 for pixels, ratio in shown)
    drawn = read_video(tmp_path / "drawn.mp4")
    assert len(drawn.images) == 8 and min(i[2:6, 2:6].min() for i in drawn.images) > 200


def luma(pictures):
    return [float(p.mean()) / 255 for p in pictures]


def test_a_stream_is_as_steady_as_a_file_and_far_steadier_than_single_pictures(engine):
    frames = [picture for _, picture in timed(200)]
    streamed = [frame.pixels for frame in engine.stream(timed(200))]
    looped = [engine.enhance(picture) for picture in frames]
    filed = []

    class Sink:
        def write(self, frame):
            filed.append(frame.data)

    source = [streamkind.Frame(p, i, Fraction(1, FPS)) for i, p in enumerate(frames)]
    run(source, Stream(engine, choose_ratio()), Sink(), Report(200, ""))
    np.testing.assert_array_equal(streamed, filed)
    own, stream, loop = (flicker(luma(p), []) for p in (frames, streamed, looped))
    assert stream - own < 0.5 * (loop - own)


def test_memory_does_not_grow_with_the_frames(engine):
    alive, most = 0, 0

    def gone():
        nonlocal alive
        alive -= 1

    def watched(array):
        nonlocal alive, most
        alive, most = alive + 1, max(most, alive + 1)
        weakref.finalize(array, gone)
        return array

    count = 0
    for frame in engine.stream((t, watched(p)) for t, p in timed(200)):
        watched(frame.pixels)
        count += 1
    assert count == 200
    assert most <= 6


def test_two_streams_in_turns_give_what_each_gives_alone(engine):
    def dimmed(count):
        return ((t, p // 2) for t, p in timed(count))

    alone = [[f.pixels for f in engine.stream(make(12))] for make in (timed, dimmed)]
    pairs = zip(engine.stream(timed(12)), engine.stream(dimmed(12)), strict=True)
    together = [[f.pixels for f in column] for column in zip(*pairs, strict=True)]
    np.testing.assert_array_equal(together, alone)


def test_frames_keep_their_time_and_a_fixed_ratio(engine):
    frames = [
        streamkind.Frame(picture, 3003 * i, Fraction(1, 90_000), 3003)
        for i, picture in enumerate(night(3))
    ]
    for before, after in zip(frames, engine.stream(frames, ratio=3), strict=True):
        assert isinstance(after, streamkind.ClearFrame)
        assert (after.time, after.duration) == (before.time, 3003) and after.ratio == 3
    told = [frame.time for frame in engine.stream(timed(3))]
    assert told == [0, Fraction(1, 25), Fraction(2, 25)]


@pytest.mark.parametrize(
    "options, says",
    [
        ({"ratio": 11}, r"0\.1 to 10"),
        ({"target": 5}, "up to 1, got 5"),
        ({"steady": "noise"}, "takes a collection of names"),
        ({"steady": ["nope"]}, "steady: unknown nope"),
    ],
)
def test_impossible_options_are_refused_before_the_first_frame(engine, options, says):
    with pytest.raises(streamkind.UsageError, match=says):
        engine.stream([], **options)


PICTURE = scene(*SIZE)
PLANES = np.zeros((72, 64), np.uint8)
"""A yuv420p picture."""


def read_only(picture):
    picture = picture.copy()
    picture.flags.writeable = False
    return picture


@pytest.mark.parametrize("backend", ["openvino", "torch"])
@pytest.mark.parametrize("profile", ["quality", "realtime"])
@pytest.mark.filterwarnings("error")
def test_arrays_of_any_layout_give_the_same_result(profile, backend):
    flipped = np.ascontiguousarray(PICTURE[::-1, ::-1])
    alike = [read_only(PICTURE), np.asfortranarray(PICTURE), flipped[::-1, ::-1]]
    with streamkind.open_engine("student", profile=profile, backend=backend) as engine:
        for picture in alike:
            np.testing.assert_array_equal(engine.enhance(picture), engine.enhance(PICTURE))
            (frame,) = engine.stream([(0, picture)])
            assert frame.pixels.flags.writeable and np.ptp(frame.pixels) > 0


@pytest.mark.parametrize("seconds, picture, says", [
    (0, PICTURE[..., 0], r"uint8 \(48, 64\)"), (0, PLANES, r"uint8 \(72, 64\)"),
    (0, PICTURE / 255, "float64"), (0, PICTURE.astype(np.uint16), "uint16"),
    (0, PICTURE[:0], r"\(0, 64, 3\)"), (0, PICTURE.tolist(), "got list; convert"),
    (0, None, "got NoneType"), ("0", PICTURE, "got '0'"), (np.nan, PICTURE, "got nan"),
    (np.inf, PICTURE, "got inf"),
])  # fmt: skip
def test_pictures_and_times_of_other_types_are_refused(engine, seconds, picture, says):
    with pytest.raises(ValueError, match=says):
        list(engine.stream([(seconds, picture)]))


@pytest.mark.parametrize("frames, says", [
    ("night.mp4", "got str"), ([PICTURE], "got ndarray"), ([(0,)], "got tuple"),
    ([streamkind.Frame(PLANES, 0, Fraction(1, 25))], "expected RGB frames"),
])  # fmt: skip
def test_anything_but_frames_is_refused(engine, frames, says):
    with pytest.raises(ValueError, match=says):
        list(engine.stream(frames))


@pytest.mark.parametrize("name, value, says", [
    ("ratio", "3", "got '3'"), ("target", "0.4", "got '0.4'"), ("target", True, "got True"),
    ("steady", 5, "got 5"), ("two_pass", "yes", "True or False or None"), ("codec", None, "a str"),
    ("crf", "23", "a whole number or None"), ("crf", True, "got True"),
    ("start", "0:10", "a number"),
    ("duration", "1", "a number"), ("deinterlace", None, "frame, field, off"),
    ("ratio_track", 5, "a str or a Path"), ("device", None, "a str"), ("profile", None, "None"),
    ("side_by_side", "no", "True or False"), ("video_stream", 0.5, "a whole number"),
])  # fmt: skip
def test_options_of_other_types_are_refused(name, value, says):
    with pytest.raises(streamkind.UsageError, match=f"{name}.*{says}"):
        streamkind.enhance("in.mp4", "out.mp4", **{name: value})


@pytest.mark.parametrize("work, kind, says", [
    (lambda: streamkind.enhance(None, "out.mp4"), streamkind.UsageError, "path as str or Path"),
    (lambda: streamkind.enhance("x" * 300 + ".mp4", "out.mp4"), streamkind.InputError, "too long"),
    (lambda: streamkind.enhance("http://127.0.0.1:1/a.mp4", "out.mp4"), streamkind.InputError,
     "cannot be looked up"),
    (lambda: streamkind.open_video(5), streamkind.UsageError, "path as str or Path"),
    (lambda: streamkind.open_engine(device=None), streamkind.UsageError, "device must be a str"),
    (lambda: streamkind.open_engine(device="cuda:x"), streamkind.UsageError, "unknown device"),
    (lambda: streamkind.open_engine(engines="nowhere"), streamkind.EngineError, "nowhere"),
])  # fmt: skip
def test_wrong_arguments_give_errors_of_the_package(work, kind, says):
    with pytest.raises(kind, match=says):
        work()


def test_a_name_that_the_disk_refuses_is_an_output_error(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", frames=4)
    with pytest.raises(streamkind.OutputError, match="too long"):
        streamkind.enhance(clip, tmp_path / ("x" * 300 + ".mp4"))


@pytest.mark.parametrize("copy", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_engine_cannot_be_copied_but_frames_can(engine, copy):
    with pytest.raises(TypeError, match=r"open_engine\(\) there"):
        copy(engine)
    frame = streamkind.Frame(PICTURE, 0, Fraction(1, 25))
    assert copy(frame) and {frame} and frame != streamkind.Frame(PICTURE, 0, Fraction(1, 25))


@pytest.mark.parametrize("data, pts", [
    (PICTURE, 0.5), (PICTURE, "0"), (PICTURE, None), (PICTURE[:0], 0), (None, 0), ([[0]], 0),
])  # fmt: skip
def test_a_frame_is_an_array_at_a_whole_number(data, pts):
    with pytest.raises(ValueError, match="must be"):
        streamkind.Frame(data, pts, Fraction(1, 25))


@pytest.mark.parametrize("time_base", [0.04, 1, "1/25", Fraction(0), Fraction(-1, 25)])
def test_a_time_base_is_a_fraction_above_0(time_base):
    with pytest.raises(ValueError, match="time_base must be a Fraction"):
        streamkind.Frame(scene(*SIZE), 0, time_base)


def test_a_reader_and_a_writer_keep_times_and_sound(engine, tmp_path):
    clip = make_clip(tmp_path / "in.mp4", frames=6, pts=[0, 512, 1100, 3000, 3500, 4000],
                     images=list(night(6)), audio="aac")  # fmt: skip
    with (
        streamkind.open_video(clip) as video,
        streamkind.create_video(tmp_path / "out.mp4", like=video) as out,
    ):
        for frame in engine.stream(video):
            out.write(frame)
    before, after = read_video(clip), read_video(tmp_path / "out.mp4")
    assert (after.pts, after.time_base) == (before.pts, before.time_base)
    sound = [track for track in read_tracks(clip) if track.kind == "audio"]
    assert sound and sound == [t for t in read_tracks(tmp_path / "out.mp4") if t.kind == "audio"]


def test_an_error_between_reader_and_writer_leaves_nothing(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", frames=4)
    with (
        pytest.raises(ZeroDivisionError),
        streamkind.open_video(clip) as video,
        streamkind.create_video(tmp_path / "out.mp4", like=video) as out,
    ):
        for frame in video:
            out.write(frame)
            raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("shape", [(48, 66, 3), (50, 64, 3), (24, 32, 3)])
def test_a_frame_of_another_size_is_refused(tmp_path, shape):
    clip = make_clip(tmp_path / "in.mp4", frames=4)
    with (
        pytest.raises(streamkind.UsageError, match="expected 64x48"),
        streamkind.open_video(clip) as video,
        streamkind.create_video(tmp_path / "out.mp4", like=video) as out,
    ):
        for frame in video:
            out.write(frame.with_pixels(np.zeros(shape, np.uint8)))
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_a_video_without_frames_is_refused(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", frames=4)
    with (
        pytest.raises(streamkind.OutputError, match="no frame was written"),
        streamkind.open_video(clip) as video,
        streamkind.create_video(tmp_path / "out.mp4", like=video),
    ):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_a_writer_that_is_closed_says_so_and_keeps_the_file(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", frames=4)
    with streamkind.open_video(clip) as video:
        with streamkind.create_video(tmp_path / "out.mp4", like=video) as out:
            frames = list(video)
            with pytest.raises(streamkind.UsageError, match="expected a Frame, got ndarray"):
                out.write(frames[0].pixels)
            for frame in frames:
                out.write(frame)
        with pytest.raises(streamkind.UsageError, match="this video is closed"):
            out.write(frames[0])
        out.__exit__(None, None, None)
        with pytest.raises(streamkind.UsageError, match="can be read once"):
            next(iter(video))
        for options, says in (({"like": "in.mp4"}, "open_video"), ({"crf": "2"}, "crf='2'")):
            with pytest.raises(streamkind.UsageError, match=says):
                streamkind.create_video(tmp_path / "b.mp4", **{"like": video} | options)
    assert len(read_video(tmp_path / "out.mp4").images) == 4


def test_a_picture_is_no_video(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "in.png"), scene(*SIZE))
    with pytest.raises(streamkind.UsageError, match="expected a video"):
        streamkind.open_video(tmp_path / "in.png")


@pytest.mark.parametrize("at", ["before the first frame", "in the first pass", "later"])
def test_raising_in_progress_cancels_and_leaves_what_was_there(tmp_path, at):
    clip = make_clip(tmp_path / "in.mp4", frames=8, images=list(night(8)))
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")

    class CancelledError(Exception):
        pass

    def progress(report):
        reached = {
            "before the first frame": True,
            "in the first pass": report.surveyed == 2,
            "later": report.frames == 3,
        }
        if reached[at]:
            raise CancelledError

    with pytest.raises(CancelledError):
        streamkind.enhance(clip, tmp_path / "out.mp4", progress=progress)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"
    assert [t.name for t in threading.enumerate() if t.name.startswith("streamkind")] == []
