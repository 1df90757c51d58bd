"""The bodies and answers of the API that are not classes of `streamkind.live`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field

from streamkind.live.config import STRICT, CameraConfig, Manual, Target
from streamkind.live.recordings import Recording
from streamkind.live.status import CameraStatus


class Light(BaseModel):
    """Ratio and target of a camera, from its next frame on. A missing field is not changed."""

    model_config = STRICT

    ratio: Manual | Literal["auto"] | None = None
    target: Target | None = None


class Login(BaseModel):
    """The token of the console."""

    model_config = STRICT

    token: str = Field(max_length=1024)


class Problem(BaseModel):
    """The body of every error."""

    detail: str


Answers = dict[int | str, dict[str, Any]]
WRONG: Answers = {
    400: {"model": Problem, "description": "The body is not JSON"},
    422: {"model": Problem, "description": "What was wrong, and what was expected"},
}
UNKNOWN: Answers = {
    **WRONG,
    404: {"model": Problem, "description": "No camera of that name"},
}
JPEG: Answers = {
    **UNKNOWN,
    200: {"content": {"image/jpeg": {}}, "description": "The picture"},
    204: {"description": "No frame yet"},
    304: {"description": "The picture is that of If-None-Match"},
}
TEXT: Answers = {
    200: {"content": {"text/plain": {}}, "description": "Text format of Prometheus"},
}


@dataclass(frozen=True)
class FleetAnswer:
    """All cameras at one moment."""

    engine: str
    """The engine that runs: model, device, library, effective precision."""
    time: float
    """Unix time of this answer."""
    cameras: list[CameraStatus]


@dataclass(frozen=True)
class CameraAnswer:
    """One camera at one moment, and its settings without secrets."""

    status: CameraStatus
    settings: CameraConfig


@dataclass(frozen=True)
class RecordingsAnswer:
    """Recordings of one camera."""

    span: tuple[float, float] | None
    """Unix times at which the first and the last of all recordings begin; null if there is none."""
    recordings: list[Recording]
    """The recordings in the asked range, the oldest first."""
    side_by_side: bool
    """Whether new recordings show the original to the left of the result."""


@dataclass(frozen=True)
class Ready:
    """Whether every required camera and every required output is live."""

    ready: bool
    required: int
    """Number of required cameras."""
    live: int
    """Number of required cameras that are live, with all their required outputs."""
