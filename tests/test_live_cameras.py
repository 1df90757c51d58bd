"""Peculiarities of real cameras: clocks, keyframes, logins and transports."""

from __future__ import annotations

import itertools
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from loopback.rtp import coded_pictures
from loopback.scripted import Script, ScriptedCamera
from support.interlaced import combing
from support.live import (
    GainEngine,
    camera_server,
    config,
    moving_picture,
    read_pts,
    state,
    wait_for,
    wait_for_state,
)

from streamkind.errors import InputError
from streamkind.live import source
from streamkind.live.clock import JUMP_SECONDS, Backoff, LiveClock
from streamkind.live.config import CameraConfig
from streamkind.live.explain import RefusedError, SilentError
from streamkind.live.fleet import LiveFleet
from streamkind.live.source import Connection, Picture


def connect(camera, count=lambda damaged, seconds: None, timeout=60.0, kind=Connection, **options):
    url = camera if isinstance(camera, str) else camera.url
    return kind(url, timeout, threading.Event(), count, lambda *size: "rgb24", **options)


def sdp(change):
    return Script(sdp=change)


def noisy(number, width, height):
    """Return a picture of noise, whose coded size exceeds one packet."""
    return np.random.default_rng(number).integers(0, 40, (height, width, 3), np.uint8)


def pictures_of(connection):
    return (item for item in connection if isinstance(item, Picture))


def first_pictures(connection, count):
    return list(itertools.islice(pictures_of(connection), count))


def timeline(stamp, rate=10.0, seconds=30.0, late=lambda now: 0.0):
    """Return the clock, the arrival times of pictures, and the times that the clock gives them.

    `stamp` is the camera's time stamp of a picture. All times are in seconds.
    """
    clock = LiveClock(0.0)
    times = np.arange(0, seconds, 1 / rate)
    arrivals = np.maximum.accumulate([t + late(t) for t in times])
    both = zip(times.tolist(), arrivals.tolist(), strict=True)
    return clock, arrivals, np.array([clock(stamp(t), now) for t, now in both])


@pytest.mark.parametrize("rate", [2.0, 10.0, 60.0])
@pytest.mark.parametrize("speed", [0.0, 1e-4, 1 / 25, 0.5, 0.7, 1.35, 2.0, 10.0])
def test_a_clock_that_runs_wrong_is_replaced_by_arrival_times(speed, rate):
    clock, arrivals, ours = timeline(lambda t: 7.0 + speed * t, rate)
    if speed / rate < JUMP_SECONDS:  # or else every picture is a jump
        assert clock.wrong_speed == pytest.approx(max(speed, 1e-3), rel=0.2)
    later = arrivals > 12
    assert np.diff(ours[later]) == pytest.approx(np.diff(arrivals[later]), abs=1e-6)
    assert ours[-1] > arrivals[-1] - 1.5  # the timeline is not shorter than the real time
    assert (np.diff(ours) >= 0).all()


@pytest.mark.parametrize("speed", [0.85, 0.999, 1.0, 1.15])
@pytest.mark.parametrize(
    "late",
    [
        lambda now: 0.0,
        lambda now: 0.3 * (int(now * 10) % 3),  # jitter
        lambda now: 4.0 if 5 <= now < 9 else 0.0,  # a stall, then all at once
        lambda now: max(0.0, 2.0 - now),  # pictures that the camera stored come first, all at once
        lambda now: 3.0 if 5 < now < 5.2 or 9 < now < 9.2 or 13 < now < 13.2 else 0.0,
    ],
)
def test_a_clock_that_is_only_inexact_or_late_is_followed(late, speed):
    clock, _, ours = timeline(lambda t: 7.0 + speed * t, late=late)
    assert clock.wrong_speed == 0
    assert np.diff(ours) == pytest.approx(speed * 0.1)


def test_a_clock_is_followed_again_when_it_was_the_network():
    slow = lambda now: min(now, 6.0) if now < 8 else 0.0  # noqa: E731
    clock, _, ours = timeline(lambda t: t, seconds=40, late=slow)
    assert clock.wrong_speed == 0
    assert np.diff(ours[-50:]) == pytest.approx(0.1)


@pytest.mark.parametrize("step", [-2.0, -0.5, -3.5, -100.0, 5.0, 1000.0])
def test_a_camera_clock_that_is_set_does_not_change_the_timeline(step):
    _, arrivals, ours = timeline(lambda t: 50 + t + (step if t >= 10 else 0.0))
    assert np.diff(ours) == pytest.approx(np.diff(arrivals), abs=0.01)


@pytest.mark.parametrize("late", [lambda now: 0.0, lambda now: 0.07 * (int(now * 10) % 3)])
@pytest.mark.parametrize("step", [0.2, 0.5, 1.0, 2.0, 10.0])
def test_a_clock_that_steps_seldom_is_followed(step, late):
    """Check a clock that changes only every `step` seconds."""
    _, arrivals, ours = timeline(lambda t: 50 + step * ((t + 0.3) // step), late=late)
    assert (np.diff(ours) >= 0).all() and np.diff(ours).max() < 0.6
    assert ours[-1] - ours[0] == pytest.approx(arrivals[-1] - arrivals[0], abs=0.6)


@pytest.mark.parametrize("speed", [-1.0, -0.3])
def test_a_clock_that_runs_backwards_does_not_stop_ours(speed):
    _, arrivals, ours = timeline(lambda t: 1000 + speed * t)
    assert (np.diff(ours) >= 0).all() and np.diff(ours).max() < 3
    assert ours[-1] - ours[0] == pytest.approx(arrivals[-1] - arrivals[0], abs=1)


@pytest.mark.parametrize("rate", [5.0, 25.0])
@pytest.mark.parametrize(
    "stamp",
    [
        lambda t: t % 1,  # starts again with each group of pictures
        lambda t: (t % 2) / 2,
        lambda t: 2.5 * t % 1,
        lambda t: 2 * t - int(t) % 2,
        lambda t: t + 0.5 * (round(25 * t) % 3),  # pictures in another order than their stamps
        lambda t: t + 2.9 * int(t / 4),
        lambda t: 1000 * np.sin(1e4 * t),  # at random
    ],
)
def test_a_clock_that_is_set_again_and_again_is_replaced_by_arrival_times(stamp, rate):
    clock, arrivals, ours = timeline(stamp, rate)
    assert clock.set_too_often or clock.wrong_speed
    later = arrivals > 14
    assert (np.diff(ours) >= 0).all()
    assert np.diff(ours[later]) == pytest.approx(np.diff(arrivals[later]), abs=0.6)
    assert ours[-1] - ours[later][0] == pytest.approx(arrivals[-1] - arrivals[later][0], abs=0.6)


@pytest.mark.parametrize("sets", [2, 3])
def test_the_first_picture_of_a_connection_sets_no_clock(sets):
    clock = LiveClock(0.0)
    for begin in (0.0, 100.0):  # the second after a reconnect
        clock.restart()
        for now in np.arange(begin, begin + 9, 0.1).tolist():
            clock(5000 - begin + now + 100 * min(sets, (now - begin) // 2), now)
        assert clock.set_too_often == (sets == 3)


def test_a_clock_that_was_set_often_is_followed_again():
    clock, _, ours = timeline(lambda t: t + 100 * int(min(t, 8)), seconds=40)
    assert not clock.set_too_often and np.diff(ours[-50:]) == pytest.approx(0.1)


@pytest.mark.parametrize("step", [-2.0, -100.0, 1000.0])
def test_sound_stays_with_the_picture_when_a_clock_is_set(step):
    clock, off = LiveClock(0.0), []
    for n in range(200):
        now = n / 10
        set_at = 10.0
        here = clock(now + (step if now >= set_at else 0.0), now)
        # The sound comes a little later than its picture.
        heard = clock.sound(now + (step if now >= set_at + 0.3 else 0.0), now + 0.02)
        off.append(abs(heard - here))
    assert max(off) < 0.5 and max(off[110:]) < 0.05


@pytest.mark.parametrize(
    "stamp",
    [
        pytest.param(lambda n: 5.0, marks=pytest.mark.slow),
        lambda n: n / 90_000,
        pytest.param(lambda n: n / 20, marks=pytest.mark.slow),
        lambda n: 9 + n / 10 - 2 * (n > 40),
    ],
)
def test_recordings_are_as_long_as_what_they_show(stamp, tmp_path):
    with ScriptedCamera(stamp=stamp) as camera, LiveFleet(GainEngine) as fleet:
        fleet.put(config(camera, str(tmp_path / "rec")))
        wait_for(lambda: state(fleet).frames_out > 60, "it sends nothing")
        told = state(fleet)
    times = read_pts(next((tmp_path / "rec").iterdir()))
    assert len(times) > 40
    assert times[-1] - times[0] > 0.65 * len(times) / camera.rate  # the first ones come all at once
    assert all(b > a for a, b in pairwise(times))
    assert ("clock counts" in told.error) == (stamp(100) < 7)  # for all stamps but the last


@pytest.mark.parametrize("size", [(160, 128), (640, 480)])
@pytest.mark.parametrize("sound", ["", "PCMU/8000"])
def test_a_picture_comes_before_the_next_one_begins(size, sound):
    camera = ScriptedCamera(size=size, rate=25, gop=10, count=250, sound=sound, draw=noisy)
    with camera, connect(camera, timeout=10.0) as connection:
        for count, _ in enumerate(pictures_of(connection), 1):
            if count >= 80:
                camera.frozen.set()
                if count == camera.sent:  # the newest one has arrived
                    break


@pytest.mark.parametrize(("rate", "gop"), [(60, 180), (10, 30)])
def test_a_long_gop_joined_in_the_middle_is_waited_for_and_is_no_damage(rate, gop):
    counts = []
    with ScriptedCamera(rate=rate, gop=gop, count=gop, first=gop // 8) as camera:
        with connect(camera, lambda *told: counts.append(told)) as connection:
            assert len(first_pictures(connection, 5)) == 5
        assert len(counts) >= 5 and camera.clients == 1
        assert all(damaged == 0 and seconds > 0 for damaged, seconds in counts)


def test_a_camera_that_never_sends_a_keyframe_is_given_up(monkeypatch):
    """Check that it is given up after four timeouts. A fake clock adds 10 s for each packet."""
    packets = []
    clock = SimpleNamespace(monotonic=lambda: 10.0 * len(packets), perf_counter=time.perf_counter)
    monkeypatch.setattr(source, "time", clock)
    with (
        ScriptedCamera(rate=100, gop=200, count=200, first=1) as camera,
        connect(camera, lambda *told: packets.append(told)) as connection,
        pytest.raises(InputError, match="no keyframe for 250"),
    ):
        list(connection)
    assert len(packets) == 25


def test_a_camera_that_freezes_is_noticed_after_one_timeout(monkeypatch):
    """Check for a single wait: after a timeout, FFmpeg may return packets and then wait again."""
    waits = []

    class Timed(Connection):
        def _next(self, packets):
            began = time.monotonic()
            try:
                return super()._next(packets)
            finally:
                waits.append(time.monotonic() - began)

    with ScriptedCamera() as camera, connect(camera, timeout=3.0, kind=Timed) as connection:
        first_pictures(connection, 12)
        camera.frozen.set()
        waits.clear()
        with pytest.raises(SilentError, match="no data came for 3 s"):
            list(connection)
    assert sum(seconds > 2.9 for seconds in waits) == 1


@pytest.mark.parametrize(
    ("camera", "error", "said"),
    [
        ({"login": "Digest SHA-256"}, RefusedError, "Digest SHA-256, which FFmpeg does not know"),
        ({"login": "Digest MD5"}, RefusedError, "wrong user or password"),
        ({"login": "Basic"}, RefusedError, "wrong user or password"),
        ({"code": 403}, RefusedError, "forbids this stream"),
        ({"code": 404}, InputError, "no such stream"),
        *(({"code": n}, InputError, "too many viewers") for n in (400, 415, 453, 454, 500, 503)),
        ({"transports": ()}, InputError, "set transport"),
        ({"script": sdp(lambda text: "v=0\r\n")}, InputError, "no video, only nothing"),
        ({"script": sdp(lambda text: text.replace("H264", "H266"))}, InputError, "set it to H.264"),
    ],
)
def test_each_refusal_has_its_own_line(camera, error, said):
    with ScriptedCamera(**camera) as scripted:
        url = scripted.url.replace("://", "://user:sesame@")
        with pytest.raises(error, match=said) as caught:
            connect(url)
    assert "sesame" not in str(caught.value) and "power" not in str(caught.value)


@contextmanager
def answering(answer):
    """Serve on loopback: answer a request with `answer` and close the connection.

    With None, never answer.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = []

        def serve():
            with suppress(OSError):
                while True:
                    client = listener.accept()[0]
                    held.append(client)
                    if answer is not None and client.recv(4096):
                        client.sendall(answer)
                        client.close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/1"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for client in held:
            client.close()


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (b"", InputError, "not that of an RTSP camera"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", InputError, "not that of an RTSP camera"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", InputError, "not that of an RTSP camera"),
        (b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n", InputError, "not that of an RTSP camera"),
        (None, SilentError, "no data came for 1 s"),
    ],
)
def test_a_server_that_is_no_camera_is_reported(answer, error, said):
    with answering(answer) as url, pytest.raises(error, match=said):
        connect(url, timeout=60.0 if answer is not None else 1.0)


@pytest.mark.parametrize("login", ["", "user:right@"])
@pytest.mark.parametrize("code", [301, 302, 303])
def test_redirects_of_a_camera_are_followed(login, code):
    with ScriptedCamera(login="Digest MD5" if login else "") as other:
        script = Script(headers={"DESCRIBE": (f"Location: {other.url}",)})
        with ScriptedCamera(code=code, script=script) as camera:
            with connect(camera.url.replace("://", f"://{login}")) as connection:
                assert first_pictures(connection, 1)
            assert (camera.clients, other.sent > 0) == (1, True)


@pytest.mark.parametrize("login", ["Basic", "Digest MD5"])
def test_logins_that_ffmpeg_supports_work(login):
    with (
        ScriptedCamera(login=login) as camera,
        connect(camera.url.replace("://", "://user:right@")) as connection,
    ):
        assert first_pictures(connection, 1)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rtsp://no-such-host.invalid/1", "unknown host 'no-such-host.invalid'"),
        ("rtsp://admin:1234/abc@127.0.0.1/1", "percent-encode"),
        ("file:/no/such.mp4", "such.mp4: No such file or directory; check its name"),
    ],
)
def test_a_url_that_leads_nowhere_is_told_why(url, said):
    with pytest.raises(InputError, match=said):
        connect(url)


@pytest.mark.parametrize(
    ("known", "transport", "used"),
    [
        (("tcp", "udp"), "auto", "interleaved"),
        (("udp",), "auto", "client_port"),
        (("udp",), "udp", "client_port"),
        (("tcp", "udp"), "udp", "client_port"),
        (("tcp",), "tcp", "interleaved"),
        (("udp_multicast",), "udp_multicast", "multicast"),
        (("tcp", "udp", "udp_multicast"), "udp_multicast", "multicast"),
    ],
)
def test_a_transport_that_the_camera_offers_is_used(known, transport, used):
    with ScriptedCamera(transports=known) as camera:
        with connect(camera, transport=transport) as connection:
            assert first_pictures(connection, 3)
        assert used in camera.set_up[-1]


@pytest.mark.parametrize("transport", ["tcp", "udp", "http"])
def test_transports_of_a_real_server(tmp_path, transport):
    with camera_server(tmp_path, moving_picture(160, 128)) as camera:
        url = f"rtsp://127.0.0.1:{camera.port}/1"
        with connect(url, transport=transport) as connection:
            assert first_pictures(connection, 3)


def test_a_camera_that_sends_nothing_by_tcp_is_tried_by_udp():
    with ScriptedCamera(transports=("silent tcp", "udp")) as camera, LiveFleet(GainEngine) as fleet:
        fleet.put(CameraConfig(name="yard", url=camera.url, timeout_seconds=2.0))
        wait_for_state(fleet, "live")


def test_a_camera_that_has_sent_pictures_keeps_its_transport_while_it_is_cut_off(monkeypatch):
    monkeypatch.setattr(Backoff, "next_seconds", lambda self: 0.05)
    with ScriptedCamera() as camera, LiveFleet(GainEngine) as fleet:
        fleet.put(config(camera, timeout_seconds=1.0))
        wait_for_state(fleet, "live")
        used = camera.set_up[-1].partition(";")[0]
        before = len(camera.set_up)
        camera.frozen.set()
        wait_for(lambda: len(camera.set_up) >= before + 3, "it is not connected again")
        camera.frozen.clear()
        frames = state(fleet).frames_in
        wait_for(lambda: state(fleet).frames_in > frames, "it does not come back")
    assert {text.partition(";")[0] for text in camera.set_up[before:]} == {used}


@pytest.mark.parametrize("sound", ["G726-32/8000", "G726-16/8000", "L16/44100/2"])
def test_sound_that_no_output_can_hold_leaves_the_picture(sound, tmp_path):
    with ScriptedCamera(sound=sound) as camera, LiveFleet(GainEngine) as fleet:
        fleet.put(config(camera, str(tmp_path / "rec"), recording="mp4"))
        wait_for(lambda: state(fleet).sinks and state(fleet).sinks[0].frames > 10, "no frames")
        told = state(fleet)
    assert "sound is left out" in told.error + told.sinks[0].error
    assert told.sinks[0].reconnects == 0


def test_interlaced_cameras_are_deinterlaced(tmp_path, caplog):
    frames = []
    for number in range(12):
        image = np.full((96, 160, 3), 30, np.uint8)
        for field in (0, 1):  # a bar that moves on between the fields
            image[field::2, 8 + 4 * (2 * number + field) :][:, :16] = 200
        frames.append(image)
    path = tmp_path / "camera.ts"
    words = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "160x96", "-r", "25", "-i", "-"]
    words += ["-vf", "setfield=tff,scale=interl=1,format=yuv420p", "-c:v", "libx264"]
    words += ["-flags", "+ildct+ilme", "-x264-params", "tff=1:crf=8:bframes=0"]
    pixels = b"".join(frame.tobytes() for frame in frames)
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words, path], input=pixels, check=True)
    assert combing(frames[5]) > 4
    with connect(f"file:{path}") as connection:
        pictures = first_pictures(connection, 99)
    assert len(pictures) == 12
    assert max(combing(p.pixels) for p in pictures) < 2
    assert caplog.text.count("the video is interlaced") == 1
    assert all(b.seconds > a.seconds for a, b in pairwise(pictures))


@pytest.mark.parametrize(("name", "codec"), [("a.h264", "libx264"), ("a.mjpeg", "mjpeg")])
def test_a_file_without_time_stamps_is_played_at_its_rate(tmp_path, name, codec):
    path = tmp_path / name
    source = ["-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=1"]
    subprocess.run(["ffmpeg", "-v", "error", *source, "-c:v", codec, path], check=True)
    with connect(f"file:{path}") as connection:
        connection._pace = lambda seconds, now: 0.0
        pictures = first_pictures(connection, 99)
    assert [p.seconds for p in pictures] == pytest.approx([n / 25 for n in range(25)])


def test_a_line_says_that_a_camera_is_tone_mapped(tmp_path, caplog):
    path = tmp_path / "camera.ts"
    words = ["-f", "lavfi", "-i", "testsrc2=s=160x96:r=25:d=0.4", "-pix_fmt", "yuv420p10le"]
    words += ["-color_trc", "arib-std-b67", "-color_primaries", "bt2020", "-colorspace", "bt2020nc"]
    subprocess.run(["ffmpeg", "-v", "error", *words, "-c:v", "libx264", path], check=True)
    with connect(f"file:{path}") as connection:
        assert first_pictures(connection, 5)
    assert caplog.text.count("HDR video (HLG): tone-mapped") == 1


def heard(*names, **script):
    """Return a test parameter: a camera with sound and 20 pictures per second."""
    camera = {"sound": "PCMU/8000", "rate": 20, "script": Script(**script)}
    return pytest.param(camera, id=" ".join(names))


TWO_SIZES = [p for size in ((160, 128), (320, 240)) for p in coded_pictures(10, size, 10, 10)]


@pytest.mark.parametrize(
    "camera",
    [
        {"script": sdp(lambda text: text.replace("a=control:video\r\n", ""))},
        {"script": sdp(lambda text: text.replace(":video", ":rtsp://10.0.0.9/other/video"))},
        {"script": sdp(lambda text: text.replace("t=0 0", "t=0 0\r\na=control:*"))},
        {"script": sdp(lambda text: text.replace("sets=", "sets=AAAA,"))},
        {"script": sdp(lambda text: text.partition("a=fmtp")[0] + "a=control:video\r\n")},
        {"script": sdp(lambda text: text.replace("\r\n", "\n"))},
        {"script": Script(headers={"DESCRIBE": ("Content-Base: rtsp://10.0.0.9:1/wrong/",)})},
        {"script": Script(headers={"DESCRIBE": ("Content-Base: /1/",)})},
        {"script": Script(late_seconds={"DESCRIBE": 1.0, "TEARDOWN": 30.0})},
        {"script": Script(nonces=str), "login": "Digest MD5"},
        {"pictures": TWO_SIZES},
        {"pictures": TWO_SIZES[:15] + TWO_SIZES[5:]},
    ],
)
def test_cameras_that_deviate_from_rtsp_are_read(camera):
    counts = []
    with ScriptedCamera(**camera, rate=25) as scripted:
        url = scripted.url.replace("://", "://user:right@")
        with connect(url, lambda damaged, seconds: counts.append(damaged)) as connection:
            assert len(first_pictures(connection, 25)) == 25
            began = time.monotonic()
        assert time.monotonic() - began < 15  # it does not wait for the answer to TEARDOWN
    assert scripted.clients == 1
    assert (
        sum(counts) == 0 or len(scripted._pictures) == 30
    )  # some of the 30 lack their reference pictures


@pytest.mark.parametrize("public", ["", "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER"])
def test_a_camera_is_asked_often_enough_to_go_on(public):
    script = Script(keep_alive_seconds=2.0, headers={"OPTIONS": (public,)} if public else {})
    with ScriptedCamera(script=script) as camera, connect(camera) as connection:
        assert len(first_pictures(connection, 35)) == 35
    kept = [line.partition(" ")[0] for line in camera.asked[4:]]
    assert ("GET_PARAMETER" if public else "OPTIONS") in kept


@pytest.mark.parametrize(
    "camera",
    [
        heard("first", sees=lambda n: n > 15),
        heard("late", hears=lambda n: n > 15),
        heard("never", hears=lambda n: False),
        heard("stops", hears=lambda n: n < 15),
        heard("in and out", hears=lambda n: n // 8 % 2 == 0),
        *(
            heard(name, reports=lambda n, clock=clock: clock(n) if n % 8 == 0 else None)
            for name, clock in {
                "right": lambda n: 3.9e9 + n / 20,
                "set": lambda n: 3.9e9 + n / 20 + 100 * (n > 15),
                "set back": lambda n: 3.9e9 + n / 20 - 100 * (n > 15),
                "standing": lambda n: 0.0,
                "backwards": lambda n: 3.9e9 - n,
                "at random": lambda n: 3.9e9 + n * 7919 % 1000,
            }.items()
        ),
    ],
)
def test_sound_and_pictures_stay_together_whatever_the_camera_reports(camera):
    """Check that sound and pictures that the camera sends together stay together on our timeline.

    Our clock advances with the pictures and the sound that come, 20 times a second.
    """
    shown, sounds, now = [], [], 0.0
    with ScriptedCamera(**camera) as scripted, connect(scripted) as connection:
        clock = LiveClock(now)
        for item in connection:
            now = max(len(shown), len(sounds)) / scripted.rate
            if isinstance(item, Picture):
                shown.append(clock(item.seconds, now))
            else:
                last = shown[-1] if shown else 0.0
                sounds.append((clock.sound(item.seconds, now), last, clock.at(now)))
            if len(shown) == 40:
                break
    assert all(b >= a for a, b in pairwise(shown))
    assert 1 < shown[-1] - shown[0] < now + 1
    assert all(last - 1.1 < ours < there + 1.1 for ours, last, there in sounds)


def test_a_camera_that_hangs_up_within_a_gop_comes_back_without_damage(tmp_path):
    with ScriptedCamera(gop=30) as camera, LiveFleet(GainEngine) as fleet:
        fleet.put(config(camera, str(tmp_path / "rec")))
        wait_for(lambda: state(fleet).frames_in > 13, "no pictures")
        camera.hang_up()
        wait_for(lambda: state(fleet).reconnects == 1, "not back")
        told = state(fleet)
    assert told.damaged == 0 and [s.reconnects for s in told.sinks] == [0]
    times = read_pts(next((tmp_path / "rec").iterdir()))
    assert all(b > a for a, b in pairwise(times))
