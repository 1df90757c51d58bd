"""Planes and their means: how a picture is scaled down for the network."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamkind.engine.lines import Plane
from streamkind.light.exposure import smooth_step
from streamkind.video.color import UNSURE, rgb_of_yuv, yuv_of_rgb
from streamkind.video.format import ColorTags
from streamkind.video.frames import Pixels

PALER = [
    (128 + share * (np.arange(256) - 128.0)).round().astype(np.uint8)
    for share in smooth_step(np.arange(*UNSURE, dtype=np.float32), *UNSURE)
]
"""What becomes of chroma, 0 to 255, at each level between the two, the first included."""
Planes = tuple[Plane, Plane, Plane]
"""Y, U and V of one picture, (H, W) and twice (H/2, W/2) or (H, W)."""


def planes_of(picture: Pixels) -> Planes:
    """Split one picture, RGB (H, W, 3) or yuv420p (3 H / 2, W)."""
    if picture.ndim == 3:
        yuv = transform(picture, yuv_of_rgb(ColorTags()))
        return yuv[..., 0], yuv[..., 1], yuv[..., 2]
    rows, width = picture.shape
    height = rows * 2 // 3
    u, v = picture[height:].reshape(2, height // 2, width // 2)
    return picture[:height], u, v


def points(picture: Pixels, small: Pixels) -> Plane:
    """Luma of single pixels of a picture, as many as one reduced has, (h, w)."""
    size = small.shape[1::-1]
    rows = planes_of(picture)[0] if picture.ndim == 2 else picture
    found = cv2.resize(rows, size, interpolation=cv2.INTER_NEAREST)
    plane = np.asarray(found, np.uint8)
    return planes_of(plane)[0] if picture.ndim == 3 else plane


def reduce(picture: Pixels, size: tuple[int, int], tags: ColorTags) -> tuple[Pixels, Plane]:
    """Means over a picture: RGB, (h, w, 3), and luma, (h, w)."""
    if picture.ndim == 2:
        yuv = without_cast(yuv_at(size, picture), tags)
        return transform(yuv, rgb_of_yuv(tags)), yuv[..., 0]
    rgb = rgb_at(size, picture, tags)
    yuv = without_cast(transform(rgb, yuv_of_rgb(tags)), tags)
    paler = cv2.compare(yuv[..., 0], yuv_of_rgb(tags)[0, 3] + UNSURE[1], cv2.CMP_LT)
    cv2.copyTo(transform(yuv, rgb_of_yuv(tags)), paler, rgb)  # the rest without a trip to YUV
    return rgb, yuv[..., 0]


def without_cast(yuv: Pixels, tags: ColorTags) -> Pixels:
    """Take the colour from what is near black in reduced planes, (h, w, 3).

    There one level of chroma that was rounded is a third of the light; relit, it would be purple.
    """
    luma, *colors = cv2.split(yuv)
    black = yuv_of_rgb(tags)[0, 3]
    for level, paler in enumerate(PALER, UNSURE[0]):
        at = cv2.compare(luma, black + level, cv2.CMP_LE if level == UNSURE[0] else cv2.CMP_EQ)
        colors = [cv2.copyTo(cv2.LUT(plane, paler), at, plane) for plane in colors]
    return np.asarray(cv2.merge([luma, *colors]), np.uint8)


def rgb_at(size: tuple[int, int], picture: Pixels, tags: ColorTags) -> Pixels:
    """Scale a picture, RGB or yuv420p of `tags`, to width and height: RGB, (h, w, 3)."""
    if picture.ndim == 3:
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return transform(yuv_at(size, picture), rgb_of_yuv(tags))


def yuv_at(size: tuple[int, int], picture: Pixels) -> Pixels:
    """Scale yuv420p to width and height: YUV, (h, w, 3)."""
    return np.asarray(cv2.merge([shrunk(p, size) for p in planes_of(picture)]), np.uint8)


def shrunk(plane: Plane, size: tuple[int, int]) -> Plane:
    """Means over a plane, scaled down to width and height."""
    factor = round(plane.shape[1] / size[0])
    if factor % 2 == 0 or plane.shape[1] == factor * size[0]:
        return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)
    # OpenCV is slow at means over parts of pixels; 1280 pixels become 427 of 2.998.
    means = plane if factor == 1 else cv2.blur(plane, (factor, factor))
    return np.asarray(cv2.resize(means, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def transform(picture: Pixels, matrix: NDArray[np.float64]) -> Pixels:
    """Take each pixel, (H, W, 3), through a (3, 4) matrix."""
    return np.asarray(cv2.transform(picture, matrix), np.uint8)
