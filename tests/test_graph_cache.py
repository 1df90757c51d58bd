"""The cache of compiled graphs: it keeps sizes that come again, within a bound of memory."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from streamkind.backends import graph_cache
from streamkind.backends.graph_cache import GraphCache, memory_left
from streamkind.backends.openvino import SHAPES_KEPT, OpenVINOBackend
from streamkind.model.released import find_release

PARTS = ("decompose", "tell", "steady", "recompose")


MOST = len(PARTS) * SHAPES_KEPT


def rounds(sizes, count):
    """Request all sizes `count` times; return the compilations of each round, and the cache."""
    compiled = []
    cache = GraphCache(lambda part, shapes: compiled.append((part, shapes)), MOST)
    each = []
    for _ in range(count):
        before = len(compiled)
        for size in sizes:
            for part in PARTS:
                cache(part, ((1, *size, 3),))
        each.append(len(compiled) - before)
    return each, cache


@pytest.mark.parametrize("sizes", [1, 2, 3, 6, 20])
def test_sizes_that_come_again_stay_compiled(sizes):
    each, cache = rounds([(16 * i, 16) for i in range(sizes)], 5)
    assert each[0] == sizes * len(PARTS) and each[2:] == [0, 0, 0]
    assert len(cache) == sizes * len(PARTS)


def test_sizes_that_come_once_do_not_stay():
    _, cache = rounds([(16 * i, 16) for i in range(500)], 1)
    assert len(cache) == MOST


def test_no_more_than_the_memory_allows_are_kept_and_that_is_reported_once(monkeypatch, caplog):
    monkeypatch.setattr(graph_cache, "memory_left", lambda: 0.1)
    each, cache = rounds([(16 * i, 16) for i in range(6)], 4)
    assert len(cache) == MOST and min(each) > 0
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "8 compiled graphs" in caplog.text and "fewer picture sizes" in caplog.text


def test_the_memory_that_is_left_is_a_share():
    assert 0 < memory_left() <= 1


def test_files_that_a_container_keeps_in_memory_count_as_free(monkeypatch, tmp_path):
    monkeypatch.setattr(graph_cache, "MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(graph_cache, "CONTAINER", tmp_path)
    told = {
        "meminfo": "MemTotal: 8000 kB\nMemAvailable: 6000 kB\nHugePages_Total: 0\n",
        "memory.max": "1000\n",
        "memory.current": "990\n",
        "memory.stat": "anon 390\nfile 600\nshmem 100\ninactive_file 300\nactive_file 200\n",
    }
    for name, text in told.items():
        (tmp_path / name).write_text(text)
    assert memory_left() == pytest.approx(0.51)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_left() == 0.75


def test_six_sizes_through_the_released_student_are_compiled_once_for_good(monkeypatch):
    compiled = []
    compile = OpenVINOBackend._compile
    monkeypatch.setattr(
        OpenVINOBackend, "_compile", lambda self, *key: compiled.append(key) or compile(self, *key)
    )
    sizes = [(32, 32), (32, 48), (48, 32), (48, 48), (48, 64), (64, 48)]
    with closing(OpenVINOBackend(find_release("student"))) as engine:
        counts = []
        for _ in range(4):
            for height, width in sizes:
                layers = engine.decompose(np.full((1, height, width, 3), 40, np.uint8))
                assert engine.recompose(layers, np.ones(1)).shape == (1, height, width, 3)
            counts.append(len(compiled))
    assert counts[0] == 3 * len(sizes) and counts[1] == counts[2] == counts[3]
