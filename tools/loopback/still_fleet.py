"""A `Fleet` in memory, with still pictures, for tests and screenshots of the console.

It has the methods of `streamkind.live.status.Fleet`. The caller sets the pictures. They are
enhanced when a preview is requested.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from streamkind.engine.checks import check_ratio
from streamkind.light.exposure import Ratio
from streamkind.live.config import CameraConfig
from streamkind.live.encoder import LiveEncoder
from streamkind.live.status import CameraStatus, Preview
from streamkind.live.viewers import Viewer, Viewers
from streamkind.video.frames import Pixels, size_of
from streamkind.video.storage import natural

AUTO = 4.0
"""Ratio that this fleet uses as the automatic one."""
Relight = Callable[[Pixels, Ratio, float], Pixels]
"""Enhances a picture with a ratio and a target."""


def gain(pixels: Pixels, ratio: Ratio, target: float) -> Pixels:
    """Multiply a picture by the ratio. The target is not used."""
    factor = AUTO if ratio == "auto" else ratio
    return np.clip(pixels * factor, 0, 255).astype(np.uint8)


class StillFleet:
    """A fleet whose cameras have the status that `change` sets."""

    engine = "kind on cpu, openvino 2026.4.1, bf16"

    def __init__(self, relight: Relight = gain) -> None:
        self._relight = relight
        self._lock = threading.Lock()
        self._cameras: dict[str, CameraStatus] = {}
        self._configs: dict[str, CameraConfig] = {}
        self._pictures: dict[str, Pixels] = {}
        self._viewers: dict[str, Viewers] = {}

    def show(self, name: str, picture: Pixels) -> None:
        """Set the picture of a camera, (H, W, 3) uint8 RGB."""
        with self._lock:
            self._pictures[name] = picture
        self.change(name, width=picture.shape[1], height=picture.shape[0])

    def change(self, name: str, **fields: Any) -> None:
        """Set fields of the status of a camera."""
        with self._lock:
            self._cameras[name] = replace(self._cameras[name], **fields)

    def status(self) -> list[CameraStatus]:
        """Return the status of every camera, and empty the lists of `ages`."""
        with self._lock:
            cameras = [self._cameras[name] for name in sorted(self._cameras, key=natural)]
            self._cameras = {c.name: replace(c, ages=()) for c in cameras}
            return cameras

    def preview(self, name: str) -> Preview | None:
        """Return the picture of a camera before and after; None if it has no picture."""
        with self._lock:
            camera, picture = self._cameras[name], self._pictures.get(name)
        if picture is None:
            return None
        after = self._relight(picture, camera.wanted_ratio, camera.target)
        return Preview(picture, lambda: after, time.time())

    def view(self, name: str, wake: Callable[[], None]) -> Viewer:
        """Return a viewer of the video that `play` sends."""
        with self._lock:
            return self._viewers[name].add(wake)

    @contextmanager
    def play(self, name: str, pictures: Sequence[Pixels], rate: int = 10) -> Iterator[None]:
        """Encode pictures, (H, W, 3) uint8 RGB, in a loop for the viewers of a camera."""
        stop = threading.Event()
        encode = LiveEncoder("h264", size_of(pictures[0]), Fraction(rate), Fraction(1))
        viewers = self._viewers[name]

        def run() -> None:
            for number, picture in enumerate(itertools.cycle(pictures)):
                key = viewers.wants_key.is_set()
                viewers.wants_key.clear()
                viewers.offer(encode(picture, number / rate, key=key), encode.stream)
                if stop.wait(1 / rate):
                    return

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def configs(self) -> dict[str, CameraConfig]:
        """Return the settings of every camera."""
        with self._lock:
            return dict(self._configs)

    def set(self, name: str, *, ratio: Ratio | None = None, target: float | None = None) -> None:
        """Change the ratio or the target of a camera."""
        if ratio is not None:
            check_ratio(ratio)
        with self._lock:
            asked = {"ratio": ratio, "target": target}
            given = {key: value for key, value in asked.items() if value is not None}
            self._configs[name] = config = self._configs[name].model_copy(update=given)
            camera, now = self._cameras[name], AUTO if config.ratio == "auto" else config.ratio
            self._cameras[name] = replace(
                camera, wanted_ratio=config.ratio, ratio=now, target=config.target
            )

    def put(self, config: CameraConfig) -> None:
        """Add or change a camera. Its state is `live` at once."""
        status = CameraStatus(
            config.name, "live", config.required, config.url, since=time.time(), fps=25.0
        )
        with self._lock:
            self._configs[config.name] = config
            self._cameras[config.name] = status
            self._viewers.setdefault(config.name, Viewers())
        self.set(config.name, ratio=config.ratio, target=config.target)

    def remove(self, name: str) -> None:
        """Remove a camera, and end its viewers."""
        with self._lock:
            del self._configs[name], self._cameras[name]
            self._pictures.pop(name, None)
            viewers = self._viewers.pop(name)
        viewers.close()
