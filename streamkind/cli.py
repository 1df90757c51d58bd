"""The command line: `streamkind enhance`, `streamkind doctor`. The only file that prints."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from typer.exceptions import TyperException

from streamkind import __version__, doctor, plots
from streamkind.engine import Ratio
from streamkind.errors import StreamkindError, UsageError
from streamkind.exposure import DEFAULT_TARGET
from streamkind.pipeline import Progress, Report, enhance, find_track
from streamkind.score import INPUT, ROWS, Scores, score
from streamkind.steady import STEADY, Steady
from streamkind.track import Track
from streamkind.video.publish import Staging, check_not_input, write_whole

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


def read_steady(text: str) -> tuple[Steady, ...]:
    """Read a list with commas, or `none`."""
    return () if text == "none" else tuple(text.split(","))  # type: ignore[arg-type]


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
    steady: Annotated[
        str, typer.Option(help="What is held still over time: ratio,light,noise, or none.")
    ] = ",".join(STEADY),
    two_pass: Annotated[
        bool, typer.Option("--two-pass/--one-pass", help="Find ratios in a quick first pass.")
    ] = True,
    ratio_track: Annotated[
        Path | None, typer.Option(help="Ratios over time, a CSV as `streamkind track` writes.")
    ] = None,
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
    with progress_bar() as bar:
        report = enhance(
            input,
            output,
            ratio=read_ratio(ratio),
            target=target,
            steady=read_steady(steady),
            two_pass=two_pass,
            ratio_track=ratio_track,
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


def progress_bar() -> Bar:
    """Return a bar that is drawn on terminals only."""
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}% {task.fields[told]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def show_progress(bar: Bar, input: Path) -> Progress:
    """Print the engine once, then keep the bar up to date."""
    task = bar.add_task(input.name, total=None, told="")

    def show(report: Report) -> None:
        if not report.frames and not report.surveyed:
            bar.console.print(f"{input.name}: {report.engine}", markup=False)
        for warning in report.warnings:  # at the end of a first pass that is all
            bar.console.print(f"warning: {warning}", markup=False)
        done = report.frames or report.surveyed
        told = f"{report.fps:.1f} fps, ratio {report.ratio:.2f}" if report.frames else "first pass"
        bar.update(task, total=report.total, completed=done, told=told)

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


@app.command("track")
def track_command(
    input: Annotated[Path, typer.Argument(help="A video.")],
    output: Annotated[Path, typer.Argument(help="The CSV: time, ratio, wanted, luma, cut.")],
    target: Annotated[
        float, typer.Option(help="Mean luma that dark scenes are brought to, 0 to 1.")
    ] = DEFAULT_TARGET,
    start: Annotated[float, typer.Option(help="Begin at this second.")] = 0.0,
    duration: Annotated[float | None, typer.Option(help="Stop after this many seconds.")] = None,
    model: Annotated[str, typer.Option(help="A released model.")] = "kind",
    backend: Annotated[str, typer.Option(help="auto, openvino or torch.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1.")] = "auto",
) -> None:
    """Write the ratios of a video to a CSV, to be edited and given to enhance --ratio-track."""
    check_not_input(output, input)
    Staging(output)  # refuses a folder that is not there before the work, not after
    with progress_bar() as bar:
        track = find_track(
            input,
            target=target,
            start=start,
            duration=duration,
            model=model,
            backend=backend,  # type: ignore[arg-type]  # open_backend refuses unknown names
            device=device,
            progress=show_progress(bar, input),
        )
    track.write(output)
    console.print(f"{output}: ratios of {len(track.time)} frames", markup=False)


@app.command("plot")
def plot_command(
    track: Annotated[Path, typer.Argument(help="A CSV that `streamkind track` wrote.")],
    output: Annotated[Path, typer.Argument(help="The picture: .png, .svg or .pdf.")],
) -> None:
    """Draw a ratio track: the ratio, what it was smoothed from, brightness and scene cuts."""
    plots.draw_track(Track.read(track), output)


@app.command("score")
def score_command(
    input: Annotated[Path, typer.Argument(help="The dark video.")],
    output: Annotated[Path, typer.Argument(help="What was made of it.")],
    reference: Annotated[Path | None, typer.Option(help="The scene as it should look.")] = None,
    unsmoothed: Annotated[
        Path | None, typer.Option(help="The model without smoothing; else it is run here.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write all figures here.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw them over time: .png, .svg.")] = None,
) -> None:
    """Measure flicker and steadiness of a result, beside two baselines."""
    with progress_bar() as bar:
        task = bar.add_task(output.name, total=None, told="")

        def show(stage: str, frames: int) -> None:
            bar.update(task, completed=frames, told=f"{stage}: {frames} frames")

        scores = score(input, output, reference=reference, unsmoothed=unsmoothed, progress=show)
    if json_file:
        write_whole(json_file, json.dumps(scores.as_json(), indent=1) + "\n")
    if plot:
        plots.draw_scores(scores, plot)
    Console(width=max(console.width, 150)).print(score_table(scores))


def score_table(scores: Scores) -> Table:
    """One column per row of the score, one line per figure."""
    cuts = f"{len(scores.cuts)} scene cuts left out"
    table = Table(
        title=f"{len(scores.rows[INPUT].luma)} frames, {cuts}; flow: DIS FAST of the input"
    )
    table.add_column("")
    columns = [scores.figures(name) for name in ROWS]
    for name in ROWS:
        table.add_column(name, justify="right")
    for key in columns[0]:
        table.add_row(key, *("-" if c[key] is None else f"{c[key]:.4g}" for c in columns))
    return table


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
