"""The one plug point: what a backend is, and the table of those there are.

To add one: write `streamkind/backends/NAME.py` with a class of five methods, add a line to
`BACKENDS` here and to `AUTO` in `choose.py`, and run `pytest
tests/test_backends.py`, which puts every line through one suite.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Protocol, Self

from streamkind.backends.cards import card_here
from streamkind.light.exposure import Floats, Statistics
from streamkind.video.frames import Levels, Pixels

BackendName = Literal["auto", "tensorrt", "openvino", "torch"]


@dataclass(frozen=True, slots=True)
class Layers:
    """A batch split in two: what the device holds, and what the host needs to know."""

    reflectance: Any
    """(N, 3, H, W) float in [0, 1], in the backend's own type."""
    illumination: Any
    """(N, 1, H, W) float in [0, 1], in the backend's own type."""
    statistics: Statistics
    """Per frame, on the host."""
    pixels: Pixels
    """The frames themselves, (N, H, W, 3)."""

    def frame(self, i: int) -> Self:
        """Return those of one frame; backends that take batches have layers that can be sliced."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        one = {n: v.frame(i) if n == "statistics" else v[i : i + 1] for n, v in values.items()}
        return replace(self, **one)


class Backend(Protocol):
    """KinD on one device. Used from one thread only. H and W are multiples of 16."""

    description: str
    """Backend, device and the precision it really runs in, for the log."""
    max_batch: int
    """Most frames worth giving at once."""

    def decompose(self, pixels: Levels) -> Layers:
        """(N, H, W, 3) RGB -> layers on the device and per-frame statistics on the host."""
        ...

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Hold layers of N consecutive frames where nothing moves since the frame before.

        `before` is what this returned for the frames just before, `strength` (2,) the share of the
        past kept in reflectance and in illumination.
        """
        ...

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """(N, H, W, 3) uint8 RGB. The result is the caller's to keep."""
        ...

    def join(self, parts: Sequence[Any]) -> Any:
        """Copy reflectances, or illuminations, of one size into one batch: (N, C, H, W)."""
        ...

    def close(self) -> None:
        """Free the device. Twice is fine."""
        ...


@dataclass(frozen=True)
class BackendEntry:
    """One line of the table."""

    target: str
    """module:class"""
    needs: tuple[str, ...]
    """The modules that must be importable; `a|b`: either."""
    install: str
    """What to tell a user who lacks it."""
    devices: tuple[str, ...]
    """Where it runs: `cpu`, `cuda` for NVIDIA's, OpenVINO's `gpu` and `npu`, PyTorch's `mps`."""


BACKENDS = {
    "tensorrt": BackendEntry(
        "streamkind.backends.tensorrt:TensorRTEngine",
        ("tensorrt|tensorrt_rtx", "pycuda", "onnx"),
        "pip install 'streamkind[tensorrt]', or on RTX cards 'streamkind[tensorrt-rtx]'",
        ("cuda",),
    ),
    "openvino": BackendEntry(
        "streamkind.backends.openvino:OpenVINOEngine",
        ("openvino",),
        "pip install openvino",
        ("cpu", "gpu", "npu"),
    ),
    "torch": BackendEntry(
        "streamkind.backends.torch:TorchEngine",
        ("torch", "onnx"),
        "pip install 'streamkind[train]'",
        ("cpu", "cuda", "mps"),
    ),
}
"""All there are; `choose.py` tells which `auto` prefers."""


def why_not(name: str, device: str = "auto") -> str | None:
    """Say what keeps a backend from being used here, or None when nothing does.

    `device` is a kind, "cpu" or "cuda", or "auto": any that the backend runs on.
    """
    backend = BACKENDS[name]
    card = device == "cuda" or "cpu" not in backend.devices
    faults = []
    if card and not card_here():
        faults.append("no NVIDIA card is found here (nvidia-smi shows none)")
    if missing := [names for names in backend.needs if not _any_installed(names)]:
        told = " and ".join(names.replace("|", " or ") for names in missing)
        verb = "is" if len(missing) == 1 else "are"
        faults.append(f"{told} {verb} not installed: {backend.install}")
    if name == "torch" and card and not faults and not _torch_finds_a_card():
        faults.append("PyTorch finds no card: install it with CUDA, for this driver (pytorch.org)")
    return "; ".join(faults) or None


def _any_installed(names: str) -> bool:
    return any(importlib.util.find_spec(name) is not None for name in names.split("|"))


def _torch_finds_a_card() -> bool:
    """Ask PyTorch, which takes seconds to import, and only where a card is."""
    try:
        return bool(importlib.import_module("streamkind.backends.torch").finds_a_card())
    except (ImportError, OSError):
        return False
