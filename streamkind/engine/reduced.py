"""Runs the network on a reduced picture, and transfers its result to the full size.

Around each reduced pixel, a straight line is fitted from the luma that the network saw to the luma
that it made: out = a in + b, as in the guided filter of He, Sun and Tang (TPAMI 2013; at a reduced
size: *Fast Guided Filter*, 2015). Both coefficients are enlarged and applied to the luma of the
full picture, so its detail stays. Where there is only noise, `a` is near 0 and the restored luma
`b` is left. Chroma is the restored one. Planes stay YUV 4:2:0 from decoder to encoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np

from streamkind.backends.base import Layers, Overlaps
from streamkind.engine.lines import along_lines, coefficients, split
from streamkind.engine.local import keep_below_white, raise_yuv
from streamkind.engine.shrink import (
    Planes,
    means_of,
    planes_of,
    points,
    reduce,
    transform,
)
from streamkind.engine.whole import Adapt, Filmed, Finish, Whole, network_shares
from streamkind.light.exposure import Floats
from streamkind.video.color import rgb_of_yuv, yuv_of_rgb
from streamkind.video.format import FULL_709, ColorTags
from streamkind.video.frames import Pixels, PixFmt, levels, size_of, stored


@dataclass(frozen=True, slots=True)
class ReducedLayers(Layers):
    """Layers of reduced pictures. `pixels` are the full pictures."""

    small: Floats
    """Reduced RGB, (N, h, w, 3), 0 to 255: means that are not rounded."""
    luma: Floats
    """Luma of `small`, (N, h, w), in code values of the pictures."""
    result: Any = field(default=None, kw_only=True)
    """The network's result for these layers, which a view that skips frames stores here."""


class Relit(NamedTuple):
    """One reduced picture after relighting."""

    planes: Sequence[Floats]
    """Y, U and V that are not rounded, (h, w) each."""
    own: Floats | None = None
    """Share of the frame's own detail in it, (h, w); None for stills."""


class Reduced:
    """A view in which frames are reduced to at most `area` pixels for the network.

    Frames of at most `most_whole` pixels are not reduced. With `carries`, their result is
    transferred to the frame in the same way, because a view that skips frames needs that. Frames
    are RGB, (N, H, W, 3), or yuv420p of the tags `color`, (N, 3 H / 2, W), as FFmpeg lays it out.
    """

    state: Any = None

    def __init__(
        self,
        whole: Whole,
        area: int,
        color: ColorTags | None = None,
        *,
        most_whole: int | None = None,
        carries: bool = False,
    ) -> None:
        self._whole = whole
        self._area, self._most_whole, self._carries = area, most_whole or area, carries
        self._color = color or FULL_709

    @property
    def max_batch(self) -> int:
        """Largest useful batch, in frames."""
        return self._whole.max_batch

    @property
    def overlaps(self) -> bool:
        """Whether `relight` may run in one thread while another thread runs the steps before it."""
        backend = self._whole.backend
        return isinstance(backend, Overlaps) and backend.overlaps

    def decompose(self, pixels: Pixels) -> Layers:
        """Reduce (N, H, W, 3) RGB or (N, 3 H / 2, W) yuv420p, and split it into layers."""
        size = self.small_size(pixels)
        if size is None:
            return self._whole.decompose(pixels)
        small = [self.reduced(picture, size, self.color_of(pixels)) for picture in pixels]
        rgb, luma = (np.stack(column) for column in zip(*small, strict=True))
        return self.split(pixels, rgb, luma)

    def reduced(
        self, picture: Pixels, size: tuple[int, int], tags: ColorTags
    ) -> tuple[Floats, Floats]:
        """Return the means over a picture: RGB, (h, w, 3), and luma, (h, w).

        For videos the network gets all colour, because `restrain` removes from the output the
        colour that was only rounding. For stills, colour near black is removed here.
        """
        if not isinstance(self._whole, Filmed):
            return reduce(picture, size, tags)
        return means_of(picture, size, tags)

    def split(self, pixels: Pixels, small: Floats, luma: Floats) -> ReducedLayers:
        """Split reduced pictures into layers, which keep the full pictures too."""
        layers = self._whole.decompose(small)
        parts = (layers.reflectance, layers.illumination, layers.statistics, pixels)
        return ReducedLayers(*parts, small=small, luma=luma, ground=layers.ground, seen=layers.seen)

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Filter the layers of N consecutive frames over time."""
        return self._whole.steady(layers, before, strength)

    def relight(self, layers: Layers, ratios: Floats) -> Adapt:
        """Restore and relight the reduced pictures. Return the next step.

        The last step returns frames of the shape that `decompose` received.
        """
        if not isinstance(layers, ReducedLayers):
            return self._whole.relight(layers, ratios)
        shares = network_shares(ratios)
        if not shares.any():
            return lambda: layers.pixels.copy
        restored = self.restored(layers, ratios)
        return lambda: self.finish(layers, self.adapted(layers, restored), shares)

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """Return enhanced frames of the shape that `decompose` received."""
        return self.relight(layers, ratios)()()

    def restored(self, layers: ReducedLayers, ratios: Floats) -> Pixels:
        """Return the network's results for the reduced pictures, (N, h, w, 3) RGB."""
        return self._whole.restored(layers, ratios, size_of(layers.small))

    def finish(self, layers: ReducedLayers, relit: Sequence[Relit], shares: Floats) -> Finish:
        """Return the step that transfers relit reduced pictures to the full ones.

        `shares`, (N,), is the share of the result in the output; the rest is the input.
        """
        return partial(self._enlarge, layers.pixels, layers.luma, relit, shares)

    def adapted(self, layers: ReducedLayers, restored: Pixels) -> list[Relit]:
        """Convert the network's results to YUV; for videos, apply local ratio and colour rule."""
        tags = self.color_of(layers.pixels)
        matrix, relit = yuv_of_rgb(tags), []
        for i, (small, made) in enumerate(zip(layers.small, restored, strict=True)):
            picture = np.asarray(cv2.transform(made.astype(np.float32), matrix), np.float32)
            if isinstance(self._whole, Filmed):
                single = points(layers.pixels[i], small)
                ground = None if layers.ground is None else layers.ground[i]
                seen = small if layers.seen is None else levels(layers.seen[i])
                raised, own = raise_yuv(seen, picture, single, tags, ground)
                relit.append(Relit(split(raised), own))
            else:
                relit.append(Relit(split(picture)))
        return relit

    def _enlarge(
        self, pixels: Pixels, luma: Floats, relit: Sequence[Relit], shares: Floats
    ) -> Pixels:
        """Transfer the N relit reduced pictures to the full ones; return pictures as the input.

        `luma`, (N, h, w), is that of `ReducedLayers`.
        """
        carried, tags = np.empty_like(pixels), self.color_of(pixels)
        for i, (clear, own) in enumerate(relit):
            planes, share = planes_of(pixels[i]), float(shares[i])
            into = planes_of(carried[i]) if carried.ndim == 3 else None
            made = carry(planes, luma[i], clear, share, own=own, tags=tags, into=into)
            if into is None:
                yuv = np.asarray(cv2.merge(made))
                carried[i] = transform(yuv, rgb_of_yuv(ColorTags()))
        return carried

    def join(self, layers: Sequence[Layers]) -> Layers:
        """Copy layers of frames of one size into one batch."""
        return self._whole.join(layers)

    def small_size(self, pixels: Pixels) -> tuple[int, int] | None:
        """Return the size of the reduced frame; None if the network's result is the output."""
        size = size_of(pixels)
        reduced = reduced_size(*size, self._area, self._most_whole)
        return size if reduced is None and self._carries else reduced

    def color_of(self, pixels: Pixels) -> ColorTags:
        """Return the tags by which the YUV of pictures is converted."""
        return self._color if pixels.ndim == 3 else ColorTags()


def carried_pix_fmt(width: int, height: int, area: int | None, whole: int, every: int) -> PixFmt:
    """Return yuv420p for pictures with even sides that a result is transferred to, else rgb24.

    The arguments after the size are those of `Engine`. Where frames are skipped, that is every
    picture; else those of more than `whole` pixels, if there is an `area` to reduce them to.
    """
    even = width % 2 == height % 2 == 0
    carried = area is not None and (every > 1 or width * height > whole)
    return "yuv420p" if even and carried else "rgb24"


def reduced_size(width: int, height: int, area: int, whole: int) -> tuple[int, int] | None:
    """Return width and height of the reduced picture; None for one of up to `whole` pixels.

    Both are divided by the least integer that leaves at most `area` pixels. If `whole` is less than
    `area`, at least `whole` pixels are left, by a divisor that is no integer.
    """
    pixels = width * height
    if pixels <= whole:
        return None
    # With an integer, means are over whole pixels, which is also several times as fast.
    factor = float(max(2, math.ceil(math.sqrt(pixels / area))))
    if whole < area:
        factor = min(factor, math.sqrt(pixels / whole))
    return max(1, round(width / factor)), max(1, round(height / factor))


def carry(
    planes: Planes,
    luma: Floats,
    clear: Sequence[Floats],
    share: float = 1.0,
    *,
    own: Floats | None = None,
    tags: ColorTags = FULL_709,
    into: Planes | None = None,
) -> Planes:
    """Transfer the result for a reduced picture to the planes of the full one.

    `luma`, (h, w), is the luma of the network's input, and `clear` are Y, U and V of the result.
    `share` is the share of the result in the output. `own`, (h, w), is the least share of the
    picture's own detail, which is finer than a reduced pixel. The planes are written to `into`, if
    given.
    """
    made = into or (np.empty_like(planes[0]), np.empty_like(planes[1]), np.empty_like(planes[2]))
    after, *colors = clear
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
        cv2.resize(stored(np.asarray(plane), to.dtype), before.shape[::-1], dst=to)
        if share < 1:
            cv2.addWeighted(before, 1 - share, to, share, 0, dst=to)
    return made
