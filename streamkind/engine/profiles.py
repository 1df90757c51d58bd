"""Profiles: what KinD may cost. And how a released model is opened with one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streamkind.backends.base import BackendName
from streamkind.backends.choose import on_gpu, open_backend
from streamkind.engine.engine import Engine
from streamkind.engine.reduced import carried_pix_fmt
from streamkind.errors import UsageError
from streamkind.model.released import find_release
from streamkind.video.encoders import find_encoder
from streamkind.video.format import VideoFormat
from streamkind.video.frames import PixFmt

SEEN_WHOLE = 640 * 400
"""Pixels up to which every picture goes through the nets whole."""
ProfileName = Literal["auto", "quality", "balanced", "realtime"]


@dataclass(frozen=True)
class Profile:
    """A trade of cost for quality."""

    model: str
    """Where the user names none."""
    area: int | None
    """Most pixels that the nets see of a larger picture. None: all."""
    fast: bool = False
    """Whether what surrounds the nets is to be as fast, where the user says nothing: the preset of
    x264 and x265, and a first pass over a file only if its light changes."""
    every: int = 1
    """In a video the nets see at least one of so many frames, and more where much moves."""

    def pix_fmt(self, form: VideoFormat) -> PixFmt:
        """Return the format to ask a source for."""
        return carried_pix_fmt(form.width, form.height, SEEN_WHOLE) if self.area else "rgb24"


PROFILES = {
    "quality": Profile("kind", None),
    "balanced": Profile("kind", SEEN_WHOLE),
    "realtime": Profile("student", 480 * 270, fast=True, every=3),
}


def choose_profile(
    profile: ProfileName, backend: str, device: str, *, still: bool = False
) -> ProfileName:
    """Return the profile meant by `auto`: on a GPU, and for stills, nothing needs to be spared."""
    if profile != "auto":
        check_profile(profile)
        return profile
    return "quality" if still or on_gpu(backend, device) else "balanced"


def check_profile(profile: str) -> None:
    """Refuse a name that is none."""
    if profile not in PROFILES:
        raise UsageError(f"unknown profile '{profile}'; choose auto, {', '.join(PROFILES)}")


def encoder_preset(
    profile: Profile, codec: str, preset: str | None, form: VideoFormat
) -> str | None:
    """Return the preset that the user names, or else that of the profile, for x264 and x265."""
    fits = preset is None and find_encoder(codec).name in ("libx264", "libx265")
    return fast_preset(form.width, form.height) if fits and profile.fast else preset


def fast_preset(width: int, height: int) -> str:
    """Return the preset at which encoding keeps up with `realtime`; files grow by it, not loss."""
    return "veryfast" if width * height <= 1280 * 720 else "superfast"


def open_engine(
    model: str = "auto",
    *,
    backend: BackendName = "auto",
    profile: ProfileName = "quality",
    device: str = "auto",
    engines: Path | None = None,
) -> Engine:
    """Load a released model.

    `model` is "kind", "kindpp", "student", or "auto" for that of the profile; `backend` "auto",
    "tensorrt", "openvino" or "torch"; `profile` "quality", "balanced" or "realtime"; `device`
    "auto", "cpu", "cuda" or "cuda:1"; `engines` a folder with an engine.json other than the
    installed one. Raises UsageError for a name that does not exist and EngineError for what cannot
    be loaded here.
    """
    profile = choose_profile(profile, backend, device)
    chosen = PROFILES[profile]
    release = find_release(chosen.model if model == "auto" else model, engines)
    opened = open_backend(backend, release, device)
    return Engine(opened, area=chosen.area, whole=SEEN_WHOLE, every=chosen.every, profile=profile)
