"""The status of a running fleet of cameras, and the protocol of the fleet.

The console, the metrics and the command line use the fleet only through this module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from streamkind.engine.whole import Finish
from streamkind.light.exposure import DEFAULT_TARGET, Ratio
from streamkind.video.frames import Pixels

if TYPE_CHECKING:
    from streamkind.live.config import CameraConfig
    from streamkind.live.viewers import Viewer

SourceState = Literal["connecting", "live", "lost", "refused", "stopped"]
"""connecting: no picture yet; live: pictures are decoded and encoded; lost: no pictures at present;
refused: the camera refuses the password or the stream; stopped: finished or removed."""

SinkState = Literal["connecting", "live", "lost", "stopped"]


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """The status of an output. Numbers count from the start."""

    url: str
    """URL without its password."""
    state: SinkState
    frames: int = 0
    """Number of frames written."""
    dropped: int = 0
    """Number of frames not written, because the output was lost or slow."""
    reconnects: int = 0
    error: str = ""
    """The last error, without secrets. It stays after recovery."""


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """The status of a camera at one moment. Numbers count from the start, through reconnects."""

    name: str
    state: SourceState
    required: bool
    """Whether `/readyz` waits for the camera."""
    url: str
    """URL without its password."""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    """Enhanced frames per second over the last few seconds."""
    frames_in: int = 0
    """Number of frames decoded."""
    frames_out: int = 0
    """Number of frames enhanced and passed to the outputs."""
    dropped: int = 0
    """Number of frames that were decoded but not encoded: too old, replaced by newer ones, or not
    enhanced because the engine failed."""
    damaged: int = 0
    """Number of packets and frames that could not be decoded."""
    queue: int = 0
    """Number of frames that wait for the engine or the encoder."""
    delay_seconds: float = 0.0
    """Age of the last frame: seconds from decoding it to passing it to the outputs."""
    ages: tuple[float, ...] = ()
    """Ages of the frames since the last call of `Fleet.status`, at most 500, for a histogram."""
    age_count: int = 0
    """Number of frames whose ages are in `age_sum`."""
    age_sum: float = 0.0
    """Sum of the ages of all frames, in seconds."""
    stages: dict[str, float] = field(default_factory=dict)
    """Working time in seconds of each stage: decode, decompose, recompose, encode."""
    reconnects: int = 0
    ratio: float = 1.0
    """Ratio of the last frame."""
    wanted_ratio: Ratio = "auto"
    """The `ratio` of the camera's settings."""
    target: float = DEFAULT_TARGET
    """Mean luma that an automatic ratio aims at."""
    since: float = 0.0
    """Unix time at which this state began."""
    error: str = ""
    """The last error, without secrets. It stays after recovery."""
    error_time: float = 0.0
    """Unix time of the last error; 0 if there was none."""
    sinks: tuple[SinkStatus, ...] = ()
    required_outputs: bool = True
    """Whether `/readyz` also waits for the outputs."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A frame before and after it was enhanced."""

    before: Pixels
    """Pixels of the camera's frame, as in `WaitingFrame.pixels`."""
    finish: Finish
    """Returns the pixels of the enhanced frame."""
    time: float
    """Unix time at which the frame was enhanced."""

    @property
    def after(self) -> Pixels:
        """Pixels of the enhanced frame, as in `WaitingFrame.pixels`."""
        return self.finish()


class Fleet(Protocol):
    """All cameras of a process. Every method may be called from any thread and returns at once."""

    @property
    def engine(self) -> str:
        """Description of the present engine: model, device, library, effective precision."""

    def status(self) -> list[CameraStatus]:
        """Return the state of every camera, in order of name: c2 before c10."""

    def preview(self, name: str) -> Preview | None:
        """Return the last frame of a camera, None before the first. Raises KeyError."""

    def view(self, name: str, wake: Callable[[], None]) -> Viewer:
        """Return a viewer of a camera. `wake` is called when the viewer has data; `leave` ends it.

        Raises KeyError, and UsageError if the camera has too many viewers.
        """

    def configs(self) -> dict[str, CameraConfig]:
        """Return the present settings of every camera, secrets unresolved."""

    def set(self, name: str, *, ratio: Ratio | None = None, target: float | None = None) -> None:
        """Change how a camera is relit, from the next frame on. Raises KeyError, UsageError."""

    def put(self, config: CameraConfig) -> None:
        """Add a camera, or change the one with this name. Other cameras are not interrupted.

        Raises UsageError.
        """

    def remove(self, name: str) -> None:
        """Stop a camera and remove it. Raises KeyError."""
