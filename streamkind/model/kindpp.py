"""KinD++'s restoration: illumination attention at three scales, all at full resolution.

Zhang, Guo, Ma, Liu, Zhang: Beyond Brightening Low-light Images (IJCV 2021). Decomposition and
adjustment are those of KinD. It needs about 21 times the computation of KinD, so use it for stills,
or for videos if time does not matter. Shapes are those of `kind.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamkind.model.kind import Conv, KinD, initialise


class Normalised(nn.Sequential):
    """Convolution, ReLU, batch normalisation, ReLU.

    The first ReLU is a default of the authors' framework. Because of it, the normalisation cannot
    be merged into the convolution.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2),
            nn.ReLU(inplace=True),
            nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01),
            nn.ReLU(inplace=True),
        )


class Up(nn.Sequential):
    """2x2 transposed convolution that doubles the size, with bias and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.ConvTranspose2d(channels, channels, 2, stride=2), nn.ReLU(inplace=True))


class MSIA(nn.Module):
    """Multi-scale illumination attention: weights features by light, at three scales."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        self.scale1 = Normalised(channels, 3)
        self.scale2 = nn.Sequential(nn.MaxPool2d(2), Normalised(channels, 3), Up(channels))
        self.scale4 = nn.Sequential(
            nn.MaxPool2d(4), Normalised(channels, 1), Up(channels), Up(channels)
        )
        self.mix = nn.Conv2d(4 * channels, channels, 1)

    def forward(self, x: Tensor, illumination: Tensor) -> Tensor:
        """(N, M, H, W) and (N, 1, H, W) -> (N, M, H, W)."""
        x = x * torch.sigmoid(self.attention(illumination))
        scales = [x, self.scale1(x), self.scale2(x), self.scale4(x)]
        return F.relu(self.mix(torch.cat(scales, dim=1)))


class MultiScaleRestoration(nn.Module):
    """Reflectance, guided by illumination at four places -> clean reflectance."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Sequential(Conv(a, b), Conv(b, c))
            for a, b, c in [(3, 32, 64), (64, 128, 256), (256, 512, 256), (256, 128, 64)]
        )
        self.attentions = nn.ModuleList(MSIA(channels) for channels in (64, 256, 256, 64))
        self.last = Conv(64, 32)
        self.out = nn.Conv2d(32, 3, 3, padding=1)
        self.apply(initialise)

    def forward(self, reflectance: Tensor, illumination: Tensor) -> Tensor:
        """(N, 3, H, W) and (N, 1, H, W) -> (N, 3, H, W)."""
        x = reflectance
        for conv, attend in zip(self.convs, self.attentions, strict=True):
            x = attend(conv(x), illumination)
        return torch.sigmoid(self.out(self.last(x)))


class KinDpp(KinD):
    """KinD with the restoration of KinD++."""

    def __init__(self) -> None:
        super().__init__(MultiScaleRestoration())
