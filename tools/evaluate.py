"""Score methods on pairs: python tools/evaluate.py ../shared/data/lol/eval15 [--csv F] [--sheet F].

The table has one line for each method and protocol. There are three protocols. "ratio from truth":
the ratio is computed from the bright picture, as for the published scores of KinD. "blind": only
the dark picture is used. "mean matched": the blind picture is scaled to the mean of the bright one
("GT-mean"). PSNR and SSIM hardly change when colours fade, so the table also has CIEDE2000 and the
chroma ratio. LOE and time are measured for blind pictures only. A second table has published scores
of other methods. Then the gate numbers of each decomposition are printed, with their ranges.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from parts.baselines import METHODS
from rich.console import Console
from rich.table import Table

from streamkind.backends.base import BACKENDS, Layers
from streamkind.engine.engine import Engine
from streamkind.engine.profiles import open_engine
from streamkind.light.exposure import DEFAULT_TARGET, STILL_TARGET, auto_ratio
from streamkind.model.data import Pair, load_pairs, load_split, read
from streamkind.model.degrade import Image, coded_as_video
from streamkind.model.kind import illumination_ratio
from streamkind.model.recipe import read_recipe
from streamkind.model.released import releases
from streamkind.model.validation import GATES, PairScores, mean_matched, mean_scores, score

HEADER = ["method", "protocol", "PSNR", "SSIM", "SSIM gray", "CIEDE2000", "chroma ratio"]
BLIND_ONLY = ["LOE", "ms"]
"""Columns that have values only for the protocol "blind"."""
NEEDS = {"LIME + BM3D": "bm3d"}
"""Method -> package of the extra `evaluate` that the method needs."""
PUBLISHED = [
    ("KinD", "ratio from truth", 20.87, 0.80, "LLFlow, PyDiff and SKF READMEs; SSIM on gray"),
    ("KinD++", "ratio from truth", 21.30, 0.82, "the authors, IJCV 2021"),
    ("KinD, authors' evaluate.py at 5", "blind", 17.57, 0.697, "KinD issue 11"),
    ("RetinexNet", "blind", 16.77, 0.56, "LLFlow README; SSIM on gray"),
    ("LIME", "blind", 16.76, 0.56, "LLFlow README; SSIM on gray"),
    ("DRBN", "blind", 20.13, 0.83, "LLFlow README"),
    ("Zero-DCE", "blind", 14.86, 0.562, "ISP handbook repository"),
    ("EnlightenGAN", "blind", 17.48, 0.650, "ISP handbook repository"),
    ("MIRNet", "blind", 24.14, 0.830, "ISP handbook repository"),
    ("SNR-Aware", "blind", 24.61, 0.842, "ISP handbook repository"),
    ("Retinexformer", "blind", 25.16, 0.845, "official README"),
    ("Retinexformer", "mean matched", 27.18, 0.850, "official README"),
]
"""Scores on LOL eval15 that others published: method, protocol, PSNR in dB, SSIM, and source."""


@dataclass
class Rows:
    """The scores of a method, one entry per picture."""

    scores: dict[str, list[PairScores]] = field(default_factory=dict)
    """Scores by protocol."""
    blind_only: list[list[float]] = field(default_factory=list)
    """LOE and milliseconds of each blind picture."""
    shown: list[Image] = field(default_factory=list)
    """The blind pictures, for the contact sheet."""
    gates: list[list[float]] = field(default_factory=list)
    """Gate numbers of each pair, in the order of `GATES`."""

    def add(self, blind: Image, pair: Pair, seconds: float) -> None:
        """Score a blind picture, as it is and scaled to the truth's mean."""
        self.put("blind", blind, pair)
        self.put("mean matched", mean_matched(blind, pair.high), pair)
        self.blind_only.append([loe(blind, pair.low), 1000 * seconds])
        self.shown.append(blind)

    def put(self, protocol: str, image: Image, pair: Pair) -> None:
        """Add the scores of a picture under a protocol."""
        self.scores.setdefault(protocol, []).append(score(image, pair.high))

    def lines(self, method: str) -> Iterator[list[Any]]:
        """Yield one line of the table for each protocol."""
        for protocol, scores in self.scores.items():
            alone = np.mean(self.blind_only, axis=0) if protocol == "blind" else [None] * 2
            yield [method, protocol, *vars(mean_scores(scores)).values(), *alone]


def loe(image: Image, low: Image, side: int = 50) -> float:
    """Return the lightness order error of an enhanced picture (Wang et al. 2013).

    Both pictures are reduced to `side` rows. The lightness of a pixel is its largest channel. Two
    pixels are in another order if the brighter one in `low` is the darker one in `image`. For each
    pixel, the pixels that are in another order with it are counted. Returns the mean count.
    """
    size = (round(side * low.shape[1] / low.shape[0]), side)
    a, b = (
        cv2.resize(i.max(axis=2), size, interpolation=cv2.INTER_NEAREST).ravel()
        for i in (image, low)
    )
    return float(((a[:, None] >= a) != (b[:, None] >= b)).sum(axis=1).mean())


def plane(layers: Layers, name: str) -> np.ndarray[Any, Any]:
    """Return reflectance (H, W, 3) or illumination (H, W, 1) of the first frame, unpadded."""
    height, width = layers.pixels.shape[1:3]
    maps = np.asarray(getattr(layers, name).data)[0, :, :height, :width]
    return maps.transpose(1, 2, 0).astype(np.float64)


def with_truth(engine: Engine, pair: Pair) -> tuple[Image, list[float]]:
    """Return the picture enhanced with the ratio from the truth, and the pair's gate numbers."""
    low, high = engine.decompose(pair.low[None]), engine.decompose(pair.high[None])
    l_low, l_high = plane(low, "illumination"), plane(high, "illumination")
    r_low, r_high = plane(low, "reflectance"), plane(high, "reflectance")
    lights = (torch.from_numpy(light).permute(2, 0, 1)[None] for light in (l_low, l_high))
    gates = [
        l_low.mean(),
        l_high.mean(),
        r_low.std(),
        r_high.std(),
        np.abs(r_low - r_high).mean(),
        np.abs(r_low * l_low - pair.low / 255).mean(),
        np.abs(r_high * l_high - pair.high / 255).mean(),
    ]
    image = engine.recompose(low, illumination_ratio(*lights).numpy().astype(np.float32))[0]
    return image, [float(g) for g in gates]


def one_exposure(engine: Engine, target: float) -> Callable[[Image], Image]:
    """Return a function that enhances a picture without the exposure network.

    The exposure of every picture is `DEFAULT_TARGET`, so that dark scenes become equally bright.
    """

    def enhance(low: Image) -> Image:
        layers = engine.decompose(low[None])
        same = np.full(1, DEFAULT_TARGET, np.float32)
        statistics = replace(layers.statistics, exposure=same)
        ratios = auto_ratio(statistics, target, still=True)
        return np.asarray(engine.recompose(layers, ratios)[0])

    return enhance


def evaluate(
    engines: dict[str, Engine],
    methods: dict[str, Callable[[Image], Image]],
    pairs: list[Pair],
    target: float = STILL_TARGET,
) -> dict[str, Rows]:
    """Run all models and methods on every pair; return their scores by name."""
    found = {name: Rows() for name in [*engines, *methods]}
    blind = {n: partial(engine.enhance, target=target) for n, engine in engines.items()} | methods
    for i, pair in enumerate(pairs):
        for name, enhance in blind.items():
            if i == 0 and name in engines:
                enhance(pair.low)  # not timed, because it compiles
            began = time.perf_counter()
            image = enhance(pair.low)
            found[name].add(image, pair, time.perf_counter() - began)
        for name, engine in engines.items():
            image, gates = with_truth(engine, pair)
            found[name].put("ratio from truth", image, pair)
            found[name].gates.append(gates)
    return found


def draw_sheet(found: dict[str, Rows], pairs: list[Pair], path: Path, width: int = 240) -> None:
    """Write a contact sheet: one row per pair, one column per method, the truth at the right."""
    columns = {name: rows.shown for name, rows in found.items()}
    columns |= {"truth": [pair.high for pair in pairs]}
    strips = []
    for name, images in columns.items():
        height = [round(width * i.shape[0] / i.shape[1]) for i in images]
        cells = [
            cv2.resize(i, (width, h), interpolation=cv2.INTER_AREA)
            for i, h in zip(images, height, strict=True)
        ]
        title = np.full((24, width, 3), 255, np.uint8)
        cv2.putText(title, name, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        strips.append(np.vstack([title, *cells]))
    cv2.imwrite(str(path), np.hstack(strips)[..., ::-1])


def read_pairs(folders: list[Path]) -> list[Pair]:
    """Read the pairs that a recipe holds out, or those of a folder with low/ and high/.

    Two folders have the dark and the bright pictures, which are paired by stem.
    """
    if folders[0].suffix == ".toml":
        recipe = read_recipe(folders[0])
        return load_split(Path(recipe.data), recipe.saturation, recipe.held_out, recipe.seed)[1]
    if len(folders) == 1:
        return load_pairs(folders[0])
    low, high = ({p.stem: p for p in sorted(f.iterdir()) if p.is_file()} for f in folders)
    stems = sorted(low.keys() & high.keys())
    return [Pair(stem, read(low[stem]), read(high[stem])) for stem in stems]


def show(found: dict[str, Rows], csv_path: Path | None) -> None:
    """Print the scores, the published scores and the gate numbers; write the CSV file."""
    lines = [line for name, rows in found.items() for line in rows.lines(name)]
    table = Table(*HEADER, *BLIND_ONLY)
    for line in lines:
        figures = ["" if v is None else f"{v:.0f}" if v > 100 else f"{v:.3f}" for v in line[2:]]
        table.add_row(*line[:2], *figures)
    published = Table("published, LOL eval15", "protocol", "PSNR", "SSIM", "source")
    for name, protocol, psnr, ssim, source in PUBLISHED:
        published.add_row(name, protocol, f"{psnr:.2f}", f"{ssim:g}", source)
    console = Console(width=140)
    console.print(table, published)
    for method, rows in found.items():
        values = np.mean(rows.gates, axis=0) if rows.gates else []
        for (name, (low, high)), value in zip(GATES.items(), values, strict=False):
            verdict = "holds" if low <= value <= high else "FAILS"
            print(f"{method}: gate {name}: {value:.4f} ({low:g} to {high:g}) {verdict}")
    if csv_path:
        with csv_path.open("w", newline="") as file:
            csv.writer(file).writerows([HEADER + BLIND_ONLY, *lines])


def main() -> None:
    """Read the command line, score, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "pairs", type=Path, nargs="+", help="a folder with low/ and high/, or two, or a recipe"
    )
    parser.add_argument("--target", type=float, default=STILL_TARGET, help="of the blind pictures")
    parser.add_argument("--fixed", action="store_true", help="also without exposure estimator")
    parser.add_argument("--models", nargs="*", help="released models; all by default")
    parser.add_argument("--baselines", nargs="*", choices=METHODS, help="all by default")
    parser.add_argument("--backend", default="auto", choices=["auto", *BACKENDS])
    parser.add_argument("--engines", type=Path, help="folder with another engine.json")
    parser.add_argument(
        "--crf", type=int, help="encode the dark pictures as H.264 video with this CRF"
    )
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--sheet", type=Path, help="contact sheet of the blind pictures, PNG")
    args = parser.parse_args()
    wanted = list(METHODS) if args.baselines is None else args.baselines
    missing = {n for n in wanted if n in NEEDS and not importlib.util.find_spec(NEEDS[n])}
    for name in missing:
        print(f"{name} is left out: pip install 'streamkind[evaluate]'")
    methods = {name: METHODS[name] for name in wanted if name not in missing}
    names = list(releases(args.engines)) if args.models is None else args.models
    pairs = read_pairs(args.pairs)
    if args.crf is not None:
        pairs = [
            replace(pair, low=coded_as_video([pair.low] * 2, "h264", args.crf)) for pair in pairs
        ]
    with ExitStack() as stack:
        engines = {
            name: stack.enter_context(open_engine(name, backend=args.backend, engines=args.engines))
            for name in names
        }
        if args.fixed:
            fixed = {n: one_exposure(engine, args.target) for n, engine in engines.items()}
            methods = {f"{n}, one exposure": enhance for n, enhance in fixed.items()} | methods
        print(f"{len(pairs)} pairs;", "; ".join(e.description for e in engines.values()))
        found = evaluate(engines, methods, pairs, args.target)
    show(found, args.csv)
    if args.sheet:
        draw_sheet(found, pairs, args.sheet)


if __name__ == "__main__":
    main()
