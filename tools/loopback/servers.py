"""Cameras and RTSP servers on loopback, and functions that wait for states of live cameras."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loopback.scripted import ScriptedCamera
from streamkind.live.config import CameraConfig
from streamkind.live.fleet import LiveFleet
from streamkind.live.status import CameraStatus

LIMIT_SECONDS = 120.0
"""Longest wait for an expected event, in seconds. On a busy machine, events take far less."""
SCRIPT = Path(__file__).with_name("rtsp_server.py")
X264 = (
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! "
    "rtph264pay name=pay0 pt=96 config-interval=1"
)
"""GStreamer elements that encode H.264 without delay and make RTP packets of it."""


def moving_picture(
    width: int = 320, height: int = 240, rate: int = 10, pattern: str = "ball", coder: str = X264
) -> str:
    """Return a GStreamer pipeline of a dark moving picture."""
    return (
        f"( videotestsrc is-live=true pattern={pattern} foreground-color=0xff404040 ! "
        f"video/x-raw,width={width},height={height},framerate={rate}/1 ! {coder} )"
    )


class Server:
    """Runs `rtsp_server.py` in its own process. A context manager."""

    def __init__(self, folder: Path, kind: str, *rest: str) -> None:
        self.port = free_port()
        self.words = ["/usr/bin/python3", str(SCRIPT), kind, str(self.port), *rest]
        self._log = folder / f"{kind}-{self.port}.log"
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it listens."""
        with self._log.open("a") as log:
            before = self.told("ready")
            self._process = subprocess.Popen(self.words, stdout=log, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.told("ready") > before, "the server did not start")

    def told(self, line: str) -> int:
        """Return how often the process has printed a line."""
        return self._log.read_text().split("\n").count(line)

    def signal(self, number: int) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the process, and wait until it has ended."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Server:
        """Return the server, which already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the process."""
        self.kill()


def camera_server(folder: Path, pipeline: str = moving_picture(), *how: str) -> Server:
    """Start a camera with a GStreamer pipeline; `how`: user and password, or a certificate."""
    return Server(folder, "camera", pipeline, *how)


def record_server(folder: Path, name: str = "seen.mkv") -> Server:
    """Start a server that writes the stream published to it to a file in `folder`."""
    return Server(folder, "record", str(folder / name))


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def wait_for(done: Callable[[], object], what: str, seconds: float = LIMIT_SECONDS) -> float:
    """Wait until `done` returns true; return the wait in seconds. Raises AssertionError."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < seconds, what
        time.sleep(0.05)
    return time.monotonic() - began


def state(fleet: LiveFleet, name: str = "yard") -> CameraStatus:
    """Return the status of a camera."""
    return next(camera for camera in fleet.look() if camera.name == name)


def wait_for_state(fleet: LiveFleet, wanted: str, name: str = "yard") -> float:
    """Wait until a camera is in a state; return the wait in seconds."""

    def is_so() -> bool:
        return state(fleet, name).state == wanted

    return wait_for(is_so, f"not {wanted}: {state(fleet, name)}")


def config(camera: Server | ScriptedCamera, *to: str, **more: object) -> CameraConfig:
    """Return settings of a camera `yard`, with a timeout that is long enough on a busy machine."""
    settings: dict[str, Any] = {
        "name": "yard",
        "timeout_seconds": 60.0,
        "max_delay_seconds": 1.0,
        **more,
    }
    return CameraConfig(url=f"rtsp://127.0.0.1:{camera.port}/1", to=to, **settings)


def published(server: Server) -> str:
    """Return the URL to which a stream is published."""
    return f"rtsp://127.0.0.1:{server.port}/in"


def freeze(server: Server) -> None:
    """Suspend a server without closing its connections."""
    server.signal(signal.SIGSTOP)


def thaw(server: Server) -> None:
    """Resume a server that `freeze` has suspended."""
    server.signal(signal.SIGCONT)
