"""Fits how the network changed the luma and chroma of a frame, to predict its result for another.

A line from luma seen to luma made is fitted in the window around each pixel. It is used for a luma
near those of its window. For another luma, for example of ground that a moving object has
uncovered, the mean result for this luma at this place is used. It is looked up in a bilateral grid
(Chen, Paris and Durand, SIGGRAPH 2007), whose cells are places and ranges of luma. If no pixel of
the place had this luma, the mean result in the whole frame is used.

Constants without a stated source were chosen by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streamkind.engine.chroma import DARKEST
from streamkind.engine.lines import NOISE, Plane, line, mean, split
from streamkind.light.exposure import Floats
from streamkind.video.frames import Pixels

WINDOW = 9, 9
"""Size of the window around a pixel in which one line is fitted to luma."""
BEYOND = 6.0
"""Distance, in 8-bit levels, of a luma from the luma of a window, from which on the line of this
window is not used."""
NEAR = np.maximum(1 - np.arange(256, dtype=np.float32) / BEYOND, 0).astype(np.float32)
"""Weight of the line at each such distance, 0 to 255."""
CELL, RANGE = 16, 4
"""Sides of a cell of the grid: pixels of the reduced frame, and 8-bit levels. The largest errors of
skipped frames hardly change with half of `CELL` or twice `RANGE`."""
BINS = 256 // RANGE
"""Number of the ranges of luma."""
FEW = np.float32(0.1)
"""Weight, in pixels, of the whole frame's mean result in the mean of each cell."""


class Line(NamedTuple):
    """Luma made = slope * luma seen + offset, around each pixel: (h, w) each."""

    slope: Floats
    offset: Floats
    least: Plane
    most: Plane
    """Least and largest luma seen, for which the line holds."""


class Tones(NamedTuple):
    """Means of the whole frame for each luma seen, 0 to 255: (256,) each."""

    luma: Floats
    """Mean luma made."""
    gain: Floats
    """Gain of chroma."""
    own: Floats | None
    """Mean share of the frame's own detail; None for stills."""


class Fit:
    """How the network changed a reduced frame."""

    def __init__(
        self, seen: Pixels, made: Sequence[Floats], black: float, own: Floats | None = None
    ) -> None:
        """Fit YUV `seen`, (h, w, 3), to Y, U and V `made`, (h, w) each.

        `black` is the code value of black luma. `own` is the share of the frame's own detail in
        `made`, (h, w).
        """
        self._line = line_around(np.ascontiguousarray(seen[..., 0]), made[0])
        half = slice(None, None, 2)
        luma, *chroma = split(seen[half, half])
        lit, *made_chroma = (np.ascontiguousarray(plane[half, half]) for plane in made)
        colors = agreement(chroma, made_chroma)
        self._tones = tones(luma, lit, colors, black, None if own is None else own[half, half])
        self._grid = grid_of(luma, lit, colors, self._tones)

    def predict(self, luma: Plane) -> tuple[Floats, Floats]:
        """Return luma made and gain of chroma, (h, w) each, for luma of another frame."""
        more, gain = looked_up(self._grid, luma)
        lit = more + cv2.LUT(luma, self._tones.luma)
        slope, offset, least, most = self._line
        near = cv2.LUT(cv2.absdiff(luma, cv2.min(cv2.max(luma, least), most)), NEAR)
        return lit + near * (slope * luma + offset - lit), gain

    def own(self, luma: Plane) -> Floats | None:
        """Return the share of the frame's own detail for luma of another frame, (h, w)."""
        table = self._tones.own
        return None if table is None else np.asarray(cv2.LUT(luma, table), np.float32)


def line_around(seen: Plane, made: Floats) -> Line:
    """Fit a line from luma seen to luma made, (h, w) each, around each pixel."""
    means = mean(seen, WINDOW), mean(made, WINDOW)
    least, most = (np.asarray(e(seen, np.ones(WINDOW))) for e in (cv2.erode, cv2.dilate))
    return Line(*line(seen, made, means, WINDOW), least, most)


def tones(
    luma: Plane,
    lit: Floats,
    colors: tuple[Floats, Floats],
    black: float,
    own: Floats | None = None,
) -> Tones:
    """Return means of the whole frame. `colors` is the `agreement` of chroma seen and made."""
    luma = luma.ravel()
    count = np.bincount(luma, minlength=256)
    levels = np.flatnonzero(count)
    count = count[levels]

    def sums(values: NDArray[Any]) -> NDArray[Any]:
        return np.bincount(luma, values.ravel(), 256)[levels]

    def at_every_luma(values: NDArray[Any]) -> Floats:
        return np.asarray(np.interp(np.arange(256), levels, values), np.float32)

    tone, noise = sums(lit) / count, NOISE**2 * count
    both, alone = map(sums, colors)
    gain = (np.maximum(both, 0) + noise * gain_of(levels, tone, black)) / (alone + noise)
    share = None if own is None else at_every_luma(sums(own) / count)
    return Tones(at_every_luma(tone), at_every_luma(gain), share)


def grid_of(luma: Plane, lit: Floats, colors: tuple[Floats, Floats], whole: Tones) -> Floats:
    """Return the grid, (BINS * cells down, cells across, 2), from every second pixel and row.

    It has the luma made, as difference from that of `whole`, and the gain of chroma. The rows of
    one range of luma lie together. `colors` is the `agreement` of chroma seen and made.
    """
    rows, columns = ((np.arange(side) * 2 + CELL // 2) // CELL for side in luma.shape)
    down, across = int(rows[-1]) + 2, int(columns[-1]) + 2
    cells = ((rows[:, None] * across + columns) * BINS + luma // RANGE).ravel()
    values = lit - whole.luma[luma], *colors
    count, more, both, alone = (
        smoothed(np.bincount(cells, value, down * across * BINS).reshape(down, across, BINS))
        for value in (None, *(v.ravel() for v in values))
    )
    noise = NOISE**2 * (count + FEW)
    gain = (np.maximum(both, 0) + noise * whole.gain[RANGE // 2 :: RANGE]) / (alone + noise)
    grid = np.stack([more / (count + FEW), gain], axis=-1).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(grid.reshape(BINS * down, across, 2), np.float32)


def smoothed(sums: NDArray[Any]) -> Floats:
    """Smooth sums of cells, (cells down, cells across, BINS), over neighbours on all three axes."""
    edge = cv2.BORDER_CONSTANT
    places = np.asarray(cv2.GaussianBlur(sums.astype(np.float32), (0, 0), 1, borderType=edge))
    ranges = cv2.GaussianBlur(places.reshape(-1, BINS), (3, 1), 0.7, borderType=edge)
    return np.asarray(ranges, np.float32).reshape(sums.shape)


def looked_up(grid: Floats, luma: Plane) -> tuple[Floats, Floats]:
    """Return luma made, as difference, and gain of chroma from the grid, for luma, (h, w) each.

    Both are interpolated between places.
    """
    height, width = luma.shape
    down = len(grid) // BINS
    rows = np.minimum(np.arange(height, dtype=np.float32) / CELL, down - 1)
    columns = np.arange(width, dtype=np.float32) / CELL
    down_to = np.asarray((luma // RANGE) * np.float32(down) + rows[:, None], np.float32)
    across = np.ascontiguousarray(np.broadcast_to(columns, luma.shape))
    found = cv2.remap(grid, across, down_to, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    more, gain = split(np.asarray(found, np.float32))
    return more, gain


def agreement(seen: Sequence[NDArray[Any]], made: Sequence[NDArray[Any]]) -> tuple[Floats, Floats]:
    """Return the dot product of chroma seen and made, and the square of chroma seen."""
    before, after = ([p.astype(np.float32) - 128 for p in planes] for planes in (seen, made))
    both = before[0] * after[0] + before[1] * after[1]
    return both, before[0] * before[0] + before[1] * before[1]


def gain_of(luma: NDArray[Any], made: NDArray[Any], black: float) -> Floats:
    """Return the gain of luma, from means of code values before and after."""
    gain = np.maximum(made - black, 0) / (np.maximum(luma - black, 0) + DARKEST)
    return np.asarray(gain, np.float32)
