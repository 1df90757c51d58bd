"""Decoding on NVIDIA cards, encoding on hardware of any maker, in software where they cannot."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from av.codec.hwaccel import HWAccel

FAMILIES = ("nvenc", "qsv", "amf", "videotoolbox", "vaapi", "mf")
"""Endings of FFmpeg's hardware encoders, in the order in which `auto-hw` tries them.

NVIDIA's, Intel's, AMD's, Apple's, Linux's own for Intel and AMD, and Windows' own for all.
"""
AUTO_HW = re.compile(r"auto-hw(?::(h264|hevc|av1))?", re.IGNORECASE)
"""The codec that asks for hardware of this machine: auto-hw, auto-hw:hevc."""
_NVENC = {"h264": "h264_nvenc", "hevc": "hevc_nvenc", "h265": "hevc_nvenc", "av1": "av1_nvenc"}


def nvdec() -> HWAccel:
    """Return what lets FFmpeg decode on a card the codecs that the card knows."""
    return HWAccel("cuda", allow_software_fallback=True)


def nvenc(codec: str) -> str | None:
    """Return the encoder of a card for a codec that the user named without an encoder."""
    return _NVENC.get(codec.lower())


def find_hardware_encoder(
    kind: str, known: Collection[str], opens: Callable[[str], bool]
) -> tuple[str | None, list[str]]:
    """Return the first encoder of a kind of codec that opens here, or None, and those that do not.

    `known` are FFmpeg's names of codecs; `opens` tries one.
    """
    failed: list[str] = []
    for name in (f"{kind}_{family}" for family in FAMILIES):
        if name not in known:
            continue
        if opens(name):
            return name, failed
        failed.append(name)
    return None, failed
