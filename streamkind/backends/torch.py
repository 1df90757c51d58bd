"""KinD by PyTorch in float32: the reference that the other backends are compared with."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import torch

from streamkind.backends.base import Layers
from streamkind.backends.released import Release
from streamkind.errors import EngineError, UsageError
from streamkind.exposure import Floats, Statistics
from streamkind.model.checkpoint import load_released
from streamkind.model.graphs import Decompose, Recompose, Steady
from streamkind.video.frames import Pixels


class TorchEngine:
    """KinD on the CPU, or on an NVIDIA card."""

    def __init__(self, release: Release, *, device: str = "auto") -> None:
        self._device = _device(device)
        self.max_batch = 4 if self._device.type == "cuda" else 1
        kind = load_released(release).requires_grad_(False)
        kind.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        gain = release.info.get("restoration_gain", 1.0)
        self._decompose = Decompose(kind, gain).to(self._device)
        self._steady = Steady()
        self._recompose = Recompose(kind)
        self.description = f"{release.name} on {self._device}, torch {torch.__version__}, f32"

    @torch.inference_mode()
    def decompose(self, pixels: Pixels) -> Layers:
        """(N, H, W, 3) uint8 RGB -> layers on the device and per-frame statistics on the host."""
        frames = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
        reflectance, illumination, *told = self._decompose(frames)
        statistics = Statistics.of(*(t.cpu().numpy() for t in told))
        return Layers(reflectance, illumination, statistics, pixels)

    @torch.inference_mode()
    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Hold what does not move since the frame before; one frame after the other."""
        share = torch.from_numpy(np.asarray(strength, np.float32))[None].to(self._device)
        held = before.reflectance[-1:], before.illumination[-1:]
        frames = []
        for now in zip(layers.reflectance.split(1), layers.illumination.split(1), strict=True):
            held = self._steady(*now, *held, share)
            frames.append(held)
        reflectance, illumination = (torch.cat(t) for t in zip(*frames, strict=True))
        return replace(layers, reflectance=reflectance, illumination=illumination)

    @torch.inference_mode()
    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """(N, H, W, 3) uint8 RGB, the caller's to keep."""
        ratio = torch.from_numpy(np.asarray(ratios, np.float32)).to(self._device)
        frames = self._recompose(layers.reflectance, layers.illumination, ratio)
        pixels: Pixels = frames.cpu().numpy()
        return pixels

    def close(self) -> None:
        """Let go of the nets. Twice is fine."""
        self.__dict__.pop("_decompose", None)
        self.__dict__.pop("_recompose", None)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UsageError(f"backend 'torch' runs on cpu, cuda or cuda:N, got device '{name}'")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineError(
            f"device '{name}' is not there: torch sees {torch.cuda.device_count()} NVIDIA cards; "
            "use --device cpu"
        )
    return device
