"""Memory: the peak of each profile, of short and long clips, and two long runs of cameras.

In the first, two cameras at 160x128 and 5 fps go through the released model to two RTSP servers
and a folder of recordings, all on loopback. Every 15 seconds something goes wrong, in turn: a
camera is killed, a camera freezes, a server is killed, a camera is removed and added again, a host
is not there. In the second, eight cameras of six sizes record to folders, and nothing goes wrong.
Needs the Debian packages of `make test`.
"""

from __future__ import annotations

import gc
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from streamkind import open_engine
from streamkind.engine.profiles import PROFILES, ProfileName
from streamkind.live.fleet import LiveFleet
from streamkind.measure.bench import make_clip

FAULT_SECONDS = 15.0
SAMPLE_SECONDS = 2.0
MINUTES, FLEET_MINUTES = 15.0, 10.0
SIZES = (
    *((160, 128), (320, 240), (352, 288), (480, 272), (640, 360), (640, 480)),
    *((320, 240), (640, 360)),
)
"""Width and height of the cameras of the fleet, which send 5 frames a second."""
SETTLED_MINUTES = 5.0
NAMES = ("yard", "gate")
CLIPS = {
    "1920x1080, 2 s": ((1920, 1080), 60, tuple(PROFILES)),
    "1280x720, 5 s": ((1280, 720), 150, ("balanced",)),
    "1280x720, 30 s": ((1280, 720), 900, ("balanced",)),
}
"""Noise that moves -> its width and height, frames at 30 a second, and profiles."""
PEAK = """
import resource, sys, streamkind
from streamkind.backends.process import settle
settle()  # as the command does
streamkind.enhance(sys.argv[1], sys.argv[2], profile=sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""

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
    """One look at the process."""

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
    """Measure peaks, then the long run."""
    peaks = [
        [clip, f"`{profile}`", peak(size, frames, profile)]
        for clip, (size, frames, profiles) in CLIPS.items()
        for profile in profiles
    ]
    with tempfile.TemporaryDirectory() as place:
        samples = soak(Path(place), MINUTES)
        many = run_fleet(Path(place, "fleet"), FLEET_MINUTES)
    draw(samples, picture := folder / "soak.png", f"a fault every {FAULT_SECONDS:g} s")
    draw(many, fleet_picture := folder / "fleet.png", "eight cameras of six sizes, 5 fps each")
    heads = {f"growth after minute {SETTLED_MINUTES:g}": ".2%", "MiB at the end": ".0f"}
    columns = {"looks": "d", **heads, "descriptors": "d", "threads": "d"}
    tables = {
        "peak": Table({"clip": "", "profile": "", "peak, MiB": ".0f"}, peaks),
        "soak": Table(columns, [row_of(samples)]),
        "fleet": Table(columns | {"fps": ".1f", "cores": ".2f"}, [row_of(many) + rest_of(many)]),
    }
    pictures = picture, fleet_picture
    return Measured(tables, profiles=tuple(PROFILES), pictures=pictures)


def row_of(samples: list[Sample]) -> list[Any]:
    """Return the row of a run: looks, growth, and the last look."""
    told = samples[-1]
    return [len(samples), growth_of(samples), told.memory, told.descriptors, told.threads]


def rest_of(samples: list[Sample]) -> list[Any]:
    """Return frames a second of all cameras, and cores used, after the first look: means."""
    kept = samples[1:] or samples
    return [statistics.fmean(getattr(s, name) for s in kept) for name in ("fps", "cores")]


def peak(size: tuple[int, int], frames: int, profile: ProfileName) -> float:
    """Return the peak resident memory of the command on a clip, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        clip, out = Path(folder, "clip.mp4"), Path(folder, "out.mp4")
        make_clip(clip, size, frames)
        words = [sys.executable, "-c", PEAK, str(clip), str(out), profile]
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return float(told)


def soak(folder: Path, minutes: float) -> list[Sample]:
    """Cycle faults for so long; return samples."""
    picture = moving_picture(160, 128, 5)
    with ExitStack() as stack, LiveFleet(lambda: open_engine()) as fleet:
        cameras = {name: stack.enter_context(camera_server(folder, picture)) for name in NAMES}
        servers = {
            name: stack.enter_context(Server(folder, "record", "/dev/null")) for name in NAMES
        }
        for name in NAMES:
            to = (published(servers[name]), str(folder / name))
            how = {"segment_seconds": 20.0, "keep_gb": 0.001}
            fleet.put(config(cameras[name], *to, name=name, **how))
        return watch(fleet, minutes, itertools.cycle(faults_of(fleet, cameras, servers)))


def run_fleet(folder: Path, minutes: float) -> list[Sample]:
    """Run eight cameras without faults; return samples."""
    folder.mkdir()
    with ExitStack() as stack, LiveFleet(lambda: open_engine(profile="realtime")) as fleet:
        for number, (width, height) in enumerate(SIZES):
            camera = stack.enter_context(camera_server(folder, moving_picture(width, height, 5)))
            name = f"c{number + 1}"
            how = {"timeout": 10.0, "segment_seconds": 20.0, "keep_gb": 0.001}
            fleet.put(config(camera, str(folder / name), name=name, **how))
        return watch(fleet, minutes, iter(()))


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
