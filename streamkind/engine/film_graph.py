"""The local ratio and the colour rule of `Filmed` as ONNX operators, without its filter over time.

Pictures are RGB, (N, 3, H, W), in levels from 0 to 255.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamkind.backends.local_graph import add_maps
from streamkind.backends.onnx_graph import GraphBuilder, Tensor
from streamkind.backends.window_graph import COLUMNS, ROWS, box, gaussian, nearest, resized, shrunk
from streamkind.engine import chroma
from streamkind.engine.local import MAP_SIDE, WHITE, luma_range
from streamkind.video.color import rgb_of_yuv, yuv_of_rgb
from streamkind.video.format import FULL_709

LEVELS = 255.0
"""Largest 8-bit level."""


class FilmGraph:
    """Adds the local ratio and the colour rule of videos to a graph."""

    def __init__(self, g: GraphBuilder, seen: Tensor, *, rounds: bool) -> None:
        """Use the pictures `seen`. With `rounds`, results are rounded between steps (8 bits)."""
        self._g, self._seen, self._rounds = g, seen, rounds
        self._size = g.size(seen, ROWS), g.size(seen, COLUMNS)

    def finish(self, made: Tensor) -> Tensor:
        """Return the output for the network's result: `Filmed.finish`."""
        made = self._restrained(self._raised(made))
        white = float(int(LEVELS * WHITE))
        return self._g.add("Min", made, self._g.at_least(self._seen, white))

    def _raised(self, made: Tensor) -> Tensor:
        """Apply the local ratio: `engine.local.raise_rgb`."""
        g, seen = self._g, self._seen
        size = self._map_size()
        ground, single = shrunk(g, seen, *size), _luma(g, nearest(g, seen, *size))
        if self._rounds:
            single = g.add("Round", single)
        scale, black = luma_range(FULL_709)
        lumas = _luma(g, ground), shrunk(g, _luma(g, made), *size), single
        before, after, points = (g.clip((luma - black) / scale) for luma in lumas)
        brightest = g.clip(g.sum("ReduceMax", ground, 1) / LEVELS)
        maps = g.add("Concat", *add_maps(g, before, after, points, brightest), axis=1)
        maps = resized(g, maps, *self._size)
        relit, own, offset = (g.slice(maps, i, i + 1, 1) for i in range(3))
        return self._limited(relit * made + own * seen + LEVELS * offset)

    def _map_size(self) -> list[Tensor]:
        """Return rows and columns of the maps: `engine.local.map_size`."""
        g, side = self._g, self._g.add("Max", *self._size)
        large = g.add("GreaterOrEqual", side, 2 * MAP_SIDE)
        part = g.add("Where", large, 1, g.add("Min", side, MAP_SIDE))
        whole = g.add("Where", large, (side + (MAP_SIDE - 1)) / MAP_SIDE, side)
        return [g.add("Max", (s * part * 2 + whole) / (whole * 2), 1) for s in self._size]

    def _restrained(self, made: Tensor) -> Tensor:
        """Limit chroma by the recorded chroma: `engine.chroma.restrain_rgb`."""
        g = self._g
        before, after = (
            _transformed(g, self._halved(picture), yuv_of_rgb(FULL_709)[:, :3])
            for picture in (self._seen, made)
        )
        given, kept, lent = _shares(g, before, after)
        before, after = (g.slice(picture, 1, 3, 1) for picture in (before, after))
        change = before * given + after * (kept - 1.0) + lent
        change = _transformed(g, change, rgb_of_yuv(FULL_709)[:, 1:3])
        return self._limited(made + resized(g, change, *self._size))

    def _halved(self, picture: Tensor) -> Tensor:
        half = [self._g.add("Max", side / 2, 1) for side in self._size]
        small = resized(self._g, picture, *half)
        return self._g.add("Floor", small + 0.5) if self._rounds else small

    def _limited(self, picture: Tensor) -> Tensor:
        if self._rounds:
            picture = self._g.add("Round", picture)
        return self._g.clip(picture, 0, LEVELS)


def _shares(g: GraphBuilder, seen: Tensor, made: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the weights of chroma, and what is added to it: `engine.chroma.shares_of`."""
    y, u_and_v, own, around = _denoised(g, seen)
    z, colors, _, made_around = _denoised(g, made, own)
    recorded, dark = _length(g, u_and_v), float(chroma.DARKEST)
    gain = -g.add("MaxPool", -((z + dark) / (y + dark)), kernel_shape=[3, 3], pads=[1] * 4)
    confidence = _chroma_confidence(g, u_and_v, recorded)
    lent = _lend(g, y, u_and_v, confidence)
    trusted = _length(g, confidence * u_and_v + lent)
    kept = float(chroma.MORE) * gain * trusted / g.at_least(_length(g, colors), 1e-3)
    kept = g.add("Min", kept, 1.0)
    more = (g.at_least(gain, 1.0) ** chroma.LOST - 1.0) * g.smooth_step(recorded, *chroma.CLEAR)
    pale, strong = float(chroma.PALE) * g.at_least(z, 1.0), gain * recorded
    pale = pale * pale
    half = (1.0 + more * pale / (pale + strong * strong)) / 2.0
    raised, kept = gain * half, kept * half
    given = raised * confidence
    return given * own, kept * own, raised * lent + given * around + kept * made_around


def _denoised(
    g: GraphBuilder, picture: Tensor, share: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return luma, chroma without noise, `share` and `around`: `engine.chroma.denoise`."""
    side = chroma.WINDOW[0]
    luma, own = g.slice(picture, 0, 1, 1), g.slice(picture, 1, 3, 1)
    luma = gaussian(g, luma, chroma.SIGMA, 1)
    light = g.at_least(luma) + float(chroma.DARKEST)
    around = box(g, own, side, 2) * (light / box(g, light, side, 1))
    if share is None:
        apart = own - around
        power = box(g, g.sum("ReduceSum", apart * apart, 1), side, 1)
        share = box(g, power / (power + float(chroma.NOISE_POWER)), side, 1)
    around = around * (1.0 - share)
    return luma, share * own + around, share, around


def _lend(g: GraphBuilder, y: Tensor, u_and_v: Tensor, confidence: Tensor) -> Tensor:
    """Return the chroma that neighbours lend, (N, 2, h, w): `engine.chroma.lend`."""
    size = [g.size(y, axis) for axis in (ROWS, COLUMNS)]
    small = [g.add("Max", side / 4, 1) for side in size]

    def around(planes: Tensor, count: int) -> Tensor:
        return gaussian(g, shrunk(g, planes, *small), chroma.NEIGHBOURS, count)

    light = g.at_least(y)
    weight = confidence / (light + float(chroma.DARKEST))
    color = around(weight * u_and_v, 2) / (around(confidence, 1) + float(chroma.FEW))
    lent = light * (1.0 - confidence) * resized(g, color, *size)
    limit = float(chroma.LENT) / g.at_least(_length(g, lent), 1e-3)
    return lent * g.add("Min", limit, 1.0)


def _chroma_confidence(g: GraphBuilder, u_and_v: Tensor, length: Tensor) -> Tensor:
    """Return the confidence in recorded chroma: `engine.chroma.chroma_confidence`."""
    area = _length(g, gaussian(g, u_and_v, chroma.AREA, 2))
    judged = g.smooth_step(area, *chroma.ROUNDING), g.smooth_step(length, *chroma.STRONG)
    return g.add("Max", *judged)


def _length(g: GraphBuilder, u_and_v: Tensor) -> Tensor:
    return g.add("Sqrt", g.sum("ReduceSum", u_and_v * u_and_v, 1))


def _luma(g: GraphBuilder, picture: Tensor) -> Tensor:
    """Return luma in levels, (N, 1, h, w)."""
    return _transformed(g, picture, yuv_of_rgb(FULL_709)[:1, :3])


def _transformed(g: GraphBuilder, picture: Tensor, matrix: NDArray[np.float64]) -> Tensor:
    """Apply a matrix to the channels of each pixel."""
    return g.add("Conv", picture, matrix[:, :, None, None])
