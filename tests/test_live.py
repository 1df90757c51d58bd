"""From a camera to a server, to folders and over UDP; sound, commands, signals."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from live import (
    GainEngine,
    camera_server,
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
from media import make_clip

import streamkind
from streamkind.errors import EngineError, UsageError
from streamkind.live.config import CameraConfig
from streamkind.live.fleet import LiveFleet
from streamkind.video.source import open_source

CLIPS = Path(__file__).parents[2] / "shared" / "data" / "video"
NIGHT = CLIPS / "cctv_highway_night_2.mp4"


def night_clip(path: Path, frames: int, rate: int) -> Path:
    """A night clip at 160x128, slow enough for one core."""
    if NIGHT.exists():
        with open_source(NIGHT) as source:
            first = [frame.data for frame, _ in zip(source, range(frames), strict=False)]
        import cv2

        images = [cv2.resize(image, (160, 128), interpolation=cv2.INTER_AREA) for image in first]
    else:
        dark = (np.arange(160 * 128 * 3).reshape(128, 160, 3) // 1200).astype(np.uint8)
        images = [np.roll(dark, i, 1) for i in range(frames)]
    return make_clip(path, images=images, size=(160, 128), pts=range(frames), rate=rate,
                     time_base=Fraction(1, rate),
                     options={"g": "4", "bf": "0", "crf": "12"})  # fmt: skip


def mean_luma(path: Path) -> float:
    with av.open(str(path)) as container:
        return float(
            np.mean([f.to_ndarray(format="gray").mean() for f in container.decode(video=0)])
        )


def test_a_night_clip_comes_out_brighter_at_the_other_end(tmp_path):
    clip = night_clip(tmp_path / "night.mp4", 40, 4)
    pipeline = (
        f"( filesrc location={clip} ! qtdemux ! h264parse ! "
        "rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    seen = tmp_path / "seen.mkv"
    with camera_server(tmp_path, pipeline) as camera, record_server(tmp_path) as server:
        with LiveFleet(streamkind.open_engine) as fleet:
            fleet.put(config(camera, published(server), max_delay=5.0))
            wait_for_state(fleet, "lost", 60)  # the clip has ended
            told = state(fleet)
            wait_for(lambda: state(fleet).queue == 0, 10, "frames still wait")
            fleet.remove("yard")  # before it is played again
            wait_for(lambda: server.told("closed"), 10, "it is still published")
        pts = read_pts(seen)
    # The slate joins in between the end and its removal.
    figures = (told.frames_in, told.frames_out, told.dropped, told.damaged, len(pts))
    assert 40 * 0.95 <= len(pts) <= 40 + 10, figures
    assert all(b > a for a, b in pairwise(pts))
    assert mean_luma(seen) > 1.3 * mean_luma(clip)


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    """A camera with sound."""
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
        with av.open(f"udp://127.0.0.1:{port}", format="mpegts", timeout=10) as container:
            for frame in container.decode(video=0):
                heard.append(frame.pts)
                if len(heard) == 10:
                    return

    receiver = threading.Thread(target=receive)
    receiver.start()
    with LiveFleet(GainEngine) as fleet:
        fleet.put(config(camera, *outputs, segment_seconds=2.0))
        fleet.put(config(camera, str(tmp_path / "mp4"), name="gate", recording="mp4"))
        wait_for_state(fleet, "live", 15)
        wait_for(lambda: len(list((tmp_path / "mkv").glob("*.mkv"))) >= 3, 15, "one file only")
        receiver.join(10)
        told = state(fleet)
    assert len(heard) == 10
    assert told.delay_seconds < 0.5 and told.frames_out > 30 and told.dropped == 0
    assert [sink.state for sink in told.sinks] == ["live"] * 3
    for file in [*sorted((tmp_path / "mkv").iterdir())[:2], *(tmp_path / "mp4").iterdir(),
                 tmp_path / "hls" / "live.m3u8"]:  # fmt: skip
        with av.open(str(file)) as container:
            kinds = {s.type: s.codec_context.name for s in container.streams}
            assert kinds == {"video": "h264", "audio": "aac"}, file
            assert sum(p.size > 0 for p in container.demux(audio=0)) > 10
        assert len(read_pts(file)) > 10
    assert (tmp_path / "hls" / "live.m3u8").read_text().endswith("#EXT-X-ENDLIST\n")


def is_unchanged(preview):
    return np.array_equal(preview.before, preview.after)


def is_brighter(preview):
    return preview.after.mean() > 1.5 * preview.before.mean()


def test_settings_act_at_once_and_without_a_new_connection(camera):
    with LiveFleet(GainEngine) as fleet:
        fleet.put(config(camera))
        wait_for_state(fleet, "live", 15)
        wait_for(lambda: fleet.preview("yard"), 5, "no preview")
        fleet.set("yard", ratio=1.0)
        wait_for(lambda: state(fleet).ratio == 1.0, 2, "the ratio did not act")
        wait_for(lambda: is_unchanged(fleet.preview("yard")), 2, "the preview is not as it was")
        fleet.set("yard", ratio=4.0)
        wait_for(lambda: state(fleet).ratio == 4.0, 2, "the ratio did not act")
        wait_for(lambda: is_brighter(fleet.preview("yard")), 2, "the preview is not brighter")
        fleet.put(config(camera, target=0.3))
        wait_for(lambda: state(fleet).ratio not in (1.0, 4.0), 2, "the target did not act")
        assert state(fleet).reconnects == 0 and state(fleet).state == "live"
        with pytest.raises(UsageError, match=r"0\.1 to 10"):
            fleet.set("yard", ratio=99.0)
        with pytest.raises(KeyError):
            fleet.set("nobody", ratio=1.0)
        with pytest.raises(KeyError):
            fleet.remove("nobody")


def test_an_engine_that_cannot_be_opened_is_told():
    def broken():
        raise EngineError("no such device")

    before = open_things()
    with pytest.raises(EngineError, match="no such device"):
        LiveFleet(broken)
    assert open_things() == before


def test_frames_of_cameras_of_one_size_share_a_batch(camera):
    engines = []

    def open_engine():
        engines.append(GainEngine(max_batch=3))
        return engines[0]

    with LiveFleet(open_engine) as fleet:
        for name in ("one", "two", "three"):
            fleet.put(config(camera, name=name))
        for name in ("one", "two", "three"):
            wait_for_state(fleet, "live", 15, name)
        wait_for(lambda: 3 in engines[0].batches, 10, "no batch of three")
        outs = [camera.frames_out for camera in fleet.look()]
        time.sleep(2)
        gained = [c.frames_out - o for c, o in zip(fleet.look(), outs, strict=True)]
    assert max(gained) - min(gained) <= 3
    assert min(gained) >= 15


def test_a_file_is_played_at_its_own_pace_then_all_ends(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=20, size=(160, 128), rate=10)
    began = time.monotonic()
    with LiveFleet(GainEngine) as fleet:
        fleet.put(camera_of(clip, str(tmp_path / "rec")))
        wait_for_state(fleet, "stopped", 15)
        assert time.monotonic() - began > 1.9
    (recording,) = (tmp_path / "rec").iterdir()
    assert len(read_pts(recording)) == 20


def camera_of(clip: Path, *to: str) -> CameraConfig:
    return CameraConfig(name="yard", url=f"file:{clip}", to=to, max_delay=60.0)


def test_the_command_streams_a_file_and_ends(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=4, rate=4)
    process = command("stream", str(clip), "--to", str(tmp_path / "rec"), "--max-delay", "60")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    first = said.splitlines()[0]
    assert first.startswith("engine: realtime: student on cpu, ")
    assert re.search(r", about \S+ frames per second at 1280x720$", first)
    assert "camera: live 64x48" in said
    assert len(read_pts(next((tmp_path / "rec").iterdir()))) == 4


def test_sigterm_finishes_recordings_in_time_and_no_password_is_seen(camera, tmp_path):
    url = f"rtsp://user:sesame77@127.0.0.1:{camera.port}/1"
    process = command("stream", url, "--to", str(tmp_path / "rec"), "--recording", "mp4")
    folder = tmp_path / "rec"
    wait_for(lambda: folder.exists() and any(folder.iterdir()), 40, "nothing is recorded")
    time.sleep(1.5)
    seen = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        seen += Path(f"/proc/{child}/cmdline").read_bytes()
    assert b"sesame" not in seen and b"user:$" in seen
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert process.returncode == 0, said
    assert "sesame" not in out + said and "user:***@" not in out
    (recording,) = folder.iterdir()
    assert len(read_pts(recording)) > 5


@pytest.mark.slow
def test_serve_follows_its_file(camera, tmp_path):
    path = tmp_path / "cameras.toml"
    port = free_port()

    def write(*names):
        tables = "".join(
            f"[camera.{n}]\nurl = 'rtsp://127.0.0.1:{camera.port}/1'\nto = '{tmp_path / n}'\n"
            for n in names
        )
        path.write_text(f"[console]\nport = {port}\n{tables}")

    write("one")
    process = command("serve", str(path))
    try:
        wait_for(lambda: files(tmp_path / "one"), 40, "nothing is recorded")
        wait_for(lambda: answer(port, "readyz") == 200, 15, "it is not ready")
        write("one", "two")
        wait_for(lambda: files(tmp_path / "two"), 15, "the new camera does not record")
        path.write_text("[camera")
        os.kill(process.pid, signal.SIGHUP)
        time.sleep(1.5)
        write("two")
        time.sleep(2)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert "all goes on as before" in said and said.count("2 cameras") >= 1
    assert "1 cameras" in said or "1 camera" in said
    # Neither was ever stopped while it stood in the file.
    assert len(files(tmp_path / "one")) == len(files(tmp_path / "two")) == 1, said


def answer(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.mark.slow
def test_sigterm_is_obeyed_in_time_while_a_camera_is_frozen(tmp_path):
    with camera_server(tmp_path) as camera:
        url = f"rtsp://127.0.0.1:{camera.port}/1"
        process = command("stream", url, "--to", str(tmp_path / "rec"))
        wait_for(lambda: files(tmp_path / "rec"), 40, "nothing is recorded")
        time.sleep(2)
        freeze(camera)
        time.sleep(1)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
        assert time.monotonic() - began < 5
        assert process.returncode == 0, said
        assert len(read_pts(files(tmp_path / "rec")[0])) > 5


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["stream", "rtsp://u:${NOT_THERE}@h/1", "--to", "rec"], 2, "'NOT_THERE' is not set"),
        (["stream", "gopher://h/1", "--to", "rec"], 2, "expected rtsp"),
        (["stream", "rtsp://h/1", "--to", "rec", "--recording", "avi"], 2, "mkv or mp4"),
        (["serve", "none.toml"], 1, "none.toml: No such file"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path, words, code, said):
    process = command(*words, cwd=tmp_path)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert said in told and told.count("\n") == 1 and told.startswith("streamkind: ")
