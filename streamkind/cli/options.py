"""Makes the options of commands from the fields of `Options`, and converts texts to values."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from streamkind.engine.options import Options, help_of
from streamkind.engine.steady import SteadyName
from streamkind.errors import UsageError
from streamkind.light.exposure import Ratio
from streamkind.measure import plots
from streamkind.video.publish import check_file

ClusterAddress = Annotated[
    str | None, typer.Option(help="Ray cluster to run the work on: auto, or ray://HOST:10001.")
]
Device = Annotated[str, typer.Option(help=help_of("device"))]
ScorePlot = Annotated[
    Path | None, typer.Option(help="Picture of the scores over time, .png or .svg.")
]


def check_files(data: Path | None, picture: Path | None = None) -> None:
    """Raise UsageError or OutputError before the work, for files that are written after it."""
    if data is not None:
        check_file(data)
    if picture is not None:
        plots.check_picture(picture)


def read_time(text: str | float) -> float:
    """Convert seconds, or [HH:]MM:SS[.m] as FFmpeg writes it, to seconds.

    typer passes a default as a number. Raises BadParameter for any other text.
    """
    try:
        parts = [float(part) for part in str(text).split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or any(not 0 <= part < 60 for part in parts[1:]):
        raise typer.BadParameter(f"{text!r} is not a time; expected seconds, or HH:MM:SS")
    return sum(part * 60.0**power for power, part in enumerate(reversed(parts)))


def read_size(text: str) -> tuple[int, int]:
    """Return width and height of a text such as 1280x720. Raises UsageError."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if not found:
        raise UsageError(f"size '{text}': expected WIDTHxHEIGHT, such as 1280x720")
    return int(found[1]), int(found[2])


def read_ratio(text: str) -> Ratio:
    """Convert `auto` or a number. Raises UsageError for any other text."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"ratio must be 'auto' or a number from 0.1 to 10, got '{text}'") from None


def read_steady(text: str) -> tuple[SteadyName, ...]:
    """Convert a list with commas, or `none`, to names."""
    return () if text == "none" else tuple(text.split(","))  # type: ignore[arg-type]


_READ: dict[str, tuple[Callable[[str], Any], str]] = {
    "ratio": (read_ratio, "<auto|float>"),
    "steady": (read_steady, "<ratio,light,noise|none>"),
    "start": (read_time, "<time>"),
    "duration": (read_time, "<time>"),
}
"""Options that are converted from a text: the function for it, and the type in the help."""
_FLAGS = {"two_pass": "--two-pass/--one-pass", "side_by_side": "--side-by-side"}
"""Form on the command line of options that are flags."""


def as_option(
    name: str, kind: Any, default: Any, told: str, names: Sequence[str] = ()
) -> Parameter:
    """Return the parameter of a command for an option of any type.

    `names` are all names of the option, if it has others than `name`.
    """
    words = [_FLAGS[name]] if name in _FLAGS else [f"--{n.replace('_', '-')}" for n in names]
    read, shown = _READ.get(name, (None, None))
    if read is not None:
        kind = str if default is not None else str | None
        default = ",".join(default) if isinstance(default, tuple) else default
    elif kind == str | Path | None:
        kind = Path | None
    option = typer.Option(*words, help=told, parser=read, metavar=shown)
    annotation = Annotated[kind, option]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def described(names: Collection[str] | None = None) -> list[Parameter]:
    """Return parameters for the options of these names, or for all of `Options`."""
    types = get_type_hints(Options)
    return [
        as_option(f.name, types[f.name], f.default, help_of(f.name))
        for f in fields(Options)
        if names is None or f.name in names
    ]


def takes(
    parameter: str, options: Sequence[Parameter]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command these options in place of one parameter, a dictionary of their values.

    The parameter is keyword-only.
    """

    def take(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = list(signature.parameters.values())
        at = list(signature.parameters).index(parameter)

        @functools.wraps(command)
        def run(**given: Any) -> None:
            values = {option.name: given.pop(option.name) for option in options}
            command(**given, **{parameter: values})

        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*own[:at], *options, *own[at + 1 :]]
        )
        return run

    return take
