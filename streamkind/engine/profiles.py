"""Profiles, each of which is a trade of speed for quality; and `open_engine`, which uses one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streamkind.backends.base import BackendName
from streamkind.backends.choose import on_gpu, open_backend
from streamkind.engine.checks import check_type
from streamkind.engine.engine import Engine
from streamkind.engine.reduced import carried_pix_fmt
from streamkind.errors import UsageError
from streamkind.model.released import find_release
from streamkind.video.encoders import find_encoder
from streamkind.video.format import VideoFormat
from streamkind.video.frames import PixFmt, as_deep

ProfileName = Literal["auto", "quality", "balanced", "realtime"]


@dataclass(frozen=True)
class Profile:
    """A trade of speed for quality."""

    model: str
    """Released model, unless the user names one."""
    area: int | None
    """Largest number of pixels of a reduced picture. None: no picture is reduced."""
    whole: int = 0
    """Number of pixels up to which a picture is not reduced, if there is an `area`."""
    fast: bool = False
    """Whether x264 and x265 get a fast preset, and a first pass reads a file only if its light
    changes. Options of the user take precedence."""
    every: int = 1
    """The network runs on at least one frame of each `every` consecutive frames of a video."""

    def pix_fmt(self, form: VideoFormat) -> PixFmt:
        """Return the pixel format to ask a source for."""
        usual = carried_pix_fmt(form.width, form.height, self.area, self.whole, self.every)
        return as_deep(usual, form)


PROFILES = {
    "quality": Profile("kind", None),
    "balanced": Profile("lite", 640 * 400, 640 * 400, every=2),
    # With a larger `whole`, a picture below that size would take longer than one of 1280x720.
    "realtime": Profile("student", 480 * 270, 320 * 240, fast=True, every=3),
}
"""The profiles by name. `docs/profiles.md` explains them and states their measured quality."""


def choose_profile(
    profile: ProfileName, backend: str, device: str, *, still: bool = False
) -> ProfileName:
    """Return the profile; `auto` is `quality` on an NVIDIA card and for stills, else `balanced`."""
    if profile != "auto":
        check_profile(profile)
        return profile
    return "quality" if still or on_gpu(backend, device) else "balanced"


def check_profile(profile: str) -> None:
    """Raise UsageError for an unknown name."""
    if profile not in PROFILES:
        raise UsageError(f"unknown profile '{profile}'; choose auto, {', '.join(PROFILES)}")


def encoder_preset(
    profile: Profile, codec: str, preset: str | None, form: VideoFormat
) -> str | None:
    """Return the preset that the user names; else, for x264 and x265, that of a fast profile."""
    fits = preset is None and find_encoder(codec).name in ("libx264", "libx265")
    return fast_preset(form.width, form.height) if fits and profile.fast else preset


def fast_preset(width: int, height: int) -> str:
    """Return the preset of x264 and x265 in a fast profile, by the size of the video in pixels."""
    return "veryfast" if width * height <= 1280 * 720 else "superfast"


def open_engine(
    model: str = "auto",
    *,
    backend: BackendName = "auto",
    profile: ProfileName = "quality",
    device: str = "auto",
    engines: str | Path | None = None,
) -> Engine:
    """Load a released model, and return an engine that runs it.

    `model` is "kind", "lite", "student", "kindpp", or "auto" for the model of the profile.
    `backend` is "auto", "tensorrt", "openvino" or "torch". `profile` is "auto", "quality",
    "balanced" or "realtime". `device` is "auto", "cpu", "cuda", "cuda:1", "gpu", "gpu.1", "npu" or
    "mps". `engines` is a folder with an engine.json, in place of the installed models. Raises
    UsageError for an unknown name, and EngineError if the model cannot be loaded or run here.
    """
    check_type("device", device, str)
    profile = choose_profile(profile, backend, device)
    chosen = PROFILES[profile]
    release = find_release(
        chosen.model if model == "auto" else model, None if engines is None else Path(engines)
    )
    opened = open_backend(backend, release, device)
    return Engine(opened, area=chosen.area, whole=chosen.whole, every=chosen.every, profile=profile)
