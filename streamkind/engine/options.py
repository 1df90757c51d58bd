"""What can be asked for when a video or a still is enhanced, described once for all uses."""

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
    """How files are enhanced: one by `enhance`, many by a batch. Raises UsageError."""

    ratio: Ratio = field(
        default="auto",
        metadata={"help": "How far light is raised: auto, or a number from 0.1 to 10."},
    )
    target: float | None = field(
        default=None,
        metadata={
            "help": "Mean luma that --ratio auto gives dark scenes on average; 0.45, stills 0.47."
        },
    )
    steady: Collection[SteadyName] = field(
        default=STEADY,
        metadata={"help": "What is smoothed over time: ratio,light,noise, or none."},
    )
    profile: ProfileName = field(
        default="auto", metadata={"help": "Speed against quality. auto picks by hardware."}
    )
    model: str = field(
        default="auto", metadata={"help": "kind, kindpp or student; auto by the profile."}
    )
    backend: BackendName = field(default="auto", metadata={"help": "What runs the network."})
    device: str = field(
        default="auto", metadata={"help": "auto, cpu, cuda, cuda:1, gpu, gpu.1, npu or mps."}
    )
    codec: str = field(
        default="h264",
        metadata={"help": "h264, hevc, av1, auto-hw, or any FFmpeg encoder such as h264_nvenc."},
    )
    crf: int | None = field(
        default=None, metadata={"help": "Quality of the encoder; lower is better."}
    )
    preset: str | None = field(
        default=None, metadata={"help": "Speed of the encoder, as FFmpeg's."}
    )
    deinterlace: Deinterlace = field(
        default="frame",
        metadata={"help": "What interlaced video becomes: field is a frame of each field."},
    )

    def __post_init__(self) -> None:
        """Refuse what no file could be enhanced with."""
        check_ratio(self.ratio)
        check_target(self.video_target)
        check_steady(self.steady)
        check_deinterlace(self.deinterlace)
        find_release(self.chosen_model)

    @property
    def video_target(self) -> float:
        """The target of videos."""
        return self.target_of(still=False)

    def target_of(self, *, still: bool) -> float:
        """The target that is meant, which is another one for stills."""
        usual = STILL_TARGET if still else DEFAULT_TARGET
        return usual if self.target is None else self.target

    @property
    def chosen(self) -> Profile:
        """The profile of videos."""
        return PROFILES[self.profile_of(still=False)]

    def profile_of(self, *, still: bool) -> ProfileName:
        """The name of the profile that is meant, on this machine."""
        return choose_profile(self.profile, self.backend, self.device, still=still)

    @property
    def chosen_model(self) -> str:
        """The released model of videos."""
        return self.chosen.model if self.model == "auto" else self.model


HELP: dict[str, str] = {f.name: f.metadata["help"] for f in fields(Options)}
"""The description of each option, by name."""
