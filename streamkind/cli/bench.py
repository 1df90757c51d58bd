"""The command `streamkind bench`: what it measures, as a table, JSON and a picture."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import av
import typer
from rich.console import Console
from rich.table import Table

from streamkind import __version__
from streamkind.backends.processor import threads
from streamkind.cli import options
from streamkind.cli.doctor import OPTIONAL, PACKAGES, cpu
from streamkind.cli.show import console
from streamkind.engine.profiles import PROFILES
from streamkind.errors import UsageError
from streamkind.measure import plots
from streamkind.measure.bench import FILE_TO_FILE, FLOOR, Bench, Times, bench
from streamkind.video.storage import as_path, write_whole

STAGES = ("decode", "decompose", "steady", "ratio", "recompose", "encode")

Backends = Annotated[
    list[str] | None, typer.Option(help="Backend: auto, tensorrt, openvino or torch; repeatable.")
]
Preset = Annotated[
    str | None, typer.Option(help="Preset of x264 for all profiles. Default: that of realtime.")
]
Plot = Annotated[
    Path | None, typer.Option(help="Draw quality against cost, given --pairs: .png, .svg.")
]


def bench_command(
    clip: Annotated[
        Path | None, typer.Argument(help="A dark video. Without it, a texture is made.")
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(help="Size, as 1920x1080; repeatable. Default: 720p and 1080p."),
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="Profile; repeatable. Default: all.")
    ] = None,
    onnx: Annotated[
        list[Path] | None,
        typer.Option(help="Another network, from picture to picture; repeatable."),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Measure KinD by ONNX Runtime and PyTorch too, if installed.")
    ] = True,
    pairs: Annotated[
        Path | None, typer.Option(help="Folder with low/ and high/: score all networks on it.")
    ] = None,
    frames: Annotated[int, typer.Option(help="Frames per round.", min=2)] = 24,
    rounds: Annotated[int, typer.Option(help="Rounds; each measures everything once.", min=1)] = 3,
    preset: Preset = None,
    backend: Backends = None,
    device: options.Device = "auto",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="JSON file for all figures.")
    ] = None,
    plot: Plot = None,
) -> None:
    """Measure the speed of this machine, stage by stage and from file to file."""
    clip = None if clip is None else as_path(clip)
    if plot and not pairs:
        raise UsageError("--plot draws quality against cost; give --pairs to measure quality")
    sizes = [read_size(text) for text in size or ["1280x720", "1920x1080"]]
    found = []
    for one in sizes:
        with console.status("bench", spinner="line") as status:
            measured = bench(
                one,
                clip,
                frames=frames,
                rounds=rounds,
                profiles=profile or list(PROFILES),  # type: ignore[arg-type]  # refuses others
                backends=backend or ["auto"],  # type: ignore[arg-type]
                device=device,
                preset=preset,
                others=onnx or [],
                baselines=baselines,
                pairs=pairs if one == sizes[0] else None,
                told=status.update,
            )
        show(measured)
        found.append(measured)
    tell({"machine": machine(), "sizes": [as_json(b) for b in found]}, json_file, plot)


def tell(told: dict[str, Any], json_file: Path | None, plot: Path | None) -> None:
    """Print what was measured on, and write all figures where the user wants them."""
    console.print(line(told["machine"]), markup=False)
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
        "threads": threads(),
        "load": round(os.getloadavg()[0], 1),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of all that computes, decodes and encodes."""
    found = {}
    for name in (*PACKAGES, *OPTIONAL, "onnxruntime"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    libavcodec = ".".join(map(str, av.library_versions["libavcodec"]))
    return found | {"libavcodec": libavcodec}


def line(told: dict[str, Any]) -> str:
    """Say in one line what was measured on."""
    words = [f"{name} {value}" for name, value in told.items() if name != "versions"]
    return "; ".join(words + [f"{name} {value}" for name, value in told["versions"].items()])


def show(found: Bench) -> None:
    """Print milliseconds per frame of each stage, frames per second of all, and nets alone."""
    wide = Console(width=max(console.width, 150))
    size = "x".join(map(str, found.size))
    what = f"{size}, x264 {found.preset}"
    title = f"{what}: ms of each stage alone, fps of all; medians, and least to most"
    table = Table(title=title, show_lines=True)
    for name in ("", "nets see", *STAGES, "file to file", FLOOR, "share"):
        table.add_column(name, justify="left" if not name else "right")
    for name, times in found.profiles.items():
        table.add_row(
            name,
            "x".join(map(str, found.seen[name])),
            *(spread(times.seconds(stage), 1e3) for stage in STAGES),
            *(spread(times.fps(what)) for what in (FILE_TO_FILE, FLOOR)),
            spread(times.share(FILE_TO_FILE, FLOOR)),
        )
    wide.print(table)
    for name, what in found.engines.items():
        console.print(f"{name}: {what}", markup=False)
    if found.nets.rounds:
        wide.print(nets_table(found.nets))
    for name, reason in found.missing.items():
        console.print(f"{name}: not measured: {reason}", markup=False)
    for name, scores in found.quality.items():
        console.print(
            f"{name}: {scores['psnr']:.2f} dB, SSIM {scores['ssim']:.3f}, blind", markup=False
        )


def spread(figures: tuple[float, float, float], scale: float = 1.0) -> str:
    """Median, and below it least to most."""
    median, least, most = (f"{figure * scale:.3g}" for figure in figures)
    return f"{median}\n{least} to {most}"


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
    shares = {name: times.share(FILE_TO_FILE, FLOOR) for name, times in found.profiles.items()}
    return {
        "size": list(found.size),
        "preset": found.preset,
        "seen": {name: list(size) for name, size in found.seen.items()},
        "engines": found.engines,
        "profiles": {name: dict(times.rounds) for name, times in found.profiles.items()},
        "share_of_floor": {name: list(share) for name, share in shares.items()},
        "nets": dict(found.nets.rounds),
        "missing": found.missing,
        "quality": found.quality,
    }
