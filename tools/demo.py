"""Enhance the shipped sample and make a before/after still of it: make demo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples" / "night_street.mp4"
DEMO = ROOT / "demo"


def still(path: Path, second: float) -> np.ndarray:
    """Return the first frame at or after a time in seconds, (H, W, 3) uint8 BGR."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= second:
                return frame.to_ndarray(format="bgr24")
    raise ValueError(f"{path} is shorter than {second} s")


def main() -> None:
    """Enhance the sample, write the still, and print the paths of both files."""
    DEMO.mkdir(exist_ok=True)
    clear, picture = DEMO / "clear.mp4", DEMO / "before-after.png"
    command = [sys.executable, "-m", "streamkind", "enhance", str(SAMPLE), str(clear)]
    subprocess.run(command, check=True)
    pair = np.hstack([still(SAMPLE, 2.0), still(clear, 2.0)])
    cv2.imwrite(str(picture), pair)
    print(f"video: {clear}\nbefore/after: {picture}")


if __name__ == "__main__":
    main()
