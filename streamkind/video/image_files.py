"""Reads and writes still images with their metadata, by Pillow and OpenCV."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from streamkind.errors import InputError, OutputError
from streamkind.video.deep_stills import has_16_bits, read_deep
from streamkind.video.frames import Pixels
from streamkind.video.hdr_stills import tone_mapped_rgb, tone_note, transfer_of
from streamkind.video.image_data import Samples, Still, in_eight_bits, rgb_of, too_large
from streamkind.video.motion import motion_note
from streamkind.video.still_tags import (
    dpi_of,
    drop_damaged_exif,
    exif_of,
    fitted,
    layers_note,
    pages_of,
    profile_for,
    xmp_of,
    xmp_options,
)

pillow_heif.register_heif_opener()  # type: ignore[no-untyped-call,unused-ignore]

IMAGE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".mpo", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    }
)
ANIMATED_SUFFIXES = frozenset({".apng", ".avif", ".gif", ".png", ".tif", ".tiff", ".webp"})
"""Endings of files that may be animations or have several pages."""
_MAGIC = {
    **{b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"WEBP": "WEBP", b"ftyp": "HEIF"},
    **{b"II*\0": "TIFF", b"MM\0*": "TIFF"},
}
"""Formats, by bytes that are near the beginning of a file."""
_FORMATS = {".jpe": "JPEG", ".jfif": "JPEG", ".hif": "HEIF", ".mpo": "JPEG", ".pnm": "PPM"}
_PPM_HEADER = rb"P\d(?:(?:\s+#[^\n]*)*\s+(\d+)){3}"
"""Header of a PPM. Its last number is the largest sample."""
_JPEG_2000 = b"\xff\x4f\xff\x51"
"""Beginning of a JPEG 2000 codestream: SOC and SIZ (ISO 15444-1, A.4 and A.5)."""
_QUALITY = 95
"""Quality of lossy stills, on Pillow's scale from 0 to 100. Chosen by hand."""
_LOSSY = ("AVIF", "HEIF", "JPEG", "WEBP")  # Pillow's names of lossy formats
_DEEP = frozenset({".png", ".tif", ".tiff"})
"""Endings of formats that can have 16 bits."""
_ALPHA = frozenset({".avif", ".heic", ".heif", ".hif", ".png", ".tga", ".tif", ".tiff", ".webp"})
"""Endings of formats that are written with transparency."""
_GRAY = IMAGE_SUFFIXES - {".avif", ".pnm", ".ppm", ".webp"}
"""Endings of formats that are written with one channel if the input is gray."""
_NO_TAGS = frozenset({".bmp", ".jp2", ".pgm", ".pnm", ".ppm", ".tga"})
"""Endings of formats that are written without EXIF, XMP and colour profile."""


def read_still(path: Path) -> Still:
    """Read an image, and turn it upright. Raises InputError."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}); check permissions") from exc
    if not data:
        raise InputError(f"{path}: the file is empty; copy it again from its source")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of damaged tags
            return _read(path, data)
    except InputError:
        raise
    except Exception as exc:  # for damaged files, decoders raise any exception
        raise InputError(_why(path, data, exc)) from exc


def _why(path: Path, data: bytes, exc: Exception) -> str:
    if large := too_large(exc):
        return f"{path}: the picture is {large}"
    try:
        kind = Image.open(io.BytesIO(data)).format
    except Exception:
        kind = next((kind for magic, kind in _MAGIC.items() if magic in data[:16]), "")
        if not kind:
            return f"{path}: not an image; expected e.g. PNG, JPEG or HEIC"
    rare = "its header is not valid, or its variant is not supported"
    why = rare if isinstance(exc, UnidentifiedImageError) else exc
    return f"{path}: a {kind} that is damaged or cut off ({why}); copy it again from its source"


def _read(path: Path, data: bytes) -> Still:
    image: Any = Image.open(io.BytesIO(data))
    notes, kind = motion_note(path.name, data) + layers_note(path.name, image), image.format
    if len(pages := pages_of(image)) > 1:
        notes.append(f"{path.name}: only the first of its {len(pages)} pictures is enhanced")
    transfer = transfer_of(data, image)
    kept = has_16_bits(data, image)
    image.load()
    if drop_damaged_exif(image):
        notes.append(f"{path.name}: its EXIF is damaged and left out")
    dpi, icc = dpi_of(image), image.info.get("icc_profile") or b""
    upright = ImageOps.exif_transpose(image)
    (exif, damaged), xmp, image = exif_of(image), xmp_of(upright), upright
    if damaged:
        notes.append(f"{path.name}: damaged EXIF tags are left out: {', '.join(damaged)}")
    if image.mode in ("CMYK", "LAB", "YCbCr") and icc:
        image, icc = _to_srgb(image, icc), b""
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("LA", "La") else "RGBA")
        alpha = np.asarray(image.getchannel("A"))
        alpha = None if alpha.min() == 255 else alpha
    gray = image.mode in ("1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
    deep = read_deep(path, data) if kept else None
    if deep is not None and deep.ndim == 3 and deep.shape[2] == 4:
        alpha, deep = (None if alpha is None else deep[..., 3]), deep[..., :3]
    if deep is not None:
        deep = np.ascontiguousarray(np.dstack([deep] * 3) if deep.ndim == 2 else deep)
    elif not transfer and (kept or _is_deep(data, image)):
        notes.append(
            f"{path.name}: it has more than 8 bits, but is read in 8;"
            " an unsigned PNG or TIFF of 16 bits keeps them"
        )
    if transfer:
        notes.append(tone_note(path.name, transfer))
        rgb, deep = tone_mapped_rgb(data, image, transfer, deep)
        icc = b""
    else:
        rgb = rgb_of(image) if deep is None else in_eight_bits(deep)
    lossy = not transfer and _is_lossy(data, kind)
    return Still(rgb, deep, alpha, gray, exif, icc, xmp, dpi, tuple(notes), lossy)


def _is_lossy(data: bytes, kind: str) -> bool:
    """Return whether the compression of a file of Pillow's format `kind` is lossy."""
    if kind == "WEBP":
        return b"VP8L" not in data[:64]
    return kind in (*_LOSSY, "MPO")


def _is_deep(data: bytes, image: Any) -> bool:
    """Return whether a picture has more than 8 bits, in a format that is read in 8."""
    if image.mode[0] in "IF" or image.info.get("bit_depth", 8) > 8:  # HEIC tells bit_depth
        return True
    if data[:2] in (b"P3", b"P6"):
        header = re.match(_PPM_HEADER, data)
        return header is not None and int(header[1]) > 255
    place = data.find(_JPEG_2000)
    return place >= 0 and data[place + 42] & 0x7F >= 8  # Ssiz: bits - 1


def _to_srgb(image: Any, icc: bytes) -> Any:
    with contextlib.suppress(ImageCms.PyCMSError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    return image.convert("RGB")


def write_still(path: Path, pixels: Pixels, still: Still) -> tuple[bytes, list[str]]:
    """Return an image file in the format that `path` names, and messages on data it cannot hold.

    `pixels` is the enhanced `still.rgb`, (H, W, 3) uint8, or (H, 2 W, 3) with the original on the
    left. Raises OutputError.
    """
    suffix, notes = path.suffix.lower(), []
    alpha = still.alpha
    if alpha is not None and suffix not in _ALPHA:
        alpha = None
        notes.append(f"{path.name}: its transparency is left out; .png, .webp or .avif keep it")
    if alpha is not None:
        across = pixels.shape[1] // alpha.shape[1]
        alpha = np.concatenate([alpha] * across, axis=1)
    if suffix in _NO_TAGS and (still.exif or still.icc or still.xmp):
        notes.append(
            f"{path.name}: no EXIF, XMP and colour profile are written in {suffix}; .png keeps them"
        )
    elif profile_for(still.icc, gray=True) and suffix not in _GRAY:
        notes.append(f"{path.name}: its profile for gray is left out of {suffix}; .png keeps it")
    try:
        if still.deep is not None and suffix in _DEEP:
            if suffix != ".png" and (still.exif or still.icc or still.xmp):
                notes.append(
                    f"{path.name}: EXIF, XMP and colour profile are left out of a TIFF of 16 bits;"
                    " .png keeps them"
                )
            return _write_deep(suffix, _deepened(pixels, still), alpha, still), notes
        if still.deep is not None:
            notes.append(f"{path.name}: 8 bits of 16 are kept; .png or .tif keep all")
        return _write(path, pixels, alpha, still, notes), notes
    except (OSError, ValueError, KeyError, cv2.error, RuntimeError) as exc:
        raise OutputError(f"{path.name}: cannot be written as {suffix} ({exc}); try .png") from exc


def _deepened(pixels: Pixels, still: Still) -> NDArray[np.uint16]:
    """Return the result in 16 bits: add the low 8 bits of the input, times the local gain."""
    assert still.deep is not None
    across = pixels.shape[1] // still.rgb.shape[1]
    before = np.tile(still.rgb, (1, across, 1)).astype(np.float32)
    rest = np.tile(still.deep, (1, across, 1)) - before * 257
    gain = cv2.blur((pixels + np.float32(1)) / (before + 1), (3, 3))
    return (pixels * 257.0 + rest * gain).clip(0, 65535).round().astype(np.uint16)


def _write_deep(
    suffix: str, deep: NDArray[np.uint16], alpha: Samples | None, still: Still
) -> bytes:
    image: Any = deep[..., 1] if still.gray and alpha is None else deep[..., ::-1]
    if alpha is not None:
        image = np.dstack([image, alpha if alpha.dtype == np.uint16 else alpha * np.uint16(257)])
    tags = [(cv2.IMAGE_METADATA_EXIF, still.exif.removeprefix(b"Exif\0\0"))]
    icc = profile_for(still.icc, gray=image.ndim == 2)
    tags += [(cv2.IMAGE_METADATA_ICCP, icc), (cv2.IMAGE_METADATA_XMP, still.xmp)]
    tags = [(kind, data) for kind, data in tags if data and suffix == ".png"]
    _, data = cv2.imencodeWithMetadata(
        suffix,
        np.ascontiguousarray(image),
        [kind for kind, _ in tags],
        [np.frombuffer(value, np.uint8) for _, value in tags],
    )
    return data.tobytes()


def _write(
    path: Path, pixels: Pixels, alpha: Samples | None, still: Still, notes: list[str]
) -> bytes:
    suffix = path.suffix.lower()
    image = Image.fromarray(pixels)
    if still.gray and suffix in _GRAY:
        image = image.convert("L")
    if alpha is not None:
        level = alpha if alpha.dtype == np.uint8 else (alpha // 257).astype(np.uint8)
        image.putalpha(Image.fromarray(level))
    kind = _FORMATS.get(suffix) or Image.registered_extensions()[suffix]
    options: dict[str, Any] = {"quality": _QUALITY} if kind in _LOSSY else {}
    options |= {"subsampling": 0} if kind == "JPEG" else {}
    still, left = fitted(kind, still)
    if left:
        notes.append(f"{path.name}: {' and '.join(left)} is too long for a {kind}; .png keeps it")
    if still.exif:
        options["exif"] = still.exif
    if icc := profile_for(still.icc, gray=image.mode in ("L", "LA")):
        options["icc_profile"] = icc
    if still.dpi is not None and kind in ("JPEG", "PNG", "TIFF", "BMP"):
        options["dpi"] = still.dpi
    options |= xmp_options(kind, still)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.save(buffer, kind, **options)
    return buffer.getvalue()


def is_animated(path: Path) -> bool:
    """Return whether a file is an animation or has several pages."""
    if path.suffix.lower() not in ANIMATED_SUFFIXES:
        return False
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")
            image: ImageFile.ImageFile = Image.open(file)
            return path.suffix.lower() == ".gif" or len(pages_of(image)) > 1
    except Exception:  # the error is reported when the file is read
        return path.suffix.lower() in (".gif", ".apng")
