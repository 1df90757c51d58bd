"""The backend for PyTorch.

On the CPU it computes in float32, and is the reference for other backends. On NVIDIA cards it
computes in half precision, with channels last, and records CUDA graphs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from streamkind.backends.base import Layers
from streamkind.errors import EngineError, UsageError
from streamkind.light.exposure import Floats, Statistics
from streamkind.model.checkpoint import load_released
from streamkind.model.graphs import Decompose, Recompose, Steady
from streamkind.model.released import Release
from streamkind.video.frames import Levels, Pixels


class TorchBackend:
    """The backend for PyTorch, on the CPU or on an NVIDIA card."""

    def __init__(self, release: Release, *, device: str = "auto") -> None:
        self._device = _device(device)
        card = self._device.type not in ("cpu", "mps")  # only CUDA has graphs of recorded calls
        self.max_batch = 4 if card else 1
        with _memory_for(f"the model {release.name}"):
            kind = load_released(release).requires_grad_(False).to(self._device)
            kind.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        gain = release.info.get("restoration_gain", 1.0)
        decompose, steady, recompose = (
            Decompose(kind, gain).to(self._device),
            Steady(),
            Recompose(kind),
        )
        self._decompose = Recorded(decompose) if card else decompose
        self._steady = Recorded(steady, half=False) if card else steady
        self._recompose = Recorded(recompose) if card else recompose
        precision = "fp16" if card else "f32"
        self.description = (
            f"{release.name} on {self._device}, torch {torch.__version__}, {precision}"
        )

    @torch.inference_mode()
    def decompose(self, pixels: Levels) -> Layers:
        """Split (N, H, W, 3) RGB, uint8 or float32 levels, into layers, with statistics."""
        with _memory_for(_frames(*pixels.shape[:3])):
            frames = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
            reflectance, illumination, *told = self._decompose(frames)
        statistics = Statistics.of(*(t.cpu().numpy() for t in told))
        return Layers(reflectance, illumination, statistics, pixels)

    @torch.inference_mode()
    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Filter the layers over time where nothing moves, frame by frame."""
        share = torch.from_numpy(np.asarray(strength, np.float32))[None].to(self._device)
        held = before.reflectance[-1:], before.illumination[-1:]
        frames = []
        with _memory_for(_frames_of(layers.reflectance)):
            for now in zip(layers.reflectance.split(1), layers.illumination.split(1), strict=True):
                held = self._steady(*now, *held, share)
                frames.append(held)
            reflectance, illumination = (torch.cat(t) for t in zip(*frames, strict=True))
        return replace(layers, reflectance=reflectance, illumination=illumination)

    @torch.inference_mode()
    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """Relight layers by N ratios: (N, H, W, 3) uint8 RGB. The caller may keep the result."""
        with _memory_for(_frames_of(layers.reflectance)):
            ratio = torch.from_numpy(np.asarray(ratios, np.float32)).to(self._device)
            frames = self._recompose(layers.reflectance, layers.illumination, ratio)
        pixels: Pixels = frames.cpu().numpy()
        return pixels

    @torch.inference_mode()
    def join(self, parts: Sequence[Any]) -> Any:
        """Copy layers of one size, (N, C, H, W) each, into one batch."""
        with _memory_for(_frames_of(*parts)):
            return torch.cat(list(parts))

    def close(self) -> None:
        """Free the networks. It may be called twice."""
        self.__dict__.pop("_decompose", None)
        self.__dict__.pop("_steady", None)
        self.__dict__.pop("_recompose", None)


class Recorded:
    """A network on a card, in half precision. Its calls are recorded once for each shape."""

    def __init__(self, net: torch.nn.Module, *, half: bool = True) -> None:
        self._net, self._half = net, half
        self._recordings: dict[tuple[Any, ...], _Recording] = {}

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """Run the network. The caller may keep the result."""
        with torch.cuda.device(inputs[0].device):
            return self._launch(inputs)

    def _launch(self, inputs: tuple[torch.Tensor, ...]) -> Any:
        key = tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        if key not in self._recordings:
            if len(self._recordings) == SHAPES_KEPT:
                self._recordings.pop(next(iter(self._recordings)))
            self._recordings[key] = self._record_or_forget(inputs)
        graph, held, results = self._recordings[key]
        for place, tensor in zip(held, inputs, strict=True):
            place.copy_(tensor)
        graph.replay()
        if isinstance(results, torch.Tensor):
            return results.clone()
        return tuple(tensor.clone() for tensor in results)

    def _record_or_forget(self, inputs: tuple[torch.Tensor, ...]) -> _Recording:
        """Record the graph. If memory is short, free the graphs of other shapes first."""
        try:
            return self._record(inputs)
        except torch.OutOfMemoryError:
            self._recordings.clear()
        torch.cuda.empty_cache()
        return self._record(inputs)

    def _record(self, inputs: tuple[torch.Tensor, ...]) -> _Recording:
        held = [tensor.clone() for tensor in inputs]
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # not recorded: chooses kernels and allocates memory
            self._run(held)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = self._run(held)
        return graph, held, results

    def _run(self, inputs: list[torch.Tensor]) -> Any:
        # The converted weights of autocast are not valid after a recording.
        with torch.autocast("cuda", torch.float16, enabled=self._half, cache_enabled=False):
            results = self._net(*inputs)
        if isinstance(results, torch.Tensor):
            return results
        return tuple(tensor.float() for tensor in results)


_Recording = tuple[Any, list[torch.Tensor], Any]
"""A CUDA graph, its input tensors, and its output tensors."""
SHAPES_KEPT = 4
"""Largest number of shapes whose CUDA graphs are kept; each holds memory of its own."""


SHORT = re.compile("out of memory|(allocate|enough) memory|_ALLOC(ATION)?_FAILED")
"""Pattern of PyTorch's messages for too little memory: of a card, where its libraries cuBLAS and
cuDNN have messages of their own, of Apple's and of the machine."""


@contextmanager
def _memory_for(what: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as exc:
        if not SHORT.search(str(exc)):
            raise
        raise EngineError(
            f"the device has too little memory for {what} in PyTorch; "
            "close other programs, or use --backend tensorrt, --profile balanced or a smaller size"
        ) from exc


def _frames_of(*layers: torch.Tensor) -> str:
    """Name frames by the size of their layers, (N, C, H, W) each."""
    height, width = layers[0].shape[2:]
    return _frames(sum(len(layer) for layer in layers), height, width)


def _frames(count: int, height: int, width: int) -> str:
    return f"{count} frames of {width}x{height}"


def finds_a_card() -> bool:
    """Return whether this PyTorch is built for NVIDIA cards and finds one."""
    return torch.cuda.is_available()


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if finds_a_card() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", name):
        raise UsageError(f"backend 'torch' runs on cpu, cuda, cuda:N or mps, got device '{name}'")
    device = torch.device(name)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise EngineError(
            "device 'mps' does not exist here: it needs macOS on Apple's chips; use --device cpu"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineError(
            f"device '{name}' does not exist: PyTorch finds {torch.cuda.device_count()} NVIDIA"
            " cards, counted from cuda:0; "
            "use --device cpu"
        )
    return device
