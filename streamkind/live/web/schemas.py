"""What the API takes and answers, beside the dataclasses of `streamkind.live`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from streamkind.light.exposure import DEFAULT_TARGET, MANUAL_RANGE
from streamkind.live.config import CameraConfig, Transport
from streamkind.live.status import CameraStatus
from streamkind.video.deinterlace import Deinterlace

Manual = Annotated[float, Field(ge=MANUAL_RANGE[0], le=MANUAL_RANGE[1])]
Target = Annotated[float, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=86400)]
Url = Annotated[str, Field(min_length=1, max_length=2048, examples=["rtsp://10.0.0.5/1"])]
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Settings(BaseModel):
    """A camera, as a table `[camera.NAME]` of cameras.toml says it; secrets stay in that file."""

    model_config = STRICT

    url: Url
    to: list[Url] = Field(default=[], max_length=16)
    required: bool = True
    required_outputs: bool = True
    ratio: Manual | Literal["auto"] = "auto"
    target: Target = DEFAULT_TARGET
    max_delay: Seconds = 0.5
    timeout: Seconds = 5.0
    transport: Transport = "auto"
    deinterlace: Deinterlace = "frame"
    codec: str = Field(default="h264", max_length=64)
    recording: Literal["mkv", "mp4"] = "mkv"
    segment_seconds: Seconds = 600.0
    keep_gb: float = Field(default=0.0, ge=0)
    keep_days: float = Field(default=0.0, ge=0)
    keep_free_gb: float = Field(default=0.0, ge=0)

    def as_config(self, name: str) -> CameraConfig:
        """Return what the fleet takes."""
        return CameraConfig(name=name, **{**self.model_dump(), "to": tuple(self.to)})


class Light(BaseModel):
    """How a camera is relit from its next frame on; what is left out stays as it is."""

    model_config = STRICT

    ratio: Manual | Literal["auto"] | None = None
    target: Target | None = None


class Login(BaseModel):
    """The token of the console."""

    model_config = STRICT

    token: str = Field(max_length=1024)


class Problem(BaseModel):
    """Every refusal."""

    detail: str


@dataclass(frozen=True)
class FleetAnswer:
    """All cameras at one moment."""

    engine: str
    """What runs: model, device, library, effective precision."""
    time: float
    """Unix time of this answer."""
    cameras: list[CameraStatus]


@dataclass(frozen=True)
class CameraAnswer:
    """One camera at one moment, and its settings without secrets."""

    status: CameraStatus
    settings: CameraConfig


@dataclass(frozen=True)
class Ready:
    """Whether every required camera delivers, and every required output takes it."""

    ready: bool
    required: int
    """Cameras."""
    live: int
    """Of these, with all their required outputs."""
