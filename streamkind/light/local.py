"""The local ratio: how much each place of a frame is raised. The brighter a place, the less.

The paper gives the network a map of ratios, but sets it to one value. A frame with a lit road and a
black hill needs more than one. The luma is divided into a base and detail, as by Durand and Dorsey
(SIGGRAPH 2002), here with the guided filter. The base is raised towards the base of the network's
result, by one rising curve, so that a place that was brighter than another stays brighter. In dark
places, the detail is that of the network, which has removed the noise. In lit places, and in
texture, which is stronger than noise, it is that of the frame.

The maps depend only on the frame and its ratio, so they do not lag. The picture that they are
computed from is filtered over time where nothing moves (`engine/local.py`). At a ratio of 1 the
frame is not changed. Constants without a stated source were chosen by hand. *Films of known truth*
are short night videos, made of pairs of a dark and a bright picture (`tools/parts/films.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from streamkind.light.exposure import DEFAULT_TARGET, Floats, smooth_step

MOST_GAIN = 7.0
"""Largest gain of the luma of a place. With a gain of 12, a wall of luma 0.04 would look like fog.
"""
UNSEEN = 0.002
"""Half an 8-bit level, as luma, which rounding can remove. Luma below it gets less than half of
`MOST_GAIN`."""
TOP, KNEE = DEFAULT_TARGET, 8.0
"""Dark places are raised to a luma of `TOP` at most, at any ratio. For lit places the limit is
(TOP^KNEE + light^KNEE)^(1 / KNEE), so a place of 0.35 rises by 0.11 at most."""
VIVID = 0.67
"""The same as `TOP` for the brightest channel of RGB. Without this limit, a dark blue sky would
become a glaring blue. In nine of ten coloured places of our485's bright pictures, the brightest
channel is below this value (places of 13x13 pixels, whose luma is 0.3 to 0.7 of that channel)."""
BEND = 4.0
"""Exponent by which two limits of a rise are combined into one, which is near the smaller of them.
It was chosen, like `KNEE` and `REACH`, on films of known truth."""
UNLIT, LIT = 0.05, 0.25
"""Luma up to which detail is that of the network, and from which on it is that of the frame."""
SMOOTH, CRISP = 0.7, 1.25
"""Contrast of the network's detail, and of texture, as multiples of the slope of the curve. On
films of known truth made of our485, SSIM is 0.6451 with a `CRISP` of 1.15, 0.6456 with 1.25 and
0.6468 with 1.6. But noise grows with it."""
TONE = 0.6
"""The slope of the network's tone curve in the dark is its gain to this power."""
REACH = 1 / 32
"""Radius of the window that counts as one place, as a share of the frame's longer side."""
EDGE, EDGE_POWER = 0.35, 2.0
"""Standard deviation of luma in a window from which on an edge separates two places, and the power
of the variance by which it does. The guided filter's own power is 1. With 1, a place beside a lamp
would count as lit by the lamp, and would become darker than places farther away. Chosen together
with `REACH` on films of known truth: SSIM is 0.710. With a `REACH` of 1/48, 0.6 and 1 it is 0.708,
and there are a fifth more such places."""
FINE_REACH, FINE_EDGE = 4, 0.012
"""The same as `REACH`, in pixels, and `EDGE`, in luma, for the limit `MOST_GAIN`. They smooth
within a codec's block near black, whose steps are one or two code values. On films of known truth,
0.012 is better than 0.02 in SSIM (0.704 instead of 0.701) and in CIEDE2000 at equal mean luma
(12.37 instead of 12.40)."""
FINE_POWER = 2.0
"""The same as `EDGE_POWER` for these edges. With 1, the guided filter's own power, a little of the
bright side of an edge would be added to its black side, and a gain of seven would make letterbox
bars gray."""
CODE_VALUE = np.float32((1 / 219) ** 2)
"""Square of one code value of 8-bit video, in luma. Detail of this variance is halved. In the dark,
a codec's blocks differ by one code value, which a gain of seven would make visible."""
FLAT = 0.01
"""Standard deviation of luma up to which detail may be an error of the codec: 2.5 8-bit levels.
From twice this value on, detail counts as texture. `measure/night.py` uses the same limits.
"""
NOISE = 1.4
"""The same limit, as a multiple of the frame's noise. Nearly all windows of noise alone are below
it."""
DARK = 0.015, 0.12
"""Range of luma of the places from which the noise of a frame is estimated; that of
`measure/night.py`."""
STRONG = np.float32(0.15)
"""Largest standard deviation of luma to which texture is raised. A larger one is that of the edge
of a lamp."""


class LocalMaps(NamedTuple):
    """Maps of a frame, (h, w) each: output = relit * network's result + own * frame + offset."""

    relit: Floats
    own: Floats
    offset: Floats
    """In luma of [0, 1]."""


def local_maps(seen: Floats, made: Floats, points: Floats, brightest: Floats) -> LocalMaps:
    """Compute the maps of a frame, from its luma and that of the network's result, in [0, 1].

    All are (h, w). `points` is the luma of single pixels of the whole frame, so it has the detail
    of that frame. `brightest` is the brightest channel of the frame, because a red lamp counts as
    lit at any luma.
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
    fine = of_windows(seen, FINE_REACH)
    calm = (np.float32(SMOOTH) * recorded(fine[1])) ** np.clip(steep - 1, 0, 1)
    relit = calm * (1 - lit - texture) * slope / np.maximum(steep, slope)
    crisp = np.minimum(np.float32(CRISP) * slope, np.maximum(STRONG / spread, 1))
    # At most the gain of the place, so that black detail stays black.
    own = np.minimum(lit * np.maximum(slope, 1) + texture * crisp, raised / low)
    rest = relit * (made - high) + own * (seen - low)
    most = most_of(np.maximum(along(seen, *fine, FINE_REACH, FINE_EDGE, FINE_POWER), 0))
    offset = np.minimum(raised, most - rest) - relit * high - own * low
    return LocalMaps(relit, own, np.asarray(offset, np.float32))


def base_of(luma: Floats) -> Floats:
    """Return the base of a frame: its luma, smoothed up to edges."""
    radius = max(1, round(REACH * max(luma.shape)))
    base = along(luma, *of_windows(luma, radius), radius, EDGE, EDGE_POWER)
    return np.clip(base, np.float32(1e-3), np.float32(1), out=base)


def of_windows(luma: Floats, radius: int) -> tuple[Floats, Floats]:
    """Return mean and variance of the window around each pixel, (h, w) each."""
    window = 2 * radius + 1, 2 * radius + 1
    mean = np.asarray(cv2.blur(luma, window), np.float32)
    variance = np.asarray(cv2.sqrBoxFilter(luma, cv2.CV_32F, window), np.float32)
    variance -= mean * mean
    # Running sums leave small negative values.
    return mean, np.maximum(variance, 0, out=variance)


def along(
    luma: Floats, mean: Floats, variance: Floats, radius: int, edge: float, sharp: float = 1
) -> Floats:
    """Smooth luma up to its own edges, by the guided filter.

    `mean` and `variance` are those of windows of the same radius. `sharp` is the power of the
    variance; the guided filter has 1. A larger one smooths less at edges, and more elsewhere.
    """
    window = 2 * radius + 1, 2 * radius + 1
    slope = power(variance, sharp)
    slope /= slope + np.float32(edge ** (2 * sharp))
    smooth = np.asarray(cv2.blur(slope, window), np.float32)
    smooth *= luma
    smooth += np.asarray(cv2.blur(mean - slope * mean, window), np.float32)
    return smooth


class Curve:
    """The curve by which bases are raised: at most as the network does, and up to a limit."""

    def __init__(self, low: Floats, high: Floats, light: Floats) -> None:
        """Take the bases of the frame and of the network's result, and the light, (h, w) each."""
        rise = np.maximum(np.minimum(high, most_of(low)) - low, np.float32(1e-6))
        top = limit(light, TOP)
        # A gain raises the brightest channel by more than the luma.
        room = np.minimum(top - light, (limit(light, VIVID) - light) * (low / light))
        room += np.float32(1e-6)
        by_rise, by_room = power(room, BEND), power(rise, BEND)
        total = by_rise + by_room
        self.lift: Floats = rise * room / power(total, 1 / BEND)
        """Rise of the base, (h, w)."""
        # Derivatives of `lift` by `rise` and by `room`, and minus that of `room` by light.
        self._shares = [power(by / total, 1 + 1 / BEND) for by in (by_rise, by_room)]
        self._falling = 1 - power(light / top, KNEE - 1)

    def slope(self, steep: Floats) -> Floats:
        """Return the slope of the curve, by which the contrast of detail grows, (h, w).

        `steep` is the slope of the network's tone curve.
        """
        by_rise, by_room = self._shares
        slope = 1 + by_rise * (steep - 1) - by_room * self._falling
        return np.asarray(np.maximum(slope, np.minimum(steep, 1)), np.float32)


def limit(light: Floats, top: float) -> Floats:
    """Return (light^KNEE + top^KNEE)^(1 / KNEE), (h, w): never below `top` or the light."""
    return power(power(light, KNEE) + np.float32(top**KNEE), 1 / KNEE)


def power(base: Floats, exponent: float) -> Floats:
    """Raise numbers that are not negative to a power, several times as fast as NumPy does."""
    return np.asarray(cv2.pow(base, exponent), np.float32)


def recorded(variance: Floats) -> Floats:
    """Return the share of detail that is more than rounding to one code value, (h, w).

    `variance` is that of windows of radius `FINE_REACH`.
    """
    window = 2 * FINE_REACH + 1, 2 * FINE_REACH + 1
    share = np.asarray(cv2.blur(variance / (variance + CODE_VALUE), window), np.float32)
    # The running sums of `cv2.blur` leave small negative values after large ones.
    return np.maximum(share, 0, out=share)


def most_of(luma: Floats) -> Floats:
    """Return the largest luma to which places may be raised."""
    most = np.float32(MOST_GAIN) * luma * luma / (luma + np.float32(UNSEEN))
    return np.asarray(np.maximum(most, luma), np.float32)


def texture_of(points: Floats, low: Floats) -> tuple[Floats, Floats]:
    """Return the share of texture in detail, and the standard deviation of detail, (h, w) each.

    `low` is the base. Detail that is no stronger than that of most dark places is noise.
    """
    mean = cv2.blur(points, (3, 3))
    variance = cv2.sqrBoxFilter(points, cv2.CV_32F, (3, 3)) - mean * mean
    spread = power(np.maximum(cv2.blur(variance, (3, 3)) * np.float32(9 / 8), 0), 0.5)
    dark = (low > DARK[0]) & (low < DARK[1])
    noise = NOISE * float(np.median(spread[dark] / low[dark])) if dark.any() else 0.0
    flat = np.clip(np.float32(noise) * low, FLAT, 2 * FLAT)
    return smooth_step(spread, flat, 2 * flat), np.maximum(spread, flat)
