"""Finds hardware that decodes (NVIDIA cards) and hardware that encodes (any maker)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from av.codec.hwaccel import HWAccel

FAMILIES = ("nvenc", "qsv", "amf", "videotoolbox", "vaapi", "mf")
"""Endings of the names of FFmpeg's hardware encoders, in the order in which `auto-hw` tries them.

They are of NVIDIA, Intel, AMD, Apple, Linux (for Intel and AMD) and Windows (for all).
"""
AUTO_HW = re.compile(r"auto-hw(?::(h264|hevc|av1))?", re.IGNORECASE)
"""The codec names that ask for a hardware encoder: auto-hw, auto-hw:hevc."""
_NVENC = {"h264": "h264_nvenc", "hevc": "hevc_nvenc", "h265": "hevc_nvenc", "av1": "av1_nvenc"}


def nvdec() -> HWAccel:
    """Return the accelerator by which FFmpeg decodes on a card, if the card has the codec."""
    return HWAccel("cuda", allow_software_fallback=True)


def nvenc(codec: str) -> str | None:
    """Return NVIDIA's encoder for a codec that the user named without an encoder."""
    return _NVENC.get(codec.lower())


def find_hardware_encoder(
    kind: str, known: Collection[str], opens: Callable[[str], bool]
) -> tuple[str | None, list[str]]:
    """Return the first hardware encoder of a codec that opens, or None, and those that failed.

    `known` are the names of FFmpeg's codecs; `opens` tries one.
    """
    failed: list[str] = []
    for name in (f"{kind}_{family}" for family in FAMILIES):
        if name not in known:
            continue
        if opens(name):
            return name, failed
        failed.append(name)
    return None, failed
