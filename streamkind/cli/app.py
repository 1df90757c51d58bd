"""The commands that work on files, and the entry point `main`."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from typer.exceptions import TyperException

from streamkind import __version__
from streamkind.backends.process import settle
from streamkind.batch.executors import open_executor
from streamkind.batch.files import NAME, find_jobs, read_list, tell_left_out
from streamkind.batch.jobs import Batch, Result
from streamkind.cli import bench, doctor, engines, live, options, track
from streamkind.cli.ending import ENDING, INTERRUPTED
from streamkind.cli.failures import fail, foreign
from streamkind.cli.pipes import named
from streamkind.cli.show import (
    batch_table,
    console,
    progress_bar,
    score_table,
    show_batch,
    show_progress,
    show_report,
)
from streamkind.engine.options import Options
from streamkind.errors import StreamkindError, UsageError
from streamkind.measure import plots
from streamkind.measure.score import score
from streamkind.pipeline import enhance
from streamkind.platform import give_way
from streamkind.video.storage import as_path, write_whole

PARTIAL = 3
"""Exit code of a batch of which some files failed, and some did not."""

app = typer.Typer(
    help="Make night video clear.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(engines.app, name="engines")


def show_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def every_command(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print version.")
    ] = False,
) -> None:
    """Make night video clear."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("enhance")
def enhance_command(
    input: Annotated[
        str, typer.Argument(help="A video, an image or a folder of images; - is standard input.")
    ],
    output: Annotated[
        Path, typer.Argument(help="Where the result goes, its ending being its format; - is NUT.")
    ],
    ratio: options.RatioText = "auto",
    target: options.AnyTarget = None,
    steady: options.SteadyText = options.ALL_STEADY,
    two_pass: options.TwoPass = None,
    ratio_track: options.RatioTrack = None,
    codec: options.AnyCodec = "auto",
    crf: options.Crf = None,
    preset: options.Preset = None,
    fps: options.Fps = None,
    deinterlace: options.Deinterlacing = "frame",
    video_stream: options.VideoStream = None,
    side_by_side: options.SideBySide = False,
    start: options.Start = 0.0,
    duration: options.Duration = None,
    profile: options.Profile = "auto",
    model: options.Model = "auto",
    backend: options.Backend = "auto",
    device: options.Device = "auto",
) -> None:
    """Make a dark video clear."""
    with progress_bar() as bar, named(input, output) as (source, result):
        report = enhance(
            source,
            result,
            ratio=options.read_ratio(ratio),
            target=target,
            steady=options.read_steady(steady),
            two_pass=two_pass,
            ratio_track=ratio_track,
            profile=profile,
            model=model,
            backend=backend,
            device=device,
            codec=codec,
            crf=crf,
            preset=preset,
            fps=fps,
            deinterlace=deinterlace,
            video_stream=video_stream,
            side_by_side=side_by_side,
            start=start,
            duration=duration,
            progress=show_progress(bar, as_path(input).name),
        )
    show_report(report, output)


@app.command("batch")
def batch_command(
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Videos, and folders to search for videos.")
    ] = None,
    out: Annotated[
        str, typer.Option(help="The folder for the results, also s3://... or gs://...")
    ] = "clear",
    list_file: Annotated[
        Path | None, typer.Option("--list", help="A file that names inputs, one a line.")
    ] = None,
    pattern: Annotated[
        list[str] | None, typer.Option(help="Take such files of folders, as '*.mp4'; repeatable.")
    ] = None,
    name: Annotated[
        str, typer.Option(help="Names of results, of {folder}, {stem}, {kind} and {suffix}.")
    ] = NAME,
    workers: Annotated[int, typer.Option("--jobs", help="Processes that share the work.")] = 1,
    nice: Annotated[int, typer.Option(help="Give way to others, 0 to 19.")] = 0,
    cluster: options.Cluster = None,
    report: Annotated[Path | None, typer.Option(help="Write what came of each file, JSON.")] = None,
    ratio: options.RatioText = "auto",
    target: options.AnyTarget = None,
    steady: options.SteadyText = options.ALL_STEADY,
    codec: options.Codec = "h264",
    crf: options.Crf = None,
    preset: options.Preset = None,
    deinterlace: options.Deinterlacing = "frame",
    profile: options.Profile = "auto",
    model: options.Model = "auto",
    backend: options.Backend = "auto",
    device: options.Device = "auto",
) -> None:
    """Make many dark videos clear. After any interruption, the same command goes on.

    Ends with 0 when all is done, 3 when some files failed, 1 when all did.
    """
    asked = Options(
        ratio=options.read_ratio(ratio),
        target=target,
        steady=options.read_steady(steady),
        profile=profile,
        model=model,
        backend=backend,
        device=device,
        codec=codec,
        crf=crf,
        preset=preset,
        deinterlace=deinterlace,
    )
    files = [*(inputs or []), *(read_list(list_file) if list_file else [])]
    left_out: list[Path] = []
    jobs = find_jobs(files, out, asked, patterns=pattern or [], name=name, left_out=left_out)
    if left_out:
        console.print(tell_left_out(left_out), markup=False)
    give_way(nice)
    executor, slots = open_executor(workers, cluster, device)
    with executor, progress_bar() as bar:
        results = Batch(jobs, executor=executor, slots=slots, progress=show_batch(bar)).run()
    end_batch(results, report)


def end_batch(results: list[Result], report: Path | None) -> None:
    """Tell what came of a batch, and leave with what that means."""
    if report:
        told = {"files": [result.as_json() for result in results]}
        write_whole(report, (json.dumps(told, indent=1) + "\n").encode())
    Console(width=max(console.width, 100)).print(batch_table(results))
    if failed := sum(result.status == "failed" for result in results):
        raise typer.Exit(1 if failed == len(results) else PARTIAL)


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
    plot: options.Plot = None,
) -> None:
    """Measure flicker and steadiness of a result, beside two baselines."""
    with progress_bar() as bar:
        task = bar.add_task(output.name, total=None, told="")

        def show(stage: str, frames: int) -> None:
            bar.update(task, completed=frames, told=f"{stage}: {frames} frames")

        scores = score(input, output, reference=reference, unsmoothed=unsmoothed, progress=show)
    if json_file:
        write_whole(json_file, (json.dumps(scores.as_json(), indent=1) + "\n").encode())
    if plot:
        plots.draw_scores(scores, plot)
    Console(width=max(console.width, 150)).print(score_table(scores))


@app.command("doctor")
def doctor_command() -> None:
    """Tell what streamkind finds on this machine, and whether its models are whole."""
    findings = doctor.examine()
    for finding in findings:
        typer.echo(f"{finding.name:<24}{finding.value}{'' if finding.good else '   <- problem'}")
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


app.command("track")(track.track_command)
app.command("plot")(track.plot_command)
app.command("bench")(bench.bench_command)
app.command("stream")(live.stream_command)
app.command("serve")(live.serve_command)


def main() -> NoReturn:
    """Run the command line; every failure is one line on stderr and an exit code."""
    settle()
    try:
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, stop)
        code = app(prog_name="streamkind", standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except TyperException as error:
        fail(error.format_message(), 2, error)
    except UsageError as error:
        fail(str(error), 2, error)
    except StreamkindError as error:
        fail(str(error), 1, error)
    except Exception as error:
        fail(foreign(error), 1, error)
    if code == INTERRUPTED:  # typer has turned KeyboardInterrupt into it
        fail("interrupted; no output was left half-made", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """End by SIGTERM and SIGHUP as by Ctrl-C: what is half done is removed."""
    raise KeyboardInterrupt
