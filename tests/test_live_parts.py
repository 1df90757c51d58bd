"""Units of live cameras: clock, pace, queue, encoders, publishers, retention."""

from __future__ import annotations

import itertools
import threading
import time
from fractions import Fraction
from functools import partial

import av
import numpy as np
import pytest
from support.live import wait_for

from streamkind.errors import OutputError
from streamkind.live import output
from streamkind.live.clock import Backoff, LiveClock
from streamkind.live.config import CameraConfig
from streamkind.live.encoder import Coded, LiveEncoder, fit, slate
from streamkind.live.frame_queue import FrameQueue, WaitingFrame
from streamkind.live.order import order
from streamkind.live.output import Output
from streamkind.live.publish import clean, forget_segments
from streamkind.live.secrets import hide_passwords
from streamkind.live.sink import Publisher
from streamkind.live.source import Pace
from streamkind.live.state import CameraState


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([(10.0, 0), (10.1, 0.1), (10.2, 0.2)], [0, 0.1, 0.2]),
        # All are late after a stall. The intervals of the camera's time stamps are kept.
        ([(10.0, 0), (10.1, 4.0), (10.2, 4.0)], [0, 0.1, 0.2]),
        # The camera's clock was set back, or far ahead.
        ([(10.0, 0), (1.0, 0.1), (1.1, 0.2)], [0, 0.1, 0.2]),
        ([(10.0, 0), (99.0, 0.1), (99.1, 0.2)], [0, 0.1, 0.2]),
        ([(None, 0.5), (7.0, 1.0), (7.5, 1.5)], [0.5, 1.0, 1.5]),
    ],
)
def test_the_clock_follows_the_camera(stamps, expected):
    clock = LiveClock(0.0)
    assert [clock(s, now) for s, now in stamps] == pytest.approx(expected)


def test_the_clock_goes_on_through_reconnects():
    clock = LiveClock(0.0)
    first = [clock(5.0, 0.0), clock(6.0, 1.0)]
    assert clock.at(4.0) == pytest.approx(4.0)  # the time of a slate
    clock.restart()
    assert [*first, clock(0.0, 5.0), clock(0.1, 5.1)] == pytest.approx([0, 1, 5, 5.1])


def test_the_pace_is_the_recordings_and_a_jump_begins_anew():
    pace = Pace(forgets_jumps=True)
    waits = [pace(seconds, now) for seconds, now in (
        (100.0, 7.0),  # the first frame at once
        (100.1, 7.0), (100.2, 7.1),  # each frame when it is due
        (100.3, 9.0), (100.4, 9.0),  # late frames at once
        (500.0, 9.5), (500.1, 9.5),  # time stamps jump to another timeline
        (1.0, 9.6), (1.1, 9.6),
    )]  # fmt: skip
    assert waits == pytest.approx([0, 0.1, 0.1, 0, 0, 0, 0.1, 0, 0.1])
    file = Pace(forgets_jumps=False)
    assert [file(0.0, 5.0), file(60.0, 5.0)] == [0.0, 60.0]
    # Files of MPEG-TS that were joined begin anew.
    assert [file(0.0, 65.0), file(1.0, 65.0), file(2.0, 66.0)] == [0.0, 1.0, 1.0]


def test_pauses_double_and_vary():
    backoff = Backoff(1.0, 30.0)
    pauses = [backoff.next_seconds() for _ in range(12)]
    for i, pause in enumerate(pauses):
        assert min(2**i, 30) / 2 <= pause <= min(2**i, 30)
    assert len({p / min(2**i, 30) for i, p in enumerate(pauses)}) > 6
    backoff.reset()
    assert backoff.next_seconds() <= 1.0


def test_the_oldest_frames_are_dropped_and_the_newest_only_if_allowed():
    queue = FrameQueue(3)
    frames = [WaitingFrame(np.zeros((2, 2, 3), np.uint8), float(i), float(i)) for i in range(5)]
    for frame in frames:
        queue.put(frame)
    assert (len(queue), queue.dropped) == (3, 2)
    assert queue.take(2.5) is frames[3]
    assert queue.take(99.0) is frames[4]
    assert queue.take(0.0) is None
    queue.put(frames[0])
    assert queue.take(0.5, last=False) is None
    assert queue.dropped == 4


def test_an_enhanced_frame_is_finished_once_by_the_first_reader_and_not_if_it_is_dropped():
    finished = []

    def finish(number):
        finished.append(number)
        time.sleep(0.01)
        return np.full((2, 2, 3), number, np.uint8)

    queue = FrameQueue(1)
    for number in range(2):  # the second one takes the place of the first
        queue.put(WaitingFrame(partial(finish, number), float(number), float(number)))
    frame = queue.take(0.0)
    assert finished == []
    readers = [threading.Thread(target=lambda: frame.pixels) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert finished == [1] and (frame.pixels == 1).all()


def test_a_late_frame_is_dropped_unless_no_newer_one_comes(monkeypatch):
    monkeypatch.setattr("streamkind.live.output.LATE_SECONDS", 60.0)
    config = CameraConfig(name="yard", url="rtsp://host/1", max_delay_seconds=50.0)
    state = CameraState(config)
    output = Output(state, LiveClock(0.0))

    def shown(age: float) -> bool:
        before = state.frames_out, output.queue.dropped
        now = time.monotonic()
        output.queue.put(WaitingFrame(np.zeros((2, 2, 3), np.uint8), 0.0, now - age))
        wait_for(lambda: (state.frames_out, output.queue.dropped) != before, "it is still there")
        return state.frames_out > before[0]

    output.start()
    try:
        assert shown(1.0)
        assert not shown(60.0)
        assert shown(40.0)
        state.engine_took(51.0)  # longer than `max_delay_seconds`
        assert shown(60.0)
        state.engine_took(49.0)
        assert not shown(60.0)
        monkeypatch.setattr("streamkind.live.output.LATE_SECONDS", 0.0)
        assert shown(60.0)
    finally:
        output.stop()
        output.join(time.monotonic() + 60)


def test_passwords_are_moved_out_of_the_arguments():
    words = ["stream", "rtsp://u:p%40ss@h/1?token=abc", "--to", "rtsp://x:${KEY}@y/z"]
    moved, variables = hide_passwords(words)
    assert "p%40ss" not in str(moved) and "abc" not in str(moved)
    assert moved[3] == words[3] and sorted(variables.values()) == ["abc", "p@ss"]
    assert hide_passwords(moved) == (moved, {})


def test_retention_deletes_the_oldest_and_only_recordings(tmp_path):
    for i in range(5):
        # The names of the last two end in Z, for UTC.
        (tmp_path / f"20260101-00000{i}{'Z' * (i > 2)}.mkv").write_bytes(bytes(100))
    (tmp_path / "notes.mkv").write_bytes(bytes(1000))
    clean(tmp_path, 250)
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "20260101-000003Z.mkv",
        "20260101-000004Z.mkv",
        "notes.mkv",
    ]
    clean(tmp_path, 1)
    assert (tmp_path / "20260101-000004Z.mkv").exists()  # the newest, which may still be written


def test_parts_that_an_earlier_process_left_are_deleted(tmp_path):
    one, two, three = (f"{1796118230 + i}.ts" for i in range(3))
    others = {f"xy{one}", "x.ts", f"x1{one}", f"1796118230{one}"}
    for name in (f"x{one}", f"x{two}", f"x{three}", *others):
        (tmp_path / name).touch()
    (tmp_path / "x.m3u8").write_text(f"#EXTM3U\n#EXTINF:2,\nx{three}\n")
    forget_segments(tmp_path / "x.m3u8")
    assert {f.name for f in tmp_path.glob("*.ts")} == {f"x{three}", *others}
    (tmp_path / "x.m3u8").unlink()
    forget_segments(tmp_path / "x.m3u8")
    assert {f.name for f in tmp_path.glob("*.ts")} == others


def test_parts_of_another_playlist_with_a_similar_name_stay(tmp_path):
    parts = [tmp_path / f"cam{number}1796118230.ts" for number in ("", 1, 10)]
    for part in parts:
        part.touch()
    for number, part in zip(("", 1, 10), parts, strict=True):
        forget_segments(tmp_path / f"cam{number}.m3u8")
        assert [other.exists() for other in parts if other != part] == [True, True]
        part.touch()


def test_rtmp_begins_at_0_and_is_opened_again_before_its_time_stamps_overflow(tmp_path):
    encoder = LiveEncoder("h264", (64, 48), Fraction(10), Fraction(1))
    told = order("rtmp://h/1", CameraConfig(name="yard", url="rtsp://h/1"))
    assert told["most_seconds"] * 1000 < 2**31
    told |= {"url": str(tmp_path / "seen.flv"), "most_seconds": 3.0}
    publisher = Publisher(told, [encoder.stream], threading.Event())
    picture = np.zeros((48, 64, 3), np.uint8)
    said = []
    with pytest.raises(OutputError):
        for i in itertools.count():
            for packet in encoder(picture, 3e6 + i / 10, key=False):  # begins after a month
                publisher.write(packet)
            said += publisher.lines()
            time.sleep(0.01)
    wait_for(lambda: publisher.failed, "it goes on")
    assert "live" in said and "opened again" in " ".join(said + publisher.lines())
    publisher.close()
    with av.open(str(tmp_path / "seen.flv")) as seen:
        times = [float(p.pts * p.time_base) for p in seen.demux(video=0) if p.size]
    assert times == pytest.approx([i / 10 for i in range(31)], abs=0.002)


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9", "mjpeg"])
@pytest.mark.parametrize("size", [(638, 480), (640, 480), (1280, 720), (1920, 1080)])
def test_no_encoder_holds_a_frame_back_at_any_size(codec, size):
    encoder = LiveEncoder(codec, size, Fraction(25), Fraction(1))
    picture = np.full((size[1], size[0], 3), 80, np.uint8)
    assert [len(list(encoder(picture, i / 25, key=False))) for i in range(6)] == [1] * 6
    assert not list(encoder.finish())


def test_the_age_is_that_of_the_packet_which_leaves(monkeypatch):
    class Holds:
        """An encoder that returns each frame when it gets the third frame after it."""

        def __init__(self, *_):
            self.size, self.stream, self.last_pts, self.kept = (2, 2), None, 0, []

        def __call__(self, pixels, seconds, *, key):
            self.last_pts = round(seconds * 90_000)
            self.kept.append(Coded(b"", self.last_pts, 0, True, True))
            return [self.kept.pop(0)] if len(self.kept) > 3 else []

        def finish(self):
            return []

    monkeypatch.setattr(output, "LiveEncoder", Holds)
    monkeypatch.setattr(output, "LiveSink", lambda url, config: MagicSink())
    config = CameraConfig(name="yard", url="rtsp://host/1", to=("x",))
    state = CameraState(config)
    out = Output(state, LiveClock(0.0))
    for i in range(8):
        decoded = time.monotonic() - 10 * (8 - i)
        out._encode(WaitingFrame(np.zeros((2, 2, 3), np.uint8), float(i), decoded))
    told = state.snapshot(dropped=0, queue=0, sinks=(), take_ages=True)
    assert (told.frames_out, told.age_count) == (8, 5)
    assert list(told.ages) == pytest.approx([80, 70, 60, 50, 40], abs=5)


class MagicSink:
    """A sink that accepts everything."""

    url = "x"
    wants_key = threading.Event()

    def start(self, streams):
        pass

    def offer(self, packet):
        pass


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1", "vp9"])
def test_every_frame_comes_out_at_once_and_keyframes_regularly(codec):
    encoder = LiveEncoder(codec, (162, 128), Fraction(10), Fraction(1))
    times, keys = [], []
    picture = np.full((128, 162, 3), 80, np.uint8)
    for i in range(45):
        (packet,) = encoder(picture, i / 10, key=i == 7)
        times.append(packet.pts / 90_000)
        if packet.key:
            keys.append(i)
    assert not list(encoder.finish())
    assert times == [i / 10 for i in range(45)]
    assert keys == [0, 7, 27]


def test_time_stamps_of_packets_rise_by_a_millisecond_at_least():
    encoder = LiveEncoder("h264", (64, 48), Fraction(10), Fraction(1))
    picture = np.zeros((48, 64, 3), np.uint8)
    stamps = [p.pts for t in (0, 1, 0.5, 1.0005, 2) for p in encoder(picture, t, key=False)]
    assert stamps == [0, 90_000, 90_090, 90_180, 180_000]


def test_a_picture_of_another_shape_gets_black_bars():
    wide = np.full((60, 160, 3), 200, np.uint8)
    fitted = fit(wide, (80, 60))
    assert fitted.shape == (60, 80, 3)
    assert (fitted[15:45] == 200).all()
    assert not fitted[:15].any() and not fitted[45:].any()
    assert fit(wide, (160, 60)) is wide
    assert fit(np.full((2, 400, 3), 200, np.uint8), (80, 60)).any()  # a row is left of it


def test_planes_of_another_shape_get_black_bars_too():
    wide = np.full((90, 160), 128, np.uint8)
    wide[:60] = 200
    fitted = fit(wide, (80, 60))
    assert fitted.shape == (60, 80, 3)
    assert np.abs(fitted[15:45].astype(int) - round((200 - 16) * 255 / 219)).max() <= 1
    assert not fitted[:15].any() and not fitted[45:].any()
    assert fit(wide, (160, 60)) is wide


@pytest.mark.parametrize("size", [(64, 48), (1920, 1080)])
def test_the_slate_has_text_within_the_picture(size):
    picture = slate(size, ["a-camera-with-a-long-name", "no signal since 2026-11-23 18:00:00"])
    assert picture.shape == (size[1], size[0], 3)
    assert picture.max() > 100
    assert (picture[:, -2:] == picture[0, 0]).all()
