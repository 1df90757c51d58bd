"""Fits how the network changed the luma and chroma of a frame, to predict its result for another.

A luma is looked up where it was seen: around the pixel, else in a wider window, else in the whole
frame. Constants were chosen by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streamkind.engine.chroma import DARKEST
from streamkind.engine.lines import NOISE, NOISE_POWER, Plane, line, mean, split
from streamkind.light.exposure import Floats
from streamkind.video.frames import Pixels

WINDOW = 9, 9
"""Size of the window around a pixel in which one line is fitted to luma."""
WIDE = 4
"""How many times as wide the wider window is. It must reach as far as things move until the
network runs again; else the ground that they uncover looks like a shadow of them."""
BEYOND = 6.0
"""Distance, in 8-bit levels, of a luma from the luma of a window, from which on the line of this
window is not used."""
NEAR = np.maximum(1 - np.arange(256, dtype=np.float32) / BEYOND, 0).astype(np.float32)
"""Weight of the line at each such distance, 0 to 255."""


class Lines(NamedTuple):
    """Luma made = slope * luma seen + offset, chroma made = gain * chroma: around each pixel."""

    slope: Floats
    offset: Floats
    gain: Floats
    least: Plane
    most: Plane
    """Least and largest luma seen, for which the line holds, (h, w) as the others."""

    def enlarged(self, width: int, height: int) -> Lines:
        """Enlarge all planes."""
        planes: Any = (cv2.resize(plane, (width, height)) for plane in self)
        return Lines(*planes)


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

    def __init__(self, seen: Pixels, made: Floats, black: float, own: Floats | None = None) -> None:
        """Fit YUV `seen` to YUV `made`, (h, w, 3) each; `black` is the code value of black luma.

        `own` is the share of the frame's own detail in `made`, (h, w).
        """
        height, width = seen.shape[:2]
        size = max(1, width // WIDE), max(1, height // WIDE)
        small: Any = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (seen, made)]
        self._near = lines(seen, made, black)
        self._wide = lines(small[0], small[1], black)
        self._tones = tones(seen, made, black, own)

    def predict(self, luma: Plane) -> tuple[Floats, Floats]:
        """Return luma made and gain of chroma, (h, w) each, for luma of another frame."""
        lit, gain = (cv2.LUT(luma, table) for table in self._tones[:2])
        for fit in self._wide.enlarged(luma.shape[1], luma.shape[0]), self._near:
            known = cv2.min(cv2.max(luma, fit.least), fit.most)
            near = cv2.LUT(cv2.absdiff(luma, known), NEAR)
            lit = lit + near * (fit.slope * luma + fit.offset - lit)
            gain = gain + near * (fit.gain - gain)
        return np.asarray(lit, np.float32), np.asarray(gain, np.float32)

    def own(self, luma: Plane) -> Floats | None:
        """Return the share of the frame's own detail for luma of another frame, (h, w)."""
        table = self._tones.own
        return None if table is None else np.asarray(cv2.LUT(luma, table), np.float32)


def lines(seen: Pixels, made: Floats, black: float) -> Lines:
    """Fit lines around each pixel. Where chroma is only noise, its gain is that of luma."""
    (x, *chroma), (y, *made_chroma) = split(seen), split(made)
    both, alone = (mean(x, WINDOW) for x in agreement(chroma, made_chroma))
    means = mean(x, WINDOW), mean(y, WINDOW)
    lit = gain_of(*means, black)
    gain = (np.maximum(both, 0) + NOISE_POWER * lit) / (alone + NOISE_POWER)
    least, most = (extreme(x, np.ones(WINDOW)) for extreme in (cv2.erode, cv2.dilate))
    ends = np.asarray(least, np.uint8), np.asarray(most, np.uint8)
    return Lines(*line(x, y, means, WINDOW), gain, *ends)


def agreement(seen: Sequence[NDArray[Any]], made: Sequence[NDArray[Any]]) -> tuple[Floats, Floats]:
    """Return the dot product of chroma seen and made, and the square of chroma seen."""
    before, after = ([p.astype(np.float32) - 128 for p in planes] for planes in (seen, made))
    both = before[0] * after[0] + before[1] * after[1]
    return both, before[0] * before[0] + before[1] * before[1]


def gain_of(luma: NDArray[Any], made: NDArray[Any], black: float) -> Floats:
    """Return the gain of luma, from means of code values before and after."""
    gain = np.maximum(made - black, 0) / (np.maximum(luma - black, 0) + DARKEST)
    return np.asarray(gain, np.float32)


def tones(seen: Pixels, made: Floats, black: float, own: Floats | None = None) -> Tones:
    """Return means of the whole frame, from every second pixel of every second row."""
    (luma, *chroma), (lit, *made_chroma) = (
        [plane.ravel() for plane in split(p[::2, ::2])] for p in (seen, made)
    )
    count = np.bincount(luma, minlength=256)
    levels = np.flatnonzero(count)
    count = count[levels]

    def sums(values: NDArray[Any]) -> NDArray[Any]:
        return np.bincount(luma, values, 256)[levels]

    def at_every_luma(values: NDArray[Any]) -> Floats:
        return np.asarray(np.interp(np.arange(256), levels, values), np.float32)

    tone, noise = sums(lit) / count, NOISE**2 * count
    both, alone = (sums(x) for x in agreement(chroma, made_chroma))
    gain = (np.maximum(both, 0) + noise * gain_of(levels, tone, black)) / (alone + noise)
    share = None if own is None else at_every_luma(sums(own[::2, ::2].ravel()) / count)
    return Tones(at_every_luma(tone), at_every_luma(gain), share)
