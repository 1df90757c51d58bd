"""Live video for browsers: fragments of MP4, late and slow viewers, the WebSocket."""

from __future__ import annotations

import io
import json
import time
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from socket import create_connection
from urllib.parse import urlsplit

import av
import numpy as np
import pytest
from loopback.scripted import ScriptedCamera
from support.console_at import TOKEN, console_at, two_cameras
from support.live import LIMIT_SECONDS, GainEngine, state, wait_for, wait_for_state
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from streamkind.errors import UsageError
from streamkind.live import output
from streamkind.live import viewers as viewers_module
from streamkind.live.clock import LiveClock
from streamkind.live.config import CameraConfig
from streamkind.live.encoder import LiveEncoder
from streamkind.live.fleet import LiveFleet
from streamkind.live.fragments import FragmentMuxer, mime_of
from streamkind.live.frame_queue import WaitingFrame
from streamkind.live.state import CameraState
from streamkind.live.viewers import DEPTH, MOST_VIEWERS, Viewers

SIZE = (64, 48)


def encoder(codec="h264"):
    return LiveEncoder(codec, SIZE, Fraction(10), Fraction(1))


def coded(encode, first, count, key=()):
    """Yield the packets of `count` pictures from number `first` on, at 10 pictures per second.

    Pictures in `key` are keyframes.
    """
    for number in range(first, first + count):
        level = 40 + 10 * (number % 16)
        picture = np.full((*SIZE[::-1], 3), level, np.uint8)
        yield from encode(picture, number / 10, key=number in key)


def decoded(data):
    """Return the time, in tenths of a second, and the mean level of each picture of an MP4."""
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(video=0))
    return [(round(10 * float(f.time)), f.to_ndarray(format="gray").mean()) for f in frames]


@pytest.mark.parametrize(
    ("codec", "mime"),
    [("h264", "avc1.64000A"), ("hevc", "hev1.1.6.L30.90"), ("av1", "av01.0.00M.08")],
)
def test_fragments_are_an_mp4_of_which_browsers_are_told_the_codec(codec, mime):
    encode = encoder(codec)
    film = FragmentMuxer(encode.stream)
    assert film.mime.lower() == f'video/mp4; codecs="{mime.lower()}"'
    fragments = [film(packet) for packet in coded(encode, 1000, 12, key=(1006,))]
    assert fragments[0] is None
    assert [fragment.key for fragment in fragments[1:7]] == [True] + [False] * 5
    assert [fragment.key for fragment in fragments[7:9]] == [True, False]
    whole = decoded(film.init + b"".join(f.data for f in fragments[1:]))
    assert [time for time, _ in whole] == list(range(11))  # all pictures from the first on
    later = decoded(film.init + b"".join(f.data for f in fragments[7:]))
    assert later == whole[6:]


def test_a_codec_that_is_not_known_has_no_name():
    assert mime_of(b"\0\0\0\x08ftyp") == "video/mp4"


def test_a_late_viewer_gets_the_header_and_begins_at_a_keyframe():
    woken = []
    viewers, encode = Viewers(), encoder()
    first = viewers.add(lambda: woken.append(1))
    assert viewers.wants_key.is_set()
    viewers.offer(coded(encode, 0, 6), encode.stream)
    late = viewers.add(lambda: None)
    assert late.mime == ""
    viewers.offer(coded(encode, 6, 6), encode.stream)
    assert late.take() == []
    viewers.offer(coded(encode, 12, 4, key=(12,)), encode.stream)
    assert [time for time, _ in decoded(b"".join(late.take()))] == [12, 13, 14]
    assert [time for time, _ in decoded(b"".join(first.take()))] == list(range(15))
    assert len(woken) >= 15
    assert late.mime == first.mime


@pytest.mark.parametrize("begun", [False, True])
def test_a_slow_viewer_loses_fragments_until_a_keyframe_and_its_queue_is_bounded(begun):
    viewers, encode = Viewers(), encoder()
    slow, quick = viewers.add(lambda: None), viewers.add(lambda: None)
    start = b""
    viewers.offer(coded(encode, 0, 3), encode.stream)
    quick_seen = quick.take()
    if begun:
        start = b"".join(slow.take())
    viewers.wants_key.clear()
    for number in range(3, 3 + 2 * DEPTH):
        viewers.offer(coded(encode, number, 1), encode.stream)
        quick_seen += quick.take()
    assert viewers.wants_key.is_set()  # so that it continues soon
    end = 3 + 2 * DEPTH
    viewers.offer(coded(encode, end, 5, key=(end,)), encode.stream)
    waiting = slow.take()
    assert len(waiting) <= DEPTH + 1
    times = [time for time, _ in decoded(start + b"".join(waiting))]
    assert times[-4:] == list(range(end, end + 4))
    assert len(times) < end
    assert len(decoded(b"".join(quick_seen + quick.take()))) == end + 4


def test_nothing_is_muxed_without_viewers(monkeypatch):
    made = []
    monkeypatch.setattr(
        viewers_module, "FragmentMuxer", lambda stream: made.append(1) or FragmentMuxer(stream)
    )
    viewers, encode = Viewers(), encoder()
    viewers.offer(coded(encode, 0, 3), encode.stream)
    assert (made, bool(viewers)) == ([], False)
    viewer = viewers.add(lambda: None)
    viewers.offer(coded(encode, 3, 3, key=(3,)), encode.stream)
    viewer.leave()
    viewer.leave()
    viewers.offer(coded(encode, 6, 3), encode.stream)
    again = viewers.add(lambda: None)
    viewers.offer(coded(encode, 9, 3, key=(9,)), encode.stream)
    assert [time for time, _ in decoded(b"".join(again.take()))] == [0, 1]  # a new MP4
    assert made == [1, 1]


def test_a_viewer_who_comes_hours_after_the_last_one_sees_a_new_mp4():
    viewers, encode = Viewers(), encoder()
    first = viewers.add(lambda: None)
    viewers.offer(coded(encode, 0, 3), encode.stream)
    first.leave()  # a camera without outputs encodes nothing now
    later = viewers.add(lambda: None)
    viewers.offer(coded(encode, 8 * 36_000, 5, key=(8 * 36_000,)), encode.stream)
    assert [time for time, _ in decoded(b"".join(later.take()))] == [0, 1, 2, 3]


def test_a_viewer_of_a_codec_that_mp4_cannot_hold_does_not_stop_the_outputs(monkeypatch):
    sent = []
    monkeypatch.setattr(output.LiveSink, "start", lambda *_: None)
    monkeypatch.setattr(output.LiveSink, "offer", lambda _, packet: sent.append(packet))
    config = CameraConfig(name="yard", url="rtsp://h/1", to=("yard",), codec="libvpx")
    out = output.Output(CameraState(config), LiveClock(0.0))
    viewer = out.viewers.add(lambda: None)
    for i in range(3):
        out._encode(WaitingFrame(np.zeros((48, 64, 3), np.uint8), i / 10, time.monotonic()))
    assert len(sent) == 3
    assert (viewer.closed, bool(out.viewers)) == (True, False)
    told = out._state.snapshot(dropped=0, queue=0, sinks=(), take_ages=True)
    assert (told.frames_out, told.age_count) == (3, 3)
    assert told.error.startswith("live video: 'mp4' format does not support 'libvpx'")
    assert not out.viewers.add(lambda: None).closed  # when it is changed, another one may come


def test_too_many_viewers_are_refused_and_all_see_the_end():
    viewers = Viewers()
    watching = [viewers.add(lambda: None) for _ in range(MOST_VIEWERS)]
    with pytest.raises(UsageError, match=f"has {MOST_VIEWERS} viewers, the largest number"):
        viewers.add(lambda: None)
    watching[0].leave()
    viewers.add(lambda: None)
    viewers.close()
    assert all(viewer.closed for viewer in watching[1:])
    assert viewers.add(lambda: None).closed


def test_an_event_loop_that_has_ended_harms_nobody():
    def ended():
        raise RuntimeError("Event loop is closed")

    viewers, encode = Viewers(), encoder()
    viewers.add(ended)
    other = viewers.add(lambda: None)
    viewers.offer(coded(encode, 0, 3), encode.stream)
    viewers.close()
    assert len(other.take()) == 3


# Over the WebSocket


def address(console, name="yard"):
    return console.url.replace("http:", "ws:") + f"api/cameras/{name}/live"


def watching(console):
    """Open a socket. Its queue has no limit, because a full one would be slow to close."""
    return connect(address(console), max_queue=None)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_camera_is_seen_live_from_the_encoder_that_runs_anyway(tmp_path, recorded):
    """Check that without outputs the encoder runs only while there is a viewer."""
    to = (str(tmp_path),) if recorded else ()
    with ScriptedCamera() as camera, LiveFleet(GainEngine) as fleet:
        fleet.put(CameraConfig(name="yard", url=camera.url, to=to))
        wait_for_state(fleet, "live")
        wait_for(lambda: state(fleet).frames_out > 3, "no pictures")
        assert (state(fleet).stages["encode"] > 0) == recorded
        with console_at(fleet) as console:
            with watching(console) as socket, watching(console) as other:
                assert json.loads(socket.recv(timeout=LIMIT_SECONDS))["type"].startswith(
                    "video/mp4; codecs="
                )
                data = b"".join(socket.recv(timeout=LIMIT_SECONDS) for _ in range(16))
                other.recv(timeout=LIMIT_SECONDS)
                assert (
                    len(decoded(b"".join(other.recv(timeout=LIMIT_SECONDS) for _ in range(6)))) == 5
                )
            shown = decoded(data)
            assert len(shown) == 15
            assert all(a[0] < b[0] for a, b in pairwise(shown))
            output = fleet._cameras["yard"].output
            wait_for(lambda: not output.viewers, "it is still watched")


def test_the_socket_ends_when_the_camera_is_removed():
    with ScriptedCamera() as camera, LiveFleet(GainEngine) as fleet:
        fleet.put(CameraConfig(name="yard", url=camera.url))
        with console_at(fleet) as console, watching(console) as socket:
            socket.recv(timeout=LIMIT_SECONDS)
            fleet.remove("yard")
            with pytest.raises(ConnectionClosed) as told:
                while True:
                    socket.recv(timeout=LIMIT_SECONDS)
            assert told.value.rcvd.code == 4410


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 4401),
        ({"Authorization": "Bearer wrong"}, 4401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 4401),
        ({"Cookie": "streamkind=1.2"}, 4401),
        ({"Authorization": f"Bearer {TOKEN}"}, None),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "http://evil.example"}, 403),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "null"}, 403),
        ({"Authorization": f"Bearer {TOKEN}", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Authorization": f"Bearer {TOKEN}", "Sec-Fetch-Site": "same-origin"}, None),
    ],
)
def test_live_video_needs_the_token_and_a_page_of_ours(headers, code):
    with console_at(two_cameras(), TOKEN) as console:
        assert end_of(console, headers) == code


def test_a_browser_that_is_logged_in_sees_live_video():
    with console_at(two_cameras(), TOKEN) as console:
        session = console.ask("POST", "/api/session", json={"token": TOKEN})
        cookie = {"Cookie": f"streamkind={session.cookies['streamkind']}"}
        origin = {"Origin": console.url.rstrip("/")}
        assert end_of(console, cookie | origin) is None


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, None),
        ({"Host": "evil.example"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
    ],
)
def test_without_a_token_no_other_site_sees_live_video(headers, code):
    with console_at(two_cameras()) as console:
        assert end_of(console, headers) == code
        assert end_of(console, {}, "nobody") == 4404


def end_of(console, headers, name="gate"):
    """Return how the server ends the socket: an HTTP status, or a close code of the WebSocket.

    Return None if the socket is open and counts as a viewer.
    """
    place = urlsplit(address(console, name))
    headers = dict(headers)
    named = place._replace(netloc=headers.pop("Host", place.netloc)).geturl()
    try:
        sock = create_connection((place.hostname, place.port))
        with connect(named, sock=sock, additional_headers=headers) as socket:
            while not console.fleet._viewers["gate"]:
                with suppress(TimeoutError):
                    socket.recv(timeout=0.1)
    except InvalidStatus as exc:
        return exc.response.status_code
    except ConnectionClosed as exc:
        return exc.rcvd.code
    return None
