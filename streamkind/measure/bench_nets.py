"""Networks from picture to picture for comparison: KinD by other runtimes, and any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from streamkind.backends.base import BackendName, why_not
from streamkind.backends.processor import fastest_precision, flags, threads
from streamkind.engine.profiles import PROFILES, open_engine
from streamkind.errors import EngineError, UsageError
from streamkind.model.released import Release, find_release, pad
from streamkind.video.frames import Pixels

Enhance = Callable[[Pixels], Pixels]
"""Takes and returns a picture, (H, W, 3) uint8 RGB."""


@dataclass
class Nets:
    """Networks from picture to picture, and the names of those that cannot be run here."""

    found: dict[str, Enhance] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Reason and remedy, by the name of the network."""


def baselines() -> Nets:
    """Return KinD's graphs by OpenVINO, ONNX Runtime and PyTorch, on the CPU."""
    nets = Nets()
    for backend, name in (("openvino", "kind, OpenVINO"), ("torch", "kind, PyTorch float32")):
        if reason := why_not(backend):
            nets.missing[name] = reason
        else:
            nets.found[name] = by_engine(backend)  # type: ignore[arg-type]
    if find_spec("onnxruntime"):
        nets.found["kind, ONNX Runtime float32"] = by_onnxruntime(find_release("kind"))
    else:
        reason = "onnxruntime is not installed: pip install 'streamkind[train]'"
        nets.missing["kind, ONNX Runtime float32"] = reason
    return nets


def named(paths: Sequence[Path]) -> dict[str, Enhance]:
    """Return other networks by the names of their files, or by their paths if names are equal."""
    stems = [path.stem for path in paths]
    alone = {stem for stem in stems if stems.count(stem) == 1 and stem not in PROFILES}
    return {p.stem if p.stem in alone else str(p): by_openvino(p) for p in paths}


def by_engine(backend: BackendName) -> Enhance:
    """Return KinD by one of the backends, on the CPU."""
    engine = open_engine("kind", backend=backend, device="cpu")
    ratio = np.array([4.0], np.float32)

    def enhance(picture: Pixels) -> Pixels:
        return np.asarray(engine.recompose(engine.decompose(picture[None]), ratio)[0])

    return enhance


def by_onnxruntime(release: Release) -> Enhance:
    """Return KinD's graphs by ONNX Runtime, without changes."""
    import onnxruntime  # type: ignore[import-untyped,unused-ignore]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    decompose, recompose = (
        onnxruntime.InferenceSession(part.read(), options, providers=["CPUExecutionProvider"])
        for part in (release.decompose, release.recompose)
    )

    def enhance(picture: Pixels) -> Pixels:
        reflectance, illumination = decompose.run(
            ["reflectance", "illumination"], {"frames": pad(picture[None])}
        )
        inputs = {"reflectance": reflectance, "illumination": illumination}
        (frames,) = recompose.run(None, inputs | {"ratio": np.array([4.0], np.float32)})
        height, width = picture.shape[:2]
        return np.asarray(frames[0, :height, :width], np.uint8)

    return enhance


def by_openvino(path: Path) -> Enhance:
    """Open any network from RGB to RGB: uint8, or float in [0, 1]; channels first or last.

    It runs in the precision of KinD. Raises UsageError and EngineError.
    """
    from streamkind.backends.ov import openvino as ov

    model, first = read_net(path)
    floats = "f" in model.inputs[0].get_element_type().get_type_name()
    core = ov.Core()
    requests: dict[tuple[int, ...], Any] = {}
    abilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    options = {
        "INFERENCE_PRECISION_HINT": fastest_precision(abilities, flags()),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads(),
    }

    def run(pixels: Any) -> Any:
        if pixels.shape not in requests:
            net = model.clone()
            net.reshape(list(pixels.shape))
            requests[pixels.shape] = core.compile_model(net, "CPU", options).create_infer_request()
        return np.asarray(next(iter(requests[pixels.shape].infer(pixels).values())))

    def enhance(picture: Pixels) -> Pixels:
        pixels: Any = pad(picture[None])
        shape = pixels.shape[1:]
        pixels = pixels.transpose(0, 3, 1, 2) if first else pixels
        dtype = model.inputs[0].get_element_type().to_dtype()
        pixels = np.ascontiguousarray(pixels / np.float32(255) if floats else pixels, dtype)
        try:
            made = run(pixels)
        except RuntimeError as exc:
            raise EngineError(f"{path}: cannot take a picture of {pixels.shape}: {exc}") from exc
        made = made[0].transpose(1, 2, 0) if made.ndim == 4 and made.shape[1] == 3 else made[0]
        if made.shape != shape:
            raise UsageError(
                f"{path}: expected a picture as large as its input, {shape}, got {made.shape}"
            )
        made = made[: picture.shape[0], : picture.shape[1]]
        scaled = np.clip(made * 255 + 0.5, 0, 255) if made.dtype.kind == "f" else made
        return np.asarray(scaled, np.uint8)

    return enhance


def read_net(path: Path) -> tuple[Any, bool]:
    """Read an ONNX network from picture to picture. Return it, and whether channels come first."""
    from streamkind.backends.ov import openvino as ov

    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected an ONNX network from picture to picture")
    try:
        model = ov.Core().read_model(path)
    except RuntimeError as exc:
        raise EngineError(f"{path}: OpenVINO cannot read it: {exc}") from exc
    shape = model.inputs[0].get_partial_shape() if len(model.inputs) == 1 else []
    first = len(shape) == 4 and str(shape[1]) == "3"
    if len(shape) != 4 or not (first or str(shape[3]) == "3"):
        raise UsageError(
            f"{path}: expected one input of shape (N, 3, H, W) or (N, H, W, 3), got "
            f"{[str(i.get_partial_shape()) for i in model.inputs]}"
        )
    return model, first


def quality(enhance: Enhance, pairs: Path) -> dict[str, float]:
    """Return mean PSNR, in dB, and SSIM of pictures enhanced with automatic ratios.

    `pairs` has folders low and high with pictures of the same names. Raises UsageError.
    """
    try:
        from streamkind.model.data import load_pairs
        from streamkind.model.validation import mean_scores, score
    except ModuleNotFoundError as exc:
        raise UsageError(
            f"scoring needs '{exc.name}': pip install 'streamkind[train]', or leave --pairs out"
        ) from exc
    if not (pairs / "low").is_dir():
        raise UsageError(f"{pairs}: expected a folder with low/ and high/")
    found = mean_scores([score(enhance(p.low), p.high) for p in load_pairs(pairs)])
    return {"psnr": found.psnr, "ssim": found.ssim}
