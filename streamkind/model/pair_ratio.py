"""Finds the ratio for the dark picture of a pair in training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from streamkind.light.exposure import RATIOS
from streamkind.model.data import TrainingBatch
from streamkind.model.graphs import Decompose
from streamkind.model.kind import KinD
from streamkind.model.losses import gray


def small_light(kind: KinD, batch: TrainingBatch) -> tuple[Tensor, Tensor]:
    """Return the illumination of the whole dark and bright pictures, (N, 1, 80, 120) each."""
    light = kind.decomposition(torch.cat([batch.low_small, batch.high_small]))[1].float()
    low, high = light.chunk(2)
    return low, high


def matching_ratio(kind: KinD, batch: TrainingBatch) -> Tensor:
    """Return the ratio at which the output has the mean luma of the bright picture, (N,)."""
    reflectance, light = (F.avg_pool2d(x, 4) for x in kind.decomposition(batch.low_small))
    even = torch.ones_like(light)
    decompose = Decompose(kind).to(light.device)
    rising = decompose.curve(gray(reflectance), light, even).float().cummax(dim=1).values
    wanted = gray(batch.high_small).mean(dim=(1, 2, 3))[:, None]
    above = torch.searchsorted(rising, wanted).clamp(1, len(RATIOS) - 1)
    low, high = rising.gather(1, above - 1), rising.gather(1, above)
    share = ((wanted - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    stops = decompose.ratios.log2()
    return torch.exp2(torch.lerp(stops[above - 1], stops[above], share)).flatten()
