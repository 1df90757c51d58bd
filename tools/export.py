"""Release a trained model: python tools/export.py runs/kind [--engines engines].

Writes engines/NAME-decompose.onnx, NAME-steady.onnx and NAME-recompose.onnx, and adds them to
engines/engine.json. Weights are stored as FP16, and the graphs compute in FP32. No graph is written
if the outputs of ONNX and PyTorch differ by more than 1e-3, on a scale from 0 to 1.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from streamkind.light.exposure import RATIOS
from streamkind.model import checkpoint
from streamkind.model.data import Pair, load_split
from streamkind.model.graphs import DECOMPOSE_OUTPUTS, Decompose, Recompose, Steady
from streamkind.model.kind import KinD, illumination_ratio, parameter_count
from streamkind.model.losses import gray
from streamkind.model.released import MULTIPLE, find_release, pad

TOLERANCE = 1e-3
"""Largest allowed difference between ONNX and PyTorch, on a scale from 0 to 1. Chosen by hand."""
OPSET = 18
"""Version of ONNX's operator set."""
Names = tuple[str, ...]
LAYERS = ("reflectance", "illumination")
PORTS: dict[str, tuple[Names, Names]] = {
    "decompose": (("frames",), DECOMPOSE_OUTPUTS),
    "steady": (
        (*LAYERS, "before_reflectance", "before_illumination", "strength"),
        ("held_reflectance", "held_illumination"),
    ),
    "recompose": ((*LAYERS, "ratio"), ("frames",)),
}
"""Names of the inputs and outputs of each graph."""


def round_to_half(kind: KinD) -> KinD:
    """Round the weights to FP16, as they are released; return the same model."""
    with torch.no_grad():
        for parameter in kind.parameters():
            parameter.copy_(parameter.half().float())
    return kind


def keep(kind: KinD, before: KinD, share: float) -> None:
    """Move the weights towards those of the last release, by a share of the difference, 0 to 1."""
    with torch.no_grad():
        for parameter, was in zip(kind.parameters(), before.parameters(), strict=True):
            parameter.lerp_(was, share)


def to_onnx(
    graph: nn.Module, example: tuple[Tensor, ...], inputs: Names, outputs: Names
) -> onnx.ModelProto:
    """Trace a graph as ONNX, with variable batch size, height and width."""
    n = torch.export.Dim("n", min=1, max=64)
    # Height and width are multiples of 16. All layers of a picture have the same height and width.
    h, w = (torch.export.Dim(side, min=1, max=1024) for side in "hw")
    spatial = {1: MULTIPLE * h, 2: MULTIPLE * w}
    layer = {0: n, 2: MULTIPLE * h, 3: MULTIPLE * w}
    by_dimension = {1: {0: n}, 2: {0: n}, 4: layer}
    shapes = tuple(
        {0: n, **spatial} if name == "frames" else by_dimension[tensor.dim()]
        for name, tensor in zip(inputs, example, strict=True)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph,
            example,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    return program.model_proto


def store_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store the weights as FP16, each with a cast to FP32 behind it; return the same model.

    This halves the size of the file. Tensors of one dimension, such as biases, stay FP32.
    """
    weights = [
        w for w in model.graph.initializer if w.data_type == TensorProto.FLOAT and len(w.dims) > 1
    ]
    casts = []
    for weight in weights:
        half = numpy_helper.to_array(weight).astype(np.float16)
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:], model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    return model


def difference(model: onnx.ModelProto, graph: nn.Module, inputs: dict[str, Tensor]) -> float:
    """Return the largest difference of ONNX from PyTorch over all outputs, on a scale of 0 to 1."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    got = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    with torch.no_grad():
        wanted = graph(*inputs.values())
    wanted = (wanted,) if isinstance(wanted, Tensor) else wanted
    return max(distance(a, b.numpy()) for a, b in zip(got, wanted, strict=True))


def distance(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Return the largest difference of two arrays; of uint8 pixels, the mean one, divided by 255.

    A value halfway between two levels may be rounded up by one library and down by the other.
    """
    apart = np.abs(a.astype(np.float64) - b)
    return float(apart.mean() / 255 if a.dtype == np.uint8 else apart.max())


def training_pairs(recipe: dict[str, Any], count: int) -> list[Pair]:
    """Return about `count` of the pairs of `data` on which the run was trained."""
    if not count:
        return []
    pairs, _ = load_split(
        Path(recipe["data"]), recipe["saturation"], recipe["held_out"], recipe["seed"]
    )
    return pairs[:: max(1, len(pairs) // count)]


@torch.no_grad()
def restoration_gain(kind: KinD, pairs: list[Pair]) -> float:
    """Return the factor by which restoration changes the mean luma; 1 without pairs.

    It is the geometric mean, over the pairs, of the mean luma of the output divided by that of the
    curve of `Decompose`. The curve is computed without restoration.
    """
    decompose, recompose = Decompose(kind), Recompose(kind)
    gains = []
    for pair in pairs:
        low, high = (decompose(torch.from_numpy(pad(i[None]))) for i in (pair.low, pair.high))
        ratio = illumination_ratio(low[1], high[1])
        made = gray(recompose(low[0], low[1], ratio).permute(0, 3, 1, 2) / 255).mean()
        said = np.interp(math.log2(float(ratio)), np.log2(RATIOS), low[2][0].numpy())
        gains.append(math.log(float(made) / said))
    return math.exp(float(np.mean(gains or [0.0])))


def export(kind: KinD, gain: float = 1.0, **finishing: bool) -> dict[str, onnx.ModelProto]:
    """Return the ONNX graphs by name, after a comparison of each with PyTorch.

    The comparison is at another size than the traced one. If a difference is above `TOLERANCE`, the
    program ends.
    """
    traced, other = examples(kind, (2, 48, 64, 3)), examples(kind, (1, 96, 112, 3))
    graphs = {
        "decompose": Decompose(kind, gain),
        "steady": Steady(),
        "recompose": Recompose(kind, **finishing),
    }
    models = {}
    for part, graph in graphs.items():
        inputs, outputs = PORTS[part]
        models[part] = store_half(to_onnx(graph.eval(), traced[part], inputs, outputs))
        apart = difference(models[part], graph, dict(zip(inputs, other[part], strict=True)))
        print(f"{part}: ONNX and PyTorch differ by {apart:.2e}")
        if not apart <= TOLERANCE:
            sys.exit(f"refused: {part} differs by {apart:.2e}, allowed {TOLERANCE:g}")
    return models


@torch.no_grad()
def examples(kind: KinD, shape: tuple[int, ...]) -> dict[str, tuple[Tensor, ...]]:
    """Return the inputs of each graph, made from random frames of a shape (N, H, W, 3).

    In the left half, the frames before differ by one level at most, so that nothing moves there.
    """
    frames, before = (torch.randint(0, 120, shape, dtype=torch.uint8) for _ in range(2))
    before[:, :, : shape[2] // 2] = frames[:, :, : shape[2] // 2] // 2 * 2
    decompose = Decompose(kind).eval()
    layers, layers_before = decompose(frames)[:2], decompose(before)[:2]
    return {
        "decompose": (frames,),
        "steady": (*layers, *layers_before, torch.rand(shape[0], 2)),
        "recompose": (*layers, torch.linspace(0.5, 7.0, shape[0])),
    }


def describe(model: onnx.ModelProto, path: Path) -> dict[str, Any]:
    """Return the entry of a graph file in engine.json: name, digest, inputs and outputs."""

    def values(infos: Any) -> dict[str, Any]:
        return {
            v.name: {
                "type": TensorProto.DataType.Name(v.type.tensor_type.elem_type).lower(),
                "shape": [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim],
            }
            for v in infos
        }

    return {
        "file": path.name,
        "sha256": sha256(path.read_bytes()),
        "inputs": values(model.graph.input),
        "outputs": values(model.graph.output),
    }


def main() -> None:
    """Read the command line, and write the graphs and their entry in engine.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder that tools/train.py wrote")
    parser.add_argument("--engines", type=Path, default=Path("engines"))
    parser.add_argument("--fusion", action="store_true", help="finish by fusion with the input")
    parser.add_argument("--mask", action="store_true", help="finish by the authors' dark mask")
    parser.add_argument("--pairs", type=int, default=24, help="to measure restoration on; 0: none")
    parser.add_argument("--keep", type=float, default=0.0, help="share of the last release")
    args = parser.parse_args()
    state = checkpoint.load(args.run / "checkpoint.pt")
    kind, name = checkpoint.load_kind(args.run / "checkpoint.pt"), state["recipe"]["name"]
    if args.keep:
        keep(kind, checkpoint.load_released(find_release(name, args.engines)), args.keep)
    kind = round_to_half(kind)
    gain = restoration_gain(kind, training_pairs(state["recipe"], args.pairs))
    entry: dict[str, Any] = {
        "architecture": state["recipe"]["architecture"],
        "parameters": {n: parameter_count(net) for n, net in kind.named_children()},
        "ranges": {
            "frames": "0 to 255, RGB, sides multiples of 16",
            "reflectance": "0 to 1",
            "illumination": "0 to 1",
            "strength": "0 to 1",
            "ratio": f"{RATIOS[0]:g} to {RATIOS[-1]:g}",
        },
        "weights": "fp16, computed as fp32",
        "restoration_gain": round(gain, 4),
        "kept": args.keep,
        "training": origin(state),
        "scores": last_scores(args.run),
    }
    args.engines.mkdir(exist_ok=True)
    for part, model in export(kind, gain, fusion=args.fusion, mask=args.mask).items():
        path = args.engines / f"{name}-{part}.onnx"
        path.write_bytes(model.SerializeToString(deterministic=True))
        entry[part] = describe(model, path)
    write_entry(args.engines / "engine.json", name, entry)


def origin(state: dict[str, Any]) -> dict[str, Any]:
    """Return the origin of a checkpoint: recipe, commit, digests of the data, stage and step."""
    recipe = state["recipe"]
    folders = [recipe["data"], *recipe["extra"]]
    return {
        "recipe": recipe,
        "recipe_sha256": sha256(json.dumps(recipe, sort_keys=True).encode()),
        "commit": state.get("commit", ""),
        "data_sha256": {folder: digest_of_files(Path(folder)) for folder in folders},
        "stage": state["stage"],
        "step": state["step"],
    }


def digest_of_files(folder: Path) -> str:
    """Return one digest for the names and contents of all files in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = (f"{p.relative_to(folder).as_posix()} {sha256(p.read_bytes())}\n" for p in files)
    return sha256("".join(lines).encode())


def sha256(data: bytes) -> str:
    """Return the SHA-256 digest in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def last_scores(run: Path) -> dict[str, float]:
    """Return the scores of the last validation of the run, on the held-out pairs of `data`."""
    lines = (run / "scores.jsonl").read_text().splitlines()
    scores: dict[str, float] = json.loads(lines[-1])
    return {name: round(value, 4) for name, value in scores.items()}


def write_entry(path: Path, name: str, entry: dict[str, Any]) -> None:
    """Add a model to engine.json, or replace its entry. Other models are kept."""
    table = json.loads(path.read_text()) if path.exists() else {"models": {}}
    table["models"][name] = entry
    path.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
