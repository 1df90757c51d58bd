"""Draw the curves of a training run: python tools/curves.py runs/kind docs/training/kind.png.

Reads the files that tools/train.py wrote. Draws the losses (from the TensorBoard files) at the top,
and the scores on held-out pairs below them. If a resumed run has repeated a step, the later value
is used.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SHOWN = {
    "PSNR in dB": ("true_ratio/psnr", "blind/psnr", "mean_matched/psnr"),
    "SSIM": ("true_ratio/ssim", "blind/ssim", "mean_matched/ssim"),
    "CIEDE2000": ("true_ratio/ciede2000", "blind/ciede2000", "mean_matched/ciede2000"),
}
"""Label of each panel -> names of its scores in scores.jsonl."""


def losses(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return step and value of each loss term, by the name of the term."""
    found: dict[str, dict[int, float]] = {}
    for file in sorted(run.glob("events.out.tfevents.*")):
        events = EventAccumulator(str(file))
        events.Reload()
        for tag in events.Tags()["scalars"]:
            if tag.startswith("loss/"):
                values = found.setdefault(tag.removeprefix("loss/"), {})
                values.update((e.step, e.value) for e in events.Scalars(tag))
    return {name: sorted(values.items()) for name, values in found.items()}


def smooth(values: np.ndarray, window: int = 9) -> np.ndarray:
    """Return the running median of `window` values, because the loss of one batch is noisy."""
    padded = np.pad(values, window // 2, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)


def draw(run: Path, picture: Path) -> None:
    """Draw the losses and scores of a run, and write the picture."""
    lines = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
    figure, axes = plt.subplots(1 + len(SHOWN), 1, figsize=(10, 12), sharex=True)
    for name, points in losses(run).items():
        steps, values = np.array(points).T
        axes[0].plot(steps, smooth(values), label=name)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("loss, running median")
    for axis, (title, names) in zip(axes[1:], SHOWN.items(), strict=True):
        for name in names:
            points = sorted({line["step"]: line[name] for line in lines if name in line}.items())
            if points:
                axis.plot(*zip(*points, strict=True), "o-", label=name.split("/")[0])
        axis.set_ylabel(f"{title}, held out")
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, ncols=3)
    axes[-1].set_xlabel("step")
    figure.tight_layout()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=80)


def main() -> None:
    """Read the command line, and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    draw(args.run, args.picture)


if __name__ == "__main__":
    main()
