"""OpenCV's filters and scaling as ONNX operators, for pictures of any size.

Planes are (N, C, h, w). Outside a plane, the pixels are those of its mirror image, in which the
outermost pixel is not repeated (`cv2.BORDER_REFLECT_101`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamkind.backends.onnx_graph import FLOAT, GraphBuilder, Tensor

ROWS, COLUMNS = 2, 3
"""Axes of a plane."""


class Window:
    """Means over windows of 2 radius + 1 pixels, of planes of one size: `cv2.blur`.

    Each axis is a product with a matrix, so the radius may depend on the size.
    """

    def __init__(self, g: GraphBuilder, plane: Tensor, radius: int | Tensor) -> None:
        """Prepare for planes as large as `plane`. A radius is a constant, or (1,) int64."""
        self._g = g
        rows, columns = (_windows(g, g.size(plane, a), g.tensor(radius)) for a in (ROWS, COLUMNS))
        self._rows, self._columns = rows, g.add("Transpose", columns, perm=[1, 0])

    def mean(self, plane: Tensor) -> Tensor:
        """Return the mean of the window around each pixel."""
        return self._g.add("MatMul", self._g.add("MatMul", self._rows, plane), self._columns)

    def variance(self, plane: Tensor, mean: Tensor) -> Tensor:
        """Return the variance in the window around each pixel."""
        return self._g.at_least(self.mean(plane * plane) - mean * mean)


def _windows(g: GraphBuilder, length: Tensor, radius: Tensor) -> Tensor:
    """Return the matrix that computes means along an axis, (n, n).

    A mirrored axis has a period of twice its length minus 2, in which each inner pixel j occurs
    twice, as j and as -j. The weight of j is the number of times that it occurs among the
    2 radius + 1 pixels around i.
    """
    row = g.count_to(length)
    column, last = g.add("Unsqueeze", row, [1]), length - 1
    period = g.add("Max", 2 * last, 1)
    positive = period * (radius + 2)  # makes dividends positive: ONNX divides towards 0

    def times(begin: Tensor) -> Tensor:
        begin = begin + positive
        return (begin + radius) / period - (begin - radius - 1) / period

    ends = g.add("Equal", row * (last - row), 0)
    count = times(column - row) + g.add("Where", ends, 0, times(column + row))
    return g.cast(count, FLOAT) / g.cast(2 * radius + 1, FLOAT)


def shrunk(g: GraphBuilder, plane: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Scale planes down to a size, (1,) each, by means over parts of pixels: `cv2.INTER_AREA`."""
    rows, columns = (
        _means(g, g.size(plane, axis), small) for axis, small in ((ROWS, height), (COLUMNS, width))
    )
    turned = g.add("Transpose", columns, perm=[1, 0])
    return g.add("MatMul", g.add("MatMul", rows, plane), turned)


def _means(g: GraphBuilder, length: Tensor, small: Tensor) -> Tensor:
    """Return the matrix that computes means along an axis, (m, n): the share of pixels in each."""
    # In such units a pixel is `small` long, and a mean `length`.
    begin = g.add("Unsqueeze", g.count_to(small) * length, [1])
    pixel = g.count_to(length) * small
    until = g.add("Min", begin + length, pixel + small)
    common = g.add("Max", until - g.add("Max", begin, pixel), 0)
    return g.cast(common, FLOAT) / g.cast(length, FLOAT)


def nearest(g: GraphBuilder, plane: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Take single pixels of planes, `height` by `width` of them, (1,) each."""
    for axis, small in ((ROWS, height), (COLUMNS, width)):
        where = g.count_to(small) * g.size(plane, axis) / small
        plane = g.add("Gather", plane, where, axis=axis)
    return plane


def resized(g: GraphBuilder, plane: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Scale planes to a size, (1,) each, by linear interpolation: `cv2.INTER_LINEAR`."""
    whole = g.add("Concat", g.add("Shape", plane, end=2), height, width, axis=0)
    return g.add("Resize", plane, "", "", whole, mode="linear")


def gaussian(g: GraphBuilder, plane: Tensor, sigma: float, planes: int) -> Tensor:
    """Smooth (N, `planes`, h, w) by a Gaussian: `cv2.GaussianBlur` of float32."""
    radius = (round(sigma * 8 + 1) | 1) // 2
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    return _filtered(g, plane, kernel, planes)


def box(g: GraphBuilder, plane: Tensor, side: int, planes: int) -> Tensor:
    """Return means over windows of `side` pixels of (N, `planes`, h, w): a small `cv2.blur`."""
    return _filtered(g, plane, np.ones(side), planes)


def _filtered(g: GraphBuilder, plane: Tensor, kernel: NDArray[np.float64], planes: int) -> Tensor:
    """Filter both axes of (N, `planes`, h, w) by a kernel, (2 radius + 1,), whose sum becomes 1."""
    weights = np.tile((kernel / kernel.sum()).astype(np.float32), (planes, 1, 1))
    for axis, shaped in ((ROWS, weights[..., None]), (COLUMNS, weights[:, :, None])):
        around = _mirrored(g, plane, len(kernel) // 2, axis)
        plane = g.add("Conv", around, shaped, group=planes)
    return plane


def _mirrored(g: GraphBuilder, plane: Tensor, radius: int, axis: int) -> Tensor:
    """Put the mirror image of planes on both sides of an axis."""
    last = g.size(plane, axis) - 1
    period = g.add("Max", 2 * last, 1)
    place = g.count_to(last + (2 * radius + 1)) - radius
    place = g.add("Mod", place, period)  # not negative, as the divisor is not
    where = g.add("Min", place, period - place)
    return g.add("Gather", plane, g.add("Min", where, last), axis=axis)
