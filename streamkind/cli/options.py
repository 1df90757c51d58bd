"""Options that several commands take, with their help texts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from streamkind.backends.base import BackendName
from streamkind.engine.options import HELP
from streamkind.engine.profiles import ProfileName
from streamkind.engine.steady import STEADY, SteadyName
from streamkind.errors import UsageError
from streamkind.light.exposure import Ratio
from streamkind.video.deinterlace import Deinterlace

RatioText = Annotated[str, typer.Option(help=HELP["ratio"])]
Target = Annotated[
    float, typer.Option(help="Mean luma, 0 to 1, that --ratio auto gives dark scenes on average.")
]
AnyTarget = Annotated[float | None, typer.Option(help=HELP["target"])]
SteadyText = Annotated[str, typer.Option(help=HELP["steady"])]
ALL_STEADY = ",".join(STEADY)
Codec = Annotated[str, typer.Option(help=HELP["codec"])]
Crf = Annotated[int | None, typer.Option(help=HELP["crf"])]
Preset = Annotated[str | None, typer.Option(help=HELP["preset"])]


def read_time(text: str | float) -> float:
    """Convert seconds, or [HH:]MM:SS[.m] as FFmpeg writes it, to seconds.

    typer passes a default as a number. Raises BadParameter for any other text.
    """
    try:
        parts = [float(part) for part in str(text).split(":")]
    except ValueError:
        parts = []
    if not 1 <= len(parts) <= 3 or any(not 0 <= part < 60 for part in parts[1:]):
        raise typer.BadParameter(f"{text!r} is no time; expected seconds, or HH:MM:SS")
    return sum(part * 60.0**power for power, part in enumerate(reversed(parts)))


Time = partial(typer.Option, parser=read_time, metavar="<time>")
TwoPass = Annotated[
    bool | None,
    typer.Option("--two-pass/--one-pass", help="Find the ratios in a first pass, with look-ahead."),
]
RatioTrack = Annotated[
    Path | None, typer.Option(help="CSV with ratios over time, as `streamkind track` writes it.")
]
SideBySide = Annotated[
    bool, typer.Option("--side-by-side", help="Put the original to the left of the result.")
]
Cluster = Annotated[
    str | None, typer.Option(help="Run the work on a Ray cluster: auto or ray://HOST:10001.")
]
Deinterlacing = Annotated[Deinterlace, typer.Option(help=HELP["deinterlace"])]
Fps = Annotated[
    float | None,
    typer.Option(help="Frames per second of a raw stream (.h264) or of a folder of images."),
]
VideoStream = Annotated[
    int | None,
    typer.Option(help="Number of the only video stream to enhance. Default: all videos."),
]
AnyCodec = Annotated[
    str,
    typer.Option(help="Encoder: h264, hevc, av1, or an FFmpeg name. auto: by the output's name."),
]
Start = Annotated[float, Time(help="Start at this time of the input: seconds, or HH:MM:SS.")]
Duration = Annotated[float | None, Time(help="Length to enhance: seconds, or HH:MM:SS.")]
Profile = Annotated[ProfileName, typer.Option(help=HELP["profile"])]
Model = Annotated[str, typer.Option(help=HELP["model"])]
Backend = Annotated[BackendName, typer.Option(help=HELP["backend"])]
Device = Annotated[str, typer.Option(help=HELP["device"])]
Plot = Annotated[Path | None, typer.Option(help="Draw the figures over time: .png, .svg.")]


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
