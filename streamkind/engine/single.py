"""One ONNX graph from picture to picture, for programs that run ONNX without streamkind.

The graph chooses the ratio itself. It gives the same result as `Engine.stream` for the first frame
of a video, or as `Engine.enhance` for a still. It stores nothing from frame to frame.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from streamkind.backends.onnx_graph import FLOAT, GraphBuilder, Tensor, model_of
from streamkind.backends.precision import Precision, graph_in
from streamkind.backends.ratio_graph import add_ratio
from streamkind.engine.film_graph import LEVELS, FilmGraph
from streamkind.errors import EngineError, UsageError
from streamkind.light.exposure import DEFAULT_TARGET, FADE_STOPS, MANUAL_RANGE, STILL_TARGET
from streamkind.model.released import MULTIPLE, Graph, Release

if TYPE_CHECKING:
    from onnx import ModelProto

PictureType = Literal["uint8", "float"]
"""Type of the values of a picture: 8-bit levels, or numbers from 0 to 1."""
PICTURE_TYPES: tuple[PictureType, ...] = get_args(PictureType)


def read_picture_type(text: str) -> PictureType:
    """Return the type of pictures with this name. Raises UsageError for an unknown one."""
    for kind in PICTURE_TYPES:
        if text == kind:
            return kind
    raise UsageError(f"unknown type of pictures '{text}'; choose {', '.join(PICTURE_TYPES)}")


def single_graph(
    release: Release,
    *,
    pictures: PictureType = "uint8",
    precision: Precision = "fp32",
    stills: bool = False,
    target: float | None = None,
) -> bytes:
    """Return an ONNX model from `picture` to `clear`, (N, 3, H, W) RGB each, of any size.

    Pictures are frames of videos, which are relit by a local ratio, or with `stills` stills, each
    by one ratio for the whole picture. The second input `ratio`, (1,) or (N,), is optional. With
    0, its default, the graph chooses the ratio for a mean luma of `target`, by default that of
    `Engine`. Float pictures are float32, or float16 in fp16. Raises UsageError for a precision that
    is not offered. The package onnx must be installed.
    """
    if precision == "bf16":
        raise UsageError(
            "precision 'bf16' is not offered for a single graph, because few programs can run it;"
            " choose fp16 or fp32"
        )
    from onnx import TensorProto, helper, numpy_helper

    kind = TensorProto.UINT8
    if pictures == "float":
        kind = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT
    g = GraphBuilder()
    seen = _levels(g, g.tensor("picture"), pictures)
    decompose, recompose = (
        _Part(getattr(release, name), name, precision) for name in ("decompose", "recompose")
    )
    told = decompose.add(g, frames=_padded(g, seen))
    target = target or (STILL_TARGET if stills else DEFAULT_TARGET)
    curve, thumbnail, exposure = (told[name] for name in ("curve", "thumbnail", "exposure"))
    ratio = _chosen(g, add_ratio(g, curve, thumbnail, exposure, target, still=stills))
    layers = {name: told[name] for name in ("reflectance", "illumination")}
    # The recompose graph has added 0.5, for rounding.
    made = _cut(g, recompose.add(g, **layers, ratio=ratio)["frames"], seen)
    made = g.add("Floor", made) if pictures == "uint8" else g.clip(made - 0.5, 0, LEVELS)
    if not stills:
        made = FilmGraph(g, seen, rounds=pictures == "uint8").finish(made)
    clear = _mixed(g, seen, made, ratio, pictures)
    g.nodes.append(helper.make_node("Cast", [clear.name], ["clear"], to=kind))
    g.constants.append(numpy_helper.from_array(np.zeros(1, np.float32), "ratio"))
    shape: list[str | int | None] = ["n", 3, "height", "width"]
    inputs = [
        helper.make_tensor_value_info("picture", kind, shape),
        helper.make_tensor_value_info("ratio", TensorProto.FLOAT, ["k"]),
    ]
    outputs = [helper.make_tensor_value_info("clear", kind, shape)]
    about = {"model": release.name, "precision": precision, "of": "stills" if stills else "videos"}
    about |= {name: getattr(release, name).sha256 for name in ("decompose", "recompose")}
    return model_of(g, inputs, outputs, opset=decompose.opset, ir=decompose.ir, about=about)


def need_onnx() -> None:
    """Raise EngineError if the package onnx is missing."""
    if importlib.util.find_spec("onnx") is None:
        raise EngineError(
            "graphs are written by the package 'onnx': pip install 'streamkind[export]'"
        )


class _Part:
    """A released graph, which is inserted into another one."""

    def __init__(self, graph: Graph, name: str, precision: Precision) -> None:
        import onnx

        data = graph_in(graph.read(), precision, "float32", guard=False)
        self._model: ModelProto = onnx.compose.add_prefix(onnx.load_from_string(data), f"{name}.")
        self._name = name
        self.opset: int = self._model.opset_import[0].version
        self.ir: int = self._model.ir_version

    def add(self, g: GraphBuilder, **inputs: Tensor) -> dict[str, Tensor]:
        """Add all nodes; return the outputs. Frames are levels before rounding."""
        graph = self._model.graph
        given = {f"{self._name}.{name}": tensor.name for name, tensor in inputs.items()}
        for node in graph.node:
            node.input[:] = [given.get(name, name) for name in node.input]
        g.nodes.extend(graph.node)
        g.constants.extend(graph.initializer)
        found = {o.name.removeprefix(f"{self._name}."): g.tensor(o.name) for o in graph.output}
        if "frames" in found:  # instead of the cast to uint8
            last = g.nodes.pop()
            found["frames"] = g.cast(last.input[0], FLOAT)
        return found


def _levels(g: GraphBuilder, picture: Tensor, pictures: PictureType) -> Tensor:
    """Convert pictures of either type to levels from 0 to 255, float32."""
    values = g.cast(picture, FLOAT)
    return values if pictures == "uint8" else g.clip(values * LEVELS, 0, LEVELS)


def _padded(g: GraphBuilder, levels: Tensor) -> Tensor:
    """Repeat the last row and column until both sides are multiples of 16: (N, H, W, 3)."""
    size = g.slice(g.add("Shape", levels), 2, 4, 0)
    missing = (size + (MULTIPLE - 1)) / MULTIPLE * MULTIPLE - size
    pads = g.add("Concat", [0] * 6, missing, axis=0)
    padded = g.add("Pad", levels, pads, mode="edge")
    return g.add("Transpose", padded, perm=[0, 2, 3, 1])


def _chosen(g: GraphBuilder, auto: Tensor) -> Tensor:
    """Return the ratio that the user gives, or else the automatic one, (N,)."""
    given = g.clip("ratio", *MANUAL_RANGE)
    return g.add("Where", g.add("Greater", "ratio", 0.0), given, auto)


def _cut(g: GraphBuilder, padded: Tensor, seen: Tensor) -> Tensor:
    """Cut (N, H, W, 3) to the size of other pictures; (N, 3, H, W)."""
    planes = g.add("Transpose", padded, perm=[0, 3, 1, 2])
    size = g.slice(g.add("Shape", seen), 2, 4, 0)
    return g.add("Slice", planes, [0, 0], size, [2, 3])


def _mixed(
    g: GraphBuilder, seen: Tensor, made: Tensor, ratio: Tensor, pictures: PictureType
) -> Tensor:
    """Mix the result with the picture near a ratio of 1: levels, or numbers from 0 to 1."""
    stops = g.add("Abs", g.add("Log", ratio)) / np.log(2)
    share = g.add("Unsqueeze", g.smooth_step(stops, 0.0, FADE_STOPS), [1, 2, 3])
    mixed = seen + share * (made - seen)
    if pictures == "uint8":
        return g.clip(g.add("Round", mixed), 0, LEVELS)
    return g.clip(mixed, 0, LEVELS) / LEVELS


def operators(data: bytes) -> tuple[int, Counter[str]]:
    """Return the opset of a model, and how often it has each operator."""
    import onnx

    model = onnx.load_from_string(data)
    return model.opset_import[0].version, Counter(node.op_type for node in model.graph.node)
