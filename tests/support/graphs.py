"""Runs ONNX graphs, and parts of graphs, in ONNX Runtime."""

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
    """Return a function of float32 arrays that runs the part of a graph that `add` builds.

    `add` takes the graph builder and the input tensors, and returns the output tensors. `inputs`
    are the names of the inputs and their numbers of axes. `outputs` are the numbers of axes of the
    outputs.
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
