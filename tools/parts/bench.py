"""Measures the speed of profiles, of KinD in other runtimes, of smoothing, and of a cluster."""

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
"""Width and height -> number of frames per round of `quality`."""
FRAMES, ROUNDS = 120, 3
"""Frames per round of the other profiles, and number of rounds. In fewer frames, x264 would not
fill its look-ahead."""
WAYS: dict[str, dict[str, Any]] = {
    "nothing": {"steady": ()},
    "ratio, one pass": {"steady": ("ratio",), "two_pass": False},
    "ratio, two passes": {"steady": ("ratio",), "two_pass": True},
    "ratio, light and noise, two passes": {"steady": STEADY, "two_pass": True},
}
"""Ways of smoothing -> options of `enhance`."""


def measure(data: Path, folder: Path) -> Measured:
    """Measure profiles on a street clip at three sizes, and make all other tables of this part."""
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
    """Measure all profiles at a size.

    At the first size, also score them on pairs, and measure KinD in other runtimes.
    """
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
    """Return the speed of each profile, its share of decode + encode alone, and network time."""
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
    """Return the core-hours for an hour of footage.

    Profiles that skip frames are left out, because `batch` runs the network on every frame.
    """
    cores = os.cpu_count() or 1
    rows = [
        [f"`{name}`", RATE * cores / times.fps(FILE_TO_FILE)[0]]
        for name, times in one.profiles.items()
        if PROFILES[name].every == 1  # type: ignore[index]  # batch skips no frames
    ]
    size = "x".join(map(str, one.size))
    return Table({f"an hour of {size} at {RATE} frames a second": "", "core-hours": ".1f"}, rows)


def runtimes(one: Bench) -> Table:
    """Return the speed of KinD's networks in each runtime, and by how much OpenVINO is faster."""
    ours = next(iter(one.nets.rounds))
    rows = [[n, one.nets.fps(n)[0], one.nets.share(ours, n)[0]] for n in one.nets.rounds]
    size = "x".join(map(str, one.size))
    what = f"nets of `quality` at {size}"
    return Table({what: "", "frames a second": ".2f", f"{ours} is faster by": ".2f"}, rows)


def smoothing() -> Table:
    """Return the time of `balanced` with each way of smoothing, relative to no smoothing."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        clip, out = Path(name, "clip.mp4"), Path(name, "out.mp4")
        for size in list(SIZES)[:2]:
            make_clip(clip, size, FRAMES)
            times: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(ROUNDS + 1):  # the first round is not counted
                for way, options in WAYS.items():
                    began = time.perf_counter()
                    enhance(clip, out, profile="balanced", **options)
                    times[way].append(time.perf_counter() - began)
            for way, told in times.items():
                shares = [a / b for a, b in zip(told[1:], times["nothing"][1:], strict=True)]
                rows.append(["x".join(map(str, size)), way, statistics.median(shares)])
    return Table({"size": "", "smoothed": "", "time beside nothing smoothed": ".2f"}, rows)
