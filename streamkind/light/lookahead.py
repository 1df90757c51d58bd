"""Smooths the ratios of a whole video, with what comes later in view."""

from __future__ import annotations

import math
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from streamkind.light.exposure import without_lamps
from streamkind.light.track import Series
from streamkind.video.frames import Pixels

WINDOW_SECONDS, REACH = 0.4, 60
"""Width of the smoothing in time, and how many frames to either side it looks at most."""
EDGE_STOPS = 0.12
"""A change by more than about this is real and keeps its edge."""
PASSING_SECONDS, PASSING_STOPS = 2.5, 1.0
"""How long and how deep a change is at most that is a lamp which passes, not another light."""
REST_STOPS = 0.006
"""Half of the band within which the ratio rests: 0.4 %, nothing that an eye could see."""


def smooth_track(wanted: Series, times: Series, cut: NDArray[np.bool_]) -> Series:
    """Smooth automatic ratios, in stops, scene by scene, without lag and without rounding edges.

    Each scene goes through a median of five (lone frames), a bilateral fit of straight lines (noise
    goes; steps stay on their frame, slopes are followed to the ends), a bridge over what soon goes
    back (headlights that pass), and a band at rest (what is left of the noise vanishes wholly).
    Three stops of dusk in 8 s with noise of 0.01 come out within 1.9 %; total variation, solved
    exactly, with the same fit after it within 3.3 %, a bilateral mean within 5.4 %.
    """
    smooth = np.empty_like(wanted)
    for scene in np.split(np.arange(len(wanted)), np.flatnonzero(cut[1:]) + 1):
        fitted = bilateral(median(wanted[scene]), times[scene])
        smooth[scene] = at_rest(-bridged(-bridged(fitted, times[scene]), times[scene]))
    return smooth


def median(x: Series, side: int = 2) -> Series:
    """Median of five values around each, the ends repeated."""
    padded = np.pad(x, side, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * side + 1)
    return np.asarray(np.median(windows, axis=1), np.float64)


def bilateral(x: Series, times: Series) -> Series:
    """Fit a line around each value, near ones in time and in value counting most; its middle."""
    sums = np.zeros((5, len(x)))  # of weight times 1, t, t^2, x, t x
    for shift in range(-min(REACH, len(x) - 1), min(REACH, len(x) - 1) + 1):
        to = slice(max(0, -shift), len(x) - max(0, shift))
        there = slice(max(0, shift), len(x) - max(0, -shift))
        t, d = times[there] - times[to], x[there] - x[to]
        weight = np.exp(-0.5 * ((t / WINDOW_SECONDS) ** 2 + (d / EDGE_STOPS) ** 2))
        sums[:, to] += weight * np.stack([np.ones_like(t), t, t * t, d, t * d])
    one, t, tt, d, td = sums
    spread = one * tt - t * t
    line = (tt * d - t * td) / np.maximum(spread, 1e-12)
    offset = np.where(spread > 1e-9, line, d / one)
    return np.asarray(np.clip(x + offset, x.min(), x.max()), np.float64)


def bridged(x: Series, times: Series) -> Series:
    """Fill dips that are shorter than `PASSING_SECONDS` and shallower than `PASSING_STOPS`."""
    if len(x) < 3:
        return x
    frames = int(PASSING_SECONDS / np.median(np.diff(times)))
    kernel = np.ones((1, min(frames, len(x) - 1) | 1), np.uint8)
    closed = cv2.morphologyEx(x[None], cv2.MORPH_CLOSE, kernel)[0]
    depth = closed - x
    filled = x.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], depth > REST_STOPS, [0]]).astype(int)))
    for begin, end in edges.reshape(-1, 2):
        inside = begin > 0 and end < len(x)  # at an end nobody knows whether it goes back
        if inside and depth[begin:end].max() < PASSING_STOPS:
            filled[begin:end] = closed[begin:end]
    return filled


def at_rest(x: Series, band: float = REST_STOPS) -> Series:
    """Stay until a value is more than `band` away, then follow at that distance."""
    rested, here = np.empty_like(x), float(np.median(x[:REACH]))
    here = min(max(here, x[0] - band), x[0] + band)
    for i, value in enumerate(x.tolist()):
        here = min(max(here, value - band), value + band)
        rested[i] = here
    return rested


def light_changes(frames: Iterable[Pixels], stops: float = 1.0) -> bool:
    """Tell whether the luma without lamps of small gray frames, (h, w), differs by some stops.

    By one, a ratio that is smoothed as frames come can only follow (`event_stops` there), where one
    that is found before knows. Stops looking at the first such frame.
    """
    least, most = math.inf, -math.inf
    for frame in frames:
        luma = np.float32(1 / 255) * frame[None]
        level = math.log2(float(without_lamps(luma, luma)[0]) + 1 / 255)
        least, most = min(least, level), max(most, level)
        if most - least > stops:
            return True
    return False
