"""Compares filters for the ratio on artificial series.

The series are in stops, at 25 frames per second: a still scene with noise, dusk, the end of a
tunnel, and passing headlights. The common filters are tuned so that they follow nine tenths of the
tunnel's three stops within half a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from streamkind.light import smoother
from streamkind.light.exposure import RATIOS, Statistics
from streamkind.light.lookahead import smooth_track
from streamkind.light.smoother import RatioSmoother

Series = NDArray[np.float64]
RATE = 25
"""Frames per second of the series."""
NOISE = 0.01
"""Standard deviation of the noise of the ratio, in stops. A still scene has no more than this."""


def average(x: Series, seconds: float = 0.2) -> Series:
    """Return the exponential moving average with a time constant of `seconds`."""
    out, here = np.empty_like(x), x[0]
    for i, value in enumerate(x):
        here += (value - here) * -math.expm1(-1 / RATE / seconds)
        out[i] = here
    return out


def one_euro(
    x: Series, least_hertz: float = 0.2, beta: float = 0.5, slope_hertz: float = 1
) -> Series:
    """Apply the 1-euro filter (Casiez, Roussel, Vogel, CHI 2012)."""

    def share(hertz: float) -> float:
        return 1 / (1 + RATE / (2 * math.pi * hertz))

    out, here, slope, last = np.empty_like(x), x[0], 0.0, x[0]
    for i, value in enumerate(x):
        slope += share(slope_hertz) * ((value - last) * RATE - slope)
        here += share(least_hertz + beta * abs(slope)) * (value - here)
        out[i], last = here, value
    return out


def kalman(x: Series, drift: float = 0.002) -> Series:
    """Apply a Kalman filter for a random walk of `drift` stops per frame (standard deviation)."""
    out, here, variance = np.empty_like(x), x[0], NOISE**2
    for i, value in enumerate(x):
        variance += drift**2
        gain = variance / (variance + NOISE**2)
        here, variance = here + gain * (value - here), (1 - gain) * variance
        out[i] = here
    return out


def as_frames_come(x: Series) -> Series:
    """Apply streamkind's `RatioSmoother`, which has no look-ahead."""
    told = Statistics.of(np.zeros((1, len(RATIOS))), np.full((1, 4, 4), 0.1), np.ones(1))
    choose, out = RatioSmoother(), []
    for i, value in enumerate(x):
        with mock.patch.object(smoother, "auto_ratio", lambda *_, v=value: np.array([2.0**v])):
            out.append(math.log2(choose(told, [i / RATE])[0]))
    return np.array(out)


def two_pass(x: Series) -> Series:
    """Apply streamkind's `smooth_track`, which has look-ahead."""
    return smooth_track(x, np.arange(len(x)) / RATE, np.zeros(len(x), bool))


FILTERS: dict[str, Callable[[Series], Series]] = {
    "none": lambda x: x,
    "moving average, 0.2 s": average,
    "1-euro": one_euro,
    "Kalman, random walk": kalman,
    "streamkind, as frames come": as_frames_come,
    "streamkind, two passes": two_pass,
}
"""Filters, by the names that the table shows."""


SERIES = (
    "noise left, %",
    "dusk of 5 min, furthest off, %",
    "tunnel, frames to 90 %",
    "overshoot, %",
    "headlights, ratio moves by, %",
)
"""Names of the measures of a filter."""


def figures(smooth: Callable[[Series], Series]) -> list[float]:
    """Return the measures of one filter, in the order of `SERIES`."""
    rng = np.random.default_rng(0)
    still = rng.normal(0, NOISE, 20 * RATE)
    dusk = np.linspace(0, 3, 300 * RATE)
    tunnel = np.repeat([3.0, 0.0], 3 * RATE)
    lamps = np.zeros(6 * RATE)
    lamps[2 * RATE : 3 * RATE] = -0.55
    left = smooth(tunnel)
    behind = np.flatnonzero(np.abs(left[3 * RATE :]) > 0.3)
    return [
        100 * np.diff(smooth(still)[RATE:]).std() / np.diff(still).std(),
        100 * (2 ** np.abs(smooth(dusk + rng.normal(0, NOISE, dusk.size)) - dusk)[RATE:].max() - 1),
        float(behind[-1] + 1 if behind.size else 0),
        100 * (2 ** max(0.0, -left.min()) - 1),
        100 * (2 ** np.abs(smooth(lamps)).max() - 1),
    ]
