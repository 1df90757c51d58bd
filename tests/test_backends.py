"""The same tests for every backend, on every device that it has."""

import importlib.util
import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import streamkind.backends
from streamkind.backends.base import BACKENDS, why_not
from streamkind.backends.cards import card_here
from streamkind.backends.choose import open_backend
from streamkind.backends.cuda import Memory
from streamkind.engine.engine import Engine
from streamkind.engine.profiles import open_engine
from streamkind.engine.whole import Whole
from streamkind.errors import EngineError, UsageError
from streamkind.light.exposure import RATIOS, auto_ratio, without_lamps
from streamkind.model.released import PARTS, engines_folder, find_release

MODEL = "kind"
DEVICES = {"tensorrt": ["cuda"], "openvino": ["cpu"], "torch": ["cpu", "cuda"]}
SIZE = (96, 128)

MEAN_TOLERANCE = {"f32": 0.05, "bf16": 1.5, "fp16": 0.5}
"""Largest mean distance from PyTorch in float32, in levels, by the precision of a backend.

In bf16 the ratio itself is rounded, which changes the whole picture by up to 1.2 levels.
"""
MAX_TOLERANCE = {"f32": 1, "bf16": 12, "fp16": 4}
"""The same for the largest distance of a single value. In bf16, a distance of 6 was measured."""


@pytest.fixture(autouse=True)
def one_thread():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)


def picture(seed, height=SIZE[0], width=SIZE[1], brightness=0.2):
    """Return a night scene with smooth light, a lamp, and noise, (height, width, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(SIZE)
    waves = [np.sin(8 * (a * x + b * y) + c) for a, b, c in rng.uniform(-2, 2, (3, 3))]
    image = brightness * (0.6 + 0.3 * np.stack(waves, axis=2))
    image += np.exp(-40 * ((x - 0.3) ** 2 + (y - 0.2) ** 2))[..., None] * 0.5
    image += rng.normal(0, 0.01, image.shape)
    return (np.clip(image, 0, 1) * 255).astype(np.uint8)


def batch(*seeds, **kwargs):
    return np.stack([picture(seed, **kwargs) for seed in seeds])


def ratios(*values):
    return np.array(values, np.float32)


def mean_distance(a, b):
    return np.abs(a.astype(float) - b).mean()


def where(name, device):
    marks = [pytest.mark.gpu] if device == "cuda" else []
    return pytest.param((name, device), id=f"{name}-{device}", marks=marks)


@pytest.fixture(scope="module", params=[where(n, d) for n in DEVICES for d in DEVICES[n]])
def engine(request):
    """Open every backend on every device, each once for the module."""
    name, device = request.param
    reason = why_not(name)
    if device == "cuda" and not reason and not card_here():
        reason = "no NVIDIA card is found here"
    if reason and device == "cuda" and os.environ.get("STREAMKIND_REQUIRE_GPU"):
        pytest.fail(f"STREAMKIND_REQUIRE_GPU is set, but {reason}")
    if reason:
        pytest.skip(reason)
    with closing(open_backend(name, find_release(MODEL), device)) as engine:
        yield engine


@pytest.fixture(scope="module")
def reference():
    """Open PyTorch on the CPU, in float32."""
    with closing(open_backend("torch", find_release(MODEL), "cpu")) as engine:
        yield engine


def test_every_backend_of_the_folder_is_in_the_table():
    folder = Path(streamkind.backends.__file__).parent
    files = {f"streamkind.backends.{path.stem}" for path in folder.glob("*.py")}
    shared = ("__init__", "base", "choose", "cache", "cards", "cuda", "cuda_stream", "parity")
    shared += ("plans", "precision", "build_progress", "inspector", "processor", "process")
    shared += ("ov", "ov_devices", "graph_cache")
    shared += ("onnx_graph", "ratio_graph", "local_graph", "window_graph")
    others = {f"streamkind.backends.{n}" for n in shared}
    assert {b.target.partition(":")[0] for b in BACKENDS.values()} == files - others
    assert all(b.target.startswith(f"streamkind.backends.{n}:") for n, b in BACKENDS.items())
    assert DEVICES.keys() == BACKENDS.keys()  # or else a backend is not tested here


@pytest.mark.parametrize("count", [1, 3])
def test_decompose_gives_layers_and_statistics(engine, count):
    pixels = batch(*range(count))
    layers = engine.decompose(pixels)
    told = layers.statistics
    assert tuple(layers.reflectance.shape) == (count, 3, *SIZE)
    assert tuple(layers.illumination.shape) == (count, 1, *SIZE)
    assert layers.pixels is pixels
    assert told.luma.shape == (count,)
    assert told.curve.shape == (count, len(RATIOS))
    assert told.thumbnail.shape == (count, SIZE[0] // 16, SIZE[1] // 16)
    for numbers in (told.luma, told.curve, told.thumbnail, told.exposure):
        assert numbers.dtype == np.float32
        assert 0 <= numbers.min() <= numbers.max() <= 1
    luma = pixels @ np.array([0.299, 0.587, 0.114]) / 255
    blocks = luma.reshape(count, SIZE[0] // 16, 16, SIZE[1] // 16, 16).mean(axis=(2, 4))
    np.testing.assert_allclose(told.thumbnail, blocks, atol=0.005)
    np.testing.assert_allclose(told.luma, without_lamps(told.thumbnail, told.thumbnail))


def test_frames_may_have_more_than_8_bits(engine):
    """Check a ramp of one level per 16 pixels: its output has no steps of 8 bits."""
    light = np.broadcast_to(10 + np.arange(SIZE[1]) / 16, SIZE)[None, ..., None].repeat(3, axis=3)
    fine, rounded = light.astype(np.float32), light.astype(np.uint8)
    clear = [
        engine.recompose(engine.decompose(pixels), ratios(6)).astype(float)
        for pixels in (fine, rounded, rounded.astype(np.float32))
    ]
    assert mean_distance(clear[1], clear[2]) < 0.1  # the type does not matter, only the levels
    rows = [c[0].mean(axis=(0, 2))[16:-16] for c in clear[:2]]
    x = np.arange(len(rows[0]))
    steps = [np.std(row - np.polyval(np.polyfit(x, row, 3), x)) for row in rows]
    assert steps[0] < 0.5 * steps[1]


@pytest.mark.parametrize("count", [1, 3])
def test_recompose_gives_frames_that_are_the_callers_to_keep(engine, count):
    layers = engine.decompose(batch(*range(count)))
    first = engine.recompose(layers, np.full(count, 3, np.float32))
    assert first.dtype == np.uint8
    assert first.shape == (count, *SIZE, 3)
    kept = first.copy()
    other = engine.decompose(batch(*range(10, 10 + count)))
    second = engine.recompose(other, np.full(count, 8, np.float32))
    third = engine.recompose(layers, np.full(count, 3, np.float32))
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, third)
    np.testing.assert_array_equal(first, kept)
    assert mean_distance(first, second) > 1
    first[:] = 0  # the caller may change it
    np.testing.assert_array_equal(third, kept)


HALF = ratios(0.5, 0.5)


def layers_of(layers):
    """Return reflectance and illumination as arrays. Their type depends on the backend."""
    both = layers.reflectance, layers.illumination
    if isinstance(layers.reflectance, Memory):  # on a card
        return [t.numpy() for t in both]
    return [np.array(t.numpy(force=True) if hasattr(t, "numpy") else t.data) for t in both]


def blinking(image, by=40):
    """Return the picture with its left quarter brighter by `by` levels."""
    other = image.copy()
    other[:, : SIZE[1] // 4] += by
    return other


def test_still_areas_are_filtered_and_moving_areas_are_not(engine):
    image = picture(0)
    noisy = np.clip(image + np.random.default_rng(1).normal(0, 1, image.shape), 0, 255)
    before = engine.decompose(image[None])
    now = engine.decompose(blinking(noisy.astype(np.uint8))[None])
    held = engine.steady(now, before, HALF)
    for was, new, got in zip(*map(layers_of, (before, now, held)), strict=True):
        middle = (was + new) / 2
        np.testing.assert_allclose(got[..., 64:], middle[..., 64:], atol=1e-4)
        np.testing.assert_allclose(got[..., :32], new[..., :32], atol=1e-6)
        assert np.abs(was - new)[..., 64:].mean() > 0.001  # or else there was nothing to filter
    assert held.pixels is now.pixels and held.statistics is now.statistics


def test_reflectance_and_illumination_are_filtered_each_by_its_own_strength(engine):
    bright = batch(0, brightness=0.6)  # in a very dark picture, one level counts as motion
    before, now = (engine.decompose(bright + np.uint8(i)) for i in (0, 1))
    for strength in ((0, 0), (1, 0), (0, 1)):
        got = layers_of(engine.steady(now, before, ratios(*strength)))
        for share, layer, was, new in zip(
            strength, got, layers_of(before), layers_of(now), strict=True
        ):
            np.testing.assert_allclose(layer, was if share else new, atol=1e-5)
            assert np.abs(was - new).mean() > 0.001


def test_frames_of_a_batch_are_filtered_one_after_the_other(engine):
    frames = np.stack([np.roll(picture(0), 2 * i, axis=1) for i in range(4)])
    together = engine.steady(engine.decompose(frames[1:]), engine.decompose(frames[:1]), HALF)
    one = engine.decompose(frames[:1])
    alone = []
    for i in range(1, 4):
        one = engine.steady(engine.decompose(frames[i : i + 1]), one, HALF)
        alone.append(layers_of(one))
    for got, wanted in zip(layers_of(together), zip(*alone, strict=True), strict=True):
        np.testing.assert_allclose(got, np.concatenate(wanted), atol=0.01)
    after = engine.steady(engine.decompose(frames[:1]), together, HALF)  # after the last of three
    wanted = engine.steady(engine.decompose(frames[:1]), one, HALF)
    for got, want in zip(layers_of(after), layers_of(wanted), strict=True):
        np.testing.assert_allclose(got, want, atol=0.01)


def test_filtered_layers_are_the_callers_to_keep_and_make_a_picture(engine):
    before, now = (engine.decompose(batch(0) + np.uint8(i)) for i in (0, 1))
    kept = layers_of(now)
    first = engine.steady(now, before, HALF)
    held = layers_of(first)
    engine.steady(engine.decompose(batch(5)), first, HALF)
    for layer, value in zip((*layers_of(now), *layers_of(first)), (*kept, *held), strict=True):
        np.testing.assert_array_equal(layer, value)
    clear = [engine.recompose(layers, ratios(4)) for layers in (before, first, now)]
    assert 0 < mean_distance(clear[1], clear[0]) < 1.2 * mean_distance(clear[2], clear[0])


def test_statistics_are_the_callers_to_keep(engine):
    first = engine.decompose(batch(0)).statistics
    kept = first.curve.copy(), first.thumbnail.copy()
    engine.decompose(batch(1, brightness=0.8))
    np.testing.assert_array_equal(first.curve, kept[0])
    np.testing.assert_array_equal(first.thumbnail, kept[1])


def test_layers_of_two_batches_may_be_alive_at_once(engine):
    one, two = batch(0, 1), batch(2, 3, brightness=0.6)
    alone = [engine.recompose(engine.decompose(b), ratios(2, 4)) for b in (one, two)]
    layers = [engine.decompose(b) for b in (one, two)]
    together = [engine.recompose(each, ratios(2, 4)) for each in layers]
    np.testing.assert_array_equal(together, alone)


def test_pixels_may_be_overwritten_after_decompose(engine):
    pixels = batch(0)
    wanted = engine.recompose(engine.decompose(pixels.copy()), ratios(3))
    layers = engine.decompose(pixels)
    pixels[:] = 255
    np.testing.assert_array_equal(engine.recompose(layers, ratios(3)), wanted)


@pytest.mark.parametrize(
    "view",
    [lambda p: p[..., ::-1], lambda p: p[:, ::-1], lambda p: np.repeat(p, 2, axis=2)[:, :, ::2]],
    ids=["bgr", "upside-down", "every-second-column"],
)
def test_pixels_may_be_a_view(engine, view):
    pixels = view(batch(0))
    wanted = engine.recompose(engine.decompose(np.ascontiguousarray(pixels)), ratios(3))
    got = engine.recompose(engine.decompose(pixels), np.array([3.0, 9.0])[::2])  # a view of ratios
    np.testing.assert_array_equal(got, wanted)


def test_each_frame_is_relit_by_its_own_ratio(engine):
    values = (0.2, 1.0, 8.0)
    together = engine.recompose(engine.decompose(batch(0, 0, 0)), ratios(*values))
    layers = engine.decompose(batch(0))
    for frame, value in zip(together, values, strict=True):
        (alone,) = engine.recompose(layers, ratios(value))
        assert mean_distance(frame, alone) < 0.2
    assert mean_distance(together[0], together[1]) > 2
    assert mean_distance(together[1], together[2]) > 2


def test_layers_of_several_videos_join_into_a_batch(engine):
    layers = [engine.decompose(batch(number)) for number in (0, 1)]
    joined = Whole(engine).join(layers)
    for i, whole in enumerate(layers_of(joined)):
        parts = [layers_of(part)[i] for part in layers]
        np.testing.assert_array_equal(whole, np.concatenate(parts))
    np.testing.assert_array_equal(joined.pixels, batch(0, 1))
    np.testing.assert_array_equal(
        joined.statistics.luma, np.concatenate([part.statistics.luma for part in layers])
    )
    together = engine.recompose(joined, ratios(2, 4))
    for got, part, ratio in zip(together, layers, (2, 4), strict=True):
        assert mean_distance(got, engine.recompose(part, ratios(ratio))[0]) < 0.2


def test_a_frame_does_not_depend_on_its_neighbours(engine):
    together = engine.decompose(batch(0, 1, 2)).statistics
    alone = engine.decompose(batch(1)).statistics
    np.testing.assert_allclose(together.curve[1], alone.curve[0], atol=2e-3)


@pytest.mark.parametrize("brightness", [0.0, 0.1, 0.9])
def test_backends_agree_with_pytorch_in_float32(engine, reference, brightness):
    pixels = batch(0, 1, 2, brightness=brightness)
    layers, wanted = engine.decompose(pixels), reference.decompose(pixels)
    np.testing.assert_allclose(layers.statistics.curve, wanted.statistics.curve, atol=0.01)
    np.testing.assert_allclose(layers.statistics.thumbnail, wanted.statistics.thumbnail, atol=0.005)
    chosen, precision = auto_ratio(wanted.statistics), engine.description.split()[-1]
    held = engine.steady(layers, layers, HALF), reference.steady(wanted, wanted, HALF)
    for got, layer in zip(*map(layers_of, held), strict=True):
        np.testing.assert_allclose(got, layer, atol=0.03)
    for these in (chosen, ratios(0.3, 1, 6)):
        got, frames = engine.recompose(layers, these), reference.recompose(wanted, these)
        assert mean_distance(got, frames) <= MEAN_TOLERANCE[precision]
        assert np.abs(got.astype(int) - frames).max() <= MAX_TOLERANCE[precision]


@pytest.mark.parametrize("size", [(1, 1), (15, 17), (16, 16), (33, 100), (90, 120), SIZE])
def test_every_size_goes_through_and_comes_back(engine, size):
    kind = Engine(engine)
    image = picture(0, *size)
    clear = kind.enhance(image, ratio=4)
    assert clear.shape == image.shape
    assert clear.dtype == np.uint8
    bottom, right = (-side % 16 for side in size)
    padded = np.pad(image, ((0, bottom), (0, right), (0, 0)), mode="edge")
    whole = kind.enhance(padded, ratio=4)
    np.testing.assert_array_equal(clear, whole[: size[0], : size[1]])


def test_shapes_may_alternate(engine):
    kind = Engine(engine)
    sizes = [(32, 48), (48, 32), (64, 64), (32, 48), (40, 40), (32, 48)]
    results = [kind.enhance(picture(0, *size), ratio=2) for size in sizes]
    assert [r.shape[:2] for r in results] == sizes
    np.testing.assert_array_equal(results[0], results[3])
    np.testing.assert_array_equal(results[0], results[5])


def test_automatic_ratio_is_the_curves(engine):
    kind = Engine(engine)
    image = picture(0)
    layers = kind.decompose(image[None])
    wanted = kind.recompose(layers, auto_ratio(layers.statistics, 0.3, still=True))[0]
    np.testing.assert_array_equal(kind.enhance(image, target=0.3), wanted)


def test_the_picture_that_was_given_is_left_alone(engine):
    image = picture(0)
    Engine(engine).enhance(image)
    np.testing.assert_array_equal(image, picture(0))


def test_an_engine_says_what_it_is(engine):
    assert engine.max_batch >= 1
    assert MODEL in engine.description
    assert any(precision in engine.description for precision in MEAN_TOLERANCE)


@pytest.mark.parametrize("name", BACKENDS)
def test_closing_twice_is_fine(name):
    if reason := why_not(name):
        pytest.skip(reason)
    with open_engine(MODEL, backend=name) as kind:
        kind.enhance(picture(0, 16, 16))
        kind.close()
    kind.close()


@pytest.fixture
def copied(tmp_path):
    """Copy the released models to a folder whose files a test may damage; return it."""
    folder = tmp_path / "engines"
    shutil.copytree(engines_folder(), folder)
    return folder


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("part", ["decompose", "recompose"])
def test_a_graph_that_is_not_the_released_one_is_refused(copied, name, part):
    path = copied / f"{MODEL}-{part}.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    if reason := why_not(name):
        pytest.skip(reason)
    with pytest.raises(EngineError, match=rf"{MODEL}-{part}\.onnx is not the released graph.*"):
        open_engine(MODEL, backend=name, engines=copied)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_graph_that_is_missing_is_named(copied, name):
    (copied / f"{MODEL}-recompose.onnx").unlink()
    if reason := why_not(name):
        pytest.skip(reason)
    with pytest.raises(EngineError, match=rf"cannot read .*{MODEL}-recompose\.onnx"):
        open_engine(MODEL, backend=name, engines=copied)


@pytest.mark.parametrize(
    "text",
    [None, "", "{}", "[]", '{"models": []}', '{"models": {"kind": {}}}', '{"models": {"kind": 1}}'],
)
def test_an_engine_json_that_cannot_be_read(tmp_path, text):
    if text is not None:
        (tmp_path / "engine.json").write_text(text)
    with pytest.raises(EngineError, match=r"cannot read .*engine\.json.*tools/export\.py"):
        open_engine(MODEL, engines=tmp_path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"model": "kindest"}, rf"unknown model 'kindest'; released here: .*{MODEL}"),
        ({"backend": "tpu"}, r"unknown backend 'tpu'; choose auto, tensorrt, openvino, torch"),
        ({"device": "tpu"}, r"unknown device 'tpu'; choose auto, cpu, cuda, cuda:1, gpu"),
        ({"profile": "fast"}, r"unknown profile 'fast'; choose auto, quality, balanced, realtime"),
        ({"backend": "openvino", "device": "cuda"}, r"'openvino' runs on auto, cpu, gpu.*'cuda'"),
        (
            {"backend": "torch", "device": "tpu"},
            r"runs on cpu, cuda, cuda:N or mps.*'tpu'",
        ),
        (
            {"backend": "torch", "device": "cuda:x"},
            r"runs on cpu, cuda, cuda:N or mps.*'cuda:x'",
        ),
    ],
)
def test_unknown_names_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        open_engine(**{"model": MODEL} | options)


@pytest.mark.parametrize("part", ["decompose", "steady", "recompose"])
@pytest.mark.parametrize(
    "told",
    [
        "CUDA out of memory. Tried to allocate 2 GiB",
        "DefaultCPUAllocator: can't allocate memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    ],
)
def test_pytorch_says_when_a_device_is_short_of_memory(part, told):
    def fail(*tensors):
        raise RuntimeError(told)

    with closing(open_backend("torch", find_release(MODEL), "cpu")) as engine:
        layers = engine.decompose(batch(0))
        setattr(engine, f"_{part}", fail)
        with pytest.raises(EngineError, match=r"memory for 1 frames of 128x96 in PyTorch; close"):
            engine.decompose(batch(0))
            engine.steady(layers, layers, np.ones(2, np.float32))
            engine.recompose(layers, ratios(2))


def test_pytorch_says_when_a_card_is_too_full_for_a_model(monkeypatch):
    torch = pytest.importorskip("torch")

    def fail(*what, **where):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.nn.Module, "to", fail)
    with pytest.raises(EngineError, match="too little memory for the model student in PyTorch"):
        open_backend("torch", find_release("student"), "cpu")


def test_a_card_that_does_not_exist_is_refused():
    with pytest.raises(EngineError, match=r"'cuda:99' does not exist.*--device cpu"):
        open_engine(MODEL, backend="torch", device="cuda:99")


@pytest.fixture(scope="module")
def kind():
    with open_engine(MODEL) as engine:
        yield engine


@pytest.mark.parametrize("ratio", [0, 0.09, 10.1, -1, float("nan"), float("inf"), "bright", None])
def test_a_ratio_that_the_nets_were_not_trained_for(kind, ratio):
    with pytest.raises(UsageError, match=r"ratio must be 'auto' or a number from 0\.1 to 10"):
        kind.enhance(picture(0, 16, 16), ratio=ratio)


@pytest.mark.parametrize("ratio", [0.1, 1, 10, 10.0, "auto"])
def test_a_ratio_that_is_fine(kind, ratio):
    assert kind.enhance(picture(0, 16, 16), ratio=ratio).shape == (16, 16, 3)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((16, 16, 3), np.float32),
        np.zeros((16, 16), np.uint8),
        np.zeros((16, 16, 4), np.uint8),
        np.zeros((1, 16, 16, 3), np.uint8),
        np.zeros((0, 16, 3), np.uint8),
    ],
    ids=["float", "gray", "rgba", "batch", "empty"],
)
def test_an_array_that_is_no_picture_is_refused(kind, image):
    with pytest.raises(ValueError, match=r"RGB uint8 of shape \(H, W, 3\), got"):
        kind.enhance(image)


def without(monkeypatch, *missing):
    """Simulate that modules are not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name in missing else find(name, *a)
    )


@pytest.mark.parametrize("name, module", [(n, m) for n, b in BACKENDS.items() for m in b.needs])
def test_a_backend_that_is_not_installed_says_how_to_install_it(monkeypatch, name, module):
    without(monkeypatch, *module.split("|"))
    with pytest.raises(EngineError) as error:
        open_engine(MODEL, backend=name)
    told = str(error.value)
    assert told.startswith(f"backend '{name}' cannot be used: ")
    assert module.replace("|", " or ") in told
    assert told.endswith(f" not installed: {BACKENDS[name].install}")


def test_auto_takes_the_first_backend_that_is_installed(monkeypatch):
    with open_engine(MODEL) as kind:
        assert "openvino" in kind.description
    without(monkeypatch, "openvino")
    with open_engine(MODEL) as kind:
        assert "torch" in kind.description
    without(monkeypatch, *(n for b in BACKENDS.values() for n in b.needs[0].split("|")))
    with pytest.raises(EngineError, match=r"no backend can be used here.*pip install openvino"):
        open_engine(MODEL)


def test_every_released_graph_is_the_one_that_engine_json_describes():
    for name in json.loads((engines_folder() / "engine.json").read_text())["models"]:
        release = find_release(name)
        for part in PARTS:
            assert len(getattr(release, part).read()) > 0


def test_near_ratio_1_the_result_fades_into_the_frame():
    image = picture(0, *SIZE)
    with open_engine(MODEL) as kind:
        layers = kind.decompose(image[None])
        gone = [
            np.abs(kind.recompose(layers, ratios(r))[0].astype(int) - image).mean()
            for r in (1, 1.05, 1.15, 1.3)
        ]
        assert gone[0] == 0
        assert gone == sorted(gone) and gone[1] < 1
