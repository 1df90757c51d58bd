"""`streamkind engines`: build and manage TensorRT plans, and export the graphs."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from streamkind.backends import plans
from streamkind.backends.base import why_not
from streamkind.backends.build_progress import BuildLog
from streamkind.backends.cache import LIMIT_BYTES, Cache, Entry
from streamkind.backends.cards import Card, first_card, named_card
from streamkind.backends.cuda import Gpu
from streamkind.backends.inspector import Inspection
from streamkind.backends.parity import Parity
from streamkind.backends.plans import Plan, PlanRecipe
from streamkind.backends.precision import FRAME_TYPES, Precision, graph_in, read_precision
from streamkind.backends.tensorrt import TensorRTBackend
from streamkind.cli.options import read_size
from streamkind.cli.show import console, progress_bar
from streamkind.engine.checks import check_target
from streamkind.engine.single import need_onnx, operators, read_picture_type, single_graph
from streamkind.errors import EngineError, UsageError
from streamkind.light.exposure import DEFAULT_TARGET, STILL_TARGET
from streamkind.model.released import PARTS, Release, find_release, padded
from streamkind.video.publish import check_not_input
from streamkind.video.storage import write_whole

app = typer.Typer(
    help="Build and manage TensorRT plans for NVIDIA cards; export models as ONNX.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def show_help(context: typer.Context) -> None:
    """Build and manage TensorRT plans for NVIDIA cards; export models as ONNX."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("build")
def build_command(
    model: Annotated[str, typer.Option(help="Released model.")] = "kind",
    size: Annotated[
        list[str] | None,
        typer.Option(help="Size, such as 1280x720; repeatable. Default: 1920x1080."),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(help="Batch size, fewest:usual:most, such as 1:4:8. Default: as in enhance."),
    ] = None,
    precision: Annotated[str, typer.Option(help="Precision: fp16, bf16 or fp32.")] = "fp16",
    gpu: Annotated[
        str | None,
        typer.Option(help="Compute capabilities, such as sm_89,sm_120. Default: of this machine."),
    ] = None,
) -> None:
    """Build plans before their first use, and store them."""
    work = Work(
        find_release(model),
        [read_size(text) for text in size or ["1920x1080"]],
        read_batch(batch) if batch else None,
        read_precision(precision),
    )
    cache = Cache()
    if gpu is None and why_not("tensorrt") is None:
        build_here(cache, work)
        return
    cards = [named_card(sm) for sm in gpu.split(",")] if gpu else [first_card()]
    recipes = [recipe for card in cards for recipe in work.recipes(card)]
    with progress_bar() as bar:
        for recipe in recipes:
            take_visibly(cache, work.release, recipe, bar)
    console.print("the plans are compared with the released graphs at their first use on a card")


@dataclass(frozen=True)
class Work:
    """The plans that `engines build` has to build."""

    release: Release
    sizes: list[tuple[int, int]]
    batch: tuple[int, int, int] | None
    precision: Precision

    def recipes(self, card: Card) -> list[PlanRecipe]:
        """Return the recipes of the plans for a card."""
        return [
            plans.write_recipe(
                self.release,
                part,
                card=card,
                library=plans.choose_library(card),
                size=size,
                batch=self.batch or plans.usual_batch(*map(padded, size)),
                precision=self.precision,
                frames=frames,
            )
            for size in self.sizes
            for part in PARTS
            for frames in (FRAME_TYPES if part == "decompose" else FRAME_TYPES[:1])
        ]


@app.command("export")
def export_command(
    output: Annotated[Path, typer.Argument(help="ONNX file to write; without --single, a folder.")],
    single: Annotated[
        bool, typer.Option("--single", help="Write one graph from picture to picture.")
    ] = False,
    model: Annotated[str, typer.Option(help="Released model.")] = "kind",
    precision: Annotated[str, typer.Option(help="Precision: fp16 or fp32.")] = "fp32",
    pictures: Annotated[
        str | None,
        typer.Option(help="Pictures of the single graph: uint8 (default), or float from 0 to 1."),
    ] = None,
    stills: Annotated[
        bool, typer.Option("--stills", help="The single graph is for stills, not for videos.")
    ] = False,
    target: Annotated[
        float | None,
        typer.Option(
            help="Mean luma, above 0 to 1, at which the single graph aims. "
            f"Default: {DEFAULT_TARGET:g}, for stills {STILL_TARGET:g}."
        ),
    ] = None,
) -> None:
    """Write the graphs of a model as ONNX, for other programs."""
    need_onnx()
    if not single and (pictures or stills or target is not None):
        raise UsageError("--pictures, --stills and --target need --single")
    if target is not None:
        check_target(target)
    release, told = find_release(model), read_precision(precision)
    if single:
        kind = read_picture_type(pictures or "uint8")
        graph = single_graph(release, pictures=kind, precision=told, stills=stills, target=target)
        files = {output: graph}
    else:
        output.mkdir(parents=True, exist_ok=True)
        graphs = [getattr(release, part) for part in PARTS]
        files = {output / one.path.name: graph_in(one.read(), told) for one in graphs}
    for path in files:
        for part in PARTS:
            check_not_input(path, getattr(release, part).path)
    for path, data in files.items():
        write_whole(path, data)
        opset, found = operators(data)
        names = ", ".join(sorted(found))
        console.print(f"{path}: {len(data) / 1e6:.1f} MB, opset {opset}: {names}", markup=False)


def build_here(cache: Cache, work: Work) -> None:
    """Build plans on the card of this machine, and print the types of their layers."""
    with contextlib.closing(Gpu("auto")) as gpu, progress_bar() as bar:
        recipes = work.recipes(gpu.card)
        for recipe in recipes:
            take_visibly(cache, work.release, recipe, bar, gpu.current)
    engine = TensorRTBackend(work.release, precision=work.precision, batch=work.batch)
    with contextlib.closing(engine):
        for width, height in work.sizes:
            engine.prepare(padded(width), padded(height))
    for recipe in recipes:
        console.print(f"{recipe}: {on_card(cache.find(recipe.key).report)}", markup=False)


def take_visibly(
    cache: Cache,
    release: Release,
    recipe: PlanRecipe,
    bar: Bar,
    where: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
) -> Plan:
    """Take a plan from the cache, or build it inside `where()`, and print a line about it.

    Meanwhile the progress is shown by a bar, or by lines if no bar can be drawn.
    """
    task = bar.add_task(recipe.part, total=1.0, told=str(recipe))
    took: list[float] = []

    def show(share: float) -> None:
        bar.update(task, completed=share)

    def build() -> tuple[Plan, float]:
        start = time.monotonic()
        graph = getattr(release, recipe.part)
        plan = plans.build(recipe, graph, BuildLog(recipe) if bar.disable else show, where)
        took.append(time.monotonic() - start)
        return plan, took[0]

    plan = cache.take(recipe, build, lambda line: bar.console.print(line, markup=False))
    how = f"built in {took[0]:.1f} s" if took else "kept"
    told = f"{recipe}: {how}, {len(plan.data) / 1e6:.1f} MB, {types_of(plan.report)}"
    bar.console.print(told, markup=False)
    bar.remove_task(task)
    return plan


def types_of(report: Inspection) -> str:
    """Return the types of inputs, outputs and layers of a plan."""
    sides = (
        ", ".join(f"{tensor['name']} {tensor['type']}" for tensor in report[side])
        for side in ("inputs", "outputs")
    )
    return f"{' -> '.join(sides)}; layers: {counted(report)}"


def on_card(report: Inspection) -> str:
    """Return the layers that TensorRT's inspector lists, and the difference from the graphs."""
    told = f"layers on the card, by TensorRT's inspector: {counted(report['inspected'])}"
    if found := report.get("parity"):
        told += f"; difference from the released graphs {Parity(**found)}"
    return told


def counted(report: Inspection) -> str:
    """Return the number of layers of each type."""
    return ", ".join(f"{count} {kind}" for kind, count in report["layers"].items())


@app.command("list")
def list_command() -> None:
    """List the stored plans, the most recently used first."""
    entries = Cache().entries()
    table = Table(title=f"{len(entries)} plans, {sum(e.size_bytes for e in entries) / 1e6:.0f} MB")
    for name in ("key", "plan", "library", "MB", "last used"):
        table.add_column(name, no_wrap=True)
    for entry in entries:
        library = f"{entry.recipe['library']} {entry.recipe['version']}"
        used = datetime.fromtimestamp(entry.used).strftime("%Y-%m-%d %H:%M")
        cells = (entry.key[:8], name_of(entry), library, f"{entry.size_bytes / 1e6:.1f}", used)
        table.add_row(*(Text(cell) for cell in cells))
    Console(width=max(console.width, 130)).print(table)


def name_of(entry: Entry) -> str:
    """Return model, graph, size, precision, batch and card of a stored plan."""
    told = entry.recipe
    size, batch = ("x".join(map(str, told["size"])), ":".join(map(str, told["batch"])))
    return f"{told['model']} {told['part']} {size} {told['precision']} batch {batch} {told['sm']}"


@app.command("info")
def info_command(
    key: Annotated[str, typer.Argument(help="Key of the plan, or the beginning of its key.")],
) -> None:
    """Print everything that is known about a plan, as JSON."""
    entry = Cache().find(key)
    typer.echo(json.dumps(asdict(entry), indent=1))


@app.command("prune")
def prune_command(
    keep_gb: Annotated[
        float, typer.Option(min=0, help="Largest size of the plans that stay, in GB.")
    ] = LIMIT_BYTES / 1e9,
) -> None:
    """Remove damaged plans, then the least recently used, until the rest fits."""
    gone = Cache().prune(keep_gb * 1e9)
    console.print(f"{len(gone)} plans removed", markup=False)


@app.command("verify")
def verify_command() -> None:
    """Compare every plan with its digest. The exit code is 1 if one differs."""
    cache = Cache()
    faults = [(key, cache.fault(key)) for key in cache.kept()]
    for key, fault in faults:
        typer.echo(f"{key[:8]} {fault or 'good'}")
    if bad := sum(fault is not None for _, fault in faults):
        raise EngineError(
            f"{bad} of {len(faults)} plans are damaged; run: streamkind engines prune"
        )


def read_batch(text: str) -> tuple[int, int, int]:
    """Return smallest, usual and largest batch of a text such as 1:4:8. Raises UsageError."""
    found = re.fullmatch(r"(\d{1,3}):(\d{1,3}):(\d{1,3})", text)
    if not found:
        raise UsageError(f"batch '{text}': expected fewest:usual:most, such as 1:4:8")
    return int(found[1]), int(found[2]), int(found[3])
