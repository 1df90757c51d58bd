"""Measures the speed of a batch on a cluster.

Makes a few files from a clip. Enhances them in one process, on a Ray cluster of one core, and on
one of two cores. Each process has one thread.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from parts.record import Table

FILES, SECONDS, SIZE, RATE = 4, 24, "320:240", 10
"""Number of files; length in seconds, width:height, and frames per second of each file."""
RAY = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
"""Command that runs the head node of a Ray cluster."""
QUIET = ["--disable-usage-stats", "--include-dashboard=false"]
"""Options that switch off usage statistics and the dashboard."""
PORTS = ["--min-worker-port", "0", "--max-worker-port", "0"]
"""Options with which workers use any free ports."""


@contextmanager
def cluster(cores: int) -> Iterator[str]:
    """Run a Ray node with a number of cores; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [*RAY, *QUIET, *PORTS, "--num-cpus", str(cores), "--port", str(port)]
    node = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while subprocess.run(
            [RAY[0], "status", "--address", f"127.0.0.1:{port}"], capture_output=True
        ).returncode:
            time.sleep(0.5)
        yield f"127.0.0.1:{port}"
    finally:
        node.terminate()
        node.wait()


def seconds(clips: Path, folder: Path, address: str | None) -> float:
    """Enhance a folder; return the time in seconds, including the start of the program."""
    shutil.rmtree(folder, ignore_errors=True)
    words = [sys.executable, "-m", "streamkind", "batch", str(clips), "--out", str(folder)]
    words += ["--preset", "veryfast", *(["--cluster", "auto"] if address else [])]
    told = {"OMP_NUM_THREADS": "1"} | ({"RAY_ADDRESS": address} if address else {})
    began = time.perf_counter()
    subprocess.run(words, check=True, env=os.environ | told, capture_output=True)
    return time.perf_counter() - began


def make_clips(clip: Path, folder: Path) -> None:
    """Write `FILES` files, each with a clip that is repeated for `SECONDS`."""
    folder.mkdir()
    words = f"ffmpeg -v error -stream_loop -1 -i {clip} -t {SECONDS} -an -vf".split()
    words += [f"scale={SIZE},fps={RATE}", "-c:v", "libx264", "-g", str(3 * RATE)]
    for i in range(FILES):
        subprocess.run([*words, str(folder / f"{i}.mp4")], check=True)


def gain(clip: Path) -> Table:
    """Return the time of each way in seconds, and its speed relative to one process."""
    times = {}
    with tempfile.TemporaryDirectory() as name:
        clips, clear = Path(name, "clips"), Path(name, "clear")
        make_clips(clip, clips)
        times["one process"] = seconds(clips, clear, None)
        for cores in (1, 2):
            with cluster(cores) as address:
                times[f"Ray cluster, cores: {cores}"] = seconds(clips, clear, address)
    alone = times["one process"]
    rows = [[way, told, alone / told] for way, told in times.items()]
    what = f"{FILES} files of {SECONDS} s, {SIZE.replace(':', 'x')}, {RATE} frames a second"
    return Table({what: "", "seconds": ".1f", "times as fast": ".2f"}, rows)
