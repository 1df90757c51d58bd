"""Builds ONNX graphs operator by operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

FLOAT = 1
"""Number of float32 in ONNX."""
Value = str | ArrayLike
"""Name of a tensor, or a constant: float32 if it is of floats, else int64."""


class GraphBuilder:
    """Collects nodes and constants. Each method adds nodes and returns the name of the result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        """The nodes so far, each after those that it depends on."""
        self.constants: list[Any] = []
        """The constants, as initializers."""

    def add(self, kind: str, *inputs: Value, **attributes: Any) -> str:
        """Add an operator of one output."""
        return self.add_many(kind, 1, *inputs, **attributes)[0]

    def add_many(self, kind: str, outputs: int, *inputs: Value, **attributes: Any) -> list[str]:
        """Add an operator of several outputs."""
        from onnx import helper

        names = [self._named(value) for value in inputs]
        results = [f"single.{len(self.nodes)}.{i}" for i in range(outputs)]
        name = f"single.{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, results, name=name, **attributes))
        return results

    def _named(self, value: Value) -> str:
        from onnx import numpy_helper

        if isinstance(value, str):
            return value
        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        name = f"single.constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def sum(self, kind: str, values: Value, axis: int) -> str:
        """Reduce one axis by `kind`, such as ReduceSum, and keep it with size 1."""
        return self.add(kind, values, [axis], keepdims=1)

    def clip(self, values: Value, low: float = 0.0, high: float = 1.0) -> str:
        """Limit values to a range."""
        return self.add("Clip", values, np.float32(low), np.float32(high))

    def cast(self, values: Value, kind: int) -> str:
        """Convert values to a type of `onnx.TensorProto`."""
        return self.add("Cast", values, to=kind)

    def one_minus(self, values: Value) -> str:
        """Return 1 - values."""
        return self.add("Sub", np.float32(1), values)

    def smooth_step(self, values: Value, low: float, high: float) -> str:
        """Rise smoothly from 0 at `low` to 1 at `high`, as `exposure.smooth_step` does."""
        above = self.add("Sub", values, np.float32(low))
        t = self.clip(self.add("Div", above, np.float32(high - low)))
        rest = self.add("Sub", np.float32(3), self.add("Mul", np.float32(2), t))
        return self.add("Mul", self.add("Mul", t, t), rest)

    def slice(self, values: Value, begin: int, end: int, axis: int) -> str:
        """Return a range of an axis."""
        return self.add("Slice", values, [begin], [end], [axis])


def model_of(
    builder: GraphBuilder,
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    *,
    opset: int,
    ir: int,
    about: dict[str, str],
) -> bytes:
    """Return a checked model, of the version `ir` of ONNX's format. `about` is its metadata."""
    import onnx
    from onnx import helper

    graph = helper.make_graph(builder.nodes, "streamkind", inputs, outputs, builder.constants)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir)
    model.producer_name = "streamkind"
    helper.set_model_props(model, about)
    onnx.checker.check_model(model)
    return model.SerializeToString()  # type: ignore[no-any-return]
