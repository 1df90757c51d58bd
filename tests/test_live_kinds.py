"""Cameras and outputs of other protocols than RTSP, with Debian's ffmpeg as the peer."""

from __future__ import annotations

import http.server
import itertools
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from support.live import (
    LIMIT_SECONDS,
    GainEngine,
    camera_server,
    free_port,
    moving_picture,
    read_pts,
    state,
    wait_for,
    wait_for_state,
)
from support.media import make_clip

from streamkind.errors import InputError
from streamkind.live import source
from streamkind.live.config import CameraConfig
from streamkind.live.fleet import LiveFleet
from streamkind.live.source import Connection, Picture


@contextmanager
def ffmpeg(*words):
    process = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-y", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


COPIED = ("-c", "copy")


@contextmanager
def played(clip, url, *output, coded=COPIED):
    """Stream a clip in a loop at its frame rate, as a camera; yield the URL."""
    with ffmpeg("-re", "-stream_loop", "-1", "-i", str(clip), *coded, "-f", *output):
        yield url


def over_udp(clip):
    url = f"udp://127.0.0.1:{free_port()}"
    return played(clip, url, "mpegts", url + "?pkt_size=1316")


def over_rtmp(clip):
    url = f"rtmp://127.0.0.1:{free_port()}/live/1"
    return played(clip, url, "flv", "-listen", "1", url)


def over_mjpeg(clip):
    """Stream one JPEG after the other without time stamps, as simple cameras do."""
    url = f"http://127.0.0.1:{free_port()}/1"
    jpeg = ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p")
    return played(clip, url, "mpjpeg", "-listen", "1", url, coded=jpeg)


def over_plain_http(clip):
    url = f"http://127.0.0.1:{free_port()}/1"
    return played(clip, url, "mpegts", "-listen", "1", url)


@contextmanager
def over_rtsps(clip):
    with camera_server(clip.parent, moving_picture(160, 128), certificate(clip.parent)) as camera:
        yield f"rtsps://127.0.0.1:{camera.port}/1"


def over_https(clip):
    return over_http(clip, certificate(clip.parent))


def certificate(folder):
    """Write a file with a self-signed certificate and its key; return its path."""
    key, both = folder / "key.pem", folder / "both.pem"
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    subprocess.run(
        [*make, "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(both)],
        check=True,
        capture_output=True,
    )
    both.write_text(both.read_text() + key.read_text())
    return str(both)


@contextmanager
def over_http(clip, certificate=None):
    """Serve an HLS playlist of a live stream, which never ends; yield its URL."""
    folder = clip.parent / "hls"
    folder.mkdir()
    handler = partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    play = ("-re", "-stream_loop", "-1", "-i", str(clip), "-c", "copy", "-f", "hls")
    try:
        with ffmpeg(*play, "-hls_time", "1", str(folder / "live.m3u8")):
            wait_for((folder / "live.m3u8").exists, "no playlist")
            scheme = "https" if certificate else "http"
            yield f"{scheme}://127.0.0.1:{server.server_port}/live.m3u8"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *args):
        pass


def listens(port):
    """Return whether a process listens at a port; read from /proc, as ffmpeg accepts one client."""
    rows = (row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(int(row[1].split(":")[1], 16) == port and row[3] == "0A" for row in rows)


@pytest.fixture
def clip(tmp_path):
    return make_clip(
        tmp_path / "clip.mp4", frames=40, size=(160, 128), rate=10, options={"g": "10", "bf": "0"}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "camera",
    [over_udp, over_rtmp, over_http, over_https, over_plain_http, over_mjpeg, over_rtsps],
)
def test_cameras_of_other_protocols_become_live(clip, camera):
    with camera(clip) as url, LiveFleet(GainEngine) as fleet:
        fleet.put(
            CameraConfig(name="yard", url=url, timeout_seconds=60.0)
        )  # ffmpeg accepts only one client
        wait_for_state(fleet, "live")
        wait_for(lambda: state(fleet).frames_out > 10, "no frames")
        assert (state(fleet).width, state(fleet).height) == (160, 128)


def test_pictures_without_time_stamps_keep_their_pace(clip, tmp_path):
    with over_mjpeg(clip) as url, LiveFleet(GainEngine) as fleet:
        folder = tmp_path / "rec"
        to = (str(folder),)
        fleet.put(
            CameraConfig(name="yard", url=url, to=to, max_delay_seconds=5.0, timeout_seconds=60.0)
        )
        wait_for(lambda: state(fleet).frames_out > 60, "no frames")
    times = read_pts(next(folder.iterdir()))
    # 10 frames a second, not the 25 that FFmpeg assumes. A busy machine drops some frames.
    assert (times[-1] - times[0]) / (len(times) - 1) > 0.06


class Waits(threading.Event):
    """A simulated stop event and clock of a connection: a wait only advances `now`, in seconds."""

    now = 0.0

    def wait(self, timeout=None):
        self.now += timeout
        return False


def test_parts_of_many_seconds_are_played_at_their_pace(clip, monkeypatch):
    """Check parts of 40 frames, which arrive at once. Only 32 frames may wait for the engine."""
    folder = clip.parent / "parts"
    folder.mkdir()
    play = ("-stream_loop", "2", "-i", str(clip), "-c", "copy", "-f", "hls", "-hls_time", "4")
    whole = ("ffmpeg", "-v", "error", *play, "-hls_list_size", "0", str(folder / "live.m3u8"))
    subprocess.run(whole, check=True)
    assert len(list(folder.glob("*.ts"))) == 3
    clock, came = Waits(), []
    simulated = SimpleNamespace(monotonic=lambda: clock.now, perf_counter=time.perf_counter)
    monkeypatch.setattr(source, "time", simulated)
    with (
        served(folder) as url,
        Connection(url, 60.0, clock, lambda *_: None, lambda *_: "rgb24") as connection,
    ):
        for item in connection:
            came += [clock.now] if isinstance(item, Picture) else []
    assert len(came) == 120
    assert np.diff(came) == pytest.approx(0.1, abs=0.02)


@contextmanager
def served(folder):
    """Serve a folder; yield the URL of its playlist `live.m3u8`."""
    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/live.m3u8"
        finally:
            server.shutdown()
            thread.join()


def playlist_of(folder, line):
    """Serve a playlist whose only part is `line`."""
    (folder / "list").mkdir()
    (folder / "list" / "live.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{line}\n#EXT-X-ENDLIST\n"
    )
    return served(folder / "list")


@pytest.mark.parametrize("scheme", ["file://", "", "concat:", "subfile,,start,0,end,0,,:"])
def test_a_playlist_of_a_camera_cannot_read_files(clip, tmp_path, scheme):
    part = tmp_path / "part.ts"
    remux = ("ffmpeg", "-v", "error", "-i", str(clip), "-c", "copy", str(part))
    subprocess.run(remux, check=True)
    with playlist_of(tmp_path, f"{scheme}{part}") as url, LiveFleet(GainEngine) as fleet:
        fleet.put(CameraConfig(name="yard", url=url))
        wait_for(lambda: state(fleet).error, "nothing is told")
        assert state(fleet).frames_in == 0


def test_published_by_rtmp(clip, tmp_path):
    port = free_port()
    url = f"rtmp://127.0.0.1:{port}/live/1"
    with (
        ffmpeg("-listen", "1", "-i", url, "-c", "copy", str(tmp_path / "seen.mkv")) as server,
        LiveFleet(GainEngine) as fleet,
    ):
        wait_for(lambda: listens(port), "the server did not start")
        fleet.put(CameraConfig(name="yard", url=f"file:{clip}", to=(url,), max_delay_seconds=600.0))
        wait_for_state(fleet, "stopped")
        server.wait(LIMIT_SECONDS)
    assert len(read_pts(tmp_path / "seen.mkv")) >= 38


def transport_stream(clip, *words, seconds):
    """Return the first seconds of a looped clip as MPEG-TS, in bytes."""
    command = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", str(clip), "-t", str(seconds)]
    options = ["-c:v", "libx264", "-bf", "0", "-g", "10", *words, "-f", "mpegts", "-"]
    return subprocess.run([*command, *options], capture_output=True, check=True).stdout


@contextmanager
def sends(first, then):
    """Serve `first` at once, and then `then` in small pieces, by HTTP; yield the URL."""
    gone = threading.Event()

    def serve():
        client, _ = listener.accept()
        with client, suppress(OSError):
            client.recv(4096)
            client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" + first)
            for start in range(0, len(then), 5 * 188):
                if gone.wait(0.1):
                    break
                client.sendall(then[start : start + 5 * 188])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/1"
        finally:
            gone.set()
            thread.join()


TWO = ("-map", "0", "-map", "0", "-s:v:1", "96x64")
LATER = ("-output_ts_offset", "2")


@pytest.mark.parametrize(
    ("first", "then", "goes_on"),
    [
        ((), (*LATER, "-mpegts_start_pid", "0x180"), True),
        (TWO, (*LATER, "-mpegts_start_pid", "0x101"), False),
        ((), (*LATER, "-c:v", "libx265", "-x265-params", "log-level=none"), False),
    ],
    ids=["another PID", "only another video", "another codec"],
)
def test_a_stream_that_gives_way_to_another_is_followed_or_reported(
    clip, first, then, goes_on, monkeypatch
):
    # Each reading of this clock is five seconds later than the one before.
    simulated = SimpleNamespace(
        monotonic=partial(next, itertools.count(step=5)), perf_counter=time.perf_counter
    )
    monkeypatch.setattr(source, "time", simulated)
    begin = transport_stream(clip, *first, seconds=2)
    rest = transport_stream(clip, *then, seconds=20)
    count = 0
    with (
        sends(begin, rest) as url,
        Connection(url, 60.0, threading.Event(), lambda *_: None, lambda *_: "rgb24") as connection,
        nullcontext() if goes_on else pytest.raises(InputError, match="no picture"),
    ):
        for item in connection:
            count += isinstance(item, Picture)
            if goes_on and count == 40:
                break
    assert count == 40 if goes_on else count <= 20
