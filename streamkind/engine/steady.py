"""What is held still over time besides the ratio: the layers themselves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np

from streamkind.backends.base import Engine, Layers
from streamkind.errors import UsageError

Steady = Literal["ratio", "light", "noise"]
STEADY: tuple[Steady, ...] = ("ratio", "light", "noise")
"""The ratio of the frame, its illumination, and the noise of its reflectance."""
KEPT = 0.6
"""Share of the past kept where nothing moves: it takes three quarters of the noise's power away."""


class Steadier:
    """Holds reflectance and illumination where nothing moves. One object per stream."""

    def __init__(
        self, engine: Engine, what: Collection[Steady] = STEADY, *, gap_seconds: float = 2.0
    ) -> None:
        self._engine = engine
        self._strength = np.array([KEPT * ("noise" in what), KEPT * ("light" in what)], np.float32)
        self._gap_seconds = gap_seconds
        self._before: Layers | None = None
        self._time = 0.0

    def __call__(self, layers: Layers, times: Sequence[float]) -> Layers:
        """Return layers of consecutive frames shown at `times`, held against those before."""
        if not self._strength.any():
            return layers
        before, elapsed = self._before, times[0] - self._time
        if (
            before is not None
            and before.pixels.shape[1:] == layers.pixels.shape[1:]
            and 0 <= elapsed <= self._gap_seconds
        ):
            layers = self._engine.steady(layers, before, self._strength)
        self._before, self._time = layers, times[-1]
        return layers


def check_steady(what: Collection[str]) -> None:
    """Refuse what cannot be held still."""
    if isinstance(what, str) or (unknown := set(what) - set(STEADY)):
        unknown = {what} if isinstance(what, str) else unknown
        raise UsageError(
            f"unknown in steady: {', '.join(sorted(unknown))}; choose from {', '.join(STEADY)}"
        )
