"""Reduces pictures for the network, by means over pixels, and splits them into planes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamkind.engine.lines import Plane, split
from streamkind.light.exposure import Floats, smooth_step
from streamkind.video.color import UNSURE, rgb_of_yuv, yuv_of_rgb
from streamkind.video.format import ColorTags
from streamkind.video.frames import Levels, Pixels, levels, stored

NEARLY = 0.05
"""Largest difference between twice a divisor and a whole number at which the divisor counts as half
of that number. The difference comes from a side that is odd. Chosen by hand."""
Planes = tuple[Plane, Plane, Plane]
"""Y, U and V of one picture, (H, W) and twice (H/2, W/2) or (H, W)."""


def planes_of(picture: Pixels) -> Planes:
    """Split one picture, RGB (H, W, 3) or yuv420p (3 H / 2, W)."""
    if picture.ndim == 3:
        yuv = transform(picture, yuv_of_rgb(ColorTags()))
        return yuv[..., 0], yuv[..., 1], yuv[..., 2]
    rows, width = picture.shape
    height = rows * 2 // 3
    u, v = picture[height:].reshape(2, height // 2, width // 2)
    return picture[:height], u, v


def points(picture: Pixels, small: Levels) -> Plane:
    """Return luma of single pixels, not means, at the size of the reduced picture `small`."""
    size = small.shape[1::-1]
    rows = planes_of(picture)[0] if picture.ndim == 2 else picture
    plane = np.asarray(cv2.resize(rows, size, interpolation=cv2.INTER_NEAREST))
    return planes_of(plane)[0] if picture.ndim == 3 else plane


def means_of(picture: Pixels, size: tuple[int, int], tags: ColorTags) -> tuple[Floats, Floats]:
    """Return unrounded means over a picture: RGB, (h, w, 3), and luma, (h, w)."""
    if picture.ndim == 3:
        rgb = shrunk(picture, size)
        return rgb, np.asarray(cv2.transform(rgb, yuv_of_rgb(tags)[:1]), np.float32)
    yuv = [shrunk(plane, size) for plane in planes_of(picture)]
    return clipped(cv2.transform(cv2.merge(yuv), rgb_of_yuv(tags))), yuv[0]


def reduce(picture: Pixels, size: tuple[int, int], tags: ColorTags) -> tuple[Floats, Floats]:
    """Return means over a picture, without colour near black: RGB, (h, w, 3), luma, (h, w)."""
    rgb, luma = means_of(picture, size, tags)
    planes = split(np.asarray(cv2.transform(rgb, yuv_of_rgb(tags))))
    yuv = without_cast([np.asarray(plane, np.float32) for plane in planes], tags)
    paler = cv2.compare(luma, yuv_of_rgb(tags)[0, 3] + UNSURE[1], cv2.CMP_LT)
    # Only pixels near black are converted to YUV and back.
    cv2.copyTo(clipped(cv2.transform(cv2.merge(yuv), rgb_of_yuv(tags))), paler, rgb)
    return rgb, luma


def without_cast(yuv: list[Floats], tags: ColorTags) -> list[Floats]:
    """Remove the colour of pixels near black from reduced planes, (h, w) each.

    There, a rounding error of one level of chroma is a third of the luma, and would be seen as
    purple after enhancement.
    """
    luma, *colors = yuv
    black = np.float32(yuv_of_rgb(tags)[0, 3])
    share = smooth_step(luma - black, *UNSURE)
    return [luma, *(np.float32(128) + share * (plane - np.float32(128)) for plane in colors)]


def clipped(picture: NDArray[Any]) -> Floats:
    """Keep levels within 0 to 255."""
    return np.asarray(np.clip(picture, 0, 255, out=picture), np.float32)


def rounded(picture: Levels) -> Pixels:
    """Round levels, none of them negative, to uint8."""
    flat = cv2.convertScaleAbs(picture.reshape(len(picture), -1))
    return np.asarray(flat, np.uint8).reshape(picture.shape)


def rgb_at(size: tuple[int, int], picture: Pixels, tags: ColorTags) -> Pixels:
    """Scale a picture, RGB or yuv420p of `tags`, to width and height: RGB, (h, w, 3)."""
    if picture.ndim == 3:
        small = cv2.resize(levels(picture), size, interpolation=cv2.INTER_AREA)
        return rounded(np.asarray(small))
    yuv = cv2.merge([shrunk(plane, size) for plane in planes_of(picture)])
    return rounded(clipped(cv2.transform(yuv, rgb_of_yuv(tags))))


def shrunk(plane: Levels, size: tuple[int, int]) -> Floats:
    """Reduce a plane or RGB to width and height by means of pixels, in levels."""
    plane = levels(plane)
    divisor = plane.shape[1] / size[0]
    factor = round(divisor)
    exact = plane.shape[:2] == (factor * size[1], factor * size[0])
    if factor % 2 and not exact and plane.ndim == 2:
        # OpenCV is slow if a mean includes parts of pixels: 1280 pixels become 427 of 2.998.
        means = cv2.boxFilter(plane, cv2.CV_32F, (factor, factor))
        return np.asarray(cv2.resize(means, size, interpolation=cv2.INTER_LINEAR), np.float32)
    small = np.asarray(plane, np.float32)
    if exact and factor % 4 == 0:  # OpenCV is fast for means of 2x2
        half = plane.shape[1] // 2, plane.shape[0] // 2
        small = np.asarray(cv2.resize(small, half, interpolation=cv2.INTER_AREA), np.float32)
    # For 2x2 both kinds give means. Planes of chroma are enlarged if luma is hardly reduced, and
    # have half divisors if that of luma is odd.
    halves = factor == 2 and abs(2 * divisor - round(2 * divisor)) < NEARLY
    linear = divisor < 1 or halves
    kind = cv2.INTER_LINEAR if linear else cv2.INTER_AREA
    return np.asarray(cv2.resize(small, size, interpolation=kind), np.float32)


def transform(picture: Pixels, matrix: NDArray[np.float64]) -> Pixels:
    """Apply a (3, 4) matrix of 8-bit levels to each pixel, (H, W, 3)."""
    if picture.dtype == np.uint8:
        return np.asarray(cv2.transform(picture, matrix), np.uint8)
    return stored(np.asarray(cv2.transform(levels(picture), matrix)), picture.dtype)
