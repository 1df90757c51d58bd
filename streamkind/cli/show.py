"""Prints progress bars, reports and tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from unicodedata import category

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from streamkind.batch import jobs
from streamkind.batch.jobs import Result
from streamkind.measure.score import INPUT, ROWS, Scores
from streamkind.pipeline import Progress, Report

_ESCAPED = ("Cc", "Cs", "Zl", "Zp")
"""Categories of Unicode whose characters are escaped: control characters, bytes of names that are
not UTF-8, and the separators of lines and paragraphs."""
console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def printable(text: object) -> str:
    """Return a text in one line: line breaks and control characters of names are escaped."""
    return "".join(ascii(c)[1:-1] if category(c) in _ESCAPED else c for c in str(text))


def print_warnings(warnings: Iterable[str]) -> None:
    """Print each warning in a line of its own."""
    for warning in warnings:
        console.print(f"warning: {printable(warning)}", markup=False)


def progress_bar() -> Bar:
    """Return a progress bar that is drawn on terminals only."""
    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}% {task.fields[told]}", markup=False),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def show_progress(bar: Bar, name: str) -> Progress:
    """Return a callback that prints the engine and early warnings once, and updates the bar."""
    name = printable(name)
    task = bar.add_task(name, total=None, told="")

    def show(report: Report) -> None:
        if not report.frames and not report.surveyed:
            bar.console.print(f"{name}: {report.engine}", markup=False)
            print_warnings(report.early)
        print_warnings(report.warnings)  # empty, except at the end of `find_track`
        done = report.frames or report.surveyed
        told = f"{report.fps:.1f} fps, ratio {report.ratio:.2f}" if report.frames else "first pass"
        bar.update(task, total=report.total, completed=done, told=told)

    return show


def show_report(report: Report, output: Path) -> None:
    """Print the result of a run: frames, time of each stage, and warnings that are new."""
    print_warnings(warning for warning in report.warnings if warning not in report.early)
    stages = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.stages.items())
    console.print(
        f"{printable(output)}: {report.frames} frames in {report.seconds:.1f} s"
        f" ({report.fps:.1f} fps); busy: {stages}",
        markup=False,
    )


def score_table(scores: Scores) -> Table:
    """Return a table of scores: one column per video, one line per figure."""
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


def show_batch(bar: Bar) -> Callable[[jobs.BatchProgress], None]:
    """Return a callback that prints which files begin and end, and updates the bar."""
    task = bar.add_task("batch", total=None, told="")

    def show(progress: jobs.BatchProgress) -> None:
        if progress.told:
            bar.console.print(printable(progress.told), markup=False)
        ended = sum(result.status != "waiting" for result in progress.results)
        told = f"{ended} of {len(progress.results)} files"
        done = progress.frames + progress.under_way
        bar.update(task, total=progress.total or None, completed=done, told=told)

    return show


def batch_table(results: list[Result]) -> Table:
    """Return a table with one line per file of a batch, and a title with the sums."""
    count = Counter(result.status for result in results)
    table = Table(
        title=f"{count['done']} done, {count['skipped']} skipped, {count['failed']} failed"
    )
    for name in ("file", "status", "frames", "seconds", "notes"):
        table.add_column(name, justify="right" if name in ("frames", "seconds") else "left")
    for result in results:
        known = [result.error, *result.warnings] if result.error else result.warnings
        table.add_row(
            Text(printable(result.job.output.name)),
            result.status,
            str(result.frames or ""),
            f"{result.seconds:.1f}" if result.seconds else "",
            Text(printable("; ".join(known))),
        )
    return table
