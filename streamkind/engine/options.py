"""The options of enhancing, described once for the command line, batches and the Python API."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields

from streamkind.backends.base import BackendName
from streamkind.engine.engine import check_ratio, check_target
from streamkind.engine.profiles import (
    PROFILES,
    Profile,
    ProfileName,
    choose_profile,
)
from streamkind.engine.steady import STEADY, SteadyName, check_steady
from streamkind.light.exposure import DEFAULT_TARGET, STILL_TARGET, Ratio
from streamkind.model.released import find_release
from streamkind.video.deinterlace import Deinterlace, check_deinterlace


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of enhancing files: one by `enhance`, many by a batch.

    Raises UsageError for values that are not valid.
    """

    ratio: Ratio = field(
        default="auto",
        metadata={
            "help": "How far the illumination is raised: auto, or 0.1 to 10; 1 changes nothing."
        },
    )
    target: float | None = field(
        default=None,
        metadata={
            "help": "Mean luma, 0 to 1, that --ratio auto gives dark scenes on average. Default:"
            " 0.45, for stills 0.47."
        },
    )
    steady: Collection[SteadyName] = field(
        default=STEADY,
        metadata={"help": "What is smoothed over time in videos: ratio,light,noise, or none."},
    )
    profile: ProfileName = field(
        default="auto",
        metadata={"help": "Trade of speed for quality. auto: quality for stills and on a GPU."},
    )
    model: str = field(
        default="auto",
        metadata={"help": "Released model: kind, kindpp or student. auto: that of the profile."},
    )
    backend: BackendName = field(
        default="auto",
        metadata={"help": "Library that runs the network. auto: the best that works here."},
    )
    device: str = field(
        default="auto",
        metadata={
            "help": "Where the network runs: auto, cpu, cuda, cuda:1, gpu, gpu.1, npu or mps."
        },
    )
    codec: str = field(
        default="h264",
        metadata={
            "help": "Encoder: h264, hevc, av1, auto-hw (hardware), or an FFmpeg name: h264_nvenc."
        },
    )
    crf: int | None = field(
        default=None,
        metadata={"help": "Quality of the encoder, in its own scale; lower is better and larger."},
    )
    preset: str | None = field(
        default=None, metadata={"help": "Preset of the encoder, as FFmpeg names it: veryfast."}
    )
    deinterlace: Deinterlace = field(
        default="frame",
        metadata={
            "help": "Interlaced video: one frame per frame, one per field, or off, as it is."
        },
    )

    def __post_init__(self) -> None:
        """Raise UsageError for a value that is not valid."""
        check_ratio(self.ratio)
        check_target(self.video_target)
        check_steady(self.steady)
        check_deinterlace(self.deinterlace)
        find_release(self.chosen_model)

    @property
    def video_target(self) -> float:
        """The target for videos, a mean luma in (0, 1]."""
        return self.target_of(still=False)

    def target_of(self, *, still: bool) -> float:
        """The given target, or the default for stills or for videos."""
        usual = STILL_TARGET if still else DEFAULT_TARGET
        return usual if self.target is None else self.target

    @property
    def chosen(self) -> Profile:
        """The profile for videos."""
        return PROFILES[self.profile_of(still=False)]

    def profile_of(self, *, still: bool) -> ProfileName:
        """The name of the profile. `auto` is resolved for this machine."""
        return choose_profile(self.profile, self.backend, self.device, still=still)

    @property
    def chosen_model(self) -> str:
        """The name of the released model for videos."""
        return self.chosen.model if self.model == "auto" else self.model


HELP: dict[str, str] = {f.name: f.metadata["help"] for f in fields(Options)}
"""Help text of each option, by its name."""
