"""Views: objects that choose which frames the network runs on, and at which size.

This module has the Protocol, and the view of whole frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, Protocol

import cv2
import numpy as np

from streamkind.backends.base import Backend, Layers
from streamkind.engine.local import (
    ground_of,
    raise_rgb,
    steady_ground,
    steady_picture,
    still_share,
)
from streamkind.errors import EngineError
from streamkind.light.exposure import FADE_STOPS, Floats, Statistics, smooth_step
from streamkind.model.released import pad
from streamkind.video.format import ColorTags
from streamkind.video.frames import Levels, Pixels, levels, size_of, stored

Finish = Callable[[], Pixels]
"""The last step: returns the enhanced frames, of the shape of the input, which are the caller's to
keep. It does not use the device, and any thread may call it."""
Adapt = Callable[[], Finish]
"""The step after the network: applies the local ratio and the colour rule to its result. It does
not use the device, and one thread may call it while another one is ahead. The frames must come in
order."""


class View(Protocol):
    """Gives frames to the network, and returns its results at the size of the frames.

    Views differ in the input of the network: whole frames, reduced frames, or some frames only.
    """

    state: Any
    """What the view stores of its video from frame to frame. None if it stores nothing; then
    several videos can share the view."""

    @property
    def max_batch(self) -> int:
        """Largest useful batch, in frames."""
        ...

    @property
    def overlaps(self) -> bool:
        """Whether `relight` may run in one thread while another thread runs the steps before it."""
        ...

    def decompose(self, pixels: Pixels) -> Layers:
        """Split N frames of one size into layers, with statistics. `pixels` are not changed."""
        ...

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Filter the layers of N consecutive frames over time; see `Backend.steady`."""
        ...

    def relight(self, layers: Layers, ratios: Floats) -> Adapt:
        """Run the network on the layers of N frames. Return the next step."""
        ...

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """Do all three steps: return the enhanced frames."""
        ...

    def join(self, layers: Sequence[Layers]) -> Layers:
        """Copy layers of frames of one size into one batch."""
        ...


class HasViews(Protocol):
    """An object that gives each stream a view: an `Engine`."""

    def view(
        self, color: ColorTags | None = None, *, skip: bool = False, film: bool = True
    ) -> View:
        """Return the view of one video, or without `film` of stills."""
        ...


class Whole:
    """A view in which the network runs on whole RGB frames of any size, (N, H, W, 3)."""

    state: Any = None
    overlaps = False  # layers of whole frames are large: only those of one batch are in memory

    def __init__(self, backend: Backend) -> None:
        self._backend: Backend | None = backend

    @property
    def max_batch(self) -> int:
        """Largest useful batch, in frames. It may change with the first frame."""
        return self.backend.max_batch

    def decompose(self, pixels: Levels) -> Layers:
        """Split (N, H, W, 3) RGB into layers, padded to multiples of 16, with statistics."""
        if pixels.ndim != 4:
            raise ValueError(
                f"expected RGB frames of shape (H, W, 3), got {pixels.shape[1:]}; the profile takes"
                " yuv420p only for frames that it reduces"
            )
        # Libraries borrow the memory of an array, and some refuse one that is read-only.
        own = np.require(pad(levels(pixels)), requirements=["C", "W"])
        return replace(self.backend.decompose(own), pixels=pixels)

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Filter the layers of N consecutive frames over time."""
        return self.backend.steady(layers, before, strength)

    def relight(self, layers: Layers, ratios: Floats) -> Adapt:
        """Run the network. Return the next step.

        Near a ratio of 1 the result is mixed with the input. If all ratios are 1, the network does
        not run, because it would change only the sharpness.
        """
        pixels, shares = layers.pixels, network_shares(ratios)
        if not shares.any():
            return lambda: pixels.copy
        clear = self.restored(layers, ratios, size_of(pixels))
        # The layers are large, and are not needed any more.
        finish = partial(self._finished, pixels, layers.seen, layers.ground, clear, shares)
        if self.max_batch > 1:
            return lambda: finish
        # On a processor, a large network uses all cores. Beside it, both would be slower.
        made = finish()
        return lambda: lambda: made

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """Return the enhanced frames, (N, H, W, 3) RGB as the input, in memory of their own."""
        return self.relight(layers, ratios)()()

    def _finished(
        self,
        pixels: Pixels,
        seen: Levels | None,
        ground: Floats | None,
        clear: Levels,
        shares: Floats,
    ) -> Pixels:
        """Turn the network's results, `clear`, into the output, in place where that is possible."""
        deep = pixels.dtype == np.uint16
        if deep:
            clear = clear.astype(np.float32)
        self.raise_places(pixels if seen is None else seen, ground, clear)
        for before, after, share in zip(pixels, clear, shares, strict=True):
            if share < 1:
                own = levels(before)
                after[:] = cv2.addWeighted(own, 1 - float(share), after, float(share), 0)
        return stored(clear, np.uint16) if deep else clear

    def raise_places(self, seen: Levels, ground: Floats | None, clear: Levels) -> None:
        """Change the network's results `clear` in place. For stills nothing is changed."""

    def restored(self, layers: Layers, ratios: Floats, size: tuple[int, int]) -> Pixels:
        """Run the network alone, and cut its result to `size`, width and height."""
        width, height = size
        return self.backend.recompose(layers, ratios)[:, :height, :width]

    def join(self, layers: Sequence[Layers]) -> Layers:
        """Copy layers of frames of one size into one batch."""
        join: dict[str, Any] = dict.fromkeys(("reflectance", "illumination"), self.backend.join)
        join["statistics"] = Statistics.join
        names = [field.name for field in fields(layers[0])]
        parts = {name: [getattr(one, name) for one in layers] for name in names}
        told = {name: part for name, part in parts.items() if part[0] is not None}
        whole = {name: join.get(name, np.concatenate)(part) for name, part in told.items()}
        return replace(layers[0], **whole)

    @property
    def backend(self) -> Backend:
        """The device. Raises EngineError once it is closed."""
        if self._backend is None:
            raise EngineError("this engine is closed; open another one with open_engine()")
        return self._backend

    def close(self) -> None:
        """Free the device. It may be called twice."""
        if self._backend is not None:
            self._backend.close()
        self._backend = None


class Filmed(Whole):
    """A view of whole frames of videos, in which the ratio is local (`light/local.py`)."""

    def __init__(self, whole: Whole) -> None:
        super().__init__(whole.backend)
        self._whole = whole

    def decompose(self, pixels: Levels) -> Layers:
        """Split (N, H, W, 3) RGB into layers, with statistics and the ground of the local ratio."""
        layers = super().decompose(pixels)
        ground = np.stack([ground_of(picture) for picture in pixels])
        return replace(layers, ground=ground, seen=pixels)

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Filter layers, ground and pictures of N consecutive frames over time."""
        held = super().steady(layers, before, strength)
        if layers.ground is None or before.ground is None:
            return held
        if layers.seen is None or before.seen is None:
            return held
        # Whole frames are kept in half of the memory. Reduced ones, in float32, are small.
        kind = np.float32 if layers.seen.dtype == np.float32 else np.float16
        ground, seen = np.empty_like(layers.ground), np.empty(layers.seen.shape, kind)
        last = before.ground[-1], before.seen[-1]
        for i, (now, picture) in enumerate(zip(layers.ground, layers.seen, strict=True)):
            still = still_share(now, last[0])
            ground[i] = steady_ground(now, last[0], strength[1] * still)
            steady_picture(picture, last[1], strength[0] * still, seen[i])
            last = ground[i], seen[i]
        return replace(held, ground=ground, seen=seen)

    def raise_places(self, seen: Levels, ground: Floats | None, clear: Levels) -> None:
        """Apply the local ratio and the colour rule to `clear` in place, (N, H, W, 3)."""
        for i, (before, after) in enumerate(zip(seen, clear, strict=True)):
            raise_rgb(before, after, None if ground is None else ground[i])

    @property
    def backend(self) -> Backend:
        """The device. Raises EngineError once it is closed."""
        return self._whole.backend


def network_shares(ratios: Floats) -> Floats:
    """Return the share of the network's result in the output, (N,).

    It is 0 at a ratio of 1, and 1 from `FADE_STOPS` away on.
    """
    return smooth_step(np.abs(np.log2(ratios)), 0.0, FADE_STOPS)
