"""A backend whose result is a simple function of its input, so that tests can compute it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streamkind.backends.base import BACKENDS, BackendEntry, Layers
from streamkind.light.exposure import RATIOS, Statistics


class Gain:
    """A backend that multiplies each picture by its ratio. `seen` has the shapes of its batches."""

    max_batch = 2
    description = "gain"

    def __init__(self, release=None, *, device="auto"):
        self.seen = []

    def decompose(self, pixels):
        self.seen.append(pixels.shape)
        n, height, width = pixels.shape[:3]
        told = Statistics.of(np.ones((n, len(RATIOS))), np.zeros((n, 1, 1)), np.ones(n))
        light = np.ones((n, 1, height, width), np.float32)
        return Layers(pixels, light, told, pixels)

    def steady(self, layers, before, strength):
        return replace(layers, illumination=before.illumination)

    def recompose(self, layers, ratios):
        made = layers.reflectance * ratios[:, None, None, None]
        return np.clip(made + 0.5, 0, 255).astype(np.uint8)

    def join(self, parts):
        return np.concatenate(parts)

    def close(self):
        pass


def plug_in(monkeypatch) -> str:
    """Add `Gain` to the table of backends; return its name there."""
    monkeypatch.setitem(BACKENDS, "gain", BackendEntry("support.engines:Gain", (), "", ("cpu",)))
    return "gain"
