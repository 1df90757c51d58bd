"""Applies the local ratio (`light/local.py`) and the colour rule to frames in YUV and in RGB.

The *ground* of a frame is its RGB picture, reduced to the size of the maps (`map_size`). The maps
of the local ratio are computed from it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamkind.engine.chroma import restrain, restrain_rgb
from streamkind.engine.lines import Plane, motion, split, strips
from streamkind.engine.shrink import shrunk
from streamkind.light.exposure import Floats
from streamkind.light.local import LocalMaps, local_maps
from streamkind.video.color import rgb_of_yuv, yuv_of_rgb
from streamkind.video.format import FULL_709, ColorTags
from streamkind.video.frames import QUARTERS, Levels, levels

MAP_SIDE = 320
"""Longer side of the largest maps, in pixels. The sides of a larger frame are divided by a whole
number. Chosen by hand."""
GRAIN = np.float32(12.0)
"""Difference of a pixel between two frames, in 8-bit levels of a channel, from which on it does not
count as noise. It is four times the noise of a small sensor at night (`tools/make_scenes.py`)."""
STRIP = 64
"""Number of rows that are computed at once, so that results between the steps stay in the
processor's cache."""
WHITE = 0.94
"""Limit of luma, and of each channel of RGB, in [0, 1]. A value that was below it in the input is
not raised above it. Chosen by hand."""


def ground_of(picture: Levels) -> Floats:
    """Return the ground of a frame, (h, w, 3)."""
    size = map_size(picture.shape[1], picture.shape[0])
    return np.asarray(shrunk(picture, size), np.float32)


def still_share(now: Floats, before: Floats) -> Floats:
    """Return where the grounds of two frames, (h, w, 3), differ by noise only: (h, w) in [0, 1]."""
    # A coloured line may have the luma of its background.
    seen = (luma_of, brightest_of)
    moved = [motion(*(np.asarray(of(g), np.float32) for g in (before, now))) for of in seen]
    return 1 - np.maximum(*moved)


def steady_ground(now: Floats, before: Floats, weight: Floats) -> Floats:
    """Filter the ground of a frame over time, (h, w, 3).

    `weight`, (h, w), is the weight of `before`, the filtered ground of the frame before. Without
    this filter, noise near black would be raised sevenfold, and the brightness of whole places
    would change from frame to frame.
    """
    return np.asarray(now + weight[..., None] * (before - now), np.float32)


def steady_picture(now: Levels, before: Levels, weight: Floats, into: Levels) -> None:
    """Filter a picture over time, (H, W, 3) RGB, and write it to `into`.

    `weight`, (h, w), is the weight of `before`, the filtered picture of the frame before. Where a
    pixel differs by more than noise, the weight falls, down to 0, because `weight` is found from
    grounds, which do not show thin moving objects.
    """
    height, width = now.shape[:2]
    calm = enlarged(weight, width, height)
    for row in range(0, height, STRIP):
        rows = slice(row, row + STRIP)
        fresh = np.asarray(levels(now[rows]), np.float32)
        last = np.asarray(levels(before[rows]), np.float32)
        grain = np.asarray(brightest_of(np.asarray(cv2.absdiff(last, fresh))), np.float32) / GRAIN
        kept = calm[rows] * np.maximum(1 - grain * grain, 0) ** 2
        change = cv2.multiply(cv2.merge([kept] * 3), cv2.subtract(last, fresh))
        into[rows] = cv2.add(fresh, change)


def raise_yuv(
    small: Levels, made: Floats, points: Plane, tags: ColorTags, ground: Floats | None = None
) -> tuple[Floats, Floats]:
    """Apply the local ratio to a reduced frame, RGB, and the network's result, YUV, (h, w, 3) each.

    `points` is luma of single pixels of the whole frame, (h, w). `ground` is the filtered ground;
    default: the frame's own. Returns YUV that is not rounded, and the share of the frame's own
    detail in it, (h, w).
    """
    height, width = small.shape[:2]
    scale, black = luma_range(tags)
    seen = split(np.asarray(cv2.transform(small, yuv_of_rgb(tags))))
    size = map_size(width, height)
    ground = ground_of(small) if ground is None else ground
    maps = maps_of(ground, shrunk(made[..., 0], size), nearest(points, size), tags)
    shares, own = (enlarged(m, width, height) for m in (maps.relit, maps.own))
    luma = enlarged(scaled(maps, scale, black), width, height)
    chroma = enlarged(scaled(maps, 0.0, 128.0), width, height)
    planes = [
        blend(plane, clear, shares, own, offset)
        for plane, clear, offset in zip(seen, split(made), (luma, chroma, chroma), strict=True)
    ]
    raised = restrain(seen, planes, black)
    keep_color_below_white(small, raised, tags)
    return raised, own


def raise_rgb(seen: Levels, made: Levels, ground: Floats | None = None) -> None:
    """Do the same as `raise_yuv` for RGB, (H, W, 3) each: change `made` in place.

    `made` is uint8 or float32. Whole frames are large. So they stay RGB and are changed strip by
    strip, without a copy in YUV.
    """
    height, width = made.shape[:2]
    size = map_size(width, height)
    ground = ground_of(seen) if ground is None else ground
    maps = maps_of(ground, luma_of(shrunk(made, size)), luma_of(nearest(seen, size)), FULL_709)
    found = (maps.relit, maps.own, scaled(maps, 255.0, 0.0))
    for rows, lines, inner in strips(height, size[1]):
        tall = (lines.stop - lines.start) * height // size[1]
        shares, own, offset = (enlarged(m[lines], width, tall)[inner] for m in found)
        planes = [
            blend(plane, clear, shares, own, offset)
            for plane, clear in zip(split(levels(seen[rows])), split(made[rows]), strict=True)
        ]
        made[rows] = cv2.merge(planes)
    restrain_rgb(seen, made)
    keep_below_white(seen, made, FULL_709)


def maps_of(ground: Floats, made: Levels, points: Levels, tags: ColorTags) -> LocalMaps:
    """Compute the maps of a frame from its ground, (h, w, 3) RGB, and luma in code values, (h, w).

    `made` is luma of the network's result, `points` luma of single pixels of the frame.
    """
    seen = np.asarray(cv2.transform(ground, yuv_of_rgb(tags)[:1]))
    before, after, single = (unit(luma, *luma_range(tags)) for luma in (seen, made, points))
    return local_maps(before, after, single, unit(brightest_of(ground), 255.0, 0.0))


def alike(picture: Levels, other: Levels) -> Levels:
    """Convert a picture to the type of another one, uint8 or float32."""
    if picture.dtype == other.dtype:
        return picture
    picture = levels(picture)
    rounds = other.dtype == np.uint8
    return np.asarray(cv2.convertScaleAbs(picture) if rounds else picture, other.dtype)


def nearest(picture: Levels, size: tuple[int, int]) -> Levels:
    """Return single pixels of a picture, `size` (width, height) of them."""
    rows, columns = (
        np.arange(small) * whole // small
        for small, whole in zip(size[::-1], picture.shape[:2], strict=True)
    )
    return levels(picture[rows][:, columns])


def map_size(width: int, height: int) -> tuple[int, int]:
    """Return width and height of the maps of a frame."""
    side = max(width, height)
    # Maps of large frames are enlarged strip by strip, for which the divisor must be whole.
    large = side >= 2 * MAP_SIDE
    part, whole = (1, -(-side // MAP_SIDE)) if large else (min(side, MAP_SIDE), side)
    columns, rows = (max(1, (2 * s * part + whole) // (2 * whole)) for s in (width, height))
    return columns, rows


def blend(before: Levels, after: Levels, relit: Floats, own: Floats, offset: Floats) -> Levels:
    """Return relit * after + own * before + offset, for planes before and after the network."""
    mixed = cv2.multiply(after, relit, dtype=cv2.CV_32F)
    cv2.add(mixed, cv2.multiply(before, own, dtype=cv2.CV_32F), dst=mixed)
    if after.dtype == np.uint8:
        return np.asarray(cv2.add(mixed, offset, dtype=cv2.CV_8U), np.uint8)
    return np.clip(cv2.add(mixed, offset), 0, 255)


def scaled(maps: LocalMaps, scale: float, zero: float) -> Floats:
    """Return the offset of a plane in code values, whose black or gray is `zero`."""
    rest = 1 - maps.relit - maps.own
    return np.asarray(np.float32(scale) * maps.offset + np.float32(zero) * rest, np.float32)


def enlarged(plane: Floats, width: int, height: int) -> Floats:
    """Enlarge a map."""
    return np.asarray(cv2.resize(plane, (width, height)), np.float32)


def luma_of(picture: Levels) -> Levels:
    """Return luma of RGB, (h, w)."""
    return np.asarray(cv2.transform(picture, yuv_of_rgb(FULL_709)[:1]))


def brightest_of(picture: Levels) -> Levels:
    """Return the brightest channel of RGB, (h, w)."""
    red, green, blue = (picture[..., i] for i in range(3))
    return np.asarray(np.maximum(np.maximum(red, green), blue))


def keep_below_white(before: Levels, after: Levels, tags: ColorTags) -> None:
    """Limit luma or RGB `after`, in place, to `WHITE` where `before` is below `WHITE`."""
    scale, black = luma_range(tags)
    limit = (black + WHITE * scale) * (QUARTERS if after.dtype == np.uint16 else 1)
    white = np.full((STRIP, *before.shape[1:]), int(limit), after.dtype)
    for row in range(0, len(before), STRIP):
        made = after[row : row + STRIP]
        seen = alike(before[row : row + STRIP], made)
        made[:] = cv2.min(made, cv2.max(seen, white[: len(seen)]))


def keep_color_below_white(seen: Levels, made: Floats, tags: ColorTags) -> None:
    """Lower the chroma of `made`, YUV (h, w, 3), in place, so that no RGB channel exceeds a limit.

    The limit is `WHITE`, or the brightest channel of `seen` if that is higher. Luma and hue do not
    change.
    """
    back = rgb_of_yuv(tags)
    bright = brightest_of(np.asarray(cv2.transform(made, back), np.float32))
    limit = np.maximum(brightest_of(seen), np.float32(255 * WHITE))
    high = np.asarray(bright > limit, np.bool_)
    luma, chroma = made[high, 0], made[high, 1:] - np.float32(128)
    light = back[0, 0] * (luma - luma_range(tags)[1])
    over = np.maximum((chroma @ back[:, 1:3].T).max(axis=1), 1)
    share = np.clip((limit[high] - light) / over, 0, 1)
    made[high, 1:] = 128 + share[:, None] * chroma


def luma_range(tags: ColorTags) -> tuple[float, float]:
    """Return the number of code values from black to white luma, and the code value of black."""
    row = yuv_of_rgb(tags)[0]
    return float(255 * row[:3].sum()), float(row[3])


def unit(luma: NDArray[Any], scale: float, black: float) -> Floats:
    """Convert code values of luma to [0, 1]."""
    light = (luma.astype(np.float32) - np.float32(black)) / np.float32(scale)
    return np.asarray(np.clip(light, 0, 1), np.float32)
