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
"""Radius of the guided filter's window, in pixels of the reduced picture. Chosen by hand."""
NOISE = 1.5
"""Standard deviation of luma, in 8-bit levels of the reduced picture, at which the slope is halved.
Half of such contrast counts as noise. Chosen by hand."""
NOISE_POWER = np.float32(NOISE**2)  # variance, in 8-bit levels squared
STRIP = 128
"""Number of rows that are relit at once, so that the float planes between the steps stay in the
processor's cache."""


def along_lines(luma: Plane, slope: Floats, offset: Floats, made: Plane) -> None:
    """Write slope * luma + offset to `made`, (H, W), which has the dtype of `luma`.

    `slope` and `offset` are (h, w) and are enlarged to (H, W). `offset` is in 8-bit levels.
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
    """Return slope and offset, (h, w) each, by which `made` is slope * `seen` + offset.

    `seen` and `made` are luma before and after, (h, w), in 8-bit levels.
    """
    window = 2 * RADIUS + 1, 2 * RADIUS + 1
    means = mean(seen, window), mean(made, window)
    slope = cv2.blur(slopes(seen, made, means, window), window)
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
    slope = slopes(seen, made, means, window)
    return slope, np.asarray(mean_made - slope * mean_seen, np.float32)


def slopes(
    seen: NDArray[Any],
    made: NDArray[Any],
    means: tuple[Floats, Floats],
    window: tuple[int, int],
) -> Floats:
    """Return the slope of `line`, (h, w)."""
    mean_seen, mean_made = means
    covariance = mean(np.multiply(seen, made, dtype=np.float32), window) - mean_seen * mean_made
    variance = np.asarray(cv2.sqrBoxFilter(seen, cv2.CV_32F, window), np.float32)
    variance -= mean_seen * mean_seen
    slope = np.maximum(covariance, 0) / (np.maximum(variance, 0) + NOISE_POWER)
    return np.asarray(slope, np.float32)


def mean(plane: NDArray[Any], window: tuple[int, int]) -> Floats:
    """Return the mean of the window around each pixel."""
    return np.asarray(cv2.boxFilter(plane, cv2.CV_32F, window), np.float32)


def split(picture: Levels) -> list[Levels]:
    """Return the planes of a picture, (h, w) each. For float32 NumPy is twice as fast as OpenCV."""
    if picture.dtype == np.float32:
        return [np.ascontiguousarray(picture[..., i]) for i in range(picture.shape[2])]
    return [np.asarray(plane) for plane in cv2.split(picture)]


def strips(height: int, small: int, margin: int = 1) -> Iterator[tuple[slice, slice, slice]]:
    """Divide a picture of `height` rows into strips, to which `small` reduced rows are enlarged.

    Yields three slices for each strip: its rows in the picture, the reduced rows to enlarge, and
    the rows of the strip in the enlarged result. The reduced rows include `margin` more rows on
    each side, for the interpolation. If a reduced row does not stand for a whole number of rows,
    there is a single strip.
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
    """Return where planes of two reduced frames differ by more than noise: (h, w) in [0, 1]."""
    apart = cv2.absdiff(cv2.blur(before, (3, 3)), cv2.blur(now, (3, 3)))
    moved = np.asarray(cv2.dilate(apart, np.ones((5, 5), np.uint8)), np.float32)
    moved /= NOISE + np.float32(0.04) * cv2.max(before, now)
    moved -= 1
    return np.asarray(cv2.blur(np.clip(moved, 0, 1, out=moved), (5, 5)), np.float32)
