"""KinD's three networks, layer by layer.

Zhang, Zhang, Guo: Kindling the Darkness (ACM MM 2019). An image is split into reflectance and
illumination, I = R * L. The reflectance is restored, guided by the illumination. The illumination
is adjusted by a ratio. The product of the two is the enhanced picture.

All maps are float in [0, 1]: images and reflectance (N, 3, H, W), illumination (N, 1, H, W). Height
and width are multiples of 16; the caller pads by edge replication and crops.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamkind.model.released import MULTIPLE

NEGATIVE_SLOPE = 0.2  # slope of every leaky ReLU below 0, as the authors' code; torch has 0.01


class Conv(nn.Sequential):
    """3x3 convolution and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)
        )


def up(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Return a 2x2 transposed convolution that doubles the size: no bias, no activation."""
    return nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)


def join(deconv: Tensor, skip: Tensor) -> Tensor:
    """Concatenate along channels, the upsampled features first."""
    return torch.cat([deconv, skip], dim=1)


class Decomposition(nn.Module):
    """Image -> reflectance and illumination. No normalisation layer: with one it does not train."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Conv(3, 32)
        self.conv2 = Conv(32, 64)
        self.conv3 = Conv(64, 128)
        self.up2 = up(128, 64)
        self.conv4 = Conv(128, 64)
        self.up1 = up(64, 32)
        self.conv5 = Conv(64, 32)
        self.reflectance = nn.Conv2d(32, 3, 1)
        self.illumination_branch = Conv(32, 32)
        self.illumination = nn.Conv2d(64, 1, 1)
        self.apply(initialise)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) -> reflectance (N, 3, H, W), illumination (N, 1, H, W)."""
        full = self.conv1(image)  # (N, 32, H, W)
        half = self.conv2(F.max_pool2d(full, 2))  # (N, 64, H/2, W/2)
        quarter = self.conv3(F.max_pool2d(half, 2))  # (N, 128, H/4, W/4)
        half = self.conv4(join(self.up2(quarter), half))
        features = self.conv5(join(self.up1(half), full))  # (N, 32, H, W)
        reflectance = torch.sigmoid(self.reflectance(features))
        branch = self.illumination_branch(full)
        illumination = torch.sigmoid(self.illumination(torch.cat([branch, features], dim=1)))
        return reflectance, illumination


class Restoration(nn.Module):
    """Reflectance, guided by illumination -> clean reflectance. A U-Net of five levels."""

    def __init__(self) -> None:
        super().__init__()
        widths = [32, 64, 128, 256, 512]
        self.down = nn.ModuleList(
            nn.Sequential(Conv(inputs, width), Conv(width, width))
            for inputs, width in zip([4, *widths], widths, strict=False)
        )
        self.ups = nn.ModuleList(up(2 * width, width) for width in reversed(widths[:-1]))
        self.merge = nn.ModuleList(
            nn.Sequential(Conv(2 * width, width), Conv(width, width))
            for width in reversed(widths[:-1])
        )
        self.out = nn.Conv2d(32, 3, 3, padding=1)
        self.apply(initialise)

    def forward(self, reflectance: Tensor, illumination: Tensor) -> Tensor:
        """(N, 3, H, W) and (N, 1, H, W) -> (N, 3, H, W)."""
        x = torch.cat([reflectance, illumination], dim=1)
        skips = []
        for level in self.down[:-1]:
            x = level(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.down[-1](x)  # (N, 512, H/16, W/16)
        for upsample, merge, skip in zip(self.ups, self.merge, reversed(skips), strict=True):
            x = merge(join(upsample(x), skip))
        return torch.sigmoid(self.out(x))


class Adjustment(nn.Module):
    """Illumination at a ratio -> illumination: a learned tone curve.

    The second input channel is log2(ratio), where the paper has the ratio: 1 becomes 0, and 1/8 and
    8 are equally far from it. This makes the curve monotone over two decades.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Conv(2, 32)
        self.conv2 = Conv(32, 32)
        self.conv3 = Conv(32, 32)
        self.conv4 = Conv(32, 1)  # the authors' code also has a leaky ReLU before the sigmoid
        self.apply(initialise)

    def forward(self, illumination: Tensor, ratio: Tensor) -> Tensor:
        """(N, 1, H, W) and (N,) -> (N, 1, H, W)."""
        alpha = torch.log2(ratio).reshape(-1, 1, 1, 1).expand_as(illumination)
        x = torch.cat([illumination, alpha], dim=1)
        # Zero padding would also pad the ratio, and darken a border of four pixels. So the edge is
        # repeated.
        x = F.pad(x, (4, 4, 4, 4), mode="replicate")
        return torch.sigmoid(self.conv4(self.conv3(self.conv2(self.conv1(x)))))[..., 4:-4, 4:-4]


class Histogram(nn.Module):
    """Blocks of a dark picture -> its exposure, from the number of blocks of each colour.

    The position of a block has no influence, so a picture may have any number of blocks.
    """

    FLOOR = 0.004  # about one 8-bit level: below it, a logarithm is only noise

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.bins = nn.Sequential(
            nn.Conv2d(4, width, 1),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            nn.Conv2d(width, width, 1),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
            nn.Conv2d(width, 2 * width, 1),
            nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
        )
        self.mix = nn.Conv2d(4 * width, 2 * width, 1)
        self.out = nn.Conv2d(2 * width, 1, 1)
        self.apply(initialise)

    def forward(self, blocks: Tensor) -> Tensor:
        """RGB means of blocks, (N, 3, h, w) -> exposure (N,) in [0, 1]."""
        mean = torch.log(blocks.mean(dim=(1, 2, 3), keepdim=True) + self.FLOOR)
        contrast = torch.log(blocks + self.FLOOR) - mean
        x = self.bins(torch.cat([contrast, mean + torch.zeros_like(blocks[:, :1])], dim=1))
        center = x.mean(dim=(2, 3), keepdim=True)
        spread = ((x - center).square().mean(dim=(2, 3), keepdim=True) + 1e-6).sqrt()
        x = F.leaky_relu(self.mix(torch.cat([center, spread], dim=1)), NEGATIVE_SLOPE)
        return torch.sigmoid(self.out(x)).flatten()


class FeatureExposure(nn.Module):
    """A dark picture -> its exposure, from features like those of the decomposition."""

    SIZE = 80, 120
    """Rows and columns to which any picture is scaled, as in training."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.conv1 = Conv(3, 32)
        self.conv2 = Conv(32, 64)
        self.conv3 = Conv(64, 128)
        self.norm = nn.LayerNorm(2 * 128)
        self.mix = nn.Linear(2 * 128, width)
        self.out = nn.Linear(width, 1)
        self.apply(initialise)

    def forward(self, image: Tensor) -> Tensor:
        """RGB of a picture of any size, (N, 3, h, w) -> exposure (N,) in [0, 1]."""
        x = self.conv1(F.interpolate(image, self.SIZE, mode="bilinear", align_corners=False))
        x = self.conv3(F.max_pool2d(self.conv2(F.max_pool2d(x, 2)), 2)).float()  # (N, 128, 20, 30)
        center = x.mean(dim=(2, 3), keepdim=True)
        spread = ((x - center).square().mean(dim=(2, 3)) + 1e-6).sqrt()
        x = self.norm(torch.cat([center.flatten(1), spread], dim=1))
        x = F.leaky_relu(self.mix(x), NEGATIVE_SLOPE)
        return torch.sigmoid(self.out(x)).flatten()

    def begin_as(self, decomposition: nn.Module) -> None:
        """Copy the weights of the first layers of a decomposition, as initial values."""
        for name in ("conv1", "conv2", "conv3"):
            getattr(self, name).load_state_dict(getattr(decomposition, name).state_dict())


class Exposure(nn.Module):
    """A dark picture -> its exposure: the mean luma that a photographer would give it.

    The paper does not have it, because it takes the ratio from the bright picture. The exposure is
    the geometric mean of two estimates. They are wrong in different scenes, so their mean has a
    smaller error than each of them.
    """

    CEILING = 0.3
    """Level, in [0, 1], at which RGB is clipped, so that a passing lamp does not change the
    exposure."""

    def __init__(self) -> None:
        super().__init__()
        self.histogram = Histogram()
        self.look = FeatureExposure()

    def forward(self, image: Tensor) -> Tensor:
        """RGB of a picture, reduced to a quarter, (N, 3, H/4, W/4) -> exposure (N,) in [0, 1]."""
        return self.estimates(image).prod(dim=1).sqrt()

    def estimates(self, image: Tensor) -> Tensor:
        """Return both estimates, (N, 2)."""
        image = image.clamp(max=self.CEILING)
        blocks = F.avg_pool2d(image, MULTIPLE // 4)
        return torch.stack([self.histogram(blocks), self.look(image)], dim=1)


class KinD(nn.Module):
    """The three networks, and `Exposure`, by which the ratio is found without a bright picture."""

    def __init__(
        self,
        restoration: nn.Module | None = None,
        decomposition: nn.Module | None = None,
        adjustment: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.decomposition = decomposition or Decomposition()
        self.restoration = restoration or Restoration()
        self.adjustment = adjustment or Adjustment()
        self.exposure = Exposure()

    def forward(self, image: Tensor, ratio: Tensor) -> Tensor:
        """Image (N, 3, H, W), ratio (N,) -> image (N, 3, H, W)."""
        reflectance, illumination = self.decomposition(image)
        return relight(self.restoration, self.adjustment, reflectance, illumination, ratio)


def relight(
    restoration: nn.Module,
    adjustment: nn.Module,
    reflectance: Tensor,
    illumination: Tensor,
    ratio: Tensor,
) -> Tensor:
    """Restore the reflectance and multiply it by the adjusted illumination: (N, 3, H, W)."""
    return restoration(reflectance, illumination) * adjustment(illumination, ratio)


def illumination_ratio(source: Tensor, target: Tensor) -> Tensor:
    """Return the ratio from one illumination to another: (N, 1, H, W) twice -> (N,).

    It is that of the authors' training: the mean of the quotient dark / bright, or its reciprocal.
    A mean of bright / dark would depend on the few darkest pixels.
    """
    down = (target / (source + 1e-4)).mean(dim=(1, 2, 3))
    up = 1 / ((source / (target + 1e-4)).mean(dim=(1, 2, 3)) + 1e-4)
    brighter = target.mean(dim=(1, 2, 3)) > source.mean(dim=(1, 2, 3))
    return torch.where(brighter, up, down)


def initialise(module: nn.Module) -> None:
    """Set Xavier-uniform weights and zero bias: the initial values of the authors' framework."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def parameter_count(module: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(p.numel() for p in module.parameters())
