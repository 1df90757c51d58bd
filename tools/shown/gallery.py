"""Writes pictures of clips before and after enhancement, with enlarged crops.

Enhances two seconds of each clip as `streamkind enhance` does, and takes the last frame. Crops show
places where faults are likely: the brightest lamp, a dark flat sky, dark ground, and detail in a
dark area.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np

from streamkind import enhance
from streamkind.engine.profiles import PROFILES, ProfileName
from streamkind.model.degrade import Image

SIDE, TIMES = 96, 3
"""Height and width of a crop in pixels, and factor by which it is enlarged."""


def last_frame(path: Path, second: float) -> Image:
    """Return the last frame before a time in seconds, (H, W, 3) uint8 RGB."""
    last = None
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if last is not None and (frame.time or 0) >= second:
                break
            last = frame
    if last is None:
        raise ValueError(f"{path} has no frame before {second:g} s")
    return np.asarray(last.to_ndarray(format="rgb24"), np.uint8)


def after(clip: Path, second: float, model: str, profile: ProfileName) -> Image:
    """Enhance the two seconds before a time; return their last frame."""
    with tempfile.TemporaryDirectory() as folder:
        out, start = Path(folder) / "clear.mkv", max(0.0, second - 2)
        enhance(
            clip, out, start=start, duration=second - start, crf=4, model=model, profile=profile
        )
        return last_frame(out, 1e9)


def places(image: Image) -> dict[str, tuple[int, int]]:
    """Find the places of the crops; return top and left of each, in pixels, by name."""
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean, square = cv2.blur(luma, (SIDE, SIDE)), cv2.blur(luma**2, (SIDE, SIDE))
    rough = np.sqrt(np.maximum(square - mean**2, 0))
    half = SIDE // 2
    inside = np.zeros_like(luma, bool)
    inside[half:-half, half:-half] = True
    upper = np.arange(len(luma))[:, None] < len(luma) // 2
    measures = {
        "lamp": np.where(inside, cv2.blur(luma, (9, 9)), -1),
        "sky": np.where(inside & upper & (mean > 0.5), -rough - 0.1 * mean, -1e3),
        "ground": np.where(inside & ~upper & (mean > 0.5), -abs(mean - np.median(luma)), -1e3),
        "detail": np.where(inside & (mean < 60), rough / (mean + 4), -1),
    }
    found = {}
    for name, measure in measures.items():
        y, x = np.unravel_index(int(measure.argmax()), measure.shape)
        found[name] = (int(y) - half, int(x) - half)
    return found


def sheet(before: Image, results: dict[str, Image]) -> Image:
    """Return all pictures, two in a row, each with crops of the same places below it."""
    columns = []
    at = places(before).values()
    for name, image in ({"before": before} | results).items():
        crops = [image[y : y + SIDE, x : x + SIDE] for y, x in at]
        strip = np.hstack([np.kron(c, np.ones((TIMES, TIMES, 1), np.uint8)) for c in crops])
        scale = strip.shape[1] / image.shape[1]
        whole = cv2.resize(image, (strip.shape[1], round(image.shape[0] * scale)))
        if len(results) > 1:
            cv2.putText(whole, name, (16, 48), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (255, 255, 255), 2)
        columns.append(np.vstack([whole, strip]))
    return np.hstack(columns) if len(columns) == 2 else rows_of_two(columns)


def rows_of_two(columns: list[Image]) -> Image:
    """Arrange pictures of one size in rows of two."""
    blank = np.zeros_like(columns[0])
    pairs = itertools.zip_longest(columns[::2], columns[1::2], fillvalue=blank)
    return np.vstack([np.hstack(pair) for pair in pairs])


def main() -> None:
    """Read the command line; write FOLDER/CLIP.png for each clip."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("demo/gallery"))
    parser.add_argument("--at", type=float, default=2.0, help="seconds")
    parser.add_argument("--model", default="auto", help="auto: that of the profile")
    parser.add_argument("--profile", choices=tuple(PROFILES), nargs="+", default=["quality"])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for clip in args.clips:
        results = {name: after(clip, args.at, args.model, name) for name in args.profile}
        picture = sheet(last_frame(clip, args.at), results)
        cv2.imwrite(str(args.out / f"{clip.stem}.png"), picture[..., ::-1])
        print(args.out / f"{clip.stem}.png")
