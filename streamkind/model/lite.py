"""KinD for processors: the paper's three parts, with an eighth of the multiplications.

The illumination is found at half size, as in `student.py`, with a larger receptive field.
Restoration is a U-Net of four levels, from half size to a sixteenth. A 3x3 layer needs the same
computation on each level, because the number of channels doubles where the number of pixels falls
to a quarter. Shapes are those of `kind.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from streamkind.model.kind import Conv, KinD, initialise
from streamkind.model.student import FAINTEST_LIGHT, Down, SmallAdjustment, Up, last_up

BEYOND = 0.1
"""In training, the slope outside [0, 1] of the function that limits the restored reflectance.
Chosen by hand."""


class LiteDecomposition(nn.Module):
    """Image -> reflectance and illumination, which is found by the network at half size."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = Down(3, 16, 4)
        self.quarter = nn.Sequential(Down(16, 32), Conv(32, 32))
        self.eighth = nn.Sequential(Down(32, 64), Conv(64, 64), Conv(64, 64))
        self.up4, self.merge4 = Up(64, 32), Conv(32, 32)
        self.up2, self.merge2 = Up(32, 16), Conv(16, 16)
        self.out = last_up(16, 1)
        self.apply(initialise)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) -> reflectance (N, 3, H, W), illumination (N, 1, H, W)."""
        half = self.enter(image)  # (N, 16, H/2, W/2)
        quarter = self.quarter(half)
        x = self.merge4(self.up4(self.eighth(quarter)) + quarter)
        x = self.merge2(self.up2(x) + half)
        illumination = torch.sigmoid(self.out(x))
        return (image / (illumination + FAINTEST_LIGHT)).clamp(0, 1), illumination


class LiteRestoration(nn.Module):
    """Reflectance, guided by illumination -> clean reflectance."""

    WIDTHS = 32, 64, 128, 192
    """Channels at half, quarter, eighth and sixteenth size."""

    def __init__(self) -> None:
        super().__init__()
        w2, w4, w8, w16 = self.WIDTHS
        self.enter = Down(4, w2, 4)
        self.quarter = nn.Sequential(Down(w2, w4), Conv(w4, w4), Conv(w4, w4))
        self.eighth = nn.Sequential(Down(w4, w8), Conv(w8, w8), Conv(w8, w8))
        self.sixteenth = nn.Sequential(Down(w8, w16), Conv(w16, w16), Conv(w16, w16))
        self.up8, self.merge8 = Up(w16, w8), nn.Sequential(Conv(w8, w8), Conv(w8, w8))
        self.up4, self.merge4 = Up(w8, w4), nn.Sequential(Conv(w4, w4), Conv(w4, w4))
        self.up2, self.merge2 = Up(w4, w2), nn.Sequential(Conv(w2, w2), Conv(w2, w2))
        self.out = last_up(w2, 3)
        self.apply(initialise)
        nn.init.constant_(self.out[0].get_parameter("bias"), 0.5)

    def forward(self, reflectance: Tensor, illumination: Tensor) -> Tensor:
        """(N, 3, H, W) and (N, 1, H, W) -> (N, 3, H, W)."""
        half = self.enter(torch.cat([reflectance, illumination], dim=1))  # (N, 32, H/2, W/2)
        quarter = self.quarter(half)
        eighth = self.eighth(quarter)
        x = self.merge8(self.up8(self.sixteenth(eighth)) + eighth)
        x = self.merge4(self.up4(x) + quarter)
        x = self.merge2(self.up2(x) + half)
        # The output is the reflectance, as in KinD, and not a correction that is added to the
        # input. After 400 steps without augmentation, SSIM to the teacher is 0.66. It would be 0.46
        # with a correction.
        restored: Tensor = self.out(x)
        limited = restored.clamp(0, 1)
        if not self.training:
            return limited
        # Values outside the limits keep a gradient. A sigmoid would lose it where a single step
        # makes it 0 or 1 everywhere.
        return limited + BEYOND * (restored - limited)


class Lite(KinD):
    """The three parts of KinD, smaller. The network `exposure` is that of KinD."""

    def __init__(self) -> None:
        super().__init__(LiteRestoration(), LiteDecomposition(), SmallAdjustment())
