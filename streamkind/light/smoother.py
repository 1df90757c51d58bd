"""The ratio of a stream, smoothed over time as its frames come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamkind.light.exposure import DEFAULT_TARGET, Floats, Statistics, auto_ratio


@dataclass(frozen=True, slots=True)
class RatioState:
    """All that a smoother remembers of its stream."""

    time: float
    """Of the last frame, in seconds."""
    log_ratio: float
    """Its smoothed ratio, in stops."""
    recent: tuple[tuple[float, float], ...]
    """Time and automatic ratio, in stops, of each frame of the last `pass_seconds` or so."""
    noise: float
    """Standard deviation of the automatic ratio from frame to frame, in stops."""
    moving: bool
    """A change is under way that is too large for a passing lamp."""
    thumbnail: Floats


class RatioSmoother:
    """The automatic ratio, smoothed over time. It follows real changes fast and noise not at all.

    In the log domain the ratio rests while the automatic one stays within a band of three standard
    deviations of its own noise; beyond, it follows the edge of the band without overshoot: a change
    of `event_stops` fast and to its end; a lesser one slowly, and while the median of the last
    `pass_seconds` asks for it too, as it may be a lamp that passes. A cut or a gap starts anew. One
    object per stream; `state` may be saved and given to another.
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
        """Time constant towards a lower ratio: glare is worse than a dark moment."""
        self.release_seconds = release_seconds
        """Time constant towards a higher ratio."""
        self.calm_seconds = calm_seconds
        """Time constant of changes that are no event."""
        self.pass_seconds = pass_seconds
        """What lasts less than half of this, and is no event, changes nothing."""
        self.event_stops = event_stops
        self.max_stops_per_second = max_stops_per_second
        self.gap_seconds = gap_seconds
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
            change = max(min(change, usual), 0) + min(max(change, usual), 0)  # what both ask for
        seconds = self.attack_seconds if change < 0 else self.release_seconds
        seconds = seconds if moving else self.calm_seconds
        limit = self.max_stops_per_second * elapsed
        change = min(max(change * -math.expm1(-elapsed / seconds), -limit), limit)
        return RatioState(time, last.log_ratio + change, recent, noise, moving, thumbnail)


LEAST_NOISE, MOST_NOISE = 0.003, 0.02
"""Bounds of the noise that is believed, in stops; the band must not hide a real change."""


def beyond(band: float, change: float) -> float:
    """What of a change lies beyond a band around none."""
    return change - min(max(change, -band), band)


def median(values: Sequence[tuple[float, float]], seconds: float) -> float:
    """Median over the last `seconds` of what was so from one time to the next, before the first."""
    time, value = np.array(values).T
    time[0] = min(time[0], time[-1] - seconds)
    order = np.argsort(value[:-1])
    share = np.cumsum(np.diff(time)[order])
    return float(value[order][np.searchsorted(share, share[-1] / 2)])


def next_noise(last: RatioState, wanted: float, elapsed: float) -> float:
    """Update the running noise, in stops, over a second or so.

    Second differences tell noise from a slow change: of white noise their mean size is 1.95 sigma.
    """
    if len(last.recent) < 2:
        return last.noise
    (_, first), (_, second) = last.recent[-2:]
    bend = abs(first - 2 * second + wanted) / 1.95
    if bend > 5 * MOST_NOISE:  # no noise, an event
        return last.noise
    return last.noise + (bend - last.noise) * -math.expm1(-elapsed)


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
