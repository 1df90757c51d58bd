"""The colour rule: limits the chroma that the network makes by the chroma of its input.

A codec rounds chroma to whole code values. Near gray, one code value carries no information. If it
were raised eightfold, it would be seen as purple or olive. Chroma that is no larger than this
rounding is removed. Chroma that is clearly larger is kept. Between the two, the share that is kept
rises smoothly. Where chroma is removed, the mean chroma of the neighbours is added (*lent* chroma),
but no more than rounding could have removed there. So a colour that fades with the light has no
visible edge.

Sensors and codecs also add noise to chroma that is above rounding. Raised eightfold, it would be
seen as green and red patches. Chroma that differs from its neighbours by no more than this noise
gets their hue and saturation.

The output's chroma is the mean of two estimates. The first is the network's. The second is the
recorded chroma times the gain of the luma, because KinD multiplies all code values by the
illumination. Constants without a stated source were chosen by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streamkind.engine.lines import mean, split, strips
from streamkind.light.exposure import Floats, smooth_step
from streamkind.video.color import rgb_of_yuv, yuv_of_rgb
from streamkind.video.format import FULL_709
from streamkind.video.frames import Frame, Levels, Pixels, levels

ROUNDING = 1.5, 2.5
"""Limits of chroma, averaged over an area, in 8-bit code values. Chroma up to the first value may
be rounding alone: an error of one code value in U and in V has a length of 1.41. Chroma from the
second value on is kept whole."""
STRONG = 3.0, 6.0
"""The same limits for the chroma of a single place, which is not averaged over an area. By them,
small things such as lamps keep their colour."""
STILLS = 0.5, 1.2
"""`ROUNDING` of lossy stills. It is lower, because the networks were trained on stills, and restore
colour from fainter chroma. On held-out pairs of our485 as JPEG of quality 75, 85 and 95, the mean
CIEDE2000 of `kind` is lowest with these limits: 11.27. It is 11.33 with 0.7 and 1.7, and 11.37 if
no chroma is removed."""
STILLS_STRONG = 1.0, 2.0
"""`STRONG` of lossy stills."""
AREA = 5.0
"""Sigma of the Gaussian by which faint chroma is averaged over an area, in pixels of the halved
picture."""
LENT = np.float32(1.0)
"""Largest chroma that neighbours lend, in code values. It and `NEIGHBOURS` are those of the lowest
CIEDE2000 on night videos made of pairs of pictures (`tools/parts/films.py`), of limits from 1 to
2.5 and of a sigma of 2 to 8. Limits below 1 were not tried."""
NEIGHBOURS = 2.0
"""Sigma of the Gaussian by which colours of neighbours are averaged, in pixels of the halved
picture after it is reduced to a quarter."""
FEW = np.float32(0.2)
"""Confidence that is added to the mean confidence of neighbours. So they lend less and less where
fewer of them have a colour. With 0.1, CIEDE2000 is lower by 0.01, but `patch` (`measure/night.py`)
is higher on real clips."""
NOISE_POWER = np.float32(2.0)
"""Power of the noise of chroma, in code values squared: U and V each have a standard deviation of
one code value. On night videos made of pairs of pictures (`tools/parts/films.py`), the local error
of chroma is lowest with deviations from 0.7 to 1.5, and CIEDE2000 at equal mean luma from 0.7 to
1."""
WINDOW = 11, 11
"""Size of the window in which noise of chroma is judged, in pixels of the halved picture."""
SIGMA = 1.5
"""Sigma of the Gaussian that smooths luma, and chroma of stills, in pixels of the halved picture. A
smoothed pixel is a *place* below."""
DARKEST = np.float32(1.5)
"""Luma, in 8-bit levels, that is added to the numerator and to the denominator of a gain. Without
it, the gain would be undefined at black."""
MORE = np.float32(1.3)
"""Largest chroma of the network's result, as a multiple of the recorded chroma times the gain."""
CLEAR = 1.5, 4.0
"""Limits of the recorded chroma of a place, in code values. Up to the first value, chroma is raised
by the gain of luma alone. From the second value on, it is raised by more (`LOST`), because codecs
remove more of faint colours than of luma."""
LOST = 0.6
"""Exponent. Faint chroma is raised by the gain of luma, and also by the gain to this power. On
night videos made of pairs of pictures (`tools/parts/films.py`), CIEDE2000 at equal mean luma is
lowest from 0.4 to 0.6: 11.71 and 11.72. It is 11.77 at 0 and 11.87 at 1. At 1, patches beside gray
become orange."""
PALE = np.float32(0.25)
"""Relit chroma, as a share of relit luma, at which half of the additional gain (`LOST`) is applied.
Stronger colours get less of it, so they hardly change."""


def restrain(seen: Sequence[Levels], made: Sequence[Levels], black: float) -> Floats:
    """Limit the chroma of a relit picture by that of the picture before.

    Both are Y, U and V, (h, w) each. `black` is the code value of black luma. Returns YUV that is
    not rounded, (h, w, 3).
    """
    (_, *recorded), (luma, *colors) = seen, made
    zero = np.array([black, 128, 128], np.float32)
    seen_half, made_half = ([halved(plane) for plane in planes] for planes in (seen, made))
    shares = shares_of(seen_half, made_half, zero)
    given, kept, *lent = (resized(share, luma.shape[1], luma.shape[0]) for share in shares)
    gray = 128 * (1 - given - kept)
    planes = [
        np.clip(mix(before, given, after, kept) + (gray + added), 0, 255)
        for before, after, added in zip(recorded, colors, lent, strict=True)
    ]
    return np.asarray(cv2.merge([np.asarray(luma, np.float32), *planes]), np.float32)


def restrain_rgb(seen: Levels, made: Levels) -> None:
    """Do the same as `restrain` for RGB, (H, W, 3) each: change `made` in place.

    The limits are computed at half the size. `made` is uint8, or float32 that is not rounded.
    """
    forth, back = yuv_of_rgb(FULL_709)[:, :3], rgb_of_yuv(FULL_709)[:, 1:3]
    before, after = (split(transformed(halved(p), forth)) for p in (seen, made))
    given, kept, *lent = shares_of(before, after, np.zeros(3, np.float32))
    change = [mix(before[i + 1], given, after[i + 1], kept - 1) + lent[i] for i in (0, 1)]
    add_enlarged(transformed(np.dstack(change), back), made)


def restrain_stills(frames: Sequence[Frame], made: Pixels, ratios: Floats) -> None:
    """Remove chroma that is no more than rounding from enhanced stills, (N, H, W, 3), in place.

    Lossless files, and stills with a ratio of 1, are not changed. The second estimate of the colour
    rule is not used, because the network was trained on stills, and raises them further than
    videos.
    """
    forth, back = yuv_of_rgb(FULL_709)[:, :3], rgb_of_yuv(FULL_709)[:, 1:3]
    for frame, clear, ratio in zip(frames, made, ratios, strict=True):
        if frame.still is None or not frame.still.lossy or ratio == 1:
            continue
        before, after = (transformed(halved(p), forth) for p in (frame.data, clear))
        planes = (cv2.GaussianBlur(p, (0, 0), SIGMA) for p in split(before)[1:])
        u, v = (np.asarray(p, np.float32) for p in planes)
        less = chroma_confidence(u, v, STILLS, STILLS_STRONG) - 1
        change = np.dstack([less * after[..., i] for i in (1, 2)])
        add_enlarged(transformed(change, back), clear)


def add_enlarged(small: Floats, made: Levels) -> None:
    """Add a picture, (h, w, 3), to one of twice its size, uint8 or float32, in place."""
    kind = cv2.CV_8U if made.dtype == np.uint8 else cv2.CV_32F
    for rows, lines, inner in strips(len(made), len(small)):
        tall = (lines.stop - lines.start) * len(made) // len(small)
        whole = resized(small[lines], made.shape[1], tall)[inner]
        made[rows] = cv2.add(made[rows], whole, dtype=kind)


def recorded_chroma(seen: Levels, black: float) -> list[Floats]:
    """Return chroma of YUV, (h, w, 3), around 0: U and V, (h, w) each.

    Chroma that may be rounding or noise is left out, and lent chroma is added.
    """
    small = split(halved(seen))
    y, (u, v), own, around = denoise(small, np.array([black, 128, 128], np.float32))
    confidence = chroma_confidence(u, v)
    lent = lend(y, u, v, confidence)
    added = [one + confidence * other for one, other in zip(lent, around, strict=True)]
    height, width = seen.shape[:2]
    share, *added = (resized(p, width, height) for p in (confidence * own, *added))
    return [
        share * (plane.astype(np.float32) - 128) + one
        for plane, one in zip(split(seen)[1:], added, strict=True)
    ]


def transformed(picture: Floats, matrix: NDArray[np.float64]) -> Floats:
    """Apply a matrix to each pixel."""
    return np.asarray(cv2.transform(picture, np.ascontiguousarray(matrix)), np.float32)


def resized(picture: Floats, width: int, height: int) -> Floats:
    """Enlarge a picture or a plane."""
    return np.asarray(cv2.resize(picture, (width, height)), np.float32)


def halved(picture: Levels) -> Floats:
    """Return means of 2x2 pixels of a picture, (H, W, 3), or of a plane, (H, W).

    The picture may be float16, as filtered ones are.
    """
    height, width = max(1, picture.shape[0] // 2), max(1, picture.shape[1] // 2)
    small = np.empty((height, width, *picture.shape[2:]), np.float32)
    for rows, lines, _ in strips(picture.shape[0], height, margin=0):
        small[lines] = cv2.resize(levels(picture[rows]), (width, lines.stop - lines.start))
    return small


def mix(before: NDArray[Any], given: Floats, after: NDArray[Any], kept: Floats) -> Floats:
    """Return before * given + after * kept: a weighted sum of recorded and made chroma."""
    total = np.asarray(cv2.multiply(before, given, dtype=cv2.CV_32F), np.float32)
    cv2.add(total, cv2.multiply(after, kept, dtype=cv2.CV_32F), dst=total)
    return total


def shares_of(seen: Sequence[Floats], made: Sequence[Floats], zero: Floats) -> list[Floats]:
    """Return the weights of recorded and of made chroma in the output, and what to add to U and V.

    These are four planes, (h, w) each. `seen` and `made` are Y, U and V, (h, w) each, in which
    black is `zero`, (3,).
    """
    y, (u, v), own, around = denoise(seen, zero)
    z, colors, _, made_around = denoise(made, zero, own)
    recorded = length(u, v)
    gain = cv2.erode((z + DARKEST) / (y + DARKEST), np.ones((3, 3), np.uint8))
    confidence = chroma_confidence(u, v)
    lent = lend(y, u, v, confidence)
    trusted = length(*(confidence * one + added for one, added in zip((u, v), lent, strict=True)))
    kept = np.minimum(MORE * gain * trusted / np.maximum(length(*colors), np.float32(1e-3)), 1)
    more = np.asarray(cv2.pow(np.maximum(gain, 1), LOST), np.float32) - 1
    more *= smooth_step(recorded, *CLEAR)
    pale = (PALE * np.maximum(z, 1)) ** 2
    half = (1 + more * pale / (pale + (gain * recorded) ** 2)) / 2
    gain, kept = gain * half, kept * half
    given = gain * confidence
    added = [gain * lent[i] + given * around[i] + kept * made_around[i] for i in (0, 1)]
    return [np.asarray(plane, np.float32) for plane in (given * own, kept * own, *added)]


class Denoised(NamedTuple):
    """Chroma without noise: `chroma` = `share` * the pixel's own chroma + `around`."""

    luma: Floats
    """Smoothed luma above black, (h, w)."""
    chroma: list[Floats]
    """U and V without noise, 0 at gray, (h, w) each."""
    share: Floats
    """Weight of the pixel's own chroma, (h, w) in [0, 1]."""
    around: list[Floats]
    """The part that comes from the neighbours: U and V, (h, w) each."""


def denoise(planes: Sequence[Floats], zero: Floats, share: Floats | None = None) -> Denoised:
    """Remove noise from the chroma of Y, U and V, (h, w) each, in which black is `zero`, (3,).

    Where chroma differs from that of its neighbours by noise alone, it gets their mean saturation:
    the mean chroma over the mean luma, times its own luma. So a dark place beside a bright one
    does not get its chroma. If `share` is None, it is found from the differences.
    """
    luma, *own = (plane - value for plane, value in zip(planes, zero, strict=True))
    luma = np.asarray(cv2.GaussianBlur(luma, (0, 0), SIGMA), np.float32)
    light = np.maximum(luma, 0) + DARKEST
    light /= mean(light, WINDOW)
    around = [mean(plane, WINDOW) * light for plane in own]
    if share is None:
        apart = length(*(one - other for one, other in zip(own, around, strict=True)))
        power = mean(apart * apart, WINDOW)
        share = mean(power / (power + NOISE_POWER), WINDOW)
    for plane in around:
        plane *= 1 - share
    chroma = [share * one + other for one, other in zip(own, around, strict=True)]
    return Denoised(luma, chroma, share, around)


def lend(y: Floats, u: Floats, v: Floats, confidence: Floats) -> list[Floats]:
    """Return chroma for the places whose own chroma is not trusted: U and V, (h, w) each.

    It has the mean hue and saturation of the neighbours, weighted by their confidence. `y` is luma
    above black, and `u` and `v` are 0 at gray, (h, w) each.
    """
    light, (height, width) = np.maximum(y, 0), y.shape
    size = max(1, width // 4), max(1, height // 4)

    def around(plane: NDArray[Any]) -> Floats:
        small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.GaussianBlur(small, (0, 0), NEIGHBOURS), np.float32)

    weight = confidence / (light + DARKEST)
    total = around(confidence) + FEW
    light *= 1 - confidence
    lent = [light * resized(around(weight * plane) / total, width, height) for plane in (u, v)]
    limit = np.minimum(LENT / np.maximum(length(*lent), np.float32(1e-3)), 1)
    return [limit * plane for plane in lent]


def chroma_confidence(
    u: Floats,
    v: Floats,
    rounding: tuple[float, float] = ROUNDING,
    strong: tuple[float, float] = STRONG,
) -> Floats:
    """Return the confidence, (h, w) in [0, 1], that chroma is more than rounding.

    `u` and `v` are (h, w) each, and 0 at gray. Faint chroma is averaged over an area, so that the
    result has no edges. Strong chroma is not.
    """
    area = length(*(np.asarray(cv2.GaussianBlur(p, (0, 0), AREA), np.float32) for p in (u, v)))
    return np.maximum(smooth_step(area, *rounding), smooth_step(length(u, v), *strong))


def length(u: Floats, v: Floats) -> Floats:
    """Return the distance of chroma from gray, (h, w). `u` and `v` are 0 at gray."""
    return np.asarray(cv2.magnitude(u, v), np.float32)
