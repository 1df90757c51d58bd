"""The two graphs that are exported: what lies between them is the choice of the ratio.

Frames are uint8 RGB (N, H, W, 3), H and W multiples of 16, at both ends; conversion and clamping
are part of the graph. The cast comes first: TensorRT takes no other operation on uint8.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamkind.exposure import RATIOS
from streamkind.model.kind import MULTIPLE, KinD
from streamkind.model.losses import gray

DECOMPOSE_OUTPUTS = ("reflectance", "illumination", "curve", "thumbnail")


class Decompose(nn.Module):
    """Frames -> reflectance, illumination, and what the choice of the ratio needs to know."""

    ratios: Tensor

    def __init__(self, kind: KinD) -> None:
        super().__init__()
        self.decomposition = kind.decomposition
        self.adjustment = kind.adjustment
        self.register_buffer("ratios", torch.from_numpy(RATIOS.copy()), persistent=False)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, H, W, 3) uint8 -> (N, 3, H, W), (N, 1, H, W), (N, 17), (N, H/16, W/16) float."""
        image = frames.float().permute(0, 3, 1, 2) / 255
        reflectance, illumination = self.decomposition(image)
        curve = self.curve(
            F.avg_pool2d(gray(reflectance), MULTIPLE), F.avg_pool2d(illumination, MULTIPLE)
        )
        thumbnail = F.avg_pool2d(gray(image), MULTIPLE).squeeze(1)
        return reflectance, illumination, curve, thumbnail

    def curve(self, reflectance: Tensor, illumination: Tensor) -> Tensor:
        """Mean luma of the output at each of `RATIOS`, from pooled layers (N, 1, h, w): (N, 17).

        The adjustment net works nearly pixel by pixel, so it may be run on a small picture.
        """
        lumas = []
        for ratio in self.ratios.chunk(len(RATIOS)):
            adjusted = self.adjustment(illumination, ratio.expand(illumination.shape[0]))
            lumas.append((reflectance * adjusted).mean(dim=(1, 2, 3)))
        return torch.stack(lumas, dim=1)


def keep_color(restored: Tensor, reflectance: Tensor) -> Tensor:
    """Give a restored reflectance the coarse colour that it had before, (N, 3, H, W).

    Noise is fine and colour is coarse, so restoring owes no change to the mean chroma of 9x9
    pixels; trained on the pale rooms of LOL it would turn what it does not know gray.
    """
    lost = (reflectance - gray(reflectance)) - (restored - gray(restored))
    return restored + F.avg_pool2d(lost, 9, stride=1, padding=4, count_include_pad=False)


class Recompose(nn.Module):
    """Reflectance, illumination and a ratio per frame -> frames: restore and relight."""

    def __init__(self, kind: KinD) -> None:
        super().__init__()
        self.restoration = kind.restoration
        self.adjustment = kind.adjustment

    def forward(self, reflectance: Tensor, illumination: Tensor, ratio: Tensor) -> Tensor:
        """(N, 3, H, W), (N, 1, H, W), (N,) -> (N, H, W, 3) uint8."""
        restored = keep_color(self.restoration(reflectance, illumination), reflectance)
        image = restored * self.adjustment(illumination, ratio)
        return (image * 255 + 0.5).clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)
