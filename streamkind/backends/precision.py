"""Converts released graphs to fp16 and bf16: TensorRT computes in the types of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from streamkind.errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Precision = Literal["fp16", "fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FrameType = Literal["uint8", "float32"]
"""Types of the frames that decompose takes: 8-bit levels, or float levels."""
FRAME_TYPES: tuple[FrameType, ...] = get_args(FrameType)
PICTURES = ("reflectance", "illumination", "frames")
"""Tensors of the size of the picture. The nodes that compute them run in half precision.

All others stay in float32, because rounding errors would add up in them: statistics are sums over
thousands of blocks, and the results of the filter over time (`held_...`) are its next inputs.
"""
BLOCK = 16
"""Side of a block, in pixels. The sum of a block fits half precision."""
SINGLE = ("Log",)
"""Operators that stay in float32: their input is the ratio, one number per frame."""
SINGLE_IN_BF16 = (*SINGLE, "ConvTranspose")
"""Operators that stay in float32 in bf16: TensorRT for RTX 1.7 has no bf16 kernel for the last."""


def read_precision(text: str) -> Precision:
    """Return the precision with this name. Raises UsageError."""
    for precision in PRECISIONS:
        if text == precision:
            return precision
    if text == "int8":
        raise UsageError(
            "precision 'int8' is not offered, because it lowers the PSNR by more than 0.3 dB "
            f"(docs/profiles.md); choose {', '.join(PRECISIONS)}"
        )
    raise UsageError(f"unknown precision '{text}'; choose {', '.join(PRECISIONS)}")


def graph_in(
    data: bytes, precision: Precision, frames: FrameType = "uint8", *, guard: bool = True
) -> bytes:
    """Return an ONNX graph in a precision, which takes `frames` as one of two types.

    Layers and statistics are float32 as inputs and outputs, and the frames of its output are uint8.
    With `guard`, a graph with frames as output has one more output, `guard`, (N,). It is not finite
    for frames with values that are not finite.
    """
    import onnx

    model = onnx.load_from_string(data)
    if model.graph.input[0].name == "frames" and frames == "float32":  # a cast follows
        model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    model = onnx.shape_inference.infer_shapes(model)
    short = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}
    if precision != "fp32":
        _to_16_bits(model, short[precision])
    if guard and model.graph.output[-1].name == "frames":
        _guard(model.graph)
    del model.graph.value_info[:]
    return model.SerializeToString()  # type: ignore[no-any-return]


def _to_16_bits(model: ModelProto, kind: int) -> None:
    """Compute pictures in a type of 16 bits, with casts between these nodes and the others."""
    import onnx

    graph = model.graph
    floats, halves = _float_names(graph), _made_before(graph, PICTURES)
    single = SINGLE_IN_BF16 if kind == onnx.TensorProto.BFLOAT16 else SINGLE
    casts = _Casts(kind)
    nodes: list[NodeProto] = []
    made_half: set[str] = set()
    for node in graph.node:
        half = node.output[0] in halves and node.op_type not in single
        for i, name in enumerate(node.input):
            if name in floats and (name in made_half) != half:
                node.input[i] = casts.of(name, half, nodes)
        if half and node.op_type == "Cast":
            _cast_to(node, kind)
        if half:
            made_half.update(name for name in node.output if name in floats)
        nodes.append(node)
    _keep_outputs(graph, nodes, made_half)
    del graph.node[:]
    graph.node.extend(nodes)


def _guard(graph: Any) -> None:
    """Add an output: the mean of each frame before it is clipped to uint8, which would hide NaN."""
    from onnx import TensorProto, helper

    maker = {name: node for node in graph.node for name in node.output}
    node = maker["frames"]
    while node.op_type != "Clip":
        node = maker[node.input[0]]
    pool = helper.make_node(
        *("AveragePool", [node.input[0]], ["guard.blocks"]),
        name="guard.pool",
        kernel_shape=[BLOCK, BLOCK],
        strides=[BLOCK, BLOCK],
    )
    single = _cast("guard.blocks", "guard.single")
    flat = helper.make_node("Flatten", ["guard.single"], ["guard.flat"], name="guard.flatten")
    mean = helper.make_node("ReduceMean", ["guard.flat", "guard.axes"], ["guard"], keepdims=0)
    graph.node.extend([pool, single, flat, mean])
    graph.initializer.append(helper.make_tensor("guard.axes", TensorProto.INT64, [1], [1]))
    graph.output.append(helper.make_tensor_value_info("guard", TensorProto.FLOAT, ["N"]))


class _Casts:
    """The casts that were inserted, one for each tensor."""

    def __init__(self, kind: int) -> None:
        self._kind = kind
        self._made: dict[tuple[str, bool], str] = {}

    def of(self, name: str, half: bool, nodes: list[NodeProto]) -> str:
        """Return the name of a tensor in the other type, cast just before its first use."""
        if (name, half) not in self._made:
            cast = f"{name}.{'half' if half else 'single'}_here"
            nodes.append(_cast(name, cast, self._kind if half else None))
            self._made[name, half] = cast
        return self._made[name, half]


def _cast(name: str, result: str, kind: int | None = None) -> NodeProto:
    """Return a cast to that type, or to float32."""
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT if kind is None else kind
    return helper.make_node("Cast", [name], [result], name=f"cast.{result}", to=kind)


def _cast_to(node: NodeProto, kind: int) -> None:
    from onnx import TensorProto

    for attribute in node.attribute:
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = kind


def _keep_outputs(graph: Any, nodes: list[NodeProto], made_half: set[str]) -> None:
    """Convert the float outputs of the graph to float32 and keep their names."""
    for output in graph.output:
        if output.name not in made_half:
            continue
        inner = f"{output.name}.half"
        for node in nodes:
            for names in (node.input, node.output):
                names[:] = [inner if name == output.name else name for name in names]
        nodes.append(_cast(inner, output.name))


def _float_names(graph: Any) -> set[str]:
    """Return the names of all float32 tensors."""
    from onnx import TensorProto

    values = [*graph.input, *graph.output, *graph.value_info]
    names = {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT}


def _made_before(graph: Any, outputs: tuple[str, ...]) -> set[str]:
    """Return the nodes that any of `outputs` depends on, each by the name of its first output."""
    maker = {name: node for node in graph.node for name in node.output}
    found: set[str] = set()
    waiting = list(outputs)
    while waiting:
        node = maker.get(waiting.pop())
        if node is not None and node.output[0] not in found:
            found.add(node.output[0])
            waiting.extend(node.input)
    return found
