"""What streamkind finds on this machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamkind import __version__
from streamkind.backends.base import BACKENDS, why_not
from streamkind.backends.released import PARTS, releases
from streamkind.errors import EngineError

PACKAGES = ("numpy", "av", "opencv-python-headless", "openvino", "torch")
CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "neon", "asimd")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    value: str
    good: bool = True


def examine() -> list[Finding]:
    """Look at versions, processor, cards, backends and models."""
    return [*versions(), cpu(), gpus(), *backends(), *models()]


def versions() -> Iterator[Finding]:
    """Versions of Python and of the packages that matter."""
    yield Finding("streamkind", __version__)
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}")
    for name in PACKAGES:
        try:
            yield Finding(name, importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "not installed", good=name == "torch")


def cpu() -> Finding:
    """The processor: name, cores, and the instructions that make it fast."""
    lines = dict(_cpuinfo())
    flags = set(lines.get("flags", lines.get("Features", "")).split())
    name = lines.get("model name", platform.processor() or platform.machine())
    fast = [f for f in CPU_FEATURES if f in flags]
    return Finding("cpu", f"{name}, {os.cpu_count()} cores, {' '.join(fast) or 'no vector units'}")


def _cpuinfo() -> Iterator[tuple[str, str]]:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, value = line.partition(":")
        yield name.strip(), value.strip()


def gpus() -> Finding:
    """NVIDIA cards, as nvidia-smi tells."""
    if shutil.which("nvidia-smi") is None:
        return Finding("gpus", "none (nvidia-smi is not installed)")
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    result = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
    return Finding("gpus", "; ".join(result.stdout.splitlines()) or "none")


def backends() -> Iterator[Finding]:
    """Which backends can be used, and why the others cannot."""
    for name in BACKENDS:
        reason = why_not(name)
        yield Finding(f"backend {name}", reason or "usable", good=name != "openvino" or not reason)


def models() -> Iterator[Finding]:
    """The released models; each graph is read and its digest compared."""
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
                yield Finding(f"{name} {part}", str(error), good=False)
