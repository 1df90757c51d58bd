"""Render test scenes with known truth: python tools/make_scenes.py FOLDER [--scenes dusk tunnel].

Each scene is a folder with five files. reference.mkv shows the scene well exposed. dark.mkv shows
it as a small sensor records it in the dark. Both are lossless. dark-high.mp4 and dark-low.mp4 are
dark.mkv in H.264, at the quality of dashcams and of surveillance cameras. truth.json has the times
of events, and the area that must stay constant. The light is linear. The sensor adds shot noise and
read noise, and has 8 bits. The pictures are in the wheel of scikit-image: coffee (Rachel Michetti,
CC0) and astronaut (NASA, public domain).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

Light = NDArray[np.float32]
"""Linear light, (H, W, 3); 1 is white in the reference."""
Image = NDArray[np.uint8]
RATE = 25
"""Frames per second."""
FULL_WELL, READ_NOISE = 4000.0, 3.0
"""Electrons of a white pixel, and standard deviation of the read noise in electrons."""
NIGHT = 4.5
"""Number of stops by which a night picture is darker than the reference."""


@dataclass
class Moment:
    """One frame of a scene."""

    reference: Light
    """The well exposed frame without lamps, (H, W, 3)."""
    stops: float = NIGHT
    """Number of stops by which the dark frame is darker than the reference."""
    lamps: Light | None = None
    """Light of lamps, (H, W, 3). It is equal in the reference and in the dark frame."""


@dataclass
class Scene:
    """The frames of a scene, which can be iterated once, and its true values."""

    moments: Iterator[Moment]
    truth: dict[str, Any] = field(default_factory=dict)


def linear(image: Image) -> Light:
    """Convert sRGB code values to linear light."""
    code = image.astype(np.float32) / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def coded(light: Light) -> Image:
    """Convert linear light to 8-bit sRGB code values."""
    light = np.clip(light, 0, 1)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(255 * code + 0.5, np.uint8)


def photo(name: str, size: tuple[int, int], luma: float = 0.42) -> Light:
    """Return a picture of scikit-image in linear light, with `luma` as mean of its code values."""
    light = linear(cv2.resize(getattr(skimage.data, name)(), size, interpolation=cv2.INTER_AREA))
    gains = np.geomspace(0.2, 5, 40)
    means = [cv2.mean(cv2.cvtColor(coded(light * g), cv2.COLOR_RGB2GRAY))[0] / 255 for g in gains]
    return np.float32(np.interp(luma, means, gains)) * light


def disc(size: tuple[int, int], x: float, y: float, radius: float, glow: float = 0.0) -> Light:
    """Return a white disc with a soft edge and a glow around it, (H, W, 3)."""
    columns, rows = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in size))
    distance = np.hypot(columns - x, rows - y)
    light = np.clip(radius + 0.5 - distance, 0, 1)
    if glow:
        light = light + glow * np.exp(-np.maximum(distance - radius, 0) / (0.7 * radius))
    return np.repeat(light[..., None], 3, axis=2).astype(np.float32)


def static(size: tuple[int, int], frames: int) -> Scene:
    """Return a scene in which only the sensor noise changes."""
    light = photo("coffee", size)
    return Scene(Moment(light) for _ in range(frames))


def dusk(size: tuple[int, int], frames: int) -> Scene:
    """Return a scene whose light decreases slowly by three stops."""
    light, stops = photo("coffee", size), np.linspace(2, 5, frames)
    return Scene((Moment(light, s) for s in stops), {"stops": stops.tolist()})


def tunnel(size: tuple[int, int], frames: int) -> Scene:
    """Return a scene of day, a dark tunnel, and day again."""
    enter, leave = frames // 4, 2 * frames // 3
    light = photo("coffee", size)
    moments = (Moment(light, NIGHT if enter <= i < leave else 0.0) for i in range(frames))
    return Scene(moments, {"enter": enter, "leave": leave})


def headlights(size: tuple[int, int], frames: int) -> Scene:
    """Return a still scene. Two lamps pass in its lower part, in the middle third of the time."""
    width, height = size
    light, begin, end = photo("coffee", size), frames // 3, 2 * frames // 3
    radius = height / 14

    def moment(i: int) -> Moment:
        if not begin <= i < end:
            return Moment(light)
        x = -0.2 * width + 1.4 * width * (i - begin) / (end - begin)
        lamps = sum(disc(size, x + d * radius, 0.75 * height, radius, 0.3) for d in (-1.6, 1.6))
        return Moment(light, lamps=lamps)

    background = [0, 0, width, height // 3]
    return Scene(
        (moment(i) for i in range(frames)),
        {"begin": begin, "end": end, "background": background},
    )


def sign(size: tuple[int, int], frames: int) -> Scene:
    """Return a scene with a small bright sign that goes on and off once per second."""
    width, height = size
    light = photo("coffee", size)
    lit = np.zeros_like(light)
    lit[height // 8 : height // 4, width // 2 : width // 2 + width // 8] = (1.0, 0.25, 0.2)
    moments = (Moment(light, lamps=lit if i % RATE < RATE / 2 else None) for i in range(frames))
    return Scene(moments, {"background": [0, height // 2, width, height]})


def switched(size: tuple[int, int], frames: int) -> Scene:
    """Return a room whose lamp is switched on, which adds two stops of light."""
    light, at = photo("astronaut", size), frames // 2
    moments = (Moment(light, 5.0 if i < at else 3.0) for i in range(frames))
    return Scene(moments, {"at": at})


def cut(size: tuple[int, int], frames: int) -> Scene:
    """Return a scene with a cut to another picture of another brightness."""
    one, two, at = photo("coffee", size), photo("astronaut", size), frames // 2
    moments = (Moment(one, 5.0) if i < at else Moment(two, 3.0) for i in range(frames))
    return Scene(moments, {"at": at})


def pan(size: tuple[int, int], frames: int) -> Scene:
    """Return a scene in which the camera turns by four pixels per frame, right and left."""
    width, height = size
    wide = photo("coffee", (width + 128, height + height // 4))
    xs = [abs((4 * i + 128) % 256 - 128) for i in range(frames)]
    moments = (Moment(np.ascontiguousarray(wide[:height, x : x + width])) for x in xs)
    return Scene(moments, {"x": xs})


def ghost(size: tuple[int, int], frames: int) -> Scene:
    """Return a scene in which a bright disc moves over a dark background."""
    width, height = size
    ground, radius = photo("coffee", size, luma=0.25), height / 12
    step = max(1.0, width / max(frames - 1, 1))
    xs = [i * step for i in range(frames)]
    moments = (Moment(ground, lamps=disc(size, x, height / 2, radius)) for x in xs)
    return Scene(moments, {"x": xs, "y": height / 2, "radius": radius})


Render = Callable[[tuple[int, int], int], Scene]
SCENES: dict[str, tuple[Render, float]] = {
    "static": (static, 4),
    "dusk": (dusk, 8),
    "tunnel": (tunnel, 6),
    "headlights": (headlights, 6),
    "sign": (sign, 4),
    "switched": (switched, 4),
    "cut": (cut, 4),
    "pan": (pan, 4),
    "ghost": (ghost, 2),
}
"""The function that renders each scene, and the scene's length in seconds."""


def frames_of(scene: Scene, seed: int) -> Iterator[tuple[Image, Image]]:
    """Yield the reference and the dark frame of each moment, (H, W, 3) uint8 RGB."""
    rng = np.random.default_rng(seed)
    for moment in scene.moments:
        lamps = 0.0 if moment.lamps is None else moment.lamps
        yield (
            coded(moment.reference + lamps),
            sensed(moment.reference * 2.0**-moment.stops + lamps, rng),
        )


def sensed(light: Light, rng: np.random.Generator) -> Image:
    """Return light with the shot noise and read noise of a small sensor, quantised to 8 bits."""
    electrons = np.clip(light, 0, 1.2) * FULL_WELL
    noise = rng.standard_normal(light.shape, np.float32) * np.sqrt(electrons + READ_NOISE**2)
    return coded((electrons + noise) / FULL_WELL)


FILES: dict[str, tuple[int, str, str, dict[str, str]]] = {
    "reference.mkv": (0, "ffv1", "bgr0", {}),
    "dark.mkv": (1, "ffv1", "bgr0", {}),
    "dark-high.mp4": (1, "libx264", "yuv420p", {"crf": "18", "preset": "fast"}),
    "dark-low.mp4": (1, "libx264", "yuv420p", {"crf": "28", "preset": "fast"}),
}
"""Frames of each file (0: reference, 1: dark), its codec, pix_fmt and encoder options."""


def write(name: str, folder: Path, *, size: tuple[int, int], seconds: float, seed: int) -> None:
    """Render a scene, and write its files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    render, _ = SCENES[name]
    scene = render(size, max(2, round(seconds * RATE)))
    with ExitStack() as stack:
        outputs = {}
        for file, (_, codec, pix_fmt, options) in FILES.items():
            container = stack.enter_context(av.open(str(folder / file), "w"))
            stream = container.add_stream(codec, RATE, width=size[0], height=size[1])
            stream.pix_fmt, stream.options = pix_fmt, options
            outputs[file] = container, stream
        for i, pictures in enumerate(frames_of(scene, seed)):
            for file, (container, stream) in outputs.items():
                frame = av.VideoFrame.from_ndarray(pictures[FILES[file][0]], "rgb24")
                frame.pts, frame.time_base = i, Fraction(1, RATE)
                container.mux(stream.encode(frame))
        for container, stream in outputs.values():
            container.mux(stream.encode())
    (folder / "truth.json").write_text(json.dumps({"rate": RATE} | scene.truth) + "\n")


def main() -> None:
    """Read the command line, and render the scenes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--size", default="608x400", help="width x height, even")
    parser.add_argument("--seconds", type=float, help="of each scene, other than its own length")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    for name in args.scenes:
        seconds = args.seconds or SCENES[name][1]
        write(name, args.folder / name, size=(width, height), seconds=seconds, seed=args.seed)
        print(args.folder / name, flush=True)


if __name__ == "__main__":
    main()
