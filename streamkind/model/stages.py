"""The losses of a training step, by stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamkind.model.data import TrainingBatch
from streamkind.model.distillation_stages import Terms, distil_stage, taught_stage
from streamkind.model.kind import KinD, illumination_ratio
from streamkind.model.losses import (
    Weights,
    adjustment_loss,
    chroma_distance,
    decomposition_loss,
    gray,
    picture_distance,
    restoration_loss,
    saturation_distance,
)
from streamkind.model.pair_ratio import matching_ratio, small_light
from streamkind.model.processes import Share, SharedRandom

Layer = tuple[Tensor, Tensor, Tensor]


def decomposition_stage(
    kind: KinD, batch: TrainingBatch, w: Weights, step: int, rng: SharedRandom
) -> Terms:
    """Return the losses of the first stage, which trains decomposition on both pictures."""
    return decomposition_loss(*split(kind, batch), w, step)


def layers_stage(
    kind: KinD, batch: TrainingBatch, w: Weights, step: int, rng: SharedRandom
) -> Terms:
    """Return the losses of the second stage, which trains restoration and adjustment.

    Decomposition is fixed.
    """
    with torch.no_grad():
        low, high = split(kind, batch)
        light = small_light(kind, batch)
    return layer_terms(kind, low, high, light, w, rng)[0]


def joint_stage(
    kind: KinD, batch: TrainingBatch, w: Weights, step: int, rng: SharedRandom
) -> Terms:
    """Return the losses of the third stage, which trains all three networks.

    They are those of the layers and of the final picture.
    """
    low, high = split(kind, batch)
    with torch.no_grad():
        light = small_light(kind, batch)
    # The weights are no longer random, so only `prior_floor` of the prior is used.
    terms = decomposition_loss(low, high, w, w.prior_steps)
    # A black picture must stay black at any ratio, so its ratio is raised to 10.
    black = batch.high.amax(dim=(1, 2, 3)) == 0
    made, picture = layer_terms(kind, low, high, light, w, rng, least_ratio=10.0 * black)
    made["adjustment"] = w.joint_adjustment * made["adjustment"]
    if w.saturation:
        made["saturation"] = w.saturation * saturation_distance(picture, batch.high)
    return terms | made


def picture_stage(
    kind: KinD, batch: TrainingBatch, w: Weights, step: int, rng: SharedRandom
) -> Terms:
    """Return the losses of the fourth stage, which trains restoration by the final picture.

    The other networks are fixed. In odd steps the ratio is that of the pair. In even steps it is
    the one that gives the brightness of the true picture, as `auto` chooses it, so that restoration
    does not change the brightness.
    """
    with torch.no_grad():
        reflectance, light = kind.decomposition(batch.low)
    return picture_terms(kind, batch, reflectance, light, w, step)


def whole_stage(
    kind: KinD, batch: TrainingBatch, w: Weights, step: int, rng: SharedRandom
) -> Terms:
    """Return the losses of the fifth stage, which trains restoration and decomposition.

    Decomposition is trained so that it keeps the colour of the dark picture.
    """
    low, high = split(kind, batch)
    _, reflectance, light = low
    # The layers should depend more on the dark picture and less on the bright one, because
    # restoration cannot restore detail that decomposition has removed.
    faithful = replace(w, low_gain=10.0, cross=0.1, similarity=0.1)
    terms = decomposition_loss(low, high, faithful, w.prior_steps)
    return terms | picture_terms(kind, batch, reflectance, light.detach(), w, step)


def picture_terms(
    kind: KinD, batch: TrainingBatch, reflectance: Tensor, light: Tensor, w: Weights, step: int
) -> Terms:
    """Return the terms of the product alone, with fixed light and adjustment."""
    with torch.no_grad():
        if step % 2:
            ratio = illumination_ratio(*small_light(kind, batch))
        else:
            ratio = matching_ratio(kind, batch)
        black = batch.high.amax(dim=(1, 2, 3)) == 0
        adjusted = kind.adjustment(light, torch.maximum(ratio, 10.0 * black)).float()
    picture = kind.restoration(reflectance, light).float() * adjusted
    return {
        "picture": picture_distance(picture, batch.high),
        "picture_chroma": w.chroma * chroma_distance(picture, batch.high),
        "saturation": w.saturation * saturation_distance(picture, batch.high),
    }


def exposure_stage(
    kind: KinD, batch: TrainingBatch, w: Weights, step: int, rng: SharedRandom
) -> Terms:
    """Return the loss of the last stage, which trains the exposure network on the dark picture."""
    wanted = gray(batch.high_small).mean(dim=(1, 2, 3))
    found = kind.exposure.estimates(batch.low_small).float()
    apart = torch.log(found + 0.02) - torch.log(wanted[:, None] + 0.02)  # a stop is 0.69
    return {"exposure": F.smooth_l1_loss(apart, torch.zeros_like(apart), beta=0.1)}


STAGES = {
    "decomposition": decomposition_stage,
    "layers": layers_stage,
    "joint": joint_stage,
    "picture": picture_stage,
    "whole": whole_stage,
    "exposure": exposure_stage,
    "distil": distil_stage,
    "taught": taught_stage,
}


OF_PICTURE = "picture", "picture_chroma", "saturation"
"""Names of the terms of the final picture, not of its layers."""


class StageLoss(nn.Module):
    """The networks and the loss of a stage in one module, as DistributedDataParallel needs it."""

    def __init__(
        self,
        kind: KinD,
        stage: str,
        weights: Weights,
        share: Share,
        picture: float = 1.0,
        brightness: float = 0.0,
    ) -> None:
        super().__init__()
        self.kind, self.weights, self.share = kind, weights, share
        self.terms = STAGES[stage]
        self.factors = dict.fromkeys(OF_PICTURE, picture) | {"brightness": picture * brightness}

    def forward(self, batch: TrainingBatch, step: int, seed: int) -> Terms:
        """Return the terms of the loss of this process's share of a batch."""
        rng = SharedRandom(self.share, [seed, 2, step])
        terms = self.terms(self.kind, batch, self.weights, step, rng)
        return {name: term * self.factors.get(name, 1.0) for name, term in terms.items()}


def split(kind: KinD, batch: TrainingBatch) -> tuple[Layer, Layer]:
    """Return image, reflectance and illumination of the dark and of the bright patches."""
    reflectance, illumination = kind.decomposition(torch.cat([batch.low, batch.high]))
    r_low, r_high = reflectance.float().chunk(2)
    l_low, l_high = illumination.float().chunk(2)
    return (batch.low, r_low, l_low), (batch.high, r_high, l_high)


def layer_terms(
    kind: KinD,
    low: Layer,
    high: Layer,
    light: tuple[Tensor, Tensor],
    w: Weights,
    rng: SharedRandom,
    least_ratio: Tensor | None = None,
) -> tuple[Terms, Tensor]:
    """Return the losses of restoration, of adjustment and of the final picture; and this picture.

    `least_ratio`, (N,), is the least ratio of the final picture.
    """
    _, r_low, l_low = low
    image_high, r_high, l_high = high
    restored = kind.restoration(r_low, l_low).float()
    up, down = illumination_ratio(*light), illumination_ratio(*reversed(light))
    brightened = kind.adjustment(l_low, up).float()
    darkened = kind.adjustment(l_high.detach(), down).float()
    if least_ratio is None:
        picture = restored * brightened
    else:
        picture = restored * kind.adjustment(l_low, torch.maximum(up, least_ratio)).float()
    terms = restoration_loss(restored, r_high.detach(), w)
    terms["adjustment"] = (
        adjustment_loss(brightened, l_high.detach())
        + adjustment_loss(darkened, l_low.detach())
        + 0.5 * between(kind, (l_low.detach(), l_high.detach()), light, rng)
    )
    terms["picture"] = picture_distance(picture, image_high)
    if w.chroma:
        terms["picture_chroma"] = w.chroma * chroma_distance(picture, image_high)
    return terms, picture


def between(
    kind: KinD, patch: tuple[Tensor, Tensor], whole: tuple[Tensor, Tensor], rng: SharedRandom
) -> Tensor:
    """Return the loss of adjustment at ratios that the pairs do not have, such as 1.

    The target is a geometric mean of the two illuminations with random weights, or a power of one
    of them. So the curve becomes the identity at a ratio of 1, and rises with the ratio from 0.1 to
    10.
    """
    count = patch[0].shape[0]
    shape = (count, 1, 1, 1)
    dark = torch.tensor(rng.random(count) < 0.5).reshape(shape).to(patch[0].device)

    def draw(low: float, high: float) -> Tensor:
        values = rng.uniform(low, high, count).astype(np.float32)
        values[rng.random(count) < 0.2] = 0.0  # ratio 1
        return torch.from_numpy(values).reshape(shape).to(patch[0].device)

    place, power, mix = draw(0, 1), draw(-1.3, 1.0), torch.from_numpy(rng.random(count) < 0.5)
    mix = mix.reshape(shape).to(patch[0].device)

    def source_and_target(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        source = torch.where(dark, low, high).clamp(min=1e-4)
        other = torch.where(dark, high, low).clamp(min=1e-4)
        mixed = source ** (1 - place) * other**place
        return source, torch.where(mix, mixed, source ** (2.0**power))

    source, target = source_and_target(*patch)
    ratio = illumination_ratio(*source_and_target(*whole)).clamp(0.05, 64)
    return adjustment_loss(kind.adjustment(source, ratio).float(), target)
