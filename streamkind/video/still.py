"""What a picture in a file has besides its 8-bit pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Still:
    """What a picture has besides the 8-bit RGB that the engine sees."""

    rgb: NDArray[np.uint8]
    """Upright, (H, W, 3) uint8."""
    deep: NDArray[np.uint16] | None = None
    """The same in 16 bits, where the file has them."""
    alpha: Samples | None = None
    """(H, W), uint8, or uint16 beside `deep`."""
    gray: bool = False
    exif: bytes = b""
    """Without the orientation, which has been applied."""
    icc: bytes = b""
    """The profile that says what the values mean."""
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    """What was in the file and is not here."""
