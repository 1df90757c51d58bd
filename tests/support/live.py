"""Engines, measurements and commands for tests of live cameras; servers come from `loopback`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
from loopback.servers import (
    LIMIT_SECONDS,
    Server,
    camera_server,
    config,
    free_port,
    freeze,
    moving_picture,
    published,
    record_server,
    state,
    thaw,
    wait_for,
    wait_for_state,
)

from streamkind.backends.base import Layers
from streamkind.engine.engine import Engine
from streamkind.light.exposure import DEFAULT_TARGET, RATIOS, Statistics

__all__ = [
    "LIMIT_SECONDS",
    "GainBackend",
    "GainEngine",
    "Server",
    "Stalls",
    "camera_server",
    "children",
    "command",
    "config",
    "free_port",
    "freeze",
    "moving_picture",
    "open_things",
    "published",
    "read_pts",
    "record_server",
    "state",
    "thaw",
    "wait_for",
    "wait_for_state",
]


class GainBackend:
    """A fast backend that multiplies pixels by the ratio. Each frame takes `seconds` more."""

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

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts)

    def close(self) -> None:
        pass


class GainEngine(Engine):
    """An engine over `GainBackend`."""

    def __init__(self, **how: Any) -> None:
        self.gain = GainBackend(**how)
        super().__init__(self.gain)


class Stalls:
    """Measures the longest time for which the machine suspends a process that only reads the clock.

    This delay is caused by other work on the same cores. Tests add it to the delay that they allow.
    """

    def __enter__(self) -> Stalls:
        self._process = subprocess.Popen(
            [sys.executable, "-c", STALLS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.most = float(self._process.communicate()[0])
        """Longest stall, in seconds; a few milliseconds on an idle machine."""


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


def read_pts(path: Path) -> list[float]:
    """Return the times, in seconds, of all frames that can be decoded from a recording."""
    with av.open(str(path)) as container:
        return [float(f.pts * f.time_base) for f in container.decode(video=0)]


def open_things() -> tuple[int, int]:
    """Return the numbers of threads and of open file descriptors of this process."""
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


def children(pid: int) -> list[int]:
    """Return the process ids of the children of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # a thread may end in between
            found += map(int, (task / "children").read_text().split())
    return found


def command(*words: str, **more: object) -> subprocess.Popen[str]:
    """Start `streamkind` with arguments, as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "streamkind", *words],
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more},
    )
