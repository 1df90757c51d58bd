"""Measures eight cameras of six sizes that record to folders, for ten minutes without faults.

Needs the Debian packages of `make test`.
"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

from loopback.servers import camera_server, config, moving_picture

from parts.record import Measured
from parts.soak import Sample, draw, table_of, watch
from streamkind.cli.live import open_fleet

MINUTES = 10.0
"""Length of the run, in minutes."""
RATE = 5
"""Frames per second of each camera."""
SIZES = (
    *((160, 128), (320, 240), (352, 288), (480, 272), (640, 360), (640, 480)),
    *((320, 240), (640, 360)),
)
"""Width and height of each camera's pictures."""


def measure(data: Path, folder: Path) -> Measured:
    """Run the cameras; return a table and a plot of the run."""
    with tempfile.TemporaryDirectory() as place:
        samples = run(Path(place), MINUTES)
    draw(samples, picture := folder / "fleet.png", f"eight cameras of six sizes, {RATE} fps each")
    kept = samples[1:] or samples
    fps, cores = (statistics.fmean(getattr(s, name) for s in kept) for name in ("fps", "cores"))
    table = table_of(samples, **{"fps": (".1f", fps), "cores": (".2f", cores)})
    return Measured({"run": table}, profiles=("realtime",), pictures=(picture,))


def run(folder: Path, minutes: float) -> list[Sample]:
    """Run eight cameras without faults for a number of minutes; return the samples."""
    with ExitStack() as stack, open_fleet("realtime") as fleet:
        for number, (width, height) in enumerate(SIZES):
            picture = moving_picture(width, height, RATE)
            camera = stack.enter_context(camera_server(folder, picture))
            name = f"c{number + 1}"
            how = {"timeout_seconds": 10.0, "segment_seconds": 20.0, "keep_gb": 0.001}
            fleet.put(config(camera, str(folder / name), name=name, **how))
        return watch(fleet, minutes, iter(()))
