"""A long run with faults: memory, descriptors and threads of a process with cameras, for an hour.

Two cameras at 160x128 and 5 fps go through the released model to two RTSP servers and a folder of
recordings, all on loopback. Every 20 seconds something goes wrong, in turn: a camera is killed, a
camera freezes, a server is killed, a camera is removed and added again, a host is not there.
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
SAMPLE_SECONDS = 2.0
MINUTES = 60.0
SETTLED_MINUTES = 10.0
"""Growth is measured after this time, in minutes. Until then each fault has occurred twice, and the
memory does not grow any more for this reason."""
NAMES = ("yard", "gate")

UNITS = {
    "memory": ", MiB",
    "descriptors": "",
    "threads": "",
    "cores": "",
    "age": ", s",
    "fps": "",
}
"""What is drawn, and its unit."""


@dataclass(frozen=True)
class Sample:
    """One measurement of the process."""

    minutes: float
    memory: float
    """Resident, MiB, of this process without those of its outputs."""
    descriptors: int
    threads: int
    cores: float
    """CPU seconds a second since the look before, of this process without those of its outputs."""
    age: float
    """Largest age, in seconds, of the last frame of a camera when it left the encoder."""
    fps: float
    """Enhanced, of all cameras."""


def measure(data: Path, folder: Path) -> Measured:
    """Cycle faults for an hour."""
    with tempfile.TemporaryDirectory() as place:
        samples = soak(Path(place), MINUTES)
    draw(samples, picture := folder / "soak.png", f"a fault every {FAULT_SECONDS:g} s")
    return Measured({"run": table_of(samples)}, profiles=("realtime",), pictures=(picture,))


def table_of(samples: list[Sample], **more: tuple[str, float]) -> Table:
    """Return a run as a table of one row; `more` are headings, formats and numbers beside it.

    The growth is left out of a run that is too short for it.
    """
    told, cells = samples[-1], {"looks": ("d", len(samples))}
    if told.minutes >= 2 * SETTLED_MINUTES:
        cells[f"growth after minute {SETTLED_MINUTES:g}"] = (".2%", growth_of(samples))
    cells |= {"MiB at the end": (".0f", told.memory)}
    cells |= {"descriptors": ("d", told.descriptors), "threads": ("d", told.threads)} | more
    columns = {name: form for name, (form, _) in cells.items()}
    return Table(columns, [[value for _, value in cells.values()]])


def soak(folder: Path, minutes: float) -> list[Sample]:
    """Cycle faults for so long; return samples."""
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
    """Look at the process again and again, with the next of the faults every FAULT_SECONDS."""
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
    """Return all that goes wrong, in order."""

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
    """Look at the process."""
    gc.collect()  # what waits for the collector is not lost
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
    """Compare the last minutes' memory with that of the first ones after it has settled."""
    settled = [s for s in samples if s.minutes >= SETTLED_MINUTES]
    if len(settled) < 10:
        return 0.0
    few = max(5, len(settled) // 8)
    first, last = (
        statistics.median(s.memory for s in part) for part in (settled[:few], settled[-few:])
    )
    return last / first - 1


def draw(samples: list[Sample], path: Path, title: str) -> None:
    """Draw all over time."""
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
