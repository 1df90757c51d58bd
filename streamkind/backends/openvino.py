"""KinD on any CPU, through OpenVINO."""

from __future__ import annotations

import functools
import os
from dataclasses import replace
from typing import Any

import numpy as np
import openvino as ov

from streamkind.backends.base import Layers
from streamkind.backends.released import PARTS, Graph, Release
from streamkind.errors import EngineError, UsageError
from streamkind.exposure import Floats, Statistics
from streamkind.video.frames import Pixels

SHAPES_KEPT = 2
"""Compiled shapes held at once: a stream has one, and the last batch of a file may be shorter."""


class OpenVINOEngine:
    """KinD on the CPU, in bf16 where the processor computes in it, else in float32."""

    # A frame of video fills both the cores and the caches: more at once only costs memory.
    max_batch = 1

    def __init__(
        self, release: Release, *, device: str = "auto", precision: str | None = None
    ) -> None:
        """`precision`, "bf16" or "f32", is the fastest that is no loss when not given."""
        if device not in ("auto", "cpu"):
            raise UsageError(f"backend 'openvino' runs on the cpu, got device '{device}'")
        self._core = ov.Core()
        abilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = precision or ("bf16" if "BF16" in abilities else "f32")
        self._options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        if threads := os.environ.get("OMP_NUM_THREADS"):
            # As for one of several workers: pinned, they would all take the first cores.
            self._options |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": "NO"}
        self._models = {part: _read(self._core, getattr(release, part)) for part in PARTS}
        self._request = functools.lru_cache(maxsize=len(PARTS) * SHAPES_KEPT)(self._compile)
        version = ov.__version__.split("-")[0]
        self.description = f"{release.name} on cpu, openvino {version}, {precision}"

    def decompose(self, pixels: Pixels) -> Layers:
        """(N, H, W, 3) uint8 RGB -> layers and per-frame statistics."""
        request = self._request("decompose", pixels.shape[:3])
        frames = np.ascontiguousarray(pixels)  # held here: a tensor only borrows its memory
        request.set_input_tensor(0, ov.Tensor(frames, shared_memory=True))
        reflectance, illumination, *told = _infer(request)
        return Layers(reflectance, illumination, Statistics.of(*(t.data for t in told)), pixels)

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Hold what does not move since the frame before; one frame after the other."""
        n, _, height, width = layers.reflectance.shape
        request = self._request("steady", (1, height, width))
        request.set_input_tensor(4, ov.Tensor(np.array([strength], np.float32)))
        held = [_one(t, -1) for t in (before.reflectance, before.illumination)]
        frames = []
        for i in range(n):
            now = [_one(t, i) for t in (layers.reflectance, layers.illumination)]
            for port, tensor in enumerate(now + held):
                request.set_input_tensor(port, tensor)
            held = _infer(request)
            frames.append(held)
        reflectance, illumination = (_join(list(t)) for t in zip(*frames, strict=True))
        return replace(layers, reflectance=reflectance, illumination=illumination)

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """(N, H, W, 3) uint8 RGB, the caller's to keep."""
        n, _, height, width = layers.reflectance.shape
        request = self._request("recompose", (n, height, width))
        request.set_input_tensor(0, layers.reflectance)
        request.set_input_tensor(1, layers.illumination)
        ratio = np.ascontiguousarray(ratios, np.float32)
        request.set_input_tensor(2, ov.Tensor(ratio, shared_memory=True))
        pixels: Pixels = _infer(request)[0].data
        return pixels

    def close(self) -> None:
        """Free the compiled graphs. Twice is fine."""
        self._request.cache_clear()

    def _compile(self, name: str, shape: tuple[int, int, int]) -> Any:
        n, height, width = shape
        model = self._models[name].clone()
        layers = [[n, 3, height, width], [n, 1, height, width]]
        shapes = {
            "decompose": [[n, height, width, 3]],
            "steady": [*layers, *layers, [n, 2]],
            "recompose": [*layers, [n]],
        }[name]
        model.reshape(dict(zip(model.inputs, shapes, strict=True)))
        # What is held for seconds must not be rounded each frame.
        options = self._options | ({"INFERENCE_PRECISION_HINT": "f32"} if name == "steady" else {})
        try:
            compiled = self._core.compile_model(model, "CPU", options)
        except RuntimeError as exc:
            raise EngineError(
                f"OpenVINO cannot compile {name} at {width}x{height}: {exc}; "
                "try a smaller picture or --backend torch"
            ) from exc
        return compiled.create_infer_request()


def _read(core: Any, graph: Graph) -> Any:
    return core.read_model(graph.read(), b"")


def _one(tensor: Any, i: int) -> Any:
    """Return frame `i` of a batch, (1, C, H, W), without a copy."""
    n = tensor.shape[0]
    return tensor if n == 1 else ov.Tensor(tensor.data[i % n :][:1], shared_memory=True)


def _join(tensors: list[Any]) -> Any:
    """Stack frames, (1, C, H, W) each, into a batch."""
    return tensors[0] if len(tensors) == 1 else ov.Tensor(np.concatenate([t.data for t in tensors]))


def _infer(request: Any) -> list[Any]:
    """Run into fresh memory: the caller keeps the result while the next batch is computed."""
    outputs = [
        ov.Tensor(port.get_element_type(), port.get_shape()) for port in request.model_outputs
    ]
    for i, output in enumerate(outputs):
        request.set_output_tensor(i, output)
    request.infer()
    return outputs
