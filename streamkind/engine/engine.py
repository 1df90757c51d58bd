"""KinD for everybody: a released model on a backend, at any picture size."""

from __future__ import annotations

import time
from dataclasses import replace
from types import TracebackType
from typing import Literal, Self

import cv2
import numpy as np

from streamkind.backends.base import Engine, Layers
from streamkind.errors import UsageError
from streamkind.light.exposure import MANUAL_RANGE, STILL_TARGET, Floats, auto_ratio, smooth_step
from streamkind.model.released import pad, padded
from streamkind.video.frames import Pixels

Ratio = float | Literal["auto"]
FADE_STOPS = 0.5
"""Distance from ratio 1, in stops, from which on the nets' result is all there is."""


class KinD:
    """A backend's engine, and around it what every caller needs. Used from one thread only.

    It is an `Engine` itself, at any picture size, and a context manager.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.max_batch = engine.max_batch
        self.description = engine.description

    def enhance(
        self, image: Pixels, *, ratio: Ratio = "auto", target: float = STILL_TARGET
    ) -> Pixels:
        """Make one picture clear: (H, W, 3) uint8 RGB in and out.

        `ratio` is how far the illumination is raised, 0.1 to 10, 1 leaving it as it is; "auto"
        raises a dark picture to a mean luma of `target`. Raises UsageError and ValueError.
        """
        check_pixels(image)
        check_ratio(ratio)
        layers = self.decompose(image[None])
        if ratio == "auto":
            ratios = auto_ratio(layers.statistics, target, still=True)
        else:
            ratios = np.array([ratio], np.float32)
        clear: Pixels = self.recompose(layers, ratios)[0]
        return clear

    def decompose(self, pixels: Pixels) -> Layers:
        """(N, H, W, 3) uint8 RGB of any size -> layers and per-frame statistics."""
        return replace(self._engine.decompose(pad(pixels)), pixels=pixels)

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Hold layers of N consecutive frames where nothing moves since the frame before."""
        return self._engine.steady(layers, before, strength)

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """(N, H, W, 3) uint8 RGB at the size of the input. The result is the caller's to keep.

        Near a ratio of 1 the result fades into the frame itself: what needs no other light needs
        no nets, which would only soften it.
        """
        strength = smooth_step(np.abs(np.log2(ratios)), 0.0, FADE_STOPS)
        if not strength.any():
            return layers.pixels
        height, width = layers.pixels.shape[1:3]
        clear = self._engine.recompose(layers, ratios)[:, :height, :width]
        for before, after, share in zip(layers.pixels, clear, strength, strict=True):
            if share < 1:
                after[:] = cv2.addWeighted(before, 1 - float(share), after, float(share), 0)
        return clear

    def seen_size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of what the nets see of a picture, padding included."""
        return padded(width), padded(height)

    def expected_fps(self, width: int, height: int) -> float:
        """Try how many pictures of a size go through the nets in a second."""
        pixels = np.random.default_rng(0).integers(0, 40, (1, height, width, 3), np.uint8)
        ratios = np.array([4.0], np.float32)
        self.recompose(self.decompose(pixels), ratios)  # compiles
        began = time.perf_counter()
        self.recompose(self.decompose(pixels), ratios)
        return 1 / (time.perf_counter() - began)

    def close(self) -> None:
        """Free the device. Twice is fine."""
        self._engine.close()

    def __enter__(self) -> Self:
        """Hold the device for the length of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the device."""
        self.close()


def check_ratio(ratio: Ratio) -> None:
    """Refuse a ratio that the nets were not trained for."""
    low, high = MANUAL_RANGE
    if ratio != "auto" and not (isinstance(ratio, float | int) and low <= ratio <= high):
        raise UsageError(f"ratio must be 'auto' or a number from {low:g} to {high:g}, got {ratio}")


def check_pixels(image: Pixels) -> None:
    """Refuse anything but (H, W, 3) uint8."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"image must be RGB uint8 of shape (H, W, 3), got {image.dtype} {image.shape}"
        )
