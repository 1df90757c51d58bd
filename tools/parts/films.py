"""Makes films of known truth: short night videos, each of a pair of a dark and a bright picture.

For each pair it writes a folder with dark.mp4, the dark picture as a camera would store it;
reference.png, the picture that its frames should become; and truth.json. A lamp and bright signs of
known colours are drawn into both pictures. Around the lamp, the dark picture is as bright as the
bright one. Each frame has other sensor noise. dark.mp4 is H.264 in 4:2:0 with 8 bits. Sizes and
quantisers alternate from pair to pair. Every fifth film imitates an infrared camera: it is gray,
but coded with chroma planes.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from streamkind.model.data import Pair
from streamkind.model.degrade import Image, sensor_noise
from streamkind.video.format import HD_ROWS

FRAMES, RATE = 12, 15
"""Number of frames of a film, and frames per second."""
SIZES = (608, 400), (960, 640), (1280, 720)
"""Width and height of the films, in pixels."""
QUANTISERS = 23, 28, 33
"""CRF of x264, like the quality of a good, a usual and a poor camera. Chosen by hand."""
SIGNS = (200, 40, 40), (40, 170, 60), (50, 90, 210), (220, 190, 60), (225, 225, 225)
"""RGB of signs: red, green, blue, yellow and white."""
LAMP = 250, 244, 225
"""RGB of the lamp."""
INFRARED = 5
"""The last of every `INFRARED` films is gray."""


def pool(size: tuple[int, int], place: tuple[float, float]) -> NDArray[np.float32]:
    """Return the light of a lamp at each pixel, 0 to 1, (H, W, 1)."""
    width, height = size
    x, y = np.meshgrid(np.arange(width) / width, np.arange(height) / height)
    distance = np.hypot((x - place[0]) / 0.28, (y - place[1]) / 0.22)
    return np.exp(-np.maximum(distance - 0.6, 0) * 4).astype(np.float32)[..., None]


def shining(
    size: tuple[int, int], place: tuple[float, float], rng: np.random.Generator
) -> tuple[Image, NDArray[np.float32]]:
    """Return signs and a lamp above a place, (H, W, 3), and the mask of their pixels, (H, W, 1)."""
    width, height = size
    picture, mask = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
    side = height // 9
    for color in SIGNS:
        x, y = int(rng.integers(width - 2 * side)), int(rng.integers(height - side))
        for plane, value in ((picture, color), (mask, 1.0)):
            cv2.rectangle(plane, (x, y), (x + 2 * side, y + side), value, -1)
        text = (x + side // 4, y + 3 * side // 4)
        dark = tuple(c // 4 for c in color)
        cv2.putText(picture, "A7", text, cv2.FONT_HERSHEY_DUPLEX, side / 36, dark, side // 18 + 1)
    lamp = int(place[0] * width), int((place[1] - 0.25) * height)
    for plane, value in ((picture, LAMP), (mask, 1.0)):
        cv2.circle(plane, lamp, height // 40, value, -1)
    return picture, mask[..., None]


def night(pair: Pair, size: tuple[int, int], seed: int) -> tuple[Image, Image]:
    """Return the dark picture and the truth of a pair at a size, with lamp and signs."""
    rng = np.random.default_rng(seed)
    larger = pair.low.shape[1] > size[0]
    kind = cv2.INTER_AREA if larger else cv2.INTER_CUBIC
    low, high = (
        cv2.resize(p, size, interpolation=kind).astype(np.float32) for p in (pair.low, pair.high)
    )
    place = float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.3, 0.8))
    low += pool(size, place) * (high - low)
    picture, mask = shining(size, place, rng)
    dark, truth = (p + mask * (picture - p) for p in (low, high))
    return coded(dark), coded(truth)


def coded(light: NDArray[np.float32]) -> Image:
    """Round levels to 8 bits."""
    return np.clip(light + 0.5, 0, 255).astype(np.uint8)


def gray(image: Image) -> Image:
    """Return a picture without colour, as an infrared camera records it, (H, W, 3)."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def film(dark: Image, path: Path, crf: int, *, infrared: bool, seed: int) -> None:
    """Write a film that repeats a dark picture, with other noise in each frame."""
    rng = np.random.default_rng(seed)
    height, width = dark.shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", RATE, width=width, height=height)
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(crf), "preset": "veryfast"}
        if height >= HD_ROWS:  # FFmpeg would write BT.601, but readers assume BT.709
            stream.options |= {"x264-params": "colormatrix=bt709"}
        for i in range(FRAMES):
            seen = sensor_noise(dark, rng)
            frame = av.VideoFrame.from_ndarray(gray(seen) if infrared else seen, "rgb24")
            if height >= HD_ROWS:
                frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709")
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write(pair: Pair, folder: Path, i: int) -> None:
    """Write the i-th film, its truth and its description into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    size, crf = SIZES[i % len(SIZES)], QUANTISERS[(i + i // 3) % len(QUANTISERS)]
    infrared = i % INFRARED == INFRARED - 1
    dark, truth = night(pair, size, i)
    film(dark, folder / "dark.mp4", crf, infrared=infrared, seed=i)
    cv2.imwrite(str(folder / "reference.png"), (gray(truth) if infrared else truth)[..., ::-1])
    told = {"crf": crf, "infrared": infrared, "size": size}
    (folder / "truth.json").write_text(json.dumps(told) + "\n")
