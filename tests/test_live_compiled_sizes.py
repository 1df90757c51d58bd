"""The networks are compiled for a new picture size while cameras run, and no camera waits."""

from __future__ import annotations

import copy
import threading
from contextlib import closing

import numpy as np
import pytest
from loopback.scripted import ScriptedCamera
from support.live import GainBackend, state, wait_for

from streamkind.backends.graph_cache import GraphCache
from streamkind.backends.openvino import SHAPES_KEPT, OpenVINOBackend
from streamkind.engine.engine import Engine
from streamkind.live.compiled_sizes import CompiledSizes
from streamkind.live.config import CameraConfig
from streamkind.live.fleet import LiveFleet
from streamkind.model.released import find_release
from streamkind.video.format import HD

SMALL, LARGE = (64, 48), (160, 128)


class Compiles(GainBackend):
    """Simulates that each size is compiled once. In a second thread, `LARGE` waits for `may`."""

    def __init__(self, may: threading.Event, fails: bool = False) -> None:
        super().__init__()
        self.may, self.fails = may, fails
        self.compiled: set[tuple[int, ...]] = set()
        self.waited: list[tuple[int, ...]] = []
        """Sizes that the engine's own thread compiled, while cameras waited."""

    def for_compiling(self) -> Compiles:
        other = copy.copy(self)
        other.compiled, other.waited = set(), []
        return other

    def take_compiled(self, other: Compiles) -> None:
        assert threading.get_ident() == self.thread
        self.compiled |= other.compiled

    def decompose(self, pixels):
        beside = threading.get_ident() != self.thread
        size = pixels.shape[2:0:-1]
        if size not in self.compiled:
            if beside and size == LARGE:
                assert self.may.wait(120)
                if self.fails:
                    raise RuntimeError("no memory")
            if not beside:
                self.waited.append(size)
            self.compiled.add(size)
        self.thread = threading.get_ident()
        return super().decompose(pixels)


@pytest.mark.parametrize("fails", [False, True])
def test_cameras_that_run_do_not_wait_for_a_new_size(fails):
    may = threading.Event()
    backends = []

    def opened():
        backends.append(Compiles(may, fails))
        return Engine(backends[0])

    with (
        ScriptedCamera(size=SMALL) as runs,
        ScriptedCamera(size=LARGE) as new,
        LiveFleet(opened) as fleet,
    ):
        fleet.put(CameraConfig(name="runs", url=runs.url))
        wait_for(lambda: state(fleet, "runs").frames_out > 3, "the first does not run")
        fleet.put(CameraConfig(name="new", url=new.url))
        wait_for(lambda: state(fleet, "new").frames_in > 3, "the second does not come")
        before = state(fleet, "runs").frames_out
        wait_for(lambda: state(fleet, "runs").frames_out > before + 10, "the first waits")
        assert state(fleet, "new").frames_out == 0
        may.set()
        wait_for(lambda: state(fleet, "new").frames_out > 3, "the second is left waiting")
        assert (LARGE in backends[0].waited) == fails


def test_an_engine_that_does_not_compile_takes_every_size_at_once():
    with closing(CompiledSizes(Engine(GainBackend()))) as ahead:
        assert ahead.has(np.zeros((48, 64, 3), np.uint8))


def test_without_a_second_thread_the_engine_compiles_itself(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with closing(CompiledSizes(Engine(Compiles(threading.Event())))) as ahead:
        assert ahead.has(np.zeros((48, 64, 3), np.uint8))
        assert ahead.has(np.zeros((128, 160, 3), np.uint8))


def test_without_memory_for_a_second_engine_the_engine_compiles_itself(monkeypatch):
    def for_compiling(backend):
        raise MemoryError

    monkeypatch.setattr(Compiles, "for_compiling", for_compiling)
    with closing(CompiledSizes(Engine(Compiles(threading.Event())))) as ahead:
        assert ahead.has(np.zeros((48, 64, 3), np.uint8))


def test_sizes_that_are_taken_over_stay_beside_those_in_use():
    parts = ("decompose", "tell", "steady", "recompose")
    compiled = []
    runs, other = (
        GraphCache(lambda *key: compiled.append(key), len(parts) * SHAPES_KEPT) for _ in "12"
    )
    for size in range(5):
        for part in parts:
            other(part, ((size,),))
        runs.take_compiled(other)
        assert len(other) == 0
    del compiled[:]
    for size in range(5):
        for part in parts:
            runs(part, ((size,),))
    assert compiled == []


def test_the_released_student_is_compiled_beside_whole(monkeypatch):
    """Check that afterwards the thread that serves the cameras compiles nothing."""
    compiled = []
    compile = OpenVINOBackend._compile
    monkeypatch.setattr(
        OpenVINOBackend,
        "_compile",
        lambda self, *key: compiled.append(threading.get_ident()) or compile(self, *key),
    )
    frame = np.full((48, 64, 3), 40, np.uint8)
    with (
        closing(Engine(OpenVINOBackend(find_release("student")), area=32 * 32)) as engine,
        closing(CompiledSizes(engine)) as ahead,
    ):
        wait_for(lambda: ahead.has(frame), "it is never compiled")
        assert compiled and threading.get_ident() not in compiled
        count = len(compiled)
        engine.compile_for(frame[None], HD, skip=True)
        assert len(compiled) == count
        with closing(CompiledSizes(engine)) as again:  # the size is compiled already
            wait_for(lambda: again.has(frame), "it is never ready")
        assert len(compiled) == count


def test_the_size_of_a_single_camera_is_compiled_in_its_thread():
    """Check that the engine's thread compiles the size, because no other camera waits."""
    may = threading.Event()
    backend = []

    def opened():
        backend.append(Compiles(may))
        return Engine(backend[0])

    with ScriptedCamera(size=LARGE) as camera, LiveFleet(opened) as fleet:
        fleet.put(CameraConfig(name="yard", url=camera.url))
        wait_for(lambda: state(fleet).frames_out > 3, "it waits")
    assert backend[0].waited == [LARGE]
