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

from streamkind.light.exposure import Floats, smooth_step

MOST_GAIN = 7.0
"""A place is raised to so many times its luma at most: a wall at .04 raised to .48 is fog."""
UNSEEN = 0.002
"""Luma that rounding hides, half an 8-bit level: there most of the gain is left out."""
ROOM, FALL = 1.0, 5.0
"""A place of light B is raised by less than ROOM (1 - B)^FALL, however high the ratio. Black then
ends at .5 at most, and a lit place (.35) rises by .12 at most."""
UNLIT, LIT = 0.05, 0.25
"""Luma up to which detail is what the network restored, and from which it is the frame's own."""
SMOOTH, CRISP = 0.7, 1.2
"""Contrast of what the network restored and of texture, by that which the curve gives them."""
TONE = 0.6
"""Exponent of gain that is the slope of the network's tone curve in the dark."""
REACH = 1 / 24
"""Radius of what counts as a place, as a share of the frame's longer side."""
EDGE = 0.6
"""Standard deviation of luma in a window from which on its edge parts two places."""
FINE_REACH, FINE_EDGE = 4, 0.02
"""The same, in pixels and luma, where `MOST_GAIN` is held to: within a codec's block near black."""
LAMP = 0.35
"""Luma above its surroundings from which on a spot is a place of its own."""
CODE_VALUE = np.float32((1 / 219) ** 2)
"""Square of one code value of 8-bit video, in luma. Detail of this variance is halved: a codec's
blocks differ by one value in the dark, and a gain of seven makes that a step to be seen."""
TEXTURE = np.float32((5 / 255) ** 2)
"""Variance of luma from which on detail is texture, not noise: five 8-bit levels."""
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
    rise, room = room_of(low, high, light)
    raised = low + np.minimum(high - low, rise * room / (room + rise))
    lit = smooth_step(light, UNLIT, LIT)
    share, spread = texture_of(points)
    texture = (1 - lit) * share
    steep = (high / low) ** np.float32(TONE)
    slope = slope_of(rise, room, light, steep)
    calm = (np.float32(SMOOTH) * recorded(seen)) ** np.clip(steep - 1, 0, 1)
    relit = calm * (1 - lit - texture) * slope / np.maximum(steep, slope)
    own = lit + texture * np.minimum(np.float32(CRISP) * slope, np.maximum(STRONG / spread, 1))
    rest = relit * (made - high) + own * (seen - low)
    most = most_of(np.maximum(guided(seen, FINE_REACH, FINE_EDGE), 0))
    return LocalMaps(relit, own, np.minimum(raised, most - rest) - relit * high - own * low)


def base_of(luma: Floats) -> Floats:
    """Light of each place: the luma around it, up to edges; a lamp is a place of its own."""
    base = guided(luma, max(1, round(REACH * max(luma.shape))), EDGE)
    own = np.maximum(base, luma - np.float32(LAMP))
    return np.asarray(np.clip(own, 1e-3, 1), np.float32)


def guided(luma: Floats, radius: int, edge: float) -> Floats:
    """Smooth luma up to its own edges: the guided filter."""
    window = 2 * radius + 1, 2 * radius + 1
    mean = cv2.blur(luma, window)
    variance = cv2.sqrBoxFilter(luma, cv2.CV_32F, window) - mean * mean
    slope = np.maximum(variance, 0)
    slope /= slope + np.float32(edge**2)
    smooth = cv2.blur(slope, window) * luma + cv2.blur(mean - slope * mean, window)
    return np.asarray(smooth, np.float32)


def room_of(low: Floats, high: Floats, light: Floats) -> tuple[Floats, Floats]:
    """How far the network raises bases, within `MOST_GAIN`, and how far they may be at most.

    Bases are raised by rise * room / (rise + room). Where the network darkens, it may.
    """
    rise = np.maximum(np.minimum(high, most_of(low)) - low, 0)
    room = np.asarray(cv2.pow(1 - light, FALL), np.float32) * np.float32(ROOM)
    return rise, room + np.float32(1e-6)


def slope_of(rise: Floats, room: Floats, light: Floats, steep: Floats) -> Floats:
    """Slope of the curve that raises bases, given that of the network's: contrast of detail."""
    by_rise, by_room = (room / (room + rise)) ** 2, (rise / (room + rise)) ** 2
    falling = np.float32(FALL) * room / (1 - light + np.float32(1e-3))
    slope = 1 + by_rise * (steep - 1) - by_room * falling
    return np.asarray(np.maximum(slope, np.minimum(steep, 1)), np.float32)


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


def texture_of(points: Floats) -> tuple[Floats, Floats]:
    """Share of texture in detail, and standard deviation of detail, (h, w) each.

    Texture is what noise does not explain of the variance.
    """
    mean = cv2.blur(points, (3, 3))
    variance = cv2.sqrBoxFilter(points, cv2.CV_32F, (3, 3)) - mean * mean
    variance = np.maximum(cv2.blur(variance, (3, 3)) * np.float32(9 / 8), TEXTURE)
    return np.asarray(1 - TEXTURE / variance, np.float32), np.asarray(np.sqrt(variance), np.float32)
