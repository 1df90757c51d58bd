"""The precision and the number of threads with which a processor computes."""

import os

import pytest

from streamkind.backends import processor

PLAIN = ["FP32", "INT8"]
EMULATED = ["BF16", *PLAIN]


@pytest.mark.parametrize(
    "abilities, units, precision",
    [
        (EMULATED, {"avx512f", "avx512_bf16"}, "bf16"),
        (EMULATED, {"avx512f", "amx_bf16"}, "bf16"),
        (EMULATED, {"avx512f", "avx512_vnni"}, "f32"),
        (EMULATED, {"avx2", "avx_ne_convert"}, "f32"),
        (PLAIN, {"avx2"}, "f32"),
        (PLAIN, {"avx512f", "avx512_bf16"}, "f32"),
        (PLAIN, {"neon", "bf16"}, "f32"),
        (EMULATED, set(), "bf16"),
        (PLAIN, set(), "f32"),
    ],
)
def test_bf16_is_taken_only_where_the_processor_multiplies_in_it(abilities, units, precision):
    assert processor.fastest_precision(abilities, units) == precision


def test_a_processor_without_bf16_computes_in_float32(monkeypatch):
    openvino = pytest.importorskip("streamkind.backends.openvino")
    from streamkind.model.released import find_release

    monkeypatch.setattr(openvino, "flags", lambda: {"avx2", "avx512f"})
    engine = openvino.OpenVINOBackend(find_release("student"))
    assert engine.description.endswith(", f32")
    assert engine._options["INFERENCE_PRECISION_HINT"] == "f32"
    engine.close()


@pytest.mark.parametrize("told, threads", [("3", 3), ("", None), ("0", None), ("many", None)])
def test_threads_are_those_that_the_environment_allows(monkeypatch, told, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert processor.threads() == (threads or len(os.sched_getaffinity(0)))


def test_the_processor_has_a_name():
    assert processor.name()


@pytest.mark.parametrize(
    ("units", "note"),
    [
        ({"avx2"}, "without bf16"),
        ({"avx2", "avx512_bf16"}, "with AVX512_BF16"),
        ({"avx512_bf16", "amx_bf16"}, "with AMX_BF16"),
    ],
)
def test_the_note_says_what_multiplies_in_bf16(monkeypatch, units, note):
    monkeypatch.setattr(processor, "flags", lambda: units)
    assert processor.bf16_note() == note
