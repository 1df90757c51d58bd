"""Measures how much paler the bright pictures of pairs are than their dark ones.

In the product R L, both pictures of a pair have the same R, and the light is gray. So chroma over
luma should be equal in both. The factor by which it is larger in the dark pictures is the
`saturation` of a recipe.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamkind.model.augment import LUMA
from streamkind.model.data import Pair
from streamkind.model.degrade import Image

BLOCK = 16
"""Side of the blocks that are averaged, in pixels. The mean of noise has no chroma."""
DARKEST, BRIGHTEST = 20, 250
"""Mean luma of a dark block up to which rounding changes its colour, and level from which on a
bright block counts as clipped. Both are 8-bit levels."""
FEWEST = 30
"""Least number of usable blocks in a pair."""


def blocks(image: Image) -> NDArray[np.float64]:
    """Cut a picture into blocks: (H, W, 3) -> (blocks, pixels, 3)."""
    rows, columns = (side // BLOCK for side in image.shape[:2])
    cut = image[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK, 3)
    return cut.swapaxes(1, 2).reshape(-1, BLOCK * BLOCK, 3).astype(np.float64)


def color_over_luma(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return RGB of blocks, (blocks, 3), divided by their luma, minus the mean over all blocks."""
    color = means / (means @ LUMA)[:, None]
    return np.asarray(color - color.mean(axis=0))


def paleness(pair: Pair) -> float | None:
    """Return how many times more colourful the dark picture is; None for too few usable blocks.

    It is the slope of a line through 0 that predicts the dark blocks' colour over luma from that of
    the bright blocks. A colour cast of a whole picture has no influence.
    """
    high = blocks(pair.high)
    dark, bright = blocks(pair.low).mean(axis=1), high.mean(axis=1)
    seen = (dark @ LUMA > DARKEST) & (high.max(axis=(1, 2)) < BRIGHTEST)
    if seen.sum() < FEWEST:
        return None
    dark, bright = (color_over_luma(means[seen]) for means in (dark, bright))
    return float((dark * bright).sum() / (bright * bright).sum())
