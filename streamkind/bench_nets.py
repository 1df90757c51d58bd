"""Nets from picture to picture: KinD by other runtimes, and any other, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from streamkind.backends.base import BackendName, why_not
from streamkind.backends.released import Release, find_release
from streamkind.engine import pad
from streamkind.errors import EngineError, UsageError
from streamkind.profiles import open_engine
from streamkind.video.frames import Pixels

Picture = Callable[[Pixels], Pixels]
"""(H, W, 3) uint8 RGB -> the same."""


def pictures(others: Sequence[Path], baselines: bool) -> Iterator[tuple[str, Picture]]:
    """Yield nets that take a picture to a picture: KinD in float32, and any others."""
    release = find_release("kind")
    if baselines and why_not("openvino") is None:
        yield "kind, OpenVINO", by_engine("openvino")
    if baselines and find_spec("onnxruntime"):
        yield "kind, ONNX Runtime float32", by_onnxruntime(release)
    if baselines and why_not("torch") is None:
        yield "kind, PyTorch float32", by_engine("torch")
    for path in others:
        yield path.stem, by_openvino(path)


def by_engine(backend: BackendName) -> Picture:
    """KinD by one of the backends, on the processor."""
    engine = open_engine("kind", backend=backend, device="cpu")
    ratio = np.array([4.0], np.float32)

    def enhance(picture: Pixels) -> Pixels:
        return np.asarray(engine.recompose(engine.decompose(picture[None]), ratio)[0])

    return enhance


def by_onnxruntime(release: Release) -> Picture:
    """KinD's graphs by ONNX Runtime, as they are."""
    import onnxruntime  # type: ignore[import-untyped,unused-ignore]

    decompose, recompose = (
        onnxruntime.InferenceSession(part.read(), providers=["CPUExecutionProvider"])
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


def by_openvino(path: Path) -> Picture:
    """Any net from picture to picture, RGB: uint8, or float in [0, 1]; channels first or last."""
    import openvino as ov

    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected an ONNX net from picture to picture")
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
    floats = "f" in model.inputs[0].get_element_type().get_type_name()
    compiled: dict[tuple[int, ...], Any] = {}

    def enhance(picture: Pixels) -> Pixels:
        pixels: Any = pad(picture[None])
        pixels = pixels.transpose(0, 3, 1, 2) if first else pixels
        pixels = np.ascontiguousarray(pixels / np.float32(255) if floats else pixels)
        if pixels.shape not in compiled:
            net = model.clone()
            net.reshape(list(pixels.shape))
            compiled[pixels.shape] = ov.Core().compile_model(net, "CPU").create_infer_request()
        made = np.asarray(next(iter(compiled[pixels.shape].infer(pixels).values())))[0]
        made = made.transpose(1, 2, 0) if made.shape[0] == 3 else made
        height, width = picture.shape[:2]
        made = made[:height, :width]
        return np.asarray(np.clip(made * 255 + 0.5, 0, 255) if floats else made, np.uint8)

    return enhance


def quality(enhance: Picture, pairs: Path) -> dict[str, float]:
    """Mean PSNR in dB and SSIM of dark pictures enhanced blind, beside the true ones.

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
