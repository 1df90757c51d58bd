"""The local ratio as ONNX operators: what `light/local.py` does with OpenCV.

Planes are (N, 1, h, w), luma in [0, 1].
"""

from __future__ import annotations

from typing import NamedTuple

from streamkind.backends.onnx_graph import FLOAT, INT64, GraphBuilder, Tensor
from streamkind.backends.window_graph import COLUMNS, ROWS, Window
from streamkind.light import local as light

MOST_NOISE = 16.0
"""Largest noise of a frame, as a share of its luma, that the search for the median can find. More
noise would not change the output."""
HALVINGS = 20
"""Number of bisections by which a median is found. Its error is at most 1/65,536."""


class Maps(NamedTuple):
    """`light.local.LocalMaps`: a raised picture is relit * network's + own * frame + offset."""

    relit: Tensor
    own: Tensor
    offset: Tensor


def add_maps(
    g: GraphBuilder, seen: Tensor, made: Tensor, points: Tensor, brightest: Tensor
) -> Maps:
    """Add the computation of the local maps: `light.local.local_maps`."""
    places, fine = (Window(g, seen, r) for r in (_reach(g, seen), light.FINE_REACH))
    low, high, bright = (_base(g, places, plane) for plane in (seen, made, brightest))
    bright = g.add("Max", bright, low)
    lift, by_rise, falling = _curve(g, low, high, bright)
    raised = low + g.add("Min", high - low, lift)
    lit = g.smooth_step(bright, light.UNLIT, light.LIT)
    share, spread = _texture(g, points, low)
    texture = (1.0 - lit) * share
    steep = (high / low) ** light.TONE
    slope = _slope(g, steep, by_rise, falling)
    calm = (light.SMOOTH * _recorded(g, fine, seen)) ** g.clip(steep - 1.0)
    relit = calm * (1.0 - lit - texture) * slope / g.add("Max", steep, slope)
    crisp = g.add("Min", light.CRISP * slope, g.at_least(light.STRONG / spread, 1.0))
    own = g.add("Min", lit * g.at_least(slope, 1.0) + texture * crisp, raised / low)
    rest = relit * (made - high) + own * (seen - low)
    most = _most(g, g.at_least(_guided(g, fine, seen, light.FINE_EDGE, light.FINE_POWER)))
    offset = g.add("Min", raised, most - rest) - relit * high - own * low
    return Maps(relit, own, offset)


def _reach(g: GraphBuilder, plane: Tensor) -> Tensor:
    """Return the radius of a place in pixels, (1,)."""
    side = g.add("Max", g.size(plane, ROWS), g.size(plane, COLUMNS))
    radius = g.add("Round", g.cast(side, FLOAT) * light.REACH)
    return g.cast(g.at_least(radius, 1.0), INT64)


def _base(g: GraphBuilder, window: Window, luma: Tensor) -> Tensor:
    return g.clip(_guided(g, window, luma, light.EDGE, light.EDGE_POWER), 1e-3, 1.0)


def _guided(g: GraphBuilder, window: Window, luma: Tensor, edge: float, sharp: float = 1) -> Tensor:
    mean = window.mean(luma)
    power = window.variance(luma, mean) ** sharp
    slope = power / (power + edge ** (2 * sharp))
    return window.mean(slope) * luma + window.mean(mean - slope * mean)


def _curve(g: GraphBuilder, low: Tensor, high: Tensor, bright: Tensor) -> tuple[Tensor, ...]:
    """Return `lift` of a `light.local.Curve`, and what `_slope` needs, (N, 1, h, w) each.

    These are `_shares[0]`, and the product of `_shares[1]` and `_falling`, of the same class.
    """
    rise = g.at_least(g.add("Min", high, _most(g, low)) - low, 1e-6)
    top, vivid = (
        (bright**light.KNEE + most**light.KNEE) ** (1 / light.KNEE)
        for most in (light.TOP, light.VIVID)
    )
    room = g.add("Min", top - bright, (vivid - bright) * (low / bright)) + 1e-6
    by_rise, by_room = room**light.BEND, rise**light.BEND
    total = by_rise + by_room
    lift = rise * room / total ** (1 / light.BEND)
    of_rise, of_room = ((by / total) ** (1 + 1 / light.BEND) for by in (by_rise, by_room))
    return lift, of_rise, of_room * (1.0 - (bright / top) ** (light.KNEE - 1))


def _slope(g: GraphBuilder, steep: Tensor, by_rise: Tensor, falling: Tensor) -> Tensor:
    slope = 1.0 + by_rise * (steep - 1.0) - falling
    return g.add("Max", slope, g.add("Min", steep, 1.0))


def _recorded(g: GraphBuilder, window: Window, luma: Tensor) -> Tensor:
    variance = window.variance(luma, window.mean(luma))
    return window.mean(variance / (variance + float(light.CODE_VALUE)))


def _most(g: GraphBuilder, luma: Tensor) -> Tensor:
    return g.add("Max", light.MOST_GAIN * luma * luma / (luma + light.UNSEEN), luma)


def _texture(g: GraphBuilder, points: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
    window = Window(g, points, 1)
    mean = window.mean(points)
    variance = window.mean(window.mean(points * points) - mean * mean)
    spread = g.add("Sqrt", g.at_least(variance * (9 / 8)))
    dark = g.add("And", g.add("Greater", low, light.DARK[0]), g.add("Less", low, light.DARK[1]))
    noise = light.NOISE * _median(g, spread / low, g.cast(dark, FLOAT))
    flat = g.clip(noise * low, light.FLAT, 2 * light.FLAT)
    return g.smooth_step(spread, flat, 2.0 * flat), g.add("Max", spread, flat)


def _median(g: GraphBuilder, values: Tensor, where: Tensor) -> Tensor:
    """Return the median of values where `where` is 1, (N, 1, 1, 1), at most `MOST_NOISE`.

    0 if it is 1 nowhere. It is found without sorting, because TensorRT sorts 3,840 values at most.
    """
    count = g.add("ReduceSum", where, [1, 2, 3])
    place, step = count * 0.0, MOST_NOISE
    for _ in range(HALVINGS):
        step /= 2
        above = place + step
        below = g.cast(g.add("Less", values, above), FLOAT)
        less = g.add("ReduceSum", below * where, [1, 2, 3])
        place = g.add("Where", g.add("LessOrEqual", 2.0 * less, count), above, place)
    return g.add("Where", g.add("Greater", count, 0.0), place, 0.0)
