"""KinD at a fraction of its cost: the nets see a reduced picture, and their light is carried up.

What the nets make of the reduced picture is, near each place, a straight line of the luma they saw:
out = a in + b, as in the guided filter of He, Sun and Tang (TPAMI 2013; at a reduced size: *Fast
Guided Filter*, 2015). Both coefficients are enlarged and applied to the whole picture's luma, so
that its detail stays; where there is only noise `a` is 0, and what the nets restored is left.
Chroma is the restored one. Planes stay YUV 4:2:0 from decoder to encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streamkind.backends.base import Layers
from streamkind.engine.lines import Plane, along_lines, coefficients
from streamkind.engine.local import keep_below_white, raise_yuv
from streamkind.engine.whole import Filmed, Whole, network_shares
from streamkind.light.exposure import Floats, smooth_step
from streamkind.video.color import UNSURE, rgb_of_yuv, yuv_of_rgb
from streamkind.video.format import ColorTags
from streamkind.video.frames import Pixels, PixFmt, size_of

PALER = [
    (128 + share * (np.arange(256) - 128.0)).round().astype(np.uint8)
    for share in smooth_step(np.arange(*UNSURE, dtype=np.float32), *UNSURE)
]
"""What becomes of chroma, 0 to 255, at each level between the two, the first included."""
FULL = ColorTags()
Planes = tuple[Plane, Plane, Plane]
"""Y, U and V of one picture, (H, W) and twice (H/2, W/2) or (H, W)."""


@dataclass(frozen=True, slots=True)
class ReducedLayers(Layers):
    """Layers of reduced pictures; `pixels` are the whole ones."""

    small: Pixels
    """RGB, (N, h, w, 3)."""
    luma: Pixels
    """Luma of `small`, (N, h, w)."""


class Relit(NamedTuple):
    """A reduced picture, relit."""

    picture: Pixels
    """(h, w, 3) YUV."""
    own: Floats | None = None
    """How much of the frame's own detail is in it, (h, w); None: not told."""


class Reduced:
    """A view in which the network sees frames of at most `area` pixels.

    Frames of at most `most_whole` pixels are not reduced. Takes RGB, or planes of `color`: yuv420p
    as FFmpeg lays it out, (N, 3 H / 2, W).
    """

    state: Any = None

    def __init__(
        self,
        whole: Whole,
        area: int,
        color: ColorTags | None = None,
        *,
        most_whole: int | None = None,
    ) -> None:
        self._whole = whole
        self._area, self._most_whole = area, most_whole or area
        self._color = color or ColorTags()

    @property
    def max_batch(self) -> int:
        """Most frames worth giving at once."""
        return self._whole.max_batch

    def decompose(self, pixels: Pixels) -> Layers:
        """(N, H, W, 3) RGB or (N, 3 H / 2, W) yuv420p -> layers of the reduced pictures."""
        size = self.small_size(pixels)
        if size is None:
            return self._whole.decompose(pixels)
        small = [reduce(picture, size, self.color_of(pixels)) for picture in pixels]
        rgb, luma = (np.stack(column) for column in zip(*small, strict=True))
        return self.split(pixels, rgb, luma)

    def split(self, pixels: Pixels, small: Pixels, luma: Pixels) -> ReducedLayers:
        """Whole and reduced pictures -> layers of the reduced ones."""
        layers = self._whole.decompose(small)
        parts = (layers.reflectance, layers.illumination, layers.statistics, pixels)
        return ReducedLayers(*parts, small=small, luma=luma)

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Filter the layers of N consecutive frames over time."""
        return self._whole.steady(layers, before, strength)

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """Pixels as `decompose` had them, at the size of the input."""
        if not isinstance(layers, ReducedLayers):
            return self._whole.recompose(layers, ratios)
        shares = network_shares(ratios)
        if not shares.any():
            return layers.pixels.copy()
        return self.enlarge(layers, self.relight(layers, ratios), shares)

    def relight(self, layers: ReducedLayers, ratios: Floats) -> list[Relit]:
        """Restore and relight the reduced pictures."""
        clear = self._whole.relight(layers, ratios, size_of(layers.small))
        tags = self.color_of(layers.pixels)
        matrix, relit = yuv_of_rgb(tags), []
        for small, made, pixels in zip(layers.small, clear, layers.pixels, strict=True):
            picture = transform(made, matrix)
            if isinstance(self._whole, Filmed):
                relit.append(Relit(*raise_yuv(small, picture, points(pixels, small), tags)))
            else:
                relit.append(Relit(picture))
        return relit

    def enlarge(self, layers: ReducedLayers, relit: Sequence[Relit], shares: Floats) -> Pixels:
        """Relight whole pictures as the N reduced ones were; returns pictures as the input.

        `shares` below 1, (N,), leave as much of a picture as it was.
        """
        carried = np.empty_like(layers.pixels)
        for i, (clear, own) in enumerate(relit):
            planes, share = planes_of(layers.pixels[i]), float(shares[i])
            into = planes_of(carried[i]) if carried.ndim == 3 else None
            made = carry(
                planes,
                layers.luma[i],
                clear,
                share,
                own=own,
                tags=self.color_of(layers.pixels),
                into=into,
            )
            if into is None:
                cv2.transform(cv2.merge(made), rgb_of_yuv(ColorTags()), dst=carried[i])
        return carried

    def join(self, layers: Sequence[Layers]) -> Layers:
        """Copy layers of frames of one size into one batch."""
        return self._whole.join(layers)

    def small_size(self, pixels: Pixels) -> tuple[int, int] | None:
        """Return the size to which pictures are reduced; None if they are not."""
        width, height = size_of(pixels)
        whole = width * height <= self._most_whole
        return None if whole else reduced_size(width, height, self._area)

    def color_of(self, pixels: Pixels) -> ColorTags:
        """Return how the YUV of pictures is meant."""
        return self._color if pixels.ndim == 3 else ColorTags()


def carried_pix_fmt(width: int, height: int, whole: int) -> PixFmt:
    """Planes for pictures of more than `whole` pixels, which need not become RGB at all."""
    even = width % 2 == height % 2 == 0
    return "yuv420p" if even and width * height > whole else "rgb24"


def reduced_size(width: int, height: int, area: int) -> tuple[int, int] | None:
    """Width and height divided by the least integer that leaves at most `area`; None for 1."""
    # By an integer: means of whole pixels, which is also several times as fast.
    factor = next(k for k in range(1, max(width, height) + 1) if width * height <= area * k * k)
    return None if factor == 1 else (max(1, round(width / factor)), max(1, round(height / factor)))


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


def carry(
    planes: Planes,
    luma: Plane,
    clear: Pixels,
    share: float = 1.0,
    *,
    own: Floats | None = None,
    tags: ColorTags = FULL,
    into: Planes | None = None,
) -> Planes:
    """Relight a whole picture as its reduced one was: (h, w) luma -> (h, w, 3) YUV.

    `share` below 1 leaves as much of the picture as it was. `own`, (h, w), is how much of its own
    detail is left at least: what is finer than a reduced pixel. `into` takes the planes made.
    """
    made = into or (np.empty_like(planes[0]), np.empty_like(planes[1]), np.empty_like(planes[2]))
    after, *colors = cv2.split(clear)
    slope, offset = coefficients(luma, after)
    if own is not None:
        slope = np.maximum(slope, own)
        offset = after - slope * luma
    if share < 1:
        slope, offset = 1 + share * (slope - 1), share * offset
    along_lines(planes[0], slope, offset, made[0])
    if own is not None:
        keep_below_white(planes[0], made[0], tags)
    for before, plane, to in zip(planes[1:], colors, made[1:], strict=True):
        cv2.resize(plane, before.shape[::-1], dst=to)
        if share < 1:
            cv2.addWeighted(before, 1 - share, to, share, 0, dst=to)
    return made


def transform(picture: Pixels, matrix: NDArray[np.float64]) -> Pixels:
    """Take each pixel, (H, W, 3), through a (3, 4) matrix."""
    return np.asarray(cv2.transform(picture, matrix), np.uint8)
