"""Counts the parameters and the multiply-adds of the released networks."""

from __future__ import annotations

import json
from math import prod
from typing import Any

import onnx
from onnx.shape_inference import infer_shapes

from parts.record import ENGINES, Table

SIDE = 512
"""Height and width of the picture whose multiply-adds are counted, in pixels."""


def sizes() -> Table:
    """Return the parameters of each network, and the multiply-adds of each model."""
    told = json.loads((ENGINES / "engine.json").read_text("utf-8"))["models"]
    parts = list(next(iter(told.values()))["parameters"])
    work = {name: sum(map(per_pixel, ENGINES.glob(f"{name}-*.onnx"))) for name in told}
    rows = [
        [f"`{name}`", *model["parameters"].values(), work[name], work["kind"] / work[name]]
        for name, model in told.items()
    ]
    columns = {"": "", **dict.fromkeys((f"{part}, parameters" for part in parts), ",d")}
    return Table(
        columns | {"multiply-adds a pixel": ",.0f", "`kind` has times as many": ".2f"}, rows
    )


def per_pixel(path: Any) -> float:
    """Return the multiply-adds of a graph's convolutions for each pixel of a picture."""
    graph = onnx.load(path).graph
    for value in graph.input:
        for i, size in enumerate(value.type.tensor_type.shape.dim):
            fixed = 1 if i == 0 else SIDE
            size.dim_value = size.dim_value or fixed
    graph = infer_shapes(onnx.helper.make_model(graph), data_prop=True).graph
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*graph.input, *graph.value_info, *graph.output)
    } | {w.name: list(w.dims) for w in graph.initializer}
    total = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            weight = shapes[weight_of(graph, node.input[1])]
            at = node.output[0] if node.op_type == "Conv" else node.input[0]
            total += prod(shapes[at][2:]) * prod(weight)
    return total / SIDE**2


def weight_of(graph: Any, name: str) -> str:
    """Return the initializer of a weight: the float16 input if the weight is cast, else itself."""
    return next((n.input[0] for n in graph.node if n.output[0] == name and n.input), name)
