"""Reads the state of all cameras for the page, the API and Prometheus."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from streamkind.engine.shrink import rgb_at
from streamkind.live.config import redact
from streamkind.live.status import CameraStatus, Fleet, Preview, SinkStatus
from streamkind.video.format import HD, ColorTags
from streamkind.video.frames import Pixels, size_of

AGE_BUCKETS = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0)
"""Upper bounds of the histogram of ages, in seconds. 0.5 is the default of `max_delay_seconds`."""
PREVIEW_SECONDS = 0.2
"""Least interval between two encoded pictures of a camera, in seconds."""
PREVIEW_WIDTH = 960
"""Largest width of each half of a preview, in pixels."""
TILE_WIDTH = 384
"""Largest width of a picture of the wall of cameras, in pixels."""
JPEG_QUALITY = 85
"""JPEG quality of previews, 0 to 100."""


@dataclass
class AgeHistogram:
    """A histogram of the ages of frames at the output."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(AGE_BUCKETS) + 1))
    """Number of frames in each bucket. The last bucket has no upper bound."""
    sum: float = 0.0
    """Sum of all ages, in seconds."""
    frames: int = 0
    """Number of frames of the camera at the last call. If it has become smaller, another camera
    now has the name."""

    def add(self, ages: Iterable[float]) -> None:
        """Count ages in seconds."""
        for age in ages:
            self.counts[bisect_left(AGE_BUCKETS, age)] += 1
            self.sum += age


class Watch:
    """The state of the fleet for the console, without secrets. May be used from any thread.

    `Fleet.status` returns each age only once. So page, API and metrics share one `Watch`.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._lock = threading.Lock()
        self._ages: dict[str, AgeHistogram] = {}

    def status(self) -> list[CameraStatus]:
        """Return the state of every camera, without passwords."""
        with self._lock:
            cameras = self._fleet.status()
            self._ages = {c.name: self._aged(c) for c in cameras}
        return [without_secrets(camera) for camera in cameras]

    def ages(self, name: str) -> AgeHistogram:
        """Return a copy of the histogram of a camera."""
        with self._lock:
            known = self._ages.get(name, AgeHistogram())
            return replace(known, counts=list(known.counts))

    def _aged(self, camera: CameraStatus) -> AgeHistogram:
        known = self._ages.get(camera.name)
        if known is None or camera.age_count < known.frames:
            known = AgeHistogram()
        known.add(camera.ages)
        known.frames = camera.age_count
        return known


def without_secrets(camera: CameraStatus) -> CameraStatus:
    """Redact every text of a camera that may hold a URL."""
    sinks = tuple(_sink_without_secrets(sink) for sink in camera.sinks)
    return replace(camera, url=redact(camera.url), error=redact(camera.error), sinks=sinks)


def _sink_without_secrets(sink: SinkStatus) -> SinkStatus:
    return replace(sink, url=redact(sink.url), error=redact(sink.error))


@dataclass(frozen=True, slots=True)
class Jpeg:
    """A JPEG of a camera."""

    data: bytes
    tag: str
    """ETag: it differs if the picture differs."""


class Previews:
    """Encodes the last frame of a camera on request, at a limited rate."""

    def __init__(self, fleet: Fleet, encode: Callable[[Preview], bytes]) -> None:
        self._fleet = fleet
        self._encode = encode
        self._lock = threading.Lock()
        self._last: dict[str, tuple[float, Jpeg]] = {}

    def get(self, name: str, now: float) -> Jpeg | None:
        """Return a picture of a camera, None before its first frame. Raises KeyError.

        `now` is a monotonic time in seconds; within PREVIEW_SECONDS the same picture is returned.
        """
        preview = self._fleet.preview(name)
        if preview is None:
            return None
        with self._lock:
            then, picture = self._last.get(name, (-1.0, None))
            tag = f'"{preview.time:.6f}"'
            if picture and (picture.tag == tag or 0 <= now - then < PREVIEW_SECONDS):
                return picture
            picture = Jpeg(self._encode(preview), tag)
            present = self._fleet.configs()
            self._last = {key: kept for key, kept in self._last.items() if key in present}
            self._last[name] = (now, picture)
            return picture


def encode(preview: Preview) -> bytes:
    """Put before left of after, each at most PREVIEW_WIDTH wide, and encode as JPEG."""
    return jpeg_of(preview.before, preview.after, HD, PREVIEW_WIDTH)


def encode_tile(preview: Preview) -> bytes:
    """Encode the enhanced frame as JPEG, at most TILE_WIDTH wide."""
    return jpeg_of(None, preview.after, HD, TILE_WIDTH)


def jpeg_of(before: Pixels | None, after: Pixels, color: ColorTags, most: int) -> bytes:
    """Put `before`, if any, left of `after`, each at most `most` pixels wide; encode as JPEG.

    Both are RGB, (H, W, 3), or yuv420p of the tags `color`, (3 H / 2, W).
    """
    width, height = size_of(after)
    scale = min(1.0, most / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = [rgb_at(size, picture, color) for picture in (before, after) if picture is not None]
    row = cv2.cvtColor(np.hstack(shown), cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", row, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"cv2 could not encode a picture of shape {row.shape}")
    return data.tobytes()
