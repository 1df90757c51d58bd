"""Logs the changes of cameras, and errors that persist once a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from streamkind.live.status import CameraStatus

log = logging.getLogger("streamkind.live")

QUIET_SECONDS = 60.0
"""Least time, in seconds, between two lines about errors of a camera or of an output. Chosen by
hand."""


class StateLog:
    """Logs what has changed since its last call. Use it from one thread only."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, CameraStatus] = {}
        self._told: dict[tuple[str, str], float] = {}
        """Time of the last logged error, by camera and output."""

    def __call__(self, cameras: list[CameraStatus]) -> list[CameraStatus]:
        """Log what has changed, and return `cameras`."""
        for camera in cameras:
            before = self._known.get(camera.name)
            if before is None:
                before = replace(camera, state="connecting", error="", error_time=0.0, sinks=())
            self._tell_of(camera, before)
            self._tell_of_sinks(camera, before)
        self._known = {camera.name: camera for camera in cameras}
        names = {camera.name for camera in cameras}
        self._told = {key: when for key, when in self._told.items() if key[0] in names}
        return cameras

    def _tell_of(self, now: CameraStatus, before: CameraStatus) -> None:
        if now.state != before.state:
            size = f" {now.width}x{now.height}" if now.state == "live" else ""
            told = f"{now.state}{size}, {now.frames_out} frames out, {now.dropped} dropped"
            self._say(logging.INFO, now.name, told)
        if now.state == "live" != before.state:
            self._told.pop((now.name, ""), None)
        if now.error and now.error_time != before.error_time and self._is_due(now.name, ""):
            self._say(logging.WARNING, now.name, now.error)

    def _tell_of_sinks(self, now: CameraStatus, before: CameraStatus) -> None:
        # Two URLs may be equal once their secrets are hidden.
        known = {(place, sink.url): sink for place, sink in enumerate(before.sinks)}
        for place, sink in enumerate(now.sinks):
            old = known.get((place, sink.url))
            if old is not None and sink.state != old.state:
                self._say(logging.INFO, now.name, f"{sink.url}: {sink.state}")
            fails = sink.state == "lost" or old is None or sink.error != old.error
            if sink.error and fails and self._is_due(now.name, f"{place} {sink.url}"):
                self._say(logging.WARNING, now.name, f"{sink.url}: {sink.error}")

    def _is_due(self, name: str, place: str) -> bool:
        now = self._clock()
        if now - self._told.get((name, place), -QUIET_SECONDS) < QUIET_SECONDS:
            return False
        self._told[name, place] = now
        return True

    def _say(self, level: int, name: str, told: str) -> None:
        log.log(level, "%s: %s", name, told, extra={"camera": name})
