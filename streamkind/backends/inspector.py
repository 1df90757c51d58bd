"""Lists the number types of the layers of a network and of the plan that is built from it."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

Inspection = dict[str, Any]
TYPES = {
    "bf16": "bf16|bfloat16",
    "half": "fp16|half",
    "float": "fp32|float",
    "uint8": "uint8",
    "int8": "int8",
    "int32": "int32",
    "int64": "int64",
    "bool": "bool",
}
"""Names of types in `examine`, and the patterns of the inspector's names for them."""


def examine(network: Any) -> Inspection:
    """Return names, types and shapes of inputs and outputs, and the layers of each number type."""
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    typed = [(layer, layer.get_output(0).dtype.name.lower()) for layer in layers]
    computing = [(layer, t) for layer, t in typed if t in ("float", "half", "bf16", "int8")]
    computing = [(layer, t) for layer, t in computing if layer.type.name not in ("CONSTANT",)]
    return {
        "inputs": [_tensor(network.get_input(i)) for i in range(network.num_inputs)],
        "outputs": [_tensor(network.get_output(i)) for i in range(network.num_outputs)],
        "layers": dict(Counter(t for _, t in computing)),
        "float_layers": [layer.name for layer, t in computing if t == "float"],
    }


def _tensor(tensor: Any) -> Inspection:
    kind = tensor.dtype.name.lower()
    return {"name": tensor.name, "type": kind, "shape": list(tensor.shape)}


def read_inspector(text: str) -> Inspection:
    """Count the layers of an engine by the type that they give, from the inspector's JSON.

    Layers are those that the card runs, after fusion. Of plans built with less detail only the
    names are known.
    """
    layers = json.loads(text).get("Layers", [])
    typed = [(_name(layer), _type(layer)) for layer in layers]
    return {
        "layers": dict(Counter(kind for _, kind in typed)),
        "float_layers": [name for name, kind in typed if kind == "float"],
    }


def _name(layer: Any) -> str:
    return str(layer.get("Name", "")) if isinstance(layer, dict) else str(layer)


def _type(layer: Any) -> str:
    outputs = layer.get("Outputs", []) if isinstance(layer, dict) else []
    told = str(outputs[0].get("Format/Datatype", "")) if outputs else ""
    words = (k for k, v in TYPES.items() if re.search(rf"\b({v})\b", told, re.IGNORECASE))
    return next(words, "unknown")
