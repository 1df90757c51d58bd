"""The single graph: from picture to picture in ONNX Runtime, as `Engine.enhance` does it."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from onnx import TensorProto, helper
from support.media import scene

from streamkind.backends.onnx_graph import GraphBuilder, model_of
from streamkind.backends.ratio_graph import add_ratio
from streamkind.backends.single import single_graph
from streamkind.engine.profiles import open_engine
from streamkind.errors import UsageError
from streamkind.light.exposure import RATIOS, Statistics, auto_ratio
from streamkind.model.released import find_release

ONNX_PAGE = Path(__file__).parents[1] / "docs" / "onnx.md"


def session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def engine():
    with open_engine("student", profile="quality", backend="openvino") as opened:
        yield opened


@pytest.fixture(scope="module")
def ratio_session():
    """The choice of the ratio alone."""
    g = GraphBuilder()
    ratio = add_ratio(g, "curve", "thumbnail", "exposure", 0.47)
    g.nodes.append(helper.make_node("Identity", [ratio], ["ratio"]))
    shapes = {"curve": ["n", len(RATIOS)], "thumbnail": ["n", "h", "w"], "exposure": ["n"]}
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    ]
    outputs = [helper.make_tensor_value_info("ratio", TensorProto.FLOAT, ["n"])]
    return session(model_of(g, inputs, outputs, opset=18, ir=10, about={}))


def blocks(kind: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Mean lumas of 40 pictures of a kind."""
    shape = (40, *size)
    return {
        "black": lambda: np.zeros(shape),
        "white": lambda: np.ones(shape),
        "one level": lambda: np.full(shape, 0.125),
        "two levels": lambda: rng.choice([0.02, 0.5], shape, p=[0.9, 0.1]),
        "night": lambda: rng.uniform(0, 1, shape) ** 6,
        "lamps": lambda: np.where(rng.uniform(0, 1, shape) > 0.97, 0.9, 0.03),
        "dusk": lambda: rng.uniform(0, 1, (40, 1, 1)) * rng.uniform(0, 1, shape),
        "day": lambda: rng.uniform(0.3, 1, shape),
    }[kind]().astype(np.float32)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (25, 38)])
@pytest.mark.parametrize(
    "kind", ["black", "white", "one level", "two levels", "night", "lamps", "dusk", "day"]
)
def test_the_ratio_is_that_of_stills(ratio_session, kind, size):
    rng = np.random.default_rng(len(kind) + size[0])
    thumbnail = blocks(kind, size, rng)
    mean = thumbnail.mean(axis=(1, 2))[:, None]
    curve = np.minimum(mean * RATIOS ** rng.uniform(0.3, 1, (40, 1)), 1)
    curve += rng.uniform(0, 0.01, curve.shape)  # a curve need not rise everywhere
    exposure = rng.uniform(0.2, 0.7, 40)
    told = [np.asarray(x, np.float32) for x in (curve, thumbnail, exposure)]
    wanted = auto_ratio(Statistics.of(*told), 0.47, still=True)
    found = ratio_session.run(
        None, dict(zip(("curve", "thumbnail", "exposure"), told, strict=True))
    )[0]
    np.testing.assert_allclose(np.log2(found), np.log2(wanted), atol=5e-3)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("pictures", ["uint8", "float"])
def test_pictures_are_those_of_the_engine(engine, pictures, precision):
    model = single_graph(find_release("student"), pictures=pictures, precision=precision)
    run = session(model)
    assert [given.name for given in run.get_inputs()] == ["picture"]  # the ratio may be left out
    half = precision == "fp16"
    kind = np.uint8 if pictures == "uint8" else (np.float16 if half else np.float32)
    scale = 1 if pictures == "uint8" else 255
    night = scene(150, 90)
    for image in (night, night[:50, :33], np.minimum(night * 6, 255), np.zeros_like(night)):
        for ratio in (None, 1.0, 1.2, 4.0):
            picture = (image.transpose(2, 0, 1)[None] / scale).astype(kind)
            more = {} if ratio is None else {"ratio": np.array([ratio], np.float32)}
            clear = run.run(None, {"picture": picture, **more})[0]
            assert (clear.dtype, clear.shape) == (picture.dtype, picture.shape)
            result = clear[0].transpose(1, 2, 0).astype(np.float32) * scale
            wanted = engine.enhance(image, ratio="auto" if ratio is None else ratio)
            assert abs(result - wanted).mean() < 1


def test_each_picture_of_a_batch_has_its_own_ratio():
    run = session(single_graph(find_release("student")))
    images = np.stack([scene(64, 48), np.minimum(scene(64, 48).astype(int) * 3, 255)])
    pictures = images.transpose(0, 3, 1, 2).astype(np.uint8)
    both = run.run(None, {"picture": pictures})[0]
    for i in range(2):
        alone = run.run(None, {"picture": pictures[i : i + 1]})[0][0]
        assert abs(both[i].astype(int) - alone).max() <= 1
    given = run.run(None, {"picture": pictures, "ratio": np.array([1, 5], np.float32)})[0]
    assert np.array_equal(given[0], pictures[0])
    assert given[1].mean() > 1.5 * pictures[1].mean()


def test_openvino_runs_it(engine):
    core = openvino.Core()
    model = core.read_model(single_graph(find_release("student"), pictures="float"))
    image = scene(96, 64)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    picture = (image.transpose(2, 0, 1)[None] / 255).astype(np.float32)
    assert [port.get_any_name() for port in compiled.inputs] == ["picture"]  # ratio: a constant
    result = compiled({"picture": picture})["clear"][0].transpose(1, 2, 0) * 255
    assert abs(result - engine.enhance(image)).mean() < 1


def test_the_documented_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clear.onnx").write_bytes(single_graph(find_release("student")))
    cv2.imwrite("night.png", scene(64, 48))
    (code,) = re.findall(r"^```python\n(.*?)^```", ONNX_PAGE.read_text("utf-8"), re.S | re.M)
    found: dict[str, np.ndarray] = {}
    exec(code, found)
    assert found["stronger"].mean() > found["clear"].mean() > 2 * found["picture"].mean()
    assert cv2.imread("clear.png").shape == (48, 64, 3)


def test_bf16_is_refused():
    with pytest.raises(UsageError, match="choose fp16 or fp32"):
        single_graph(find_release("student"), precision="bf16")


@pytest.mark.parametrize("words", [["--single", "--pictures", "float"], []])
def test_the_command_tells_opset_and_operators(call, tmp_path, words):
    code, _, err = call("engines", "export", tmp_path / "a.onnx", "--model", "student", *words)
    assert code == 0, err
    assert "opset 18: A" in err
    found = [tmp_path / "a.onnx"] if words else sorted((tmp_path / "a.onnx").iterdir())
    assert len(found) == (1 if words else 3)
    for path in found:
        onnx.checker.check_model(str(path))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--pictures", "rgb"], "choose uint8, float"),
        (["--target", "2"], "target is a mean luma"),
        (["--precision", "int8"], "int8"),
        (["--model", "none"], "unknown model"),
    ],
)
def test_options_that_are_not_offered_are_refused(call, tmp_path, words, told):
    code, _, err = call("engines", "export", tmp_path / "a.onnx", "--single", *words)
    assert code == 2
    assert told in err
    assert not list(tmp_path.iterdir())
