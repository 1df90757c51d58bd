"""Recordings and HLS: restarts, full disks, names, permissions and retention."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from loopback.scripted import ScriptedCamera
from support.live import GainEngine, children, read_pts, state, wait_for

from streamkind.errors import OutputError
from streamkind.live import output, publish
from streamkind.live.clock import LiveClock
from streamkind.live.config import CameraConfig
from streamkind.live.encoder import HLS_KEY_SECONDS, KEY_SECONDS, TIME_BASE, Coded, LiveEncoder
from streamkind.live.fleet import LiveFleet
from streamkind.live.frame_queue import WaitingFrame
from streamkind.live.order import order
from streamkind.live.publish import Hls, Recordings, clean, new_file
from streamkind.live.sink import Publisher
from streamkind.live.state import CameraState


def config(**more):
    return CameraConfig(name="yard", url="rtsp://h/1", **more)


class Written:
    """Sends frames to a publisher: `rate` per second of the stream, but without waiting."""

    def __init__(self, to, rate=10, key_seconds=KEY_SECONDS, sound=(), **more):
        self._encoder = LiveEncoder("h264", (64, 48), Fraction(rate), Fraction(1), key_seconds)
        self._rate, self._count = rate, 0
        told = order(str(to), config(**more))
        self.publisher = Publisher(told, [self._encoder.stream, *sound], threading.Event())
        self.pid = self.publisher._process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.publisher.close()

    def write(self, seconds):
        for _ in range(round(seconds * self._rate)):
            noise = np.random.default_rng(self._count).integers(0, 99, (48, 64, 3), np.uint8)
            for packet in self._encoder(noise, self._count / self._rate, key=False):
                self.publisher.write(packet)
            self._count += 1
        return self


def sound_of(path):
    """Write a tone as ADTS in MPEG-TS; return its stream, and its packets as `Coded`."""
    words = ["-f", "lavfi", "-i", "sine=440:d=2", "-c:a", "aac", "-f", "mpegts", str(path)]
    subprocess.run(["ffmpeg", "-v", "error", *words], check=True)
    stream = av.open(str(path)).streams.audio[0]
    packets = [packet for packet in stream.container.demux(stream) if packet.size]
    times = [round((p.pts - packets[0].pts) * p.time_base / TIME_BASE) for p in packets]
    coded = [Coded(bytes(p), t, 0, True, False) for p, t in zip(packets, times, strict=True)]
    return stream, coded


def mkv_and_mp4(test):
    return pytest.mark.parametrize("recording", ["mkv", "mp4"])(test)


@mkv_and_mp4
def test_a_damaged_packet_of_sound_does_not_end_a_recording(recording, tmp_path):
    stream, packets = sound_of(tmp_path / "in.ts")
    data = bytearray(packets[30].data)
    data[1] &= 0xFE  # there is a CRC
    data[6] |= 3  # and there are four blocks; FFmpeg refuses both together
    packets[30] = replace(packets[30], data=bytes(data))
    with Written(tmp_path / "out", recording=recording, sound=[stream]) as written:
        written.write(1)
        for packet in packets:
            written.publisher.write(packet)
        written.publisher.finish()
        heard = written.publisher.lines()
    assert heard == ["live", "error some packets of sound are damaged; they are left out"]
    (file,) = (tmp_path / "out").iterdir()
    with av.open(str(file)) as container:
        assert sum(bool(p.size) for p in container.demux(audio=0)) == len(packets) - 1


@mkv_and_mp4
def test_recordings_are_cut_at_keyframes_and_each_begins_at_0(recording, tmp_path):
    with Written(tmp_path / "100%d rec", recording=recording, segment_seconds=4.0) as written:
        written.write(11).publisher.finish()
    files = sorted((tmp_path / "100%d rec").iterdir(), key=lambda f: f.stat().st_mtime_ns)
    assert [len(read_pts(file)) for file in files] == [40, 40, 30]
    for file in files:
        times = read_pts(file)
        assert times[0] < 0.05 and np.diff(times) == pytest.approx(0.1, abs=0.002)
        assert file.stat().st_mode & 0o777 == 0o640
        assert re.fullmatch(rf"\d{{8}}-\d{{6}}Z(-\d+)?\.{recording}", file.name)


@mkv_and_mp4
def test_a_recording_that_is_killed_can_be_read(recording, tmp_path):
    with Written(tmp_path / "rec", recording=recording) as written:
        written.write(20)
        (file,) = wait_for_files(tmp_path / "rec")
        wait_for(lambda: file.stat().st_size > 30_000, "nothing is written")
    assert len(read_pts(file)) > 10


def wait_for_files(folder):
    wait_for(lambda: folder.exists() and list(folder.iterdir()), "no file")
    return list(folder.iterdir())


def test_a_file_of_the_same_second_is_never_written_over(tmp_path):
    files = []
    for _ in range(5):
        files.append(new_file(tmp_path, "mkv"))
        files[-1].write_text("precious")
    assert len(set(files)) == 5
    assert all(file.read_text() == "precious" for file in files)


HOUR = 3600.0


@pytest.mark.parametrize(
    ("ages", "limits", "kept"),
    [
        # The time of writing counts, not the name. The name of file 0 is in the future.
        ([5, 4, 3, 2, 1], {"keep": 250}, [3, 4]),
        ([1, 2, 3, 4, 5], {"keep": 250}, [0, 1]),
        # A time of writing in the future comes from a wrong clock. Such files are deleted first.
        ([-99, 4, 3, 2, 1], {"keep": 250}, [3, 4]),
        ([-99, -98, 3, 2, 1], {"keep": 350}, [2, 3, 4]),
        ([-99, -98, -97, -96, -95], {"keep": 250}, [0, 1]),
        # The newest file is kept at any limit.
        ([5, 4, 3, 2, 1], {"keep": 1}, [4]),
        ([5, 4, 3, 2, 1], {"free": 1e18}, [4]),
        ([72, 71, 70, 69, 68], {"days": 1}, [4]),
        ([72, 49, 47, 2, 1], {"days": 2}, [2, 3, 4]),
        ([72, 49, 47, 2, 1], {"days": 2, "keep": 150}, [4]),
        ([-99, 49, 47, 2, 1], {"days": 2}, [0, 2, 3, 4]),
        ([5, 4, 3, 2, 1], {}, [0, 1, 2, 3, 4]),
    ],
)
def test_retention_goes_by_the_time_of_writing(ages, limits, kept, tmp_path):
    names = ["20990101-000000Z", "20260101-000000", "20260102-000000Z-2"]
    names += ["20260103-000000Z", "20260104-000000Z"]
    files = [tmp_path / f"{name}.mkv" for name in names]
    for file, age in zip(files, ages, strict=True):
        file.write_bytes(bytes(100))
        os.utime(file, (time.time() - age * HOUR,) * 2)
    others = [tmp_path / "notes.mkv", tmp_path / "20260101.mkv"]
    for other in others:
        other.write_bytes(bytes(1000))
    clean(tmp_path, limits.pop("keep", 0.0), **limits)
    assert [i for i, file in enumerate(files) if file.exists()] == kept
    assert all(other.exists() for other in others)


def test_a_recording_that_is_being_written_is_never_deleted(tmp_path):
    files = [tmp_path / f"2026010{i}-000000Z.mkv" for i in (1, 2, 3)]
    for i, file in enumerate(files):
        file.write_bytes(bytes(100))
        os.utime(file, (1e9 + i,) * 2)
    clean(tmp_path, 1, days=1, free=1e18, writing=files[0])
    assert [file.exists() for file in files] == [True, False, True]


def test_a_recording_that_cannot_be_deleted_does_not_keep_others(tmp_path):
    files = [tmp_path / f"2026010{i}-000000Z.mkv" for i in (1, 2, 3, 4)]
    files[0].mkdir()  # a folder cannot be unlinked, like a file of another user
    for i, file in enumerate(files):
        if i:
            file.write_bytes(bytes(100))
        os.utime(file, (1e9 + i,) * 2)
    with pytest.raises(OSError, match=files[0].name):
        clean(tmp_path, 1)
    assert [file.exists() for file in files] == [True, False, False, True]


def test_a_link_to_a_disk_that_is_not_there_does_not_keep_recordings(tmp_path):
    files = [tmp_path / f"2026010{i}-000000Z.mkv" for i in (1, 2, 3, 4)]
    files[0].symlink_to(tmp_path / "nas" / files[0].name)
    for i, file in enumerate(files):
        if i:
            file.write_bytes(bytes(10_000))
        os.utime(file, (1e9 + i,) * 2, follow_symlinks=False)
    clean(tmp_path, 25_000)
    assert [file.exists() for file in files] == [False, False, True, True]


@pytest.mark.parametrize("to", ["yard:1", "yard:1/a.m3u8"])
def test_a_relative_name_may_have_a_colon(to, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Written(to) as written:
        written.write(2.0)
        written.publisher.finish()
    found = {file.suffix: file.stat().st_size for file in Path("yard:1").iterdir()}
    assert set(found) == ({".mkv"} if to == "yard:1" else {".ts", ".m3u8"})
    assert all(found.values())


def test_retention_works_where_files_have_no_number_of_blocks(tmp_path, monkeypatch):
    """Check `clean` with what `stat` tells on Windows."""
    files = [tmp_path / f"2026010{i}-000000Z.mkv" for i in (1, 2, 3)]
    for i, file in enumerate(files):
        file.write_bytes(bytes(100))
        os.utime(file, (1e9 + i,) * 2)
    real = os.stat
    with monkeypatch.context() as patch:
        told = lambda file, **_: SimpleNamespace(st_size=100, st_mtime=real(file).st_mtime)  # noqa: E731
        patch.setattr(Path, "stat", told)
        clean(tmp_path, 1, free=1e18)
    assert [file.exists() for file in files] == [False, False, True]


def test_a_publisher_ends_by_no_signal_of_its_console(monkeypatch):
    heard = {}
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)  # as on Windows
    monkeypatch.setattr(signal, "signal", heard.__setitem__)
    monkeypatch.setattr(publish, "read_line", lambda file: b"{}")
    monkeypatch.setattr(publish, "publish", lambda order: None)
    publish.main()
    assert heard == dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGUSR1), signal.SIG_IGN)


def test_a_publisher_keeps_recordings_within_the_limits(tmp_path):
    folder = tmp_path / "rec"
    folder.mkdir()
    old = folder / "20990101-000000Z.mkv"
    old.write_bytes(bytes(5000))
    os.utime(old, (1e9,) * 2)
    with Written(folder, keep_gb=1e-6) as written:
        written.write(3).publisher.finish()
    assert old not in list(folder.iterdir()) or len(list(folder.iterdir())) == 2
    with Written(folder, keep_days=1.0) as written:
        written.write(3).publisher.finish()
    assert old not in list(folder.iterdir()) and len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "go",
    [Path.unlink, lambda file: file.rename("b.mkv"), lambda file: shutil.rmtree(file.parent)],
    ids=["deleted", "moved", "folder deleted"],
)
def test_a_deleted_recording_is_replaced_by_a_new_file(go, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(publish, "LOOK_SECONDS", -1.0)
    encoder = LiveEncoder("h264", (64, 48), Fraction(10), Fraction(1))
    folder = tmp_path / "rec"
    folder.mkdir()
    with Recordings(order(str(folder), config()), encoder.stream.container) as recording:

        def write(number):
            for coded in encoder(np.zeros((48, 64, 3), np.uint8), number / 10, key=False):
                packet = av.Packet(coded.data)
                packet.stream, packet.time_base = encoder.stream, TIME_BASE
                packet.pts, packet.is_keyframe = coded.pts, coded.key
                recording.write(packet)

        write(0)
        go(next(folder.iterdir()))
        with pytest.raises(OSError, match="deleted or moved"):
            write(1)


def playlist(folder):
    return (folder / "live.m3u8").read_text() if (folder / "live.m3u8").exists() else ""


def parts_of(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("end", ["kill", "finish"])
def test_hls_goes_on_after_a_restart(end, tmp_path):
    hls, sequences = tmp_path / "live.m3u8", []
    for run in range(3):
        with Written(hls, key_seconds=HLS_KEY_SECONDS) as written:
            before = parts_of(playlist(tmp_path))
            written.write(5)
            if end == "finish":
                written.publisher.finish()
            fresh = lambda: set(parts_of(playlist(tmp_path))) - set(before)  # noqa: B023, E731
            wait_for(lambda: len(fresh()) >= 3, "no parts")  # noqa: B023
        text = playlist(tmp_path)
        assert "#EXT-X-ENDLIST" not in text
        assert text.count("#EXT-X-DISCONTINUITY\n") >= run > 0 or run == 0
        assert not before or before[-1] in parts_of(text)  # a player that was there can continue
        sequences.append(int(re.search(r"MEDIA-SEQUENCE:(\d+)", text)[1]))
        durations = [float(d) for d in re.findall(r"#EXTINF:([\d.]+)", text)]
        assert max(durations) <= 1.05 and int(re.search(r"DURATION:(\d+)", text)[1]) <= 2
        assert all((tmp_path / name).stat().st_size for name in parts_of(text))
    assert all(b >= a for a, b in pairwise(sequences))


@pytest.mark.parametrize(
    "left",
    [
        b"",
        bytes(4096),
        bytes(range(128, 256)),
        b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:17\n#EXTINF:0.9000",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:99999999999\n#EXT-X-MEDIA-SEQUENCE:-5\n#EXTINF:a,\n\n",
    ],
    ids=["empty", "zeros", "no text", "cut off", "no numbers"],
)
def test_hls_begins_anew_where_a_power_cut_has_damaged_its_playlist(left, tmp_path):
    (tmp_path / "live.m3u8").write_bytes(left)
    with Written(tmp_path / "live.m3u8", key_seconds=HLS_KEY_SECONDS) as written:
        written.write(4).publisher.finish()
    assert len(parts_of(playlist(tmp_path))) >= 4
    assert all((tmp_path / name).stat().st_size for name in parts_of(playlist(tmp_path)))


def test_old_parts_of_hls_are_deleted_through_restarts(tmp_path):
    for _ in range(3):
        with Written(tmp_path / "live.m3u8", key_seconds=HLS_KEY_SECONDS) as written:
            written.write(25).publisher.finish()
    assert len(list(tmp_path.glob("*.ts"))) <= 32


@pytest.mark.parametrize("room", [0, 3000])
@pytest.mark.parametrize("to", ["mkv", "mp4", "live.m3u8"])
def test_a_full_disk_is_told_by_name(to, room, tmp_path):
    more = {"recording": to} if "." not in to else {}
    said = []
    with Written(tmp_path / to, key_seconds=HLS_KEY_SECONDS, **more) as written:
        written.write(1)
        wait_for(lambda: "live" in said or said.extend(written.publisher.lines()), "not live")
        resource.prlimit(written.pid, resource.RLIMIT_FSIZE, (room, room))
        with pytest.raises(OutputError):
            while True:
                written.write(0.5)
                time.sleep(0.02)
                if written.publisher.failed:
                    raise OutputError("it has ended")
        written.publisher.await_end()
        said = [line for line in written.publisher.lines() if line.startswith("failed ")]
    assert len(said) == 1
    assert "File too large" in said[0]
    assert not [f for f in tmp_path.rglob("*.mkv") if not f.stat().st_size]


@pytest.mark.parametrize("room", [0, 100, 300, 3000])
@pytest.mark.parametrize("seconds", [0, 3])
def test_no_part_of_hls_is_listed_that_is_not_whole(room, seconds, tmp_path):
    with Written(tmp_path / "live.m3u8", key_seconds=HLS_KEY_SECONDS) as written:
        written.write(seconds)
        wait_for(lambda: len(parts_of(playlist(tmp_path))) >= seconds, "no parts")
        resource.prlimit(written.pid, resource.RLIMIT_FSIZE, (room, room))
        with contextlib.suppress(OutputError):
            written.write(2)
            written.publisher.finish()
    listed = parts_of(playlist(tmp_path))
    assert len(listed) >= seconds
    for name in listed:
        assert read_pts(tmp_path / name) and (tmp_path / name).stat().st_size > max(room, 5000)


def test_a_part_without_a_picture_is_not_listed(tmp_path):
    encoder = LiveEncoder("h264", (64, 48), Fraction(10), Fraction(1))
    told = order(str(tmp_path / "live.m3u8"), config())
    with Hls(told, SimpleNamespace(streams=[encoder.stream])):
        pass
    assert not parts_of(playlist(tmp_path))


def test_the_reason_of_a_publisher_reaches_the_status(tmp_path):
    with ScriptedCamera(size=(320, 240)) as camera, LiveFleet(GainEngine) as fleet:
        to = (str(tmp_path / "rec"), str(tmp_path / "hls" / "live.m3u8"))
        fleet.put(CameraConfig(name="yard", url=camera.url, to=to, timeout_seconds=60.0))
        wait_for(lambda: [s.state for s in state(fleet).sinks] == ["live"] * 2, "not live")
        for child in children(os.getpid()):
            resource.prlimit(child, resource.RLIMIT_FSIZE, (200, 200))
        wait_for(lambda: all(s.error for s in state(fleet).sinks), "nothing is told")
        told = state(fleet).sinks
    assert "File too large" in told[0].error
    assert "check the space on the disk" in told[1].error


@pytest.mark.parametrize("size", [(160, 128), (1280, 720)])  # RGB, and YUV planes
def test_recordings_show_before_and_after_beside_outputs_that_show_the_result(tmp_path, size):
    folder, playlist = tmp_path / "yard", tmp_path / "hls" / "yard.m3u8"
    more = {"ratio": 3.0, "side_by_side": True, "max_delay_seconds": 60.0, "timeout_seconds": 60.0}
    with ScriptedCamera(size=size, rate=5, gop=5) as camera, LiveFleet(GainEngine) as fleet:
        to = (str(folder), str(playlist))
        fleet.put(CameraConfig(name="yard", url=camera.url, to=to, **more))
        wait_for(lambda: all(s.frames > 7 for s in state(fleet).sinks), "nothing comes out")
        wait_for(playlist.exists, "no playlist")
        fleet.remove("yard")
    (recording,) = folder.iterdir()
    part = max(playlist.parent.glob("*.ts"), key=lambda part: part.stat().st_size)
    before, after = np.split(first_luma(recording), 2, axis=1)
    result = first_luma(part)
    assert before.shape == after.shape == result.shape == size[::-1]
    light = after.mean() - 16
    assert light > 1.5 * (before.mean() - 16) > 0
    assert result.mean() - 16 == pytest.approx(light, rel=0.2)


def first_luma(path):
    # FFmpeg does not recognise MPEG-TS from a few packets.
    with av.open(str(path), format="mpegts" if path.suffix == ".ts" else None) as container:
        return next(container.decode(video=0)).to_ndarray(format="gray")


@pytest.mark.parametrize("to", ["hls/yard.m3u8", "${YARD_LIST}"])
def test_hls_has_its_keyframes_however_it_is_named(to, monkeypatch):
    monkeypatch.setenv("YARD_LIST", "hls/yard.m3u8")
    out = output.Output(CameraState(config(to=("yard", to))), LiveClock(0.0))
    assert [channel._key_seconds for channel in out._channels] == [HLS_KEY_SECONDS]


def test_outputs_are_finished_although_the_encoder_fails_at_its_end(monkeypatch):
    class Fails(LiveEncoder):
        def finish(self):
            raise OutputError("lost the device")

    stopped = []
    monkeypatch.setattr(output, "LiveEncoder", Fails)
    monkeypatch.setattr(output.LiveSink, "start", lambda *_: None)
    monkeypatch.setattr(output.LiveSink, "stop", lambda sink: stopped.append(sink.url))
    state = CameraState(config(to=("yard", "rtsp://h/2")))
    out = output.Output(state, LiveClock(0.0))
    viewer = out.viewers.add(lambda: None)
    out._encode(WaitingFrame(np.zeros((48, 64, 3), np.uint8), 0.0, time.monotonic()))
    out.stop()
    out._run()
    assert (stopped, viewer.closed) == (["yard", "rtsp://h/2"], True)
    told = state.snapshot(dropped=0, queue=0, sinks=(), take_ages=True)
    assert told.error == "encoder: lost the device"


def lacks_wide(*, opens):
    """Return an encoder that fails on pictures side by side: when it opens, or at the first one."""

    class Encoder(LiveEncoder):
        def __init__(self, codec, size, *more):
            self._wide = size[0] > 64
            if self._wide and not opens:
                raise OutputError("too wide")
            super().__init__(codec, size, *more)

        def __call__(self, *how, **more):
            if self._wide:
                raise OutputError("too wide")
            return super().__call__(*how, **more)

    return Encoder


@pytest.mark.parametrize("opens", [False, True])
def test_an_encoder_that_fails_does_not_slow_the_other_outputs(opens, monkeypatch):
    sent, now = [], time.monotonic()
    monkeypatch.setattr(output, "time", SimpleNamespace(**{**vars(time), "monotonic": lambda: now}))
    monkeypatch.setattr(output, "LiveEncoder", lacks_wide(opens=opens))
    monkeypatch.setattr(output.LiveSink, "start", lambda *_: None)
    monkeypatch.setattr(output.LiveSink, "offer", lambda sink, _: sent.append(sink.url))
    state = CameraState(config(to=("yard", "rtsp://h/2"), side_by_side=True))
    out = output.Output(state, LiveClock(0.0))
    pixels = np.zeros((48, 64, 3), np.uint8)
    for i in range(5):
        out.queue.put(WaitingFrame(pixels, i / 10, now, pixels))
        assert out._step()
    assert sent == 5 * ["rtsp://h/2"]
    told = state.snapshot(dropped=out.queue.dropped, queue=0, sinks=(), take_ages=True)
    assert (told.frames_out, told.dropped, told.age_count) == (5, 0, 5)
    assert told.error == "encoder: too wide"
    assert out._wanted() == out._channels[:1]
    now += output.RETRY_SECONDS
    assert out._wanted() == out._channels  # it is tried again


def test_an_encoder_that_fails_gives_way_to_another_of_the_same_size(monkeypatch):
    opened, sent = [], []

    class Lost(LiveEncoder):
        """An encoder on a card. The first one fails from its third picture on."""

        def __init__(self, codec, size, *more):
            opened.append((self, size))
            self._left = 2 if len(opened) == 1 else 99
            super().__init__(codec, size, *more)

        def __call__(self, *how, **more):
            self._left -= 1
            if self._left < 0:
                raise OutputError("the card is lost")
            return super().__call__(*how, **more)

    monkeypatch.setattr(output, "LiveEncoder", Lost)
    monkeypatch.setattr(output.LiveSink, "start", lambda *_: None)
    monkeypatch.setattr(output.LiveSink, "offer", lambda _, packet: sent.append(packet))
    out = output.Output(CameraState(config(to=("yard",))), LiveClock(0.0))
    for i in range(6):
        size = (48, 64, 3) if i < 2 else (96, 128, 3)
        with pytest.raises(OutputError) if i == 2 else contextlib.nullcontext():
            out._encode(WaitingFrame(np.zeros(size, np.uint8), i / 10, time.monotonic()))
    assert [size for _, size in opened] == [(64, 48), (64, 48)]
    assert [packet.pts for packet in sent] == [9000 * i for i in (0, 1, 3, 4, 5)]
    assert [packet.key for packet in sent] == [True, False, True, False, False]


def test_an_output_for_which_there_was_no_thread_is_started_later(monkeypatch):
    starts = []

    class Thread(threading.Thread):
        """A thread that has run at once. The system gives none at the second start."""

        def start(self):
            starts.append(1)
            if len(starts) == 2:
                raise RuntimeError("can't start new thread")
            self._ident = 1

    monkeypatch.setattr("streamkind.live.sink.threading.Thread", Thread)
    out = output.Output(CameraState(config(to=("yard", "rtsp://h/2"))), LiveClock(0.0))
    frame = WaitingFrame(np.zeros((48, 64, 3), np.uint8), 0.0, time.monotonic())
    with pytest.raises(RuntimeError):
        out._encode(frame)
    assert [sink._thread.ident is None for sink in out.sinks] == [False, True]
    out._encode(frame)
    assert [sink._thread.ident is None for sink in out.sinks] == [False, False]
    assert len(starts) == 3


def test_the_result_is_not_encoded_for_recordings_that_are_side_by_side(monkeypatch):
    """Check that it is encoded as soon as there is a viewer."""
    opened = []

    class Encoder(LiveEncoder):
        def __init__(self, codec, size, *more):
            opened.append(size)
            super().__init__(codec, size, *more)

    monkeypatch.setattr(output, "LiveEncoder", Encoder)
    monkeypatch.setattr(output.LiveSink, "start", lambda *_: None)
    state = CameraState(config(to=("yard",), side_by_side=True))
    out = output.Output(state, LiveClock(0.0))
    pixels = np.zeros((48, 64, 3), np.uint8)
    out._encode(WaitingFrame(pixels, 0.0, time.monotonic(), pixels))
    assert opened == [(128, 48)]
    out.viewers.add(lambda: None)
    out._encode(WaitingFrame(pixels, 0.1, time.monotonic(), pixels))
    out.viewers.close()
    assert opened == [(128, 48), (64, 48)]
    told = state.snapshot(dropped=0, queue=0, sinks=(), take_ages=True)
    assert (told.frames_out, told.age_count) == (2, 2)
