"""The backend for OpenVINO: any CPU, and Intel's graphics and NPUs."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamkind.backends.base import Layers
from streamkind.backends.graph_cache import GraphCache
from streamkind.backends.ov import openvino as ov
from streamkind.backends.ov_devices import (
    CPU,
    choose_device,
    engine_errors,
    find_device,
    full_name,
    options_of,
    speeds_file,
)
from streamkind.backends.processor import fastest_precision, flags, threads
from streamkind.light.exposure import Floats, Statistics
from streamkind.model.released import PARTS, Graph, Release, padded
from streamkind.video.frames import Levels, Pixels

STRIPS = {"decompose": (256, 32), "steady": (160, 32), "recompose": (464, 96)}
"""For each graph: largest number of rows of a picture of 1920 columns that it runs on at once, and
how many of them on each side are only context. This limits the memory. With so much context, the
result differs from that of the whole picture by at most one gray level."""
SMALL = 480 * 272
"""Number of pixels up to which the model `student` uses only half of the cores. For such pictures,
decoder and encoder need more time than the networks."""
LAYERS = 2
"""Number of layers among the outputs of a decompose graph; the other outputs are statistics."""
MEASURED = 272, 480
"""Height and width, in pixels, of the frames that devices are compared on: those of `realtime`."""
MEASURED_FRAMES = 5
"""Number of frames measured on each device, after a first one, at which the graphs are compiled."""
Array = NDArray[Any]
SHAPES_KEPT = 2
"""Number of shapes whose compiled graphs are kept at first: that of a file, and that of its last,
shorter batch."""


class OpenVINOBackend:
    """The backend for OpenVINO. The CPU computes in bf16 if it has instructions for it, else f32.

    On another device, pictures are computed in float16, but statistics and the filter over time on
    the CPU.
    """

    # One frame uses all cores. A larger batch would need more memory, and is not faster.
    max_batch = 1

    def __init__(
        self, release: Release, *, device: str = "auto", precision: str | None = None
    ) -> None:
        """`device` is auto, cpu, gpu, gpu.N or npu.

        `precision` is "bf16", "f16" or "f32". Without it, it is the fastest of sufficient accuracy.
        """
        self._core = ov.Core()
        abilities = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        fast = fastest_precision(abilities, flags())
        self._options = {"INFERENCE_PRECISION_HINT": fast, "PERFORMANCE_HINT": "LATENCY"}
        told = bool(os.environ.get("OMP_NUM_THREADS"))
        if told:
            self._options |= at_most(threads())
        self._small = release.info.get("architecture") == "student" and not told
        models = {part: _read(self._core, getattr(release, part)) for part in PARTS}
        models["decompose"], models["tell"] = _cut(models["decompose"])
        self._models = models
        self._request = GraphCache(self._compile, len(models) * SHAPES_KEPT)
        version = ov.__version__.split("-")[0]
        self._use(self._choose(device, f"{release.decompose.sha256[:12]} {version}"), precision)
        where, how = self._device.lower(), self._device_options["INFERENCE_PRECISION_HINT"]
        self.description = f"{release.name} on {where}, openvino {version}, {how}"

    @property
    def overlaps(self) -> bool:
        """Whether `recompose` may run in a second thread. Two large networks would be slower."""
        return self._small

    def decompose(self, pixels: Levels) -> Layers:
        """Split (N, H, W, 3) RGB, uint8 or float32 levels, into layers, with statistics."""
        reflectance, illumination, *blocks = self._run("decompose", [pixels])
        told = self._infer("tell", [pixels, *blocks])
        return Layers(reflectance, illumination, Statistics.of(*told), pixels)

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Filter the layers over time where nothing moves, frame by frame."""
        share = np.array([strength], np.float32)
        held = [before.reflectance[-1:], before.illumination[-1:]]
        frames = []
        for i in range(len(layers.reflectance)):
            now = [layers.reflectance[i : i + 1], layers.illumination[i : i + 1]]
            held = self._run("steady", [*now, *held, share])
            frames.append(held)
        reflectance, illumination = (_join(arrays) for arrays in zip(*frames, strict=True))
        return replace(layers, reflectance=reflectance, illumination=illumination)

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """Relight layers by N ratios: (N, H, W, 3) uint8 RGB. The caller may keep the result."""
        ratio = np.asarray(ratios, np.float32)
        return self._run("recompose", [layers.reflectance, layers.illumination, ratio])[0]

    def join(self, parts: Sequence[Any]) -> Any:
        """Copy layers of one size, (N, C, H, W) each, into one batch."""
        return _join(parts)

    def for_compiling(self) -> OpenVINOBackend:
        """Return a second backend for another thread. It shares the compiled graphs."""
        other = copy.copy(self)
        other._models = {part: model.clone() for part, model in self._models.items()}

        def compiled(*key: Any) -> Any:
            known = self._request.known(key)
            if known is None:
                return other._compile(*key)
            return known.get_compiled_model().create_infer_request()

        other._request = GraphCache(compiled, len(other._models) * SHAPES_KEPT)
        return other

    def take_compiled(self, other: OpenVINOBackend) -> None:
        """Take over the compiled graphs of the second backend, whose thread has ended."""
        self._request.take_compiled(other._request)

    def close(self) -> None:
        """Free the graphs. It may be called twice."""
        self._request.clear()
        self._models = {}

    def _choose(self, asked: str, model: str) -> str:
        """Return OpenVINO's name of the device. Measured speeds are stored under `model`."""
        available = list(self._core.available_devices)
        if asked != "auto":
            return find_device(asked, available)
        names = ", ".join(full_name(self._core, name) for name in available)
        return choose_device(available, self._measure, f"{model} {names}", speeds_file())

    def _measure(self, device: str) -> float:
        """Return the frames per second of a device, without the first frame, which compiles."""
        self._use(device, None)
        frame = np.full((1, *MEASURED, 3), 16, np.uint8)
        ratios = np.full(1, 4.0, np.float32)
        self.recompose(self.decompose(frame), ratios)
        began = time.perf_counter()
        for _ in range(MEASURED_FRAMES):
            self.recompose(self.decompose(frame), ratios)
        return MEASURED_FRAMES / (time.perf_counter() - began)

    def _use(self, device: str, precision: str | None) -> None:
        """Select a device and its options, and free the compiled graphs."""
        self._device, self._device_options = device, dict(self._options)
        if device != CPU:
            self._device_options = options_of(self._core, device, precision)
        elif precision:
            self._device_options["INFERENCE_PRECISION_HINT"] = precision
        self._request.clear()

    def _run(self, part: str, inputs: list[Array]) -> list[Array]:
        """Run a graph with a limited receptive field; a large picture is run in strips of rows."""
        frames, height, width = len(inputs[0]), *inputs[0].shape[_rows(inputs[0]) :][:2]
        rows, halo = STRIPS[part]
        spans = strips(height, max(rows * 1920 // (frames * width), rows), halo)
        if len(spans) == 1:
            return self._infer(part, inputs)
        results: list[Array] = []
        for seen, own in spans:
            cut = [a[_at(a, seen)] if a.ndim == 4 else a for a in inputs]
            for i, strip in enumerate(self._infer(part, cut)):
                axis = _rows(strip)
                reduced = (seen.stop - seen.start) // strip.shape[axis]
                if len(results) == i:
                    shape = list(strip.shape)
                    shape[axis] = height // reduced
                    results.append(np.empty(shape, strip.dtype))
                inner = _scaled(own.start - seen.start, own.stop - seen.start, reduced)
                outer = _scaled(own.start, own.stop, reduced)
                results[i][_at(strip, outer)] = strip[_at(strip, inner)]
        return results

    def _infer(self, part: str, inputs: list[Array]) -> list[Array]:
        """Run a graph. The outputs are new arrays, which the caller may keep."""
        whole = [np.ascontiguousarray(array) for array in inputs]  # a tensor only borrows them
        shapes = tuple(array.shape for array in whole)
        request = self._request(part, shapes, whole[0].dtype)
        for i, array in enumerate(whole):
            request.set_input_tensor(i, ov.Tensor(array, shared_memory=True))
        outputs = [
            ov.Tensor(port.get_element_type(), port.get_shape()) for port in request.model_outputs
        ]
        for i, output in enumerate(outputs):
            request.set_output_tensor(i, output)
        with engine_errors(f"run {part} for {shapes[0]}"):
            request.infer()
        return [output.data for output in outputs]

    def _compile(
        self, part: str, shapes: tuple[tuple[int, ...], ...], kind: Any = np.float32
    ) -> Any:
        """Compile a graph for inputs of these shapes. `kind` is the type of the first."""
        model = self._models[part].clone()
        model.inputs[0].get_node().set_element_type(ov.Type(kind))  # a cast follows the frames
        # Statistics and the filter over time must not be rounded to float16.
        device = CPU if part in ("tell", "steady") else self._device
        options = self._device_options if device == self._device else self._options
        if device == CPU and self._small and math.prod(shapes[0]) <= 3 * SMALL:
            options = options | at_most(max(1, threads() // 2))
        model.reshape({port: list(s) for port, s in zip(model.inputs, shapes, strict=True)})
        # Rounding in each frame would add up in the filter over time.
        options = options | ({"INFERENCE_PRECISION_HINT": "f32"} if part == "steady" else {})
        with engine_errors(f"compile {part} for {shapes[0]} on {device}"):
            return self._core.compile_model(model, device, options).create_infer_request()


def at_most(count: int) -> dict[str, str]:
    """Return options for `count` threads without pinning: else all processes use the same cores."""
    return {"INFERENCE_NUM_THREADS": str(count), "ENABLE_CPU_PINNING": "NO"}


def _read(core: Any, graph: Graph) -> Any:
    return core.read_model(graph.read(), b"")


def _cut(model: Any) -> tuple[Any, Any]:
    """Divide a decompose graph into two after the means of blocks.

    The first computes layers and block means from frames; it can run in strips. The second
    computes the statistics of a whole frame from the frame and its block means.
    """
    first, second = model, model.clone()
    pools = [
        [n for n in m.get_ordered_ops() if n.get_type_name() == "AvgPool"] for m in (first, second)
    ]
    for node in pools[0]:
        first.add_outputs(node.output(0))
    for port in first.outputs[LAYERS : -len(pools[0])]:
        first.remove_result(port.get_node())
    inputs = [second.inputs[0].get_node()]  # only its shape is used
    for node in pools[1]:
        blocks = ov.opset13.parameter(node.get_output_partial_shape(0), ov.Type.f32)
        for target in node.output(0).get_target_inputs():
            target.replace_source_output(blocks.output(0))
        inputs.append(blocks)
    told = [port.get_node().input_value(0) for port in second.outputs[LAYERS:]]
    return first, ov.Model(told, inputs)


def strips(height: int, most: int, halo: int) -> list[tuple[slice, slice]]:
    """Divide the rows of a picture into strips: pairs of the rows to read and the rows to write.

    All strips read the same number of rows, at most `most` and a multiple of 16. These are the rows
    to write, and at least `halo` rows of context on each side that is not a border of the picture.
    """
    if height <= most:
        return [(slice(0, height), slice(0, height))]
    count = -(-(height - 2 * halo) // (most - 2 * halo))
    even = -(-(height + 2 * halo * (count - 1)) // count)
    seen = padded(even)
    spans: list[tuple[slice, slice]] = []
    done = 0
    while done < height:
        start = min(max(done - halo, 0), height - seen)
        end = height if start + seen == height else start + seen - halo
        spans.append((slice(start, start + seen), slice(done, end)))
        done = end
    return spans


def _rows(array: Array) -> int:
    """Return the axis of rows: 2 for layers, (N, 1 or 3, H, W), and 1 for frames, (N, H, W, 3)."""
    return 2 if array.shape[1] in (1, 3) else 1


def _at(array: Array, rows: slice) -> tuple[slice, ...]:
    return (slice(None),) * _rows(array) + (rows,)


def _scaled(start: int, stop: int, by: int) -> slice:
    return slice(start // by, stop // by)


def _join(frames: Sequence[Array]) -> Array:
    """Stack batches, (N, C, H, W) each."""
    return frames[0] if len(frames) == 1 else np.concatenate(frames)
