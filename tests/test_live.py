"""Live cameras, from the connection to servers, folders and UDP; sound, commands, signals."""

from __future__ import annotations

import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from loopback.scripted import ScriptedCamera
from support.live import (
    LIMIT_SECONDS,
    GainBackend,
    GainEngine,
    Stalls,
    camera_server,
    children,
    command,
    config,
    free_port,
    freeze,
    open_things,
    published,
    read_pts,
    record_server,
    state,
    wait_for,
    wait_for_state,
)
from support.media import make_clip, picture

import streamkind
from streamkind.engine.engine import Engine
from streamkind.engine.reduced import Reduced
from streamkind.errors import EngineError, UsageError
from streamkind.live import output, shared, sink
from streamkind.live.camera import Camera
from streamkind.live.config import CameraConfig
from streamkind.live.encoder import DARK
from streamkind.live.fleet import LiveFleet
from streamkind.live.frame_queue import WaitingFrame
from streamkind.live.shared import SharedEngine
from streamkind.live.status import CameraStatus
from streamkind.live.web.watch import encode
from streamkind.video.source import open_source

CLIPS = Path(__file__).parents[2] / "shared" / "data" / "video"
NIGHT = CLIPS / "cctv_highway_night_2.mp4"


def night_clip(path: Path, frames: int, rate: int) -> Path:
    """Write a night clip of 160x128, at a rate that one core can enhance."""
    if NIGHT.exists():
        with open_source(NIGHT) as source:
            first = [frame.data for frame, _ in zip(source, range(frames), strict=False)]
        images = [cv2.resize(image, (160, 128), interpolation=cv2.INTER_AREA) for image in first]
    else:
        dark = (np.arange(160 * 128 * 3).reshape(128, 160, 3) // 1200).astype(np.uint8)
        images = [np.roll(dark, i, 1) for i in range(frames)]
    return make_clip(path, images=images, size=(160, 128), pts=range(frames), rate=rate,
                     time_base=Fraction(1, rate),
                     options={"g": "4", "bf": "0", "crf": "12"})  # fmt: skip


def warm_engine() -> Engine:
    """Open the released model, and compile it for the clip before the camera plays it."""
    engine = streamkind.open_engine()
    layers = engine.decompose(np.zeros((1, 128, 160, 3), np.uint8))
    engine.recompose(layers, np.ones(1))
    return engine


def all_through(told: CameraStatus) -> bool:
    return told.frames_out + told.dropped == told.frames_in


def lumas_of(path: Path) -> list[float]:
    """Return the mean luma of each frame of a file."""
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="gray").mean() for f in container.decode(video=0)]


def test_a_night_clip_comes_out_brighter_at_the_other_end(tmp_path):
    clip = night_clip(tmp_path / "night.mp4", 40, 4)
    pipeline = (
        f"( filesrc location={clip} ! qtdemux ! h264parse ! "
        "rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    seen = tmp_path / "seen.mkv"
    with camera_server(tmp_path, pipeline) as camera, record_server(tmp_path) as server:
        with LiveFleet(warm_engine) as fleet:
            fleet.put(config(camera, published(server), max_delay_seconds=30.0))
            wait_for_state(fleet, "lost")  # the clip has ended
            camera.kill()  # otherwise the server would play the clip again
            wait_for(lambda: all_through(state(fleet)), "frames still wait")
            told = state(fleet)
            fleet.remove("yard")
            wait_for(lambda: server.told("closed"), "it is still published")
        pts = read_pts(seen)
    figures = (told.frames_in, told.frames_out, told.dropped, told.damaged, len(pts))
    lumas = [luma for luma in lumas_of(seen) if luma > 1.3 * DARK]  # without slates
    assert len(lumas) + told.dropped >= 40 * 0.95, figures  # a busy machine drops some
    assert 0 < len(lumas) <= told.frames_out, figures
    assert all(b > a for a, b in pairwise(pts))
    assert np.mean(lumas) > 1.3 * np.mean(lumas_of(clip))


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """Serve a camera with sound by RTSP."""
    pipeline = (
        "( videotestsrc is-live=true pattern=ball foreground-color=0xff404040 ! "
        "video/x-raw,width=160,height=128,framerate=10/1 ! x264enc tune=zerolatency "
        "speed-preset=ultrafast key-int-max=10 ! rtph264pay name=pay0 pt=96 config-interval=1 "
        "audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=1 ! avenc_aac ! "
        "rtpmp4gpay name=pay1 pt=97 )"
    )
    with camera_server(tmp_path_factory.mktemp("camera"), pipeline) as server:
        yield server


def test_many_outputs_at_once_with_sound(camera, tmp_path):
    port = free_port()
    outputs = (
        str(tmp_path / "mkv"),
        str(tmp_path / "hls" / "live.m3u8"),
        f"udp://127.0.0.1:{port}",
    )
    heard = []

    def receive():
        with av.open(
            f"udp://127.0.0.1:{port}", format="mpegts", timeout=LIMIT_SECONDS
        ) as container:
            for frame in container.decode(video=0):
                heard.append(frame.pts)
                if len(heard) == 10:
                    return

    receiver = threading.Thread(target=receive)
    receiver.start()
    with LiveFleet(GainEngine) as fleet:
        fleet.put(config(camera, *outputs, segment_seconds=2.0, max_delay_seconds=5.0))
        wait_for_state(fleet, "live")  # gst-rtsp-server may abort if two clients join at once
        fleet.put(config(camera, str(tmp_path / "mp4"), name="gate", recording="mp4"))
        wait_for(lambda: len(list((tmp_path / "mkv").glob("*.mkv"))) >= 3, "one file only")
        receiver.join(LIMIT_SECONDS)
        for name in ("yard", "gate"):
            wait_for(
                lambda name=name: all(s.frames > 30 for s in state(fleet, name).sinks),
                "pictures stopped",
            )
        told = state(fleet)
        ages = next(camera.ages for camera in fleet.status() if camera.name == "yard")
    assert len(heard) == 10
    assert 0 < np.median(ages) < 5  # seconds; `max_delay_seconds` is 5
    assert [s.state for s in told.sinks] == ["live"] * 3
    listed = (tmp_path / "hls" / "live.m3u8").read_text()
    parts = [part for part in (tmp_path / "hls").glob("*.ts") if part.name in listed]
    for files in (tmp_path / "mkv").iterdir(), (tmp_path / "mp4").iterdir(), parts:
        found = [packets_of(file) for file in files]
        assert {kind for kind, _ in found} == {("h264", "aac")}
        # The sum over all files, because on a busy machine one file may have few frames.
        assert min(np.sum([counts for _, counts in found], axis=0)) > 20
    assert "ENDLIST" not in listed  # the stream may continue later


def packets_of(path: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the codecs of a file's video and sound, and the number of readable packets of each."""
    # FFmpeg does not recognise MPEG-TS from a few packets.
    with av.open(str(path), format="mpegts" if path.suffix == ".ts" else None) as container:
        streams = container.streams.video[0], container.streams.audio[0]
        seen = Counter(packet.stream_index for packet in container.demux() if packet.size)
        codecs = tuple(stream.codec_context.name for stream in streams)
        return codecs, tuple(seen[stream.index] for stream in streams)


def is_unchanged(preview):
    return np.array_equal(preview.before, preview.after)


def is_brighter(preview):
    return preview.after.mean() > 1.5 * preview.before.mean()


def test_settings_act_at_once_and_without_a_new_connection(camera):
    with LiveFleet(GainEngine) as fleet:
        fleet.put(config(camera))
        wait_for_state(fleet, "live")
        wait_for(lambda: fleet.preview("yard"), "no preview")
        fleet.set("yard", ratio=1.0)
        wait_for(lambda: state(fleet).ratio == 1.0, "the ratio did not act")
        wait_for(lambda: is_unchanged(fleet.preview("yard")), "the preview is not as it was")
        fleet.set("yard", ratio=4.0)
        wait_for(lambda: state(fleet).ratio == 4.0, "the ratio did not act")
        wait_for(lambda: is_brighter(fleet.preview("yard")), "the preview is not brighter")
        fleet.put(config(camera, target=0.3))
        wait_for(lambda: state(fleet).ratio not in (1.0, 4.0), "the target did not act")
        assert state(fleet).reconnects == 0 and state(fleet).state == "live"
        with pytest.raises(UsageError, match=r"0\.1 to 10"):
            fleet.set("yard", ratio=99.0)
        with pytest.raises(KeyError):
            fleet.set("nobody", ratio=1.0)
        with pytest.raises(KeyError):
            fleet.remove("nobody")


def test_an_engine_that_cannot_be_opened_is_reported():
    def broken():
        raise EngineError("no such device")

    before = open_things()
    with pytest.raises(EngineError, match="no such device"):
        LiveFleet(broken)
    assert open_things() == before


class LostDevice(GainBackend):
    """Fails at its first use and at the next opening, then works. Counts the open instances."""

    open, most, refused = 0, 0, 0

    def __init__(self):
        super().__init__()
        if LostDevice.most and LostDevice.refused < 1:
            LostDevice.refused += 1
            raise EngineError("the device is busy")
        LostDevice.open += 1
        LostDevice.most = max(LostDevice.most, LostDevice.open)
        self.broken = LostDevice.refused == 0

    def decompose(self, pixels):
        if self.broken:
            raise RuntimeError("lost the device")
        return super().decompose(pixels)

    def close(self):
        LostDevice.open -= 1


def test_a_lost_engine_is_closed_before_another_is_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(shared, "PAUSE_SECONDS", 0.01)
    clip = make_clip(tmp_path / "clip.mp4", frames=40, size=(160, 128), rate=20)
    with LiveFleet(lambda: Engine(LostDevice())) as fleet:
        fleet.put(camera_of(clip, str(tmp_path / "rec")))
        wait_for_state(fleet, "stopped")
        assert state(fleet).frames_out > 0
    assert (LostDevice.most, LostDevice.open, LostDevice.refused) == (1, 0, 1)


def test_frames_of_cameras_of_one_size_share_a_batch():
    engines = []

    def open_engine():
        # Slower than the three cameras together, so that a frame of each waits.
        engines.append(GainEngine(max_batch=3, seconds=0.05))
        return engines[0]

    with ExitStack() as cameras, LiveFleet(open_engine) as fleet:
        for name in ("one", "two", "three"):
            fleet.put(config(cameras.enter_context(ScriptedCamera()), name=name))
        wait_for(lambda: 3 in engines[0].gain.batches, "no batch of three")


def test_cameras_get_equal_shares_of_the_engine():
    order = []

    class Noted(Camera):
        """A camera whose output always has room. It appends its name to `order` for each frame."""

        def has_room(self):
            return True

        def deliver(self, frame, pixels, ratio):
            order.append(self.config.name)

    engine = SharedEngine(lambda: GainEngine(max_batch=3))
    try:
        cameras = [Noted(camera_of(Path("a.mp4"), name=f"c{i}"), engine) for i in range(4)]
        with engine.ready:
            for camera in cameras:
                engine.add(camera)
                for i in range(15):
                    frame = np.full((48, 64, 3), 20, np.uint8)
                    camera.queue.put(WaitingFrame(frame, i / 10, time.monotonic()))
        wait_for(lambda: len(order) == 60, "not all are served")
    finally:
        engine.stop()
        engine.join(time.monotonic() + LIMIT_SECONDS)
    for done in range(0, 61, 3):
        counts = [order[:done].count(camera.config.name) for camera in cameras]
        assert max(counts) - min(counts) <= 1, order


def test_a_file_is_played_at_its_own_pace_then_all_ends(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=20, size=(160, 128), rate=10)
    began = time.monotonic()
    with LiveFleet(GainEngine) as fleet:
        fleet.put(camera_of(clip, str(tmp_path / "rec")))
        wait_for_state(fleet, "stopped")
        assert time.monotonic() - began > 1.9
    (recording,) = (tmp_path / "rec").iterdir()
    assert len(read_pts(recording)) == 20
    named = datetime.strptime(recording.name, "%Y%m%d-%H%M%SZ.mkv").replace(tzinfo=UTC)
    assert abs((datetime.now(UTC) - named).total_seconds()) < 600  # the name is in UTC


def test_a_slow_engine_gets_through_a_file_too(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=3, size=(160, 128), rate=10)
    with LiveFleet(lambda: GainEngine(seconds=1.5, max_batch=1)) as fleet:
        fleet.put(camera_of(clip, str(tmp_path / "rec")))
        wait_for_state(fleet, "stopped")
    (recording,) = (tmp_path / "rec").iterdir()
    assert len(read_pts(recording)) == 3


def test_frames_wait_for_an_output_that_opens_slowly(tmp_path, monkeypatch):
    open_encoder = output.LiveEncoder
    monkeypatch.setattr(output, "LiveEncoder", lambda *args: time.sleep(1.5) or open_encoder(*args))
    clip = make_clip(tmp_path / "clip.mp4", frames=24, size=(160, 128), rate=24)
    with LiveFleet(GainEngine) as fleet:
        fleet.put(camera_of(clip, str(tmp_path / "rec")))
        wait_for_state(fleet, "stopped")
        assert (state(fleet).frames_out, state(fleet).dropped) == (24, 0)
    (recording,) = (tmp_path / "rec").iterdir()
    assert len(read_pts(recording)) == 24


def test_a_recording_is_whole_when_a_file_has_ended_however_slow_its_publisher_is(
    tmp_path, monkeypatch
):
    """Check that the time limits for the end apply only to a process that was asked to end."""
    monkeypatch.setattr("streamkind.live.fleet.STOP_SECONDS", 0.5)
    monkeypatch.setattr("streamkind.live.fleet.HALT_SECONDS", 0.5)
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import runpy, time\ntime.sleep(5)\n"
        f"runpy.run_path({str(sink.PUBLISHER)!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(sink, "PUBLISHER", slow)
    clip = make_clip(tmp_path / "clip.mp4", frames=10, size=(160, 128), rate=10)
    with LiveFleet(GainEngine) as fleet:
        fleet.put(camera_of(clip, str(tmp_path / "rec")))
        wait_for_state(fleet, "stopped")
        assert [(s.state, s.frames, s.error) for s in state(fleet).sinks] == [("stopped", 10, "")]
    (recording,) = (tmp_path / "rec").iterdir()
    assert len(read_pts(recording)) == 10


class SeesReduced(GainBackend):
    """`GainBackend`, but it multiplies the pixels that it received, which may be reduced."""

    def decompose(self, pixels):
        return replace(super().decompose(pixels), reflectance=pixels)

    def recompose(self, layers, ratios):
        made = layers.reflectance * ratios[:, None, None, None]
        return np.clip(made, 0, 255).astype(np.uint8)


def raised(image: np.ndarray, engine: Engine) -> np.ndarray:
    """Return an RGB frame, (H, W, 3), enhanced with a ratio of 2 and the local ratio."""
    with engine:
        (clear,) = engine.stream([(0.0, image)], ratio=2.0)
    assert clear.pixels.mean() > 1.3 * image.mean()
    return clear.pixels


def test_planes_of_a_large_camera_never_become_rgb_and_keep_their_colours(tmp_path, monkeypatch):
    shapes = []
    decompose = Reduced.decompose
    monkeypatch.setattr(
        Reduced, "decompose", lambda self, p: shapes.append(p.shape) or decompose(self, p)
    )
    orange = np.full((720, 1280, 3), (70, 40, 20), np.uint8)
    orange[:360] = (20, 40, 60)
    # Many cameras send full range and BT.601. The recording has limited range and BT.709.
    clip = make_clip(tmp_path / "clip.mp4", images=[orange] * 6, size=(1280, 720), rate=10,
                     pts=[1280 * i for i in range(6)], pix_fmt="yuvj420p",
                     color=(2, 5, 6, 6))  # fmt: skip
    with LiveFleet(lambda: Engine(SeesReduced(), area=480 * 270)) as fleet:
        fleet.put(camera_of(clip, str(tmp_path / "rec"), ratio=2.0))
        wait_for_state(fleet, "stopped")
        preview, told = fleet.preview("yard"), state(fleet)
    assert set(shapes) == {(1, 1080, 1280)} and (told.width, told.height) == (1280, 720)
    clear = raised(orange, Engine(SeesReduced(), area=480 * 270))
    before, after = np.hsplit(cv2.imdecode(np.frombuffer(encode(preview), np.uint8), 1), 2)
    for shown, expected in ((before, orange), (after, clear)):
        off = shown[-20:].mean(axis=(0, 1))[::-1] - expected[-20:].mean(axis=(0, 1))
        assert np.abs(off).max() < 5
    (recording,) = (tmp_path / "rec").iterdir()
    with open_source(recording) as source:
        assert (source.format.color.range, source.format.color.matrix) == (1, 1)
        for frame in source:
            for rows in (slice(400, 720), slice(0, 300)):
                off = frame.data[rows].mean(axis=(0, 1)) - clear[rows].mean(axis=(0, 1))
                assert np.abs(off).max() < 5


def test_the_network_skips_frames_of_each_camera_where_nothing_moves(tmp_path):
    backends = []

    def opened():
        backends.append(SeesReduced(max_batch=1))
        return Engine(backends[0], area=160 * 120, every=3)

    image = picture(9, 640, 480)
    still = make_clip(tmp_path / "still.mp4", images=[image] * 18, size=(640, 480),
                      pts=[1280 * i for i in range(18)], rate=10)  # fmt: skip
    with LiveFleet(opened) as fleet:
        for name in ("one", "two"):
            fleet.put(camera_of(still, str(tmp_path / name), name=name, ratio=2.0))
        for name in ("one", "two"):
            wait_for_state(fleet, "stopped", name)
    assert len(backends[0].batches) == 2 * 18 // 3
    expected = raised(image, Engine(SeesReduced(), area=160 * 120))[300:].mean()
    for name in ("one", "two"):
        with open_source(next((tmp_path / name).iterdir())) as source:
            brightness = [float(frame.data[300:].mean()) for frame in source]
        assert len(brightness) == 18 and np.ptp(brightness) < 1
        assert brightness[0] == pytest.approx(expected, abs=3)


def camera_of(clip: Path, *to: str, **more) -> CameraConfig:
    return CameraConfig(
        **{"name": "yard", "max_delay_seconds": 600.0, **more}, url=f"file:{clip}", to=to
    )


@pytest.fixture
def start():
    """Return a function that starts `streamkind ...`; its processes are killed at the end."""
    processes = []

    def run(*words, **more):
        processes.append(command(*words, **more))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_the_command_streams_a_file_and_ends(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=16, rate=4)
    process = command(
        "stream", str(clip), "--to", str(tmp_path / "rec"), "--max-delay-seconds", "600"
    )
    _, said = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0, said
    first = said.splitlines()[0]
    assert first.startswith("engine: realtime: student on cpu, ")
    assert "camera: live 64x48" in said
    assert len(read_pts(next((tmp_path / "rec").iterdir()))) == 16


def test_sigterm_finishes_recordings_and_no_password_is_seen(camera, start, tmp_path):
    url = f"rtsp://user:sesame77@127.0.0.1:{camera.port}/1"
    process = start("stream", url, "--to", str(tmp_path / "rec"), "--recording", "mp4")
    folder = tmp_path / "rec"
    wait_for(lambda: recorded(folder) > 5, "nothing is recorded")
    seen = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    for child in children(process.pid):
        seen += Path(f"/proc/{child}/cmdline").read_bytes()
    assert b"sesame" not in seen and b"user:$" in seen
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0, said
    assert "sesame" not in out + said and "user:***@" not in out
    (recording,) = folder.iterdir()
    assert len(read_pts(recording)) > 5


@pytest.mark.slow
def test_serve_follows_its_file(camera, start, tmp_path):
    path, log = tmp_path / "cameras.toml", tmp_path / "said"
    port = free_port()

    def write(*names, console=f"port = {port}"):
        tables = "".join(
            f"[camera.{n}]\nurl = 'rtsp://127.0.0.1:{camera.port}/1'\nto = '{tmp_path / n}'\n"
            for n in names
        )
        path.write_text(f"[console]\n{console}\n{tables}")

    def said(text):
        return lambda: text in log.read_text().replace("\n", " ")

    write("one")
    with log.open("w") as file:
        process = start("serve", str(path), stderr=file)
    wait_for(lambda: files(tmp_path / "one"), "nothing is recorded")
    wait_for(lambda: answer(port, "readyz") == 200, "it is not ready")
    write("one", "two")
    wait_for(lambda: files(tmp_path / "two"), "the new camera does not record")
    wait_for(said("2 cameras"), "it is not told")
    path.write_text("[camera")
    process.send_signal(signal.SIGHUP)
    wait_for(said("the cameras continue with their present settings"), "it is not told")
    write("two", console=f"port = {port + 1}")
    wait_for(said("1 cameras"), "the camera is not removed")
    wait_for(said("takes effect at the next start"), "it is not told")
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_SECONDS) == 0, log.read_text()
    # No camera was restarted while it was in the file.
    assert len(files(tmp_path / "one")) == len(files(tmp_path / "two")) == 1, log.read_text()


def answer(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def recorded(folder: Path) -> int:
    """Return how many frames of the newest fragmented MP4 can already be read."""
    try:
        return len(read_pts(files(folder)[-1]))
    except (av.FFmpegError, IndexError):
        return 0


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("frozen", ["camera", "server", "browser"])
def test_sigterm_is_obeyed_in_time_while_others_are_frozen(start, tmp_path, frozen):
    path, port, folder = tmp_path / "cameras.toml", free_port(), tmp_path / "rec"
    with camera_server(tmp_path) as camera, record_server(tmp_path) as server:
        path.write_text(
            f"[console]\nport = {port}\n[camera.yard]\nurl = 'rtsp://127.0.0.1:{camera.port}/1'\n"
            f"to = ['{folder}', '{published(server)}']\nrecording = 'mp4'\n"
        )
        process = start("serve", str(path))
        wait_for(lambda: recorded(folder) > 5, "nothing is recorded")
        with socket.create_connection(("127.0.0.1", port)) as browser:
            if frozen == "browser":  # sends a request without its body
                browser.sendall(b"POST /api/session HTTP/1.1\r\nHost: localhost\r\n")
                browser.sendall(b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n")
            else:
                freeze({"camera": camera, "server": server}[frozen])
            time.sleep(1)
            with Stalls() as stalls:
                began = time.monotonic()
                process.send_signal(signal.SIGTERM)
                _, said = process.communicate(timeout=60)
                took = time.monotonic() - began
            assert took < 5 + stalls.most
        assert process.returncode == 0, said
        assert recorded(folder) > 5


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["stream", "rtsp://u:${NOT_THERE}@h/1", "--to", "rec"], 2, "'NOT_THERE' is not set"),
        (["stream", "gopher://h/1", "--to", "rec"], 2, "expected rtsp"),
        (["stream", "rtsp://h/1", "--to", "rec", "--recording", "avi"], 2, "'avi' is not one of"),
        (["serve", "none.toml"], 1, "none.toml: No such file"),
    ],
)
def test_impossible_options_are_refused_in_one_line(tmp_path, words, code, said):
    process = command(*words, cwd=tmp_path)
    _, told = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == code
    assert said in told and told.count("\n") == 1 and told.startswith("streamkind: ")
