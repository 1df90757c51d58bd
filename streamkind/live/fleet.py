"""All cameras of a process. They share one engine."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from streamkind.engine.checks import check_ratio, check_target
from streamkind.engine.engine import Engine
from streamkind.errors import UsageError
from streamkind.light.exposure import Ratio
from streamkind.live.camera import Camera
from streamkind.live.config import CameraConfig, check_camera
from streamkind.live.encoder import letters
from streamkind.live.shared import SharedEngine
from streamkind.live.status import CameraStatus, Preview
from streamkind.live.viewers import Viewer
from streamkind.platform import give_memory_back
from streamkind.video.storage import natural

STOP_SECONDS = 3.5
"""Time, in seconds, for cameras to finish their outputs. Together with `HALT_SECONDS` it is less
than the five seconds that the docs promise for SIGTERM."""
HALT_SECONDS = 1.0
"""Time, in seconds, to end the outputs that have not finished after `STOP_SECONDS`."""
MOST_CAMERAS = 256
"""Largest number of cameras of a process."""
MOST_CHANGES = 1024
"""Largest number of changes (cameras added, changed or removed) that wait to be applied."""
WAIT_SECONDS = 0.1
"""Longest wait, in seconds, before the stop flag is checked."""
TRIM_SECONDS = 30.0
"""Interval, in seconds, at which freed memory is returned to the system."""
AT_ONCE = ("ratio", "target", "required", "required_outputs", "max_delay_seconds")
"""Settings that take effect without a new connection."""


class LiveFleet:
    """A `Fleet` of real cameras. A context manager, which finishes all outputs at its end."""

    def __init__(self, open_engine: Callable[[], Engine]) -> None:
        """Open the engine in a thread of its own. Raises what `open_engine` raises."""
        letters()  # drawn once here, not in the thread of each camera
        self._engine = SharedEngine(open_engine)
        self._lock = threading.Lock()
        self._cameras: dict[str, Camera] = {}
        self._changes: queue.Queue[tuple[Camera | None, Camera | None]] = queue.Queue(MOST_CHANGES)
        self._stop = threading.Event()
        self._until = 0.0
        self._thread = threading.Thread(target=self._run, name="streamkind-changes", daemon=True)
        self._thread.start()

    @property
    def engine(self) -> str:
        """Description of the present engine: model, device, library, effective precision."""
        return self._engine.description

    def __enter__(self) -> Self:
        """Return the fleet, already running."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop all cameras and finish all recordings."""
        self.close()

    def stop(self) -> list[Camera]:
        """Ask all cameras to end, and return them. `close` waits. It may be called twice."""
        self._until = self._until or time.monotonic() + STOP_SECONDS
        self._stop.set()
        with self._lock:
            cameras = list(self._cameras.values())
        for camera in cameras:
            camera.stop()
        self._engine.stop()
        return cameras

    def close(self) -> None:
        """Stop all cameras within `STOP_SECONDS`. It may be called twice."""
        self.stop()
        self._thread.join(STOP_SECONDS)
        end(self.stop(), self._until)
        self._engine.join(self._until)

    def status(self) -> list[CameraStatus]:
        """Return the state of every camera, in order of name."""
        return self._status(take_ages=True)

    def look(self) -> list[CameraStatus]:
        """Return the same as `status`, but do not empty the lists of `ages`."""
        return self._status(take_ages=False)

    def _status(self, *, take_ages: bool) -> list[CameraStatus]:
        with self._lock:
            cameras = sorted(self._cameras.items(), key=lambda item: natural(item[0]))
        return [camera.status(take_ages=take_ages) for _, camera in cameras]

    def preview(self, name: str) -> Preview | None:
        """Return the last frame of a camera, None before the first. Raises KeyError."""
        return self._camera(name).preview

    def view(self, name: str, wake: Callable[[], None]) -> Viewer:
        """Return a viewer of a camera; its `leave` ends it. Raises KeyError, UsageError."""
        return self._camera(name).output.viewers.add(wake)

    def configs(self) -> dict[str, CameraConfig]:
        """Return the present settings of every camera, secrets unresolved."""
        with self._lock:
            return {name: camera.config for name, camera in self._cameras.items()}

    def set(self, name: str, *, ratio: Ratio | None = None, target: float | None = None) -> None:
        """Change ratio or target from the next frame on. Raises KeyError, UsageError."""
        if ratio is not None:
            check_ratio(ratio)
        if target is not None:
            check_target(target)
        with self._lock:  # otherwise one of two calls at the same time would be lost
            camera = self._cameras[name]
            asked = {"ratio": ratio, "target": target}
            given = {key: value for key, value in asked.items() if value is not None}
            camera.change(camera.config.model_copy(update=given))

    def put(self, config: CameraConfig) -> None:
        """Add a camera, or change the one with this name. Other cameras are not interrupted.

        Raises UsageError.
        """
        check_camera(config, from_api=False)
        with self._lock:
            old = self._cameras.get(config.name)
            if old is not None and config == _with(config, old.config):
                old.change(config)
                return
            if old is None:
                check_count(len(self._cameras) + 1)
            new = Camera(config, self._engine)
            self._queue_change(old, new)
            self._cameras[config.name] = new

    def remove(self, name: str) -> None:
        """Stop a camera and remove it. Raises KeyError."""
        with self._lock:
            self._queue_change(self._cameras[name], None)
            del self._cameras[name]

    def _camera(self, name: str) -> Camera:
        with self._lock:
            return self._cameras[name]

    def _queue_change(self, old: Camera | None, new: Camera | None) -> None:
        try:
            self._changes.put_nowait((old, new))
        except queue.Full:
            raise UsageError(
                f"{MOST_CHANGES} changes of cameras are waiting; try again later"
            ) from None

    def _run(self) -> None:
        """Apply changes in turn, so that an output is closed before another camera opens it."""
        trimmed = time.monotonic()
        while not self._stop.is_set() or not self._changes.empty():
            if time.monotonic() - trimmed > TRIM_SECONDS:
                give_memory_back()
                trimmed = time.monotonic()
            try:
                old, new = self._changes.get(timeout=WAIT_SECONDS)
            except queue.Empty:
                continue
            if old is not None:
                old.stop()
                end([old], time.monotonic() + STOP_SECONDS)
            if new is None or self._stop.is_set():
                continue
            try:
                new.start()
            except RuntimeError as exc:  # no more threads; later changes must still be applied
                new.fail(f"the camera could not be started: {exc}; allow this process more threads")


def check_count(cameras: int) -> None:
    """Raise UsageError for more cameras than a process takes."""
    if cameras > MOST_CAMERAS:
        raise UsageError(
            f"one process takes at most {MOST_CAMERAS} cameras; remove one, or start another"
            " process"
        )


def end(cameras: list[Camera], until: float) -> None:
    """Wait until `until`, a time of `time.monotonic`, for stopped cameras; then halt the others."""
    for camera in cameras:
        camera.join(until)
    for camera in cameras:
        camera.output.halt()
    until = time.monotonic() + HALT_SECONDS
    for camera in cameras:
        camera.output.join(until)


def _with(config: CameraConfig, other: CameraConfig) -> CameraConfig:
    """Return `other` with those settings of `config` that need no new connection."""
    return other.model_copy(update={key: getattr(config, key) for key in AT_ONCE})
