"""The check of a card: what it says where there is none, and its figures on another device."""

import json
import sys

import numpy as np
import pytest
from media import make_clip
from test_train import load_tool

from streamkind.backends.base import open_backend
from streamkind.backends.cards import Card, card_here
from streamkind.backends.released import find_release

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


def test_figures_are_measured_and_told(tmp_path, monkeypatch):
    def on_the_processor(name, release, device):
        return open_backend("openvino", find_release("student"), "cpu")

    enhance = gpu_check.enhance
    monkeypatch.setattr(gpu_check, "find_cards", lambda: [Card("sm_89", "a card", "1.0", True)])
    monkeypatch.setattr(gpu_check, "why_not", lambda name: None if name == "torch" else "missing")
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
    assert report["clips"][0]["frames"] == 3
    told = gpu_check.markdown(report)
    assert "| backend | size | batch |" in told
    assert "- a card, sm_89, driver 1.0" in told
    assert "| tensorrt | missing |" in told


def test_a_backend_that_fails_is_in_the_report(monkeypatch):
    monkeypatch.setattr(gpu_check, "find_cards", lambda: [])
    report = gpu_check.check(None, ((64, 48),), (1,))
    report["failed"].append("tensorrt: broken")
    assert "## Failed\n\n- tensorrt: broken" in gpu_check.markdown(report)


def test_stages_are_timed_per_frame():
    engine = open_backend("openvino", find_release("student"), "cpu")
    row = gpu_check.timed_stages(engine, np.zeros((2, 48, 64, 3), np.uint8))
    total = row["decompose_ms"] + row["steady_ms"] + row["recompose_ms"]
    assert row["fps"] == pytest.approx(1000 / total, rel=0.05)
