"""The command `streamkind bench`: what it measures, as a table, JSON and a picture."""

from __future__ import annotations

import datetime
import json
import os
import platform
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from streamkind import __version__, options, plots
from streamkind.bench import FLOOR, WHOLE, Bench, Times, bench
from streamkind.console import console
from streamkind.doctor import cpu
from streamkind.errors import UsageError
from streamkind.profiles import PROFILES
from streamkind.video.storage import as_path, write_whole

STAGES = ("decode", "decompose", "steady", "ratio", "recompose", "encode")


def bench_command(
    clip: Annotated[
        Path | None, typer.Argument(help="A dark video; else a texture is made.")
    ] = None,
    size: Annotated[
        list[str] | None, typer.Option(help="As 1920x1080; repeatable. 720p and 1080p.")
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="A profile; repeatable. All by default.")
    ] = None,
    onnx: Annotated[
        list[Path] | None, typer.Option(help="Another net from picture to picture; repeatable.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="KinD by ONNX Runtime and PyTorch too, where installed.")
    ] = True,
    pairs: Annotated[
        Path | None, typer.Option(help="A folder with low/ and high/: score all nets on it.")
    ] = None,
    frames: Annotated[int, typer.Option(help="Frames per round.", min=2)] = 24,
    rounds: Annotated[int, typer.Option(help="Rounds; all is measured once in each.", min=1)] = 3,
    preset: Annotated[str, typer.Option(help="Of x264, for all profiles.")] = "veryfast",
    backend: options.Backend = "auto",
    device: options.Device = "auto",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here.")
    ] = None,
    plot: options.Plot = None,
) -> None:
    """Measure how fast this machine is, stage by stage and from file to file."""
    clip = None if clip is None else as_path(clip)
    if plot and not pairs:
        raise UsageError("--plot draws quality against cost; give --pairs to measure quality")
    sizes = [read_size(text) for text in size or ["1280x720", "1920x1080"]]
    found = []
    for one in sizes:
        with console.status("bench", spinner="line") as status:
            found.append(
                bench(
                    one,
                    clip,
                    frames=frames,
                    rounds=rounds,
                    profiles=profile or list(PROFILES),  # type: ignore[arg-type]  # refuses others
                    backend=backend,  # type: ignore[arg-type]
                    device=device,
                    preset=preset,
                    others=onnx or [],
                    baselines=baselines,
                    pairs=pairs if one == sizes[0] else None,
                    told=status.update,
                )
            )
        show(found[-1])
    told = {"machine": machine(), "sizes": [as_json(b) for b in found]}
    console.print("; ".join(f"{k} {v}" for k, v in machine().items()), markup=False)
    if json_file:
        write_whole(json_file, (json.dumps(told, indent=1) + "\n").encode())
    if plot:
        plots.draw_bench(told, plot)


def read_size(text: str) -> tuple[int, int]:
    """Read 1920x1080."""
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise UsageError(f"size '{text}': expected WIDTHxHEIGHT, such as 1920x1080")
    return int(width), int(height)


def machine() -> dict[str, Any]:
    """What was measured on."""
    return {
        "streamkind": __version__,
        "date": str(datetime.date.today()),
        "python": platform.python_version(),
        "cpu": cpu().value,
        "threads": os.environ.get("OMP_NUM_THREADS") or os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def show(found: Bench) -> None:
    """Print milliseconds per frame of each stage, frames per second of all, and nets alone."""
    wide = Console(width=max(console.width, 130))
    size = "x".join(map(str, found.size))
    seen = "x".join(map(str, found.padded))
    table = Table(title=f"{size} ({seen} with padding): ms of each stage alone, then fps of all")
    for name in ("", *STAGES, "file to file", "least to most", FLOOR, "share"):
        table.add_column(name, justify="left" if not name else "right")
    for name, times in found.profiles.items():
        fps, least, most = times.fps(WHOLE)
        share = times.share(WHOLE, FLOOR)
        table.add_row(
            name,
            *(f"{1e3 / times.fps(stage)[0]:.1f}" for stage in STAGES),
            f"{fps:.2f}",
            f"{least:.2f} to {most:.2f}",
            f"{times.fps(FLOOR)[0]:.1f}",
            f"{share[0]:.2f} ({share[1]:.2f} to {share[2]:.2f})",
        )
    wide.print(table)
    for name, what in found.engines.items():
        console.print(f"{name}: {what}", markup=False)
    if found.nets.rounds:
        wide.print(nets_table(found.nets))
    for name, scores in found.quality.items():
        console.print(
            f"{name}: {scores['psnr']:.2f} dB, SSIM {scores['ssim']:.3f}, blind", markup=False
        )


def nets_table(nets: Times) -> Table:
    """One line per net, a whole picture without decode and encode."""
    table = Table(title="nets alone, on the processor")
    first = next(iter(nets.rounds))
    for name in ("", "fps", "least to most", f"beside {first}"):
        table.add_column(name, justify="left" if not name else "right")
    for name in nets.rounds:
        fps, least, most = nets.fps(name)
        share = nets.share(name, first)[0]
        table.add_row(name, f"{fps:.2f}", f"{least:.2f} to {most:.2f}", f"{share:.2f}")
    return table


def as_json(found: Bench) -> dict[str, Any]:
    """All figures: seconds per frame in each round."""
    shares = {name: times.share(WHOLE, FLOOR) for name, times in found.profiles.items()}
    return {
        "size": list(found.size),
        "padded": list(found.padded),
        "engines": found.engines,
        "profiles": {name: dict(times.rounds) for name, times in found.profiles.items()},
        "share_of_floor": {name: list(share) for name, share in shares.items()},
        "nets": dict(found.nets.rounds),
        "quality": found.quality,
    }
