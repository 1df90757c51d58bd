"""An interlaced clip that is made from fields, and a measure of its combing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

SPEED = 6
"""Pixels by which the bar moves from field to field. A frame shows the bar at two places."""


def fields(count: int) -> list[np.ndarray]:
    """Return pictures of a moving bright bar, one for each field, (96, 160, 3) uint8 RGB."""
    pictures = []
    for number in range(count):
        image = np.full((96, 160, 3), 30, np.uint8)
        image[:, 8 + SPEED * number : 24 + SPEED * number] = 200
        pictures.append(image)
    return pictures


def woven(path: Path, codec: str = "libx264", *, top: bool = True) -> Path:
    """Write a clip of ten interlaced frames, made from 20 fields; return its path."""
    told = fields(20)
    frames = []
    for first, second in zip(told[::2], told[1::2], strict=True):
        frame = first.copy() if top else second.copy()
        frame[1::2] = second[1::2] if top else first[1::2]
        frames.append(frame)
    order = "tff" if top else "bff"
    words = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "160x96", "-r", "25", "-i", "-"]
    words += ["-vf", f"setfield={order},scale=interl=1,format=yuv420p", "-c:v", codec]
    words += ["-flags", "+ildct+ilme", "-q:v", "2", "-top", str(int(top))]
    words += ["-x264-params", f"{order}=1:crf=8"] if codec == "libx264" else []
    pixels = b"".join(frame.tobytes() for frame in frames)
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words, path], input=pixels, check=True)
    return path


def combing(image: np.ndarray) -> float:
    """Return the mean distance of odd rows from the mean of the rows beside them, in levels."""
    rows = image[..., 1].astype(float)
    return float(np.abs(rows[1:-1:2] - (rows[:-2:2] + rows[2::2]) / 2).mean())
