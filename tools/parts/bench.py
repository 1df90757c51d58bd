"""Speed: profiles from file to file, KinD by other runtimes, the cost of smoothing, a cluster."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from parts.cluster import gain
from parts.record import Measured, Table
from streamkind import enhance
from streamkind.cli.bench import as_json
from streamkind.engine.profiles import PROFILES
from streamkind.engine.steady import STEADY
from streamkind.measure.bench import FILE_TO_FILE, FLOOR, NETS, RATE, Bench, bench, make_clip
from streamkind.measure.plots import draw_bench

SIZES = {(608, 400): 12, (1280, 720): 12, (1920, 1080): 8}
"""Width and height -> frames a round of `quality`."""
FRAMES, ROUNDS = 120, 3
"""Frames a round of the other profiles: in fewer, x264 still fills its look-ahead."""
WAYS: dict[str, dict[str, Any]] = {
    "nothing": {"steady": ()},
    "ratio, one pass": {"steady": ("ratio",), "two_pass": False},
    "ratio, two passes": {"steady": ("ratio",), "two_pass": True},
    "ratio, light and noise, two passes": {"steady": STEADY, "two_pass": True},
}


def measure(data: Path, folder: Path) -> Measured:
    """Measure a rainy street at dusk at three sizes, and the rest."""
    clip = data / "video" / "street_dusk_rain_1080p.mp4"
    pairs = data / "lol" / "eval15"
    found = [sized(size, clip, pairs) for size in SIZES]
    picture = folder / "quality-cost.png"
    draw_bench({"sizes": [as_json(one) for one in found]}, picture)
    tables = {
        "profiles": profiles(found),
        "cost": cost(found[1]),
        "runtimes": runtimes(found[0]),
        "steady": smoothing(),
        "cluster": gain(data / "video" / "ir_cam_garden_person.mp4"),
    }
    return Measured(tables, profiles=tuple(PROFILES), pictures=(picture,))


def sized(size: tuple[int, int], clip: Path, pairs: Path) -> Bench:
    """Measure all profiles at a size; the first size also scores, and runs KinD by others."""
    first = size == next(iter(SIZES))
    told = {"rounds": ROUNDS, "pairs": pairs if first else None}
    slow = bench(size, clip, frames=SIZES[size], profiles=("quality",), baselines=first, **told)
    rest = bench(
        size, clip, frames=FRAMES, profiles=("balanced", "realtime"), baselines=False, **told
    )
    slow.profiles |= rest.profiles
    slow.quality |= rest.quality
    print(size, flush=True)
    return slow


def profiles(found: list[Bench]) -> Table:
    """Return frames per second and the share of decode + encode alone."""
    rows = []
    for one in found:
        for name, times in one.profiles.items():
            size = "x".join(map(str, one.size))
            share = times.share(FILE_TO_FILE, FLOOR)[0]
            nets = 1e3 * times.seconds(NETS)[0]
            rows.append([size, f"`{name}`", *times.fps(FILE_TO_FILE), share, nets])
    forms = [".3g", ".3g", ".3g", ".2f", ".4g"]
    heads = ["frames a second", "least", "most", "share of decode + encode alone", "nets, ms"]
    return Table({"size": "", "profile": ""} | dict(zip(heads, forms, strict=True)), rows)


def cost(one: Bench) -> Table:
    """Return the core-hours for an hour of footage, of profiles that `batch` runs as measured."""
    cores = os.cpu_count() or 1
    rows = [
        [f"`{name}`", RATE * cores / times.fps(FILE_TO_FILE)[0]]
        for name, times in one.profiles.items()
        if PROFILES[name].every == 1  # type: ignore[index]  # batch skips no frames
    ]
    size = "x".join(map(str, one.size))
    return Table({f"an hour of {size} at {RATE} frames a second": "", "core-hours": ".1f"}, rows)


def runtimes(one: Bench) -> Table:
    """Return KinD's nets by other runtimes, beside OpenVINO."""
    ours = next(iter(one.nets.rounds))
    rows = [[n, one.nets.fps(n)[0], one.nets.share(ours, n)[0]] for n in one.nets.rounds]
    size = "x".join(map(str, one.size))
    what = f"nets of `quality` at {size}"
    return Table({what: "", "frames a second": ".2f", f"{ours} is faster by": ".2f"}, rows)


def smoothing() -> Table:
    """Return the time of each way to smooth over that of none, in `balanced`."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        clip, out = Path(name, "clip.mp4"), Path(name, "out.mp4")
        for size in list(SIZES)[:2]:
            make_clip(clip, size, FRAMES)
            times: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(ROUNDS + 1):  # the first is not counted
                for way, options in WAYS.items():
                    began = time.perf_counter()
                    enhance(clip, out, profile="balanced", **options)
                    times[way].append(time.perf_counter() - began)
            for way, told in times.items():
                shares = [a / b for a, b in zip(told[1:], times["nothing"][1:], strict=True)]
                rows.append(["x".join(map(str, size)), way, statistics.median(shares)])
    return Table({"size": "", "smoothed": "", "time beside nothing smoothed": ".2f"}, rows)
