"""The network `lite`: its cost, its parts and its training."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from streamkind.model import distillation
from streamkind.model.augment import Augmentation
from streamkind.model.data import Pair, TrainingBatch, prefetched
from streamkind.model.distillation import (
    DistillationBatch,
    cut,
    make_pool,
    teacher_layers,
    teacher_of,
)
from streamkind.model.distillation_stages import taught_stage
from streamkind.model.kind import KinD, parameter_count
from streamkind.model.lite import Lite
from streamkind.model.losses import PRESETS, mean_gain, picture_distance
from streamkind.model.processes import ALONE, SharedRandom
from streamkind.model.stages import StageLoss

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def small_pools():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distillation, "POOL", 4)
        patch.setattr(distillation, "SIDE", 48)
        patch.setattr(distillation, "REUSE", 3)
        yield


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(3)
    blocks = rng.integers(20, 255, (6, 13, 13, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)
    return [Pair(str(i), high // 8, high) for i, high in enumerate(blocks)]


def work(kind):
    """Return the multiply-adds per pixel of a model."""
    with FlopCounterMode(display=False) as count, torch.no_grad():
        kind(torch.rand(1, 3, 64, 64), torch.ones(1))
    return count.get_total_flops() / 2 / 64**2


def test_lite_does_an_eighth_of_the_work_of_kind():
    assert 25_000 < work(Lite()) < 40_000
    assert work(KinD()) > 7.5 * work(Lite())
    sizes = {n: parameter_count(net) for n, net in Lite().named_children()}
    assert sizes["adjustment"] == 337 and sizes["exposure"] == 113_282


@torch.no_grad()
def test_the_layers_make_the_picture():
    image = torch.rand(2, 3, 48, 32) * 0.3
    lite = Lite().eval()
    reflectance, illumination = lite.decomposition(image)
    assert reflectance.shape == image.shape and illumination.shape == (2, 1, 48, 32)
    below = reflectance < 1  # reflectance is clipped to 1
    assert (reflectance * illumination - image).abs()[below].max() < 2e-3
    restored = lite.restoration(reflectance, illumination)
    assert restored.shape == image.shape and restored.min() >= 0 and restored.max() <= 1


@pytest.mark.parametrize("bias, limit", [(2.0, 1), (-2.0, 0)], ids=["white", "black"])
def test_a_picture_that_is_at_a_limit_everywhere_can_learn(bias, limit):
    lite = Lite()
    torch.nn.init.constant_(lite.restoration.out[0].weight, 0.0)
    torch.nn.init.constant_(lite.restoration.out[0].bias, bias)
    layers = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    lite.restoration(*layers).mean().backward()
    assert (lite.restoration.out[0].bias.grad > 0).all()
    assert (lite.eval().restoration(*layers) == limit).all()


def some_batches(pairs, steps, seed=5, augment=None):
    augment = augment or Augmentation(noise=0.5, flat=0.2)
    pool = partial(make_pool, pairs, seed=seed, augment=augment)
    pools = partial(prefetched, pool, workers=0)
    return [
        *distillation.distillation_batches(pools, steps, batch=2, patch=32, seed=seed, device=CPU)
    ]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_a_distillation_batch_depends_only_on_its_step(pairs):
    whole = some_batches(pairs, range(14))
    assert len(whole) == 14
    for start in (3, 6, 7):  # in a pool, at the begin of the next, after that
        assert same(some_batches(pairs, range(start, start + 2))[1], whole[start + 1])
    assert not same(some_batches(pairs, range(2), seed=6)[1], whole[1])


def test_each_pair_of_a_pool_is_used_equally_often(pairs):
    plain = Augmentation()
    seen = [
        batch.low_small.flatten(1).sum(1) for batch in some_batches(pairs, range(6), augment=plain)
    ]
    _, counts = torch.cat(seen).unique(return_counts=True)
    assert counts.tolist() == [3] * 4


def test_crops_of_a_distillation_batch_show_the_same_place():
    side, patch = 48, 32
    ramp = torch.arange(4 * side * side, dtype=torch.float32).reshape(4, 1, side, side)
    color, small, ratio = ramp.expand(4, 3, side, side), torch.rand(4, 3, 80, 120), torch.rand(4)
    pool = DistillationBatch(color, color, small, small, ramp, ramp, color, ratio)
    chosen = torch.tensor([2, 0])
    for seed in range(12):
        part = cut(pool, chosen, patch, np.random.default_rng(seed))
        layers = (part.high, part.restored, part.light.expand_as(part.low), part.light_high)
        assert part.low.shape == (2, 3, patch, patch)
        assert all(torch.equal(part.low, layer.expand_as(part.low)) for layer in layers)
        assert torch.equal(part.ratio, ratio[chosen])
        assert torch.equal(part.low_small, small[chosen])
        assert (part.low[0] >= 2 * side * side).all() and (part.low[1] < side * side).all()


def test_teacher_layers_are_those_of_each_pair():
    low, small = torch.rand(3, 3, 32, 32) * 0.1, torch.rand(3, 3, 80, 120) * 0.1
    teacher = teacher_of(CPU)
    found = teacher_layers(teacher, TrainingBatch(low, 8 * low, small, 8 * small))
    with torch.no_grad():
        reflectance, light = teacher.decomposition(low)
        restored = teacher.restoration(reflectance, light)
    torch.testing.assert_close(found.light, light)
    torch.testing.assert_close(found.restored, restored)
    assert (found.light_high > found.light).float().mean() > 0.9
    assert (found.ratio > 1.5).all()


def random_batch():
    rng = torch.Generator().manual_seed(0)
    high = torch.rand(2, 3, 6, 6, generator=rng)
    high = torch.nn.functional.interpolate(high, scale_factor=8.0)
    small = torch.nn.functional.interpolate(high, size=(80, 120))
    batch = TrainingBatch(0.12 * high, high, 0.12 * small, small)
    return teacher_layers(teacher_of(CPU), batch)


@pytest.mark.parametrize("step", [0, 1], ids=["ratio of the truth's luma", "ratio of the pair"])
def test_all_parts_learn_but_not_the_teacher(step):
    lite = Lite()
    loss = StageLoss(lite, "taught", PRESETS["default"], ALONE)
    sum(loss(random_batch(), step, 0).values()).backward()
    for name in ("decomposition", "restoration", "adjustment"):
        for parameter in getattr(lite, name).parameters():
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert all(p.grad is None for p in lite.exposure.parameters())
    assert all(p.grad is None for p in teacher_of(CPU).parameters())


def test_lite_learns_from_its_teacher_and_the_truth():
    torch.manual_seed(0)
    lite, batch = Lite(), random_batch()
    loss = StageLoss(lite, "taught", PRESETS["default"], ALONE)
    optimiser = torch.optim.Adam(lite.parameters(), lr=1e-3)
    totals = []
    for step in range(24):
        total = sum(loss(batch, 2 * step + 1, 0).values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
    assert np.mean(totals[-4:]) < 0.75 * np.mean(totals[:4])


@pytest.mark.parametrize(
    "factor, scaled",
    [(1.0, 1.0), (1.02, 0.99), (0.98, 0.99), (1.5, 0.0), (0.5, 0.0)],
)
def test_a_picture_near_the_truths_mean_is_compared_at_that_mean(factor, scaled):
    """Check that the gain removes `scaled` of the distance to the truth's mean, in stops."""
    wanted = torch.rand(2, 3, 16, 16) * 0.5 + 0.1
    gain = mean_gain(factor * wanted, wanted)
    assert gain.shape == (2, 1, 1, 1)
    if factor == 1:
        torch.testing.assert_close(gain, torch.ones_like(gain))
    else:
        share = torch.log(gain) / -np.log(factor)
        torch.testing.assert_close(share, torch.full_like(share, scaled), atol=0.02, rtol=0)


@pytest.mark.parametrize("factor", [1.0, 1.04, 0.96, 1.5])
def test_a_change_of_brightness_by_restoration_has_a_loss(factor):
    batch = random_batch()
    lite = Lite()
    lite.restoration.forward = lambda reflectance, light: factor * batch.high
    lite.adjustment.forward = lambda light, ratio: torch.ones_like(light)
    # The picture is the product of these two, so the layers and the ratio do not matter.
    found = taught_stage(lite, batch, PRESETS["default"], 1, SharedRandom(ALONE, [0]))
    wanted = 2 * abs(factor - 1) * float(batch.high.mean())
    assert float(found["brightness"]) == pytest.approx(wanted, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("picture, brightness", [(1.0, 0.0), (1.0, 1.0), (3.0, 0.5)])
def test_a_stage_says_how_much_the_picture_and_its_brightness_count(picture, brightness):
    lite, batch = Lite(), random_batch()
    loss = StageLoss(lite, "taught", PRESETS["default"], ALONE, picture, brightness)
    of_picture = {"picture", "picture_chroma", "saturation"}
    with torch.no_grad():
        plain = taught_stage(lite, batch, PRESETS["default"], 1, SharedRandom(ALONE, [0, 2, 1]))
        found = loss(batch, 1, 0)
    for name, term in found.items():
        share = picture if name in of_picture else 1
        share = picture * brightness if name == "brightness" else share
        assert float(term) == pytest.approx(share * float(plain[name]), rel=1e-4), name


def test_black_pictures_have_a_gain_too():
    black = torch.zeros(1, 3, 16, 16)
    below = black - 0.01  # beyond the limits of restored reflectance, as in training
    pairs = ((black, black), (black, black + 0.4), (black + 0.4, black), (below, black))
    for picture, wanted in pairs:
        assert torch.isfinite(mean_gain(picture, wanted)).all()


def test_structure_is_compared_at_several_sizes():
    rng = torch.Generator().manual_seed(1)
    wanted = torch.rand(1, 3, 64, 64, generator=rng)
    coarse = torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8, generator=rng), (64, 64))
    grain, patches = (x - x.mean() for x in (torch.rand(wanted.shape, generator=rng), coarse))
    far = [
        picture_distance((wanted + 0.2 * e / e.std()), wanted, scales=3) for e in (grain, patches)
    ]
    near = [picture_distance((wanted + 0.2 * e / e.std()), wanted) for e in (grain, patches)]
    assert far[1] / far[0] > near[1] / near[0]  # patches of eight pixels count more than grain
