"""Examines this machine: versions, processor, cards, backends, models."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

from streamkind import __version__
from streamkind.backends import ov_devices, processor
from streamkind.backends.base import BACKENDS, why_not
from streamkind.backends.cache import Cache, default_folder
from streamkind.backends.cards import find_cards
from streamkind.errors import EngineError
from streamkind.model.released import APART, PARTS, releases

PACKAGES = ("numpy", "av", "opencv-python-headless", "openvino")
"""Packages without which streamkind does not run."""
OPTIONAL = ("torch", "tensorrt", "tensorrt-rtx", "pycuda")
"""Packages of the extras."""
CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "neon", "asimd")
"""Instruction sets that make the networks faster, by their names in /proc/cpuinfo."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    name: str
    value: str
    good: bool = True


def examine() -> list[Finding]:
    """Return findings on versions, processor, cards, backends and models."""
    return [*versions(), cpu(), gpus(), *backends(), *openvino(), plans(), *models()]


def versions() -> Iterator[Finding]:
    """Yield the versions of Python and of important packages."""
    yield Finding("streamkind", __version__)
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}")
    for name in PACKAGES + OPTIONAL:
        try:
            yield Finding(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "not installed", good=name in OPTIONAL)


def cpu() -> Finding:
    """Return name, cores and fast instructions of the processor."""
    flags = processor.flags()
    fast = [f for f in CPU_FEATURES if f in flags]
    units = " ".join(fast) or "no vector units"
    return Finding("cpu", f"{processor.name()}, {os.cpu_count()} cores, {units}")


def gpus() -> Finding:
    """Return the NVIDIA cards that nvidia-smi shows."""
    if shutil.which("nvidia-smi") is None:
        return Finding("gpus", "none (nvidia-smi is not installed)")
    told = [f"{card.name}, {card.sm}, driver {card.driver}" for card in find_cards()]
    return Finding("gpus", "; ".join(told) or "none (nvidia-smi shows none)")


def openvino() -> Iterator[Finding]:
    """Yield OpenVINO's devices, with the speeds that `auto` has measured."""
    if why_not("openvino"):
        return
    core = importlib.import_module("streamkind.backends.ov").openvino.Core()
    names = [f"{name} ({ov_devices.full_name(core, name)})" for name in core.available_devices]
    yield Finding("openvino devices", ", ".join(names))
    for key, speeds in ov_devices.read_speeds(ov_devices.speeds_file()).items():
        yield Finding(f"speeds {key[:12]}", ov_devices.tell(speeds))


def backends() -> Iterator[Finding]:
    """Yield the backends that can be used, and why the others cannot."""
    for name in BACKENDS:
        reason = why_not(name)
        yield Finding(f"backend {name}", reason or "usable", good=name != "openvino" or not reason)


def plans() -> Finding:
    """Return the stored TensorRT plans."""
    folder = default_folder()
    try:
        kept = Cache(folder).entries() if folder.is_dir() else []
    except EngineError as error:
        return Finding("plans", str(error), good=False)
    size = sum(entry.size_bytes for entry in kept) / 1e6
    return Finding("plans", f"{len(kept)} in {folder}, {size:.0f} MB")


def models() -> Iterator[Finding]:
    """Yield the released models. Each graph is read, and its digest compared."""
    try:
        found = releases()
    except EngineError as error:
        yield Finding("models", str(error), good=False)
        return
    for name, release in found.items():
        for part in PARTS:
            graph = getattr(release, part)
            try:
                graph.read()
                yield Finding(f"{name} {part}", f"verified, sha256 {graph.sha256[:12]}")
            except EngineError as error:
                absent = name in APART and not graph.path.exists()
                yield Finding(f"{name} {part}", str(error), good=absent)
