"""Filters reflectance and illumination over time where nothing moves."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from streamkind.backends.base import Layers
from streamkind.errors import UsageError
from streamkind.light.exposure import Floats

SteadyName = Literal["ratio", "light", "noise"]
STEADY: tuple[SteadyName, ...] = ("ratio", "light", "noise")
"""What can be filtered over time: ratio, illumination ("light") and reflectance ("noise")."""
SteadyNames = Sequence[SteadyName] | Set[SteadyName]
"""Some of the names, in any order. mypy does not accept a tuple of names as a `Collection`."""
KEPT = 0.6
"""Weight of the previous frame where nothing moves, chosen by hand. A recursive filter of weight k
leaves (1 - k) / (1 + k) of the noise power. At 0.6 that is a quarter."""


class FiltersLayers(Protocol):
    """An object that can filter layers over time: a backend, an engine or a view."""

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """See `Backend.steady`."""
        ...


@dataclass(frozen=True, slots=True)
class HeldLayers:
    """The last filtered layers of a stream."""

    layers: Layers
    time: float
    """Time of the last of their frames, in seconds."""


class Steadier:
    """Filters reflectance and illumination over time where nothing moves. One object per stream.

    The first frame is not filtered, and neither is the first one after a gap of more than
    `gap_seconds` or after a change of the frame size.
    """

    def __init__(
        self,
        filters: FiltersLayers,
        what: SteadyNames = STEADY,
        *,
        gap_seconds: float = 2.0,
        state: HeldLayers | None = None,
    ) -> None:
        self._filters = filters
        self.state = state
        self._strength = np.array([KEPT * ("noise" in what), KEPT * ("light" in what)], np.float32)
        self._gap_seconds = gap_seconds

    def __call__(self, layers: Layers, times: Sequence[float]) -> Layers:
        """Filter the layers of consecutive frames, shown at `times` in seconds."""
        if not self._strength.any():
            return layers
        before = self.state
        if (
            before is not None
            and before.layers.pixels.shape[1:] == layers.pixels.shape[1:]
            and 0 <= times[0] - before.time <= self._gap_seconds
        ):
            layers = self._filters.steady(layers, before.layers, self._strength)
        self.state = HeldLayers(layers, times[-1])
        return layers


def check_steady(what: SteadyNames) -> None:
    """Raise UsageError unless `what` is a sequence or a set of names of `STEADY`."""
    if isinstance(what, str) or not isinstance(what, Sequence | Set):
        names = [what] if isinstance(what, str) else list(STEADY)
        raise UsageError(f"steady takes a collection of names, got {what!r}; expected {names}")
    if unknown := {str(name) or "''" for name in what if name not in STEADY}:
        raise UsageError(
            f"steady: unknown {', '.join(sorted(unknown))}; choose from {', '.join(STEADY)}"
        )
