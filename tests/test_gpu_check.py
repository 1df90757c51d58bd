"""The tool that checks a card: its report without a card, and its figures on the processor."""

import json
import sys

import numpy as np
import onnx
import pytest
from support.media import make_clip
from support.tools import load_tool

from streamkind.backends.cards import Card, card_here
from streamkind.backends.choose import open_backend
from streamkind.errors import EngineError
from streamkind.model.released import find_release

gpu_check = load_tool("gpu_check")
pytestmark = pytest.mark.skipif(card_here(), reason="a card is here")


def test_without_a_card_the_report_says_so_and_has_no_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--quick", "--docs", str(tmp_path)])
    assert gpu_check.main() == 0
    told = (tmp_path / "gpu-report.md").read_text()
    assert "**No card was at hand**" in told
    assert "no NVIDIA card is found here" in told
    assert "usable" not in told
    report = json.loads((tmp_path / "gpu-report.json").read_text())
    assert report["stages"] == report["clips"] == report["plans"] == []
    assert report["roofline"] is None
    assert "gpu-report.md" in capsys.readouterr().out


def test_figures_are_measured_and_reported(tmp_path, monkeypatch):
    def on_the_processor(name, release, device):
        return open_backend("openvino", find_release("student"), "cpu")

    enhance = gpu_check.enhance
    monkeypatch.setattr(gpu_check, "find_cards", lambda: [Card("sm_89", "a card", "1.0", True)])
    monkeypatch.setattr(gpu_check, "why_not", {"tensorrt": "missing"}.get)
    monkeypatch.setattr(gpu_check, "open_backend", on_the_processor)
    monkeypatch.setattr(
        gpu_check, "enhance", lambda *a, **_: enhance(*a, backend="openvino", profile="realtime")
    )
    clip = make_clip(tmp_path / "a.mp4", frames=3)
    report = gpu_check.check(clip, ((64, 48),), (1, 2))
    assert not report["failed"]
    assert [(row["size"], row["batch"]) for row in report["stages"]] == [("64x48", 1), ("64x48", 2)]
    for row in report["stages"]:
        assert row["decompose_ms"] > 0 and row["recompose_ms"] > 0 and row["fps"] > 0
    assert all(row["busy_seconds"] for row in report["clips"])
    assert [row["frames"] for row in report["clips"]] == [3, 3]  # the second run is by OpenVINO
    told = gpu_check.markdown(report)
    assert "| backend | size | batch |" in told
    assert "- a card, sm_89, driver 1.0" in told
    assert "| tensorrt | missing |" in told


def test_a_failed_check_is_reported_and_the_others_are_measured(tmp_path, monkeypatch, capsys):
    class Short:
        """A backend that raises PyTorch's out-of-memory error for a batch of two frames."""

        def __init__(self, engine):
            self._engine = engine
            self.description, self.close = engine.description, engine.close
            self.steady, self.recompose = engine.steady, engine.recompose

        def decompose(self, pixels):
            if len(pixels) == 2:
                raise RuntimeError("CUDA error: out of memory")
            return self._engine.decompose(pixels)

    def on_the_processor(name, release, device):
        if name == "tensorrt":
            raise EngineError("broken")
        return Short(open_backend("openvino", find_release("student"), "cpu"))

    monkeypatch.setattr(gpu_check, "find_cards", lambda: [Card("sm_89", "a card", "1.0", True)])
    monkeypatch.setattr(gpu_check, "why_not", lambda name: None)
    monkeypatch.setattr(gpu_check, "open_backend", on_the_processor)
    monkeypatch.setattr(gpu_check, "plans", lambda: [])
    report = gpu_check.check(None, ((64, 48),), (1, 2, 4))
    assert [row["batch"] for row in report["stages"]] == [1, 4]
    assert report["failed"] == [
        "tensorrt: broken",
        "torch at 64x48, 2 frames at once: RuntimeError('CUDA error: out of memory')",
    ]
    assert "## Failed\n\n- tensorrt: broken" in gpu_check.markdown(report)
    assert "- no roofline: " in gpu_check.markdown(report)


def test_stages_are_put_beside_the_roofline(monkeypatch):
    engine = open_backend("openvino", find_release("student"), "cpu")
    pixels = np.zeros((1, 48, 64, 3), np.uint8)
    slow_memory = {"copy_gb_per_second": 1.0, "half_tflops": 100.0}
    row = gpu_check.timed_stages(engine, pixels, slow_memory)
    assert row["roofline_ms"] == pytest.approx(1000 * 48 * 64 * 2858 / 1e9, abs=0.001)
    slow_cores = {"copy_gb_per_second": 1000.0, "half_tflops": 0.1}
    row = gpu_check.timed_stages(engine, pixels, slow_cores)
    assert row["roofline_ms"] == pytest.approx(1000 * 48 * 64 * 532_498 / 1e11, abs=0.001)
    nets = row["decompose_ms"] + row["recompose_ms"]
    assert float(row["of_roofline"][:-1]) == pytest.approx(100 * row["roofline_ms"] / nets, abs=1)


def test_the_bytes_of_a_pixel_are_those_of_the_released_graphs():
    release, height, width = find_release("kind"), 1088, 1920
    moved = 0
    for graph in (release.decompose, release.recompose):
        model = onnx.load_from_string(graph.read())
        for tensor in model.graph.input:
            known = {"n": 1, "16*h": height, "16*w": width}
            for side in tensor.type.tensor_type.shape.dim:
                side.dim_value = known.get(side.dim_param, side.dim_value)
        del model.graph.value_info[:]
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        shapes = {
            v.name: [side.dim_value for side in v.type.tensor_type.shape.dim]
            for v in (*model.graph.input, *model.graph.value_info)
        }
        for node in model.graph.node:
            if node.op_type in ("Conv", "ConvTranspose", "MaxPool"):
                both = node.input[0], node.output[0]
                moved += 2 * sum(int(np.prod(shapes[name])) for name in both)
    assert moved / (height * width) == pytest.approx(gpu_check.BYTES_PER_PIXEL, rel=0.01)


def test_stages_are_timed_per_frame():
    engine = open_backend("openvino", find_release("student"), "cpu")
    row = gpu_check.timed_stages(engine, np.zeros((2, 48, 64, 3), np.uint8))
    total = row["decompose_ms"] + row["steady_ms"] + row["recompose_ms"]
    assert row["fps"] == pytest.approx(1000 / total, rel=0.05)
