"""From the statistics of a frame to the ratio it is relit by, steady over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

MANUAL_RANGE = (0.1, 10.0)
"""Ratios that a user may ask for."""
RATIOS: Floats = np.geomspace(0.1, 32.0, 17).astype(np.float32)
"""Ratios at which the decompose graph reports how bright the frame would become."""
DEFAULT_TARGET = 0.42
"""Mean luma that `auto` brings a dark frame to."""
NIGHT, DAY = 0.18, 0.32
"""Mean luma up to which a frame is fully brightened, and from which it is left as it is."""


BLACK, LIT = 2 / 255, 6 / 255
"""Mean luma up to which a 16x16 block is taken for black, and from which it is to be seen."""
SHADOW = 0.25
"""What black blocks are brought to, as a share of the target: brighter is haze and coding noise."""
FAINTEST = 0.001
"""Mean luma, a quarter of an 8-bit level, that allows one more unit of ratio: black stays black."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the decompose graph tells about each of N frames."""

    luma: Floats
    """Mean luma (BT.601) of the input in [0, 1], shape (N,)."""
    curve: Floats
    """Mean luma of the output at each of `RATIOS`, in [0, 1], shape (N, 17)."""
    thumbnail: Floats
    """Luma of each 16x16 block of the input in [0, 1], shape (N, H/16, W/16)."""

    @classmethod
    def of(cls, curve: NDArray[Any], thumbnail: NDArray[Any]) -> Statistics:
        """Take the last two outputs of the decompose graph."""
        thumbnail = np.asarray(thumbnail, np.float32)
        return cls(thumbnail.mean(axis=(1, 2)), np.asarray(curve, np.float32), thumbnail)


class Ratio(Protocol):
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


def auto_ratio(statistics: Statistics, target: float = DEFAULT_TARGET) -> Floats:
    """Return the ratio that brings each frame to the target luma, (N,), 1 for a bright frame.

    The adjustment net is no gain: at 5 it may brighten threefold. So its own curve is inverted.
    """
    log_ratios = np.log2(RATIOS)
    wanted = wanted_luma(statistics, target)
    ratios = []
    for luma, aim, curve in zip(statistics.luma, wanted, statistics.curve, strict=True):
        rising = np.maximum.accumulate(curve)
        unchanged = float(np.interp(0.0, log_ratios, rising))
        # Between day and night `aim` meets `luma`; aiming from `unchanged` then gives exactly 1.
        aim = max(unchanged + float(aim - luma), 0.0)
        log_ratio = 0.0 if aim <= unchanged else _inverse(aim, rising, log_ratios)
        ratios.append(min(2.0**log_ratio, 1 + float(luma) / FAINTEST))
    return np.array(ratios, np.float32)


def wanted_luma(statistics: Statistics, target: float = DEFAULT_TARGET) -> Floats:
    """Return the luma to aim at, (N,): a day frame's own, and for a night frame `target`.

    Less for a frame that is partly black: a night sky or the bars of a screen are to stay dark.
    """
    luma = statistics.luma
    lit = smooth_step(statistics.thumbnail, BLACK, LIT).mean(axis=(1, 2))
    aim = target * (lit + SHADOW * (1 - lit))
    day = smooth_step(luma, NIGHT, DAY)
    return np.asarray(luma + np.maximum(aim - luma, 0.0) * (1 - day), np.float32)


def smooth_step(x: Floats, low: float, high: float) -> Floats:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _inverse(value: float, rising: Floats, log_ratios: Floats) -> float:
    # A flat stretch has no inverse: a slope far below one grey level per stop makes it unique.
    sloped = rising + 1e-6 * np.arange(len(rising), dtype=np.float32)
    return float(np.interp(value, sloped, log_ratios))


class RatioSmoother:
    """Automatic ratio, steady over time: smoothed in the log domain, reset at scene cuts.

    Not to be shared between streams.
    """

    def __init__(
        self,
        *,
        target: float = DEFAULT_TARGET,
        time_constant_seconds: float = 0.3,
        max_stops_per_second: float = 4.0,
        gap_seconds: float = 2.0,
    ) -> None:
        self.target = target
        self.time_constant_seconds = time_constant_seconds
        self.max_stops_per_second = max_stops_per_second
        self.gap_seconds = gap_seconds
        self._log_ratio = 0.0
        self._time = -math.inf
        self._thumbnail: Floats | None = None

    def __call__(self, statistics: Statistics, times: Sequence[float]) -> Floats:
        """Return one smoothed ratio per frame, (N,), for frames shown at `times` in seconds."""
        wanted = np.log2(auto_ratio(statistics, self.target))
        return np.array(
            [
                2.0 ** self._step(float(w), time, thumbnail)
                for w, time, thumbnail in zip(wanted, times, statistics.thumbnail, strict=True)
            ],
            np.float32,
        )

    def _step(self, wanted: float, time: float, thumbnail: Floats) -> float:
        elapsed = time - self._time
        cut = self._thumbnail is None or is_cut(self._thumbnail, thumbnail)
        if cut or not 0 <= elapsed <= self.gap_seconds:
            self._log_ratio = wanted
        else:
            change = (wanted - self._log_ratio) * -math.expm1(-elapsed / self.time_constant_seconds)
            limit = self.max_stops_per_second * elapsed
            self._log_ratio += min(max(change, -limit), limit)
        self._time, self._thumbnail = time, thumbnail
        return self._log_ratio


def is_cut(before: Floats, after: Floats, least_correlation: float = 0.5) -> bool:
    """Tell whether two thumbnails, (h, w) each, show different scenes.

    Their shapes are compared, not their brightness: a lamp switched on is no cut.
    """
    if before.shape != after.shape:
        return True
    a, b = (np.log(t.ravel() + 0.02) for t in (before, after))
    a, b = a - a.mean(), b - b.mean()
    energy = math.sqrt(float(a @ a) * float(b @ b))
    flat = 0.1**2 * a.size  # spread of 10 % over the picture: nothing to compare
    return energy > flat and float(a @ b) < least_correlation * energy
