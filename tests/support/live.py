"""Servers, engines and measurements for the tests of live cameras."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np

from streamkind.backends.base import Layers
from streamkind.light.exposure import DEFAULT_TARGET, RATIOS, Statistics
from streamkind.live.config import CameraConfig
from streamkind.live.fleet import LiveFleet
from streamkind.live.status import CameraStatus

SCRIPT = Path(__file__).with_name("rtsp_server.py")
X264 = (
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 ! "
    "rtph264pay name=pay0 pt=96 config-interval=1"
)


def moving_picture(
    width: int = 320, height: int = 240, rate: int = 10, pattern: str = "ball", coder: str = X264
) -> str:
    """A GStreamer pipeline: a dark moving picture."""
    return (
        f"( videotestsrc is-live=true pattern={pattern} foreground-color=0xff404040 ! "
        f"video/x-raw,width={width},height={height},framerate={rate}/1 ! {coder} )"
    )


class Server:
    """`rtsp_server.py` in a process of its own."""

    def __init__(self, folder: Path, kind: str, *rest: str) -> None:
        self.port = free_port()
        self.words = ["/usr/bin/python3", str(SCRIPT), kind, str(self.port), *rest]
        self._log = folder / f"{kind}-{self.port}.log"
        self.start()

    def start(self) -> None:
        """Run it, and wait until it listens."""
        with self._log.open("a") as log:
            before = self.told("ready")
            self._process = subprocess.Popen(self.words, stdout=log, stderr=subprocess.DEVNULL)
        wait_for(lambda: self.told("ready") > before, 20, "the server did not start")

    def told(self, line: str) -> int:
        """How often it has printed a line."""
        return self._log.read_text().split("\n").count(line)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def camera_server(folder: Path, pipeline: str = moving_picture(), *how: str) -> Server:
    return Server(folder, "camera", pipeline, *how)


def record_server(folder: Path, name: str = "seen.mkv") -> Server:
    return Server(folder, "record", str(folder / name))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class GainEngine:
    """A light engine: brightness times the ratio, by NumPy; `seconds` slows each frame down."""

    description = "gain, by numpy"

    def __init__(self, seconds: float = 0.0, max_batch: int = 4) -> None:
        self.max_batch = max_batch
        self.seconds = seconds
        self.batches: list[int] = []
        self.thread = threading.get_ident()

    def decompose(self, pixels: np.ndarray) -> Layers:
        assert threading.get_ident() == self.thread, "an engine is used from one thread only"
        self.batches.append(len(pixels))
        time.sleep(self.seconds * len(pixels))
        n, height, width = pixels.shape[:3]
        rows, columns = height // 16, width // 16
        luma = pixels[:, : 16 * rows, : 16 * columns].mean(axis=3) / 255
        thumbnail = luma.reshape(n, rows, 16, columns, 16).mean(axis=(2, 4))
        curve = np.minimum(thumbnail.mean(axis=(1, 2))[:, None] * RATIOS, 1)
        light = pixels.max(axis=3)[:, None].astype(np.float32)
        told = Statistics.of(curve, thumbnail, np.full(n, DEFAULT_TARGET))
        return Layers(light, light, told, pixels)

    def steady(self, layers: Layers, before: Layers, strength: np.ndarray) -> Layers:
        return layers

    def recompose(self, layers: Layers, ratios: np.ndarray) -> np.ndarray:
        return np.clip(layers.pixels * ratios[:, None, None, None], 0, 255).astype(np.uint8)

    def close(self) -> None:
        pass


class Stalls:
    """How long the machine itself has held up a process that does nothing but look at the clock.

    No program can be on time where another machine's work takes the cores; of that alone it tells.
    """

    def __enter__(self) -> Stalls:
        self._process = subprocess.Popen(
            [sys.executable, "-c", STALLS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.most = float(self._process.communicate()[0])
        """Seconds; a few milliseconds on a quiet machine."""


STALLS = """
import select, sys, time
most = 0.0
while True:
    before = time.monotonic()
    if select.select([sys.stdin], [], [], 0.005)[0]:
        break
    most = max(most, time.monotonic() - before - 0.005)
print(most)
"""


def wait_for(done: Callable[[], object], seconds: float, what: str) -> float:
    """Wait until something is true; return how long it took."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < seconds, what
        time.sleep(0.05)
    return time.monotonic() - began


def state(fleet: LiveFleet, name: str = "yard") -> CameraStatus:
    return next(camera for camera in fleet.look() if camera.name == name)


def wait_for_state(fleet: LiveFleet, wanted: str, seconds: float, name: str = "yard") -> float:
    def is_so() -> bool:
        return state(fleet, name).state == wanted

    return wait_for(is_so, seconds, f"not {wanted}: {state(fleet, name)}")


def config(camera: Server, *to: str, **more: object) -> CameraConfig:
    settings: dict[str, Any] = {"name": "yard", "timeout": 2.0, "max_delay": 1.0, **more}
    return CameraConfig(url=f"rtsp://127.0.0.1:{camera.port}/1", to=to, **settings)


def published(server: Server) -> str:
    return f"rtsp://127.0.0.1:{server.port}/in"


def read_pts(path: Path) -> list[float]:
    """Times of all pictures that can be decoded from a recording."""
    with av.open(str(path)) as container:
        return [float(f.pts * f.time_base) for f in container.decode(video=0)]


def open_things() -> tuple[int, int]:
    """Threads and file descriptors of this process."""
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


def freeze(server: Server) -> None:
    server.signal(signal.SIGSTOP)


def thaw(server: Server) -> None:
    server.signal(signal.SIGCONT)


def command(*words: str, **more: object) -> subprocess.Popen[str]:
    """Start `streamkind ...`."""
    return subprocess.Popen(
        [sys.executable, "-m", "streamkind", *words],
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
    )
