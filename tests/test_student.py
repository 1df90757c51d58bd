"""The network `student`: its cost, its parts and its training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from streamkind.model.data import TrainingBatch
from streamkind.model.kind import KinD, parameter_count
from streamkind.model.losses import PRESETS
from streamkind.model.processes import ALONE
from streamkind.model.stages import StageLoss
from streamkind.model.student import Student


def work(kind):
    """Return the multiply-adds per pixel of a model."""
    with FlopCounterMode(display=False) as count, torch.no_grad():
        kind(torch.rand(1, 3, 64, 64), torch.ones(1))
    return count.get_total_flops() / 2 / 64**2


def test_the_student_does_a_twentieth_of_the_work_of_kind():
    assert work(Student()) == 12_160
    assert work(KinD()) > 20 * work(Student())
    sizes = {n: parameter_count(net) for n, net in Student().named_children()}
    assert sizes == {
        "decomposition": 34_772, "restoration": 167_276, "adjustment": 337, "exposure": 113_282,
    }  # fmt: skip


@torch.no_grad()
def test_the_layers_make_the_picture():
    image = torch.rand(2, 3, 48, 32) * 0.3
    student = Student().eval()
    reflectance, illumination = student.decomposition(image)
    assert reflectance.shape == image.shape and illumination.shape == (2, 1, 48, 32)
    below = reflectance < 1  # reflectance is clipped to 1
    error = (reflectance * illumination - image).abs()[below]
    assert error.max() < 2e-3
    restored = student.restoration(reflectance, illumination)
    assert restored.min() >= 0 and restored.max() <= 1
    lights = [student.adjustment(illumination, torch.full((2,), r)) for r in (0.2, 5.0)]
    assert all(light.shape == illumination.shape for light in lights)


def batch(seed=0, count=2, size=32):
    """Return a training batch of random blocks, dark and bright."""
    rng = torch.Generator().manual_seed(seed)
    high = torch.rand(count, 3, size // 8, size // 8, generator=rng)
    high = torch.nn.functional.interpolate(high, scale_factor=8.0)
    small = torch.nn.functional.interpolate(high, size=(80, 120))
    return TrainingBatch(0.12 * high, high, 0.12 * small, small)


@pytest.mark.parametrize("step", [0, 1], ids=["whole", "reduced"])
def test_all_parts_learn_but_not_the_teacher(step):
    student = Student()
    loss = StageLoss(student, "distil", PRESETS["default"], ALONE)
    sum(loss(batch(), step, 0).values()).backward()
    for name in ("decomposition", "restoration", "adjustment"):
        for parameter in getattr(student, name).parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert all(p.grad is None for p in student.exposure.parameters())


def test_the_student_learns_from_its_teacher():
    torch.manual_seed(0)
    student = Student()
    loss = StageLoss(student, "distil", PRESETS["default"], ALONE)
    optimiser = torch.optim.Adam(student.parameters(), lr=3e-3)
    totals = []
    for step in range(24):
        terms = loss(batch(), 2 * step, 0)
        total = sum(terms.values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
    assert np.mean(totals[-4:]) < 0.75 * np.mean(totals[:4])
