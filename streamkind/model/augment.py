"""Augments training pairs, so that the networks are trained on more kinds of pictures than LOL."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamkind.model.degrade import Image, Matrix, compress, recolor


@dataclass(frozen=True)
class Augmentation:
    """Probability and strength of each change of the pairs of a batch."""

    exposure_stops: float = 0.0
    """With a probability of 1/2, the dark picture becomes darker or brighter by up to this number
    of stops."""
    white_balance: float = 0.0
    """With a probability of 1/3, red and blue of both pictures are scaled by up to this share."""
    saturation_stops: float = 0.0
    """With a probability of 1/2, the chroma of both is scaled by up to this number of stops."""
    gray: float = 0.0
    """Probability that both pictures become gray, as infrared footage is."""
    channels: float = 0.0
    """Probability that red, green and blue are permuted in both pictures, so that the networks do
    not learn usual colours."""
    jpeg: float = 0.0
    """Probability that the dark picture is compressed as a JPEG."""
    noise: float = 0.0
    """Probability that the noise of a poorer sensor is added to the dark patch."""
    video: float = 0.0
    """Probability that the dark patch is encoded as H.264 or HEVC and decoded again."""
    identity: float = 0.0
    """Probability that the bright picture is the dark one too. The ratio is then 1."""
    darkened: float = 0.0
    """Probability that the dark picture is made from the bright one, by a gain and a gamma."""
    flat: float = 0.0
    """Probability that both pictures have one level everywhere: black, white or a random gray, with
    1/3 each."""
    colorful: float = 0.0
    """Probability that two patches are cut at random, and the more colourful one is used."""
    lamps: float = 0.0
    """Probability that lamps are drawn into both patches. The rooms of LOL have none."""
    blackout: float = 0.0
    """Probability that a part of both patches is black, like a night sky or letterbox bars.

    In half of the dark patches, it is the near-black of compressed video, which has a colour cast.
    """

    def __mul__(self, share: float) -> Augmentation:
        """Return an augmentation whose shares and ranges are multiplied by a number."""
        return Augmentation(**{name: share * value for name, value in vars(self).items()})


@dataclass(frozen=True)
class Change:
    """One draw of the augmentation, to be applied to pictures of any size."""

    flat: int | None
    """Level of both pictures everywhere, 0 to 255; None for no change."""
    color: Matrix | None
    """Matrix for the colours of both pictures; None for no change."""
    identity: bool
    """Whether the dark picture is replaced by the bright one."""
    darkened: tuple[float, float] | None
    """Gain and gamma by which the dark picture is made from the bright one."""
    exposure: float | None
    """Factor for the levels of the dark picture."""
    quality: int | None
    """JPEG quality of the dark picture, 40 to 95."""

    def __call__(self, low: Image, high: Image) -> tuple[Image, Image]:
        """Apply the change to a dark and a bright picture, (H, W, 3) uint8 each."""
        if self.flat is not None:
            return np.full_like(low, self.flat), np.full_like(high, self.flat)
        if self.color is not None:
            low, high = recolor(low, self.color), recolor(high, self.color)
        if self.identity:
            return high, high
        if self.darkened:
            low = darken(high, *self.darkened)
        if self.exposure:
            low = recolor(low, self.exposure * np.eye(3))
        if self.quality:
            low = compress(low, self.quality)
        return low, high


def draw(a: Augmentation, rng: np.random.Generator) -> Change:
    """Draw at random how one pair is changed."""
    chance = rng.random(4)
    stops = rng.uniform(-1, 1)
    quality = int(rng.integers(40, 96))
    darkened = rng.uniform(*GAIN), rng.uniform(*GAMMA)
    return Change(
        flat=int(rng.choice(np.array([0, 255, rng.integers(256)]))) if chance[0] < a.flat else None,
        color=draw_color(a, rng),
        identity=bool(chance[1] < a.identity),
        darkened=darkened if rng.random() < a.darkened else None,
        exposure=2 ** float(stops * a.exposure_stops) if chance[2] < 1 / 2 else None,
        quality=quality if chance[3] < a.jpeg else None,
    )


GAIN, GAMMA = (0.5, 1.0), (1.5, 5.0)
"""Ranges of gain and gamma of darkened pictures: those of Lv et al., MBLLEN (BMVC 2018)."""


def darken(image: Image, gain: float, gamma: float) -> Image:
    """Return a darker picture: luma becomes gain * luma ** gamma, and chroma changes in proportion.

    A curve on each channel would raise the chroma of the dark picture, and so change reflectance.
    """
    light = gain * (image @ (LUMA / 255).astype(np.float32)) ** (gamma - 1)
    return np.asarray((image * light[..., None] + 0.5).clip(0, 255).astype(np.uint8))


LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of R, G and B in luma, by BT.601."""


def saturation_matrix(share: float) -> Matrix:
    """Return the matrix that multiplies chroma by `share` and keeps luma."""
    return np.asarray(share * np.eye(3) + (1 - share) * LUMA)


def draw_color(a: Augmentation, rng: np.random.Generator) -> Matrix | None:
    """Draw a change of colour: white balance, saturation, order of channels, or none."""
    chance, color = rng.random(3), np.eye(3)
    (red, blue, stops), order = rng.uniform(-1, 1, 3), rng.permutation(3)
    if chance[0] < 1 / 3:
        color = np.diag([1 + red * a.white_balance, 1.0, 1 + blue * a.white_balance])
    if chance[1] < 1 / 2:
        color = saturation_matrix(2 ** (stops * a.saturation_stops)) @ color
    if chance[2] < a.channels:
        color = color[order]
    if rng.random() < a.gray:
        color = np.tile(LUMA, (3, 1))
    return None if np.array_equal(color, np.eye(3)) else color


def draw_on(
    low: Image, high: Image, a: Augmentation, rng: np.random.Generator
) -> tuple[Image, Image]:
    """Draw the same lamps and black parts into both patches."""
    side = low.shape[0]
    if rng.random() < a.lamps:
        for _ in range(rng.integers(1, 4)):
            disc, glow = lamp(side, rng)
            low = np.maximum(np.clip(low + 255 * glow, 0, 255), 255 * disc).astype(np.uint8)
            # A longer exposure makes the glow stronger too.
            high = np.maximum(np.clip(high + 510 * glow, 0, 255), 255 * disc).astype(np.uint8)
    if rng.random() < a.blackout:
        (top, bottom), (left, right) = np.sort(rng.integers(0, side + 1, (2, 2)), axis=1)
        low[top:bottom, left:right] = high[top:bottom, left:right] = 0
        if rng.random() < 1 / 2:
            low[top:bottom, left:right] = near_black(bottom - top, right - left, rng)
    return low, high


def near_black(height: int, width: int, rng: np.random.Generator) -> Image:
    """Return RGB blocks decoded from a luma of 0 to 3, with chroma off by one at most."""
    rows, columns = -(-height // 16), -(-width // 16)
    luma = rng.uniform(0, 2.5) + rng.uniform(-0.5, 0.5, (rows, columns))
    luma = luma.clip(0).round().repeat(16, axis=0).repeat(16, axis=1)[:height, :width, None]
    return np.asarray((1.164 * luma + chroma_step(rng)).round().clip(0, 255), np.uint8)


def chroma_step(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the change of RGB, (3,), by a random error of chroma of at most one level."""
    u, v = rng.integers(-1, 2, 2)
    return np.array([1.793 * v, -0.213 * u - 0.533 * v, 2.112 * u])  # BT.709, limited range


def lamp(side: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw an elliptic lamp of random place, size and tint: (side, side, 3) in [0, 1].

    Returns the lamp, and the glow around it.
    """
    y, x = np.indices((side, side, 1), dtype=np.float64)[:2]
    center_y, center_x = rng.uniform(0, side, 2)
    radius_y, radius_x = np.exp(rng.uniform(np.log(1.0), np.log(10.0), 2))
    distance = np.hypot((y - center_y) / radius_y, (x - center_x) / radius_x)
    tint = 1 - rng.uniform(0, 0.3) * np.array([0.0, 0.5, 1.0])
    reach, strength = rng.uniform(1.0, 5.0), rng.uniform(0.0, 0.3)
    glow = strength * np.exp(-(np.maximum(distance - 1, 0) ** 2) / (2 * reach**2))
    return np.clip((1.2 - distance) * 4, 0, 1) * tint, glow * tint
