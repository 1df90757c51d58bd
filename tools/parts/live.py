"""Live cameras: the delay of pictures, and the frame rate with a 720p camera of 25 fps.

`latency.py` measures the delay. For the frame rate, a GStreamer server on this machine acts as the
camera. streamkind enhances its stream in the profile realtime, and publishes the result to a second
server. All three share the cores.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from loopback.servers import (
    camera_server,
    config,
    moving_picture,
    published,
    record_server,
    wait_for_state,
)

from parts import latency
from parts.record import Measured, Table
from streamkind.cli.live import open_fleet

SIZES = (320, 240), (640, 480), (1280, 720)
"""Width and height of the cameras whose delay is measured."""
SECONDS, MINUTES, MINUTE_SECONDS = 20.0, 5, 60.0
"""Seconds of each measurement of the delay; minutes of `held`, and seconds of each of them."""
HELD = {
    "minute": "d",
    "frames a second in": ".1f",
    "out": ".1f",
    "dropped": "d",
    "delay, median, ms": ".0f",
    "99 %": ".0f",
    "most": ".0f",
}
"""Columns of the table of `held`, and their formats."""


def measure(data: Path, folder: Path) -> Measured:
    """Measure delays in `realtime`, then the frame rate of one camera over some minutes."""
    late: list[list[Any]] = []
    with open_fleet("realtime") as fleet:
        for way, how in (("MPEG-TS over UDP", latency.measure), ("HLS", latency.measure_hls)):
            for size in SIZES if how is latency.measure else SIZES[-1:]:
                found = how(fleet, size, SECONDS)
                figures = 1e3 * np.percentile(found, (50, 90, 99))
                late.append([way, "x".join(map(str, size)), len(found), *figures.tolist()])
    columns = {"output": "", "size": "", "pictures": "d", "median, ms": ".0f"}
    columns |= {"90 %": ".0f", "99 %": ".0f"}
    tables = {"latency": Table(columns, late), "held": Table(HELD, list(held()))}
    return Measured(tables, profiles=("realtime",))


def held() -> list[list[Any]]:
    """Return a row for each minute: frame rates, dropped frames, and delays."""
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        camera_server(Path(folder), moving_picture(1280, 720, 25)) as camera,
        record_server(Path(folder)) as server,
        open_fleet("realtime") as fleet,
    ):
        fleet.put(config(camera, published(server)))
        wait_for_state(fleet, "live")
        time.sleep(5)
        fleet.status()
        for minute in range(1, MINUTES + 1):
            before, began = fleet.look()[0], time.monotonic()
            time.sleep(MINUTE_SECONDS)
            (now,) = fleet.status()
            seconds = time.monotonic() - began
            rates = [
                (now.frames_in - before.frames_in) / seconds,
                (now.frames_out - before.frames_out) / seconds,
            ]
            ages = 1e3 * np.percentile(now.ages or [0], (50, 99, 100))
            rows.append([minute, *rates, now.dropped - before.dropped, *ages.tolist()])
    return rows
