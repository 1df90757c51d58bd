"""Measures the cost of INT8. This part runs only if it is named.

Quantises KinD's networks for OpenVINO by NNCF, after training. They are calibrated on dark pictures
of our485 and on frames of real clips. INT8 is compared with bf16: scores on eval15, speed, and
differences of pictures. Needs `pip install 'streamkind[quantize]'`.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from parts.record import Measured, Table
from streamkind.backends.base import Layers
from streamkind.backends.openvino import OpenVINOBackend
from streamkind.backends.ov import openvino as ov
from streamkind.engine.engine import Engine
from streamkind.light.exposure import STILL_TARGET, auto_ratio
from streamkind.model.data import load_pairs, split
from streamkind.model.released import find_release, pad
from streamkind.model.validation import mean_matched, score
from streamkind.video.frames import Pixels
from streamkind.video.source import open_source

PAIRS = 40
"""About the number of pairs of our485 whose dark pictures are used for calibration."""
HEIGHT, WIDTH = 384, 592
"""Size to which all calibration pictures are cut, in pixels."""
FOUR = np.array([4], np.float32)
"""Ratio of the pictures that are compared."""


def measure(data: Path, folder: Path) -> Measured:
    """Quantise the networks, and compare INT8 with bf16."""
    release = find_release("kind")
    plain, small = OpenVINOBackend(release), OpenVINOBackend(release)
    clips = {path.stem: frame_of(path) for path in sorted((data / "video").glob("*.mp4"))}
    train, _ = split(load_pairs(data / "lol" / "our485"), 24, 0)
    dark = [cut(pair.low) for pair in train[:: len(train) // PAIRS]]
    quantise(plain, small, dark + [cut(frame) for frame in clips.values()])
    gain = statistics.mean(relit(small, p).mean() / relit(plain, p).mean() for p in dark[:24])
    times = [(seconds(plain, dark[0]), seconds(small, dark[0])) for _ in range(5)]
    faster = {"bf16": 1.0, "INT8": statistics.median(a / b for a, b in times)}
    rows = [
        [name, faster[name], *scores(backend, share, data / "lol" / "eval15")]
        for name, backend, share in (("bf16", plain, 1.0), ("INT8", small, gain))
    ]
    heads = {"times as fast": ".2f", "blind, dB": ".2f", "scaled to the truth's mean, dB": ".2f"}
    far = [
        [name, float(np.abs(relit(plain, frame).astype(int) - relit(small, frame)).mean())]
        for name, frame in clips.items()
    ]
    tables = {
        "cost": Table({"nets of `kind`": "", **heads}, rows),
        "pictures": Table({"frame of": "", "differs by levels of 255": ".1f"}, far),
    }
    return Measured(tables, models=("kind",))


def quantise(plain: OpenVINOBackend, small: OpenVINOBackend, pictures: list[Pixels]) -> None:
    """Replace the networks of `small` by quantised ones. The graph of the statistics is kept."""
    import nncf  # type: ignore[import-not-found,unused-ignore]

    layers = [plain.decompose(picture[None]) for picture in pictures]
    inputs = {
        "decompose": [{"frames": picture[None]} for picture in pictures],
        "recompose": [fed(found, 2.0 ** (1 + i % 3)) for i, found in enumerate(layers)],
    }
    for part, data in inputs.items():
        model: ov.Model = small._models[part]
        preset = nncf.QuantizationPreset.MIXED
        dataset = nncf.Dataset(data)
        small._models[part] = nncf.quantize(model, dataset, preset=preset, subset_size=len(data))


def fed(layers: Layers, ratio: float) -> dict[str, NDArray[np.float32]]:
    """Return the inputs of a recompose graph, by name."""
    return {
        "reflectance": layers.reflectance,
        "illumination": layers.illumination,
        "ratio": np.array([ratio], np.float32),
    }


def frame_of(path: Path) -> Pixels:
    """Return the frame of a clip at 1 s, cut to its centre of 1280x720 if it is larger."""
    with open_source(path, start=1, duration=0.2) as source:
        frame = next(iter(source)).data
    y, x = max(frame.shape[0] - 720, 0) // 2, max(frame.shape[1] - 1280, 0) // 2
    return np.ascontiguousarray(frame[y : y + 720, x : x + 1280])


def cut(picture: Pixels) -> Pixels:
    """Cut a picture to `HEIGHT` x `WIDTH`. A smaller one is enlarged first."""
    scale = max(HEIGHT / picture.shape[0], WIDTH / picture.shape[1], 1)
    picture = cv2.resize(picture, None, fx=scale, fy=scale) if scale > 1 else picture
    return np.ascontiguousarray(picture[:HEIGHT, :WIDTH])


def relit(engine: OpenVINOBackend, picture: Pixels) -> Pixels:
    """Enhance a picture with a ratio of 4; return it with its padding."""
    one: Pixels = engine.recompose(engine.decompose(pad(picture[None])), FOUR)[0]
    return one


def scores(engine: OpenVINOBackend, gain: float, folder: Path) -> tuple[float, float]:
    """Return the mean PSNR on pairs in dB: blind, and scaled to the truth's mean.

    `gain` is the factor by which pictures of this engine are brighter than with bf16.
    """
    found = []
    for pair in load_pairs(folder):
        kind = Engine(engine)
        layers = kind.decompose(pair.low[None])
        told = layers.statistics
        told = replace(told, curve=np.clip(told.curve * np.float32(gain), 0, 1))
        clear = kind.recompose(layers, auto_ratio(told, STILL_TARGET, still=True))[0]
        matched = mean_matched(clear, pair.high)
        found.append((score(clear, pair.high).psnr, score(matched, pair.high).psnr))
    return statistics.mean(b for b, _ in found), statistics.mean(m for _, m in found)


def seconds(engine: OpenVINOBackend, picture: Pixels) -> float:
    """Return the time of the networks for one picture in seconds, after a run that is not timed."""
    relit(engine, picture)
    began = time.perf_counter()
    relit(engine, picture)
    return time.perf_counter() - began
