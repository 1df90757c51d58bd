"""Reads stills of 16 bits by OpenCV: Pillow reads colour only in 8 bits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streamkind.errors import InputError
from streamkind.video.still_tags import drop_damaged_exif

_BITS, _PHOTOMETRIC, _CHANNELS, _PLANAR = 258, 262, 277, 284
"""Numbers of TIFF tags: bits of a channel, meaning of the values, number of the channels and their
arrangement."""
_WHITE_IS_ZERO = 0
"""Value of the tag for the meaning: 0 is white, as in some scans."""


def has_16_bits(data: bytes, image: Any) -> bool:
    """Return whether a PNG or TIFF, opened by Pillow, has 16 bits."""
    if image.format == "PNG":
        return data[24] == 16  # IHDR
    bits = getattr(image, "tag_v2", {}).get(_BITS, ())
    return bool(bits) and max(bits) == 16


def read_deep(path: Path, data: bytes) -> NDArray[np.uint16] | None:
    """Return upright pixels in 16 bits, (H, W), or RGB or RGBA. None if OpenCV cannot read them.

    Raises InputError for a TIFF whose channels OpenCV and Pillow would mix up.
    """
    head: Any = Image.open(io.BytesIO(data))
    tags = getattr(head, "tag_v2", {})
    if tags.get(_PLANAR, 1) != 1 and tags.get(_CHANNELS, 1) > 1:
        raise InputError(
            f"{path}: a TIFF of 16 bits whose channels are stored one after the other; expected"
            f" them pixel by pixel. Convert it first: tiffcp -p contig {path.name} OUT.tif"
        )
    if head.mode == "CMYK":
        return None  # OpenCV would print errors
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if image is None or image.dtype != np.uint16 or (image.ndim == 3 and image.shape[2] == 2):
        return None
    if image.ndim == 3:
        swap = cv2.COLOR_BGRA2RGBA if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
        image = cv2.cvtColor(image, swap)
    elif tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        image = 65535 - image
    turned = None if head.format == "TIFF" else _turn(head)  # OpenCV has turned a TIFF already
    return np.asarray(image if turned is None else turned(image), np.uint16)


def _turn(head: Any) -> Any:
    """Return a function that turns an array upright by EXIF, or None if it is upright."""
    flips = {2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (1, 1), 6: (3, 0), 7: (3, 1), 8: (1, 0)}
    drop_damaged_exif(head)
    orientation = head.getexif().get(0x0112, 1)
    if orientation not in flips:
        return None
    turns, mirrored = flips[orientation]

    def turn(array: NDArray[Any]) -> NDArray[Any]:
        turned = np.rot90(array, turns)
        return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)

    return turn
