"""The OpenVINO backend: large pictures are computed in strips."""

import gc
import os
import weakref
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest

from streamkind.backends import openvino
from streamkind.backends.openvino import OpenVINOBackend, strips
from streamkind.backends.parity import fixed_frames
from streamkind.errors import EngineError
from streamkind.model.released import find_release

HALF = np.array([0.5, 0.5], np.float32)


@pytest.mark.parametrize("halo", [32, 64, 80])
@pytest.mark.parametrize("most", [320, 640, 1088])
@pytest.mark.parametrize("height", [16, 320, 336, 656, 720, 1088, 2160, 4320])
def test_strips_cover_every_row_once_and_see_beside_it(height, most, halo):
    spans = strips(height, most, halo)
    assert [own.start for _, own in spans] == [0, *(own.stop for _, own in spans[:-1])]
    assert spans[-1][1].stop == height
    assert len({seen.stop - seen.start for seen, _ in spans}) == 1  # one compiled shape
    for seen, own in spans:
        assert 0 <= seen.start <= own.start < own.stop <= seen.stop <= height
        assert seen.stop - seen.start <= most
        assert seen.start % 16 == 0
        assert seen.start == 0 or own.start - seen.start >= halo
        assert seen.stop == height or seen.stop - own.stop >= halo
    assert all(before.start < after.start for (before, _), (after, _) in pairwise(spans))


def every_output(release):
    first, second = (frame[None] for frame in fixed_frames(96, 768)[:2])
    with closing(OpenVINOBackend(release, precision="f32")) as engine:
        before = engine.decompose(first)
        layers = engine.steady(engine.decompose(second), before, HALF)
        clear = engine.recompose(layers, np.array([4], np.float32))
    told = layers.statistics
    return layers.reflectance, layers.illumination, told.curve, told.thumbnail, clear.astype(float)


@pytest.mark.parametrize("model", ["kind", "lite", "student"])
def test_strips_make_the_picture_that_the_whole_makes(monkeypatch, model):
    release = find_release(model)
    whole = every_output(release)
    compiled = []
    compile_ = OpenVINOBackend._compile
    monkeypatch.setattr(
        OpenVINOBackend, "_compile", lambda *a: compiled.append(a[1:]) or compile_(*a)
    )
    monkeypatch.setattr(
        openvino, "strips", lambda height, most, halo: strips(height, 4 * halo, halo)
    )
    for found, expected in zip(every_output(release), whole, strict=True):
        assert np.abs(found - expected).max() <= (1 if expected.max() > 1 else 1e-5)
    rows = {part: shapes[0][1 if part == "decompose" else 2] for part, shapes, _ in compiled}
    assert rows["decompose"] < 200 and rows["steady"] < 200 and rows["recompose"] < 400


@pytest.mark.parametrize(
    "model, told, size, count",
    [
        ("student", None, (272, 480), 1),
        ("student", None, (272, 496), 2),
        ("student", "1", (272, 496), 1),
        ("kind", None, (272, 480), 2),
        ("kind", "1", (272, 480), 1),
    ],
)
def test_a_small_net_leaves_half_of_two_cores_to_decoder_and_encoder(
    monkeypatch, model, told, size, count
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    cores = len(os.sched_getaffinity(0))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(2))
    with closing(OpenVINOBackend(find_release(model))) as engine:
        request = engine._request("steady", ((1, 3, *size), (1, 1, *size)) * 2 + ((1, 2),))
        found = request.get_compiled_model().get_property("INFERENCE_NUM_THREADS")
    assert found == 1 if count == 1 else found in (0, cores)


class LostDevice:
    """An infer request of a device that fails after its graph was compiled."""

    model_outputs = ()

    def set_input_tensor(self, place, tensor):
        pass

    def infer(self):
        raise RuntimeError("[GPU] CL_OUT_OF_RESOURCES")


def test_a_device_that_fails_while_it_runs_is_told_in_one_line(monkeypatch):
    with closing(OpenVINOBackend(find_release("student"))) as engine:
        monkeypatch.setattr(engine._request, "_compile", lambda *key: LostDevice())
        with pytest.raises(EngineError, match=r"cannot run decompose for .*RESOURCES; try a small"):
            engine.decompose(fixed_frames(96, 96)[0][None])


def test_a_closed_engine_frees_its_graphs_at_once():
    """Check this without the garbage collector, because a program may open an engine per file."""
    gc.collect()
    gc.disable()
    try:
        engine = OpenVINOBackend(find_release("student"))
        engine.decompose(fixed_frames(96, 96)[0][None])
        graphs = [weakref.ref(model) for model in engine._models.values()]
        engine.close()
        engine.close()
        assert len(graphs) > 3 and not any(graph() for graph in graphs)
    finally:
        gc.enable()
