"""Runs the network on some frames, and extrapolates its result to the frames between.

Where nothing has moved, the reduced result is used again. Where something has moved, the result is
predicted from the new luma and chroma (`fits.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np

from streamkind.backends.base import Layers
from streamkind.engine.chroma import recorded_chroma
from streamkind.engine.fits import Fit
from streamkind.engine.lines import motion, split
from streamkind.engine.local import brightest_of
from streamkind.engine.reduced import Reduced, ReducedLayers, Relit
from streamkind.engine.shrink import rounded, transform
from streamkind.engine.whole import Adapt, network_shares
from streamkind.light.exposure import Floats
from streamkind.light.smoother import is_cut
from streamkind.video.color import yuv_of_rgb
from streamkind.video.frames import Pixels

MOST_MOVED = 0.5
"""Largest share of a frame that may have moved if a second frame in a row is skipped.
Like the other constants of this module, it was chosen by hand."""
STOPS = 0.01
"""Smallest change of the ratio, in stops, for which the last frame that the network ran on is
relit again."""
LIGHT_STOPS = 0.05
"""Smallest change of a frame's mean luma, in stops, for which the network runs on it. Such a change
is small in every pixel, so `motion` does not find it."""


FILTERED = "reflectance", "illumination", "ground", "seen"
"""The layers that are filtered over time."""


@dataclass(frozen=True, slots=True)
class SkippedLayers(ReducedLayers):
    """Layers of an earlier frame, for the pixels of a later one."""

    moved: Floats
    """(h, w) in [0, 1]: 1 where the two frames differ."""
    network: ReducedLayers
    """Layers of the earlier frame, before they were filtered over time."""

    def of_network(self) -> ReducedLayers:
        """Return the layers of the earlier frame, filtered over time as these are."""
        return replace(self.network, **{name: getattr(self, name) for name in FILTERED})


@dataclass(frozen=True)
class NetworkResult:
    """The result of the network for the last frame that it ran on."""

    clear: Sequence[Floats]
    """Y, U and V, (h, w) each."""
    fit: Fit
    """How the network changed the frame."""
    own: Floats | None = None
    """Share of the frame's own detail in `clear`, (h, w); None for stills."""


@dataclass
class KeptResult:
    """The result of the network, which the layers of its frame and of the skipped ones share."""

    ratio: float | None = None
    """Its ratio; None until one of them is relit."""
    made: NetworkResult | None = None
    """None until one of them is adapted."""

    def fits(self, ratio: float) -> bool:
        """Return whether the result may be used for a frame with this ratio."""
        return self.ratio is not None and abs(math.log2(ratio / self.ratio)) < STOPS


@dataclass(frozen=True)
class NetworkFrame:
    """The last frame that the network ran on."""

    layers: ReducedLayers
    """Layers of the frame."""
    thumbnail: Floats
    skipped: int = 0
    """Number of frames that were skipped since then."""


class Skipping:
    """A view in which the network runs on at least one of `every` frames of one video.

    The frames come in order, one by one. Each step may be ahead of the next one.
    """

    max_batch = 1

    def __init__(self, reduced: Reduced, every: int, *, state: NetworkFrame | None = None) -> None:
        self._reduced, self._every = reduced, every
        self.state: NetworkFrame | None = state

    @property
    def overlaps(self) -> bool:
        """Whether `relight` may run in one thread while another thread runs the steps before it."""
        return self._reduced.overlaps

    def decompose(self, pixels: Pixels) -> Layers:
        """Return the layers of a frame, or those of the last frame that the network ran on."""
        if len(pixels) != 1:
            raise ValueError(f"a view that skips frames takes one at a time, got {len(pixels)}")
        size = self._reduced.small_size(pixels)
        if size is None:
            return self._reduced.decompose(pixels)
        small, luma = self._reduced.reduced(pixels[0], size, self._reduced.color_of(pixels))
        seen = self.state
        moved = self._moved(seen, small, luma) if seen else None
        if seen is not None and moved is not None:
            self.state = replace(seen, skipped=seen.skipped + 1)
            old = {f.name: getattr(seen.layers, f.name) for f in fields(ReducedLayers)}
            now = {"pixels": pixels, "small": small[None], "luma": luma[None]}
            return SkippedLayers(**old | now, moved=moved, network=seen.layers)
        layers = self._reduced.split(pixels, small[None], luma[None])
        layers = replace(layers, result=KeptResult())
        self.state = NetworkFrame(layers, thumbnail(luma))
        return layers

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Filter new layers over time. Those of an earlier frame are filtered already."""
        if not isinstance(layers, SkippedLayers):
            return self._reduced.steady(layers, before, strength)
        return replace(layers, **{name: getattr(before, name) for name in FILTERED})

    def relight(self, layers: Layers, ratios: Floats) -> Adapt:
        """Run the network, or not if an earlier result can be used. Return the next step."""
        if not isinstance(layers, ReducedLayers):
            return self._reduced.relight(layers, ratios)
        shares, ratio = network_shares(ratios), float(ratios[0])
        if not shares.any():
            return lambda: layers.pixels.copy
        kept: KeptResult = layers.result
        if not isinstance(layers, SkippedLayers):
            fresh: ReducedLayers | None = layers
        else:
            # Not the pixels of this frame: an object that has moved would be seen twice.
            fresh = None if kept.fits(ratio) else layers.of_network()
        restored = None
        if fresh is not None:
            kept.ratio, restored = ratio, self._reduced.restored(fresh, ratios)
        return lambda: self._reduced.finish(layers, self._adapted(layers, fresh, restored), shares)

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """Return the enhanced frame."""
        return self.relight(layers, ratios)()()

    def join(self, layers: Sequence[Layers]) -> Layers:
        """Copy layers of frames of one size into one batch."""
        return self._reduced.join(layers)

    def _adapted(
        self, layers: ReducedLayers, fresh: ReducedLayers | None, restored: Pixels | None
    ) -> list[Relit]:
        """Return the relit frame. `restored` is the network's result for the layers `fresh`."""
        kept: KeptResult = layers.result
        if fresh is not None and restored is not None:
            kept.made = self._network_result(fresh, restored)
        made = kept.made
        assert made is not None
        if not isinstance(layers, SkippedLayers):
            return [Relit(made.clear, made.own)]
        matrix = yuv_of_rgb(self._reduced.color_of(layers.pixels))
        now = transform(rounded(layers.small[0]), matrix)
        return [carry_on(made, now, layers.moved, float(matrix[0, 3]))]

    def _network_result(self, layers: ReducedLayers, restored: Pixels) -> NetworkResult:
        """Adapt the network's result for a frame that it ran on."""
        matrix = yuv_of_rgb(self._reduced.color_of(layers.pixels))
        seen, black = transform(rounded(layers.small[0]), matrix), float(matrix[0, 3])
        clear, own = self._reduced.adapted(layers, restored)[0]
        return NetworkResult(clear, Fit(seen, clear, black, own), own)

    def _moved(self, seen: NetworkFrame, rgb: Floats, luma: Floats) -> Floats | None:
        """Return where a frame differs from the one `seen`; None if the network must run on it."""
        if seen.skipped + 1 >= self._every:
            return None
        before, small = seen.layers.luma[0], thumbnail(luma)
        if before.shape != luma.shape or is_cut(seen.thumbnail, small):
            return None
        if abs(math.log2((small.mean() + 1e-6) / (seen.thumbnail.mean() + 1e-6))) > LIGHT_STOPS:
            return None
        # A coloured object may have the luma of its background.
        bright = motion(brightest_of(seen.layers.small[0]), brightest_of(rgb))
        moved = np.maximum(motion(before, luma), bright)
        return moved if seen.skipped == 0 or moved.mean() < MOST_MOVED else None


def thumbnail(luma: Floats) -> Floats:
    """Return means of 16x16 pixels, in [0, 1]."""
    size = max(1, luma.shape[1] // 16), max(1, luma.shape[0] // 16)
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def carry_on(made: NetworkResult, now: Pixels, moved: Floats, black: float) -> Relit:
    """Predict the network's result for a later frame. `black` is the code value of black luma."""
    if not moved.any():
        return Relit(made.clear, made.own)
    luma = split(now)[0]
    lit, gain = made.fit.predict(luma)
    predicted = [lit, *(gain * plane + 128 for plane in recorded_chroma(now, black))]
    mixed = [
        before + moved * (after - before)
        for before, after in zip(made.clear, predicted, strict=True)
    ]
    own, own_now = made.own, made.fit.own(luma)
    if own is not None and own_now is not None:
        # `made.own` belongs to the earlier frame. With a share of 0, a lit road would be blurred.
        own = own + moved * (own_now - own)
    return Relit(mixed, own)
