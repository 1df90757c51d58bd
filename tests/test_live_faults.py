"""Recovery from cameras and servers that die, freeze, change or send damaged data."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from support.live import (
    GainBackend,
    GainEngine,
    camera_server,
    config,
    free_port,
    freeze,
    moving_picture,
    open_things,
    published,
    read_pts,
    record_server,
    state,
    thaw,
    wait_for,
    wait_for_state,
)
from support.media import make_clip

from streamkind.engine.engine import Engine
from streamkind.live.config import CameraConfig
from streamkind.live.fleet import LiveFleet

VP8 = "vp8enc deadline=1 keyframe-max-dist=10 ! rtpvp8pay name=pay0 pt=96"


@contextmanager
def running(tmp_path, camera, **more):
    """Publish a live camera to a server; yield the fleet, the server and counts of open things."""
    with record_server(tmp_path) as server:
        with LiveFleet(GainEngine) as fleet:
            fleet.put(config(camera, published(server), **more))
            wait_for_state(fleet, "live")
            wait_for(lambda: state(fleet).sinks[0].state == "live", "the sink is not live")
            yield fleet, server, open_things()
            comes_on(fleet)
        wait_for(lambda: server.told("closed"), "it is still published")


def comes_on(fleet, name="yard"):
    """Wait until more frames are sent and written."""
    before = state(fleet, name)
    wait_for(lambda: state(fleet, name).frames_out >= before.frames_out + 5, "no more frames")
    wait_for(lambda: state(fleet, name).sinks[0].frames > before.sinks[0].frames, "not written")


def nothing_left_over(before):
    def is_so():
        return all(now <= then for now, then in zip(open_things(), before, strict=True))

    wait_for(is_so, f"{open_things()} after {before}")


def rises(times):
    assert len(times) > 10
    assert all(b > a for a, b in pairwise(times))


def test_a_camera_that_is_killed_comes_back(tmp_path):
    with (
        camera_server(tmp_path) as camera,
        running(tmp_path, camera) as (fleet, server, before),
    ):
        camera.kill()
        wait_for_state(fleet, "lost")
        frames = state(fleet).sinks[0].frames
        wait_for(lambda: state(fleet).sinks[0].frames > frames + 3, "no slate is sent")
        attempt = state(fleet).error_time
        wait_for(lambda: state(fleet).error_time > attempt, "no further attempt")
        camera.start()
        # The current pause is the second or third.
        wait_for_state(fleet, "live")
        told = state(fleet)
        assert told.reconnects == 1
        assert told.error.startswith("rtsp://127.0.0.1")
        assert (told.sinks[0].reconnects, told.sinks[0].state) == (0, "live")
        nothing_left_over(before)
    assert (server.told("connected"), server.told("closed")) == (1, 1)  # closed only at the end
    rises(read_pts(tmp_path / "seen.mkv"))


@pytest.mark.slow
def test_a_camera_may_come_back_with_another_codec(tmp_path):
    with (
        camera_server(tmp_path) as camera,
        running(tmp_path, camera) as (fleet, server, before),
    ):
        camera.kill()
        wait_for_state(fleet, "lost")
        coded = camera.words.index(moving_picture())
        camera.words[coded] = moving_picture(coder=VP8)
        camera.start()
        wait_for_state(fleet, "live")
        comes_on(fleet)
        assert state(fleet).sinks[0].reconnects == 0 and server.told("closed") == 0
        nothing_left_over(before)


@pytest.mark.slow
def test_a_camera_that_freezes_comes_back(tmp_path):
    with (
        camera_server(tmp_path) as camera,
        running(tmp_path, camera, timeout_seconds=2.0) as (fleet, server, before),
    ):
        freeze(camera)
        assert wait_for_state(fleet, "lost") >= 1.5  # the timeout is 2 s
        assert "no data came for 2 s" in state(fleet).error
        thaw(camera)
        wait_for_state(fleet, "live")
        assert state(fleet).reconnects == 1
        nothing_left_over(before)
        assert server.told("closed") == 0


def test_a_server_that_is_killed_gets_the_stream_again(tmp_path):
    with (
        camera_server(tmp_path) as camera,
        running(tmp_path, camera) as (fleet, server, before),
    ):
        server.kill()
        wait_for(lambda: state(fleet).sinks[0].state == "lost", "the sink is not lost")
        wait_for(lambda: state(fleet).sinks[0].dropped > 0, "no drop is counted")
        out = state(fleet).frames_out
        wait_for(lambda: state(fleet).frames_out > out, "the camera stops")
        server.start()
        wait_for(lambda: state(fleet).sinks[0].state == "live", "not live again")
        told = state(fleet)
        assert told.reconnects == 0 and told.sinks[0].reconnects == 1 and told.sinks[0].error
        nothing_left_over(before)


@pytest.mark.slow
def test_a_server_that_freezes_does_not_stop_the_camera(tmp_path):
    with (
        camera_server(tmp_path) as camera,
        running(tmp_path, camera) as (fleet, server, before),
    ):
        freeze(server)
        out = state(fleet).frames_out
        fleet.set("yard", target=0.5)
        wait_for(lambda: state(fleet).frames_out > out + 25, "the camera stops")
        server.kill()
        server.start()
        wait_for(lambda: state(fleet).sinks[0].reconnects == 1, "not live again")
        nothing_left_over(before)


@pytest.mark.slow
def test_a_picture_that_changes_its_size_is_fitted(tmp_path):
    clips = [make_clip(tmp_path / f"{w}.mp4", frames=40, size=(w, h), rate=10,
                           time_base=Fraction(1, 10),
                       options={"g": "5", "bf": "0", "crf": "10"})
             for w, h in ((320, 240), (192, 160))]  # fmt: skip
    stream = tmp_path / "both.h264"
    stream.write_bytes(b"".join(annex_b(clip) for clip in clips))
    pipeline = (
        f"( filesrc location={stream} ! h264parse ! video/x-h264,stream-format=byte-stream ! "
        "rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    with (
        camera_server(tmp_path, pipeline) as camera,
        running(tmp_path, camera) as (fleet, server, before),
    ):
        assert state(fleet).width == 320
        wait_for(lambda: state(fleet).width == 192, "the size did not change")
        comes_on(fleet)
        assert state(fleet).sinks[0].reconnects == 0 and state(fleet).reconnects == 0
        nothing_left_over(before)
        assert server.told("closed") == 0
        fleet.remove("yard")
        wait_for(lambda: server.told("closed"), "the server still has a client")
        with av.open(str(tmp_path / "seen.mkv")) as seen:
            sizes = {(f.width, f.height) for f in seen.decode(video=0)}
        assert sizes == {(320, 240)}
        fleet.put(config(camera, published(server)))
        wait_for_state(fleet, "live")


def with_sound(picture, sound):
    """Return the pipeline of a camera with picture and sound."""
    return (
        f"( {picture} ! video/x-raw,width=160,height=128,framerate=10/1 ! x264enc "
        "tune=zerolatency speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 pt=96 "
        f"config-interval=1 audiotestsrc is-live=true ! {sound} name=pay1 )"
    )


AAC = "audio/x-raw,rate=48000,channels=1 ! avenc_aac ! rtpmp4gpay pt=97"
TELEPHONE = "audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay pt=0"


def test_a_picture_that_stops_while_its_sound_goes_on_is_noticed(tmp_path):
    stops = with_sound("videotestsrc is-live=true num-buffers=40", AAC)
    with camera_server(tmp_path, stops) as camera, LiveFleet(GainEngine) as fleet:
        fleet.put(config(camera, timeout_seconds=2.0))
        # If the machine halts for two seconds, another error comes, and the camera starts again.
        wait_for(lambda: "data comes, but no picture" in state(fleet).error, "not noticed")
        told = state(fleet)
        assert 0 < told.frames_in <= 40 * (1 + told.reconnects)


def test_sound_that_a_recording_cannot_hold_is_left_out_and_reported(tmp_path):
    outputs = {"mp4": tmp_path / "mp4", "mkv": tmp_path / "mkv"}
    with (
        camera_server(tmp_path, with_sound("videotestsrc is-live=true", TELEPHONE)) as camera,
        LiveFleet(GainEngine) as fleet,
    ):
        for kind, folder in outputs.items():
            to = (str(folder), *([str(tmp_path / "hls" / "x.m3u8")] if kind == "mp4" else []))
            fleet.put(config(camera, *to, name=kind, recording=kind, segment_seconds=2.0))
            wait_for_state(fleet, "live", kind)
        for kind in outputs:
            wait_for(
                lambda kind=kind: all(s.frames > 30 for s in state(fleet, kind).sinks),
                "not written",
            )
        told = {kind: state(fleet, kind).sinks for kind in outputs}
    assert [sink.error for sink in told["mkv"]] == [""]
    for sink, kind in zip(told["mp4"], ("mp4", "hls"), strict=True):
        assert f"sound is left out: {kind} cannot hold pcm_mulaw" in sink.error
        assert (sink.state, sink.reconnects) == ("live", 0)
    for kind, folder in outputs.items():
        recordings = sorted(folder.iterdir())
        with av.open(str(recordings[0])) as recording:
            kinds = [stream.type for stream in recording.streams]
        assert kinds == (["video", "audio"] if kind == "mkv" else ["video"])
        assert sum(len(read_pts(recording)) for recording in recordings) > 10


def annex_b(clip):
    """Return the coded pictures of an MP4 with their parameter sets, as cameras send them."""
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        filtered = av.bitstream.BitStreamFilterContext("h264_mp4toannexb", stream)
        return b"".join(bytes(p) for packet in container.demux(stream) if packet.size
                        for p in filtered.filter(packet))  # fmt: skip


def test_damaged_packets_are_counted_and_left_out(tmp_path):
    snow = moving_picture(pattern="snow")  # so detailed that packets are mostly slice data
    with (
        camera_server(tmp_path, snow) as camera,
        flipping_proxy(camera.port) as (camera.port, flip),
        running(tmp_path, camera) as (fleet, server, before),
    ):
        assert state(fleet).damaged == 0
        flip.set()
        wait_for(lambda: state(fleet).damaged > 3, "no damage is counted")
        flip.clear()
        wait_for_state(fleet, "live")
        comes_on(fleet)
        assert server.told("closed") == 0
        nothing_left_over(before)


def cut_packets(waiting):
    """Yield whole packets of interleaved RTP, and the text between them; remove them."""
    while waiting:
        if waiting[:1] != b"$":
            size = waiting.find(b"$") if b"$" in waiting else len(waiting)
        elif len(waiting) < 4 or len(waiting) < 4 + int.from_bytes(waiting[2:4]):
            return
        else:
            size = 4 + int.from_bytes(waiting[2:4])
        yield waiting[:size]
        del waiting[:size]


@contextmanager
def flipping_proxy(port):
    """Forward TCP to `port`; while the event is set, flip bits in the data from the camera."""
    listener, flip, end = socket.create_server(("127.0.0.1", 0)), threading.Event(), []
    stop = threading.Event()

    def pump(source, sink, damage):
        random = np.random.default_rng(1)
        waiting = bytearray()
        with suppress(OSError):
            while data := source.recv(65536):
                waiting += data
                for part in cut_packets(waiting):
                    # $, channel and length, and the headers of RTP and of the slice, stay whole.
                    if damage and flip.is_set() and part[:2] == b"$\0" and len(part) > 64:
                        for at in random.integers(32, len(part), 1 + len(part) // 40):
                            part[at] ^= 1 << int(random.integers(8))
                    sink.sendall(part)
        for s in (source, sink):
            with suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def accept():
        with suppress(OSError):
            while not stop.is_set():
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                for args in ((client, server, False), (server, client, True)):
                    thread = threading.Thread(target=pump, args=args)
                    thread.start()
                    end.append(thread)
                end.extend((client, server))

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield listener.getsockname()[1], flip
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
        for thing in end:
            thing.join() if isinstance(thing, threading.Thread) else thing.close()


def test_a_wrong_password_is_told_apart(tmp_path):
    with (
        camera_server(tmp_path, moving_picture(), "user", "right") as camera,
        LiveFleet(GainEngine) as fleet,
    ):
        before = open_things()
        wrong = f"rtsp://user:wrong@127.0.0.1:{camera.port}/1"
        fleet.put(CameraConfig(name="yard", url=wrong))
        wait_for_state(fleet, "refused")
        told = state(fleet)
        assert "wrong user or password" in told.error
        assert "wrong@" not in str(told) and "user:***@" in told.url
        time.sleep(3)
        assert state(fleet).error_time == told.error_time  # no second attempt: the pause is long
        fleet.put(CameraConfig(name="yard", url=wrong.replace("wrong", "right")))
        wait_for_state(fleet, "live")
        fleet.remove("yard")
        nothing_left_over(before)


def test_frames_for_a_server_that_is_not_there_count_as_dropped(tmp_path):
    with camera_server(tmp_path) as camera, LiveFleet(GainEngine) as fleet:
        fleet.put(config(camera, f"rtsp://127.0.0.1:{free_port()}/in"))
        wait_for_state(fleet, "live")
        wait_for(lambda: state(fleet).sinks[0].state == "lost", "the sink is not lost")
        wait_for(lambda: state(fleet).sinks[0].dropped > 10, "no drop is counted")
        assert state(fleet).sinks[0].frames == 0


@pytest.mark.parametrize("address", ["127.0.0.1:{closed}", "10.255.255.1:554"])
def test_a_host_that_is_not_there_is_tried_again(address):
    before = open_things()
    url = f"rtsp://{address.format(closed=free_port())}/1"
    with LiveFleet(GainEngine) as fleet:
        fleet.put(CameraConfig(name="yard", url=url, timeout_seconds=1.0))
        wait_for(lambda: state(fleet).error, "no error is told")
        first = state(fleet).error_time
        wait_for(lambda: state(fleet).error_time > first, "it is not tried again")
        told = state(fleet)
        assert told.state == "connecting" and told.frames_in == 0
        assert "password" not in told.error
    wait_for(lambda: open_things() == before, f"{open_things()} after {before}")


@pytest.mark.slow
def test_one_failure_touches_no_other_camera(tmp_path):
    with (
        camera_server(tmp_path) as good,
        camera_server(tmp_path) as bad,
        LiveFleet(lambda: Engine(FailsOnce(max_batch=2))) as fleet,
    ):
        fleet.put(config(good, name="good"))
        fleet.put(config(bad, name="bad"))
        wait_for_state(fleet, "live", "good")
        wait_for_state(fleet, "live", "bad")
        wait_for(
            lambda: any("engine: lost" in state(fleet, name).error for name in ("bad", "good")),
            "the failure is not told",
        )
        bad.kill()
        wait_for_state(fleet, "lost", "bad")
        before = state(fleet, "good")
        wait_for(lambda: state(fleet, "good").frames_out > before.frames_out + 20, "stopped")
        assert state(fleet, "good").state == "live"


class FailsOnce(GainBackend):
    """A backend that fails on its tenth batch."""

    def recompose(self, layers, ratios):
        if len(self.batches) == 10:
            raise RuntimeError("lost the device")
        return super().recompose(layers, ratios)


class Breaks(GainBackend):
    """A backend that fails on each frame while `broken` is set, also after it is opened again."""

    broken = threading.Event()

    def decompose(self, pixels):
        if self.broken.is_set():
            raise RuntimeError("lost the device")
        return super().decompose(pixels)


def test_a_camera_whose_frames_the_engine_cannot_take_is_not_live(tmp_path):
    with (
        camera_server(tmp_path) as camera,
        record_server(tmp_path) as server,
        LiveFleet(lambda: Engine(Breaks())) as fleet,
    ):
        fleet.put(config(camera, published(server)))
        wait_for_state(fleet, "live")
        wait_for(lambda: state(fleet).sinks[0].state == "live", "the sink is not live")
        before = open_things()
        yard = fleet._cameras["yard"]  # its connection keeps its own timeout
        yard.change(yard.config.model_copy(update={"timeout_seconds": 0.5}))
        Breaks.broken.set()
        try:
            wait_for_state(fleet, "lost")
            told = state(fleet)
            assert "engine: lost the device" in told.error
            frames = told.sinks[0].frames
            wait_for(lambda: state(fleet).sinks[0].frames > frames + 3, "no slate is sent")
            assert state(fleet).frames_out == told.frames_out
            assert told.dropped > 0  # frames that failed are counted
        finally:
            Breaks.broken.clear()
        wait_for_state(fleet, "live")
        comes_on(fleet)
        assert server.told("closed") == 0 and state(fleet).reconnects == 0
        nothing_left_over(before)
