"""Batches for knowledge distillation: patches, and the layers that a teacher makes of them.

The teacher is the released KinD. It takes several times as long as a small network. So it runs once
on a pool of large patches, and many smaller patches are cut from the pool. A pool and its patches
depend only on seed and step, so a resumed run gets the same batches. The sizes of a pool were
chosen by hand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamkind.model.augment import Augmentation
from streamkind.model.checkpoint import load_released
from streamkind.model.data import Pair, TrainingBatch, make_batch
from streamkind.model.kind import KinD, illumination_ratio
from streamkind.model.processes import ALONE, Share, autocast
from streamkind.model.released import find_release

POOL = 64
"""Number of pairs in a pool."""
SIDE = 192
"""Rows and columns of the patches of a pool. Every picture of the data is at least twice as large.
"""
REUSE = 16
"""Number of patches that are cut from each pair of a pool."""
AT_ONCE = 8
"""Number of pairs that the teacher runs on at once."""


@dataclass(frozen=True)
class DistillationBatch(TrainingBatch):
    """Patches, and the teacher's layers of them."""

    light: Tensor
    """Illumination of the dark patches, (N, 1, patch, patch)."""
    light_high: Tensor
    """Illumination of the bright patches, (N, 1, patch, patch)."""
    restored: Tensor
    """Restored reflectance of the dark patches, (N, 3, patch, patch)."""
    ratio: Tensor
    """Ratio from the light of the whole dark picture to that of the bright one, (N,)."""


@functools.cache
def teacher_of(device: torch.device) -> KinD:
    """Return the teacher: the released KinD."""
    return load_released(find_release("kind")).requires_grad_(False).to(device)


@torch.no_grad()
def teacher_layers(teacher: KinD, batch: TrainingBatch) -> DistillationBatch:
    """Return the layers that a teacher makes of each pair."""

    def some(part: slice) -> tuple[Tensor, ...]:
        low, high, low_small, high_small = (t[part] for t in vars(batch).values())
        reflectance, light = teacher.decomposition(low)
        light_high = teacher.decomposition(high)[1]
        restored = teacher.restoration(reflectance, light)
        small = teacher.decomposition(torch.cat([low_small, high_small]))[1].float().chunk(2)
        return light, light_high, restored, illumination_ratio(*small)

    parts = [some(slice(i, i + AT_ONCE)) for i in range(0, len(batch.low), AT_ONCE)]
    layers = (torch.cat(column).float() for column in zip(*parts, strict=True))
    return DistillationBatch(*vars(batch).values(), *layers)


def cut(
    pool: DistillationBatch, chosen: Tensor, patch: int, rng: np.random.Generator
) -> DistillationBatch:
    """Cut a patch from each of the chosen pairs, turned and mirrored in one of eight ways."""
    most = pool.low.shape[-1] - patch + 1
    places = rng.integers(most, size=(len(chosen), 2))
    turns, mirror = int(rng.integers(4)), bool(rng.integers(2))

    def some(layer: Tensor) -> Tensor:
        if layer.dim() == 1 or layer is pool.low_small or layer is pool.high_small:
            return layer[chosen]
        patches = [
            layer[i, :, y : y + patch, x : x + patch]
            for i, (y, x) in zip(chosen, places, strict=True)
        ]
        turned = torch.rot90(torch.stack(patches), turns, (2, 3))
        turned = turned.flip(3) if mirror else turned
        return turned.contiguous(memory_format=torch.channels_last)

    return DistillationBatch(*(some(layer) for layer in vars(pool).values()))


def make_pool(
    pairs: Sequence[Pair],
    *,
    step: int,
    seed: int,
    augment: Augmentation,
    share: Share = ALONE,
) -> TrainingBatch:
    """Make the pairs of pool number `step`. Every second pool is reduced to half size.

    The reason is that in use the frames of most videos are reduced before the networks run.
    """
    reduction = 1 + step % 2
    batch, patch = POOL * share.count, SIDE * reduction
    pool = make_batch(
        pairs, step=step, batch=batch, patch=patch, seed=seed, augment=augment, share=share
    )
    low, high = (F.avg_pool2d(i, reduction) for i in (pool.low, pool.high))
    return replace(pool, low=low, high=high)


def distillation_batches(
    pools: Callable[[range], Iterator[TrainingBatch]],
    steps: range,
    *,
    batch: int,
    patch: int,
    seed: int,
    device: torch.device,
    share: Share = ALONE,
) -> Iterator[DistillationBatch]:
    """Yield the batch of each step. `pools` takes numbers of pools, and yields their pairs."""
    own = batch // share.count
    each = POOL * REUSE // own
    teacher = teacher_of(device)
    numbers = range(steps.start // each, -(-steps.stop // each))
    for number, pairs in zip(numbers, pools(numbers), strict=True):
        with autocast(device):
            pool = teacher_layers(teacher, pairs.to(device))
        order = share.random(seed, 3, number)
        turns = np.concatenate([order.permutation(POOL) for _ in range(REUSE)])
        for step in range(max(number * each, steps.start), min((number + 1) * each, steps.stop)):
            place = step % each * own
            chosen = torch.from_numpy(turns[place : place + own]).to(device)
            yield cut(pool, chosen, patch, share.random(seed, 4, step))
