"""What a running fleet of cameras tells about itself, and what may be asked of it.

The console, the metrics and the command line see the fleet through this file only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from streamkind.light.exposure import DEFAULT_TARGET, Ratio
from streamkind.video.frames import Pixels

if TYPE_CHECKING:
    from streamkind.live.config import CameraConfig
    from streamkind.live.viewers import Viewer

SourceState = Literal["connecting", "live", "lost", "refused", "stopped"]
"""connecting: never had a picture yet; live: pictures come in, and out; lost: none now; refused:
wrong password."""

SinkState = Literal["connecting", "live", "lost", "stopped"]


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """One output of a camera."""

    url: str
    """Redacted: no password in it."""
    state: SinkState
    frames: int = 0
    """Written since the start."""
    dropped: int = 0
    """Not written, because the sink was lost or slow."""
    reconnects: int = 0
    error: str = ""
    """The last one, redacted; it stays after recovery."""


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera, at one moment. Counters only rise, through reconnects too."""

    name: str
    state: SourceState
    required: bool
    """Counts for readiness."""
    url: str
    """Redacted: no password in it."""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    """Enhanced frames per second over the last few seconds."""
    frames_in: int = 0
    """Decoded."""
    frames_out: int = 0
    """Enhanced and handed to the sinks."""
    dropped: int = 0
    """Decoded but left out, being too old."""
    damaged: int = 0
    """Packets or frames that could not be decoded."""
    queue: int = 0
    """Frames waiting."""
    delay_seconds: float = 0.0
    """From decoded to handed to the sinks, of the last frame."""
    ages: tuple[float, ...] = ()
    """The same of the frames since the last look, at most some hundreds, for a histogram."""
    age_count: int = 0
    """How many frames that sum is of, since the start."""
    age_sum: float = 0.0
    """Sum of `delay_seconds` of all frames since the start."""
    stages: dict[str, float] = field(default_factory=dict)
    """Busy seconds since the start: decode, decompose, recompose, encode."""
    reconnects: int = 0
    ratio: float = 1.0
    """Of the last frame."""
    wanted_ratio: Ratio = "auto"
    """What the user set."""
    target: float = DEFAULT_TARGET
    """Mean luma that an automatic ratio aims at."""
    since: float = 0.0
    """Unix time at which this state began."""
    error: str = ""
    """The last one, redacted; it stays after recovery."""
    error_time: float = 0.0
    """Unix time of it."""
    sinks: tuple[SinkStatus, ...] = ()
    required_outputs: bool = True
    """Its outputs count for readiness too."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The same moment twice."""

    before: Pixels
    """As `Waiting.pixels`."""
    after: Pixels
    """As `Waiting.pixels`."""
    time: float
    """Unix time at which it was enhanced."""


class Fleet(Protocol):
    """All cameras of a process. Every method may be called from any thread and returns at once."""

    @property
    def engine(self) -> str:
        """What runs: model, device, library, effective precision."""

    def status(self) -> list[CameraStatus]:
        """Return the state of every camera, in order of name: c2 before c10."""

    def preview(self, name: str) -> Preview | None:
        """Return the last frame of a camera, None before the first. Raises KeyError."""

    def view(self, name: str, wake: Callable[[], None]) -> Viewer:
        """Watch a camera until `leave` of the viewer; `wake` is called when there is something.

        Raises KeyError, and UsageError if too many watch it.
        """

    def configs(self) -> dict[str, CameraConfig]:
        """Return the present settings of every camera, secrets unresolved."""

    def set(self, name: str, *, ratio: Ratio | None = None, target: float | None = None) -> None:
        """Change how a camera is relit, from the next frame on. Raises KeyError, UsageError."""

    def put(self, config: CameraConfig) -> None:
        """Add a camera, or change the one of that name; others go on. Raises UsageError."""

    def remove(self, name: str) -> None:
        """Stop a camera and forget it. Raises KeyError."""
