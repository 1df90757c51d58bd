"""Tags of stills: EXIF and XMP, without the orientation, which is applied to the pixels."""

from __future__ import annotations

import contextlib
from typing import Any

from PIL import Image, PngImagePlugin

from streamkind.video.image_data import Still

_XMP_TAG = 700
"""Number of the tag of a TIFF for XMP."""
_LAYOUT_TAGS = (
    *(254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 283, 284, 296, 317),
    *(320, 322, 323, 324, 325, 338, 339),
)
"""Numbers of the tags of a TIFF that say how its pixels are stored, and dots per inch."""


def exif_of(image: Any) -> bytes:
    """Return the EXIF of a picture of Pillow; of a TIFF, without the layout of the old file."""
    with contextlib.suppress(Exception):  # a picture with damaged tags is still read
        exif = image.getexif()
        exif.pop(0x0112, None)
        if image.format == "TIFF":
            for tag in _LAYOUT_TAGS:
                exif.pop(tag, None)
        return exif.tobytes() if len(exif) else b""
    return b""


def xmp_of(image: Any) -> bytes:
    """Return the XMP of an upright picture, from which Pillow has removed the orientation."""
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return found.encode() if isinstance(found, str) else bytes(found)


def xmp_options(kind: str, still: Still) -> dict[str, Any]:
    """Return Pillow's options to write XMP into a picture of a format."""
    if not still.xmp:
        return {}
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", still.xmp.decode("utf-8", "replace"))
        return {"pnginfo": info}
    if kind == "TIFF":
        tags = Image.Exif()
        tags.load(still.exif)
        tags[_XMP_TAG] = still.xmp
        return {"exif": tags.tobytes()}
    return {"xmp": still.xmp}
