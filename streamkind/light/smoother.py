"""Smooths the automatic ratio of a stream over time, without look-ahead. Ratios are in stops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamkind.light.exposure import DEFAULT_TARGET, Floats, Statistics, auto_ratio


@dataclass(frozen=True, slots=True)
class RatioState:
    """The state of a smoother at one moment."""

    time: float
    """Time of the last frame, in seconds."""
    log_ratio: float
    """Smoothed ratio of the last frame, in stops."""
    recent: tuple[tuple[float, float], ...]
    """Time in seconds and automatic ratio in stops of the frames of the last `pass_seconds`."""
    noise: float
    """Standard deviation of the automatic ratio from frame to frame, in stops."""
    moving: bool
    """Whether a change is in progress that is too large for a passing lamp."""
    thumbnail: Floats
    """Luma of the blocks of the last frame, (h, w), by which scene cuts are found."""


class RatioSmoother:
    """Smooths the automatic ratio over time. It follows large changes fast, and noise not at all.

    The ratio does not change while the automatic ratio stays within a band around it, of three
    standard deviations of the noise. When the automatic ratio leaves the band, the band moves with
    it, without overshoot. A change of at least `event_stops` is followed fast, and to its end. A
    smaller change may be a lamp that passes. It is followed slowly, and only while the median of
    the last `pass_seconds` is outside the band on the same side. After a scene cut or a gap in
    time, the smoother starts again from the automatic ratio. The defaults were chosen by hand. Use
    one object per stream. `state` may be saved and given to another object.
    """

    def __init__(
        self,
        *,
        target: float = DEFAULT_TARGET,
        attack_seconds: float = 0.05,
        release_seconds: float = 0.08,
        calm_seconds: float = 1.25,
        pass_seconds: float = 2.5,
        event_stops: float = 1.0,
        max_stops_per_second: float = 8.0,
        gap_seconds: float = 2.0,
        state: RatioState | None = None,
    ) -> None:
        self.target = target
        self.attack_seconds = attack_seconds
        """Time constant of large changes to a lower ratio, in seconds. It is shorter than
        `release_seconds`, because a frame that is too bright disturbs more than one too dark."""
        self.release_seconds = release_seconds
        """Time constant of large changes to a higher ratio, in seconds."""
        self.calm_seconds = calm_seconds
        """Time constant of small changes, in seconds."""
        self.pass_seconds = pass_seconds
        """Length of the window of the median, in seconds. A small change that lasts less than half
        of this time has no effect."""
        self.event_stops = event_stops
        """Change, in stops, from which on it counts as large."""
        self.max_stops_per_second = max_stops_per_second
        """Fastest change of the ratio, in stops per second."""
        self.gap_seconds = gap_seconds
        """Gap between frames, in seconds, after which the smoother starts again."""
        self.state = state

    def __call__(self, statistics: Statistics, times: Sequence[float]) -> Floats:
        """Return one smoothed ratio per frame, (N,), for frames shown at `times` in seconds."""
        wanted = np.log2(auto_ratio(statistics, self.target))
        ratios = []
        for stops, time, thumbnail in zip(wanted, times, statistics.thumbnail, strict=True):
            self.state = self._step(float(stops), time, thumbnail)
            ratios.append(2.0**self.state.log_ratio)
        return np.array(ratios, np.float32)

    def _step(self, wanted: float, time: float, thumbnail: Floats) -> RatioState:
        last = self.state
        if (
            last is None
            or not 0 <= time - last.time <= self.gap_seconds
            or is_cut(last.thumbnail, thumbnail)
        ):
            return RatioState(time, wanted, ((time, wanted),), LEAST_NOISE, False, thumbnail)
        elapsed = time - last.time
        noise = next_noise(last, wanted, elapsed)
        band = 3 * min(max(noise, LEAST_NOISE), MOST_NOISE)
        change = beyond(band, wanted - last.log_ratio)
        moving = abs(change) > (1e-3 if last.moving else self.event_stops)
        recent = (*(() if moving else last.recent), (time, wanted))
        while len(recent) > 2 and recent[1][0] <= time - self.pass_seconds:
            recent = recent[1:]
        if not moving:
            usual = beyond(band, median(recent, self.pass_seconds) - last.log_ratio)
            change = max(min(change, usual), 0) + min(max(change, usual), 0)  # the common part
        seconds = self.attack_seconds if change < 0 else self.release_seconds
        seconds = seconds if moving else self.calm_seconds
        limit = self.max_stops_per_second * elapsed
        change = min(max(change * -math.expm1(-elapsed / seconds), -limit), limit)
        return RatioState(time, last.log_ratio + change, recent, noise, moving, thumbnail)


LEAST_NOISE, MOST_NOISE = 0.003, 0.02
"""Bounds of the estimated noise, in stops, chosen by hand. The upper one keeps real changes outside
the band."""


def beyond(band: float, change: float) -> float:
    """Return the part of a change that lies outside a band of -`band` to `band`."""
    return change - min(max(change, -band), band)


def median(values: Sequence[tuple[float, float]], seconds: float) -> float:
    """Return the median over the last `seconds`, weighted by time, without the newest value.

    `values` are pairs of time and value. Each value lasts until the next time; the first one counts
    for all the time before it.
    """
    time, value = np.array(values).T
    time[0] = min(time[0], time[-1] - seconds)
    order = np.argsort(value[:-1])
    share = np.cumsum(np.diff(time)[order])
    return float(value[order][np.searchsorted(share, share[-1] / 2)])


def next_noise(last: RatioState, wanted: float, elapsed: float) -> float:
    """Return the updated estimate of the noise, in stops, with a time constant of one second.

    Second differences separate noise from slow changes. For white noise their mean absolute value
    is 1.95 standard deviations.
    """
    if len(last.recent) < 2:
        return last.noise
    (_, first), (_, second) = last.recent[-2:]
    bend = abs(first - 2 * second + wanted) / 1.95
    if bend > 5 * MOST_NOISE:  # a change of light, not noise
        return last.noise
    return last.noise + (bend - last.noise) * -math.expm1(-elapsed)


def is_cut(before: Floats, after: Floats, least_correlation: float = 0.5) -> bool:
    """Return whether two thumbnails, (h, w) each, show different scenes.

    Their log luma is correlated after its mean is removed, so that a lamp that is switched on is
    not a cut. A correlation below `least_correlation` is one.
    """
    if before.shape != after.shape:
        return True
    a, b = (np.log(t.ravel() + 0.02) for t in (before, after))
    a, b = a - a.mean(), b - b.mean()
    energy = math.sqrt(float(a @ a) * float(b @ b))
    flat = 0.1**2 * a.size  # a contrast of 10 % over the picture: too little to compare
    return energy > flat and float(a @ b) < least_correlation * energy
