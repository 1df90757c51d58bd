"""Chooses the backend for `auto`, and opens it."""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamkind.backends.base import BACKENDS, Backend, Layers, why_not
from streamkind.errors import EngineError, StreamkindError, UsageError
from streamkind.light.exposure import Floats
from streamkind.model.released import Release
from streamkind.video.frames import Levels, Pixels

log = logging.getLogger("streamkind.engines")

Choice = tuple[str, str]
"""A backend, and the device for it."""
AUTO: tuple[Choice, ...] = (
    ("tensorrt", "cuda"),
    ("torch", "cuda"),
    ("openvino", "cpu"),
    ("torch", "cpu"),
)
"""Choices of `auto`, best first."""
ASKED: tuple[Choice, ...] = (("openvino", "gpu"), ("openvino", "npu"), ("torch", "mps"))
"""Choices that are taken only if the user names their device."""
FAULTS = (StreamkindError, ImportError, OSError, RuntimeError)
"""Exceptions by which a backend is skipped: its own errors, and those of its libraries."""


def on_gpu(backend: str, device: str) -> bool:
    """Return whether a backend and a device run on an NVIDIA card here. Both may be `auto`."""
    if device.lower() != "auto":
        return device.lower().startswith("cuda")
    first = next(((n, d) for n, d in _named(backend, device) if why_not(n, d) is None), None)
    return first is not None and first[1] == "cuda"


def open_backend(name: str, release: Release, device: str) -> Backend:
    """Load a released model on a backend. `auto` takes the first that works here."""
    if name == "auto":
        return open_first(release, usable(device), device)
    if name not in BACKENDS:
        raise UsageError(f"unknown backend '{name}'; choose auto, {', '.join(BACKENDS)}")
    if reason := why_not(name):
        raise EngineError(f"backend '{name}' cannot be used: {reason}")
    return _load((name, "auto"), release, device)


def usable(device: str) -> list[Choice]:
    """Return the choices that can be used with a device, best first. Raises if there are none."""
    choices = _named("auto", device)
    if not choices:
        raise UsageError(
            f"unknown device '{device}'; choose auto, cpu, cuda, cuda:1, gpu, gpu.1, npu or mps"
        )
    reasons = {choice: why_not(*choice) for choice in choices}
    found = [choice for choice, reason in reasons.items() if reason is None]
    if not found:
        told = "; ".join(f"{n}: {reason}" for (n, _), reason in reasons.items())
        raise EngineError(f"no backend can be used here with device '{device}': {told}")
    return found


def open_first(release: Release, choices: Sequence[Choice], device: str) -> Backend:
    """Open the best choice. If it is a card, and there are others, the first frame decides."""
    first, *others = choices
    if first == ("openvino", "cpu"):
        return _load(("openvino", "auto"), release, device)  # `auto` also tries Intel's graphics
    if first[1] == "cpu" or not others:
        return _load(first, release, device)
    return FirstThatWorks(release, choices, device)


def _named(backend: str, device: str) -> list[Choice]:
    named = re.fullmatch(r"([a-z]+)([.:]\d+)?", device.lower())
    kind = named[1] if named else device
    choices = AUTO if kind == "auto" else (*AUTO, *ASKED)
    return [(n, d) for n, d in choices if backend in ("auto", n) and kind in ("auto", d)]


def _load(choice: Choice, release: Release, device: str) -> Backend:
    """Open a backend on the device that the user asked for, or else on that of the choice."""
    name, kind = choice
    module, _, attribute = BACKENDS[name].target.partition(":")
    load = getattr(importlib.import_module(module), attribute)
    backend: Backend = load(release, device=kind if device.lower() == "auto" else device.lower())
    return backend


class FirstThatWorks:
    """The first of several choices that can enhance a frame. Use it from one thread only.

    Only the first frame shows whether a card works, because then plans are built and kernels are
    loaded. This frame goes through all three graphs before a result is returned. Errors of later
    frames are raised to the caller.
    """

    description: str
    max_batch: int

    def __init__(self, release: Release, choices: Sequence[Choice], device: str) -> None:
        """Take choices, best first, and the device that the user asked for."""
        self._release, self._left, self._device = release, list(choices), device
        self._proven = False
        self._open_next()

    def decompose(self, pixels: Levels) -> Layers:
        """Split (N, H, W, 3) RGB into layers on the device, with statistics on the host."""
        while not self._proven:
            try:
                self._prove(pixels)
            except FAULTS as fault:
                self._next_or_raise(fault)  # the last one stays open: smaller frames may work
                self._backend.close()
                self._open_next()
        return self._backend.decompose(pixels)

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Filter the layers of N consecutive frames over time, where nothing moves."""
        return self._backend.steady(layers, before, strength)

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """Relight layers by N ratios: (N, H, W, 3) uint8 RGB. The caller may keep the result."""
        return self._backend.recompose(layers, ratios)

    def join(self, parts: Sequence[Any]) -> Any:
        """Copy reflectances, or illuminations, of one size into one batch: (N, C, H, W)."""
        return self._backend.join(parts)

    def close(self) -> None:
        """Free the device. It may be called twice."""
        self._backend.close()

    def _open_next(self) -> None:
        while True:
            self._choice = self._left.pop(0)
            try:
                self._backend = _load(self._choice, self._release, self._device)
            except FAULTS as fault:
                self._next_or_raise(fault)
            else:
                break
        self.description, self.max_batch = self._backend.description, self._backend.max_batch

    def _prove(self, pixels: Pixels) -> None:
        """Run frames through all three graphs, to find out whether they work; not on the CPU."""
        if self._choice[1] != "cpu":
            layers = self._backend.decompose(pixels)
            held = self._backend.steady(layers, layers, np.zeros(2, np.float32))
            self._backend.recompose(held, np.full(len(pixels), 2.0, np.float32))
        self._proven = True

    def _next_or_raise(self, fault: Exception) -> None:
        """Log why a choice is skipped. After the last choice, raise its error."""
        if not self._left:
            raise fault
        told = " ".join(str(fault).split()) or type(fault).__name__
        (name, kind), (following, _) = self._choice, self._left[0]
        log.warning("'%s' fails on %s, so '%s' is tried: %s", name, kind, following, told)
