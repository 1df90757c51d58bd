"""Measure how pale bright pictures are beside their dark ones: python tools/paleness.py PAIRS...

PAIRS are folders with low/ and high/, or recipes, of which the pairs are those trained on. The
product R L has one R for both pictures of a pair, and gray light: chroma over luma should be alike.
Prints the factor by which it is larger in the dark ones, to be `saturation` of a recipe.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamkind.model.augment import LUMA
from streamkind.model.data import Pair, load_pairs, load_split
from streamkind.model.degrade import Image
from streamkind.model.recipe import read_recipe

BLOCK = 16
"""Side of what is averaged, in pixels, so that noise has no chroma."""
DARKEST, BRIGHTEST = 20, 250
"""Mean luma of a dark block below which rounding makes colour; level at which bright ones clip."""
FEWEST = 30
"""Blocks that a pair needs."""


def blocks(image: Image) -> NDArray[np.float64]:
    """(H, W, 3) -> (blocks, pixels, 3)."""
    rows, columns = (side // BLOCK for side in image.shape[:2])
    cut = image[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK, 3)
    return cut.swapaxes(1, 2).reshape(-1, BLOCK * BLOCK, 3).astype(np.float64)


def color_over_luma(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGB of blocks, (blocks, 3), over their luma, without the cast that all of them have."""
    color = means / (means @ LUMA)[:, None]
    return np.asarray(color - color.mean(axis=0))


def paleness(pair: Pair) -> float | None:
    """Slope of the dark blocks' chroma over luma on the bright ones'; a cast is left out."""
    high = blocks(pair.high)
    dark, bright = blocks(pair.low).mean(axis=1), high.mean(axis=1)
    seen = (dark @ LUMA > DARKEST) & (high.max(axis=(1, 2)) < BRIGHTEST)
    if seen.sum() < FEWEST:
        return None
    dark, bright = (color_over_luma(means[seen]) for means in (dark, bright))
    return float((dark * bright).sum() / (bright * bright).sum())


def pairs_of(source: Path) -> list[Pair]:
    """The pairs of a folder, or those a recipe trains on, as they are on disk."""
    if source.suffix != ".toml":
        return load_pairs(source)
    recipe = read_recipe(source)
    return load_split(Path(recipe.data), 1.0, recipe.held_out, recipe.seed)[0]


def main() -> None:
    """Print one line for each source."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sources", nargs="+", type=Path, metavar="PAIRS")
    for source in parser.parse_args().sources:
        pairs = pairs_of(source)
        found = [p for p in map(paleness, pairs) if p is not None]
        if not found:
            print(f"{source}: none of {len(pairs)} pairs is bright enough to tell")
            continue
        low, middle, high = np.percentile(found, (25, 50, 75))
        print(
            f"{source}: {middle:.2f} ({low:.2f} to {high:.2f} in the middle half) of {len(found)} "
            f"of {len(pairs)} pairs"
        )


if __name__ == "__main__":
    main()
