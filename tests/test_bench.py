"""The benchmark: what it measures, prints and writes, and what it refuses."""

from __future__ import annotations

import json

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from streamkind import bench_command
from streamkind.bench import FLOOR, NETS, WHOLE, Times
from streamkind.bench_nets import by_openvino
from streamkind.errors import UsageError

STAGES = {*bench_command.STAGES, NETS, WHOLE, FLOOR}


def write_net(path, kind):
    """A net that doubles a picture: float, channels first; or uint8, channels last, unchanged."""
    floats = kind == "float"
    shape = [1, 3, "h", "w"] if floats else [1, "h", "w", 3]
    type_ = TensorProto.FLOAT if floats else TensorProto.UINT8
    ends = [helper.make_tensor_value_info(n, type_, shape) for n in ("in", "out")]
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    node = helper.make_node(*(("Mul", ["in", "two"]) if floats else ("Identity", ["in"])), ["out"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [two] if floats else [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("kind, factor", [("float", 2), ("bytes", 1)])
def test_any_net_from_picture_to_picture_is_run(tmp_path, kind, factor):
    net = by_openvino(write_net(tmp_path / "net.onnx", kind))
    picture = np.random.default_rng(0).integers(0, 100, (50, 70, 3), np.uint8)
    assert np.array_equal(net(picture), picture * factor)


def test_all_is_measured_scored_and_written(call, tmp_path):
    for name, gain in (("low", 1), ("high", 5)):
        (tmp_path / name).mkdir()
        rows = np.tile(np.linspace(4, 40, 96)[None, :, None] * gain, (64, 1, 3))
        cv2.imwrite(str(tmp_path / name / "1.png"), rows.astype(np.uint8))
    net = write_net(tmp_path / "twice.onnx", "float")
    told, picture = tmp_path / "told.json", tmp_path / "told.png"
    code, out, err = call(
        "bench", "--size", "96x64", "--frames", "4", "--rounds", "2", "--onnx", str(net),
        "--profile", "quality", "--profile", "realtime", "--pairs", str(tmp_path),
        "--json", str(told), "--plot", str(picture),
    )  # fmt: skip
    assert code == 0, err
    assert "96x64" in out and "ONNX Runtime" in out and "cores" in err
    (found,) = json.loads(told.read_text())["sizes"]
    assert found["profiles"].keys() == {"quality", "realtime"}
    for times in found["profiles"].values():
        assert times.keys() == STAGES and all(len(t) == 2 and min(t) > 0 for t in times.values())
    nets = {"kind, OpenVINO", "kind, ONNX Runtime float32", "kind, PyTorch float32", "twice"}
    assert found["nets"].keys() == nets
    assert found["quality"].keys() == {"quality", "realtime", "twice"}
    # Twice as bright is far from five times; KinD finds about how far, without the truth.
    assert found["quality"]["quality"]["psnr"] > found["quality"]["twice"]["psnr"]
    assert cv2.imread(str(picture)) is not None


@pytest.mark.parametrize(
    "words, message",
    [
        (["--size", "1080p"], "expected WIDTHxHEIGHT"),
        (["--size", "97x64"], "even numbers"),
        (["--onnx", "none.onnx"], "no such file"),
        (["--profile", "fast"], "unknown profile 'fast'"),
        (["--plot", "x.png"], "give --pairs"),
        (["--pairs", "nowhere"], "low/ and high/"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, words, message):
    size = [] if words[0] == "--size" else ["--size", "64x48"]
    rest = ["--frames", "2", "--rounds", "1", "--no-baselines", "--profile", "realtime"]
    code, _, err = call("bench", *size, *(rest if words[0] != "--profile" else rest[:-2]), *words)
    assert code == 2 and message in err.replace("\n", " "), err


def test_nets_of_other_shapes_are_refused(tmp_path):
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, 8, 8]) for n in ("a", "b")]
    node = helper.make_node("Identity", ["a"], ["b"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "gray.onnx")
    with pytest.raises(UsageError, match=r"expected one input of shape \(N, 3, H, W\)"):
        by_openvino(tmp_path / "gray.onnx")


def test_figures_are_of_the_same_rounds():
    times = Times()
    times.rounds |= {"a": [0.1, 0.2, 0.4], "b": [0.05, 0.1, 0.1]}
    assert times.fps("a") == pytest.approx((5, 2.5, 10))
    assert times.share("a", "b") == pytest.approx((0.5, 0.25, 0.5))
