"""Runs ONNX graphs, and parts of them that a builder makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from streamkind.backends.onnx_graph import GraphBuilder, Tensor, model_of


def session(model: bytes) -> onnxruntime.InferenceSession:
    """Load a model into ONNX Runtime, on one core."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def built(
    add: Callable[..., Sequence[Tensor]], inputs: dict[str, int], outputs: Sequence[int]
) -> Callable[..., list[np.ndarray]]:
    """Return what `add` adds to a graph as a function of arrays, float32.

    `add` takes the graph and the inputs, and returns tensors. `inputs` are names and numbers of
    axes, `outputs` numbers of axes.
    """
    g = GraphBuilder()
    results = add(g, *(g.tensor(name) for name in inputs))
    names = {f"result{i}": axes for i, axes in enumerate(outputs)}
    for result, name in zip(results, names, strict=True):
        g.nodes.append(helper.make_node("Identity", [result.name], [name]))
    given, told = (
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * m) for n, m in ports.items()]
        for ports in (inputs, names)
    )
    model = session(model_of(g, given, told, opset=18, ir=10, about={}))
    return lambda *values: model.run(None, dict(zip(inputs, values, strict=True)))
