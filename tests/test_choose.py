"""The backend that `auto` chooses on simulated machines, and backends that fail."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.engines import Gain
from support.machines import install_only, put_nvidia_smi

from streamkind.backends.base import BACKENDS
from streamkind.backends.choose import on_gpu, open_backend, usable
from streamkind.engine.profiles import choose_profile
from streamkind.errors import EngineError, UsageError
from streamkind.model.released import find_release

PACKAGES = {"tensorrt", "tensorrt_rtx", "pycuda", "onnx", "torch", "openvino"}
TRT = ("tensorrt", "pycuda", "onnx")
TORCH = ("torch", "onnx")
ALL = ("openvino", *TRT, *TORCH)
CARD = {"card": True}
CUDA = {"card": True, "cuda": True}
FRAMES = np.full((2, 16, 16, 3), 7, np.uint8)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return a function that simulates a machine with some packages, and a card or none."""

    def make(*packages, card=False, cuda=False):
        if card:
            put_nvidia_smi(monkeypatch, tmp_path)
        else:
            monkeypatch.setenv("PATH", str(tmp_path))
        install_only(monkeypatch, packages, PACKAGES)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: card and cuda)

    return make


@pytest.mark.parametrize(
    ("packages", "how", "device", "found"),
    [
        (ALL, {}, "auto", "openvino:cpu torch:cpu"),
        (ALL, CARD, "auto", "tensorrt:cuda openvino:cpu torch:cpu"),
        (ALL, CUDA, "auto", "tensorrt:cuda torch:cuda openvino:cpu torch:cpu"),
        (("openvino", *TORCH), CUDA, "auto", "torch:cuda openvino:cpu torch:cpu"),
        (("openvino", *TORCH), CARD, "auto", "openvino:cpu torch:cpu"),
        (("openvino",), CARD, "auto", "openvino:cpu"),
        ((*TRT[1:], "tensorrt_rtx"), CARD, "auto", "tensorrt:cuda"),
        (("openvino", "tensorrt", "onnx"), CARD, "auto", "openvino:cpu"),
        (TORCH, CUDA, "auto", "torch:cuda torch:cpu"),
        (TORCH, {}, "auto", "torch:cpu"),
        (ALL, CUDA, "cpu", "openvino:cpu torch:cpu"),
        (ALL, CUDA, "cuda:1", "tensorrt:cuda torch:cuda"),
        (("openvino", *TORCH), CUDA, "cuda", "torch:cuda"),
    ],
)
def test_auto_prefers_tensorrt_then_pytorch_on_the_card_then_openvino(
    machine, packages, how, device, found
):
    machine(*packages, **how)
    assert " ".join(map(":".join, usable(device))) == found


@pytest.mark.parametrize(
    ("packages", "how", "device", "message"),
    [
        (("openvino", *TORCH), CARD, "cuda", "torch: PyTorch finds no card: install a build"),
        (ALL, {}, "cuda", "no NVIDIA card is found here.*torch: no NVIDIA card is found here"),
        (TRT, {}, "auto", "with device 'auto'.*openvino is not installed: pip install openvino"),
    ],
)
def test_auto_says_why_no_backend_works(machine, packages, how, device, message):
    machine(*packages, **how)
    with pytest.raises(EngineError, match=message):
        usable(device)


@pytest.mark.parametrize("device", ["gpux", "cuda0", "", "gpu1"])
def test_a_device_that_no_backend_has(device):
    with pytest.raises(UsageError, match=f"unknown device '{device}'; choose auto, cpu, cuda"):
        open_backend("auto", find_release("student"), device)


@pytest.mark.parametrize(
    ("backend", "device", "packages", "how", "is_so"),
    [
        ("torch", "auto", TORCH, CUDA, True),
        ("torch", "auto", TORCH, CARD, False),
        ("torch", "auto", TORCH, {}, False),
        ("torch", "cpu", TORCH, CUDA, False),
        ("auto", "auto", ("openvino", *TORCH), CUDA, True),
        ("auto", "auto", ("openvino", *TORCH), CARD, False),
        ("auto", "auto", ("openvino", *TRT), CARD, True),
        ("auto", "auto", ("openvino", *TRT), {}, False),
        ("auto", "cpu", ALL, CUDA, False),
        ("auto", "cuda:1", ALL, CUDA, True),
        ("auto", "CUDA", ALL, CUDA, True),
        ("auto", "AUTO", ALL, CUDA, True),
        ("openvino", "auto", ALL, CUDA, False),
        ("tensorrt", "auto", ALL, CARD, True),
    ],
)
def test_on_gpu_tells_where_the_frames_will_be(machine, backend, device, packages, how, is_so):
    machine(*packages, **how)
    assert on_gpu(backend, device) == is_so
    assert choose_profile("auto", backend, device) == ("quality" if is_so else "balanced")


class Named(Gain):
    """A backend that records its device and its calls."""

    opened = ()

    def __init__(self, release, *, device):
        super().__init__()
        self.description = f"{type(self).__name__} on {device}"
        self.closed = 0
        Named.opened = (*Named.opened, self)

    def close(self):
        self.closed += 1


class Fine(Named):
    pass


class Refused(Named):
    def __init__(self, release, *, device):
        raise OSError("libnvinfer.so.10:\n cannot open shared object file")


class NoDecompose(Named):
    def decompose(self, pixels):
        raise EngineError("the plan cannot be built")


class NoSteady(Named):
    def steady(self, layers, before, strength):
        raise EngineError("the plan cannot be built")


class NoRecompose(Named):
    def recompose(self, layers, ratios):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")


class SmallOnly(Named):
    def decompose(self, pixels):
        assert not self.closed
        if pixels.shape == FRAMES.shape:
            raise EngineError("too little memory")
        return super().decompose(pixels)


@pytest.fixture
def backends(machine, monkeypatch):
    """Return a function that replaces backends with classes, on a machine with all packages."""
    machine(*ALL, card=True, cuda=True)
    monkeypatch.setattr(Named, "opened", ())

    def put(**classes):
        for name, kind in classes.items():
            line = replace(BACKENDS[name], target=f"{__name__}:{kind.__name__}")
            monkeypatch.setitem(BACKENDS, name, line)

    return put


def enhanced(engine):
    layers = engine.decompose(FRAMES)
    layers = engine.steady(layers, layers, np.zeros(2, np.float32))
    return engine.recompose(layers, np.full(2, 3, np.float32))


@pytest.mark.parametrize(
    ("first", "second", "taken", "told"),
    [
        (Fine, Fine, "Fine on cuda", []),
        (Refused, Fine, "Fine on cuda", ["libnvinfer.so.10: cannot open shared object file"]),
        (NoDecompose, Fine, "Fine on cuda", ["the plan cannot be built"]),
        (NoSteady, Fine, "Fine on cuda", ["the plan cannot be built"]),
        (NoRecompose, Fine, "Fine on cuda", ["no kernel image"]),
        (NoSteady, NoRecompose, "Fine on cpu", ["the plan cannot be built", "no kernel image"]),
        (Refused, Refused, "Fine on cpu", ["libnvinfer.so.10", "libnvinfer.so.10"]),
    ],
)
def test_a_card_that_fails_at_the_first_frame_is_passed_over(
    backends, caplog, first, second, taken, told
):
    backends(tensorrt=first, torch=second, openvino=Fine)
    with closing(open_backend("auto", find_release("student"), "auto")) as engine:
        assert (enhanced(engine) == 21).all()
        assert engine.description == taken
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == len(told)
    assert all(said in line and "\n" not in line for said, line in zip(told, lines, strict=True))
    assert all(opened.closed == 1 for opened in Named.opened)


@pytest.mark.parametrize("failing", [Refused, NoDecompose, NoRecompose])
def test_the_error_of_the_last_backend_is_the_callers(backends, failing):
    backends(tensorrt=Refused, torch=failing)
    fault = {Refused: OSError, NoDecompose: EngineError, NoRecompose: RuntimeError}[failing]
    with pytest.raises(fault):
        enhanced(open_backend("auto", find_release("student"), "cuda"))


def test_the_last_backend_stays_open_for_smaller_frames(backends):
    backends(tensorrt=Refused, torch=SmallOnly)
    with closing(open_backend("auto", find_release("student"), "cuda")) as engine:
        with pytest.raises(EngineError, match="too little memory"):
            engine.decompose(FRAMES)
        assert engine.decompose(FRAMES[:1]).pixels.shape == (1, 16, 16, 3)
    assert Named.opened[0].closed == 1


def test_an_error_after_the_first_frame_is_the_callers(backends, monkeypatch):
    backends(tensorrt=Fine, torch=Fine, openvino=Fine)
    engine = open_backend("auto", find_release("student"), "auto")
    enhanced(engine)
    monkeypatch.setattr(Fine, "decompose", NoDecompose.decompose)
    with pytest.raises(EngineError, match="the plan cannot be built"):
        engine.decompose(FRAMES)
    assert len(Named.opened) == 1


@pytest.mark.parametrize("name", ["tensorrt", "torch"])
def test_a_backend_that_was_named_is_not_passed_over(backends, name):
    backends(tensorrt=NoRecompose, torch=NoRecompose, openvino=Fine)
    with pytest.raises(RuntimeError, match="no kernel image"):
        enhanced(open_backend(name, find_release("student"), "auto"))


def test_a_device_of_one_backend_keeps_all_abilities_of_the_backend(machine, backends):
    backends(openvino=Fine)
    machine("openvino", *TORCH)
    engine = open_backend("auto", find_release("student"), "gpu")
    assert isinstance(engine, Fine)
    assert engine.description == "Fine on gpu"


def test_on_the_processor_no_frame_is_made_twice(machine, backends):
    backends(openvino=Fine)
    machine("openvino", *TORCH)
    engine = open_backend("auto", find_release("student"), "auto")
    enhanced(engine)
    assert engine.seen == [FRAMES.shape]
