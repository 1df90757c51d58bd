"""Let cameras come and go for long, and draw what it takes: python tools/soak.py --minutes 20.

Two cameras at 160x128 and 5 fps go through the released model to two RTSP servers and a folder of
recordings, all on loopback. Every 15 seconds something goes wrong, in turn: a camera is killed, a
camera freezes, a server is killed, a camera is removed and added again, a host is not there. Needs
the Debian packages of `make test` and the extra `score` (matplotlib). Prints and draws memory,
descriptors, threads, CPU, age of frames and frames per second; fails when memory grows by 2 % or
more after minute 5.

With --fleet, eight cameras of six sizes at 5 fps record to folders instead, and nothing goes wrong.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import astuple, dataclass
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

from streamkind import open_engine
from streamkind.live.fleet import LiveFleet

ROOT = Path(__file__).parents[1]
FAULT_SECONDS = 15.0
SAMPLE_SECONDS = 2.0
SETTLED_MINUTES = 5.0
MOST_GROWTH = 0.02
NAMES = ("yard", "gate")
SIZES = (
    *((160, 128), (320, 240), (352, 288), (480, 272), (640, 360), (640, 480)),
    *((320, 240), (640, 360)),
)
"""Width and height of the cameras of `--fleet`."""


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


def main() -> None:
    """Run, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--fleet", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "soak.png")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = run_fleet if arguments.fleet else soak
        samples, told = run(Path(folder), arguments.minutes)
    print(told)
    growth = growth_of(samples)
    print(f"{len(samples)} samples; memory {growth:+.2%} after minute {SETTLED_MINUTES:g}")
    last = samples[-1]
    print(
        f"at the end {last.memory:.0f} MiB, {last.descriptors} descriptors, {last.threads} threads"
    )
    what = "eight cameras of six sizes" if arguments.fleet else f"a fault every {FAULT_SECONDS:g} s"
    draw(
        samples, f"{what}; memory {growth:+.2%} after minute {SETTLED_MINUTES:g}", arguments.output
    )
    if growth >= MOST_GROWTH:
        sys.exit(f"memory grew by {growth:.1%}, at most {MOST_GROWTH:.0%} is allowed")


def soak(folder: Path, minutes: float) -> tuple[list[Sample], str]:
    """Cycle faults for so long; return samples, and the counters at the end in words."""
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
        samples = watch(fleet, folder, minutes, itertools.cycle(faults_of(fleet, cameras, servers)))
        return samples, counters(fleet)


def run_fleet(folder: Path, minutes: float) -> tuple[list[Sample], str]:
    """Run eight cameras without faults; return samples, and the counters at the end in words."""
    with ExitStack() as stack, LiveFleet(lambda: open_engine(profile="realtime")) as fleet:
        for number, size in enumerate(SIZES):
            camera = stack.enter_context(camera_server(folder, moving_picture(*size, 5)))
            name = f"c{number + 1}"
            how = {"timeout": 10.0, "segment_seconds": 20.0, "keep_gb": 0.001}
            fleet.put(config(camera, str(folder / name), name=name, **how))
        samples = watch(fleet, folder, minutes, iter(()))
        return samples, counters(fleet)


def watch(
    fleet: LiveFleet, folder: Path, minutes: float, faults: Iterator[Callable[[], None]]
) -> list[Sample]:
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
        with (folder / "samples.csv").open("a") as file:
            file.write(",".join(str(value) for value in astuple(samples[-1])) + "\n")
    return samples


def counters(fleet: LiveFleet) -> str:
    """Return what each camera counts, in words."""
    return "\n".join(
        f"{c.name}: {c.width}x{c.height}, {c.frames_in} in, {c.frames_out} out, {c.dropped} dropped"
        f", mean age {c.age_sum / max(c.age_count, 1):.3f} s, {c.reconnects} reconnects; outputs: "
        + ", ".join(f"{s.frames} frames, {s.reconnects} reconnects" for s in c.sinks)
        for c in fleet.look()
    )


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


def draw(samples: list[Sample], title: str, path: Path) -> None:
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


if __name__ == "__main__":
    main()
