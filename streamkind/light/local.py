"""How far each place of a frame is raised: one ratio, but less of it the more light a place has.

The paper's ratio is a map that happens to be constant. A frame with a lit road and a black hill
needs more than one value. The light of a place, its base, is the luma around it; base and detail
are treated apart, as Durand and Dorsey do (SIGGRAPH 2002), here with the guided filter. The base is
raised towards what the network made of it, on one rising curve, so that what was brighter stays
brighter. Detail is the network's in the dark, where it was restored, and the frame's own in lit
places, where nothing was missing, and in texture, which stands out from noise. All of it follows
from the frame and its ratio alone, so nothing lags. What it is found from is filtered over time
where nothing moves (`engine/local.py`). At a ratio of 1 the frame comes out as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from streamkind.light.exposure import DEFAULT_TARGET, Floats, smooth_step

MOST_GAIN = 7.0
"""A place is raised to so many times its luma at most: a wall at .04 raised to .48 is fog."""
UNSEEN = 0.002
"""Luma that rounding hides, half an 8-bit level: there most of the gain is left out."""
TOP, KNEE = DEFAULT_TARGET, 8.0
"""The dark is raised to `TOP` at most, however high the ratio. With light it is the mean of both
with the exponent `KNEE`: a place of .35 rises by .11 at most."""
BEND = 4.0
"""Exponent with which two limits of one rise become one: it is near the lesser of them. Chosen, as
`KNEE` and `REACH`, on films of known truth (`tools/parts/films.py`)."""
UNLIT, LIT = 0.05, 0.25
"""Luma up to which detail is what the network restored, and from which it is the frame's own."""
SMOOTH, CRISP = 0.7, 1.15
"""Contrast of what the network restored and of texture, by that which the curve gives them."""
TONE = 0.6
"""Exponent of gain that is the slope of the network's tone curve in the dark."""
REACH = 1 / 48
"""Radius of what counts as a place, as a share of the frame's longer side."""
EDGE = 0.6
"""Standard deviation of luma in a window from which on its edge parts two places."""
FINE_REACH, FINE_EDGE = 4, 0.012
"""The same, in pixels and luma, where `MOST_GAIN` is held to: within a codec's block near black,
whose steps are one or two code values. On films of known truth 0.012 is better than 0.02 in SSIM
(.699 and .701 to .704) and in CIEDE2000 at equal mean luma (12.40 to 12.37)."""
FINE_POWER = 2.0
"""Power of what tells such edges from steps. The guided filter's own, 1, keeps a little of the
bright side of an edge on its black side, which a gain of seven makes gray: bars of a letterbox."""
CODE_VALUE = np.float32((1 / 219) ** 2)
"""Square of one code value of 8-bit video, in luma. Detail of this variance is halved: a codec's
blocks differ by one value in the dark, and a gain of seven makes that a step to be seen."""
FLAT = 0.01
"""Standard deviation of luma up to which detail may be a codec's error: 2.5 8-bit levels. From
twice as much on it is texture. `measure/night.py` tells flat from busy places by the same values.
"""
NOISE = 1.4
"""The same by that of noise: nearly all windows of noise alone are below, twice it is texture."""
DARK = 0.015, 0.12
"""Luma of places from which the noise of a frame is told, as in `measure/night.py`."""
STRONG = np.float32(0.15)
"""Standard deviation of luma to which texture is raised at most: the edge of a lamp is none."""


class LocalMaps(NamedTuple):
    """A raised picture is relit * network's + own * frame + offset; each (h, w)."""

    relit: Floats
    own: Floats
    offset: Floats
    """In luma of [0, 1]."""


def local_maps(seen: Floats, made: Floats, points: Floats, brightest: Floats) -> LocalMaps:
    """Find how a frame is raised: luma in [0, 1] of the frame and of what the network made of it.

    All are (h, w); `points` are single pixels of the whole frame, which still have all its detail,
    `brightest` is the brightest channel of the frame: a red lamp is lit, whatever its luma.
    """
    low, high = base_of(seen), base_of(made)
    light = np.maximum(base_of(brightest), low)
    curve = Curve(low, high, light)
    raised = low + np.minimum(high - low, curve.lift)
    lit = smooth_step(light, UNLIT, LIT)
    share, spread = texture_of(points, low)
    texture = (1 - lit) * share
    steep = (high / low) ** np.float32(TONE)
    slope = curve.slope(steep)
    calm = (np.float32(SMOOTH) * recorded(seen)) ** np.clip(steep - 1, 0, 1)
    relit = calm * (1 - lit - texture) * slope / np.maximum(steep, slope)
    crisp = np.minimum(np.float32(CRISP) * slope, np.maximum(STRONG / spread, 1))
    # At most the gain of the place: what is black in it stays black.
    own = np.minimum(lit * np.maximum(slope, 1) + texture * crisp, raised / low)
    rest = relit * (made - high) + own * (seen - low)
    most = most_of(np.maximum(guided(seen, FINE_REACH, FINE_EDGE, FINE_POWER), 0))
    offset = np.minimum(raised, most - rest) - relit * high - own * low
    return LocalMaps(relit, own, np.asarray(offset, np.float32))


def base_of(luma: Floats) -> Floats:
    """Light of each place: the luma around it, up to edges."""
    base = guided(luma, max(1, round(REACH * max(luma.shape))), EDGE)
    return np.asarray(np.clip(base, 1e-3, 1), np.float32)


def guided(luma: Floats, radius: int, edge: float, sharp: float = 1) -> Floats:
    """Smooth luma up to its own edges: the guided filter, at `sharp` of 1. More parts edges from
    what is smoothed more sharply.
    """
    window = 2 * radius + 1, 2 * radius + 1
    mean = cv2.blur(luma, window)
    variance = cv2.sqrBoxFilter(luma, cv2.CV_32F, window) - mean * mean
    slope = power(np.maximum(variance, 0), sharp)
    slope /= slope + np.float32(edge ** (2 * sharp))
    smooth = cv2.blur(slope, window) * luma + cv2.blur(mean - slope * mean, window)
    return np.asarray(smooth, np.float32)


class Curve:
    """The curve on which bases are raised: as far as the network does, and as there is room for."""

    def __init__(self, low: Floats, high: Floats, light: Floats) -> None:
        """Take bases of the frame and of what the network made, and light, (h, w) each."""
        rise = np.maximum(np.minimum(high, most_of(low)) - low, np.float32(1e-6))
        top = power(power(light, KNEE) + np.float32(TOP**KNEE), 1 / KNEE)
        room = top - light + np.float32(1e-6)
        by_rise, by_room = power(room, BEND), power(rise, BEND)
        total = by_rise + by_room
        self.lift: Floats = rise * room / power(total, 1 / BEND)
        """How far bases are raised, (h, w)."""
        self._shares = [power(by / total, 1 + 1 / BEND) for by in (by_rise, by_room)]
        self._falling = 1 - power(light / top, KNEE - 1)

    def slope(self, steep: Floats) -> Floats:
        """Slope of the curve, given that of the network's: contrast of detail, (h, w)."""
        by_rise, by_room = self._shares
        slope = 1 + by_rise * (steep - 1) - by_room * self._falling
        return np.asarray(np.maximum(slope, np.minimum(steep, 1)), np.float32)


def power(base: Floats, exponent: float) -> Floats:
    """Raise numbers, none negative, to a power: several times as fast as NumPy."""
    return np.asarray(cv2.pow(base, exponent), np.float32)


def recorded(luma: Floats) -> Floats:
    """Share of detail that is more than the rounding to one code value, (h, w)."""
    window = 2 * FINE_REACH + 1, 2 * FINE_REACH + 1
    mean = cv2.blur(luma, window)
    variance = np.maximum(cv2.sqrBoxFilter(luma, cv2.CV_32F, window) - mean * mean, 0)
    share = variance / (variance + CODE_VALUE)
    # Sums that run along a row leave a little below zero behind detail, where there is none.
    return np.asarray(np.maximum(cv2.blur(share, window), 0), np.float32)


def most_of(luma: Floats) -> Floats:
    """Return the luma to which places may be raised."""
    most = np.float32(MOST_GAIN) * luma * luma / (luma + np.float32(UNSEEN))
    return np.asarray(np.maximum(most, luma), np.float32)


def texture_of(points: Floats, low: Floats) -> tuple[Floats, Floats]:
    """Share of texture in detail, and standard deviation of detail, (h, w) each.

    `low` is the base. Detail that is no stronger than that of most dark places is noise.
    """
    mean = cv2.blur(points, (3, 3))
    variance = cv2.sqrBoxFilter(points, cv2.CV_32F, (3, 3)) - mean * mean
    spread = power(np.maximum(cv2.blur(variance, (3, 3)) * np.float32(9 / 8), 0), 0.5)
    dark = (low > DARK[0]) & (low < DARK[1])
    noise = NOISE * float(np.median(spread[dark] / low[dark])) if dark.any() else 0.0
    flat = np.clip(np.float32(noise) * low, FLAT, 2 * FLAT)
    return smooth_step(spread, flat, 2 * flat), np.maximum(spread, flat)
