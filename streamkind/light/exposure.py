"""Chooses the ratio of a frame from its statistics.

Lumas are BT.601, in [0, 1]. Blocks are 16x16 pixels of the network's input. Constants without a
stated source were chosen by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ratio = float | Literal["auto"]
"""How much the illumination is raised, 0.1 to 10. "auto": chosen from the statistics of a frame."""

MANUAL_RANGE = (0.1, 10.0)
"""Least and largest ratio that a user may set."""
RATIOS: Floats = np.geomspace(0.1, 32.0, 17).astype(np.float32)
"""Ratios for which the decompose graph predicts the mean luma of the output."""
FADE_STOPS = 0.5
"""Distance from a ratio of 1, in stops, from which on the output is the network's result alone.
Nearer to 1, the result is mixed with the input."""
DEFAULT_TARGET = 0.45
"""Mean luma that `auto` gives dark frames on average: the mean of the bright pictures of LOL."""
STILL_TARGET = 0.47
"""The same for stills. It scored best on all pairs of LOL's our485. Videos have a lower target,
because a higher ratio would change with every lamp that passes."""
NIGHT, DAY = 0.3, 0.5
"""Mean luma up to which a frame is fully brightened, and from which on it is not changed. The mean
does not include black blocks, so that letterbox bars do not lower it."""
LEAST_VISIBLE = 0.25
"""Least divisor of that mean. The divisor is the share of blocks that are not black. Without this
limit, a frame with a few lit windows on black would count as a day frame."""

BLACK, LIT = 2 / 255, 4 / 255
"""Mean luma up to which a block counts as black, and from which it counts as visible."""
SHADOW = 0.25
"""Luma to aim at in black blocks, as a share of the target. A larger share would show haze and
coding noise."""
PATCHY, WHOLE = 0.5, 0.8
"""Limits of the share of visible blocks of a still. Up to the first, its black blocks stay black.
From the second on, they count as shadows of an underexposed scene, and are raised with it."""
DIM, BRIGHT = 0.2, 0.4
"""Limits of the luma that the brightest twentieth of a still exceeds. Up to the first, the whole
picture may be underexposed. From the second on, its dark parts count as dark things."""
PARTLY = 0.38
"""Largest mean luma to aim at for a still with bright and dark parts. A larger one would wash out
the bright parts."""
LAMPS, SKY = 0.12, 0.24
"""Limits of the mean luma of a still. Up to the first, its bright parts count as lamps. From the
second on, they may be sky above a scene that is too dark. Then `PARTLY` does not apply."""
LAMP, GLARE = 0.3, 0.6
"""Mean luma of a block from which on its weight falls, and from which on it counts as a lamp."""
LAMP_SHARE = 0.02
"""Weight of a lamp; other blocks have 1. It is above 0, so that a white frame has an exposure too.
"""
FAINTEST = 0.001
"""A quarter of an 8-bit level, as luma. The ratio is at most 1 + mean luma / `FAINTEST`, so that
black stays black."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of N frames, from the decompose graph."""

    luma: Floats
    """Mean luma of the input without its lamps, in [0, 1], shape (N,)."""
    curve: Floats
    """Predicted mean luma of the output at each of `RATIOS`, in [0, 1], shape (N, 17)."""
    thumbnail: Floats
    """Mean luma of each block of the input, in [0, 1], shape (N, H/16, W/16)."""
    exposure: Floats
    """Estimated mean luma of a well exposed picture of the scene, in [0, 1], shape (N,)."""

    @classmethod
    def of(cls, curve: NDArray[Any], thumbnail: NDArray[Any], exposure: NDArray[Any]) -> Statistics:
        """Return the statistics that the last three outputs of the decompose graph contain."""
        curve, thumbnail, exposure = (
            np.asarray(told, np.float32) for told in (curve, thumbnail, exposure)
        )
        return cls(without_lamps(thumbnail, thumbnail), curve, thumbnail, exposure)

    @classmethod
    def join(cls, parts: Sequence[Statistics]) -> Statistics:
        """Concatenate the statistics of several batches."""
        columns = ([getattr(p, field.name) for p in parts] for field in fields(cls))
        return cls(*map(np.concatenate, columns))

    def frame(self, i: int) -> Statistics:
        """Return the statistics of frame `i`, with N = 1."""
        return Statistics(*(getattr(self, field.name)[i : i + 1] for field in fields(self)))


class ChooseRatio(Protocol):
    """Chooses the ratio of each frame from its statistics. One object per stream."""

    def __call__(self, statistics: Statistics, times: Sequence[float]) -> Floats:
        """Return one ratio per frame, (N,), for frames shown at `times` in seconds."""
        ...


@dataclass(frozen=True)
class FixedRatio:
    """Chooses the same ratio for every frame."""

    value: float

    def __call__(self, statistics: Statistics, times: Sequence[float]) -> Floats:
        """Return `value` for each frame."""
        return np.full(len(times), self.value, np.float32)


@dataclass(frozen=True)
class OwnRatio:
    """Chooses the automatic ratio of each frame alone: for stills, and for videos not smoothed."""

    target: float
    """Mean luma to aim at on average, in (0, 1]."""
    still: bool = True
    """Whether frames are stills, not frames of a video."""

    def __call__(self, statistics: Statistics, times: Sequence[float]) -> Floats:
        """Return the automatic ratio of each frame."""
        return auto_ratio(statistics, self.target, still=self.still)


def auto_ratio(
    statistics: Statistics, target: float = DEFAULT_TARGET, *, still: bool = False
) -> Floats:
    """Return the ratio that brings each frame to its wanted luma, (N,); 1 for a bright frame.

    A ratio does not multiply the luma: a ratio of 5 may brighten a frame threefold. Therefore the
    ratio is found by inverting the predicted curve of the output.
    """
    log_ratios = np.log2(RATIOS)
    wanted = wanted_luma(statistics, target, still=still)
    ratios = []
    for luma, aim, curve in zip(statistics.luma, wanted, statistics.curve, strict=True):
        rising = np.maximum.accumulate(curve)
        unchanged = float(np.interp(0.0, log_ratios, rising))
        # Between day and night `aim` meets `luma`; aiming from `unchanged` then gives exactly 1.
        aim = max(unchanged + float(aim - luma), 0.0)
        log_ratio = 0.0 if aim <= unchanged else _inverse(aim, rising, log_ratios)
        ratios.append(min(2.0**log_ratio, 1 + float(luma) / FAINTEST))
    return np.array(ratios, np.float32)


def wanted_luma(
    statistics: Statistics, target: float = DEFAULT_TARGET, *, still: bool = False
) -> Floats:
    """Return the luma to aim at, (N,): for a day frame its own, for a night frame its exposure.

    `target` scales the exposure. The aim is lower for a frame that is partly black, so that a night
    sky and letterbox bars stay dark. In a still without bright parts, a few black blocks count as
    shadows. In a video they do not, because that would change with each passing lamp. The aim is
    also lower for a still that is partly bright. For a video it is not, because the local ratio
    (`light/local.py`) limits how far lit places are raised.
    """
    luma, thumbnail, exposure = statistics.luma, statistics.thumbnail, statistics.exposure
    visible = smooth_step(thumbnail, BLACK, LIT)
    lit = without_lamps(visible, thumbnail)
    mean = thumbnail.mean(axis=(1, 2))
    if still:
        brightest = np.array([brightest_of(t) for t in thumbnail], np.float32)
        bright = smooth_step(brightest, DIM, BRIGHT)
        lit = lit + (1 - lit) * smooth_step(lit, PATCHY, WHOLE) * (1 - bright)
        bright *= 1 - smooth_step(mean, LAMPS, SKY)
        exposure = exposure - np.maximum(exposure - PARTLY, 0) * bright
    aim = exposure * target / DEFAULT_TARGET * (lit + SHADOW * (1 - lit))
    mean = mean / np.maximum(visible.mean(axis=(1, 2)), LEAST_VISIBLE)
    rise = 1 - smooth_step(mean, NIGHT, DAY)
    return np.asarray(luma + np.maximum(aim - luma, 0.0) * rise, np.float32)


def without_lamps(values: Floats, thumbnail: Floats) -> Floats:
    """Return the weighted mean over the blocks of each frame, (N, h, w) -> (N,).

    Lamps have almost no weight, so that passing headlights do not darken the street. The decompose
    graph uses the same weights for its curve.
    """
    weight = lamp_weight(thumbnail)
    mean = (values * weight).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
    return np.asarray(mean, np.float32)


def brightest_of(thumbnail: Floats) -> float:
    """Return the luma that a twentieth of a frame's blocks, (h, w), exceed.

    Lamps have almost no weight. The value is interpolated between blocks, so that it does not jump
    from one block to the next when the weight of a lamp changes a little.
    """
    luma = np.sort(thumbnail, axis=None)
    weight = lamp_weight(luma)
    share = np.cumsum(weight)
    return float(np.interp(0.95 * share[-1], share - weight / 2, luma))


def lamp_weight(thumbnail: Floats) -> Floats:
    """Return the weight of blocks by their luma: 1 up to `LAMP`, `LAMP_SHARE` from `GLARE` on."""
    return np.asarray(1 - (1 - LAMP_SHARE) * smooth_step(thumbnail, LAMP, GLARE), np.float32)


def smooth_step(x: Floats, low: float | Floats, high: float | Floats) -> Floats:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _inverse(value: float, rising: Floats, log_ratios: Floats) -> float:
    # A flat part has no inverse. A slope far below one gray level per stop makes it unique.
    sloped = rising + 1e-6 * np.arange(len(rising), dtype=np.float32)
    return float(np.interp(value, sloped, log_ratios))
