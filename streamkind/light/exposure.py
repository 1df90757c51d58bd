"""From the statistics of a frame to the ratio it is relit by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ratio = float | Literal["auto"]
"""How far the illumination is raised, 0.1 to 10; "auto": as far as the frame needs it."""

MANUAL_RANGE = (0.1, 10.0)
"""Ratios that a user may ask for."""
RATIOS: Floats = np.geomspace(0.1, 32.0, 17).astype(np.float32)
"""Ratios at which the decompose graph tells how bright the frame would become."""
DEFAULT_TARGET = 0.45
"""Mean luma that `auto` gives dark frames on the average: that of the bright pictures of LOL."""
STILL_TARGET = 0.47
"""The same for stills, which may be as bright as a photographer would have them: found best on all
pairs of our485. In a video a higher ratio follows every lamp that passes."""
NIGHT, DAY = 0.3, 0.5
"""Mean luma up to which a frame is fully brightened, and from which it is left as it is."""

BLACK, LIT = 2 / 255, 4 / 255
"""Mean luma up to which a 16x16 block is taken for black, and from which it is to be seen."""
SHADOW = 0.25
"""What black blocks are brought to, as a share of the target: brighter is haze and coding noise."""
PATCHY, WHOLE = 0.5, 0.8
"""Share of a still that is to be seen up to which its black blocks are taken for black, and from
which they are the shadows of a scene that is dark for want of exposure, and rise with it."""
DIM, BRIGHT = 0.2, 0.4
"""Luma of the brightest twentieth of a still up to which all of it may be dark for want of
exposure, and from which what is dark in it is dark by itself."""
PARTLY = 0.38
"""Mean luma that such a frame gets at most: more would wash out what is lit."""
LAMPS, SKY = 0.12, 0.24
"""Mean luma of a still up to which its bright parts are lamps, and from which they may be the sky
above a scene that is too dark: then it gets its whole exposure."""
LAMP, GLARE = 0.3, 0.6
"""Mean luma from which a block is the less counted, and from which it is a lamp and not counted."""
LAMP_SHARE = 0.02
"""What a lamp still counts, so that a wholly white frame has an exposure too."""
FAINTEST = 0.001
"""Mean luma, a quarter of an 8-bit level, that allows one more unit of ratio: black stays black."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the decompose graph tells about each of N frames."""

    luma: Floats
    """Mean luma (BT.601) of the input without its lamps, in [0, 1], shape (N,)."""
    curve: Floats
    """The same of the output at each of `RATIOS`, shape (N, 17)."""
    thumbnail: Floats
    """Luma of each 16x16 block of the input in [0, 1], shape (N, H/16, W/16)."""
    exposure: Floats
    """Mean luma that a photographer would give the scene, in [0, 1], shape (N,)."""

    @classmethod
    def of(cls, curve: NDArray[Any], thumbnail: NDArray[Any], exposure: NDArray[Any]) -> Statistics:
        """Take the last three outputs of the decompose graph."""
        curve, thumbnail, exposure = (
            np.asarray(told, np.float32) for told in (curve, thumbnail, exposure)
        )
        return cls(without_lamps(thumbnail, thumbnail), curve, thumbnail, exposure)

    @classmethod
    def join(cls, parts: Sequence[Statistics]) -> Statistics:
        """Put those of several batches behind each other."""
        columns = ([getattr(p, field.name) for p in parts] for field in fields(cls))
        return cls(*map(np.concatenate, columns))

    def frame(self, i: int) -> Statistics:
        """Return those of one frame."""
        return Statistics(*(getattr(self, field.name)[i : i + 1] for field in fields(self)))


class ChooseRatio(Protocol):
    """Chooses the ratio of each frame from its statistics. One object per stream."""

    def __call__(self, statistics: Statistics, times: Sequence[float]) -> Floats:
        """Return one ratio per frame, (N,), for frames shown at `times` in seconds."""
        ...


@dataclass(frozen=True)
class FixedRatio:
    """The same ratio for every frame."""

    value: float

    def __call__(self, statistics: Statistics, times: Sequence[float]) -> Floats:
        """Return `value` for each frame."""
        return np.full(len(times), self.value, np.float32)


@dataclass(frozen=True)
class OwnRatio:
    """Each frame its own automatic ratio: for stills, which share no exposure."""

    target: float
    still: bool = True
    """A picture by itself, not a frame of a video."""

    def __call__(self, statistics: Statistics, times: Sequence[float]) -> Floats:
        """Return the automatic ratio of each frame."""
        return auto_ratio(statistics, self.target, still=self.still)


def auto_ratio(
    statistics: Statistics, target: float = DEFAULT_TARGET, *, still: bool = False
) -> Floats:
    """Return the ratio that brings each frame to the target luma, (N,), 1 for a bright frame.

    The adjustment net is no gain: at 5 it may brighten threefold. So its own curve is inverted.
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
    """Return the luma to aim at, (N,): a day frame's own, and for a night frame its exposure.

    `target` scales that. Less for a frame that is partly black: a night sky or the bars of a
    screen are to stay dark. A few black blocks of a `still` without anything bright are shadows; in
    a video, where lamps pass, that would come and go. A still that is partly bright gets less, too;
    a video does not, as its lit places keep their light (`local.py`).
    """
    luma, thumbnail, exposure = statistics.luma, statistics.thumbnail, statistics.exposure
    lit = without_lamps(smooth_step(thumbnail, BLACK, LIT), thumbnail)
    mean = thumbnail.mean(axis=(1, 2))
    if still:
        brightest = np.array([brightest_of(t) for t in thumbnail], np.float32)
        bright = smooth_step(brightest, DIM, BRIGHT)
        lit = lit + (1 - lit) * smooth_step(lit, PATCHY, WHOLE) * (1 - bright)
        bright *= 1 - smooth_step(mean, LAMPS, SKY)
        exposure = exposure - np.maximum(exposure - PARTLY, 0) * bright
    aim = exposure * target / DEFAULT_TARGET * (lit + SHADOW * (1 - lit))
    rise = 1 - smooth_step(mean, NIGHT, DAY)
    return np.asarray(luma + np.maximum(aim - luma, 0.0) * rise, np.float32)


def without_lamps(values: Floats, thumbnail: Floats) -> Floats:
    """Mean over the blocks of each frame, (N, h, w) -> (N,), lamps hardly counted.

    Headlights that pass must not darken the street. The decompose graph weighs its curve alike.
    """
    weight = lamp_weight(thumbnail)
    mean = (values * weight).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
    return np.asarray(mean, np.float32)


def brightest_of(thumbnail: Floats) -> float:
    """Luma that a twentieth of a frame's blocks exceed, (h, w), lamps hardly counted.

    Between blocks, or it would hop from one to the next when a lamp counts a little less.
    """
    luma = np.sort(thumbnail, axis=None)
    weight = lamp_weight(luma)
    share = np.cumsum(weight)
    return float(np.interp(0.95 * share[-1], share - weight / 2, luma))


def lamp_weight(thumbnail: Floats) -> Floats:
    """How much blocks count: lamps hardly."""
    return np.asarray(1 - (1 - LAMP_SHARE) * smooth_step(thumbnail, LAMP, GLARE), np.float32)


def smooth_step(x: Floats, low: float, high: float) -> Floats:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _inverse(value: float, rising: Floats, log_ratios: Floats) -> float:
    # A flat stretch has no inverse: a slope far below one grey level per stop makes it unique.
    sloped = rising + 1e-6 * np.arange(len(rising), dtype=np.float32)
    return float(np.interp(value, sloped, log_ratios))
