"""Finds OpenVINO's devices by name, and chooses the fastest one."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamkind.errors import EngineError, UsageError
from streamkind.platform import cache_folder, replace, writable_by_others

log = logging.getLogger("streamkind.engines")

CPU = "CPU"
"""OpenVINO's name of the CPU."""
NAMES = re.compile(r"cpu|gpu(\.\d+)?|npu", re.IGNORECASE)
"""Pattern of the names of devices: those of OpenVINO, in upper or lower case."""
BETTER = 1.1
"""Speed, as a multiple of the CPU's, from which on `auto` chooses another device. Two measurements
of one device may differ by up to this factor. The published scores were measured on the CPU."""


def find_device(asked: str, available: Sequence[str]) -> str:
    """Return OpenVINO's name of a device. Raises UsageError and EngineError."""
    if not NAMES.fullmatch(asked):
        raise UsageError(
            f"backend 'openvino' runs on auto, cpu, gpu, gpu.N and npu, got device '{asked}'"
        )
    name = asked.upper()
    # The only GPU is called GPU, the first of several GPU.0.
    other = name.removesuffix(".0") if name.endswith(".0") else f"{name}.0"
    for known in (name, other):
        if known in available:
            return known
    raise EngineError(
        f"device '{asked}' does not exist here: OpenVINO finds {', '.join(available)}; "
        "install its driver, or use --device cpu"
    )


def fastest(speeds: Mapping[str, float]) -> str:
    """Return the CPU, or a device that is clearly faster. `speeds` are frames per second."""
    best = max(speeds, key=lambda name: speeds[name])
    return best if speeds[best] > BETTER * speeds[CPU] else CPU


def choose_device(
    available: Sequence[str], measure: Callable[[str], float], key: str, keep: Path
) -> str:
    """Return the device for `auto`: the fastest. Speeds are measured once, and stored by `key`.

    `measure` returns frames per second, or raises RuntimeError or EngineError.
    """
    if set(available) <= {CPU}:
        return CPU
    kept = read_speeds(keep)
    speeds = kept.get(key, {})
    if set(speeds) != set(available):
        speeds = {}
        for name in available:
            try:
                speeds[name] = round(measure(name), 2)
            except (RuntimeError, EngineError) as exc:
                if name == CPU:
                    raise
                speeds[name] = 0.0
                log.warning("OpenVINO's device %s fails and is not used: %s", name, exc)
        log.warning("%s", tell(speeds))
        write_speeds(keep, {**kept, key: speeds})
    return fastest(speeds)


def tell(speeds: Mapping[str, float]) -> str:
    """Return a line with the measured speeds and the chosen device."""
    told = ", ".join(f"{name} {speed:.3g}" for name, speed in speeds.items())
    return f"frames per second of OpenVINO's devices: {told}; auto chooses {fastest(speeds)}"


def speeds_file() -> Path:
    """Return the file in which measured speeds are stored."""
    return cache_folder("openvino") / "speeds.json"


def read_speeds(path: Path) -> dict[str, dict[str, float]]:
    """Return the stored speeds: frames per second of each device, by the key of `choose_device`."""
    try:
        told = json.loads(path.read_bytes())
        return {str(k): {str(d): float(s) for d, s in v.items()} for k, v in told.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def write_speeds(path: Path, speeds: Mapping[str, Mapping[str, float]]) -> None:
    """Store speeds. If the folder cannot be written to, they are measured again next time."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        staged = path.with_suffix(".new")
        staged.write_text(json.dumps(speeds, indent=1), encoding="utf-8")
        replace(staged, path)
    except OSError as exc:
        log.warning("speeds of devices are not stored in %s: %s", path.parent, exc.strerror)


def options_of(core: Any, device: str, precision: str | None) -> dict[str, str]:
    """Return options for a device that is not the CPU: precision, and a cache of compiled graphs.

    Without `precision`, it is float16 if the device has it.
    """
    abilities = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    precision = precision or ("f16" if "FP16" in abilities else "f32")
    options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    folder = cache_folder("openvino") / "compiled"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not writable_by_others(folder):  # compiled graphs are code
            return options | {"CACHE_DIR": str(folder)}
    except OSError:
        pass
    log.warning(
        "OpenVINO compiles for %s at every start, because %s cannot be used as a cache; check that"
        " only you may write to it",
        device,
        folder,
    )
    return options


@contextmanager
def engine_errors(work: str) -> Iterator[None]:
    """Convert the errors of OpenVINO in a `with` block to EngineError. `work` is what it does."""
    try:
        yield
    except RuntimeError as exc:
        raise EngineError(
            f"OpenVINO cannot {work}: {exc}; try a smaller picture, --device cpu or --backend torch"
        ) from exc


def full_name(core: Any, device: str) -> str:
    """Return the product name of a device."""
    try:
        return str(core.get_property(device, "FULL_DEVICE_NAME"))
    except RuntimeError:
        return "unknown"
