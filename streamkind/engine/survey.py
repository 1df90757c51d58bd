"""The first of two passes: finds the ratios of a whole video, from small frames."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from streamkind.engine.engine import Engine
from streamkind.errors import InputError
from streamkind.light.exposure import DEFAULT_TARGET, Floats, auto_ratio
from streamkind.light.lookahead import smooth_track
from streamkind.light.smoother import is_cut
from streamkind.light.track import TRACK_RANGE, Track
from streamkind.video.frames import Pixels
from streamkind.video.source import Source
from streamkind.video.threads import ReadAhead

SURVEY_SIDE = 192
"""Longer side, in pixels, to which the frames of the first pass are reduced. Chosen by hand."""


def survey(
    source: Source,
    engine: Engine,
    target: float = DEFAULT_TARGET,
    seen: Callable[[int], None] = lambda frames: None,
) -> Track:
    """Read a video once, and return its ratios, smoothed with look-ahead.

    The network runs on small frames. They have less noise, so their ratio differs by a few per cent
    from that of whole frames. The difference is the same throughout a scene. It is measured on the
    first frame of each scene, for which the network also runs on the whole frame.

    `seen` is called with the number of frames so far. Raises InputError if there are no frames.
    """
    times, wanted, luma, cut = [], [], [], []
    before: Floats | None = None
    share = 1.0
    with ReadAhead(source) as frames:
        for frame in frames:
            small = reduced(frame.data)
            told = engine.decompose(small[None]).statistics
            ratio, thumbnail = auto_ratio(told, target), told.thumbnail[0]
            times.append(float(frame.time))
            luma.append(float(told.luma[0]))
            cut.append(before is None or is_cut(before, thumbnail))
            if cut[-1] and small is not frame.data:  # the first frame of a scene, whole
                whole = auto_ratio(engine.decompose(frame.data[None]).statistics, target)
                share = correction(float(ratio[0]), float(whole[0]))
            wanted.append(min(float(ratio[0]) ** share, TRACK_RANGE[1]))
            before = thumbnail
            seen(len(times))
    if not times:
        raise InputError(f"{source.path} has no frame that can be decoded; nothing was written")
    time, cuts = np.array(times), np.array(cut)
    smooth = 2 ** smooth_track(np.log2(wanted), time, cuts)
    return Track(time, smooth, np.array(wanted), np.array(luma), cuts)


def correction(small: float, whole: float) -> float:
    """Return the exponent that turns the ratio of a small frame into that of the whole frame.

    It is between 7/8 and 8/7, because the first frame of a fade from black does not show the scene.
    """
    if abs(math.log2(small)) < 0.1:
        return 1.0
    return min(max(math.log2(whole) / math.log2(small), 7 / 8), 8 / 7)


def reduced(pixels: Pixels) -> Pixels:
    """Reduce the longer side of a picture to `SURVEY_SIDE` at most: (H, W, 3) -> (h, w, 3)."""
    height, width = pixels.shape[:2]
    scale = SURVEY_SIDE / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
