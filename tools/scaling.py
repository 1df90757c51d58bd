"""What workers and a cluster gain and cost: python tools/scaling.py CLIP [--size 320x240].

Makes a few files of the clip and enhances them in one process, on a Ray cluster of one core and on
one of two, one thread each, in turns; prints medians.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamkind import __version__
from streamkind.cli.doctor import cpu

RAY = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block"]
QUIET = ["--disable-usage-stats", "--include-dashboard=false"]
PORTS = ["--min-worker-port", "0", "--max-worker-port", "0"]


@contextmanager
def cluster(cores: int) -> Iterator[str]:
    """Run a node of so many cores; give its address."""
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
    """Enhance a folder; return how long that took, the program's start included."""
    shutil.rmtree(folder, ignore_errors=True)
    words = [sys.executable, "-m", "streamkind", "batch", str(clips), "--out", str(folder)]
    words += ["--preset", "veryfast", *(["--cluster", "auto"] if address else [])]
    told = {"OMP_NUM_THREADS": "1"} | ({"RAY_ADDRESS": address} if address else {})
    began = time.perf_counter()
    subprocess.run(words, check=True, env=os.environ | told, capture_output=True)
    return time.perf_counter() - began


def measure(clips: Path, folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each round, by way."""
    times: dict[str, list[float]] = {"one process": [], "cluster, 1 core": [], "2 cores": []}
    for _ in range(rounds):
        times["one process"].append(seconds(clips, folder, None))
        for name, cores in (("cluster, 1 core", 1), ("2 cores", 2)):
            with cluster(cores) as address:
                times[name].append(seconds(clips, folder, address))
        print({name: round(values[-1], 1) for name, values in times.items()}, flush=True)
    return times


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=24, help="of each file")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    print(f"streamkind {__version__}, {datetime.date.today()}, {cpu().value}; {' '.join(sys.argv)}")
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder, "clips")
        clips.mkdir()
        width, height = args.size.split("x")
        words = f"ffmpeg -v error -stream_loop -1 -i {args.clip} -t {args.seconds} -an -vf".split()
        words += [f"scale={width}:{height},fps=10", "-c:v", "libx264", "-g", "30"]
        for i in range(args.files):
            subprocess.run([*words, str(clips / f"{i}.mp4")], check=True)
        times = measure(clips, Path(folder, "clear"), args.rounds)
    middle = {name: statistics.median(values) for name, values in times.items()}
    alone, one, two = middle.values()
    for name, value in middle.items():
        spread = max(times[name]) - min(times[name])
        print(f"{name:<18}{value:7.1f} s, spread {spread:.1f} s")
    print(
        f"two cores are {one / two:.2f} times as fast as one; the cluster costs {one - alone:.1f} s"
    )


if __name__ == "__main__":
    main()
