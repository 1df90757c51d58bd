"""KinD's losses, and the weights of three presets.

Images and reflectance are (N, 3, H, W), illumination (N, 1, H, W), all float in [0, 1]. Suffixes
follow the paper: `_low` for the dark picture, `_high` for the bright one. Every loss is a mean over
batch, pixels and channels, so it does not depend on their size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from streamkind.model.processes import mean_of_all


@dataclass(frozen=True)
class Weights:
    """Weights and forms of the loss terms."""

    reconstruction: float = 1.0
    """Weight of |R L - I|, for the dark and for the bright picture."""
    similarity: float = 0.01
    """Weight of the distance between the two reflectances."""
    similarity_form: Literal["l1", "l2", "l1_detached"] = "l2"
    """Squared (paper), absolute (authors' code), or absolute against a fixed R_high."""
    smoothness: float = 0.08
    """Weight of the illumination's gradient, relative to the image's."""
    mutual: float = 0.1
    """Weight of edges that only one of the two illuminations has."""
    mutual_form: Literal["joint", "per_direction"] = "joint"
    """Whether both directions of the gradients are summed first (paper), or each direction has a
    term of its own (authors' code)."""
    cross: float = 0.0
    """Weight of |R_low L_high - I_high|. Without it, the colour of R_low fades."""
    low_gain: float = 1.0
    """Factor for the reconstruction of the dark picture, whose values are about ten times
    smaller."""
    restoration_gamma: float = 1.0
    """The restoration target is R_high to this power (authors' code: 1.2)."""
    gradient: float = 1.0
    """Weight of the distance in gradients, in restoration (KinD++: 0)."""
    chroma: float = 0.0
    """Weight of the distance in chroma, in restoration and in the final picture."""
    joint_adjustment: float = 1.0
    """Weight of the loss of adjustment in the joint stage. This loss is a squared distance, so its
    values are small."""
    saturation: float = 0.0
    """Weight of the error in chroma of the final picture's blocks, in the joint stage."""
    prior: float = 0.0
    """Weight of the distance to `envelope` at the first step. It decreases linearly."""
    prior_steps: int = 0
    """Number of steps after which this weight would be 0, if there was no `prior_floor`."""
    prior_floor: float = 0.0
    """Least share of `prior`, 0 to 1, at any step."""


PRESETS = {
    "paper": Weights(),
    "authors": Weights(
        similarity_form="l1",
        smoothness=0.15,
        mutual=0.2,
        mutual_form="per_direction",
        restoration_gamma=1.2,
    ),
    "default": Weights(
        similarity=0.03,
        similarity_form="l1_detached",
        smoothness=0.05,
        mutual=0.1,
        mutual_form="per_direction",
        cross=0.5,
        low_gain=4.0,
        chroma=1.0,
        saturation=0.3,
        joint_adjustment=4.0,
        prior=1.0,
        prior_steps=600,
        prior_floor=0.1,
    ),
}
PRESETS["kindpp"] = replace(PRESETS["default"], gradient=0.0, chroma=3.0)
"""`paper`: the weights of the paper. `authors`: those of the authors' code, but with gradients of
the interior only, and without its min-max normalisation, which depends on the batch. `default`:
those that trained best here. `kindpp`: the same for KinD++, whose restoration has no gradient term
and no skip connections for colour."""


def gradients(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return horizontal and vertical differences of neighbours, with sign and without a border.

    A border of zeros would add a false edge as high as the value itself.
    """
    return x[..., :, 1:] - x[..., :, :-1], x[..., 1:, :] - x[..., :-1, :]


def gray(image: Tensor) -> Tensor:
    """Return luma by BT.601: (N, 3, H, W) -> (N, 1, H, W)."""
    red, green, blue = image.chunk(3, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def reflectance_similarity(low: Tensor, high: Tensor, form: str = "l2") -> Tensor:
    """Return the distance of the two reflectances, which should be equal."""
    if form == "l2":
        return F.mse_loss(low, high)
    return F.l1_loss(low, high.detach() if form == "l1_detached" else high)


def illumination_smoothness(illumination: Tensor, image: Tensor) -> Tensor:
    """Return the gradient of the illumination, relative to that of the picture."""
    light = gradients(illumination)
    edges = gradients(gray(image))
    return sum(
        ((dl.abs() / di.abs().clamp(min=0.01)).mean() for dl, di in zip(light, edges, strict=True)),
        start=torch.zeros((), device=image.device),
    )


def mutual_consistency(low: Tensor, high: Tensor, form: str = "joint") -> Tensor:
    """Return the mean of u exp(-10 u), where u is the sum of both gradients of illumination.

    It is smallest for edges that are in both pictures or in none.
    """
    pairs = zip(gradients(low), gradients(high), strict=True)
    dx, dy = (a.abs() + b.abs() for a, b in pairs)
    u = [dx[..., :-1, :] + dy[..., :, :-1]] if form == "joint" else [dx, dy]
    return sum(
        ((m * torch.exp(-10 * m)).mean() for m in u), start=torch.zeros((), device=u[0].device)
    )


def reconstruction(reflectance: Tensor, illumination: Tensor, image: Tensor) -> Tensor:
    """Return the distance of the product of the layers from the picture."""
    return F.l1_loss(reflectance * illumination, image)


def gradient_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return the squared distance between the magnitudes of the two gradients."""
    pairs = zip(gradients(x), gradients(y), strict=True)
    return sum(
        (F.mse_loss(a.abs(), b.abs()) for a, b in pairs), start=torch.zeros((), device=x.device)
    )


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Return SSIM, the mean over channels: 11x11 Gaussian of sigma 1.5, no padding."""
    channels = x.shape[1]
    offset = torch.arange(11, device=x.device, dtype=torch.float32) - 5
    kernel = torch.exp(-(offset**2) / (2 * 1.5**2))
    kernel = (kernel / kernel.sum()).expand(channels, 1, 1, 11)

    def blur(z: Tensor) -> Tensor:
        rows = F.conv2d(z, kernel, groups=channels)
        return F.conv2d(rows, kernel.transpose(2, 3), groups=channels)

    with torch.autocast(x.device.type, enabled=False):  # variances need full precision
        x, y = x.float(), y.float()
        mx, my = blur(x), blur(y)
        vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
        c1, c2 = 0.01**2, 0.03**2
        score = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return score.mean()


def chroma_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return the absolute distance of R, G and B after their luma is subtracted."""
    return F.l1_loss(x - gray(x), y - gray(y))


def envelope(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a simple decomposition of a pair as an initial target: L_low, R and L_high.

    L_high is a smooth upper envelope of the bright picture, and R is the rest. Without this target,
    training from a random start ends at L = 1 or at a white R.
    """

    def blur(x: Tensor, size: int) -> Tensor:
        return F.avg_pool2d(x, size, 1, size // 2, count_include_pad=False)

    brightest = blur(high.amax(dim=1, keepdim=True), 3)
    # The window is small and nearly round. A large or square one leaves dark halos around lamps.
    l_high = blur(blur(F.max_pool2d(brightest, 5, 1, 2), 5), 5).clamp(min=1e-3)
    reflectance = (high / l_high).clamp(max=1)
    mean_low, mean_reflectance = (
        blur(blur(x.mean(1, keepdim=True), 5), 3) for x in (low, reflectance)
    )
    l_low = (mean_low + 1e-4) / (mean_reflectance + 1e-3)
    return l_low.clamp(0, 1), reflectance, l_high


def envelope_loss(
    low: tuple[Tensor, Tensor, Tensor], high: tuple[Tensor, Tensor, Tensor], w: Weights, step: int
) -> Tensor:
    """Return the weighted distance of both pictures' layers to `envelope`."""
    l_low, reflectance, l_high = envelope(low[0], high[0])
    strength = w.prior * max(w.prior_floor, 1 - step / max(w.prior_steps, 1))
    return strength * (
        w.low_gain * F.l1_loss(low[2], l_low)
        + F.l1_loss(high[2], l_high)
        + F.l1_loss(low[1], reflectance)
        + F.l1_loss(high[1], reflectance)
    )


def saturation_distance(x: Tensor, y: Tensor) -> Tensor:
    """Return the error of the logarithm of the mean chroma of 8x8 pixels, weighted by that chroma.

    Where the colour is uncertain, a distance between pixels would be smallest for gray. This error
    is not.
    """

    def block_chroma(image: Tensor) -> Tensor:
        blocks = F.avg_pool2d(image - gray(image), 8)
        return (blocks.square().sum(dim=1) + 1e-6).sqrt() + 0.02  # (N, H/8, W/8)

    got, wanted = block_chroma(x), block_chroma(y)
    # The denominator is that of the whole batch. Otherwise, processes divide by different sums.
    return ((got / wanted).log().abs() * wanted).sum() / mean_of_all(wanted.sum())


def decomposition_loss(
    low: tuple[Tensor, Tensor, Tensor], high: tuple[Tensor, Tensor, Tensor], w: Weights, step: int
) -> dict[str, Tensor]:
    """Return the weighted terms of decomposition.

    `low` and `high` are image, reflectance and illumination of the dark and the bright picture.
    """
    (image_low, r_low, l_low), (image_high, r_high, l_high) = low, high
    terms = {
        "reconstruction": w.reconstruction
        * (
            w.low_gain * reconstruction(r_low, l_low, image_low)
            + reconstruction(r_high, l_high, image_high)
        ),
        "similarity": w.similarity * reflectance_similarity(r_low, r_high, w.similarity_form),
        "smoothness": w.smoothness
        * (illumination_smoothness(l_low, image_low) + illumination_smoothness(l_high, image_high)),
        "mutual": w.mutual * mutual_consistency(l_low, l_high, w.mutual_form),
    }
    if w.cross:
        terms["cross"] = w.cross * reconstruction(r_low, l_high.detach(), image_high)
    if w.prior:
        terms["prior"] = envelope_loss(low, high, w, step)
    return terms


def restoration_loss(restored: Tensor, reflectance_high: Tensor, w: Weights) -> dict[str, Tensor]:
    """Return the weighted distances of a restored reflectance from that of the bright picture."""
    target = reflectance_high**w.restoration_gamma
    terms = {
        "restoration": F.mse_loss(restored, target)
        + (1 - ssim(restored, target))
        + w.gradient * gradient_distance(gray(restored), gray(target))
    }
    if w.chroma:
        terms["restoration_chroma"] = w.chroma * chroma_distance(restored, target)
    return terms


def adjustment_loss(adjusted: Tensor, target: Tensor) -> Tensor:
    """Return the squared distance of the illumination and of its gradient's magnitude."""
    return F.mse_loss(adjusted, target) + gradient_distance(adjusted, target)


def picture_distance(picture: Tensor, wanted: Tensor, scales: int = 1) -> Tensor:
    """Return the distance of a final picture from the wanted one: error, and 1 - SSIM.

    SSIM is the mean over `scales` sizes, each of which is half of the one before.
    """
    # The root is taken for each picture, as for PSNR, and not for the whole batch.
    error = (picture - wanted).square().mean(dim=(1, 2, 3)) + 1e-6
    sizes = [[F.avg_pool2d(x, 2**i) for x in (picture, wanted)] for i in range(scales)]
    alike = torch.stack([ssim(*size) for size in sizes]).mean()
    return 2 * error.sqrt().mean() + (1 - alike)


@torch.no_grad()
def mean_gain(picture: Tensor, wanted: Tensor) -> Tensor:
    """Return the gain from each picture's mean to the truth's, if they are near: (N, 1, 1, 1).

    After Liao et al., GT-mean loss (ICCV 2025): the Bhattacharyya distance of two normal
    distributions, each with a tenth of its picture's mean as standard deviation, is the weight of
    the unscaled picture. The paper adds the losses of the unscaled and the scaled picture. Here
    there is one loss, of a picture between the two, which takes half the time.
    """
    # In training a picture may be below 0.
    means = [x.mean(dim=(1, 2, 3), keepdim=True).clamp(min=0) + 1e-3 for x in (picture, wanted)]
    stops = torch.log(means[1] / means[0])
    spread = (2 * stops).exp() + (-2 * stops).exp()
    apart = (means[0] - means[1]).square() / (0.01 * (means[0].square() + means[1].square()))
    weight = (0.25 * torch.log(0.25 * (spread + 2)) + 0.25 * apart).clamp(0, 1)
    return torch.exp((1 - weight) * stops)
