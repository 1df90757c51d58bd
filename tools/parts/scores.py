"""Scores released models, profiles, and methods without training on pairs of stills."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from evaluate import Rows, evaluate

from parts.baselines import METHODS
from parts.nets import sizes
from parts.paleness import paleness
from parts.record import ROOT, Measured, Table
from streamkind.engine.profiles import PROFILES, open_engine
from streamkind.model.data import Pair, load_pairs, load_split
from streamkind.model.recipe import read_recipe
from streamkind.model.released import releases
from streamkind.model.validation import mean_scores, score

SCORES = {
    "PSNR, dB": ".2f",
    "SSIM (RGB)": ".3f",
    "SSIM (gray)": ".3f",
    "CIEDE2000": ".1f",
    "chroma ratio": ".2f",
}
"""Columns of scores, and their formats."""
TIMES = 2
"""Factor by which eval15 is enlarged, to 1200x800, so that `balanced` and `realtime` reduce it."""
PUBLISHED = ["published for KinD, ratio from the truth", 20.87, None, "0.80", None, None]
"""The row of published scores. Its SSIM has two decimals only. docs/published.md has the source."""


def measure(data: Path, folder: Path) -> Measured:
    """Score all models and methods on LOL eval15.

    Models are also scored on held-out pairs, and profiles on enlarged pictures of eval15.
    """
    models = list(releases())
    pairs = load_pairs(data / "lol" / "eval15")
    found = scored(models, METHODS, pairs)
    recipe = read_recipe(ROOT / "tools" / "kind.toml")
    lol = data / "lol" / "our485"
    held_out = load_split(lol, recipe.saturation, recipe.held_out, recipe.seed)[1]
    synthetic = load_pairs(data / "lol_v2_synthetic" / "train")
    quick = [name for name in models if name != "kindpp"]  # kindpp takes half an hour of one core
    tables = {
        "blind": table(found, "blind"),
        "matched": table(found, "mean matched"),
        "truth": table({name: found[name] for name in models}, "ratio from truth"),
        "readme": readme(found),
        "heldout": table(scored(quick, {}, held_out), "blind"),
        "profiles": Table({"profile": "", **SCORES}, list(enlarged(pairs))),
        "paleness": pale({"our485": load_pairs(lol), "synthetic": synthetic, "eval15": pairs}),
        "nets": sizes(),
    }
    return Measured(tables, models=tuple(models), profiles=tuple(PROFILES))


def scored(models: list[str], methods: dict[str, Any], pairs: list[Pair]) -> dict[str, Rows]:
    """Run released models and methods on pairs; return the scores by name."""
    with ExitStack() as stack:
        engines = {name: stack.enter_context(open_engine(name)) for name in models}
        return evaluate(engines, methods, pairs)


def line(name: str, rows: Rows, protocol: str) -> list[Any]:
    """Return a row of a table: a name, and mean scores under a protocol."""
    return [name, *vars(mean_scores(rows.scores[protocol])).values()]


def table(found: dict[str, Rows], protocol: str) -> Table:
    """Return the scores under one protocol. With the methods, blind ones also have LOE and time."""
    columns, rows = {"": "", **SCORES}, [line(n, r, protocol) for n, r in found.items()]
    if protocol == "blind" and "input itself" in found:
        columns |= {"LOE": ".0f", "ms": ".0f"}
        alone = (np.mean(r.blind_only, axis=0).tolist() for r in found.values())
        rows = [[*row, *more] for row, more in zip(rows, alone, strict=True)]
    return Table(columns, rows)


def readme(found: dict[str, Rows]) -> Table:
    """Return the table of README.md: models of the profiles, gamma, the input, published scores."""
    rows = [
        line("KinD, blind: what a user gets", found["kind"], "blind"),
        line("KinD, ratio from the truth: as published", found["kind"], "ratio from truth"),
        line("KinD, blind, scaled to the truth's mean", found["kind"], "mean matched"),
    ]
    fast = dict.fromkeys(p.model for p in PROFILES.values() if p.model != "kind")
    rows += [line(f"{model}, blind", found[model], "blind") for model in fast]
    rows += [line(name, found[name], "blind") for name in ("gamma 0.4", "input itself")]
    return Table({"LOL eval15, 15 pairs of stills": "", **SCORES}, [*rows, PUBLISHED])


def enlarged(pairs: list[Pair]) -> Iterator[list[Any]]:
    """Yield a row of blind scores of each profile on enlarged pictures."""
    scale = {"dsize": None, "fx": TIMES, "fy": TIMES, "interpolation": cv2.INTER_CUBIC}
    large = [
        replace(p, low=cv2.resize(p.low, **scale), high=cv2.resize(p.high, **scale)) for p in pairs
    ]
    for profile in PROFILES:
        with open_engine(profile=profile) as engine:
            mean = mean_scores([score(engine.enhance(p.low), p.high) for p in large])
        yield [f"`{profile}`", *vars(mean).values()]


def pale(pairs: dict[str, list[Pair]]) -> Table:
    """Return the quartiles of `paleness` over each set of pairs."""
    rows = []
    for name, some in pairs.items():
        found = [f for f in map(paleness, some) if f is not None]
        rows.append([name, *np.percentile(found, (25, 50, 75)).tolist(), len(found)])
    columns = {"": "", "lower quarter": ".2f", "median": ".2f", "upper quarter": ".2f"}
    return Table(columns | {"pairs bright enough to tell": "d"}, rows)
