"""Tone-maps HDR stills (HLG, PQ) to SDR, as videos are."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

import av
import numpy as np
import pillow_heif
from numpy.typing import NDArray

from streamkind.video.color import Reader, read_tags
from streamkind.video.format import ColorTags
from streamkind.video.frames import Pixels
from streamkind.video.image_data import in_eight_bits
from streamkind.video.tonemap import HDR_TRANSFERS, ToneMapper
from streamkind.video.upright import read_orientation

Deep = NDArray[np.uint16]
"""RGB in 16 bits, (H, W, 3)."""
_NCLX = re.compile(rb"colrnclx..\x00[\x10\x12]", re.DOTALL)
"""Box `colr` of HEIF and AVIF with the transfer PQ or HLG, which follows the primaries."""


def transfer_of(data: bytes, image: Any) -> int:
    """Return the transfer (ITU-T H.273) of an open PNG, HEIC or AVIF that is HDR; else 0."""
    told = 0
    if image.format == "PNG":
        at = data.find(b"cICP", 0, data.find(b"IDAT"))
        told = data[at + 5] if at > 0 else 0  # after the primaries
    elif image.format == "HEIF":
        told = (image.info.get("nclx_profile") or {}).get("transfer_characteristics", 0)
    elif image.format == "AVIF" and _NCLX.search(data):
        told = _first_frame(data)[1].transfer
    return told if told in HDR_TRANSFERS else 0


def tone_mapped_rgb(
    data: bytes, image: Any, transfer: int, signal: Deep | None
) -> tuple[Pixels, Deep | None]:
    """Return upright SDR pixels of an HDR still in 8 bits, and in 16 bits if `signal` is given.

    `image` is the upright picture from Pillow. `signal` is the same picture in 16 bits, or None.
    """
    size = image.height, image.width
    if data[4:8] == b"ftyp":
        with contextlib.suppress(Exception):  # then the 8 bits of `image` are used
            if b"avif" in data[8:64]:
                rgb = _from_avif(data)
                if rgb.shape[:2] == size:
                    return rgb, None
            elif (heif := _from_heif(data)).shape[:2] == size:
                return _mapped(heif, transfer)[0], None
    if signal is None:
        eight = np.asarray(image.convert("RGB"))
        return _mapped(eight.astype(np.uint16) * np.uint16(257), transfer)[0], None
    return _mapped(signal, transfer)


def _first_frame(data: bytes) -> tuple[av.VideoFrame, ColorTags]:
    with av.open(io.BytesIO(data)) as container:
        frame = next(container.decode(video=0))  # type: ignore[union-attr]
    return frame, read_tags(frame, [])


def _from_avif(data: bytes) -> Pixels:
    """Return tone-mapped pixels of an AVIF, or of its first tile if it has several."""
    frame, tags = _first_frame(data)
    pixels = Reader(tags, frame.width, frame.height)(frame)
    return read_orientation(frame).apply(pixels)


def _from_heif(data: bytes) -> Deep:
    image = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    pixels = np.asarray(image)
    return np.asarray(pixels if pixels.dtype == np.uint16 else pixels * np.uint16(257))[..., :3]


def _mapped(signal: Deep, transfer: int) -> tuple[Pixels, Deep]:
    planes = np.ascontiguousarray(signal)
    frame = av.VideoFrame.from_ndarray(planes, format="rgb48le").reformat(format=ToneMapper.pix_fmt)
    deep = ToneMapper(transfer, frame)(frame).reformat(format="rgb48le").to_ndarray()
    samples = np.asarray(deep, np.uint16)
    return in_eight_bits(samples), samples


def tone_note(name: str, transfer: int) -> str:
    """Return the message that a still was tone-mapped."""
    return f"{name}: HDR ({HDR_TRANSFERS[transfer]}), tone-mapped: the result is SDR"
