"""The command line: `streamkind enhance`, `streamkind doctor`. The only file that prints."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from typer.exceptions import TyperException

from streamkind import __version__, doctor
from streamkind.engine import Ratio
from streamkind.errors import StreamkindError, UsageError
from streamkind.exposure import DEFAULT_TARGET
from streamkind.pipeline import Progress, Report, enhance

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""

app = typer.Typer(
    help="Make night video clear.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
console = Console(stderr=True, highlight=False, soft_wrap=True)


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print version.")
    ] = False,
) -> None:
    """Make night video clear."""


def read_ratio(text: str) -> Ratio:
    """Read `auto` or a number."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"ratio must be 'auto' or a number from 0.1 to 10, got '{text}'") from None


@app.command("enhance")
def enhance_command(
    input: Annotated[Path, typer.Argument(help="A video, an image or a folder of images.")],
    output: Annotated[
        Path, typer.Argument(help="Where the result goes; its ending is its format.")
    ],
    ratio: Annotated[
        str, typer.Option(help="How far light is raised: auto, or a number from 0.1 to 10.")
    ] = "auto",
    target: Annotated[
        float, typer.Option(help="Mean luma that --ratio auto brings dark scenes to, 0 to 1.")
    ] = DEFAULT_TARGET,
    codec: Annotated[
        str, typer.Option(help="h264, hevc, av1, or any FFmpeg encoder such as h264_nvenc.")
    ] = "h264",
    crf: Annotated[
        int | None, typer.Option(help="Quality of the encoder; lower is better.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Speed of the encoder, as FFmpeg's.")] = None,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Put the original left of the result.")
    ] = False,
    start: Annotated[float, typer.Option(help="Begin at this second.")] = 0.0,
    duration: Annotated[float | None, typer.Option(help="Stop after this many seconds.")] = None,
    model: Annotated[str, typer.Option(help="A released model.")] = "kind",
    backend: Annotated[str, typer.Option(help="auto, openvino or torch.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
) -> None:
    """Make a dark video clear."""
    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}% {task.fields[told]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        report = enhance(
            input,
            output,
            ratio=read_ratio(ratio),
            target=target,
            model=model,
            backend=backend,  # type: ignore[arg-type]  # open_backend refuses unknown names
            device=device,
            codec=codec,
            crf=crf,
            preset=preset,
            side_by_side=side_by_side,
            start=start,
            duration=duration,
            progress=show_progress(bar, input),
        )
    show_report(report, output)


def show_progress(bar: Bar, input: Path) -> Progress:
    """Print the engine once, then keep the bar up to date."""
    task = bar.add_task(input.name, total=None, told="")

    def show(report: Report) -> None:
        if not report.frames:
            bar.console.print(f"{input.name}: {report.engine}", markup=False)
        told = f"{report.fps:.1f} fps, ratio {report.ratio:.2f}"
        bar.update(task, total=report.total, completed=report.frames, told=told)

    return show


def show_report(report: Report, output: Path) -> None:
    """Print what was done, how long each stage took, and what went wrong."""
    for warning in report.warnings:
        console.print(f"warning: {warning}", markup=False)
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.stages.items())
    console.print(
        f"{output}: {report.frames} frames in {report.seconds:.1f} s ({report.fps:.1f} fps); "
        f"busy: {stages}",
        markup=False,
    )


@app.command("doctor")
def doctor_command() -> None:
    """Tell what streamkind finds on this machine, and whether its models are whole."""
    findings = doctor.examine()
    for finding in findings:
        typer.echo(f"{finding.name:<24}{finding.value}{'' if finding.good else '   <- problem'}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


def main() -> NoReturn:
    """Run the command line; every failure is one line on stderr and an exit code."""
    signal.signal(signal.SIGTERM, stop)
    try:
        code = app(prog_name="streamkind", standalone_mode=False)
    except TyperException as error:
        fail(error.format_message(), 2)
    except UsageError as error:
        fail(str(error), 2)
    except StreamkindError as error:
        fail(str(error), 1)
    if code == INTERRUPTED:  # typer has turned KeyboardInterrupt into it
        fail("interrupted; nothing was written", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """End by SIGTERM as by Ctrl-C: what is half done is removed."""
    raise KeyboardInterrupt


def fail(message: str, code: int) -> NoReturn:
    """Print one line and leave."""
    console.print("streamkind: " + " ".join(message.split()), markup=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
