"""The instruction sets of the processor, and the number of threads to use."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Iterator
from pathlib import Path

from streamkind.platform import cores

BF16_UNITS = {"avx512_bf16", "amx_bf16"}
"""Instruction sets that multiply in bf16. AVX-NE-CONVERT only converts it, so it is not one."""


def cpuinfo() -> dict[str, str]:
    """Return /proc/cpuinfo of the last core; an empty dictionary on other systems."""
    return dict(_lines())


def flags() -> set[str]:
    """Return the instruction sets of the processor; an empty set if they are not known."""
    told = cpuinfo()
    return set(told.get("flags", told.get("Features", "")).split())


def fastest_precision(abilities: Collection[str], units: Collection[str]) -> str:
    """Return "bf16" or "f32", by the `abilities` of OpenVINO and the instruction sets `units`.

    OpenVINO also offers bf16 on processors where it must convert it to float32 for every
    multiplication.
    """
    native = not units or bool(BF16_UNITS & set(units))
    return "bf16" if "BF16" in abilities and native else "f32"


def threads() -> int:
    """Return the number of threads for networks: OMP_NUM_THREADS, or one for each core."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told):
        return int(told)
    return cores()


def name() -> str:
    """Return the name of the processor."""
    return cpuinfo().get("model name", platform.processor() or platform.machine())


def bf16_note() -> str:
    """Return "with AMX_BF16", "with AVX512_BF16" or "without bf16"."""
    found = sorted(BF16_UNITS & flags())
    return f"with {found[0].upper()}" if found else "without bf16"


def _lines() -> Iterator[tuple[str, str]]:
    path = Path("/proc/cpuinfo")
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        key, _, value = line.partition(":")
        yield key.strip(), value.strip()
