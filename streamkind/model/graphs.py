"""The graphs that are exported: decompose, steady and recompose.

Between decompose and recompose, the ratio is chosen on the host. For videos, steady filters the
layers over time between them.

Frames are uint8 RGB (N, H, W, 3) as input and output. H and W are multiples of 16. Conversion and
clamping are part of the graphs. The first operator on frames is a cast, because TensorRT supports
no other operator on uint8.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from streamkind.light.exposure import GLARE, LAMP, LAMP_SHARE, RATIOS
from streamkind.model.kind import KinD, relight
from streamkind.model.losses import gray
from streamkind.model.released import MULTIPLE

DECOMPOSE_OUTPUTS = ("reflectance", "illumination", "curve", "thumbnail", "exposure")


class Decompose(nn.Module):
    """Frames -> reflectance, illumination, and the statistics by which the ratio is chosen."""

    ratios: Tensor

    def __init__(self, kind: KinD, gain: float = 1.0) -> None:
        """`gain` is the factor by which restoration changes the mean luma.

        The curve is computed without restoration, and multiplied by this factor.
        """
        super().__init__()
        self.gain = gain
        self.decomposition = kind.decomposition
        self.adjustment = kind.adjustment
        self.exposure = kind.exposure
        self.register_buffer("ratios", torch.from_numpy(RATIOS.copy()), persistent=False)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(N, H, W, 3) -> (N, 3, H, W), (N, 1, H, W), (N, 17), (N, H/16, W/16), (N,).

        Frames are levels of 8 bits, 0 to 255. The released graph takes uint8. Its first operator is
        a cast, so a backend may declare the input as float32, for frames with more than 8 bits.
        """
        image = frames.float().permute(0, 3, 1, 2) / 255
        reflectance, illumination = self.decomposition(image)
        small = F.avg_pool2d(image, 4)
        thumbnail = F.avg_pool2d(gray(small), MULTIPLE // 4)
        curve = self.curve(
            F.avg_pool2d(gray(reflectance), MULTIPLE),
            F.avg_pool2d(illumination, MULTIPLE),
            weight_of(thumbnail),
        )
        return reflectance, illumination, curve, thumbnail.squeeze(1), self.exposure(small)

    def curve(self, reflectance: Tensor, illumination: Tensor, weight: Tensor) -> Tensor:
        """Return the mean luma of the output at each of `RATIOS`, (N, 17).

        `reflectance` and `illumination` are pooled, (N, 1, h, w). The adjustment network works
        nearly pixel by pixel, so a small picture is enough.
        """
        weight = weight * reflectance / weight.sum(dim=(1, 2, 3), keepdim=True)
        lumas = []
        for ratio in self.ratios.chunk(len(RATIOS)):
            adjusted = self.adjustment(illumination, ratio.expand(illumination.shape[0]))
            lumas.append((weight * adjusted).sum(dim=(1, 2, 3)))
        return (self.gain * torch.stack(lumas, dim=1)).clamp(max=1)


def weight_of(thumbnail: Tensor) -> Tensor:
    """Return the weight of each block in the exposure: small for lamps, as in `exposure.py`."""
    t = ((thumbnail - LAMP) / (GLARE - LAMP)).clamp(0, 1)
    return 1 - (1 - LAMP_SHARE) * t * t * (3 - 2 * t)


class Recompose(nn.Module):
    """Reflectance, illumination and a ratio per frame -> frames: restore and relight.

    `fusion` and `mask` are last steps in the authors' code that are not in the paper. The released
    graphs do not have them (engines/README.md says why).
    """

    def __init__(self, kind: KinD, *, fusion: bool = False, mask: bool = False) -> None:
        super().__init__()
        self.restoration = kind.restoration
        self.adjustment = kind.adjustment
        self.fusion, self.mask = fusion, mask

    def forward(self, reflectance: Tensor, illumination: Tensor, ratio: Tensor) -> Tensor:
        """(N, 3, H, W), (N, 1, H, W), (N,) -> (N, H, W, 3) uint8."""
        image = relight(self.restoration, self.adjustment, reflectance, illumination, ratio)
        if self.mask:
            image = image * dark_mask(reflectance)
        if self.fusion:  # bright places are taken from the input
            image = illumination * (reflectance * illumination) + (1 - illumination) * image
        return (image * 255 + 0.5).clamp(0, 255).permute(0, 2, 3, 1).to(torch.uint8)


def dark_mask(reflectance: Tensor, sigma: float = 3.0, radius: int = 12) -> Tensor:
    """Return a mask that keeps black places black: min(sqrt(2 G(gray(R))), 1), (N, 1, H, W)."""
    offset = torch.arange(-radius, radius + 1, device=reflectance.device, dtype=torch.float32)
    kernel = torch.exp(-(offset**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).reshape(1, 1, 1, -1)
    blurred = F.pad(gray(reflectance), (radius,) * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(blurred, kernel), kernel.transpose(2, 3))
    return (2 * blurred).sqrt().clamp(max=1)


NOISE, CONTRAST = 1.2 / 255, 0.04
"""Two parts of the difference between means of 12x12 pixels that counts as motion: a constant, and
a share of the brightness. Both are on a scale from 0 to 1, and were chosen by hand."""


class Steady(nn.Module):
    """Layers of two consecutive frames -> those of the later one, filtered where nothing moves.

    The filter is recursive. Where nothing moves for long, the noise power falls to
    (1 - strength) / (1 + strength). Motion is found in the product of the layers.
    """

    def forward(
        self,
        reflectance: Tensor,
        illumination: Tensor,
        before_reflectance: Tensor,
        before_illumination: Tensor,
        strength: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W), (N, 1, H, W) of a frame and of the filtered one before; (N, 2) in [0, 1].

        `strength` is the weight of the frame before in reflectance and in illumination.
        """
        still = stillness(
            coarse(reflectance * illumination), coarse(before_reflectance * before_illumination)
        )
        noise, light = strength.reshape(-1, 2, 1, 1).chunk(2, dim=1)  # (N, 1, 1, 1) each
        return (
            reflectance + noise * still * (before_reflectance - reflectance),
            illumination + light * still * (before_illumination - illumination),
        )


def coarse(image: Tensor) -> Tensor:
    """Return means of 12x12 pixels, (N, 3, H, W) -> (N, 3, H/4, W/4)."""
    # A convolution takes half as long as a pool, for which OpenVINO changes the memory layout.
    mean = torch.full((3, 1, 4, 4), 1 / 16, device=image.device, dtype=image.dtype)
    blocks = F.conv2d(image, mean, stride=4, groups=3)
    return F.avg_pool2d(blocks, 3, stride=1, padding=1, count_include_pad=False)


def stillness(now: Tensor, before: Tensor) -> Tensor:
    """Return 1 where two coarse pictures agree, and 0 within 8 pixels of any motion."""
    motion = (now - before).abs() / (NOISE + CONTRAST * torch.maximum(now, before))
    motion = (2 * motion.amax(dim=1, keepdim=True) - 1).clamp(0, 1)  # 0 up to half the limit
    motion = F.max_pool2d(motion, 5, stride=1, padding=2)
    return four_times(1 - motion)


def four_times(x: Tensor) -> Tensor:
    """Enlarge bilinearly, (N, 1, h, w) -> (N, 1, 4 h, 4 w)."""
    # By a convolution, because OpenVINO interpolates slowly: this saves a quarter of the time of
    # steady. Its weights are computed on the device: a CUDA graph allows no copy from the host.
    place = (torch.arange(4, device=x.device, dtype=x.dtype) - 1.5) / 4
    neighbour = torch.arange(-1, 2, device=x.device, dtype=x.dtype)
    share = (1 - (place[:, None] - neighbour).abs()).clamp(min=0)  # 3/8, 5/8, 0; 1/8, 7/8, 0; ...
    kernel = torch.einsum("ai,bj->abij", share, share).reshape(16, 1, 3, 3)
    return F.pixel_shuffle(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel), 4)
