"""The commands that work on files, and the entry point `main`."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.exceptions import TyperException

from streamkind import __version__
from streamkind.backends.process import configure_process
from streamkind.batch.executors import open_executor
from streamkind.batch.files import NAME, find_jobs, read_list, tell_left_out
from streamkind.batch.jobs import JobRunner, Result
from streamkind.cli import bench, doctor, engines, live, options, page, track
from streamkind.cli.early import ENDING, INTERRUPTED
from streamkind.cli.failures import fail, line_for
from streamkind.cli.interrupt import InterruptHandler
from streamkind.cli.pipes import named
from streamkind.cli.show import (
    batch_table,
    console,
    printable,
    progress_bar,
    score_table,
    show_batch,
    show_progress,
    show_report,
)
from streamkind.engine.options import BATCH, Options
from streamkind.errors import StreamkindError, UsageError
from streamkind.measure import plots
from streamkind.measure.score import score
from streamkind.pipeline import enhance_file
from streamkind.platform import give_way
from streamkind.video.storage import as_path, is_local, write_whole

PARTIAL = 3
"""Exit code of a batch in which some files failed and some did not."""

app = typer.Typer(
    help="Makes night video clear.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(engines.app, name="engines")


def show_version(wanted: bool) -> None:
    """Print the version and end the program."""
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
    """Makes night video clear."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("enhance")
@options.takes("chosen", options.described())
def enhance_command(
    input: Annotated[
        str, typer.Argument(help="A video, an image or a folder of images; - for standard input.")
    ],
    output: Annotated[
        Path, typer.Argument(help="The result. Its ending selects the format; - for NUT to stdout.")
    ],
    *,
    chosen: dict[str, Any],
) -> None:
    """Make a dark video, an image or a folder of images clear."""
    with progress_bar() as bar, named(input, output) as (source, result):
        report = enhance_file(
            source,
            result,
            Options(**chosen),
            progress=show_progress(bar, as_path(input).name),
        )
    show_report(report, output)


@app.command("batch")
@options.takes("chosen", options.described(BATCH))
def batch_command(
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Videos, and folders to search for videos.")
    ] = None,
    out: Annotated[
        str, typer.Option(help="Folder for the results, or s3://... or gs://...")
    ] = "clear",
    list_file: Annotated[
        Path | None, typer.Option("--list", help="File that names inputs, one per line.")
    ] = None,
    pattern: Annotated[
        list[str] | None, typer.Option(help="Names of files to take, such as '*.mp4'; repeatable.")
    ] = None,
    name: Annotated[
        str,
        typer.Option(
            help="Names of results: {folder} below the input folder, {stem} and {kind} of the"
            " input's name before and after the last dot, {suffix} of the result with its dot."
        ),
    ] = NAME,
    workers: Annotated[int, typer.Option("--jobs", help="Processes that share the work.")] = 1,
    nice: Annotated[int, typer.Option(help="Niceness of the work.", min=0, max=19)] = 0,
    cluster: options.ClusterAddress = None,
    report: Annotated[
        Path | None, typer.Option(help="JSON file for the result of each file.")
    ] = None,
    *,
    chosen: dict[str, Any],
) -> None:
    """Make many dark videos clear. After an interruption, run the same command again.

    Exit code: 0 if all files are done, 3 if some failed, 1 if all failed.
    """
    if cluster and nice:
        raise UsageError("--nice has no effect on the machines of a cluster; leave one of them out")
    files = [*(inputs or []), *(read_list(list_file) if list_file else [])]
    left_out: list[Path] = []
    jobs = find_jobs(
        files, out, Options(**chosen), patterns=pattern or [], name=name, left_out=left_out
    )
    if left_out:
        console.print(printable(tell_left_out(left_out)), markup=False)
    check_report(report, as_path(out))
    give_way(nice)
    if cluster:
        jobs = [job.absolute() for job in jobs]
    executor, slots = open_executor(workers, cluster, chosen["device"])
    with executor, progress_bar() as bar:
        results = JobRunner(jobs, executor=executor, slots=slots, progress=show_batch(bar)).run()
    end_batch(results, report)


def check_report(report: Path | None, out: Path) -> None:
    """Raise UsageError or OutputError before a batch whose report could not be written after it.

    If the report's folder does not exist, it may be the folder of the results, which is created.
    """
    if report is not None and not report.parent.exists() and is_local(out):
        out.mkdir(parents=True, exist_ok=True)
    options.check_files(report)


def end_batch(results: list[Result], report: Path | None) -> None:
    """Print the result of a batch, write its report, and set the exit code."""
    Console(width=max(console.width, 100)).print(batch_table(results))
    if report:
        told = {"files": [result.as_json() for result in results]}
        write_whole(report, (json.dumps(told, indent=1) + "\n").encode())
    if failed := sum(result.status == "failed" for result in results):
        raise typer.Exit(1 if failed == len(results) else PARTIAL)


@app.command("score")
def score_command(
    input: Annotated[Path, typer.Argument(help="The dark video.")],
    output: Annotated[Path, typer.Argument(help="The enhanced video.")],
    reference: Annotated[
        Path | None, typer.Option(help="Video of the same scene, well lit.")
    ] = None,
    unsmoothed: Annotated[
        Path | None,
        typer.Option(help="Video enhanced without smoothing. Default: it is made here."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="JSON file to write with all scores.")
    ] = None,
    plot: options.ScorePlot = None,
) -> None:
    """Measure flicker and sharpness of a result, and compare with two baselines."""
    options.check_files(json_file, plot)
    with progress_bar() as bar:
        task = bar.add_task(printable(output.name), total=None, told="")

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
    """Show what streamkind finds on this machine, and check the released models."""
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
app.command("app")(page.app_command)


def main() -> NoReturn:
    """Run the command line. Every failure is one line on stderr and an exit code."""
    configure_process()
    stop = InterruptHandler()
    try:
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, stop)
        code = app(prog_name="streamkind", standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        if stop.begun is None:  # else a library has converted the KeyboardInterrupt to this error
            failed(error)
        code = INTERRUPTED
    if code == INTERRUPTED:  # typer returns it for a KeyboardInterrupt
        fail("interrupted; no partial output was left", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def failed(error: Exception) -> NoReturn:
    """Report an error that has ended a command, and exit."""
    if isinstance(error, TyperException):
        fail(error.format_message(), 2, error)
    if isinstance(error, StreamkindError):
        fail(str(error), 2 if isinstance(error, UsageError) else 1, error)
    fail(line_for(error), 1, error)
