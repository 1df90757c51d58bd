"""The automatic ratio as ONNX operators: what `light/exposure.py` does in numpy.

Shapes: N pictures of M blocks. Numbers of a picture are (N, 1).
"""

from __future__ import annotations

import numpy as np

from streamkind.backends.onnx_graph import FLOAT, GraphBuilder, Tensor
from streamkind.light import exposure as light

_GRID = 256
"""Number of steps in each of two searches for the brightest blocks. They find a luma with an error
of at most 1/65,536."""
_BRIGHTEST = 0.95
"""Share of the weight of all blocks that is below the brightest twentieth."""
_NONE = 2.0
"""Value that means "no block". It and its negative are outside the range of luma."""


def add_ratio(
    g: GraphBuilder,
    curve: Tensor,
    thumbnail: Tensor,
    exposure: Tensor,
    target: float,
    *,
    still: bool,
) -> Tensor:
    """Add the choice of the ratio from the statistics of the decompose graph; return it, (N,).

    It is `light.exposure.auto_ratio`. `target` is the mean luma to aim at on average.
    """
    blocks = g.add("Flatten", thumbnail, axis=1)
    weight = _lamp_weight(g, blocks)
    luma = _weighted(g, blocks, weight)
    exposure = g.add("Unsqueeze", exposure, [1])
    visible = g.smooth_step(blocks, light.BLACK, light.LIT)
    lit = _weighted(g, visible, weight)
    mean = g.sum("ReduceMean", blocks, 1)
    if still:
        lit, exposure = _of_still(g, blocks, weight, lit, mean, exposure)
    aim = exposure * (target / light.DEFAULT_TARGET) * (lit + light.SHADOW * (1.0 - lit))
    mean = mean / g.at_least(g.sum("ReduceMean", visible, 1), light.LEAST_VISIBLE)
    night = 1.0 - g.smooth_step(mean, light.NIGHT, light.DAY)
    rising = _rising(g, curve)
    unchanged = g.add("MatMul", rising, _shares_at_one())
    aim = unchanged + g.at_least(aim - luma) * night
    stops = _inverse(g, aim, rising)
    stops = g.add("Where", g.add("LessOrEqual", aim, unchanged), 0.0, stops)
    ratio = g.add("Min", g.add("Pow", 2.0, stops), 1.0 + luma / light.FAINTEST)
    return g.add("Squeeze", ratio, [1])


def _of_still(
    g: GraphBuilder, blocks: Tensor, weight: Tensor, lit: Tensor, mean: Tensor, exposure: Tensor
) -> tuple[Tensor, Tensor]:
    """Change visible share and exposure as `light.exposure.wanted_luma` does for stills."""
    bright = g.smooth_step(_brightest(g, blocks, weight), light.DIM, light.BRIGHT)
    shadows = (1.0 - lit) * g.smooth_step(lit, light.PATCHY, light.WHOLE) * (1.0 - bright)
    bright = bright * (1.0 - g.smooth_step(mean, light.LAMPS, light.SKY))
    return lit + shadows, exposure - g.at_least(exposure - light.PARTLY) * bright


def _lamp_weight(g: GraphBuilder, luma: Tensor) -> Tensor:
    return 1.0 - (1 - light.LAMP_SHARE) * g.smooth_step(luma, light.LAMP, light.GLARE)


def _weighted(g: GraphBuilder, values: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean over the blocks, (N, M) -> (N, 1)."""
    return g.sum("ReduceSum", values * weight, 1) / g.sum("ReduceSum", weight, 1)


def _brightest(g: GraphBuilder, blocks: Tensor, weight: Tensor) -> Tensor:
    """Return the luma that a twentieth of the weight exceeds, (N, 1): `exposure.brightest_of`.

    It is found without sorting, because TensorRT sorts 3,840 values at most. `a` is the brightest
    block up to which the weight is within the wanted one; `b` and `c` are the next brighter ones.
    """
    wanted = g.sum("ReduceSum", weight, 1) * _BRIGHTEST
    place = wanted * 0.0
    step = 1.0
    for _ in range(2):
        step /= _GRID
        grid = np.arange(_GRID, dtype=np.float32)[None] * np.float32(step)
        place = _last_within(g, blocks, weight, wanted, place + grid, step)
    below = g.add("LessOrEqual", blocks, place)
    a = g.sum("ReduceMax", g.add("Where", below, blocks, -_NONE), 1)
    b = _next(g, blocks, place)
    c = _next(g, blocks, b)
    c = g.add("Where", g.add("Greater", c, 1.0), b, c)
    a = g.add("Where", g.add("Less", a, 0.0), b, a)
    weight_a, weight_b, weight_c = (_lamp_weight(g, one) * 0.5 for one in (a, b, c))
    until_a, until_b = (_weight_until(g, blocks, weight, one) for one in (place, b))
    first = (b - a) * _ramp(g, wanted, until_a - weight_a, weight_a + weight_b)
    second = (c - b) * _ramp(g, wanted, until_b - weight_b, weight_b + weight_c)
    return a + (first + second)


def _ramp(g: GraphBuilder, value: Tensor, begin: Tensor, length: Tensor) -> Tensor:
    """Rise linearly from 0 at `begin` to 1 at `begin + length`."""
    return g.clip((value - begin) / length)


def _next(g: GraphBuilder, blocks: Tensor, luma: Tensor) -> Tensor:
    """Return the luma of the darkest block that is brighter than `luma`; `_NONE` without one."""
    above = g.add("Greater", blocks, luma)
    return g.sum("ReduceMin", g.add("Where", above, blocks, _NONE), 1)


def _weight_until(g: GraphBuilder, blocks: Tensor, weight: Tensor, luma: Tensor) -> Tensor:
    """Return the weight of all blocks up to each of K values of luma, (N, K)."""
    within = g.add("LessOrEqual", g.add("Unsqueeze", blocks, [2]), g.add("Unsqueeze", luma, [1]))
    within = g.cast(within, FLOAT)
    sums = g.add("MatMul", g.add("Unsqueeze", weight, [1]), within)
    return g.add("Squeeze", sums, [1])


def _last_within(
    g: GraphBuilder, blocks: Tensor, weight: Tensor, wanted: Tensor, grid: Tensor, step: float
) -> Tensor:
    """Return the last value of a grid, (N, K), up to which the weight is within `wanted`, (N, 1).

    If there is none, return the value one step before the grid.
    """
    within = g.add("LessOrEqual", _weight_until(g, blocks, weight, grid), wanted)
    count = g.sum("ReduceSum", g.cast(within, FLOAT), 1)
    return g.slice(grid, 0, 1, 1) + (count - 1.0) * step


def _rising(g: GraphBuilder, curve: Tensor) -> Tensor:
    """Return, for each point of a curve, the largest value up to it, (N, 17)."""
    count = len(light.RATIOS)
    before = np.tril(np.ones((count, count), np.float32))[None]
    seen = g.add("Unsqueeze", curve, [1]) * before  # curves are not negative
    return g.add("Squeeze", g.sum("ReduceMax", seen, 2), [2])


def _shares_at_one() -> light.Floats:
    """Return the weights of the points of a curve for its value at a ratio of 1, (17, 1)."""
    units = np.eye(len(light.RATIOS))
    stops = np.log2(light.RATIOS)
    return np.array([[np.interp(0.0, stops, unit)] for unit in units], np.float32)


def _inverse(g: GraphBuilder, value: Tensor, rising: Tensor) -> Tensor:
    """Return the binary logarithm of the ratio at which a curve has a value, (N, 1)."""
    stops, count = np.log2(light.RATIOS), len(light.RATIOS)
    sloped = rising + np.float32(1e-6) * np.arange(count, dtype=np.float32)
    begin, end = g.slice(sloped, 0, count - 1, 1), g.slice(sloped, 1, count, 1)
    parts = _ramp(g, value, begin, end - begin)
    rise = g.add("MatMul", parts, np.diff(stops)[:, None].astype(np.float32))
    return rise + float(stops[0])
