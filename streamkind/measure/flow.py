"""Optical flow between consecutive frames, and the difference of the frames along it.

E_warp of Lai et al. (ECCV 2018) with the mask of Ruder et al. (GCPR 2016). Floats in [0, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from streamkind.light.exposure import Floats
from streamkind.video.frames import Pixels

WARP_ROWS = 480
"""Largest shorter side, in pixels, of the pictures that E_warp compares. The flow is found at half
of that size."""
GAMMA = 1 / 2.2
"""Exponent that is applied to the luma for DIS. Without it, dark luma of 0 to 10 of 255 would have
too little texture for DIS."""


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """The data of a frame that the comparison with the next frame needs."""

    y: Floats
    """BT.601 luma, (H, W) in [0, 1]."""
    small: Floats
    """RGB, (h, w, 3) in [0, 1], whose shorter side is at most `WARP_ROWS`."""

    @classmethod
    def of(cls, pixels: Pixels) -> SeenFrame:
        """Return the data of a frame, (H, W, 3) uint8."""
        height, width = pixels.shape[:2]
        scale = WARP_ROWS / min(height, width)
        small = pixels
        if scale < 1:
            size = round(width * scale), round(height * scale)
            small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        return cls(luma(pixels), small.astype(np.float32) * np.float32(1 / 255))


def luma(pixels: Pixels) -> Floats:
    """Return Y = .299 R + .587 G + .114 B in [0, 1], (H, W, 3) uint8 -> (H, W)."""
    rgb = pixels.astype(np.float32)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.float32) * np.float32(1 / 255)


@dataclass(frozen=True, eq=False)
class Flow:
    """The motion of each pixel from a frame to the next."""

    x: Floats
    """Column in the next frame, (h, w)."""
    y: Floats
    """Row in the next frame, (h, w)."""
    visible: Floats
    """M, (h, w): 1 where the flow is reliable, 0 at occlusions and at edges of motion."""

    @classmethod
    def between(cls, before: Floats, after: Floats) -> Flow:
        """Find the flow between two lumas, (H, W), by OpenCV's DIS, preset FAST."""
        height, width = before.shape
        scale = min(1.0, WARP_ROWS / min(height, width))
        full = round(width * scale), round(height * scale)
        half = max(full[0] // 2, 16), max(full[1] // 2, 16)
        dark, light = (
            (255 * np.asarray(cv2.resize(y, half, interpolation=cv2.INTER_AREA)) ** GAMMA).astype(
                np.uint8
            )
            for y in (before, after)
        )
        dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        forward, backward = (
            np.asarray(dis.calc(a, b, np.zeros((*a.shape, 2), np.float32)), np.float32)
            for a, b in ((dark, light), (light, dark))
        )
        factor = np.array([full[0] / half[0], full[1] / half[1]], np.float32)
        flow = cv2.resize(forward, full, interpolation=cv2.INTER_LINEAR) * factor
        mask = cv2.resize(reliable(forward, backward), full, interpolation=cv2.INTER_NEAREST)
        x, y = pixel_grid(full)
        return cls(x + flow[..., 0], y + flow[..., 1], np.asarray(mask, np.float32))

    def error(self, before: Floats, after: Floats) -> float:
        """Return E_warp of two pictures, (h, w, 3): sum of M ||O_t - warp(O_t+1)||^2 / sum of M."""
        warped = cv2.remap(after, self.x, self.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        apart = cv2.subtract(before, warped)
        squares = cv2.transform(cv2.multiply(apart, apart), np.ones((1, 3), np.float32))
        return float(np.vdot(squares, self.visible) / max(float(self.visible.sum()), 1e-6))


def pixel_grid(size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return column and row of each pixel of a picture of that width and height."""
    x, y = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in size))
    return x, y


def reliable(forward: Floats, backward: Floats) -> Floats:
    """Return M at the place of the first frame, both flows (h, w, 2).

    It is 0 where the flow back does not lead to the start, at edges of motion, and outside the
    picture.
    """
    height, width = forward.shape[:2]
    x, y = pixel_grid((width, height))
    x, y = x + forward[..., 0], y + forward[..., 1]
    back = cv2.remap(backward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def square(flow: Any) -> Any:
        return flow[..., 0] ** 2 + flow[..., 1] ** 2

    here = square(forward)
    covered = square(forward + back) > 0.01 * (here + square(back)) + 0.5
    slope = sum(
        square(cv2.Sobel(forward, cv2.CV_32F, dx, 1 - dx, ksize=1, scale=0.5)) for dx in (0, 1)
    )
    edge = slope > 0.01 * here + 0.002
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return np.asarray(inside & ~covered & ~edge, np.float32)
