"""The options of `enhance`, described once for the command line, batches and the Python API."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypedDict, TypeVar, get_type_hints

from streamkind.backends.base import BackendName
from streamkind.engine.checks import check_ratio, check_target, check_type
from streamkind.engine.engine import Engine
from streamkind.engine.profiles import (
    PROFILES,
    Profile,
    ProfileName,
    choose_profile,
    encoder_preset,
    open_engine,
)
from streamkind.engine.steady import STEADY, SteadyNames, check_steady
from streamkind.engine.stream import Stream, choose_ratio
from streamkind.errors import UsageError
from streamkind.light.exposure import DEFAULT_TARGET, STILL_TARGET, Ratio
from streamkind.light.track import Track
from streamkind.model.released import find_release
from streamkind.video.deinterlace import Deinterlace, check_deinterlace
from streamkind.video.format import VideoFormat
from streamkind.video.hardware import check_hwaccel
from streamkind.video.source import Source

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `enhance`. A batch and `find_track` take some of them: `BATCH`, `TRACK`.

    Raises UsageError for values that are not valid.
    """

    ratio: Annotated[
        Ratio, "How much the light is raised: auto, or 0.1 to 10; 1 changes nothing."
    ] = "auto"
    target: Annotated[
        float | None,
        "Mean luma, above 0 to 1, of dark scenes after enhancement, on average, if the ratio is"
        " automatic. Default: 0.45 for videos, 0.47 for stills.",
    ] = None
    steady: Annotated[
        SteadyNames, "What is smoothed over time in videos: ratio,light,noise, or none."
    ] = STEADY
    two_pass: Annotated[
        bool | None,
        "Find all ratios in a first pass, with look-ahead; or in one pass, as the frames come."
        " Default: two passes, but with profile realtime only if the brightness changes much.",
    ] = None
    ratio_track: Annotated[
        str | Path | None, "CSV file with ratios over time, as `streamkind track` writes it."
    ] = None
    codec: Annotated[
        str,
        "Encoder: h264, hevc, av1, auto-hw (hardware), or a name of FFmpeg such as h264_nvenc."
        " auto: chosen by the output's name.",
    ] = "auto"
    crf: Annotated[
        int | None,
        "Quality on the encoder's own scale. A lower number gives better quality and a larger"
        " file.",
    ] = None
    preset: Annotated[str | None, "Preset of the encoder, such as veryfast."] = None
    fps: Annotated[float | None, "Frame rate of a raw stream (.h264) or of a folder of images."] = (
        None
    )
    hwaccel: Annotated[
        str | None,
        "Hardware that decodes: none, auto, or a name of FFmpeg such as cuda, qsv or vaapi."
        " Default: cuda if the network runs on an NVIDIA card, else none.",
    ] = None
    deinterlace: Annotated[
        Deinterlace,
        "Interlaced video: make one frame of each frame, one of each field, or leave it (off).",
    ] = "frame"
    video_stream: Annotated[
        int | None,
        "Index of the only video stream to enhance, as ffprobe shows it; others are copied."
        " Default: all videos.",
    ] = None
    side_by_side: Annotated[bool, "Put the original to the left of the result."] = False
    start: Annotated[float, "Time of the input to start at: seconds, or HH:MM:SS."] = 0.0
    duration: Annotated[float | None, "Length of the part to enhance: seconds, or HH:MM:SS."] = None
    profile: Annotated[
        ProfileName,
        "Trade of quality for speed. auto: quality for stills and on an NVIDIA card, else balanced"
        " for files and realtime for cameras.",
    ] = "auto"
    model: Annotated[str, "Released model: kind, lite, student, kindpp. auto: by the profile."] = (
        "auto"
    )
    backend: Annotated[
        BackendName, "Library that runs the network. auto: the best on this machine."
    ] = "auto"
    device: Annotated[
        str, "Where the network runs: auto, cpu, cuda, cuda:1, gpu, gpu.1, npu or mps."
    ] = "auto"

    def __post_init__(self) -> None:
        """Raise UsageError for a value that is not valid."""
        check_ratio(self.ratio)
        check_target(self.video_target)
        check_steady(self.steady)
        check_deinterlace(self.deinterlace)
        check_hwaccel(self.hwaccel or "none")
        for name, hint in _types().items():
            check_type(name, getattr(self, name), hint)
        if self.ratio_track is not None and self.ratio != "auto":
            raise UsageError("a ratio track and a fixed ratio exclude each other; give one of them")
        chosen = self.ratio == "auto" and self.ratio_track is None and "ratio" in self.steady
        if self.two_pass and not chosen:
            raise UsageError(
                "two passes (--two-pass) find ratios that are automatic and smoothed; leave them"
                " out, or leave out the fixed ratio, the ratio track or steady without ratio"
            )
        find_release(self.chosen_model)

    @property
    def video_target(self) -> float:
        """The target for videos, a mean luma in (0, 1]."""
        return self.target_of(still=False)

    def target_of(self, *, still: bool) -> float:
        """Return the given target, or the default for stills or for videos, in (0, 1]."""
        usual = STILL_TARGET if still else DEFAULT_TARGET
        return usual if self.target is None else self.target

    @property
    def chosen(self) -> Profile:
        """The profile for videos."""
        return PROFILES[self.profile_of(still=False)]

    def profile_of(self, *, still: bool) -> ProfileName:
        """Return the name of the profile. `auto` is resolved for this machine."""
        return choose_profile(self.profile, self.backend, self.device, still=still)

    @property
    def chosen_model(self) -> str:
        """The name of the released model for videos."""
        return self.chosen.model if self.model == "auto" else self.model

    def open_engine(self) -> Engine:
        """Open the engine that the options choose; `auto` is the profile for videos."""
        profile = self.profile_of(still=False)
        return open_engine(self.model, backend=self.backend, profile=profile, device=self.device)

    def open_stream(self, source: Source, engine: Engine, track: Track | None) -> Stream:
        """Open a stream for the frames of a source. Each still of a folder gets its own ratio."""
        in_order = not source.still
        held = self.steady if in_order else ()
        target, still = self.video_target, source.still
        choose = choose_ratio(self.ratio, target=target, track=track, steady=held, still=still)
        tags = source.format.color
        return Stream(engine, choose, steady=held, color=tags, skip=in_order, film=in_order)

    def encoder(self, form: VideoFormat) -> dict[str, Any]:
        """Return the options of the encoder for a video of that format."""
        preset = encoder_preset(self.chosen, self.codec, self.preset, form)
        return {"codec": self.codec, "crf": self.crf, "preset": preset}

    def given(self) -> list[str]:
        """Return the names of the options that differ from their defaults."""
        return [f.name for f in fields(self) if getattr(self, f.name) != f.default]

    def check_only(self, names: Collection[str], work: str) -> None:
        """Raise UsageError if an option is given that `work` does not take; it takes `names`."""
        if others := [name for name in self.given() if name not in names]:
            raise UsageError(f"{work} does not take {others[0]}; it takes {', '.join(names)}")

    def check_for_still(self) -> None:
        """Raise UsageError if an option for videos is given, for an input that is a still."""
        videos = ("codec", "crf", "preset", "two_pass", "ratio_track", "steady", "deinterlace")
        if told := [name.replace("_", "-") for name in self.given() if name in videos]:
            raise UsageError(
                f"{', '.join(told)}: for videos only, but the input is a still; leave it out"
            )


class TrackOptions(TypedDict, total=False):
    """The types of the options that `find_track` takes, for type checkers."""

    target: float | None
    start: float
    duration: float | None
    profile: ProfileName
    model: str
    backend: BackendName
    device: str


class EnhanceOptions(TrackOptions, total=False):
    """The types of all options, for type checkers. `Options` describes each option."""

    ratio: Ratio
    steady: SteadyNames
    two_pass: bool | None
    ratio_track: str | Path | None
    codec: str
    crf: int | None
    preset: str | None
    fps: float | None
    hwaccel: str | None
    deinterlace: Deinterlace
    video_stream: int | None
    side_by_side: bool


ENGINE = ("profile", "model", "backend", "device")
"""Names of the options that choose the network, and where it runs."""
TRACK = ("target", "start", "duration", *ENGINE)
"""Names of the options of `find_track`."""
BATCH = ("ratio", "target", "steady", "codec", "crf", "preset", "deinterlace", *ENGINE)
"""Names of the options of a batch, which takes whole files."""


@functools.cache
def _types() -> dict[str, Any]:
    """Return the types of all options. `backend` is any str, because backends can be added."""
    return get_type_hints(Options) | {"backend": str}


def help_of(name: str) -> str:
    """Return the help text of an option."""
    text: str = get_type_hints(Options, include_extras=True)[name].__metadata__[0]
    return text


def describes_options(names: Collection[str] | None = None) -> Callable[[Function], Function]:
    """Make `help()` show the options of these names, or all, in place of `**options`."""

    def describe(work: Function) -> Function:
        signature, types = inspect.signature(work), _types()
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        chosen = [f for f in fields(Options) if names is None or f.name in names]
        added = [
            own[-1].replace(name=f.name, default=f.default, annotation=types[f.name])
            for f in chosen
        ]
        work.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        told = "\n".join(f"    {f.name}: {help_of(f.name)}" for f in chosen)
        work.__doc__ = f"{inspect.getdoc(work)}\n\nOptions:\n{told}"
        return work

    return describe
