"""Graphs in fp16 and bf16, compared with fp32 on the CPU.

ONNX Runtime and OpenVINO compute float16 graphs in float32 on CPUs. onnx's own evaluator rounds
after every node, as a card does. Here PyTorch computes the operators that take it minutes.
"""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from streamkind.backends.parity import distance, fixed_frames
from streamkind.backends.precision import graph_in
from streamkind.model.released import find_release, releases
from streamkind.video.source import open_source

DATA = Path(__file__).parents[2] / "shared" / "data"
PICTURES = sorted((DATA / "lol" / "eval15" / "low").glob("*"))
CLIPS = sorted((DATA / "video").glob("*.mp4"))
LARGE, SMALL = (608, 400), (160, 96)
SIZES = {"kind": LARGE, "lite": LARGE, "student": LARGE, "kindpp": SMALL}
"""Width and height of the part of a picture that is compared, by model.

It is smaller for KinD++, which takes twenty times as many multiply-adds as KinD."""

torch = pytest.importorskip("torch")


def single(array):
    return torch.from_numpy(np.array(array, np.float32))


def square(pads):
    top, left, *others = pads or (0, 0, 0, 0)
    assert [top, left] == others
    return top, left


class Conv(OpRun):
    def _run(self, x, weight, bias=None, group=1, pads=None, strides=None, **_):
        bias = None if bias is None else single(bias)
        stride = strides or [1, 1]
        y = torch.conv2d(single(x), single(weight), bias, stride, square(pads), groups=group or 1)
        return (y.numpy().astype(x.dtype),)


class ConvTranspose(OpRun):
    def _run(self, x, weight, bias=None, pads=None, strides=None, **_):
        bias = None if bias is None else single(bias)
        y = torch.conv_transpose2d(single(x), single(weight), bias, strides, square(pads))
        return (y.numpy().astype(x.dtype),)


class MaxPool(OpRun):
    def _run(self, x, kernel_shape=None, pads=None, strides=None, **_):
        y = torch.max_pool2d(single(x), kernel_shape, strides, square(pads))
        return (y.numpy().astype(x.dtype),)


class Sigmoid(OpRun):
    """Sigmoid without the warnings of onnx, which computes a branch that it does not use."""

    def _run(self, x):
        return (torch.sigmoid(single(x)).numpy().astype(x.dtype),)


@functools.cache
def fixed_and_relit(model, precision):
    """Return the relit fixed frames; cached, as those in fp32 are compared with two precisions."""
    return relight(model, precision, np.stack(fixed_frames(64, 48)))


def relight(model, precision, frames, ratio=4.0):
    release = find_release(model)
    first, second = (
        ReferenceEvaluator(
            onnx.load_from_string(graph_in(graph.read(), precision)),
            new_ops=[Conv, ConvTranspose, MaxPool, Sigmoid],
        )
        for graph in (release.decompose, release.recompose)
    )
    reflectance, illumination, *statistics = first.run(None, {"frames": frames})
    layers = {"reflectance": reflectance, "illumination": illumination}
    ratios = np.full(len(frames), ratio, np.float32)
    clear, guard = second.run(None, layers | {"ratio": ratios})
    assert all(np.isfinite(array).all() for array in (*statistics, guard))
    return clear


def middle(image, size):
    """Return the middle of a picture, of the given width and height. Enlarge a smaller picture."""
    scale = max(size[0] / image.shape[1], size[1] / image.shape[0], 1)
    image = cv2.resize(image, None, fx=scale, fy=scale) if scale > 1 else image
    y, x = (image.shape[0] - size[1]) // 2, (image.shape[1] - size[0]) // 2
    return np.ascontiguousarray(image[y : y + size[1], x : x + size[0]])


def pictures(size):
    for path in PICTURES:
        yield path.name, middle(cv2.imread(str(path))[..., ::-1], size)
    for path in CLIPS:
        with open_source(path, start=1, duration=0.2) as source:
            yield path.name, middle(next(iter(source)).data, size)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize(
    "model", ["kind", "lite", "student", pytest.param("kindpp", marks=pytest.mark.slow)]
)
def test_half_precision_is_within_the_bounds_on_fixed_frames(model, precision):
    assert {*releases()} == {*SIZES}
    single_clear, half_clear = (fixed_and_relit(model, p) for p in ("fp32", precision))
    assert distance(half_clear, single_clear).holds
    assert (half_clear != single_clear).any()  # it is another precision


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not PICTURES or not CLIPS, reason="no real pictures beside the project")
@pytest.mark.parametrize("model", releases())
def test_half_precision_is_within_the_bounds_on_real_pictures(model):
    for name, image in pictures(SIZES[model]):
        single_clear, half_clear = (relight(model, p, image[None]) for p in ("fp32", "fp16"))
        found = distance(half_clear, single_clear)
        assert found.holds, f"{name}: {found}"
