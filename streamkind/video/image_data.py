"""The data of a still image besides its 8-bit pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.uint8] | NDArray[np.uint16]
"""A channel of 8 or 16 bits."""


@dataclass(frozen=True, slots=True)
class Still:
    """A still image: the 8-bit RGB for the engine, and what else is to be kept."""

    rgb: NDArray[np.uint8]
    """Upright pixels, (H, W, 3) uint8."""
    deep: NDArray[np.uint16] | None = None
    """The same pixels in 16 bits, if the file has them."""
    alpha: Samples | None = None
    """Transparency, (H, W), uint8, or uint16 beside `deep`."""
    gray: bool = False
    """Whether the file has gray values only."""
    exif: bytes = b""
    """EXIF without the orientation, which has been applied."""
    icc: bytes = b""
    """Colour profile (ICC), which says what the values mean."""
    xmp: bytes = b""
    """Metadata of photo programs (XMP), without the orientation."""
    dpi: tuple[float, float] | None = None
    """Dots per inch, horizontal and vertical."""
    notes: tuple[str, ...] = ()
    """Messages on what was in the file and is not here."""
    lossy: bool = False
    """Whether the file's format has rounded the colours."""


def in_eight_bits(deep: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Round samples of 16 bits to 8."""
    return ((deep + np.uint32(128)) // 257).astype(np.uint8)
