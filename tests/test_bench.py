"""The benchmark: its measurements, its output and the options that it refuses."""

from __future__ import annotations

import json

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.media import make_clip

from streamkind.cli import bench as bench_command
from streamkind.engine.profiles import open_engine
from streamkind.errors import EngineError, UsageError
from streamkind.measure.bench import FILE_TO_FILE, FLOOR, NETS, Bench, Times, bench
from streamkind.measure.bench_nets import baselines, by_openvino, named

STAGES = {*bench_command.STAGES, NETS, FILE_TO_FILE, FLOOR}


TYPES = {"float": TensorProto.FLOAT, "half": TensorProto.FLOAT16, "bytes": TensorProto.UINT8}


def write_net(path, kind):
    """Write a net from picture to picture; return its path.

    With floats, channels are first, and the net doubles the picture. With uint8, channels are last,
    and it returns the picture unchanged.
    """
    floats = kind != "bytes"
    shape = [1, 3, "h", "w"] if floats else [1, "h", "w", 3]
    two = helper.make_tensor("two", TYPES[kind], [], [2.0])
    node = helper.make_node(*(("Mul", ["in", "two"]) if floats else ("Identity", ["in"])), ["out"])
    return save(path, [node], TYPES[kind], shape, [two] if floats else [])


def save(path, nodes, type_, shape, constants=(), out=None):
    """Write a graph with the input "in" and the output "out"; return its path."""
    ends = [helper.make_tensor_value_info("in", type_, shape)]
    ends += [helper.make_tensor_value_info("out", type_, out or shape)]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("kind, factor", [("float", 2), ("half", 2), ("bytes", 1)])
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
    machine = json.loads(told.read_text())["machine"]
    assert {"openvino", "av", "libavcodec", "onnxruntime", "torch"} <= machine["versions"].keys()
    assert machine["threads"] >= 1 and f"threads {machine['threads']}" in err
    assert f"libavcodec {machine['versions']['libavcodec']}" in err
    (found,) = json.loads(told.read_text())["sizes"]
    assert found["profiles"].keys() == {"quality", "realtime"} == found["seen"].keys()
    for times in found["profiles"].values():
        assert times.keys() == STAGES and all(len(t) == 2 and min(t) > 0 for t in times.values())
    nets = {"kind, OpenVINO", "kind, ONNX Runtime float32", "kind, PyTorch float32", "twice"}
    assert found["nets"].keys() == nets
    assert found["quality"].keys() == {"quality", "realtime", "twice"} and not found["missing"]
    # The truth is five times as bright. The net doubles the picture. KinD estimates the factor.
    assert found["quality"]["quality"]["psnr"] > found["quality"]["twice"]["psnr"]
    assert cv2.imread(str(picture)) is not None


@pytest.mark.parametrize(
    "words, message",
    [
        (["--size", "1080p"], "expected WIDTHxHEIGHT"),
        (["--size", "²x64"], "expected WIDTHxHEIGHT"),
        (["--size", "97x64"], "even numbers"),
        (["--onnx", "none.onnx"], "no such file"),
        (["--profile", "fast"], "unknown profile 'fast'"),
        (["--plot", "x.png"], "give --pairs"),
        (["--pairs", "nowhere"], "low/ and high/"),
    ],
)
def test_impossible_measurements_are_refused(call, words, message):
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


def test_a_net_that_makes_another_size_is_refused(tmp_path):
    half = helper.make_node("AveragePool", ["in"], ["out"], kernel_shape=[2, 2], strides=[2, 2])
    shape = [1, 3, "h", "w"]
    path = save(tmp_path / "half.onnx", [half], TensorProto.FLOAT, shape, out=[1, 3, "a", "b"])
    with pytest.raises(UsageError, match=r"as its input, \(32, 48, 3\), got \(16, 24, 3\)"):
        by_openvino(path)(np.zeros((32, 48, 3), np.uint8))


def test_a_net_of_one_size_alone_is_refused(tmp_path):
    size = helper.make_tensor("size", TensorProto.INT64, [4], [1, 3, 16, 16])
    node = helper.make_node("Reshape", ["in", "size"], ["out"])
    path = save(tmp_path / "one.onnx", [node], TensorProto.FLOAT, [1, 3, 16, 16], [size])
    assert by_openvino(path)(np.zeros((16, 16, 3), np.uint8)).shape == (16, 16, 3)
    with pytest.raises(EngineError, match=r"one\.onnx: cannot take a picture of \(1, 3, 32, 48\)"):
        by_openvino(path)(np.zeros((32, 48, 3), np.uint8))


def test_nets_of_one_name_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    names = ["a/net.onnx", "b/net.onnx", "other.onnx", "quality.onnx"]
    paths = [write_net(tmp_path / name, "float") for name in names]
    assert list(named(paths)) == [str(paths[0]), str(paths[1]), "other", str(paths[3])]


def test_a_baseline_that_is_not_installed_is_reported(monkeypatch, capsys):
    monkeypatch.setattr("streamkind.measure.bench_nets.find_spec", lambda name: None)
    nets = baselines()
    assert nets.found.keys() == {"kind, OpenVINO", "kind, PyTorch float32"}
    (reason,) = nets.missing.values()
    assert reason == "onnxruntime is not installed: pip install 'streamkind[train]'"
    bench_command.show(Bench((96, 64), "veryfast", missing=nets.missing))
    assert f"ONNX Runtime float32: not measured: {reason}" in capsys.readouterr().err


def test_each_profile_is_measured_on_each_backend():
    found = bench((64, 48), frames=2, rounds=1, profiles=["realtime"],
                  backends=["openvino", "torch"], baselines=False)  # fmt: skip
    assert found.profiles.keys() == {"realtime, openvino", "realtime, torch"}
    assert "student on cpu, torch" in found.engines["realtime, torch"]
    assert all(len(times.rounds[FILE_TO_FILE]) == 1 for times in found.profiles.values())


def test_a_clip_that_is_too_short_is_refused(tmp_path):
    clip = make_clip(tmp_path / "in.mp4", frames=3)
    with pytest.raises(UsageError, match="has 3 frames, a round takes 4; give a longer clip"):
        bench((96, 64), clip, frames=4, profiles=["realtime"], baselines=False)


@pytest.mark.parametrize(
    "profile, size, seen",
    [
        ("quality", (1920, 1080), (1920, 1088)),
        ("balanced", (1920, 1080), (640, 368)),
        ("realtime", (1920, 1080), (480, 272)),
        ("realtime", (608, 400), (352, 240)),
    ],
)
def test_the_size_that_nets_get_is_reported_with_its_padding(profile, size, seen):
    with open_engine(profile=profile) as engine:
        assert engine.seen_size(*size) == seen


def test_figures_are_of_the_same_rounds():
    times = Times()
    times.rounds |= {"a": [0.1, 0.2, 0.4], "b": [0.05, 0.1, 0.1]}
    assert times.seconds("a") == pytest.approx((0.2, 0.1, 0.4))
    assert bench_command.spread(times.seconds("a"), 1e3) == "200\n100 to 400"
    assert times.fps("a") == pytest.approx((5, 2.5, 10))
    assert times.share("a", "b") == pytest.approx((0.5, 0.25, 0.5))
