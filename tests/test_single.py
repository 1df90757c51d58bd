"""The single graph in ONNX Runtime, compared with the engine."""

from __future__ import annotations

import functools
import re
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import openvino
import pytest
from support.graphs import session
from support.media import scene
from support.tools import load_tool

from streamkind.backends.openvino import OpenVINOBackend
from streamkind.engine.engine import Engine
from streamkind.engine.single import single_graph
from streamkind.errors import UsageError
from streamkind.measure.night import figures, picture_of_rgb
from streamkind.model import released
from streamkind.model.released import engines_folder, find_release

ROOT = Path(__file__).parents[1]
ONNX_PAGE = ROOT / "docs" / "onnx.md"
NIGHT = scene(150, 90)
SIZES = [(32 + 5 * i, 107 - 3 * i) for i in range(16)]
"""Heights and widths with all remainders of a division by 16, the networks' `MULTIPLE`."""


@pytest.fixture(scope="module")
def engine():
    # ONNX Runtime computes in float32. OpenVINO would take bf16 where the processor has it.
    with Engine(OpenVINOBackend(find_release("student"), precision="f32")) as opened:
        yield opened


@pytest.fixture(scope="module")
def wanted(engine):
    """Return a function of name in PICTURES, ratio and still that gives the engine's result."""

    @functools.cache
    def made(name, ratio, still):
        image = PICTURES[name]()
        return engine.enhance(image, ratio=ratio) if still else as_engine(engine, image, ratio)

    return made


@pytest.fixture(scope="module")
def film():
    """Return a session of the graph for frames of videos."""
    return session(single_graph(find_release("student")))


def run(graph, image):
    """Return the result of a uint8 graph for an RGB picture, (H, W, 3) uint8 each."""
    (clear,) = graph.run(None, {"picture": image.transpose(2, 0, 1)[None]})[0]
    return clear.transpose(1, 2, 0)


def as_engine(engine, image, ratio="auto"):
    """Return the engine's result for the first frame of a video, (H, W, 3) float32 RGB."""
    (frame,) = engine.stream([(0.0, image)], ratio=ratio)
    return frame.pixels.astype(np.float32)


def lit(image):
    """Return a dark picture with a part that is six times as bright."""
    height, width = image.shape[:2]
    where = slice(height // 5, 2 * height // 3), slice(width // 5, width // 2)
    bright = image.copy()
    bright[where] = np.minimum(image[where].astype(int) * 6, 255)
    return bright


def street():
    """Return the middle frame of the sample: a rendered street at night, with lamps and shops."""
    with av.open(str(ROOT / "samples" / "night_street.mp4")) as container:
        frames = list(container.decode(video=0))
    return frames[len(frames) // 2].to_ndarray(format="rgb24")


def headlights():
    """Return a frame of two lamps in a dark room, with the noise of a small sensor."""
    tool = load_tool("make_scenes")
    return [dark for _, dark in tool.frames_of(tool.headlights((200, 150), 12), seed=1)][6]


PICTURES = {
    "night": lambda: NIGHT,
    "lit": lambda: lit(NIGHT),
    "thin": lambda: lit(NIGHT)[:50, :33],
    "day": lambda: np.minimum(NIGHT.astype(int) * 6, 255).astype(np.uint8),
    "black": lambda: np.zeros_like(NIGHT),
    "larger than its maps": lambda: cv2.resize(lit(NIGHT), (651, 163)),
    "headlights": headlights,
    "bars": lambda: np.pad(PICTURES["day"](), ((0, 0), (48, 48), (0, 0))),
}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("pictures", ["uint8", "float"])
@pytest.mark.parametrize("stills", [False, True], ids=["videos", "stills"])
def test_pictures_are_those_of_the_engine(wanted, stills, pictures, precision):
    release = find_release("student")
    graph = session(single_graph(release, pictures=pictures, precision=precision, stills=stills))
    assert [given.name for given in graph.get_inputs()] == ["picture"]  # `ratio` is optional
    half = precision == "fp16"
    kind = np.uint8 if pictures == "uint8" else (np.float16 if half else np.float32)
    scale = 1 if pictures == "uint8" else 255
    for name, made in PICTURES.items():
        image = made()
        for ratio in ("auto", 1.0, 1.2, 4.0):
            picture = (image.transpose(2, 0, 1)[None] / scale).astype(kind)
            more = {} if ratio == "auto" else {"ratio": np.array([ratio], np.float32)}
            clear = graph.run(None, {"picture": picture, **more})[0]
            assert (clear.dtype, clear.shape) == (picture.dtype, picture.shape)
            result = clear[0].transpose(1, 2, 0).astype(np.float32) * scale
            assert abs(result - wanted(name, ratio, stills)).mean() < 1, (name, ratio)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_any_size_is_taken(engine, film, size):
    height, width = size
    image = lit(scene(width, height))
    assert abs(run(film, image) - as_engine(engine, image)).mean() < 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 700), (15, 2)], ids=str)
def test_sizes_below_a_window_are_taken(engine, film, size):
    image = np.resize(lit(scene(700, 40)), (*size, 3))
    # OpenCV halves 8-bit pictures in fixed point. In so few pixels, its rounding weighs more.
    assert abs(run(film, image) - as_engine(engine, image)).mean() < 1.5


def test_lit_places_of_a_street_stay_as_they_are_in_the_engine(engine, film):
    image, stills = street(), session(single_graph(find_release("student"), stills=True))
    clear = run(film, image)
    assert abs(clear - as_engine(engine, image)).mean() < 0.1
    before, *after = (
        picture_of_rgb(np.ascontiguousarray(x)) for x in (image, clear, run(stills, image))
    )
    found, one_ratio = (figures(before, planes) for planes in after)
    assert found["lit_contrast"] > 0.9 > one_ratio["lit_contrast"]
    assert found["lit_lift"] < 0.1 < one_ratio["lit_lift"]
    assert found["dark_lift"] > 4


@pytest.mark.parametrize("ratio", [1.6, 10.0])
def test_coloured_lamps_are_not_clipped(film, ratio):
    image = np.full((96, 160, 3), 12, np.uint8)
    for i, color in enumerate([(235, 30, 20), (230, 230, 30), (238, 120, 60)]):
        image[20:60, 10 + 50 * i : 40 + 50 * i] = color
    picture, given = image.transpose(2, 0, 1)[None], np.array([ratio], np.float32)
    clear = film.run(None, {"picture": picture, "ratio": given})[0]
    assert clear.max() < 240  # 255 * engine.local.WHITE


@pytest.mark.parametrize("stills", [False, True], ids=["videos", "stills"])
def test_each_picture_of_a_batch_has_its_own_ratio(stills):
    graph = session(single_graph(find_release("student"), stills=stills))
    small = scene(64, 48)
    images = np.stack([small, np.minimum(small.astype(int) * 3, 255), lit(small)])
    pictures = images.transpose(0, 3, 1, 2).astype(np.uint8)
    every = graph.run(None, {"picture": pictures})[0]
    for i in range(3):
        alone = graph.run(None, {"picture": pictures[i : i + 1]})[0][0]
        assert abs(every[i].astype(int) - alone).max() <= 1
    pictures = pictures[:2]
    given = graph.run(None, {"picture": pictures, "ratio": np.array([1, 5], np.float32)})[0]
    assert np.array_equal(given[0], pictures[0])
    assert given[1].mean() > 1.5 * pictures[1].mean()


def test_openvino_runs_it(engine):
    core = openvino.Core()
    model = core.read_model(single_graph(find_release("student"), pictures="float"))
    image = lit(scene(96, 64))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    picture = (image.transpose(2, 0, 1)[None] / 255).astype(np.float32)
    assert [port.get_any_name() for port in compiled.inputs] == ["picture"]  # `ratio` is a constant
    result = compiled({"picture": picture})["clear"][0].transpose(1, 2, 0) * 255
    assert abs(result - as_engine(engine, image)).mean() < 1


@pytest.mark.slow
@pytest.mark.parametrize("stills", [False, True], ids=["videos", "stills"])
def test_tensorrt_for_rtx_builds_it(stills):
    trt = pytest.importorskip("tensorrt_rtx")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    graph = single_graph(find_release("student"), precision="fp16", stills=stills)
    assert parser.parse(graph), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    assert [network.get_input(i).name for i in range(network.num_inputs)] == ["picture"]
    config, sizes = builder.create_builder_config(), builder.create_optimization_profile()
    sizes.set_shape("picture", (1, 3, 16, 16), (1, 3, 360, 640), (4, 3, 720, 1280))
    config.add_optimization_profile(sizes)
    assert builder.build_serialized_network(network, config) is not None


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
        (["--target", "2"], "target must be a mean luma"),
        (["--precision", "int8"], "int8"),
        (["--model", "none"], "unknown model"),
    ],
)
def test_options_that_are_not_offered_are_refused(call, tmp_path, words, told):
    code, _, err = call("engines", "export", tmp_path / "a.onnx", "--single", *words)
    assert code == 2
    assert told in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("single", [True, False])
def test_the_released_graphs_are_not_replaced(call, tmp_path, monkeypatch, single):
    own = tmp_path / "engines"
    shutil.copytree(engines_folder(), own, ignore=shutil.ignore_patterns("kind*"))
    monkeypatch.setattr(released, "engines_folder", lambda: own)
    before = {path: path.read_bytes() for path in own.iterdir()}
    where = [own / "lite-recompose.onnx", "--single"] if single else [own]
    code, _, err = call("engines", "export", *where, "--model", "lite", "--precision", "fp16")
    assert code == 2
    assert "are the same file" in err
    assert {path: path.read_bytes() for path in own.iterdir()} == before


@pytest.mark.parametrize("words", [["--pictures", "uint8"], ["--stills"], ["--target", "0.4"]])
def test_options_of_the_single_graph_need_it(call, tmp_path, words):
    code, _, err = call("engines", "export", tmp_path / "graphs", *words)
    assert code == 2
    assert "need --single" in err
    assert not list(tmp_path.iterdir())
