"""Nets that rest: between two frames that they see, what they made is carried on in time.

Where nothing has moved since, the reduced result stays. Where something has, the line that took
luma to relit luma around there goes on, and so does the gain of the chroma. Where what has come is
of another luma than anything around there was, as a lamp on dark ground or the ground behind it,
what the nets made of that luma elsewhere in the frame stands for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamkind.backends.base import Engine, Layers
from streamkind.engine.reduced import (
    NOISE,
    NOISE_POWER,
    Carried,
    Plane,
    SmallLayers,
    line,
    mean,
    reduce,
)
from streamkind.engine.reduced import transform as through
from streamkind.light.exposure import Floats
from streamkind.light.smoother import is_cut
from streamkind.video.color import yuv_of_rgb
from streamkind.video.format import ColorTags
from streamkind.video.frames import Pixels

WINDOW = 9, 9
"""Around a pixel of the reduced picture, in which luma goes by one line."""
BEYOND = 6.0
"""Levels outside the luma around a pixel from which on its line says nothing."""
NEAR = np.maximum(1 - np.arange(256, dtype=np.float32) / BEYOND, 0).astype(np.float32)
"""How much it says so many levels outside."""
MOST_MOVED = 0.5
"""Share of a frame that may have moved for the nets to rest a second time."""
STOPS = 0.01
"""Change of the ratio that is followed by the nets."""
LIGHT_STOPS = 0.05
"""Change of a frame's mean luma that is: spread over all, it would be taken for noise."""


@dataclass(frozen=True, slots=True)
class RestLayers(SmallLayers):
    """Layers of an earlier frame, for the pixels of a later one."""

    moved: Floats
    """(h, w) in [0, 1]: 1 where the two frames differ."""


@dataclass(frozen=True)
class Made:
    """What the nets made of the last frame that they saw."""

    ratio: float
    clear: Pixels
    """(h, w, 3) YUV."""
    slope: Floats
    offset: Floats
    gain: Floats
    """Of chroma."""
    least: Plane
    most: Plane
    """Luma seen around each pixel; all (h, w)."""
    tone: Floats
    """Luma made of each luma seen, anywhere."""
    tone_gain: Floats
    """Gain of chroma at each luma seen; both (256,)."""

    def fits(self, ratio: float) -> bool:
        """Whether it may stand for what a ratio would give."""
        return abs(math.log2(ratio / self.ratio)) < STOPS


class Sparse(Carried):
    """`Carried` for the frames of one video, in order, one by one."""

    def __init__(
        self,
        engine: Engine,
        area: int,
        color: ColorTags | None = None,
        *,
        whole: int | None = None,
        every: int = 3,
    ) -> None:
        super().__init__(engine, area, color, whole=whole)
        self.max_batch = 1
        self._every = every
        self._seen: SmallLayers | None = None
        self._thumbnail: Floats = np.empty((0, 0), np.float32)
        self._made: Made | None = None
        self._rests = 0

    def another(self) -> Sparse:
        """Return one for the frames of another video, which shares the nets."""
        return Sparse(self._engine, self._area, self._color, whole=self._whole, every=self._every)

    def decompose(self, pixels: Pixels) -> Layers:
        """One frame -> its layers, or those of the last frame that the nets saw."""
        size = self.small_size(pixels)
        if size is None:
            return super().decompose(pixels)
        small, luma = reduce(pixels[0], size, self.color_of(pixels))
        moved = self._moved(luma) if self._made else None
        if self._seen is not None and moved is not None:
            self._rests += 1
            seen = {f.name: getattr(self._seen, f.name) for f in fields(SmallLayers)}
            now = {"pixels": pixels, "small": small[None], "luma": luma[None]}
            return RestLayers(**seen | now, moved=moved)
        self._rests, self._made = 0, None
        self._seen = self.split(pixels, small[None], luma[None])
        self._thumbnail = thumbnail(luma)
        return self._seen

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Hold layers that are new; others are held already."""
        if not isinstance(layers, RestLayers):
            return super().steady(layers, before, strength)
        return replace(layers, reflectance=before.reflectance, illumination=before.illumination)

    def relit(self, layers: SmallLayers, ratios: Floats) -> Pixels:
        """Restore and relight a reduced frame, or carry on what was made of an earlier one."""
        matrix, made = yuv_of_rgb(self.color_of(layers.pixels)), self._made
        now = through(layers.small[0], matrix)
        if made and isinstance(layers, RestLayers) and made.fits(float(ratios[0])):
            return carry_on(made, now, layers.moved)[None]
        clear = super().relit(layers, ratios)
        self._made = Made(float(ratios[0]), clear[0], *lines(now, clear[0]), *tones(now, clear[0]))
        return clear

    def expected_fps(self, width: int, height: int) -> float:
        """Try how many frames of a size go through in a second when the nets see every one."""
        every, self._every = self._every, 1
        fps = super().expected_fps(width, height)
        self._every, self._made = every, None
        return fps

    def _moved(self, luma: Plane) -> Floats | None:
        """Where a frame differs from the last that the nets saw; None if they must see it."""
        if self._seen is None or self._rests + 1 >= self._every:
            return None
        before, small = self._seen.luma[0], thumbnail(luma)
        if before.shape != luma.shape or is_cut(self._thumbnail, small):
            return None
        if abs(math.log2((small.mean() + 1e-6) / (self._thumbnail.mean() + 1e-6))) > LIGHT_STOPS:
            return None
        moved = motion(before, luma)
        return moved if self._rests == 0 or moved.mean() < MOST_MOVED else None


def thumbnail(luma: Plane) -> Floats:
    """Means of 16x16 pixels, in [0, 1]."""
    size = max(1, luma.shape[1] // 16), max(1, luma.shape[0] // 16)
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def motion(before: Plane, now: Plane) -> Floats:
    """Where two reduced frames differ by more than noise: (h, w) in [0, 1]."""
    apart = cv2.absdiff(cv2.blur(before, (3, 3)), cv2.blur(now, (3, 3)))
    moved = cv2.dilate(apart, np.ones((5, 5), np.uint8)).astype(np.float32)
    moved /= NOISE + np.float32(0.04) * cv2.max(before, now)
    moved -= 1
    return np.asarray(cv2.blur(np.clip(moved, 0, 1, out=moved), (5, 5)), np.float32)


def lines(seen: Pixels, made: Pixels) -> tuple[Floats, Floats, Floats, Plane, Plane]:
    """Around each pixel: luma made = slope * luma seen + offset, chroma made = gain * chroma.

    And the least and the most luma seen there, between which that holds.
    """
    (x, *chroma), (y, *made_chroma) = cv2.split(seen), cv2.split(made)
    both, alone = (mean(x, WINDOW) for x in agreement(chroma, made_chroma))
    gain = np.maximum(both, 0) / (alone + NOISE_POWER)
    least, most = (extreme(x, np.ones(WINDOW)) for extreme in (cv2.erode, cv2.dilate))
    return *line(x, y, WINDOW), gain, np.asarray(least, np.uint8), np.asarray(most, np.uint8)


def agreement(seen: Sequence[NDArray[Any]], made: Sequence[NDArray[Any]]) -> tuple[Floats, Floats]:
    """Of chroma seen and chroma made: their product, and the square of the first."""
    before, after = ([p.astype(np.float32) - 128 for p in planes] for planes in (seen, made))
    both = before[0] * after[0] + before[1] * after[1]
    return both, before[0] * before[0] + before[1] * before[1]


def tones(seen: Pixels, made: Pixels) -> tuple[Floats, ...]:
    """By luma seen, 0 to 255: the mean luma made of it, and the gain of chroma."""
    (luma, *chroma), (lit, *made_chroma) = (
        [plane.ravel() for plane in cv2.split(np.ascontiguousarray(p[::2, ::2]))]
        for p in (seen, made)
    )
    count = np.bincount(luma, minlength=256)
    sums = (lit, *agreement(chroma, made_chroma))
    total, both, alone = (np.bincount(luma, x, 256) for x in sums)
    levels = np.flatnonzero(count)
    gain = np.maximum(both, 0)[levels] / (alone + NOISE**2 * count)[levels]
    tone = total[levels] / count[levels]
    every = np.arange(256)
    return tuple(np.interp(every, levels, x).astype(np.float32) for x in (tone, gain))


def carry_on(made: Made, now: Pixels, moved: Floats) -> Pixels:
    """Predict what the nets would make of a later frame: (h, w, 3) YUV."""
    if not moved.any():
        return made.clear
    luma, *chroma = cv2.split(now)
    known = cv2.min(cv2.max(luma, made.least), made.most)
    near, tone, gain = (
        cv2.LUT(plane, table)
        for plane, table in (
            (cv2.absdiff(luma, known), NEAR),
            (luma, made.tone),
            (luma, made.tone_gain),
        )
    )
    lit = tone + near * (made.slope * luma + made.offset - tone)
    gain += near * (made.gain - gain)
    predicted = [lit, *(gain * (c.astype(np.float32) - 128) + 128 for c in chroma)]
    mixed = [  # plane by plane: several times as fast as by pixels
        cv2.add(before, moved * (after - before), dtype=cv2.CV_8U)
        for before, after in zip(cv2.split(made.clear), predicted, strict=True)
    ]
    return np.asarray(cv2.merge(mixed), np.uint8)
