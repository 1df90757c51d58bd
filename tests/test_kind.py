"""The networks of KinD and KinD++: sizes, shapes, and agreement with the paper."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from streamkind.model.kind import (
    Adjustment,
    Conv,
    Decomposition,
    KinD,
    Restoration,
    illumination_ratio,
    join,
    parameter_count,
)
from streamkind.model.kindpp import KinDpp, MultiScaleRestoration


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def kind():
    torch.manual_seed(0)
    return KinD().eval().requires_grad_(False)


@pytest.mark.parametrize(
    "net, count",
    [
        (Decomposition, 235_876),
        (Restoration, 7_760_739),
        (Adjustment, 19_393),
        (MultiScaleRestoration, 8_019_239),
    ],
)
def test_parameter_count_is_the_authors(net, count):
    assert parameter_count(net()) == count


@pytest.mark.parametrize("count, height, width", [(1, 16, 16), (3, 32, 48), (1, 96, 128)])
def test_every_layer_has_the_size_of_the_image_and_lies_in_0_to_1(kind, count, height, width):
    image = torch.rand(count, 3, height, width)
    reflectance, illumination = kind.decomposition(image)
    ratio = torch.linspace(0.5, 5, count)
    restored = kind.restoration(reflectance, illumination)
    adjusted = kind.adjustment(illumination, ratio)
    relit = kind(image, ratio)
    three, one = (count, 3, height, width), (count, 1, height, width)
    for layer, shape in [
        (reflectance, three),
        (illumination, one),
        (restored, three),
        (adjusted, one),
        (relit, three),
    ]:
        assert tuple(layer.shape) == shape
        assert 0 <= float(layer.min()) <= float(layer.max()) <= 1
    torch.testing.assert_close(relit, restored * adjusted)


def test_a_picture_does_not_depend_on_the_others_of_its_batch(kind):
    images = torch.rand(3, 3, 32, 32)
    ratios = torch.tensor([0.5, 1.0, 8.0])
    together = kind(images, ratios)
    alone = torch.cat([kind(images[i : i + 1], ratios[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_leaky_slope_is_a_fifth_everywhere(kind):
    slopes = [m.negative_slope for m in kind.modules() if isinstance(m, nn.LeakyReLU)]
    assert len(slopes) == 6 + 18 + 4 + 6  # decomposition, restoration, adjustment, exposure
    assert set(slopes) == {0.2}
    conv = Conv(1, 1).requires_grad_(False)
    conv[0].bias.zero_()
    conv[0].weight.zero_()
    conv[0].weight[0, 0, 1, 1] = 1
    x = torch.tensor([-1.0, 0.0, 2.0]).reshape(1, 1, 1, 3)
    assert conv(x).flatten().tolist() == pytest.approx([-0.2, 0.0, 2.0])


def test_there_is_no_normalisation_layer(kind):
    nets = (kind.decomposition, kind.restoration, kind.adjustment)
    kinds = {type(m) for net in nets for m in net.modules() if not list(m.children())}
    assert kinds <= {nn.Conv2d, nn.ConvTranspose2d, nn.LeakyReLU}
    assert not list(kind.buffers())


def test_convolutions_have_a_bias_and_transposed_ones_have_none(kind):
    for module in kind.modules():
        if isinstance(module, nn.ConvTranspose2d):
            assert module.bias is None and module.kernel_size == module.stride == (2, 2)
        elif isinstance(module, nn.Conv2d):
            assert module.bias is not None and module.stride == (1, 1)
            assert float(module.bias.abs().max()) == 0  # as it is initialised


def test_upsampled_features_come_first():
    deconv, skip = torch.ones(1, 2, 4, 4), torch.zeros(1, 3, 4, 4)
    assert join(deconv, skip)[0, :, 0, 0].tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("light", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("ratio", [0.1, 1.0, 5.0, 10.0])
def test_adjustment_does_not_differ_at_the_border(kind, light, ratio):
    adjusted = kind.adjustment(torch.full((1, 1, 16, 32), light), torch.tensor([ratio]))
    torch.testing.assert_close(adjusted, adjusted[..., 8:9, 16:17].expand_as(adjusted))


def test_adjustment_sees_the_ratio_as_its_logarithm(kind):
    seen = []
    hook = kind.adjustment.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    kind.adjustment(torch.full((3, 1, 16, 16), 0.5), torch.tensor([0.125, 1.0, 8.0]))
    hook.remove()
    assert seen[0][:, 1].mean(dim=(1, 2)).tolist() == pytest.approx([-3.0, 0.0, 3.0])
    assert float(seen[0][:, 1].std(dim=(1, 2)).max()) == 0  # the same everywhere, padding included


def reach(net, channels, size, outputs=lambda y: y):
    """Return the largest distance, in pixels, of an input pixel that affects an output pixel."""
    image = torch.rand(1, channels, size, size, requires_grad=True)
    farthest = 0
    for y in range(size // 2, size // 2 + 4):
        outputs(net(image))[..., y, y].sum().backward()
        touched = image.grad.abs().amax(dim=(0, 1)).nonzero() - y
        farthest = max(farthest, int(touched.abs().max()))
        image.grad = None
    return farthest


def test_decomposition_sees_thirteen_pixels_around():
    net = Decomposition().requires_grad_(False)
    assert reach(net, 3, 64, outputs=lambda y: torch.cat(y, dim=1)) == 13


def test_adjustment_is_nearly_a_curve_per_pixel():
    net = Adjustment().requires_grad_(False)
    assert reach(lambda light: net(light, torch.tensor([2.0])), 1, 32) == 4


@pytest.mark.parametrize(
    "source, target",
    [
        ([[0.1, 0.4]], [[0.4, 0.4]]),
        ([[0.5, 0.5]], [[0.5, 0.5]]),
        ([[0.2, 0.8], [0.3, 0.6]], [[0.8, 0.2], [0.9, 0.9]]),
    ],
)
def test_ratio_is_the_mean_of_dark_over_bright_or_its_reciprocal(source, target):
    s, t = (torch.tensor(x)[:, None, None, :] for x in (source, target))
    a, b = np.array(source), np.array(target)
    up = 1 / ((a / (b + 1e-4)).mean(axis=1) + 1e-4)
    wanted = np.where(b.mean(axis=1) > a.mean(axis=1), up, (b / (a + 1e-4)).mean(axis=1))
    assert illumination_ratio(s, t).tolist() == pytest.approx(wanted.tolist(), rel=1e-5)


def test_ratios_of_both_ways_are_reciprocal():
    dark, bright = torch.rand(3, 1, 8, 8) * 0.1 + 0.01, torch.rand(3, 1, 8, 8) * 0.5 + 0.2
    both = illumination_ratio(dark, bright) * illumination_ratio(bright, dark)
    assert both.tolist() == pytest.approx([1] * 3, rel=2e-3)


def test_a_pixel_of_black_light_does_not_decide_the_ratio():
    dark, bright = torch.full((1, 1, 8, 8), 0.1), torch.full((1, 1, 8, 8), 0.4)
    dark[0, 0, 0, 0] = 0.0
    assert float(illumination_ratio(dark, bright)) == pytest.approx(4, rel=0.02)


def test_ratio_of_black_light_is_finite():
    assert torch.isfinite(illumination_ratio(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2))).all()


def test_kindpp_differs_from_kind_in_its_restoration_alone(kind):
    other = KinDpp().eval().requires_grad_(False)
    buffers = {n for n, _ in other.named_buffers() if not n.endswith("num_batches_tracked")}
    assert sum(other.get_buffer(n).numel() for n in buffers) == 3840
    shapes = [{n: p.shape for n, p in k.named_parameters()} for k in (kind, other)]
    assert {n.split(".")[0] for n in shapes[0].keys() ^ shapes[1].keys()} == {"restoration"}
    image = torch.rand(2, 3, 48, 32)
    relit = other(image, torch.tensor([1.0, 4.0]))
    assert relit.shape == image.shape and 0 <= float(relit.min()) <= float(relit.max()) <= 1


def test_the_light_guides_kindpps_restoration():
    net, light = MultiScaleRestoration().eval(), torch.rand(1, 1, 32, 32, requires_grad=True)
    net(torch.rand(1, 3, 32, 32), light)[..., 16, 16].sum().backward()
    assert light.grad[..., 16, 16].abs().item() > 0
    assert light.grad[..., :2, :2].abs().max() > 0  # through the quarter scale, too
    assert all(p.grad.abs().max() > 0 for p in net.attentions.parameters() if p.shape[:2] == (1, 1))


@pytest.mark.parametrize("size", [(25, 38), (68, 120), (1, 1)])
def test_a_histogram_does_not_depend_on_positions(kind, size):
    histogram, blocks = kind.exposure.histogram, torch.rand(2, 3, *size) * 0.2
    shuffled = blocks.flatten(2)[..., torch.randperm(size[0] * size[1])].reshape(blocks.shape)
    exposure = histogram(blocks)
    assert exposure.shape == (2,) and 0 < float(exposure.min()) <= float(exposure.max()) < 1
    assert histogram(shuffled).tolist() == pytest.approx(exposure.tolist(), rel=1e-4)


def test_exposure_is_that_of_a_picture_of_any_size(kind):
    rows, columns = kind.exposure.look.SIZE
    image = F.interpolate(torch.rand(2, 3, 5, 5) * 0.2, (rows, columns), mode="bilinear")
    other = F.interpolate(image, (3 * rows, 3 * columns), mode="bilinear")
    exposure, estimates = kind.exposure(image), kind.exposure.estimates(image)
    assert exposure.shape == (2,)
    torch.testing.assert_close(exposure.log(), estimates.log().mean(dim=1))
    assert kind.exposure(other).tolist() == pytest.approx(exposure.tolist(), rel=1e-2)


@pytest.mark.parametrize("size", [(4, 4), (4, 300)])
def test_a_picture_of_odd_sides_has_an_exposure(kind, size):
    assert 0 < kind.exposure(torch.rand(1, 3, *size)).item() < 1


def test_exposure_does_not_see_how_bright_a_lamp_is(kind):
    image = 0.1 * torch.rand(2, 3, *kind.exposure.look.SIZE)
    image[0, :, 20:30, 20:30], image[1] = 0.4, image[0]
    image[1, :, 20:30, 20:30] = 1.0
    dim, bright = kind.exposure(image)
    assert float(dim) == pytest.approx(float(bright), rel=1e-5)


def test_feature_exposure_begins_with_the_weights_of_decomposition():
    kind = KinD().eval().requires_grad_(False)
    image, look = 0.1 * torch.rand(1, 3, *kind.exposure.look.SIZE), kind.exposure.look
    before = look(image)
    look.begin_as(kind.decomposition)
    torch.testing.assert_close(look.conv1(image), kind.decomposition.conv1(image))
    assert look(image) != before
