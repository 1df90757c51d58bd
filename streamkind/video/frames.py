"""Frames and batches of frames: pixels with their times. Also the Protocol of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from streamkind.video.format import VideoFormat
from streamkind.video.image_data import Still

Pixels = NDArray[Any]
"""RGB, uint8, shape (H, W, 3), or (N, H, W, 3) for a batch.

Sources and sinks may use yuv420p instead: one array, (3 H / 2, W), with the planes Y, U and V one
below the other. If the input has more than 8 bits, pixels may be uint16: 8-bit levels times
`QUARTERS`.
"""
Levels = NDArray[Any]
"""RGB in 8-bit levels, (N, H, W, 3), 0 to 255: uint8, or a float type with more than 8 bits."""
QUARTERS = 4
"""Number of values of uint16 pixels in one 8-bit level: these pixels have 10 bits."""
MOST_DEEP = 1023
"""Largest value of uint16 pixels."""
PixFmt = Literal["rgb24", "yuv420p", "gbrp16le", "yuv420p10le"]
"""Pixel formats in which sources deliver frames, by FFmpeg's names. The last two are uint16."""
DEEP: dict[PixFmt, PixFmt] = {"rgb24": "gbrp16le", "yuv420p": "yuv420p10le"}
"""For each pixel format of 8 bits, the same format with more bits."""
ChoosePixFmt = Callable[[VideoFormat], PixFmt]
"""Returns the pixel format that a source delivers, for the format of the source."""


def size_of(pixels: Levels) -> tuple[int, int]:
    """Return width and height of a picture or a batch, RGB or yuv420p."""
    if pixels.ndim >= 3 and pixels.shape[-1] == 3:
        return pixels.shape[-2], pixels.shape[-3]
    return pixels.shape[-1], pixels.shape[-2] * 2 // 3


def yuv420p_planes(picture: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Return Y, (H, W), U and V, (H/2, W/2), of a yuv420p picture, (3 H / 2, W), as views."""
    height = picture.shape[0] * 2 // 3
    u, v = picture[height:].reshape(2, height // 2, -1)
    return picture[:height], u, v


def levels(pixels: Pixels) -> Levels:
    """Return pixels in 8-bit levels, in a type that OpenCV accepts: uint8 or float32."""
    if pixels.dtype == np.uint16:
        return np.asarray(pixels * np.float32(1 / QUARTERS))
    return np.asarray(pixels, np.float32) if pixels.dtype == np.float16 else pixels


def stored(picture: Levels, kind: Any = np.uint8) -> Pixels:
    """Round 8-bit levels to pixels of type uint8 or uint16, and clip them to the range."""
    deep = kind == np.uint16
    values = picture * np.float32(QUARTERS if deep else 1) + np.float32(0.5)
    return np.asarray(np.clip(values, 0, MOST_DEEP if deep else 255), kind)


def beside(before: Pixels, after: Pixels) -> Pixels:
    """Put the original to the left of the result: W becomes 2 W.

    Both are RGB, (H, W, 3) or (N, H, W, 3), or yuv420p, (3 H / 2, W).
    """
    if before.ndim > 2:
        return np.concatenate([before, after], axis=-2)
    planes = zip(yuv420p_planes(before), yuv420p_planes(after), strict=True)
    both = [np.concatenate(pair, axis=1).ravel() for pair in planes]
    return np.concatenate(both).reshape(before.shape[0], -1)


def rgb24(form: VideoFormat) -> PixFmt:
    """Choose RGB in 8 bits for every format."""
    return "rgb24"


def rgb(form: VideoFormat) -> PixFmt:
    """Choose RGB, in more than 8 bits if the input has more."""
    return as_deep("rgb24", form)


def as_deep(pix_fmt: PixFmt, form: VideoFormat) -> PixFmt:
    """Return `pix_fmt`, or the same format with more than 8 bits if the input has more."""
    return DEEP[pix_fmt] if form.deep else pix_fmt


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture with its presentation time.

    Raises ValueError for pixels of another shape or type, and for times that are not exact.
    """

    data: Pixels
    """RGB, shape (H, W, 3), or yuv420p, (3 H / 2, W): uint8, or uint16 as in `Pixels`."""
    pts: int
    """Presentation time, in units of `time_base`."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    duration: int = 0
    """How long the frame is shown, in units of `time_base`; 0 if it is not known."""
    still: Still | None = None
    """Metadata, alpha and 16-bit pixels of a still, for writing the result; None in videos."""

    def __post_init__(self) -> None:
        """Raise ValueError for pixels of another shape or type, and for inexact times."""
        if not isinstance(self.time_base, Fraction) or self.time_base <= 0:
            raise ValueError(
                f"time_base must be a Fraction of a second above 0, got {self.time_base!r}; "
                "for 25 frames per second give Fraction(1, 25)"
            )
        if not isinstance(self.pts, Integral) or not isinstance(self.duration, Integral):
            raise ValueError(
                "pts and duration must be whole numbers of time_base, got"
                f" {self.pts!r} and {self.duration!r}"
            )
        if not isinstance(self.data, np.ndarray):
            raise ValueError(f"data must be a NumPy array, got {type(self.data).__name__}")
        shape = self.data.shape
        planes = self.data.ndim == 2 and shape[0] % 3 == shape[1] % 2 == 0
        rgb = self.data.ndim == 3 and shape[2] == 3
        if (
            self.data.dtype not in (np.uint8, np.uint16)
            or not (rgb or planes)
            or not self.data.size
        ):
            raise ValueError(
                "data must be uint8 or uint16 of shape (H, W, 3), or (3 H / 2, W) with even sides, "
                f"got {self.data.dtype} {shape}"
            )

    @property
    def time(self) -> Fraction:
        """Presentation time in seconds."""
        return self.pts * self.time_base

    @property
    def pixels(self) -> Pixels:
        """The same as `data`."""
        return self.data

    def with_pixels(self, pixels: Pixels) -> Self:
        """Return a frame of the same time with other pixels of the same size. Raises ValueError."""
        return replace(self, data=pixels)


@dataclass(frozen=True, slots=True, eq=False)
class ClearFrame(Frame):
    """An enhanced frame, with the time of the input frame."""

    ratio: float = 1.0
    """Ratio by which the frame was relit, 0.1 to 32; 1: not changed."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Consecutive frames of one size, their pixels stacked for the engine."""

    pixels: Pixels
    """Pixels of the frames, (N, H, W, 3) or (N, 3 H / 2, W)."""
    frames: tuple[Frame, ...]
    """The N frames from the source."""

    @property
    def times(self) -> list[float]:
        """Presentation time of each frame in seconds."""
        return [float(frame.time) for frame in self.frames]

    def replace(self, pixels: Pixels) -> Batch:
        """Return a batch of the same times with other pixels of the same shape."""
        frames = (replace(f, data=p) for f, p in zip(self.frames, pixels, strict=True))
        return Batch(pixels, tuple(frames))


class Source(Protocol):
    """A context manager that delivers upright frames, once."""

    @property
    def path(self) -> Path:
        """The file or folder."""

    @property
    def format(self) -> VideoFormat:
        """The format of the delivered frames."""

    @property
    def still(self) -> bool:
        """Whether the frames are separate images, each of which gets its own ratio."""

    @property
    def lost(self) -> int:
        """Number of frames that could not be decoded so far."""

    @property
    def warnings(self) -> list[str]:
        """Messages for the user. The list grows while frames are read."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order of time. This can be done once."""

    def __enter__(self) -> Self:
        """Return the source, already open."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""

    def close(self) -> None:
        """Close the source. It may be called twice."""


def batched(frames: Iterable[Frame], size: int) -> Iterator[Batch]:
    """Group frames into batches of at most `size`, in order. A batch has frames of one size."""
    waiting: list[Frame] = []
    for frame in frames:
        if waiting and waiting[0].data.shape != frame.data.shape:
            yield _stack(waiting)
            waiting = []
        waiting.append(frame)
        if len(waiting) == size:
            yield _stack(waiting)
            waiting = []
    if waiting:
        yield _stack(waiting)


def _stack(frames: list[Frame]) -> Batch:
    # A single frame needs no copy: a view with a batch axis is enough.
    pixels = frames[0].data[None] if len(frames) == 1 else np.stack([f.data for f in frames])
    return Batch(pixels, tuple(frames))
