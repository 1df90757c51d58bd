"""Options that several commands take, in the words of their help."""

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
    float, typer.Option(help="Mean luma that --ratio auto gives dark scenes on average, 0 to 1.")
]
AnyTarget = Annotated[float | None, typer.Option(help=HELP["target"])]
SteadyText = Annotated[str, typer.Option(help=HELP["steady"])]
ALL_STEADY = ",".join(STEADY)
Codec = Annotated[str, typer.Option(help=HELP["codec"])]
Crf = Annotated[int | None, typer.Option(help=HELP["crf"])]
Preset = Annotated[str | None, typer.Option(help=HELP["preset"])]


def read_time(text: str | float) -> float:
    """Read seconds, or [HH:]MM:SS[.m] as FFmpeg writes it; a default comes as a number."""
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
    typer.Option("--two-pass/--one-pass", help="Find ratios in a quick first pass."),
]
RatioTrack = Annotated[
    Path | None, typer.Option(help="Ratios over time, a CSV as `streamkind track` writes.")
]
SideBySide = Annotated[
    bool, typer.Option("--side-by-side", help="Put the original left of the result.")
]
Cluster = Annotated[
    str | None, typer.Option(help="Have a Ray cluster do the work: auto or ray://HOST:10001.")
]
Deinterlacing = Annotated[Deinterlace, typer.Option(help=HELP["deinterlace"])]
Fps = Annotated[
    float | None,
    typer.Option(help="Rate of a raw stream such as .h264, or of a folder of images made a video."),
]
VideoStream = Annotated[
    int | None, typer.Option(help="Enhance the stream of this number, as FFmpeg counts them.")
]
AnyCodec = Annotated[
    str, typer.Option(help="h264, hevc, av1, or any FFmpeg encoder; auto by the output's name.")
]
Start = Annotated[float, Time(help="Begin here: seconds, or HH:MM:SS.")]
Duration = Annotated[float | None, Time(help="Stop after so long: seconds, or HH:MM:SS.")]
Profile = Annotated[ProfileName, typer.Option(help=HELP["profile"])]
Model = Annotated[str, typer.Option(help=HELP["model"])]
Backend = Annotated[BackendName, typer.Option(help=HELP["backend"])]
Device = Annotated[str, typer.Option(help=HELP["device"])]
Plot = Annotated[Path | None, typer.Option(help="Draw them over time: .png, .svg.")]


def read_ratio(text: str) -> Ratio:
    """Read `auto` or a number."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"ratio must be 'auto' or a number from 0.1 to 10, got '{text}'") from None


def read_steady(text: str) -> tuple[SteadyName, ...]:
    """Read a list with commas, or `none`."""
    return () if text == "none" else tuple(text.split(","))  # type: ignore[arg-type]
