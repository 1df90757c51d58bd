"""Compares a new TensorRT plan with the released graph that it was built from."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from streamkind.errors import EngineError
from streamkind.model.released import Release
from streamkind.video.frames import Pixels

RATIOS = (2.0, 4.0, 8.0)
"""Ratio for each of the fixed frames. Chosen by hand."""
MEAN, MOST = 1.0, 4.0
"""Bounds of the difference, in gray levels: of its mean, and of its 99.9th percentile. Chosen by
hand."""
Relight = Callable[[Pixels, float], Pixels]
"""Takes (H, W, 3) uint8 RGB and a ratio, and returns the enhanced frame."""


class ParityError(EngineError):
    """A plan differs from the released graph by more than the bounds."""


@dataclass(frozen=True)
class Parity:
    """The difference between two pictures, in gray levels."""

    mean: float
    most: float
    """99.9th percentile."""

    @property
    def holds(self) -> bool:
        """Whether both figures are within the bounds."""
        return self.mean <= MEAN and self.most <= MOST

    def __str__(self) -> str:
        """Return a text with both figures and their bounds."""
        return (
            f"{self.mean:.2f} levels in the mean (limit {MEAN:g}), {self.most:g} at the 99.9th"
            f" percentile (limit {MOST:g})"
        )


def distance(found: Pixels, expected: Pixels) -> Parity:
    """Return the difference between pictures of one shape, uint8."""
    far = np.abs(found.astype(np.int16) - expected)
    return Parity(float(far.mean()), float(np.percentile(far, 99.9)))


def check(release: Release, size: tuple[int, int], relight: Relight) -> Parity:
    """Compare a plan with the float32 graphs on the CPU, on three fixed frames.

    Raises ParityError when the distance is beyond the bounds.
    """
    frames = fixed_frames(*size)
    found = [relight(frame, ratio) for frame, ratio in zip(frames, RATIOS, strict=True)]
    parity = distance(np.stack(found), np.stack(expected(release, frames)))
    if not parity.holds:
        raise ParityError(
            f"the TensorRT plan of {release.name} at {size[0]}x{size[1]} is refused: it differs "
            f"from the released graph by {parity}; use --backend openvino, or try another "
            "version of TensorRT"
        )
    return parity


def expected(release: Release, frames: list[Pixels]) -> list[Pixels]:
    """Relight frames by the released graphs, in float32 on the CPU."""
    from streamkind.backends.openvino import OpenVINOBackend

    with closing(OpenVINOBackend(release, device="cpu", precision="f32")) as engine:
        return [
            engine.recompose(engine.decompose(frame[None]), np.array([ratio], np.float32))[0]
            for frame, ratio in zip(frames, RATIOS, strict=True)
        ]


def fixed_frames(width: int, height: int) -> list[Pixels]:
    """Return three synthetic night scenes: smooth light, edges, a lamp, and sensor noise."""
    y, x = (axis / max(width, height) for axis in np.mgrid[:height, :width].astype(np.float32))
    frames = []
    for seed, brightness in enumerate((0.25, 0.1, 0.04)):
        rng = np.random.default_rng(seed)
        waves = [np.sin(9 * (a * x + b * y) + c) for a, b, c in rng.uniform(-2, 2, (3, 3))]
        image = brightness * (0.6 + 0.4 * np.stack(waves, axis=2))
        image *= np.where(np.sin(40 * x) * np.sin(40 * y) > 0, 1, 0.5)[..., None]
        image += 0.8 * np.exp(-300 * ((x - 0.3) ** 2 + (y - 0.2) ** 2))[..., None]
        image += rng.normal(0, 0.01, image.shape)
        frames.append((np.clip(image, 0, 1) * 255).astype(np.uint8))
    return frames
