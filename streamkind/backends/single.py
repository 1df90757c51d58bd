"""One ONNX graph from picture to picture, for programs that run ONNX without streamkind.

It does what `Engine.enhance` does with a still: the ratio is chosen inside. It remembers nothing.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from streamkind.backends.onnx_graph import FLOAT, GraphBuilder, model_of
from streamkind.backends.precision import Precision, graph_in
from streamkind.backends.ratio_graph import add_ratio
from streamkind.errors import EngineError, UsageError
from streamkind.light.exposure import FADE_STOPS, MANUAL_RANGE, STILL_TARGET
from streamkind.model.released import MULTIPLE, Graph, Release

if TYPE_CHECKING:
    from onnx import ModelProto

PictureType = Literal["uint8", "float"]
"""What a picture consists of: levels of 8 bits, or numbers from 0 to 1."""
PICTURE_TYPES: tuple[PictureType, ...] = get_args(PictureType)
LEVELS = 255
"""The brightest level of 8 bits."""


def read_picture_type(text: str) -> PictureType:
    """Read a type of pictures that is offered. Raises UsageError."""
    for kind in PICTURE_TYPES:
        if text == kind:
            return kind
    raise UsageError(f"unknown type of pictures '{text}'; choose {', '.join(PICTURE_TYPES)}")


def single_graph(
    release: Release,
    *,
    pictures: PictureType = "uint8",
    precision: Precision = "fp32",
    target: float = STILL_TARGET,
) -> bytes:
    """Return an ONNX model from `picture` to `clear`, (N, 3, H, W) RGB each, of any size.

    Its second input `ratio`, (1,) or (N,), may be left out: 0 chooses the ratio by itself, aiming
    at a mean luma of `target`. Float pictures are float32, in fp16 float16. Raises UsageError for a
    precision that is not offered. The package onnx must be there.
    """
    if precision == "bf16":
        raise UsageError("precision 'bf16': few programs run it in ONNX; choose fp16 or fp32")
    from onnx import TensorProto, helper, numpy_helper

    kind = TensorProto.UINT8
    if pictures == "float":
        kind = TensorProto.FLOAT16 if precision == "fp16" else TensorProto.FLOAT
    g = GraphBuilder()
    levels, size = _padded(g, _levels(g, "picture", pictures))
    decompose, recompose = (
        _Part(getattr(release, name), name, precision) for name in ("decompose", "recompose")
    )
    told = decompose.add(g, frames=levels)
    auto = add_ratio(g, told["curve"], told["thumbnail"], told["exposure"], target)
    ratio = _chosen(g, auto)
    layers = {name: told[name] for name in ("reflectance", "illumination")}
    made = recompose.add(g, **layers, ratio=ratio)["frames"]
    clear = _mixed(g, levels, made, ratio, pictures)
    g.nodes.append(helper.make_node("Cast", [_cut(g, clear, size)], ["clear"], to=kind))
    g.constants.append(numpy_helper.from_array(np.zeros(1, np.float32), "ratio"))
    shape: list[str | int | None] = ["n", 3, "height", "width"]
    inputs = [
        helper.make_tensor_value_info("picture", kind, shape),
        helper.make_tensor_value_info("ratio", TensorProto.FLOAT, ["k"]),
    ]
    outputs = [helper.make_tensor_value_info("clear", kind, shape)]
    about = {"model": release.name, "precision": precision}
    about |= {name: getattr(release, name).sha256 for name in ("decompose", "recompose")}
    return model_of(g, inputs, outputs, opset=decompose.opset, ir=decompose.ir, about=about)


def need_onnx() -> None:
    """Raise EngineError if the package onnx is missing."""
    if importlib.util.find_spec("onnx") is None:
        raise EngineError(
            "graphs are written by the package 'onnx': pip install 'streamkind[export]'"
        )


class _Part:
    """A released graph, to be put into another one."""

    def __init__(self, graph: Graph, name: str, precision: Precision) -> None:
        import onnx

        data = graph_in(graph.read(), precision, "float32", guard=False)
        self._model: ModelProto = onnx.compose.add_prefix(onnx.load_from_string(data), f"{name}.")
        self._name = name
        self.opset: int = self._model.opset_import[0].version
        self.ir: int = self._model.ir_version

    def add(self, g: GraphBuilder, **inputs: str) -> dict[str, str]:
        """Add all nodes; return the names of the outputs. Frames are levels before rounding."""
        graph = self._model.graph
        given = {f"{self._name}.{name}": tensor for name, tensor in inputs.items()}
        for node in graph.node:
            node.input[:] = [given.get(name, name) for name in node.input]
        g.nodes.extend(graph.node)
        g.constants.extend(graph.initializer)
        found = {o.name.removeprefix(f"{self._name}."): o.name for o in graph.output}
        if "frames" in found:  # instead of the cast to uint8
            last = g.nodes.pop()
            found["frames"] = g.cast(last.input[0], FLOAT)
        return found


def _levels(g: GraphBuilder, picture: str, pictures: PictureType) -> str:
    """Pictures of either type as levels from 0 to 255, float32."""
    values = g.cast(picture, FLOAT)
    if pictures == "uint8":
        return values
    return g.clip(g.add("Mul", values, np.float32(LEVELS)), 0, LEVELS)


def _padded(g: GraphBuilder, levels: str) -> tuple[str, str]:
    """Repeat the last row and column until the graphs take both sides: (N, H, W, 3).

    Returns the sides from before, (2,), too.
    """
    size = g.slice(g.add("Shape", levels), 2, 4, 0)
    whole = g.add("Div", g.add("Add", size, [MULTIPLE - 1]), [MULTIPLE])
    missing = g.add("Sub", g.add("Mul", whole, [MULTIPLE]), size)
    pads = g.add("Concat", [0] * 6, missing, axis=0)
    padded = g.add("Pad", levels, pads, mode="edge")
    return g.add("Transpose", padded, perm=[0, 2, 3, 1]), size


def _chosen(g: GraphBuilder, auto: str) -> str:
    """The ratio that the user gives, or else the automatic one, (N,)."""
    given = g.clip("ratio", *MANUAL_RANGE)
    return g.add("Where", g.add("Greater", "ratio", np.float32(0)), given, auto)


def _mixed(g: GraphBuilder, seen: str, made: str, ratio: str, pictures: PictureType) -> str:
    """The network's result, near a ratio of 1 mixed with the picture; (N, H, W, 3) levels.

    `made` are levels to which .5 has been added, for rounding.
    """
    made = g.add("Floor", made) if pictures == "uint8" else g.add("Sub", made, np.float32(0.5))
    stops = g.add("Div", g.add("Abs", g.add("Log", ratio)), np.float32(np.log(2)))
    share = g.add("Unsqueeze", g.smooth_step(stops, 0.0, FADE_STOPS), [1, 2, 3])
    mixed = g.add("Add", seen, g.add("Mul", share, g.add("Sub", made, seen)))
    if pictures == "uint8":
        return g.clip(g.add("Round", mixed), 0, LEVELS)
    return g.add("Div", g.clip(mixed, 0, LEVELS), np.float32(LEVELS))


def _cut(g: GraphBuilder, levels: str, size: str) -> str:
    """Cut pictures to a size; (N, 3, H, W)."""
    planes = g.add("Transpose", levels, perm=[0, 3, 1, 2])
    return g.add("Slice", planes, [0, 0], size, [2, 3])


def operators(data: bytes) -> tuple[int, Counter[str]]:
    """Return the opset of a model, and how often it has each operator."""
    import onnx

    model = onnx.load_from_string(data)
    return model.opset_import[0].version, Counter(node.op_type for node in model.graph.node)
