"""Score the released model on pairs: python tools/evaluate.py ../shared/data/lol/eval15.

Three protocols, never mixed: the ratio taken from the truth (as KinD is published), blind (what a
user gets), and blind scaled to the truth's mean ("GT-mean"). PSNR and SSIM do not see colour die,
so colour stands beside them. Ends with the gate numbers of the decomposition.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from streamkind.backends.base import BACKENDS, Layers
from streamkind.engine import KinD, open_engine
from streamkind.exposure import auto_ratio
from streamkind.model.data import Image, Pair, load_pairs
from streamkind.model.validation import GATES, Scores, mean_matched, mean_scores, score

PROTOCOLS = ("true ratio", "blind", "mean matched")


def plane(layers: Layers, name: str) -> np.ndarray[Any, Any]:
    """Reflectance (H, W, 3) or illumination (H, W, 1) of the first frame, without padding."""
    height, width = layers.pixels.shape[1:3]
    maps = np.asarray(getattr(layers, name).data)[0, :, :height, :width]
    return maps.transpose(1, 2, 0).astype(np.float64)


def kind_images(engine: KinD, pair: Pair) -> tuple[Image, Image, list[float]]:
    """Enhance a dark picture with the true ratio and blind; also the pair's gate numbers."""
    low, high = engine.decompose(pair.low[None]), engine.decompose(pair.high[None])
    l_low, l_high = plane(low, "illumination"), plane(high, "illumination")
    r_low, r_high = plane(low, "reflectance"), plane(high, "reflectance")
    true_ratio = np.array([(l_high / (l_low + 1e-4)).mean()], np.float32)
    gates = [
        l_low.mean(),
        l_high.mean(),
        r_low.std(),
        r_high.std(),
        np.abs(r_low - r_high).mean(),
        np.abs(r_low * l_low - pair.low / 255).mean(),
        np.abs(r_high * l_high - pair.high / 255).mean(),
    ]
    with_truth = engine.recompose(low, true_ratio)[0]
    blind = engine.recompose(low, auto_ratio(low.statistics))[0]
    return with_truth, blind, [float(g) for g in gates]


def baseline(name: str) -> Callable[[Image], Image]:
    """Return a plain method to compare with."""
    gamma = (255 * (np.arange(256) / 255) ** 0.4 + 0.5).astype(np.uint8)
    return {"input itself": lambda i: i, "gamma 0.4": lambda i: gamma[i]}[name]


def evaluate(engine: KinD, pairs: list[Pair], sheet: Path | None) -> list[list[Any]]:
    """Return the rows of the table: method, protocol, measures."""
    found: dict[tuple[str, str], list[Scores]] = {}
    gates, pictures, began = [], [], time.perf_counter()
    for pair in pairs:
        with_truth, blind, numbers = kind_images(engine, pair)
        gates.append(numbers)
        pictures.append(np.hstack([pair.low, with_truth, blind, pair.high]))
        images = {("KinD", "true ratio"): with_truth, ("KinD", "blind"): blind}
        for name in ("input itself", "gamma 0.4"):
            images[name, "blind"] = baseline(name)(pair.low)
        for (name, protocol), image in list(images.items()):
            if protocol == "blind":
                images[name, "mean matched"] = mean_matched(image, pair.high)
        for key, image in images.items():
            found.setdefault(key, []).append(score(image, pair.high))
    print(f"{len(pairs)} pairs, {engine.description}, {time.perf_counter() - began:.0f} s")
    for (name, (low, high)), value in zip(GATES.items(), np.mean(gates, axis=0), strict=True):
        verdict = "holds" if low <= value <= high else "FAILS"
        print(f"gate {name}: {value:.4f} ({low:g} to {high:g}) {verdict}")
    if sheet:
        cv2.imwrite(str(sheet), np.vstack(pictures)[..., ::-1])
    return [[*key, *vars(mean_scores(scores)).values()] for key, scores in sorted(found.items())]


def main() -> None:
    """Read the command line, score, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path, help="folder with low/ and high/")
    parser.add_argument("--model", default="kind")
    parser.add_argument("--backend", default="auto", choices=["auto", *BACKENDS])
    parser.add_argument("--engines", type=Path, help="folder with another engine.json")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--sheet", type=Path, help="contact sheet: input, true ratio, blind, truth")
    args = parser.parse_args()
    with open_engine(args.model, backend=args.backend, engines=args.engines) as engine:
        rows = evaluate(engine, load_pairs(args.pairs), args.sheet)
    header = ["method", "protocol", "PSNR", "SSIM", "SSIM gray", "CIEDE2000", "chroma ratio"]
    table = Table(*header)
    for row in rows:
        table.add_row(*row[:2], *(f"{v:.3f}" for v in row[2:]))
    Console(width=100).print(table)
    if args.csv:
        with args.csv.open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])


if __name__ == "__main__":
    main()
