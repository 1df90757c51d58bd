"""Serves the console on loopback, with simulated cameras that show still pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import requests
from loopback.still_fleet import StillFleet

from streamkind.live.config import CameraConfig, ConsoleConfig
from streamkind.live.web.server import serve_console

TOKEN = "0123456789abcdef-correct"
PASSWORD = "Geh3im!"


@dataclass
class Console:
    """A served console: its URL, its fleet of cameras, and its token."""

    url: str
    fleet: Any
    token: str = ""

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send one request, with the token if there is one; return the response."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= options.pop("headers", {})
        return requests.request(
            method, self.url.rstrip("/") + path, headers=headers, timeout=60, **options
        )

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.ask("GET", path, **options)


def two_cameras() -> Any:
    """Return `gate` with a dark picture and a password in its URL, and `yard` without a picture."""
    fleet = StillFleet()
    url = f"rtsp://user:{PASSWORD}@10.0.0.5/1"
    fleet.put(CameraConfig(name="gate", url=url, to=(f"rtsp://a:{PASSWORD}@10.0.0.6/x",)))
    fleet.put(CameraConfig(name="yard", url="rtsp://10.0.0.7/1", required=False))
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :, 0], picture[:, 32:] = 20, 40
    fleet.show("gate", picture)
    return fleet


@contextmanager
def console_at(fleet: Any, token: str = "", port: int = 0, **options: Any) -> Iterator[Console]:
    """Serve the console of a fleet; port 0 is a free port."""
    with serve_console(fleet, ConsoleConfig(port=port, token=token, **options)) as url:
        yield Console(url, fleet, token)
