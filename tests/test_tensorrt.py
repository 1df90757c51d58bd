"""TensorRT: order and lifetime of calls on a simulated driver, and messages for users.

CI has no card. `cuda_double` computes with ONNX Runtime, so that a wrong address or a buffer that
is used too early gives wrong results. Plans are built by the real library. On a card,
test_backends.py runs the same tests on this backend as on the others.
"""

import gc
import re
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
import tensorrt_rtx as trt
from support import cuda_double
from support.cuda_double import Machine, install
from support.engines import Gain
from support.media import make_clip, read_video

from streamkind.backends import cuda, parity, plans
from streamkind.backends.base import why_not
from streamkind.backends.cache import Cache
from streamkind.backends.cards import Card, card_here
from streamkind.backends.choose import open_backend
from streamkind.backends.inspector import read_inspector
from streamkind.backends.openvino import OpenVINOBackend
from streamkind.backends.tensorrt import TensorRTBackend
from streamkind.errors import EngineError, UsageError
from streamkind.model.released import find_release

WIDTH, HEIGHT = 64, 48
MODEL = "student"
HALF = np.array([0.5, 0.5], np.float32)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    monkeypatch.setenv("STREAMKIND_CACHE", str(tmp_path))
    monkeypatch.setattr(plans, "PIECE_PIXELS", 2 * WIDTH * HEIGHT)
    machine = Machine()
    install(monkeypatch, machine)
    yield machine
    gc.collect()
    assert not machine.stack, "a context was left current"


@pytest.fixture
def engine(machine):
    with closing(TensorRTBackend(find_release(MODEL), device="cuda")) as engine:
        yield engine


@pytest.fixture(scope="module")
def reference():
    with closing(OpenVINOBackend(find_release(MODEL), precision="f32")) as engine:
        yield engine


def frames(count, seed=0, size=(HEIGHT, WIDTH)):
    rng = np.random.default_rng(seed)
    light = rng.uniform(10, 60, (count, 1, 1, 3))
    return (light + rng.normal(0, 2, (count, *size, 3))).clip(0, 255).astype(np.uint8)


def ratios(count):
    return np.linspace(2, 6, count, dtype=np.float32)


def relit(engine, pixels):
    """Return two relit batches, of which the second is filtered over time with the first."""
    first = engine.decompose(pixels)
    first = engine.steady(first, first, HALF)
    second = engine.steady(engine.decompose(pixels[::-1]), first, HALF)
    return [engine.recompose(layers, ratios(len(pixels))) for layers in (first, second)]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_pieces_come_together_in_order(engine, reference, count):
    pixels = frames(count)
    for found, expected in zip(relit(engine, pixels), relit(reference, pixels), strict=True):
        assert np.abs(found.astype(int) - expected).max() <= 2
    told = engine.decompose(pixels).statistics
    known = reference.decompose(pixels).statistics
    np.testing.assert_allclose(told.curve, known.curve, atol=2e-3)
    np.testing.assert_allclose(told.thumbnail, known.thumbnail, atol=2e-3)


def test_frames_with_more_than_8_bits_alternate_with_others(machine, engine, reference):
    for pixels in [frames(2), frames(2) + np.float32(0.4), frames(2)] * 2:
        clear, expected = (
            by.recompose(by.decompose(pixels), ratios(2)) for by in (engine, reference)
        )
        assert np.abs(clear.astype(int) - expected).max() <= 2
    assert machine.times("build") == 3


def test_results_are_the_callers_to_keep(engine):
    layers = engine.decompose(frames(3))
    first = engine.recompose(layers, ratios(3))
    kept = first.copy()
    engine.recompose(engine.decompose(frames(3, seed=1)), ratios(3))
    np.testing.assert_array_equal(first, kept)


def test_layers_stay_when_others_are_made(engine):
    layers = engine.decompose(frames(2))
    clear = engine.recompose(layers, ratios(2))
    for seed in range(1, 4):
        engine.decompose(frames(2, seed))
    np.testing.assert_array_equal(engine.recompose(layers, ratios(2)), clear)


def test_three_pieces_are_in_flight(machine, engine):
    engine.decompose(frames(6))
    machine.told.clear()
    engine.decompose(frames(6))
    calls = [what for what in machine.told if what[0] in ("up", "record graph", "launch", "down")]
    streams = list(dict.fromkeys(what[1] for what in calls))
    assert len(streams) == 3
    for stream in streams:
        names = [name for name, one in calls if one == stream]
        assert names[0] == "up"
        assert set(names[-3:]) == {"down"}
    first_wait = [what[0] for what in machine.told].index("collect")
    assert sum(what[0] == "up" for what in machine.told[:first_wait]) == 3


def test_calls_are_recorded_after_one_ordinary_run_and_launched_again(machine, engine):
    for _ in range(6):
        engine.decompose(frames(2))
        gc.collect()
    assert machine.times("record graph") <= machine.times("launch")
    before = machine.times("execute"), machine.times("launch")
    machine.told.clear()
    engine.decompose(frames(2))
    assert machine.times("execute") + machine.times("record graph") <= 1
    assert machine.times("launch") == 1
    assert before[1] >= 1


def test_recorded_calls_are_forgotten_when_scratch_memory_moves(machine, engine):
    layers = engine.decompose(frames(1))
    for _ in range(4):
        engine.recompose(layers, ratios(1))  # recorded, because its addresses stay the same
        gc.collect()
    assert machine.times("launch")
    machine.told.clear()
    engine.steady(layers, layers, HALF)  # needs more scratch memory than those before
    assert machine.times("free graph")
    engine.recompose(layers, ratios(1))
    assert machine.times("record graph") == 1


def test_recorded_calls_are_bounded(machine, engine, monkeypatch):
    monkeypatch.setattr("streamkind.backends.cuda_stream.GRAPHS_KEPT", 2)
    kept = [engine.decompose(frames(2, seed)) for seed in range(6)]  # each at its own addresses
    assert machine.times("free graph") >= 3
    assert len(kept) == 6


def test_calls_of_a_library_that_records_them_itself_are_not_recorded(
    monkeypatch, tmp_path, reference
):
    monkeypatch.setenv("STREAMKIND_CACHE", str(tmp_path))
    machine = Machine()
    install(monkeypatch, machine, records_itself=True)
    with closing(TensorRTBackend(find_release(MODEL))) as engine:
        for _ in range(3):
            found = engine.recompose(engine.decompose(frames(2)), ratios(2))
        expected = reference.recompose(reference.decompose(frames(2)), ratios(2))
    assert np.abs(found.astype(int) - expected).max() <= 2
    assert not machine.times("launch")


def test_closing_frees_all_in_order(machine):
    engine = TensorRTBackend(find_release(MODEL))
    layers = engine.decompose(frames(3))
    engine.recompose(layers, ratios(3))
    engine.close()
    engine.close()
    del layers
    gc.collect()
    assert not machine.memory
    assert machine.alive == {"runtime": 0, "engine": 0, "context": 0}
    names = [what[0] for what in machine.told]
    assert names.index("free engine") < names.index("detach")
    assert names.count("detach") == 1
    assert names[: names.index("free engine")].count("free graph") == names.count("free graph")


def test_closing_a_card_that_was_lost_does_not_hide_its_error(machine):
    def lost(*args):
        raise machine.driver.Error("the card was lost")

    with (
        pytest.raises(EngineError, match=r"failed: the card was lost; run nvidia-smi"),
        closing(TensorRTBackend(find_release(MODEL))) as engine,
    ):
        engine.decompose(frames(1))
        machine.driver.memcpy_htod_async = lost
        for stream in machine.streams.values():
            stream.synchronize = lost
        engine.decompose(frames(1))
    engine.close()
    machine.graphs.clear()  # a lost card does not free them
    gc.collect()
    assert machine.alive == {"runtime": 0, "engine": 0, "context": 0}
    assert machine.times("detach") == 1


def test_memory_is_never_freed_while_a_stream_is_busy(machine, engine):
    for seed in range(3):
        engine.recompose(engine.decompose(frames(5, seed)), ratios(5))
        gc.collect()
    freed = [what for what in machine.told if what[0] == "free"]
    assert freed
    assert not any(busy for _, _, busy in freed)


def test_an_error_in_a_batch_waits_for_the_card_and_the_next_one_works(machine, engine):
    engine.decompose(frames(4))
    upload = machine.driver.memcpy_htod_async
    machine.driver.memcpy_htod_async = lambda *args: 1 / 0
    with pytest.raises(ZeroDivisionError):
        engine.decompose(frames(4))
    machine.driver.memcpy_htod_async = upload
    assert not any(stream.queue for stream in machine.streams.values())
    assert engine.decompose(frames(4)).statistics.luma.shape == (4,)


def test_an_error_of_the_driver_becomes_an_engine_error(machine, engine):
    def fail(*args):
        raise machine.driver.Error("an illegal memory access")

    machine.driver.memcpy_htod_async = fail
    with pytest.raises(EngineError, match=r"double 0 failed: an illegal memory access.*nvidia-smi"):
        engine.decompose(frames(1))


def test_fewer_frames_at_once_when_memory_is_short(machine, monkeypatch, caplog, reference):
    monkeypatch.setattr(plans, "PIECE_PIXELS", 8 * WIDTH * HEIGHT)
    machine.total_bytes = 900_000
    with closing(TensorRTBackend(find_release(MODEL))) as engine:
        found = engine.recompose(engine.decompose(frames(8)), ratios(8))
    expected = reference.recompose(reference.decompose(frames(8)), ratios(8))
    assert np.abs(found.astype(int) - expected).max() <= 2
    assert "too little memory" in caplog.text


def test_a_plan_that_finds_no_memory_is_not_taken_for_a_stale_one(machine, engine, caplog):
    engine.prepare(WIDTH, HEIGHT)
    with closing(TensorRTBackend(find_release(MODEL))) as another:
        machine.told.clear()
        machine.short_of_memory = 1
        another.prepare(WIDTH, HEIGHT)
    assert "too little memory" in caplog.text
    assert not machine.times("build")


def test_recorded_calls_that_find_no_memory_make_fewer_frames_at_once(
    machine, engine, caplog, reference
):
    engine.decompose(frames(4))  # each of its pieces has run once
    machine.short_of_memory = 1
    layers = [engine.decompose(frames(4, seed)) for seed in range(3)]
    assert machine.short_of_memory == 0
    assert "too little memory" in caplog.text
    found = engine.recompose(layers[0], ratios(4))
    expected = reference.recompose(reference.decompose(frames(4)), ratios(4))
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_too_little_memory_is_reported(machine):
    machine.total_bytes = 150_000
    with (
        closing(TensorRTBackend(find_release(MODEL))) as engine,
        pytest.raises(
            EngineError, match=r"too little memory for a single frame.*MiB are free.*smaller"
        ),
    ):
        engine.recompose(engine.decompose(frames(2)), ratios(2))


def test_after_a_picture_that_finds_no_memory_a_smaller_one_is_enhanced(machine, engine):
    def too_large():
        raise machine.driver.MemoryError("a large picture")

    for _ in range(2):
        with pytest.raises(EngineError, match="too little memory for a single frame"):
            engine._within_memory(too_large)
    assert engine._within_memory(lambda: "clear") == "clear"


@pytest.mark.parametrize("output", ["curve", "guard"])
def test_frames_that_are_not_finite_are_repeated_in_single_precision(
    machine, engine, caplog, output
):
    engine.recompose(engine.decompose(frames(2)), ratios(2))
    left = [2]  # emptied when one result was falsified

    def falsify(name, array):
        if name == output and left:
            left.clear()
            return np.full_like(array, np.nan)
        return array

    machine.falsify = falsify
    found = engine.recompose(engine.decompose(frames(2)), ratios(2))
    assert "runs again in fp32" in caplog.text
    assert {what[2] for what in machine.told if what[0] == "build"} == {"fp16", "fp32"}
    machine.falsify = lambda name, array: array
    known = engine.recompose(engine.decompose(frames(2)), ratios(2))
    assert np.abs(found.astype(int) - known).max() <= 2


@pytest.mark.parametrize(("output", "part"), [("curve", "decompose"), ("guard", "recompose")])
def test_frames_that_stay_not_finite_are_never_returned(machine, engine, output, part):
    engine.recompose(engine.decompose(frames(2)), ratios(2))
    machine.falsify = lambda name, array: array * np.nan if name == output else array
    with pytest.raises(EngineError, match=rf"student {part} gives values that are not finite"):
        engine.recompose(engine.decompose(frames(2)), ratios(2))


def test_a_plan_that_tensorrt_refuses_is_built_once_more(machine, engine, caplog):
    machine.refuse_plans = 1
    engine.decompose(frames(1))
    builds = [what[1] for what in machine.told if what[0] == "build"]
    assert builds == ["decompose", "decompose", "recompose"]
    assert "TensorRT refuses the plan" in caplog.text


def test_a_plan_that_is_refused_twice_is_an_error(machine, engine):
    machine.refuse_plans = 2
    with pytest.raises(EngineError, match="TensorRT refuses the plan"):
        engine.decompose(frames(1))


def test_plans_are_compared_once_and_kept(machine, caplog):
    for _ in range(2):
        with closing(TensorRTBackend(find_release(MODEL))) as engine:
            engine.prepare(WIDTH, HEIGHT)
    assert [what[1] for what in machine.told if what[0] == "build"] == [
        "decompose",
        "recompose",
        "decompose",  # for float32 frames
        "steady",
    ]
    assert caplog.text.count("comparing with the released graphs") == 2
    noted = [entry.report["parity"] for entry in Cache().entries() if "parity" in entry.report]
    assert len(noted) == 3
    assert all(0 <= one["mean"] <= parity.MEAN for one in noted)


def test_a_plan_that_computes_something_else_is_refused_and_forgotten(machine, engine):
    machine.falsify = lambda name, array: array // 2 if name == "frames" else array
    for _ in range(2):
        with pytest.raises(EngineError, match=r"plan of student at 64x48 is refused: it differs"):
            engine.decompose(frames(1))
    assert not [entry for entry in Cache().entries() if entry.recipe["part"] == "recompose"]


def test_the_inspector_is_asked_once_and_its_answer_is_kept(machine, engine):
    engine.prepare(WIDTH, HEIGHT)
    told = [entry.report["inspected"] for entry in Cache().entries()]
    counts = {"half": 1, "bf16": 1, "float": 1, "uint8": 1, "unknown": 1}
    assert told == [{"layers": counts, "float_layers": ["node_Log_14"]}] * 4


def test_an_inspector_that_knows_names_only_is_understood():
    told = read_inspector('{"Layers": ["one", "two"], "Bindings": []}')
    assert told == {"layers": {"unknown": 2}, "float_layers": []}


def test_plans_are_built_on_the_card_that_was_chosen(machine):
    machine.cards = 3
    with closing(TensorRTBackend(find_release(MODEL), device="cuda:2")) as engine:
        engine.prepare(WIDTH, HEIGHT)
    assert {what[1] for what in machine.told if what[0] == "build on"} == {2}


def test_engines_build_on_a_card_compares_and_inspects(machine, call):
    code, out, err = call("engines", "build", "--model", MODEL, "--size", f"{WIDTH}x{HEIGHT}")
    assert (code, out) == (0, "")
    assert err.count("built in") == 4
    inspected = "layers on the card, by TensorRT's inspector: 1 half, 1 bf16, 1 float, 1 uint8"
    assert err.count(inspected) == 4
    assert err.count("from the released graphs 0.") == 3  # `steady` is not compared
    assert {what[1] for what in machine.told if what[0] == "build on"} == {0}
    assert machine.times("detach") == 2
    with closing(TensorRTBackend(find_release(MODEL))) as engine:
        machine.told.clear()
        engine.prepare(WIDTH, HEIGHT)
    assert not machine.times("build")  # the backend takes the plans that were built


def test_an_engine_that_cannot_be_made_frees_the_card(machine):
    machine.driver.Stream = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        TensorRTBackend(find_release(MODEL))
    assert machine.times("detach") == 1


def test_a_card_that_is_in_use_is_an_engine_error(machine, monkeypatch):
    def refuse(device):
        raise machine.driver.MemoryError("cuDevicePrimaryCtxRetain failed: out of memory")

    monkeypatch.setattr(machine.driver.Device, "retain_primary_context", refuse)
    with pytest.raises(EngineError, match=r"double 0 cannot be used: .*out of memory; run nvidia"):
        TensorRTBackend(find_release(MODEL))


def test_where_nvidia_smi_does_not_know_the_card_cuda_does(machine, monkeypatch):
    monkeypatch.setattr(cuda, "find_cards", lambda: [])
    with closing(cuda.Gpu("auto")) as gpu:
        assert gpu.card == Card("sm_89", "a double 0", "for CUDA 13000", True, "0000:00:00.0")
    assert plans._toolkit() == "12.6.0"  # part of the key of a plan, as the driver is


@pytest.mark.parametrize(
    ("size", "batch"),
    [
        ((64, 48), (1, 4, 8)),
        ((1280, 720), (1, 4, 4)),
        ((1920, 1088), (1, 2, 2)),
        ((3840, 2160), (1, 1, 1)),
        ((7680, 4320), (1, 1, 1)),
    ],
)
def test_plans_are_for_as_many_frames_as_are_put_on_the_card_at_once(size, batch):
    assert plans.usual_batch(*size) == batch


DOUBLED = {
    cuda_double.Runtime: trt.Runtime,
    cuda_double.Engine: trt.ICudaEngine,
    cuda_double.Context: trt.IExecutionContext,
}


@pytest.mark.parametrize("double", DOUBLED, ids=lambda double: double.__name__)
def test_the_simulated_library_has_no_call_that_the_real_one_lacks(double):
    calls = {name for name in vars(double) if not name.startswith("_")}
    assert calls
    assert calls <= set(dir(DOUBLED[double]))


def test_other_names_that_the_engine_needs_are_in_the_real_library():
    assert hasattr(trt.ICudaEngine, "num_io_tensors")
    assert hasattr(trt.EngineInspector, "get_engine_information")
    assert hasattr(trt.IRuntimeConfig, "set_execution_context_allocation_strategy")
    assert hasattr(trt.IRuntimeConfig, "cuda_graph_strategy")
    assert trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE is not None
    assert trt.ExecutionContextAllocationStrategy.USER_MANAGED is not None
    assert trt.LayerInformationFormat.JSON is not None
    assert trt.nptype(trt.DataType.UINT8) is np.uint8


def test_plans_whose_comparison_found_no_memory_are_compared_again(machine, caplog):
    upload, left = machine.driver.memcpy_htod_async, [1]

    def fail_once(*args):
        if left:
            left.clear()
            raise machine.driver.MemoryError("out of memory")
        upload(*args)

    machine.driver.memcpy_htod_async = fail_once
    with closing(TensorRTBackend(find_release(MODEL))) as engine:
        engine.decompose(frames(1))
    assert "too little memory" in caplog.text
    assert caplog.text.count("comparing with the released graphs") == 2
    assert machine.times("build") == 2  # the plans are not built again
    assert all("parity" in entry.report for entry in Cache().entries())


def test_a_comparison_that_ends_early_keeps_the_plans_but_uses_none(machine, engine):
    upload = machine.driver.memcpy_htod_async
    machine.driver.memcpy_htod_async = lambda *args: 1 / 0
    with pytest.raises(ZeroDivisionError):
        engine.decompose(frames(1))
    machine.driver.memcpy_htod_async = upload
    machine.falsify = lambda name, array: array // 2 if name == "frames" else array
    with pytest.raises(EngineError, match="is refused: it differs"):
        engine.decompose(frames(1))
    assert machine.times("build") == 2


def test_enhance_builds_what_is_missing_visibly_and_keeps_it(machine, call, tmp_path, caplog):
    clip = make_clip(tmp_path / "a.mp4", frames=5, size=(WIDTH, HEIGHT))
    words = ("--backend", "tensorrt", "--model", MODEL)
    code, _, err = call("enhance", clip, tmp_path / "b.mp4", *words)
    assert code == 0
    assert "student on double 0 (cuda:0), tensorrt_rtx" in err
    assert err.count("decoded in software: cuda cannot be used") == 1
    for part in ("decompose", "recompose"):
        assert f"student {part} 64x48 fp16 batch 1:2:2 sm_89: not built yet" in caplog.text
    caplog.clear()
    assert call("enhance", clip, tmp_path / "c.mp4", *words)[0] == 0
    assert "building" not in caplog.text
    assert len(read_video(tmp_path / "c.mp4").images) == 5


def test_plans_are_compared_with_graphs_on_the_processor(monkeypatch):
    def opened(release, *, device="auto", precision=None):
        asked.append((device, precision))
        return Gain()

    asked = []
    monkeypatch.setattr("streamkind.backends.openvino.OpenVINOBackend", opened)
    assert len(parity.expected(find_release(MODEL), list(frames(3)))) == 3
    assert asked == [("cpu", "f32")]


def test_distance_counts_both_bounds():
    flat = np.full((100, 100, 3), 100, np.uint8)
    assert parity.distance(flat, flat) == parity.Parity(0.0, 0.0)
    assert parity.distance(flat + 1, flat).holds
    assert not parity.distance(flat + 2, flat).holds
    spot = flat.copy()
    spot[:4, :25] = 110  # 1 % of the pixels
    assert parity.distance(spot, flat).mean < 1
    assert not parity.distance(spot, flat).holds


def test_fixed_frames_are_dark_and_fixed():
    first, second = parity.fixed_frames(320, 192), parity.fixed_frames(320, 192)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert [f.shape for f in first] == [(192, 320, 3)] * 3
    assert all(a.mean() > b.mean() for a, b in pairwise(first))
    assert first[0].mean() < 70


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [
        ("cpu", UsageError, r"runs on cuda or cuda:N, got device 'cpu'"),
        ("cuda:x", UsageError, r"got device 'cuda:x'"),
        ("cuda:1", EngineError, r"'cuda:1' does not exist: CUDA finds 1 NVIDIA cards"),
    ],
)
def test_a_device_that_is_not_there(machine, device, error, message):
    with pytest.raises(error, match=message):
        TensorRTBackend(find_release(MODEL), device=device)


def test_the_card_is_chosen_by_its_number(machine):
    machine.cards = 3
    with closing(TensorRTBackend(find_release(MODEL), device="cuda:2")) as engine:
        assert engine.description.startswith("student on double 2 (cuda:2), tensorrt_rtx ")


no_card = pytest.mark.skipif(card_here(), reason="a card is here")


@no_card
def test_without_a_card_one_line_says_what_is_missing():
    reason = why_not("tensorrt")
    assert "no NVIDIA card is found here" in reason
    assert "pycuda is not installed: pip install 'streamkind[tensorrt]'" in reason
    assert "\n" not in reason
    with pytest.raises(EngineError, match="backend 'tensorrt' cannot be used: no NVIDIA card"):
        open_backend("tensorrt", find_release(MODEL), "auto")


@no_card
def test_without_a_card_enhance_says_in_one_line_what_is_missing(call, clip, tmp_path):
    code, out, err = call("enhance", clip, tmp_path / "clear.mp4", "--backend", "tensorrt")
    assert (code, out) == (1, "")
    assert err == f"streamkind: backend 'tensorrt' cannot be used: {why_not('tensorrt')}\n"
    assert not (tmp_path / "clear.mp4").exists()


@no_card
def test_without_a_card_auto_takes_openvino_and_says_so(call, clip, tmp_path):
    code, _, err = call("enhance", clip, tmp_path / "clear.mp4", "--backend", "auto")
    assert code == 0
    assert re.search("openvino", err.splitlines()[0], re.IGNORECASE)


@no_card
def test_without_a_card_doctor_lists_all_that_is_missing(call, monkeypatch, tmp_path):
    monkeypatch.setenv("STREAMKIND_CACHE", str(tmp_path))
    code, out, _ = call("doctor")
    found = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in out.splitlines())
    assert code == 0
    assert found["backend tensorrt"] == why_not("tensorrt")
    assert found["gpus"].startswith("none (nvidia-smi ")
    assert found["pycuda"] == found["tensorrt"] == "not installed"
    assert found["tensorrt-rtx"] == trt.__version__
    assert found["backend openvino"] == "usable"
    assert found["plans"] == f"0 in {tmp_path / 'plans'}, 0 MB"
