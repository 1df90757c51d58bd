"""Speed and memory on this machine: python tools/benchmark.py [--memory | --steady | ...].

Speed: the engine alone and the whole program, decode and encode included, in turns within one run,
so that a noisy machine disturbs both alike. Memory: the peak of two clips of different length.
Steady: what two passes and holding still add to a run, and how fast `score` is at 854x480.
Carried: scores of the profiles on pairs, folders low/ and high/, enlarged so that they are reduced.
Draw: quality against cost of what `streamkind bench --json` wrote; the first has the scores.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from streamkind import __version__, enhance, open_engine
from streamkind.cli.doctor import cpu
from streamkind.engine.engine import Engine
from streamkind.engine.profiles import PROFILES
from streamkind.engine.stream import Stream
from streamkind.measure.plots import draw_bench
from streamkind.measure.score import score

SIZES = ((608, 400), (1280, 720))


def make_clip(path: Path, size: tuple[int, int], frames: int, rate: int) -> None:
    """Encode a dark moving texture with noise, as H.264 at CRF 23."""
    width, height = size
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 60, (height // 8 + 40, width // 8 + 200), dtype=np.uint8)
    scene = scene.repeat(8, axis=0).repeat(8, axis=1)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate, width=width, height=height, pix_fmt="yuv420p")
        stream.options = {"preset": "veryfast"}
        for i in range(frames):
            x = 4 * i % 800
            view = scene[:height, x : x + width, None] + rng.integers(0, 8, (height, width, 3))
            frame = av.VideoFrame.from_ndarray(view.astype(np.uint8), "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def read(path: Path) -> list[np.ndarray]:
    """Decode a clip into memory."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def engine_alone(engine: Engine, frames: list[np.ndarray]) -> float:
    """Frames per second of decompose, steady, ratio and recompose."""
    stream = Stream(engine)
    began = time.perf_counter()
    for i, pixels in enumerate(frames):
        stream(pixels[None], [i / 30])
    return len(frames) / (time.perf_counter() - began)


def whole_program(source: Path, output: Path) -> tuple[float, dict[str, float]]:
    """Frames per second from file to file, and busy seconds of each stage.

    Loading and compiling the graphs happens once a run, so a run of one frame is taken off.
    """
    began = time.perf_counter()
    report = enhance(source, output, profile="quality")
    report.seconds = time.perf_counter() - began
    return report.seconds, dict(report.stages) | {"frames": report.frames}


def speed(folder: Path, frames: int, rounds: int) -> None:
    """Print frames per second of both, and their ratio, at each size."""
    print("size        engine fps   file to file fps   ratio (median of rounds, spread)")
    with open_engine() as engine:
        for size in SIZES:
            clip, single = folder / "clip.mp4", folder / "single.mp4"
            make_clip(clip, size, frames + 1, 30)
            make_clip(single, size, 1, 30)
            pictures = read(clip)
            engine_alone(engine, pictures[:1])  # compiles for this size
            alone, whole, ratios = [], [], []
            for _ in range(rounds):
                start_up, _ = whole_program(single, folder / "out.mp4")
                alone.append(engine_alone(engine, pictures[1:]))
                seconds, stages = whole_program(clip, folder / "out.mp4")
                whole.append(frames / (seconds - start_up))
                ratios.append(whole[-1] / alone[-1])
            print(
                f"{size[0]}x{size[1]:<6} {statistics.median(alone):8.2f} "
                f"{statistics.median(whole):14.2f} {statistics.median(ratios):14.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )
            print("   busy seconds: ", {k: round(v, 2) for k, v in stages.items()})


PEAK = """
import resource, sys, streamkind
from streamkind.backends.process import settle
settle()  # as the command does
streamkind.enhance(sys.argv[1], sys.argv[2], profile="quality")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def memory(folder: Path, rate: int) -> None:
    """Print the peak resident memory of a 20-second and of a 2-minute 720p clip."""
    peaks = []
    for seconds in (20, 120):
        clip = folder / f"{seconds}.mp4"
        make_clip(clip, (1280, 720), seconds * rate, rate)
        command = [sys.executable, "-c", PEAK, str(clip), str(folder / "out.mp4")]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(result.stdout))
        print(f"{seconds:4} s at {rate} fps, 1280x720: peak {peaks[-1]} MiB", flush=True)
    print(f"difference {100 * (peaks[1] / peaks[0] - 1):+.1f} %")


def steadiness(folder: Path, frames: int, rounds: int) -> None:
    """Print the time of each way to hold still over that of none, and the speed of the score."""
    ways: dict[str, dict[str, Any]] = {
        "none": {"steady": ()},
        "ratio, one pass": {"steady": ["ratio"], "two_pass": False},
        "ratio, two passes": {"steady": ["ratio"]},
        "all, two passes": {},
    }
    clip, single, out = folder / "clip.mp4", folder / "single.mp4", folder / "out.mp4"
    quality = functools.partial(enhance, profile="quality")
    for size in SIZES:
        make_clip(clip, size, frames + 1, 30)
        make_clip(single, size, 1, 30)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, options in ways.items():
                start_up = timed(quality, single, out, **options)
                times[name].append(timed(quality, clip, out, **options) - start_up)
        for name, seconds in times.items():
            shares = [a / b for a, b in zip(seconds, times["none"], strict=True)]
            spread = f"({min(shares):.2f} to {max(shares):.2f})"
            print(f"{size[0]}x{size[1]:<6} {name:<20} {statistics.median(shares):.2f} {spread}")
    make_clip(clip, (854, 480), 150, 30)
    seconds = [timed(score, clip, clip, unsmoothed=clip) for _ in range(rounds)]
    print(f"score, 854x480: {150 / statistics.median(seconds):.1f} fps, four rows, from file")


def carried(pairs: Path, times: int) -> None:
    """Print the scores, blind, of each profile on pictures enlarged so many times."""
    from streamkind.model.data import load_pairs
    from streamkind.model.validation import mean_scores, score

    print(f"{pairs}, pictures {times} times as wide and high, blind")
    for profile in PROFILES:
        found = []
        with open_engine(profile=profile) as engine:
            for pair in load_pairs(pairs):
                low, high = (
                    cv2.resize(p, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
                    for p in (pair.low, pair.high)
                )
                found.append(score(engine.enhance(low), high))
        mean = mean_scores(found)
        print(f"{profile:<10} {mean.psnr:.2f} dB, SSIM {mean.ssim:.3f}", flush=True)


def draw(files: list[Path], path: Path) -> None:
    """Draw all sizes of several runs of `streamkind bench` in one picture."""
    sizes = [size for file in files for size in json.loads(file.read_text())["sizes"]]
    draw_bench({"sizes": sizes}, path)


def timed(work: Callable[..., Any], *args: Any, **options: Any) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    work(*args, **options)
    return time.perf_counter() - began


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20, help="frames per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="measure memory instead of speed")
    parser.add_argument("--steady", action="store_true", help="measure the price of steadiness")
    parser.add_argument("--rate", type=int, default=5, help="frames per second of memory's clips")
    parser.add_argument("--carried", type=Path, help="pairs to score the profiles on")
    parser.add_argument("--times", type=int, default=2, help="how far --carried enlarges them")
    parser.add_argument("--draw", type=Path, nargs="+", help="JSON of `streamkind bench`")
    parser.add_argument("--out", type=Path, default=Path("docs/bench/quality-cost.png"))
    args = parser.parse_args()
    if args.draw:
        return draw(args.draw, args.out)
    print(f"streamkind {__version__}, {datetime.date.today()}, python {platform.python_version()}")
    print(f"{cpu().value}; load {os.getloadavg()[0]:.1f}; {' '.join(sys.argv)}")
    if args.carried:
        return carried(args.carried, args.times)
    with open_engine() as engine:
        print(engine.description)
    with tempfile.TemporaryDirectory() as folder:
        if args.memory:
            memory(Path(folder), args.rate)
        elif args.steady:
            steadiness(Path(folder), args.frames, args.rounds)
        else:
            speed(Path(folder), args.frames, args.rounds)


if __name__ == "__main__":
    main()
