"""The automatic ratio of stills as ONNX operators: what `light/exposure.py` does in numpy.

Shapes: N pictures of M blocks. Numbers of a picture are (N, 1).
"""

from __future__ import annotations

import numpy as np

from streamkind.backends.onnx_graph import FLOAT, GraphBuilder
from streamkind.light import exposure as light

_GRID = 256
"""Steps of each of two searches for the brightest blocks: a luma is found to 1/65,536."""
_BRIGHTEST = 0.95
"""Share of the weight of all blocks that is below the brightest twentieth."""
_NONE = 2.0
"""A luma that no block has: above 1, and negated below 0."""


def add_ratio(g: GraphBuilder, curve: str, thumbnail: str, exposure: str, target: float) -> str:
    """Add the choice of the ratio from the statistics of the decompose graph; return it, (N,).

    `target` is the mean luma to aim at on average. It is `light.exposure.auto_ratio` for stills.
    """
    blocks = g.add("Flatten", thumbnail, axis=1)
    weight = _lamp_weight(g, blocks)
    luma = _weighted(g, blocks, weight)
    wanted = _wanted(g, blocks, weight, luma, g.add("Unsqueeze", exposure, [1]), target)
    rising = _rising(g, curve)
    unchanged = g.add("MatMul", rising, _shares_at_one())
    aim = g.add("Sub", g.add("Add", unchanged, wanted), luma)
    aim = g.add("Max", aim, np.float32(0))
    stops = _inverse(g, aim, rising)
    stops = g.add("Where", g.add("LessOrEqual", aim, unchanged), np.float32(0), stops)
    most = g.add("Add", np.float32(1), g.add("Div", luma, np.float32(light.FAINTEST)))
    ratio = g.add("Min", g.add("Pow", np.float32(2), stops), most)
    return g.add("Squeeze", ratio, [1])


def _wanted(
    g: GraphBuilder, blocks: str, weight: str, luma: str, exposure: str, target: float
) -> str:
    """The luma to aim at: `light.exposure.wanted_luma` for stills."""
    lit = _weighted(g, g.smooth_step(blocks, light.BLACK, light.LIT), weight)
    mean = g.sum("ReduceMean", blocks, 1)
    bright = g.smooth_step(_brightest(g, blocks, weight), light.DIM, light.BRIGHT)
    whole = g.smooth_step(lit, light.PATCHY, light.WHOLE)
    shadows = g.add("Mul", g.add("Mul", g.one_minus(lit), whole), g.one_minus(bright))
    lit = g.add("Add", lit, shadows)
    lamps = g.one_minus(g.smooth_step(mean, light.LAMPS, light.SKY))
    partly = g.add("Max", g.add("Sub", exposure, np.float32(light.PARTLY)), np.float32(0))
    less = g.add("Mul", partly, g.add("Mul", bright, lamps))
    exposure = g.add("Sub", exposure, less)
    black = g.add("Mul", np.float32(light.SHADOW), g.one_minus(lit))
    aim = g.add("Mul", exposure, np.float32(target / light.DEFAULT_TARGET))
    aim = g.add("Mul", aim, g.add("Add", lit, black))
    night = g.one_minus(g.smooth_step(mean, light.NIGHT, light.DAY))
    more = g.add("Max", g.add("Sub", aim, luma), np.float32(0))
    return g.add("Add", luma, g.add("Mul", more, night))


def _lamp_weight(g: GraphBuilder, luma: str) -> str:
    lamp = g.smooth_step(luma, light.LAMP, light.GLARE)
    return g.one_minus(g.add("Mul", np.float32(1 - light.LAMP_SHARE), lamp))


def _weighted(g: GraphBuilder, values: str, weight: str) -> str:
    """Weighted mean over the blocks, (N, M) -> (N, 1)."""
    total = g.sum("ReduceSum", g.add("Mul", values, weight), 1)
    return g.add("Div", total, g.sum("ReduceSum", weight, 1))


def _brightest(g: GraphBuilder, blocks: str, weight: str) -> str:
    """The luma that a twentieth of the weight exceeds: `light.exposure.brightest_of`, (N, 1).

    It is found without sorting, because TensorRT sorts 3,840 values at most. `a` is the brightest
    block up to which the weight is within the wanted one; `b` and `c` are the next brighter ones.
    """
    wanted = g.add("Mul", g.sum("ReduceSum", weight, 1), np.float32(_BRIGHTEST))
    place: str = g.add("Mul", wanted, np.float32(0))
    step = 1.0
    for _ in range(2):
        step /= _GRID
        grid = np.arange(_GRID, dtype=np.float32)[None] * np.float32(step)
        place = _last_within(g, blocks, weight, wanted, g.add("Add", place, grid), step)
    below = g.add("LessOrEqual", blocks, place)
    a = g.sum("ReduceMax", g.add("Where", below, blocks, np.float32(-_NONE)), 1)
    b = _next(g, blocks, place)
    c = _next(g, blocks, b)
    c = g.add("Where", g.add("Greater", c, np.float32(1)), b, c)
    a = g.add("Where", g.add("Less", a, np.float32(0)), b, a)
    weight_a, weight_b, weight_c = (_half(g, one) for one in (a, b, c))
    until_a, until_b = (_weight_until(g, blocks, weight, one) for one in (place, b))
    rise_a = _ramp(g, wanted, g.add("Sub", until_a, weight_a), g.add("Add", weight_a, weight_b))
    rise_b = _ramp(g, wanted, g.add("Sub", until_b, weight_b), g.add("Add", weight_b, weight_c))
    first = g.add("Mul", g.add("Sub", b, a), rise_a)
    second = g.add("Mul", g.add("Sub", c, b), rise_b)
    return g.add("Add", a, g.add("Add", first, second))


def _half(g: GraphBuilder, luma: str) -> str:
    return g.add("Mul", _lamp_weight(g, luma), np.float32(0.5))


def _ramp(g: GraphBuilder, value: str, begin: str, length: str) -> str:
    """0 up to `begin`, 1 from `begin + length` on."""
    return g.clip(g.add("Div", g.add("Sub", value, begin), length))


def _next(g: GraphBuilder, blocks: str, luma: str) -> str:
    """The darkest block that is brighter than `luma`; `_NONE` if there is none."""
    above = g.add("Greater", blocks, luma)
    return g.sum("ReduceMin", g.add("Where", above, blocks, np.float32(_NONE)), 1)


def _weight_until(g: GraphBuilder, blocks: str, weight: str, luma: str) -> str:
    """Weight of all blocks up to each of K values of luma, (N, K)."""
    within = g.add("LessOrEqual", g.add("Unsqueeze", blocks, [2]), g.add("Unsqueeze", luma, [1]))
    within = g.cast(within, FLOAT)
    sums = g.add("MatMul", g.add("Unsqueeze", weight, [1]), within)
    return g.add("Squeeze", sums, [1])


def _last_within(
    g: GraphBuilder, blocks: str, weight: str, wanted: str, grid: str, step: float
) -> str:
    """The last value of a grid, (N, K), up to which the weight is within `wanted`, (N, 1).

    One step before the grid if there is none.
    """
    within = g.add("LessOrEqual", _weight_until(g, blocks, weight, grid), wanted)
    count = g.sum("ReduceSum", g.cast(within, FLOAT), 1)
    steps = g.add("Mul", g.add("Sub", count, np.float32(1)), np.float32(step))
    return g.add("Add", g.slice(grid, 0, 1, 1), steps)


def _rising(g: GraphBuilder, curve: str) -> str:
    """The largest value of a curve so far, (N, 17)."""
    count = len(light.RATIOS)
    before = np.tril(np.ones((count, count), np.float32))[None]
    seen = g.add("Mul", g.add("Unsqueeze", curve, [1]), before)  # curves are not negative
    return g.add("Squeeze", g.sum("ReduceMax", seen, 2), [2])


def _shares_at_one() -> light.Floats:
    """Shares of the points of a curve in its value at a ratio of 1, (17, 1)."""
    units = np.eye(len(light.RATIOS))
    stops = np.log2(light.RATIOS)
    return np.array([[np.interp(0.0, stops, unit)] for unit in units], np.float32)


def _inverse(g: GraphBuilder, value: str, rising: str) -> str:
    """The binary logarithm of the ratio at which a curve has a value, (N, 1)."""
    stops, count = np.log2(light.RATIOS), len(light.RATIOS)
    sloped = g.add("Add", rising, np.float32(1e-6) * np.arange(count, dtype=np.float32))
    begin, end = g.slice(sloped, 0, count - 1, 1), g.slice(sloped, 1, count, 1)
    parts = _ramp(g, value, begin, g.add("Sub", end, begin))
    rise = g.add("MatMul", parts, np.diff(stops)[:, None].astype(np.float32))
    return g.add("Add", np.float32(stops[0]), rise)
