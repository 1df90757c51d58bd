"""Every loss, compared with a value that is computed by NumPy or by hand."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from streamkind.model import losses
from streamkind.model.losses import PRESETS, Weights

SIZES = [(1, 12, 17), (2, 24, 16)]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def numbers(seed, channels, count=2, height=12, width=17):
    values = np.random.default_rng(seed).random((count, channels, height, width))
    return values.astype(np.float32)


def tensors(*arrays):
    return tuple(torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in arrays)


def dx(a):
    return a[..., :, 1:] - a[..., :, :-1]


def dy(a):
    return a[..., 1:, :] - a[..., :-1, :]


def luma(a):
    return np.tensordot([0.299, 0.587, 0.114], a, axes=(0, 1))[:, None]


def test_gradients_of_a_small_picture():
    x = torch.tensor([[1.0, 2.0, 4.0], [1.0, 5.0, 5.0]])[None, None]
    across, down = losses.gradients(x)
    assert across[0, 0].tolist() == [[1, 2], [4, 0]]
    assert down[0, 0].tolist() == [[0, 3, 1]]


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_a_constant_picture_has_no_gradient_not_even_at_the_border(value):
    light = torch.full((1, 1, 8, 9), value)
    image = light.expand(1, 3, 8, 9)
    for gradient in losses.gradients(light):
        assert not gradient.any()
    assert losses.illumination_smoothness(light, torch.rand(1, 3, 8, 9)) == 0
    assert losses.mutual_consistency(light, light, "joint") == 0
    assert losses.mutual_consistency(light, light, "per_direction") == 0
    assert losses.gradient_distance(image, torch.zeros_like(image)) == 0


def test_gray_is_bt601():
    red, green, blue = torch.eye(3).reshape(3, 3, 1, 1)
    assert [float(losses.gray(c[None])) for c in (red, green, blue)] == pytest.approx(
        [0.299, 0.587, 0.114]
    )


@pytest.mark.parametrize(
    "form, wanted, high_is_free",
    [("l2", 0.09, True), ("l1", 0.3, True), ("l1_detached", 0.3, False)],
)
def test_similarity(form, wanted, high_is_free):
    low = torch.full((1, 3, 4, 4), 0.2, requires_grad=True)
    high = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    loss = losses.reflectance_similarity(low, high, form)
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-5)
    loss.backward()
    assert low.grad.abs().sum() > 0
    assert (high.grad is not None) == high_is_free


def test_smoothness():
    light, image = numbers(0, 1), numbers(1, 3)
    g = luma(image)
    wanted = sum((abs(d(light)) / np.maximum(abs(d(g)), 0.01)).mean() for d in (dx, dy))
    assert float(losses.illumination_smoothness(*tensors(light, image))) == pytest.approx(
        wanted, rel=1e-4
    )


def test_smoothness_is_cheaper_where_the_picture_has_the_edge_too():
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 4:] = 0.5
    flat = torch.full((1, 3, 8, 8), 0.5)
    assert float(losses.illumination_smoothness(edge, flat)) == pytest.approx(0.5 / 0.01 / 7)
    assert float(losses.illumination_smoothness(edge, edge.expand(1, 3, 8, 8))) == pytest.approx(
        1 / 7, rel=1e-5
    )


@pytest.mark.parametrize("form", ["joint", "per_direction"])
def test_mutual_consistency(form):
    low, high = numbers(2, 1) / 8, numbers(3, 1) / 8
    u, v = (abs(d(low)) + abs(d(high)) for d in (dx, dy))
    maps = [u[..., :-1, :] + v[..., :, :-1]] if form == "joint" else [u, v]
    wanted = sum((m * np.exp(-10 * m)).mean() for m in maps)
    assert float(losses.mutual_consistency(*tensors(low, high), form)) == pytest.approx(
        wanted, rel=1e-4
    )


def test_mutual_consistency_prefers_an_edge_that_both_have():
    def step(height):
        light = torch.zeros(1, 1, 8, 8)
        light[..., 4:] = height
        return light

    def cost(a, b):
        return float(losses.mutual_consistency(step(a), step(b), "per_direction"))

    assert cost(0.0, 0.0) < cost(0.5, 0.5) < cost(0.1, 0.0)
    assert cost(0.1, 0.0) == pytest.approx(0.1 * math.exp(-1) / 7, rel=1e-5)


def test_reconstruction():
    r, light, image = numbers(4, 3), numbers(5, 1), numbers(6, 3)
    assert float(losses.reconstruction(*tensors(r, light, image))) == pytest.approx(
        abs(r * light - image).mean(), rel=1e-5
    )
    assert losses.reconstruction(*tensors(r, light, r * light)) == 0


def test_gradient_distance_compares_magnitudes():
    x, y = numbers(7, 1), numbers(8, 1)
    wanted = sum(((abs(d(x)) - abs(d(y))) ** 2).mean() for d in (dx, dy))
    assert float(losses.gradient_distance(*tensors(x, y))) == pytest.approx(wanted, rel=1e-4)
    assert float(losses.gradient_distance(*tensors(x, 1 - x))) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("count, height, width", SIZES)
@pytest.mark.parametrize("noise", [0.0, 0.05, 1.0])
def test_ssim_is_scikit_images_without_the_border(count, height, width, noise):
    x = numbers(9, 3, count, height, width)
    y = (1 - noise) * x + noise * numbers(10, 3, count, height, width)
    scores = []
    for a, b in zip(x, y, strict=True):
        _, full = structural_similarity(
            a, b, channel_axis=0, data_range=1, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, full=True,
        )  # fmt: skip
        scores.append(full[:, 5:-5, 5:-5].mean())
    assert float(losses.ssim(*tensors(x, y))) == pytest.approx(np.mean(scores), abs=2e-5)


def test_ssim_of_a_picture_with_itself_is_one_and_computed_in_full_precision():
    (x,) = tensors(0.5 + 0.001 * numbers(11, 3))
    assert float(losses.ssim(x, x)) == pytest.approx(1, abs=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        assert float(losses.ssim(x, x.flip(-1))) == pytest.approx(
            float(losses.ssim(x.flip(-1), x)), abs=1e-6
        )
        assert losses.ssim(x.bfloat16(), x).dtype == torch.float32


def test_chroma_distance_is_blind_to_light():
    image = numbers(12, 3)
    (x,) = tensors(image)
    assert float(losses.chroma_distance(x, x + 0.2)) == pytest.approx(0, abs=1e-6)
    assert float(losses.chroma_distance(x, losses.gray(x).expand_as(x))) == pytest.approx(
        abs(image - luma(image)).mean(), rel=1e-4
    )


def painted(*strengths, size=16):
    """Return a gray picture whose 8x8 blocks have the given strengths of chroma, row by row."""
    color = np.array([0.1, -0.05, 0.02]).reshape(1, 3, 1, 1)
    blocks = np.array(strengths).reshape(1, 1, -1, size // 8).repeat(8, axis=2).repeat(8, axis=3)
    return torch.from_numpy((0.5 + color * blocks).astype(np.float32))


def test_saturation_distance_is_of_the_logarithm_weighted_by_true_chroma():
    def chroma(strength):
        c = strength * np.array([0.1, -0.05, 0.02])
        c = c - 0.299 * c[0] - 0.587 * c[1] - 0.114 * c[2]
        return np.sqrt((c**2).sum() + 1e-6) + 0.02

    got, true = (1.0, 2.0, 0.0, 1.0), (2.0, 2.0, 1.0, 0.5)
    wanted = sum(
        abs(math.log(chroma(a) / chroma(b))) * chroma(b) for a, b in zip(got, true, strict=True)
    )
    wanted /= sum(chroma(b) for b in true)
    distance = losses.saturation_distance(painted(*got), painted(*true))
    assert float(distance) == pytest.approx(wanted, rel=1e-4)


def test_saturation_distance_asks_for_strength_not_for_a_certain_hue():
    picture = painted(1, 2, 1, 2)
    other = picture[:, [1, 2, 0]]  # about as colourful, other hues
    gray = losses.gray(picture).expand(1, 3, 16, 16)
    near, far = (float(losses.saturation_distance(p, picture)) for p in (other, gray))
    assert near < 0.35 * far
    assert float(losses.saturation_distance(picture, picture)) == 0


def test_envelope_splits_a_flat_pair_and_keeps_its_colour():
    colour = torch.tensor([0.8, 0.4, 0.2]).reshape(1, 3, 1, 1).expand(1, 3, 24, 24)
    l_low, reflectance, l_high = losses.envelope(colour / 8, colour)
    torch.testing.assert_close(l_high, torch.full_like(l_high, 0.8))
    torch.testing.assert_close(reflectance, colour / 0.8)
    torch.testing.assert_close(l_low, torch.full_like(l_low, 0.1), atol=1e-3, rtol=0)


def test_envelope_of_a_textured_pair_lies_in_0_to_1_and_above_the_picture_in_the_mean():
    low, high = tensors(numbers(13, 3, 2, 32, 32) / 10, numbers(14, 3, 2, 32, 32))
    l_low, reflectance, l_high = losses.envelope(low, high)
    for layer in (l_low, reflectance, l_high):
        assert 0 <= float(layer.min()) <= float(layer.max()) <= 1
    assert float(l_high.mean()) > float(high.mean())
    black = torch.zeros_like(high)
    assert all(torch.isfinite(layer).all() for layer in losses.envelope(black, black))


def flat_layers(image, reflectance, light):
    shape = (1, 3, 12, 12)
    return (
        torch.full(shape, image),
        torch.full(shape, reflectance),
        torch.full((1, 1, 12, 12), light),
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_a_flat_pair_that_is_split_without_error_costs_nothing_but_the_prior(preset):
    low, high = flat_layers(0.125, 0.5, 0.25), flat_layers(0.5, 0.5, 1.0)
    terms = losses.decomposition_loss(low, high, PRESETS[preset], step=0)
    for name, value in terms.items():
        assert name == "prior" or float(value) == pytest.approx(0, abs=1e-7), name


WEIGHTS = Weights(
    reconstruction=2, similarity=3, similarity_form="l1", smoothness=5, mutual=7, cross=11,
    low_gain=13, prior=17, prior_steps=100, prior_floor=0.25,
)  # fmt: skip


@pytest.mark.parametrize("step, prior", [(0, 17), (50, 8.5), (75, 4.25), (100, 4.25), (9000, 4.25)])
def test_terms_of_the_decomposition_are_weighted(step, prior):
    image_low, r_low, l_low = tensors(numbers(20, 3) / 8, numbers(21, 3), numbers(22, 1) / 8)
    image_high, r_high, l_high = tensors(numbers(23, 3), numbers(24, 3), numbers(25, 1))
    terms = losses.decomposition_loss(
        (image_low, r_low, l_low), (image_high, r_high, l_high), WEIGHTS, step
    )
    e_low, e_r, e_high = losses.envelope(image_low, image_high)

    def apart(a, b):
        return float((a - b).abs().mean())

    wanted = {
        "reconstruction": 2
        * (13 * apart(r_low * l_low, image_low) + apart(r_high * l_high, image_high)),
        "similarity": 3 * apart(r_low, r_high),
        "smoothness": 5
        * float(
            losses.illumination_smoothness(l_low, image_low)
            + losses.illumination_smoothness(l_high, image_high)
        ),
        "mutual": 7 * float(losses.mutual_consistency(l_low, l_high)),
        "cross": 11 * apart(r_low * l_high, image_high),
        "prior": prior
        * (
            13 * apart(l_low, e_low)
            + apart(l_high, e_high)
            + apart(r_low, e_r)
            + apart(r_high, e_r)
        ),
    }
    assert {k: float(v) for k, v in terms.items()} == pytest.approx(wanted, rel=1e-4)


def test_cross_reconstruction_leaves_the_bright_light_alone():
    l_high = torch.rand(1, 1, 8, 8, requires_grad=True)
    low = (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8))
    high = (torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), l_high)
    terms = losses.decomposition_loss(low, high, Weights(cross=1.0), step=0)
    assert terms["reconstruction"].requires_grad
    assert not terms["cross"].requires_grad


@pytest.mark.parametrize("preset, gamma", [("paper", 1.0), ("authors", 1.2), ("default", 1.0)])
def test_restoration(preset, gamma):
    x, r_high = numbers(30, 3, 1, 16, 16), numbers(31, 3, 1, 16, 16)
    target = r_high**gamma
    terms = losses.restoration_loss(*tensors(x, r_high), PRESETS[preset])
    gx, gt = luma(x), luma(target)
    wanted = {
        "restoration": ((x - target) ** 2).mean()
        + (1 - float(losses.ssim(*tensors(x, target))))
        + sum(((abs(d(gx)) - abs(d(gt))) ** 2).mean() for d in (dx, dy))
    }
    if preset == "default":
        wanted["restoration_chroma"] = abs((x - gx) - (target - gt)).mean()
    assert {k: float(v) for k, v in terms.items()} == pytest.approx(wanted, rel=1e-3)


def test_adjustment():
    x, y = numbers(32, 1), numbers(33, 1)
    wanted = ((x - y) ** 2).mean() + sum(((abs(d(x)) - abs(d(y))) ** 2).mean() for d in (dx, dy))
    assert float(losses.adjustment_loss(*tensors(x, y))) == pytest.approx(wanted, rel=1e-4)
    assert losses.adjustment_loss(*tensors(x, x)) == 0


@pytest.mark.parametrize(
    "preset, wanted",
    [
        (
            "paper",
            {
                "reconstruction": 1,
                "similarity": 0.01,
                "similarity_form": "l2",
                "smoothness": 0.08,
                "mutual": 0.1,
                "mutual_form": "joint",
                "restoration_gamma": 1,
            },
        ),
        (
            "authors",
            {
                "reconstruction": 1,
                "similarity": 0.01,
                "similarity_form": "l1",
                "smoothness": 0.15,
                "mutual": 0.2,
                "mutual_form": "per_direction",
                "restoration_gamma": 1.2,
            },
        ),
    ],
)
def test_presets_are_what_they_are_named_after(preset, wanted):
    ours = {"cross": 0, "low_gain": 1, "chroma": 0, "prior": 0}  # only `default` sets these
    assert {k: getattr(PRESETS[preset], k) for k in wanted | ours} == wanted | ours


def test_default_preset_guards_against_both_collapses():
    default = PRESETS["default"]
    assert set(PRESETS) == {"paper", "authors", "default", "kindpp"}
    assert default.prior > 0 and default.prior_steps > 0
    assert default.cross > 0 and default.similarity_form == "l1_detached"
