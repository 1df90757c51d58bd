"""Builds ONNX graphs operator by operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

FLOAT, INT64 = 1, 7
"""Values of `onnx.TensorProto.DataType`."""


def _operator(kind: str) -> Callable[[Tensor, Value], Tensor]:
    return lambda left, right: left.graph.add(kind, left, right)


def _reflected(kind: str) -> Callable[[Tensor, Value], Tensor]:
    return lambda right, left: right.graph.add(kind, left, right)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of a graph that is being built. Arithmetic with it adds operators to the graph."""

    graph: GraphBuilder
    name: str

    __array_ufunc__ = None  # so that `numpy_value + tensor` calls __radd__ of the tensor
    __add__, __radd__ = _operator("Add"), _reflected("Add")
    __sub__, __rsub__ = _operator("Sub"), _reflected("Sub")
    __mul__, __rmul__ = _operator("Mul"), _reflected("Mul")
    __truediv__, __rtruediv__ = _operator("Div"), _reflected("Div")
    __pow__ = _operator("Pow")

    def __neg__(self) -> Tensor:
        """Return -1 times the tensor."""
        return self.graph.add("Neg", self)


Value = Tensor | str | ArrayLike
"""A tensor, its name, or a constant: float32 if it is of floats, else int64."""


class GraphBuilder:
    """Collects nodes and constants. Each method adds nodes and returns the result."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        """The nodes so far, each after those that it depends on."""
        self.constants: list[Any] = []
        """The constants, as initializers."""

    def add(self, kind: str, *inputs: Value, **attributes: Any) -> Tensor:
        """Add an operator of one output."""
        return self.add_many(kind, 1, *inputs, **attributes)[0]

    def add_many(self, kind: str, outputs: int, *inputs: Value, **attributes: Any) -> list[Tensor]:
        """Add an operator of several outputs."""
        from onnx import helper

        names = [self._named(value) for value in inputs]
        results = [f"single.{len(self.nodes)}.{i}" for i in range(outputs)]
        name = f"single.{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, names, results, name=name, **attributes))
        return [Tensor(self, result) for result in results]

    def tensor(self, value: Value) -> Tensor:
        """Return a tensor for a name or a constant."""
        return Tensor(self, self._named(value))

    def _named(self, value: Value) -> str:
        from onnx import numpy_helper

        if isinstance(value, Tensor | str):
            return value if isinstance(value, str) else value.name
        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        name = f"single.constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def sum(self, kind: str, values: Value, axis: int) -> Tensor:
        """Reduce one axis by `kind`, such as ReduceSum, and keep it with size 1."""
        return self.add(kind, values, [axis], keepdims=1)

    def clip(self, values: Value, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Limit values to a range."""
        return self.add("Clip", values, np.float32(low), np.float32(high))

    def cast(self, values: Value, kind: int) -> Tensor:
        """Convert values to a type of `onnx.TensorProto`."""
        return self.add("Cast", values, to=kind)

    def at_least(self, values: Value, low: float = 0.0) -> Tensor:
        """Limit values to no less than a number."""
        return self.add("Max", values, np.float32(low))

    def smooth_step(self, values: Tensor, low: Value, high: Value) -> Tensor:
        """Rise smoothly from 0 at `low` to 1 at `high`, as `exposure.smooth_step` does."""
        t = self.clip((values - low) / (self.tensor(high) - low))
        return t * t * (3.0 - 2.0 * t)

    def size(self, values: Value, axis: int) -> Tensor:
        """Return the length of an axis, (1,) int64."""
        return self.add("Shape", values, start=axis, end=axis + 1)

    def count_to(self, length: Tensor) -> Tensor:
        """Return the numbers from 0 to a length, (1,), less 1: int64."""
        return self.add("Range", 0, self.add("Squeeze", length, [0]), 1)

    def slice(self, values: Value, begin: int, end: int, axis: int) -> Tensor:
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
