"""Reads and writes EXIF and XMP of stills, without the orientation: the pixels are upright."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

from streamkind.video.image_data import Still
from streamkind.video.motion import without_mark

_XMP_TAG = 700
"""Number of the TIFF tag for XMP."""
_POINTERS = (0x8769, 0x8825, 0xA005)
"""Numbers of the tags that point to other lists of tags: EXIF, GPS and interoperability."""
_LAYOUT_TAGS = (
    *(254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 283, 284, 296, 317),
    *(320, 322, 323, 324, 325, 330, 338, 339, 347),
)
"""Numbers of the TIFF tags for the layout of the pixels and the dots per inch, and for other
pictures in the file."""
_DPI_TAGS = (282, 283, 296)
"""Those of them for the dots per inch."""
_LAYERS = 37724
"""Number of the TIFF tag for the layers of an image editor."""
_KIND, _NO_PAGE = 254, 0b101
"""Number of the TIFF tag for the kind of a picture, and its bits for a smaller copy and a mask."""
_MOST_JPEG_BYTES = {"exif": 65_533, "xmp": 65_504}
"""Largest EXIF and XMP of a JPEG that Pillow writes, in bytes: a segment has 65,533."""

_MOST_DPI = 65_535
"""Largest number of dots per inch that JPEG holds, in 16 bits."""


def pages_of(image: Any) -> list[int]:
    """Return the numbers of the pictures in a file of Pillow, without thumbnails and masks.

    An animated PNG may also have a picture for programs that do not know animations.
    """
    pages = list(range(getattr(image, "default_image", False), getattr(image, "n_frames", 1)))
    if image.format != "TIFF":
        return pages
    for number in pages[1:]:
        with contextlib.suppress(Exception):  # a page that cannot be read is reported later
            image.seek(number)
            if image.tag_v2.get(_KIND, 0) & _NO_PAGE:
                pages.remove(number)
    image.seek(0)
    return pages


def drop_damaged_exif(image: Any) -> bool:
    """Remove EXIF that Pillow cannot read from a picture of Pillow. Return whether there was any.

    Pillow would fail to turn the picture upright.
    """
    try:
        image.getexif()
    except Exception:  # depends on the damage
        for name in ("exif", "Raw profile type exif", "Raw profile type APP1"):
            image.info.pop(name, None)
        return True
    return False


def exif_of(image: Any) -> tuple[bytes, list[str]]:
    """Return the EXIF of a picture of Pillow, and the names of damaged tags, which are left out.

    For a TIFF, leave out the layout of its pixels.
    """
    with contextlib.suppress(Exception):  # a picture with damaged tags is read without them
        exif = image.getexif()
        exif.pop(0x0112, None)
        if image.format == "TIFF":
            for tag in (*_LAYOUT_TAGS, _LAYERS):
                exif.pop(tag, None)
        damaged = []
        pointed = (exif.get_ifd(number) for number in _POINTERS if number in exif)
        for tags in (exif, *pointed):
            for tag, value in list(tags.items()):
                if tag not in _POINTERS and not _writes(tag, value):
                    damaged.append(ExifTags.TAGS.get(tag, hex(tag)))
                    del tags[tag]
        return (exif.tobytes() if len(exif) else b""), damaged
    return b"", ["all"] if image.info.get("exif") else []


def dpi_of(image: Any) -> tuple[float, float] | None:
    """Return the dots per inch of a picture of Pillow; None if they are unknown or damaged."""
    across, down = (float(dots) for dots in image.info.get("dpi") or (0, 0))
    return (across, down) if 0 < across <= _MOST_DPI and 0 < down <= _MOST_DPI else None


def layers_note(name: str, image: Any) -> list[str]:
    """Return a message on the layers of a TIFF. An editor would show them instead of the result."""
    if _LAYERS not in getattr(image, "tag_v2", {}):
        return []
    return [f"{name}: its layers are left out: only the picture that they make is enhanced"]


def fitted(kind: str, still: Still) -> tuple[Still, list[str]]:
    """Return a still with the EXIF and XMP that Pillow's format `kind` holds, and what is left out.

    A TIFF would take the layout of its pixels from EXIF: cameras note their width and height there.
    """
    if kind == "TIFF" and still.exif:
        tags = Image.Exif()
        tags.load(still.exif)
        for tag in set(_LAYOUT_TAGS).difference(_DPI_TAGS):
            tags.pop(tag, None)
        return replace(still, exif=tags.tobytes() if len(tags) else b""), []
    most = _MOST_JPEG_BYTES if kind == "JPEG" else {}
    long: dict[str, Any] = {
        name: b"" for name, size in most.items() if len(getattr(still, name)) > size
    }
    return replace(still, **long), [name.upper() for name in long]


def _writes(tag: int, value: Any) -> bool:
    """Return whether Pillow can write an EXIF tag."""
    alone = Image.Exif()
    alone[tag] = value
    try:
        alone.tobytes()
    except Exception:  # depends on the value
        return False
    return True


def profile_for(icc: bytes, *, gray: bool) -> bytes:
    """Return a colour profile if it fits a gray or a colour picture, else b"".

    The colour space is in bytes 16 to 19 of its header (ICC.1, 7.2).
    """
    return icc if (icc[16:20] == b"GRAY") == gray else b""


def xmp_of(image: Any) -> bytes:
    """Return the XMP of an upright picture, from which Pillow has removed the orientation.

    The mark of a motion photo is removed, because its video is left out.
    """
    found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return without_mark(found.encode() if isinstance(found, str) else bytes(found))


def xmp_options(kind: str, still: Still) -> dict[str, Any]:
    """Return the options with which Pillow writes XMP into Pillow's format `kind`."""
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
