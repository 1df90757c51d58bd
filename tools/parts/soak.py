"""Measures memory, descriptors and threads of a process with cameras, for an hour with faults.

Two cameras send 160x128 pictures at 5 fps. Each is enhanced by the released model, published to its
own RTSP server, and recorded to its own folder, all on loopback. Every 20 seconds the next of these
faults occurs: a camera is killed, a camera freezes, a server is killed, a camera is removed and
added again, a camera is added that does not exist.
Needs the Debian packages of `make test`.
"""

from __future__ import annotations

import gc
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from loopback.servers import (
    Server,
    camera_server,
    config,
    freeze,
    moving_picture,
    published,
    thaw,
)

from parts.record import Measured, Table
from streamkind.cli.live import open_fleet
from streamkind.live.fleet import LiveFleet

FAULT_SECONDS = 20.0
"""Interval between faults, in seconds."""
SAMPLE_SECONDS = 2.0
"""Interval between samples, in seconds."""
MINUTES = 60.0
"""Length of the run, in minutes."""
SETTLED_MINUTES = 10.0
"""Growth is measured after this time, in minutes. Before it, each fault occurs at least twice, so
memory that is allocated at the first occurrence of a fault is not counted as growth."""
NAMES = ("yard", "gate")
"""Names of the cameras and of their servers."""

UNITS = {
    "memory": ", MiB",
    "descriptors": "",
    "threads": "",
    "cores": "",
    "age": ", s",
    "fps": "",
}
"""Fields of `Sample` that are plotted -> text of the unit in the label."""


@dataclass(frozen=True)
class Sample:
    """One measurement of the process."""

    minutes: float
    """Time since the start, in minutes."""
    memory: float
    """Resident memory of this process in MiB, without the processes of its outputs."""
    descriptors: int
    """Number of open file descriptors."""
    threads: int
    cores: float
    """CPU seconds per second since the sample before, without the processes of the outputs."""
    age: float
    """Age of the last frame in seconds when it was passed to the outputs; the largest of all."""
    fps: float
    """Enhanced frames per second, of all cameras together."""


def measure(data: Path, folder: Path) -> Measured:
    """Run cameras with faults for an hour; return a table and a plot of the run."""
    with tempfile.TemporaryDirectory() as place:
        samples = soak(Path(place), MINUTES)
    draw(samples, picture := folder / "soak.png", f"a fault every {FAULT_SECONDS:g} s")
    return Measured({"run": table_of(samples)}, profiles=("realtime",), pictures=(picture,))


def table_of(samples: list[Sample], **more: tuple[str, float]) -> Table:
    """Return a run as a table of one row; `more` are further headings, formats and numbers.

    The growth of the memory is left out if the run is too short to measure it.
    """
    told, cells = samples[-1], {"looks": ("d", len(samples))}
    if told.minutes >= 2 * SETTLED_MINUTES:
        cells[f"growth after minute {SETTLED_MINUTES:g}"] = (".2%", growth_of(samples))
    cells |= {"MiB at the end": (".0f", told.memory)}
    cells |= {"descriptors": ("d", told.descriptors), "threads": ("d", told.threads)} | more
    columns = {name: form for name, (form, _) in cells.items()}
    return Table(columns, [[value for _, value in cells.values()]])


def soak(folder: Path, minutes: float) -> list[Sample]:
    """Run two cameras with faults for a number of minutes; return the samples."""
    picture = moving_picture(160, 128, 5)
    with ExitStack() as stack, open_fleet("realtime") as fleet:
        cameras = {name: stack.enter_context(camera_server(folder, picture)) for name in NAMES}
        servers = {
            name: stack.enter_context(Server(folder, "record", "/dev/null")) for name in NAMES
        }
        for name in NAMES:
            to = (published(servers[name]), str(folder / name))
            how = {"timeout_seconds": 2.0, "segment_seconds": 20.0, "keep_gb": 0.001}
            fleet.put(config(cameras[name], *to, name=name, **how))
        return watch(fleet, minutes, itertools.cycle(faults_of(fleet, cameras, servers)))


def watch(fleet: LiveFleet, minutes: float, faults: Iterator[Callable[[], None]]) -> list[Sample]:
    """Take a sample every SAMPLE_SECONDS, and cause the next fault every FAULT_SECONDS."""
    samples: list[Sample] = []
    began, worked = time.monotonic(), time.process_time()
    next_fault, before = began + FAULT_SECONDS, began
    while (now := time.monotonic()) < began + 60 * minutes:
        if now >= next_fault:
            next_fault += FAULT_SECONDS
            next(faults, lambda: None)()
        time.sleep(SAMPLE_SECONDS)
        now, work = time.monotonic(), time.process_time()
        samples.append(sample(fleet, (now - began) / 60, (work - worked) / (now - before)))
        before, worked = now, work
    return samples


def faults_of(
    fleet: LiveFleet, cameras: dict[str, Server], servers: dict[str, Server]
) -> Iterator[Callable[[], None]]:
    """Yield the faults in order, as functions that cause them."""

    def restart(server: Server) -> None:
        server.kill()
        time.sleep(2)
        server.start()

    def stop_for_a_while(server: Server) -> None:
        freeze(server)
        time.sleep(4)
        thaw(server)

    def replace_camera(name: str) -> None:
        settings = fleet.configs()[name]
        fleet.remove(name)
        fleet.put(settings)

    def nobody_there(name: str) -> None:
        settings = fleet.configs()[name]
        nobody = {"name": "nobody", "url": "rtsp://127.0.0.1:9/1", "to": ()}
        fleet.put(settings.model_copy(update=nobody))
        time.sleep(3)
        fleet.remove("nobody")

    for name in NAMES:
        yield lambda name=name: restart(cameras[name])
        yield lambda name=name: stop_for_a_while(cameras[name])
        yield lambda name=name: restart(servers[name])
        yield lambda name=name: replace_camera(name)
        yield lambda name=name: nobody_there(name)


def sample(fleet: LiveFleet, minutes: float, cores: float) -> Sample:
    """Measure the process, and return a sample."""
    gc.collect()  # garbage that is not yet collected is not a leak
    cameras = fleet.look()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Sample(
        minutes,
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        len(os.listdir("/proc/self/fd")),
        len(os.listdir("/proc/self/task")),
        cores,
        max(camera.delay_seconds for camera in cameras),
        sum(camera.fps for camera in cameras),
    )


def growth_of(samples: list[Sample]) -> float:
    """Return the growth of memory after `SETTLED_MINUTES`, as a share; 0 for too few samples."""
    settled = [s for s in samples if s.minutes >= SETTLED_MINUTES]
    if len(settled) < 10:
        return 0.0
    few = max(5, len(settled) // 8)
    first, last = (
        statistics.median(s.memory for s in part) for part in (settled[:few], settled[-few:])
    )
    return last / first - 1


def draw(samples: list[Sample], path: Path, title: str) -> None:
    """Plot the fields of `UNITS` over time."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(UNITS), sharex=True, figsize=(9, 11), layout="constrained")
    minutes = [s.minutes for s in samples]
    for axis, (name, unit) in zip(axes, UNITS.items(), strict=True):
        axis.plot(minutes, [getattr(s, name) for s in samples], linewidth=1)
        axis.set_ylabel(name + unit)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].set_title(title)
    axes[-1].set_xlabel("minutes")
    figure.savefig(path, dpi=110)
