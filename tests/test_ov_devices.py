"""OpenVINO's devices on simulated machines. The CPU computes for each device."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from streamkind.backends import openvino, ov_devices
from streamkind.backends.openvino import OpenVINOBackend
from streamkind.errors import EngineError, UsageError
from streamkind.model.released import find_release

ONE = ["CPU", "GPU"]
TWO = ["CPU", "GPU.0", "GPU.1", "NPU"]
FRAME = np.full((1, 32, 32, 3), 20, np.uint8)


@pytest.mark.parametrize(
    ("asked", "available", "found"),
    [
        ("cpu", ["CPU"], "CPU"),
        ("CPU", TWO, "CPU"),
        ("gpu", ONE, "GPU"),
        ("GPU", ONE, "GPU"),
        ("gpu.0", ONE, "GPU"),
        ("gpu", TWO, "GPU.0"),
        ("gpu.1", TWO, "GPU.1"),
        ("npu", TWO, "NPU"),
    ],
)
def test_a_device_is_found_by_its_name(asked, available, found):
    assert ov_devices.find_device(asked, available) == found


@pytest.mark.parametrize(
    ("asked", "available", "error", "told"),
    [
        (
            "gpu",
            ["CPU"],
            EngineError,
            "device 'gpu' does not exist here: OpenVINO finds CPU; install its",
        ),
        ("gpu.1", ONE, EngineError, "'gpu.1' does not exist here: OpenVINO finds CPU, GPU;"),
        (
            "gpu.2",
            TWO,
            EngineError,
            "'gpu.2' does not exist here: OpenVINO finds CPU, GPU.0, GPU.1, NPU;",
        ),
        ("npu", ONE, EngineError, "'npu' does not exist here"),
        ("cuda", TWO, UsageError, "runs on auto, cpu, gpu, gpu.N and npu, got device 'cuda'"),
        ("gpu.x", TWO, UsageError, "got device 'gpu.x'"),
        ("", TWO, UsageError, "got device ''"),
    ],
)
def test_a_device_that_is_not_there_is_reported(asked, available, error, told):
    with pytest.raises(error, match=told):
        ov_devices.find_device(asked, available)


FAILS = None
SPEEDS = [
    ({"CPU": 20.0}, "CPU", ""),
    ({"CPU": 20.0, "GPU": 90.0}, "GPU", "CPU 20, GPU 90; auto chooses GPU"),
    ({"CPU": 20.0, "GPU": 21.0}, "CPU", "CPU 20, GPU 21; auto chooses CPU"),
    ({"CPU": 20.0, "GPU": 5.0}, "CPU", "GPU 5; auto chooses CPU"),
    ({"CPU": 9.5, "GPU.0": 20.0, "GPU.1": 140.0, "NPU": 60.0}, "GPU.1", "auto chooses GPU.1"),
    ({"CPU": 9.5, "GPU": FAILS, "NPU": 30.0}, "NPU", "device GPU fails and is not used: no driver"),
    ({"CPU": 9.5, "GPU": FAILS}, "CPU", "CPU 9.5, GPU 0; auto chooses CPU"),
]


@pytest.mark.parametrize(("speeds", "chosen", "told"), SPEEDS)
def test_auto_measures_once_says_so_and_takes_what_is_faster(
    tmp_path, caplog, speeds, chosen, told
):
    asked = []

    def measure(name):
        asked.append(name)
        if speeds[name] is FAILS:
            raise RuntimeError("no driver")
        return speeds[name]

    keep = tmp_path / "cache" / "speeds.json"
    for _ in range(2):
        assert ov_devices.choose_device(list(speeds), measure, "kind", keep) == chosen
    assert asked == (list(speeds) if len(speeds) > 1 else [])
    assert told in " ".join(record.getMessage() for record in caplog.records)
    assert ov_devices.choose_device(list(speeds), measure, "student", keep) == chosen
    assert len(asked) == (2 * len(speeds) if len(speeds) > 1 else 0)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}', '{"a": {"CPU": "fast"}}'])
def test_speeds_that_cannot_be_read_are_measured_again(tmp_path, text):
    (tmp_path / "speeds.json").write_text(text)
    assert ov_devices.read_speeds(tmp_path / "speeds.json") == {}


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Simulate devices of OpenVINO; return a list of device and options of each compiled graph."""
    monkeypatch.setenv("STREAMKIND_CACHE", str(tmp_path))
    core = openvino.ov.Core()
    compiled = []

    class Core:
        available_devices = TWO

        def get_property(self, device, name):
            if device == "CPU":
                return core.get_property(device, name)
            return {"OPTIMIZATION_CAPABILITIES": ["FP32", "FP16"], "FULL_DEVICE_NAME": "Arc"}[name]

        def read_model(self, *model):
            return core.read_model(*model)

        def compile_model(self, model, device, options):
            assert not model.is_dynamic()  # an NPU needs fixed shapes
            compiled.append((device, options))
            return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    monkeypatch.setattr(openvino.ov, "Core", Core)
    return compiled


@pytest.mark.parametrize(
    ("device", "name"), [("gpu.1", "gpu.1"), ("npu", "npu"), ("gpu", "gpu.0"), ("cpu", "cpu")]
)
def test_pictures_are_computed_on_the_device_and_statistics_on_the_cpu(
    machine, tmp_path, device, name
):
    engine = OpenVINOBackend(find_release("student"), device=device)
    layers = engine.decompose(FRAME)
    held = engine.steady(layers, layers, np.full(2, 0.5, np.float32))
    assert engine.recompose(held, np.full(1, 3.0, np.float32)).shape == FRAME.shape
    where = [device for device, _ in machine]
    assert where == [name.upper(), "CPU", "CPU", name.upper()]
    assert f"student on {name}, openvino " in engine.description
    if name != "cpu":
        assert engine.description.endswith(", f16")
        assert machine[0][1]["INFERENCE_PRECISION_HINT"] == "f16"
        assert machine[0][1]["CACHE_DIR"] == str(tmp_path / "openvino" / "compiled")
        assert "CACHE_DIR" not in machine[1][1]
    engine.close()


def test_a_cache_that_others_can_write_to_is_not_used(machine, tmp_path, caplog):
    folder = tmp_path / "openvino" / "compiled"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    engine = OpenVINOBackend(find_release("student"), device="npu")
    engine.decompose(FRAME)
    assert "CACHE_DIR" not in machine[0][1]
    assert "compiles for NPU at every start" in caplog.text
    engine.close()


def test_auto_computes_on_what_was_measured_to_be_fastest(machine, monkeypatch, call):
    speeds = dict(zip(TWO, (20.0, 50.0, 200.0, 10.0), strict=True))
    monkeypatch.setattr(OpenVINOBackend, "_measure", lambda self, name: speeds[name])
    for _ in range(2):
        engine = OpenVINOBackend(find_release("student"), device="auto")
        engine.decompose(FRAME)
        assert machine[-2][0] == "GPU.1"
        engine.close()
    code, told, _ = call("doctor")
    assert code == 0
    assert "GPU.1 (Arc)" in told
    assert "CPU 20, GPU.0 50, GPU.1 200, NPU 10; auto chooses GPU.1" in told


def test_measuring_counts_frames_of_every_device(machine, monkeypatch, caplog):
    monkeypatch.setattr(openvino, "MEASURED", (32, 48))
    caplog.set_level(logging.WARNING)
    engine = OpenVINOBackend(find_release("student"), device="auto")
    assert {device for device, _ in machine} == set(TWO)
    assert "; auto chooses" in caplog.text
    engine.close()
