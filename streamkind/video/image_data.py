"""The pixels and metadata of a still image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Samples = NDArray[np.uint8] | NDArray[np.uint16]
"""One channel, (H, W), of 8 or 16 bits."""


@dataclass(frozen=True, slots=True)
class Still:
    """A still image: 8-bit RGB for the engine, and the data that the result keeps."""

    rgb: NDArray[np.uint8]
    """Upright pixels, (H, W, 3) uint8."""
    deep: NDArray[np.uint16] | None = None
    """The same pixels in 16 bits, if the file has them."""
    alpha: Samples | None = None
    """Alpha channel, (H, W): uint8, or uint16 if `deep` is given."""
    gray: bool = False
    """Whether the file has only gray values."""
    exif: bytes = b""
    """EXIF without the orientation, which has been applied."""
    icc: bytes = b""
    """ICC colour profile."""
    xmp: bytes = b""
    """XMP metadata, without the orientation."""
    dpi: tuple[float, float] | None = None
    """Dots per inch, horizontal and vertical."""
    notes: tuple[str, ...] = ()
    """Messages on data of the file that was left out."""
    lossy: bool = False
    """Whether the file's compression is lossy, so that its chroma is rounded."""


def in_eight_bits(deep: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Round samples of 16 bits to 8 bits."""
    return ((deep + np.uint32(128)) // 257).astype(np.uint8)


def too_large(error: Exception) -> str | None:
    """Return in words that a picture is too large, if that is why Pillow could not read it."""
    if isinstance(error, MemoryError):
        return "too large for the memory of this machine; free some, or make the picture smaller"
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        return f"larger than {most} million pixels; make it smaller, or cut it into parts"
    return None


def rgb_of(image: Any) -> NDArray[np.uint8]:
    """Return a picture of Pillow as RGB, (H, W, 3). 16 bits are rounded; Pillow would clip them.

    Numbers of 32 bits count as 16 bits if any is above 255, else as 8 bits. If they are fractions
    of at most 1, 1 is white.
    """
    short = image.mode.startswith("I;16")
    if short or image.mode in ("I", "F"):
        values = np.asarray(image).astype(np.float64)
        top = 65535.0 if short or values.max(initial=0) > 255 else 255.0
        top = 1.0 if image.mode == "F" and values.max(initial=0) <= 1 else top
        level = (values / top * 255).clip(0, 255).round().astype(np.uint8)
        return np.ascontiguousarray(np.dstack([level] * 3))
    return np.array(image.convert("RGB"), np.uint8)
