"""Before and after of clips, with crops at full size: python tools/gallery.py CLIP... --out FOLDER.

Enhances two seconds of each clip as `streamkind enhance` does and takes the last frame. Crops show
where such pictures fail: the brightest lamp, a dark flat sky, a dark ground, and the detail that
the dark had hidden.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np

from streamkind import enhance
from streamkind.model.degrade import Image
from streamkind.profiles import PROFILES, ProfileName

SIDE, TIMES = 96, 3
"""A crop is so many pixels wide, and shown so many times as large."""


def last_frame(path: Path, second: float) -> Image:
    """Return the last frame that is shown before a time."""
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
    """Enhance the two seconds before a time; return the last frame."""
    with tempfile.TemporaryDirectory() as folder:
        out, start = Path(folder) / "clear.mkv", max(0.0, second - 2)
        enhance(
            clip, out, start=start, duration=second - start, crf=4, model=model, profile=profile
        )
        return last_frame(out, 1e9)


def places(image: Image) -> dict[str, tuple[int, int]]:
    """Find the crops: name -> top and left."""
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


def sheet(before: Image, clear: Image) -> Image:
    """Both pictures side by side, and below each its crops."""
    halves = []
    for image in (before, clear):
        crops = [image[y : y + SIDE, x : x + SIDE] for y, x in places(before).values()]
        strip = np.hstack([np.kron(c, np.ones((TIMES, TIMES, 1), np.uint8)) for c in crops])
        scale = strip.shape[1] / image.shape[1]
        whole = cv2.resize(image, (strip.shape[1], round(image.shape[0] * scale)))
        halves.append(np.vstack([whole, strip]))
    return np.hstack(halves)


def draw(clips: Iterable[Path], out: Path, second: float, model: str, profile: ProfileName) -> None:
    """Write FOLDER/CLIP.png for each clip."""
    out.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        picture = sheet(last_frame(clip, second), after(clip, second, model, profile))
        cv2.imwrite(str(out / f"{clip.stem}.png"), picture[..., ::-1])
        print(out / f"{clip.stem}.png")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("demo/gallery"))
    parser.add_argument("--at", type=float, default=2.0, help="seconds")
    parser.add_argument("--model", default="kind")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="quality")
    args = parser.parse_args()
    draw(args.clips, args.out, args.at, args.model, args.profile)


if __name__ == "__main__":
    main()
