"""Real plans of the released graphs, built by TensorRT for RTX on a machine without a card."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from support.plans import HEIGHT, WIDTH, recipe_of

from streamkind.backends import plans
from streamkind.backends.cards import named_card
from streamkind.errors import EngineError, UsageError
from streamkind.model.released import PARTS, find_release, releases

LAYERS = {
    "reflectance": ("float", [-1, 3, HEIGHT, WIDTH]),
    "illumination": ("float", [-1, 1, HEIGHT, WIDTH]),
}
FRAMES = {"frames": ("uint8", [-1, HEIGHT, WIDTH, 3])}
STATISTICS = {
    "curve": ("float", [-1, 17]),
    "thumbnail": ("float", [-1, HEIGHT // 16, WIDTH // 16]),
    "exposure": ("float", [-1]),
}
ENDS = {
    "decompose": (FRAMES, LAYERS | STATISTICS),
    "steady": (
        LAYERS | {f"before_{k}": v for k, v in LAYERS.items()} | {"strength": ("float", [-1, 2])},
        {f"held_{name}": end for name, end in LAYERS.items()},
    ),
    "recompose": (LAYERS | {"ratio": ("float", [-1])}, FRAMES | {"guard": ("float", [-1])}),
}


@functools.cache
def built(model, part, precision):
    recipe = recipe_of(part, model, precision=precision)
    return plans.build(recipe, getattr(find_release(model), part))


def every_plan(test):
    test = pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])(test)
    test = pytest.mark.parametrize("part", PARTS)(test)
    return pytest.mark.parametrize("model", releases())(test)


def ends(report, side):
    return {t["name"]: (t["type"], t["shape"]) for t in report[side]}


@every_plan
def test_a_plan_has_frames_at_both_ends_and_a_fixed_size(model, part, precision):
    plan = built(model, part, precision)
    told = find_release(model).info[part]
    for side, known in zip(("inputs", "outputs"), ENDS[part], strict=True):
        guard = ["guard"] if (part, side) == ("recompose", "outputs") else []
        assert ends(plan.report, side) == {name: known[name] for name in [*told[side], *guard]}
    assert len(plan.data) > 100_000


@every_plan
def test_a_plan_computes_in_what_was_asked_for(model, part, precision):
    report = built(model, part, precision).report
    if precision == "fp32" or part == "steady":  # filtered over seconds: not rounded
        assert report["layers"].keys() == {"float"}
    elif part == "recompose":
        *transposed, log, guard1, guard2, guard3 = report["float_layers"]
        assert log.startswith("node_Log")  # of the ratio, one number a frame
        guard = ["cast.guard.single", "guard.flatten", "node_of_guard"]  # of 16x16 blocks
        assert [guard1, guard2, guard3] == guard
        assert_transposed_only(transposed, model, part)
        assert precision == "bf16" or not transposed
    else:
        assert report["layers"][{"fp16": "half", "bf16": "bf16"}[precision]] > 40
        single = set(report["float_layers"]) & layers_of_the_net(model)
        assert_transposed_only(single, model, part)
        assert precision == "bf16" or not single


def assert_transposed_only(names, model, part):
    """Check that these are transposed convolutions, which TensorRT for RTX lacks in bf16."""
    graph = onnx.load_from_string(getattr(find_release(model), part).read()).graph
    transposed = [node for node in graph.node if node.op_type == "ConvTranspose"]
    allowed = {node.name for node in transposed}
    allowed |= {f"cast.{name}.single_here" for node in transposed for name in node.input}
    assert set(names) <= allowed


def layers_of_the_net(model):
    """Return TensorRT's names of the nodes between frames and layers, the costly part."""
    graph = onnx.load_from_string(find_release(model).decompose.read()).graph
    makers = {node.output[0]: node for node in graph.node}
    waiting, found = ["reflectance", "illumination"], set()
    while waiting:
        if node := makers.get(waiting.pop()):
            found.add(node.name or f"node_of_{node.output[0]}")
            waiting.extend(node.input)
    assert len(found) > 20
    return found


def test_half_precision_saves_memory():
    full, half = (len(built("kind", "recompose", p).data) for p in ("fp32", "fp16"))
    assert half < 0.6 * full


@pytest.mark.parametrize(
    ("size", "padded"), [((1920, 1080), (1920, 1088)), ((1, 1), None), ((33, 16), (48, 16))]
)
def test_sides_are_padded_to_16(size, padded):
    if padded is None:
        with pytest.raises(
            UsageError, match="size 1x1: expected a width and a height from 16 to 16384 pixels"
        ):
            recipe_of(size=size)
    else:
        assert recipe_of(size=size).size == padded


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"batch": (1, 8, 2)}, "1:usual:most, rising up to 64"),
        ({"batch": (0, 1, 1)}, "1:usual:most, rising up to 64"),
        ({"batch": (4, 4, 8)}, "batch 4:4:8: .* a last batch may have 1 frame"),
        ({"precision": "fp8"}, "unknown precision 'fp8'; choose fp16, fp32, bf16"),
        ({"precision": "int8"}, r"'int8' is not offered.*0\.3 dB.*choose fp16, fp32, bf16"),
        ({"sm": "ada"}, "card 'ada': expected a compute capability, such as sm_89"),
    ],
)
def test_impossible_plans_are_refused_before_the_build(options, error):
    with pytest.raises(UsageError, match=error):
        recipe_of(**options)


def test_a_card_that_the_library_does_not_know_is_refused():
    with pytest.raises(EngineError, match=r"not know sm_90; it knows .*sm_89.*kind\[tensorrt\]'"):
        plans.build(recipe_of(sm="sm_90"), find_release("kind").steady)


def test_classic_tensorrt_needs_the_card_or_says_how_to_get_it():
    release = find_release("kind")
    with pytest.raises(EngineError, match=r"streamkind\[tensorrt(-rtx)?\]"):
        plans.write_recipe(
            release, "steady", card=named_card("sm_89"), library="tensorrt", size=(64, 48)
        )


def test_a_graph_that_the_recipe_was_not_written_for_is_refused():
    with pytest.raises(EngineError, match="is not the graph of the recipe kind steady"):
        plans.build(recipe_of("steady"), find_release("kind").recompose)


def test_progress_rises_to_one():
    told = []
    plans.build(recipe_of(), find_release("kind").steady, told.append)
    assert len(told) > 50
    assert told == sorted(told)
    assert told[-1] == 1


def test_the_thread_that_builds_is_on_the_card():
    threads = []

    @contextmanager
    def where():
        threads.append(threading.current_thread().name)
        yield

    plans.build(recipe_of(), find_release("kind").steady, where=where)
    assert len(threads) == 1
    assert threads[0].startswith("streamkind-build")


def test_a_build_can_be_interrupted():
    def interrupt(share):
        if share > 0.1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plans.build(recipe_of(), find_release("kind").steady, interrupt)


def test_the_library_message_is_in_the_error():
    recipe = replace(recipe_of("recompose", precision="fp32", size=(640, 480)), workspace_mib=1)
    with pytest.raises(EngineError, match=r"cannot build kind recompose .*: .*; try a smaller"):
        plans.build(recipe, find_release("kind").recompose)


CTRL_C = """
import signal, threading
from streamkind.backends import plans
from streamkind.model.released import find_release
from support.plans import recipe_of

said = []

def log(logger, severity, message):
    said.append(message)
    if len(said) == 1:
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
type(plans.logger_of("tensorrt_rtx")).log = log
try:
    plans.build(recipe_of(), find_release("kind").steady)
except KeyboardInterrupt:
    print("interrupted", len(said) > 0)
"""


def test_ctrl_c_ends_a_build_also_while_tensorrt_reads_the_graph():
    # In a process of its own: a late signal would end the tests.
    tests = Path(__file__).parent
    more = {"PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])}
    done = subprocess.run(
        [sys.executable, "-c", CTRL_C], env=os.environ | more, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "interrupted True\n"), done.stderr
