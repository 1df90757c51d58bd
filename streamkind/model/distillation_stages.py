"""Training stages of the small networks. Their targets are layers of KinD and true pictures."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from streamkind.model.data import TrainingBatch
from streamkind.model.distillation import DistillationBatch, teacher_of
from streamkind.model.kind import KinD, illumination_ratio
from streamkind.model.losses import (
    Weights,
    chroma_distance,
    mean_gain,
    picture_distance,
    restoration_loss,
    saturation_distance,
)
from streamkind.model.pair_ratio import matching_ratio, small_light
from streamkind.model.processes import SharedRandom

Terms = dict[str, Tensor]


def distil_stage(
    kind: KinD, batch: TrainingBatch, w: Weights, step: int, rng: SharedRandom
) -> Terms:
    """Return the losses of the stage `distil`, which trains the model `student`.

    The targets are the teacher's layers, and the true picture. In every second step the pictures
    are reduced to half size first, because the profile `realtime` reduces frames too.
    """
    low, high = (F.avg_pool2d(i, 2) if step % 2 else i for i in (batch.low, batch.high))
    teacher, images, count = teacher_of(low.device), torch.cat([low, high]), len(low)
    with torch.no_grad():
        ratio = illumination_ratio(*small_light(teacher, batch))
        reflectance_to, light_to = (x.float() for x in teacher.decomposition(images))
        restored_to = teacher.restoration(reflectance_to[:count], light_to[:count]).float()
        bright_to = teacher.adjustment(light_to[:count], ratio).float()
    reflectance, light = kind.decomposition(images)
    restored = kind.restoration(reflectance[:count], light[:count]).float()
    picture = restored * kind.adjustment(light[:count], ratio).float()
    apart = (light.float() - light_to).abs()
    terms = restoration_loss(restored, restored_to, w) | {
        "light": w.low_gain * apart[:count].mean() + apart[count:].mean(),
        "reflectance": 0.3 * F.l1_loss(reflectance.float(), reflectance_to),
        "adjustment": curve_loss(kind, light_to, rng),
    }
    for name, wanted in (("teacher_picture", restored_to * bright_to), ("picture", high)):
        terms[name] = picture_distance(picture, wanted)
    terms["picture_chroma"] = w.chroma * chroma_distance(picture, high)
    return terms


def taught_stage(
    kind: KinD, batch: TrainingBatch, w: Weights, step: int, rng: SharedRandom
) -> Terms:
    """Return the losses of the stage `taught`, which trains the model `lite`.

    The targets are the teacher's layers, and the true picture.
    """
    assert isinstance(batch, DistillationBatch)
    count = len(batch.low)
    with torch.no_grad():
        ratio = batch.ratio if step % 2 else matching_ratio(kind, batch)
    reflectance, light = kind.decomposition(torch.cat([batch.low, batch.high]))
    light_low, light_high = light.float().chunk(2)
    # Without a gradient into decomposition: where L is near 0, that of I / L would drive L to 1.
    seen, at = reflectance[:count].detach(), light[:count].detach()
    restored = kind.restoration(seen, at).float()
    picture = restored * kind.adjustment(at, ratio).float()
    light_to = F.avg_pool2d(torch.cat([batch.light, batch.light_high]), 4)
    terms = restoration_loss(restored, batch.restored, w) | {
        "light": w.low_gain * F.l1_loss(light_low, batch.light)
        + F.l1_loss(light_high, batch.light_high),
        "adjustment": curve_loss(kind, light_to, rng),
    }
    level = picture * mean_gain(picture, batch.high)
    bright, wanted = (x.mean(dim=(1, 2, 3)) for x in (picture, batch.high))
    return terms | {
        # `mean_gain` removes errors of brightness from the terms below. But `auto` needs a
        # restoration that keeps the brightness.
        "brightness": 2 * F.l1_loss(bright, wanted),
        "picture": picture_distance(level, batch.high, scales=3),
        "picture_chroma": w.chroma * chroma_distance(level, batch.high),
        "saturation": w.saturation * saturation_distance(level, batch.high),
    }


def curve_loss(kind: KinD, light: Tensor, rng: SharedRandom) -> Tensor:
    """Return the distance of the adjustment from the teacher's, at ratios from 0.1 to 10.

    `light`, (2 N, 1, h, w), is the teacher's illumination of dark and of bright pictures. With the
    student's own, the curve would learn to correct its errors.
    """
    stops = rng.uniform(-3.3, 3.3, len(light) // 2).astype(np.float32)
    ratios = torch.cat([2.0 ** torch.from_numpy(stops).to(light.device)] * 2)
    with torch.no_grad():
        wanted = teacher_of(light.device).adjustment(light, ratios).float()
    return 2 * F.l1_loss(kind.adjustment(light, ratios).float(), wanted)
