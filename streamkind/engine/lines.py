"""Fits straight lines from one picture to another, in a window around each pixel.

These are the coefficients of the guided filter of He, Sun and Tang (TPAMI 2013).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamkind.light.exposure import Floats
from streamkind.video.frames import MOST_DEEP, QUARTERS, Levels

Plane = NDArray[Any]
"""Luma or chroma, (H, W): uint8, or uint16 as in `Pixels`."""
RADIUS = 2
"""Radius of the guided filter's window, in pixels of the reduced picture."""
NOISE = 1.5
"""Standard deviation of luma, in 8-bit levels of the reduced picture, at which the slope is
halved: half of such contrast counts as noise."""
NOISE_POWER = np.float32(NOISE**2)
STRIP = 128
"""Rows that are relit at once, so that intermediate float planes stay in the processor's cache."""


def along_lines(luma: Plane, slope: Floats, offset: Floats, made: Plane) -> None:
    """Write slope * luma + offset to `made`, (H, W), which is of the type of luma.

    `slope` and `offset`, the latter in 8-bit levels, are (h, w), and enlarged.
    """
    kind, unit = (cv2.CV_16U, QUARTERS) if made.dtype == np.uint16 else (cv2.CV_8U, 1)
    offset = offset if unit == 1 else offset * np.float32(unit)
    for rows, lines, inner in strips(len(luma), len(slope)):
        size = luma.shape[1], (lines.stop - lines.start) * len(luma) // len(slope)
        lit, raised = (cv2.resize(plane[lines], size)[inner] for plane in (slope, offset))
        cv2.multiply(luma[rows], lit, dst=lit, dtype=cv2.CV_32F)
        cv2.add(lit, raised, dst=made[rows], dtype=kind)
    if kind == cv2.CV_16U:
        np.minimum(made, MOST_DEEP, out=made)


def coefficients(seen: NDArray[Any], made: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return slope and offset, (h, w) each: `made` is slope * `seen` + offset, in 8-bit levels."""
    window = 2 * RADIUS + 1, 2 * RADIUS + 1
    means = mean(seen, window), mean(made, window)
    slope = cv2.blur(line(seen, made, means, window)[0], window)
    return np.asarray(slope, np.float32), np.asarray(made - slope * seen, np.float32)


def line(
    seen: NDArray[Any],
    made: NDArray[Any],
    means: tuple[Floats, Floats],
    window: tuple[int, int],
) -> tuple[Floats, Floats]:
    """Return slope and offset, (h, w) each, of the line fitted in a window around each pixel.

    `means` are those of `seen` and `made` in the same windows.
    """
    mean_seen, mean_made = means
    covariance = mean(np.multiply(seen, made, dtype=np.float32), window) - mean_seen * mean_made
    variance = np.asarray(cv2.sqrBoxFilter(seen, cv2.CV_32F, window), np.float32)
    variance -= mean_seen * mean_seen
    slope = np.maximum(covariance, 0) / (np.maximum(variance, 0) + NOISE_POWER)
    return np.asarray(slope, np.float32), np.asarray(mean_made - slope * mean_seen, np.float32)


def mean(plane: NDArray[Any], window: tuple[int, int]) -> Floats:
    """Return the mean of the window around each pixel."""
    return np.asarray(cv2.boxFilter(plane, cv2.CV_32F, window), np.float32)


def split(picture: Levels) -> list[Levels]:
    """Return the planes of a picture, (h, w) each. For float32 NumPy is twice as fast as OpenCV."""
    if picture.dtype == np.float32:
        return [np.ascontiguousarray(picture[..., i]) for i in range(picture.shape[2])]
    return [np.asarray(plane) for plane in cv2.split(picture)]


def strips(height: int, small: int, margin: int = 1) -> Iterator[tuple[slice, slice, slice]]:
    """Yield the rows of each strip, the reduced rows to enlarge for it, and its rows in these.

    The reduced rows of a strip include `margin` more rows on each side, for the interpolation.
    If a reduced row does not stand for a whole number of rows, there is a single strip.
    """
    times, rest = divmod(height, small)
    if rest:
        yield slice(0, height), slice(0, small), slice(0, height)
        return
    step = max(1, STRIP // times - 2)
    for begin in range(0, small, step):
        end = min(begin + step, small)
        first, last = max(begin - margin, 0), min(end + margin, small)
        inner = slice((begin - first) * times, (end - first) * times)
        yield slice(begin * times, end * times), slice(first, last), inner


def motion(before: Floats, now: Floats) -> Floats:
    """Return where two reduced frames differ by more than noise: (h, w) in [0, 1]."""
    apart = cv2.absdiff(cv2.blur(before, (3, 3)), cv2.blur(now, (3, 3)))
    moved = np.asarray(cv2.dilate(apart, np.ones((5, 5), np.uint8)), np.float32)
    moved /= NOISE + np.float32(0.04) * cv2.max(before, now)
    moved -= 1
    return np.asarray(cv2.blur(np.clip(moved, 0, 1, out=moved), (5, 5)), np.float32)
