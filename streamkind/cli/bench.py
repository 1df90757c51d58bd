"""The command `streamkind bench`: shows measurements as tables, JSON and a picture."""

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

STAGES = ("decode", "decompose", "steady", "ratio", "relight", "adapt", "finish", "encode")

Backends = Annotated[
    list[str] | None, typer.Option(help="Backend: auto, tensorrt, openvino or torch; repeatable.")
]
Preset = Annotated[
    str | None, typer.Option(help="Preset of x264 for all profiles. Default: as realtime.")
]
Plot = Annotated[
    Path | None, typer.Option(help="Picture of quality by cost, .png or .svg. Needs --pairs.")
]


def bench_command(
    clip: Annotated[
        Path | None, typer.Argument(help="A dark video. Default: an artificial texture.")
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option(help="Size, such as 1920x1080; repeatable. Default: 720p and 1080p."),
    ] = None,
    profile: Annotated[
        list[str] | None, typer.Option(help="Profile; repeatable. Default: all.")
    ] = None,
    onnx: Annotated[
        list[Path] | None,
        typer.Option(help="ONNX file of another network to measure; repeatable."),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Also measure KinD in ONNX Runtime and PyTorch, if installed.")
    ] = True,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Folder of pairs, low/ and high/, to score networks on."),
    ] = None,
    frames: Annotated[int, typer.Option(help="Frames per round.", min=2)] = 24,
    rounds: Annotated[int, typer.Option(help="Rounds. Each measures everything once.", min=1)] = 3,
    preset: Preset = None,
    backend: Backends = None,
    device: options.Device = "auto",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="JSON file to write with all measurements.")
    ] = None,
    plot: Plot = None,
) -> None:
    """Measure the speed of this machine, stage by stage and from file to file."""
    clip = None if clip is None else as_path(clip)
    if plot and not pairs:
        raise UsageError("--plot draws quality by cost; give --pairs FOLDER to measure quality")
    options.check_files(json_file, plot)
    sizes = [options.read_size(text) for text in size or ["1280x720", "1920x1080"]]
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
    """Print the machine and versions, and write the files that the user asked for."""
    console.print(line(told["machine"]), markup=False)
    if json_file:
        write_whole(json_file, (json.dumps(told, indent=1) + "\n").encode())
    if plot:
        plots.draw_bench(told, plot)


def machine() -> dict[str, Any]:
    """Return the versions, the processor and its load, which measurements depend on."""
    return {
        "streamkind": __version__,
        "date": str(datetime.date.today()),
        "python": platform.python_version(),
        "cpu": cpu().value,
        "threads": threads(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else "unknown",
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions of all packages that compute, decode or encode."""
    found = {}
    for name in (*PACKAGES, *OPTIONAL, "onnxruntime"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    libavcodec = ".".join(map(str, av.library_versions["libavcodec"]))
    return found | {"libavcodec": libavcodec}


def line(told: dict[str, Any]) -> str:
    """Return the result of `machine` as one line."""
    words = [f"{name} {value}" for name, value in told.items() if name != "versions"]
    return "; ".join(words + [f"{name} {value}" for name, value in told["versions"].items()])


def show(found: Bench) -> None:
    """Print milliseconds per frame of each stage, frames per second of all, and networks alone."""
    wide = Console(width=max(console.width, 150))
    size = "x".join(map(str, found.size))
    what = f"{size}, x264 {found.preset}"
    title = f"{what}: ms per frame of each stage, and fps; median, and smallest to largest"
    table = Table(title=title, show_lines=True)
    for name in ("", "network input", *STAGES, "file to file", FLOOR, "share"):
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
    """Return a median, and in a second line the smallest and the largest value."""
    median, least, most = (f"{figure * scale:.3g}" for figure in figures)
    return f"{median}\n{least} to {most}"


def nets_table(nets: Times) -> Table:
    """Return a table with one line per network: its speed without decoding and encoding."""
    table = Table(title="networks alone, on the processor")
    first = next(iter(nets.rounds))
    for name in ("", "fps", "smallest to largest", f"relative to {first}"):
        table.add_column(name, justify="left" if not name else "right")
    for name in nets.rounds:
        fps, least, most = nets.fps(name)
        share = nets.share(name, first)[0]
        table.add_row(name, f"{fps:.2f}", f"{least:.2f} to {most:.2f}", f"{share:.2f}")
    return table


def as_json(found: Bench) -> dict[str, Any]:
    """Return all measurements. Times are seconds per frame, one for each round."""
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
