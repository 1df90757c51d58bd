"""Render the shipped clip: python tools/make_sample.py [--bright reference.mp4].

The scene is a street of textured rectangles, in metres (x right, y up, z ahead). The camera is in a
slow car. Every frame is rendered twice in linear light: evenly lit (the reference), and lit by the
lamps of the street and of cars (the night). A camera model adds glare, shot noise, read noise and
the BT.709 curve to the night. The result is encoded as H.264, with sound as AAC.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from street.paint import Array
from street.space import Camera, gamma, render
from street.things import car, pedestrian, scene

WIDTH, HEIGHT, RATE, FRAMES, SAMPLE_RATE = 640, 360, 24, 96, 48_000
"""Width and height in pixels, frames per second, number of frames, sound samples per second."""
SAMPLE = Path(__file__).parent.parent / "samples" / "night_street.mp4"
EXPOSURE = 0.038
"""Factor for the light of the night scene before the camera model. Chosen by hand."""


def expose(dark: Array, rng: np.random.Generator) -> Array:
    """Apply the camera model to linear light: glare, soft clipping, noise and the BT.709 curve.

    Returns code values from 0 to 1, (H, W, 3).
    """
    dark = dark * EXPOSURE
    lamps = np.maximum(dark - 0.5, 0)
    dark = dark + 0.14 * cv2.GaussianBlur(lamps, None, 4) + 0.12 * cv2.GaussianBlur(lamps, None, 22)
    dark = 1 - np.exp(-dark * (1 + 0.3 * dark))
    sigma = np.sqrt(dark * 0.0007 + 0.0013**2)
    grain = cv2.GaussianBlur(rng.standard_normal(dark.shape).astype(np.float32), None, 0.55) * 1.6
    return gamma(dark + sigma * grain)


def pictures() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield reference and night picture of each frame, (H, W, 3) uint8 RGB."""
    quads, rng = scene(), np.random.default_rng(1)
    for i in range(FRAMES):
        seconds = i / RATE
        traffic_z = 58 - 8.5 * seconds
        moving = car(-2.2, traffic_z, (70, 84, 110), oncoming=True)
        moving += pedestrian(1.15 * seconds - 0.4, seconds)
        camera = Camera(1.2 * seconds, np.radians(2.5 + 0.7 * seconds), 2.0)
        day, dark = (
            cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            for picture in render(quads + moving, camera, traffic_z)
        )
        yield tuple(np.uint8(np.round(code * 255)) for code in (gamma(day), expose(dark, rng)))


def sound() -> Array:
    """Return the sound of soft wind and of a car that comes nearer, (2, samples) float32."""
    count = SAMPLE_RATE * FRAMES // RATE
    rng, seconds = np.random.default_rng(2), np.arange(count) / SAMPLE_RATE
    frequency = np.fft.rfftfreq(count, 1 / SAMPLE_RATE) + 1

    def band(low: float, high: float) -> Array:
        shape = 1 / (1 + (low / frequency) ** 4) / (1 + (frequency / high) ** 2)
        wave = np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * shape, count)
        return wave / np.abs(wave).max()

    near = 1 / (1 + ((seconds - 3.4) / 0.5) ** 2)
    tyre, gust = band(180, 1400) * near, 1 + 0.3 * np.sin(seconds * 2.1)
    sides = [0.05 * band(60, 350) * gust + level * tyre for level in (0.22, 0.13)]
    fade = np.minimum(1, np.minimum(seconds, seconds[-1] - seconds) / 0.2)
    return (np.array(sides) * fade).astype(np.float32)


def encode(path: Path, frames: list[NDArray[np.uint8]], *, crf: int) -> None:
    """Write frames as H.264 and the sound as AAC into an MP4 file, BT.709 limited range."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as output:
        output.metadata["title"] = "Night street, rendered by streamkind"
        options = {"crf": str(crf), "preset": "slow", "threads": "1"}
        options["x264-params"] = "colorprim=bt709:transfer=bt709:colormatrix=bt709:range=tv"
        size = {"width": WIDTH, "height": HEIGHT, "pix_fmt": "yuv420p"}
        video = output.add_stream("libx264", RATE, options=options, **size)
        audio = output.add_stream("aac", SAMPLE_RATE, layout="stereo", bit_rate=96_000)
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame = frame.reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            output.mux(video.encode(frame))
        wave = sound()
        for start in range(0, wave.shape[1], 1024):
            block = np.ascontiguousarray(wave[:, start : start + 1024])
            piece = av.AudioFrame.from_ndarray(block, "fltp", "stereo")
            piece.sample_rate, piece.pts = SAMPLE_RATE, start
            output.mux(audio.encode(piece))
        output.mux(video.encode())
        output.mux(audio.encode())


def main() -> None:
    """Render and encode the clip, and print the mean luma of night and reference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bright", type=Path, help="also write the evenly lit reference here")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    bright, dark = zip(*pictures(), strict=True)
    encode(SAMPLE, dark, crf=20)
    if arguments.bright:
        encode(arguments.bright, bright, crf=14)
    for name, frames in (("night", dark), ("bright", bright)):
        luma = np.mean(np.mean(frames, axis=(0, 1, 2)) @ (0.2126, 0.7152, 0.0722)) / 255
        print(f"{name}: mean luma {luma:.3f}")


if __name__ == "__main__":
    main()
