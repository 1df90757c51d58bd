"""Finds hardware decoders and encoders that work on this machine."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection

import av
from av.codec import Codec
from av.codec.hwaccel import HWAccel, HWDeviceType, hwdevices_available
from av.video.codeccontext import VideoCodecContext

from streamkind.errors import UsageError

HWACCELS = ("cuda", "videotoolbox", "d3d12va", "d3d11va", "qsv", "vaapi", "vulkan")
"""FFmpeg's names of hardware decoders, in the order in which `auto` tries them. Others follow."""

FAMILIES = ("nvenc", "qsv", "amf", "videotoolbox", "vaapi", "mf")
"""Endings of the names of FFmpeg's hardware encoders, in the order in which `auto-hw` tries them:
NVIDIA, Intel, AMD, Apple, Linux (Intel and AMD), Windows (all makers)."""
AUTO_HW = re.compile(r"auto-hw(?::(h264|hevc|av1))?", re.IGNORECASE)
"""Pattern of the codec names that ask for a hardware encoder, such as auto-hw and auto-hw:hevc."""
_NVENC = {"h264": "h264_nvenc", "hevc": "hevc_nvenc", "h265": "hevc_nvenc", "av1": "av1_nvenc"}
"""FFmpeg's encoders for NVIDIA cards, by codec."""


def check_hwaccel(name: str) -> None:
    """Raise UsageError unless a name is none, auto, or one that FFmpeg has."""
    known = ["none", "auto", *(kind.name for kind in HWDeviceType if kind.name != "none")]
    if name not in known:
        raise UsageError(f"hwaccel {name!r}: unknown; choose {', '.join(known)}")


def find_hwaccel(
    asked: str, known: Collection[str], opens: Callable[[str], bool]
) -> tuple[str | None, str]:
    """Return the name of a hardware decoder that opens, or None, and a message.

    The message is "" if the result is what `asked` names. `known` are FFmpeg's names of devices.
    `opens` returns whether a device can be opened.
    """
    if asked == "none":
        return None, ""
    others = [name for name in sorted(known) if name not in HWACCELS]
    names = [name for name in (*HWACCELS, *others) if name in known]
    tried = names if asked == "auto" else [asked] if asked in known else []
    for name in tried:
        if opens(name):
            return name, ""
    if asked == "auto":
        told = ", ".join(names) or "FFmpeg knows none"
        return None, f"decoded in software: no hardware decoder can be used here ({told})"
    return None, f"decoded in software: {asked} cannot be used here"


def open_hwaccel(asked: str) -> tuple[HWAccel | None, str]:
    """Return the hardware decoder, or None for software; and a message, as `find_hwaccel` does.

    FFmpeg decodes a video in software if the hardware cannot decode it.
    """
    name, note = find_hwaccel(asked, hwdevices_available(), _decodes)
    return (None if name is None else HWAccel(name, allow_software_fallback=True)), note


def software_note(accel: HWAccel | None, context: VideoCodecContext) -> list[str]:
    """Return one message if a video is decoded in software although there is hardware."""
    if accel is None or context.is_hwaccel:
        return []
    return ["decoded in software: the hardware cannot decode this video"]


@functools.cache
def _decodes(name: str) -> bool:
    """Return whether a device decodes H.264, which all devices do."""
    try:
        HWAccel(name, allow_software_fallback=False).create(Codec("h264", "r"))
    except (av.FFmpegError, NotImplementedError, RuntimeError, ValueError):
        return False
    return True


def nvenc(codec: str) -> str | None:
    """Return NVIDIA's encoder for the name of a codec, or None."""
    return _NVENC.get(codec.lower())


def find_hardware_encoder(
    kind: str, known: Collection[str], opens: Callable[[str], bool]
) -> tuple[str | None, list[str]]:
    """Return the first hardware encoder of a codec that opens, or None; and those that do not.

    `known` are the names of FFmpeg's codecs. `opens` returns whether an encoder can be opened.
    """
    failed: list[str] = []
    for name in (f"{kind}_{family}" for family in FAMILIES):
        if name not in known:
            continue
        if opens(name):
            return name, failed
        failed.append(name)
    return None, failed
