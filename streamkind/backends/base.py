"""The protocol of backends, which run the network on a device, and the table of all backends.

To add a backend, write `streamkind/backends/NAME.py` with a class that has the methods of
`Backend`, and add a line to `BACKENDS` here and to `AUTO` in `choose.py`. Then run `pytest
tests/test_backends.py`, which tests every backend of the table.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Protocol, Self, runtime_checkable

from streamkind.backends.cards import card_here
from streamkind.light.exposure import Floats, Statistics
from streamkind.video.frames import Levels, Pixels

BackendName = Literal["auto", "tensorrt", "openvino", "torch"]


@dataclass(frozen=True, slots=True)
class Layers:
    """A batch after decomposition: layers on the device, and statistics on the host."""

    reflectance: Any
    """(N, 3, H, W) float in [0, 1], in the backend's own type."""
    illumination: Any
    """(N, 1, H, W) float in [0, 1], in the backend's own type."""
    statistics: Statistics
    """Statistics of each frame, on the host."""
    pixels: Pixels
    """The frames as given: RGB, (N, H, W, 3); in views that reduce frames also yuv420p."""
    ground: Floats | None = field(default=None, kw_only=True)
    """For videos: the frames at the size of their local maps, filtered over time, (N, h, w, 3)."""
    seen: Levels | None = field(default=None, kw_only=True)
    """For videos: the input of the network, filtered over time, (N, h, w, 3)."""

    def frame(self, i: int) -> Self:
        """Return the layers of frame `i`. Layers of a batch must support slices."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        told = values.pop("statistics").frame(i)
        own: dict[str, Any] = {name: v if v is None else v[i : i + 1] for name, v in values.items()}
        return replace(self, statistics=told, **own)


class Backend(Protocol):
    """The network on one device. H and W are multiples of 16.

    Use it from one thread only, unless it `Overlaps`.
    """

    description: str
    """Backend, device and effective precision, for the log."""
    max_batch: int
    """Largest useful batch, in frames."""

    def decompose(self, pixels: Levels) -> Layers:
        """Split (N, H, W, 3) RGB into layers on the device, with statistics on the host."""
        ...

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Filter the layers of N consecutive frames over time, where nothing moves.

        `before` is the result for the frames just before. `strength`, (2,), is the weight of the
        frame before in reflectance and in illumination.
        """
        ...

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """Relight layers by N ratios: (N, H, W, 3) uint8 RGB. The caller may keep the result."""
        ...

    def join(self, parts: Sequence[Any]) -> Any:
        """Copy reflectances, or illuminations, of one size into one batch: (N, C, H, W)."""
        ...

    def close(self) -> None:
        """Free the device. It may be called twice."""
        ...


@runtime_checkable
class Overlaps(Protocol):
    """A backend that may run `recompose` in one thread while another thread runs all else."""

    @property
    def overlaps(self) -> bool:
        """Whether two threads are faster than one with the loaded model."""
        ...


@runtime_checkable
class CompilesInAdvance(Protocol):
    """A backend that compiles for each size of picture, and can do so in another thread."""

    def for_compiling(self) -> Backend:
        """Return a second backend on the same device, for another thread."""
        ...

    def take_compiled(self, other: Any) -> None:
        """Take over the compiled graphs of the second backend, whose thread has ended."""
        ...


@dataclass(frozen=True)
class BackendEntry:
    """One line of the table of backends."""

    target: str
    """module:class"""
    needs: tuple[str, ...]
    """Modules that must be installed; `a|b` means one of them."""
    install: str
    """The command that installs these modules."""
    devices: tuple[str, ...]
    """Devices: `cpu`, `cuda` for NVIDIA, OpenVINO's `gpu` and `npu`, PyTorch's `mps`."""


BACKENDS = {
    "tensorrt": BackendEntry(
        "streamkind.backends.tensorrt:TensorRTBackend",
        ("tensorrt|tensorrt_rtx", "pycuda", "onnx"),
        "pip install 'streamkind[tensorrt]', or on RTX cards 'streamkind[tensorrt-rtx]'",
        ("cuda",),
    ),
    "openvino": BackendEntry(
        "streamkind.backends.openvino:OpenVINOBackend",
        ("openvino",),
        "pip install openvino",
        ("cpu", "gpu", "npu"),
    ),
    "torch": BackendEntry(
        "streamkind.backends.torch:TorchBackend",
        ("torch", "onnx"),
        "pip install 'streamkind[train]'",
        ("cpu", "cuda", "mps"),
    ),
}
"""All backends. `choose.py` has the order in which `auto` prefers them."""


def why_not(name: str, device: str = "auto") -> str | None:
    """Return why a backend cannot be used here, or None if it can.

    `device` is "cpu", "cuda" or another kind; "auto" means any kind that the backend runs on.
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
        faults.append(
            "PyTorch finds no card: install a build with CUDA that fits the driver (pytorch.org)"
        )
    return "; ".join(faults) or None


def _any_installed(names: str) -> bool:
    return any(importlib.util.find_spec(name) is not None for name in names.split("|"))


def _torch_finds_a_card() -> bool:
    """Return whether PyTorch can use a card. It takes seconds, so call it only if there is one."""
    try:
        return bool(importlib.import_module("streamkind.backends.torch").finds_a_card())
    except (ImportError, OSError):
        return False
