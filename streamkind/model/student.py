"""A small KinD for processors: the same three parts with a twentieth of the multiplications.

It is trained with the released KinD as teacher (`distil_stage` in `distillation_stages.py`).
Reflectance has no network: it is the picture divided by its illumination, I / L. Shapes are those
of `kind.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamkind.model.kind import NEGATIVE_SLOPE, Conv, KinD, initialise

FAINTEST_LIGHT = 1e-3
"""Number that is added to the illumination before the picture is divided by it, to avoid a division
by 0."""


def act() -> nn.LeakyReLU:
    """Return the activation of every layer but the last."""
    return nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)


class Down(nn.Sequential):
    """Strided convolution that halves the size; cheaper than a convolution and pooling."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 2) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2 - 1), act()
        )


class Up(nn.Sequential):
    """2x2 transposed convolution that doubles the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.ConvTranspose2d(inputs, outputs, 2, stride=2), act())


def last_up(inputs: int, outputs: int) -> nn.Sequential:
    """Double the size: compute four pixels from each 3x3 window. Windows overlap, to avoid blocks.

    A transposed convolution could do the same, but near an output OpenVINO computes it in float32.
    """
    return nn.Sequential(nn.Conv2d(inputs, 4 * outputs, 3, padding=1), nn.PixelShuffle(2))


class SmallDecomposition(nn.Module):
    """Image -> reflectance and illumination, which is found by the network at half size."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = Down(3, 16, 4)
        self.quarter = nn.Sequential(Down(16, 32, 4), Conv(32, 32), Conv(32, 32))
        self.up = Up(32, 16)
        self.merge = Conv(32, 16)
        self.out = last_up(16, 1)
        self.apply(initialise)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) -> reflectance (N, 3, H, W), illumination (N, 1, H, W)."""
        half = self.enter(image)  # (N, 16, H/2, W/2)
        features = self.merge(torch.cat([self.up(self.quarter(half)), half], dim=1))
        illumination = torch.sigmoid(self.out(features))
        return (image / (illumination + FAINTEST_LIGHT)).clamp(0, 1), illumination


class SmallRestoration(nn.Module):
    """Reflectance, guided by illumination -> clean reflectance, by a correction."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = Down(4, 32, 4)
        self.quarter = nn.Sequential(Down(32, 48), Conv(48, 48))
        self.eighth = nn.Sequential(Down(48, 64), Conv(64, 64), Conv(64, 64))
        self.up4, self.merge4 = Up(64, 48), Conv(48, 48)
        self.up2, self.merge2 = Up(48, 32), Conv(32, 32)
        self.out = last_up(32, 3)
        self.apply(initialise)

    def forward(self, reflectance: Tensor, illumination: Tensor) -> Tensor:
        """(N, 3, H, W) and (N, 1, H, W) -> (N, 3, H, W)."""
        half = self.enter(torch.cat([reflectance, illumination], dim=1))  # (N, 32, H/2, W/2)
        quarter = self.quarter(half)
        x = self.merge4(self.up4(self.eighth(quarter)) + quarter)
        x = self.merge2(self.up2(x) + half)
        return (reflectance + self.out(x)).clamp(0, 1)


class SmallAdjustment(nn.Module):
    """Illumination at a ratio -> illumination: a learned tone curve, pixel by pixel."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.curve = nn.Sequential(
            nn.Conv2d(2, width, 1), act(), nn.Conv2d(width, width, 1), act(), nn.Conv2d(width, 1, 1)
        )
        self.apply(initialise)

    def forward(self, illumination: Tensor, ratio: Tensor) -> Tensor:
        """(N, 1, H, W) and (N,) -> (N, 1, H, W)."""
        stops = torch.log2(ratio).reshape(-1, 1, 1, 1).expand_as(illumination)
        return torch.sigmoid(self.curve(torch.cat([illumination, stops], dim=1)))


class Student(KinD):
    """The three parts of KinD, small. The network `exposure` is that of KinD."""

    def __init__(self) -> None:
        super().__init__(SmallRestoration(), SmallDecomposition(), SmallAdjustment())
