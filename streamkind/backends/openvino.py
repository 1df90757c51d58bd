"""KinD on any CPU, through OpenVINO."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import openvino as ov

from streamkind.backends.base import Layers
from streamkind.backends.released import Graph, Release
from streamkind.errors import EngineError, UsageError
from streamkind.exposure import Floats, Statistics
from streamkind.video.frames import Pixels

SHAPES_KEPT = 2
"""Compiled shapes held at once: a stream has one, and the last batch of a file may be shorter."""


class OpenVINOEngine:
    """KinD on the CPU, in bf16 where the processor computes in it, else in float32."""

    # A frame of video fills both the cores and the caches: more at once only costs memory.
    max_batch = 1

    def __init__(self, release: Release, *, device: str = "auto") -> None:
        if device not in ("auto", "cpu"):
            raise UsageError(f"backend 'openvino' runs on the cpu, got device '{device}'")
        self._core = ov.Core()
        abilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = "bf16" if "BF16" in abilities else "f32"
        self._options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        self._models = {
            "decompose": _read(self._core, release.decompose),
            "recompose": _read(self._core, release.recompose),
        }
        self._request = functools.lru_cache(maxsize=2 * SHAPES_KEPT)(self._compile)
        version = ov.__version__.split("-")[0]
        self.description = f"{release.name} on cpu, openvino {version}, {precision}"

    def decompose(self, pixels: Pixels) -> Layers:
        """(N, H, W, 3) uint8 RGB -> layers and per-frame statistics."""
        request = self._request("decompose", pixels.shape[:3])
        frames = np.ascontiguousarray(pixels)  # held here: a tensor only borrows its memory
        request.set_input_tensor(0, ov.Tensor(frames, shared_memory=True))
        reflectance, illumination, curve, thumbnail = _infer(request)
        return Layers(reflectance, illumination, Statistics.of(curve.data, thumbnail.data), pixels)

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
        if name == "decompose":
            model.reshape([n, height, width, 3])
        else:
            layers = [[n, 3, height, width], [n, 1, height, width], [n]]
            model.reshape(dict(zip(model.inputs, layers, strict=True)))
        try:
            compiled = self._core.compile_model(model, "CPU", self._options)
        except RuntimeError as exc:
            raise EngineError(
                f"OpenVINO cannot compile {name} at {width}x{height}: {exc}; "
                "try a smaller picture or --backend torch"
            ) from exc
        return compiled.create_infer_request()


def _read(core: Any, graph: Graph) -> Any:
    return core.read_model(graph.read(), b"")


def _infer(request: Any) -> list[Any]:
    """Run into fresh memory: the caller keeps the result while the next batch is computed."""
    outputs = [
        ov.Tensor(port.get_element_type(), port.get_shape()) for port in request.model_outputs
    ]
    for i, output in enumerate(outputs):
        request.set_output_tensor(i, output)
    request.infer()
    return outputs
