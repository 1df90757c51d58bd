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

from streamkind.backends.base import Layers
from streamkind.engine.lines import along_lines, coefficients
from streamkind.engine.local import keep_below_white, raise_yuv
from streamkind.engine.shrink import (
    Planes,
    means_of,
    planes_of,
    points,
    reduce,
    transform,
)
from streamkind.engine.whole import Filmed, Whole, network_shares
from streamkind.light.exposure import Floats
from streamkind.video.color import rgb_of_yuv, yuv_of_rgb
from streamkind.video.format import ColorTags
from streamkind.video.frames import Pixels, PixFmt, size_of

FULL = ColorTags()


@dataclass(frozen=True, slots=True)
class ReducedLayers(Layers):
    """Layers of reduced pictures; `pixels` are the whole ones."""

    small: Floats
    """RGB, (N, h, w, 3), in levels of 8 bits: means that are not rounded."""
    luma: Floats
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
        small = [self.reduced(picture, size, self.color_of(pixels)) for picture in pixels]
        rgb, luma = (np.stack(column) for column in zip(*small, strict=True))
        return self.split(pixels, rgb, luma)

    def reduced(
        self, picture: Pixels, size: tuple[int, int], tags: ColorTags
    ) -> tuple[Floats, Floats]:
        """Means over a picture: RGB, (h, w, 3), and luma, (h, w).

        Of a video all colour is seen: `restrain` keeps from the output what was only rounding.
        """
        if not isinstance(self._whole, Filmed):
            return reduce(picture, size, tags)
        return means_of(picture, size, tags)

    def split(self, pixels: Pixels, small: Floats, luma: Floats) -> ReducedLayers:
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


def carry(
    planes: Planes,
    luma: Floats,
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
