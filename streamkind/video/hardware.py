"""Decoding and encoding on NVIDIA cards (NVDEC, NVENC), in software where they cannot."""

from __future__ import annotations

from av.codec.hwaccel import HWAccel

_NVENC = {"h264": "h264_nvenc", "hevc": "hevc_nvenc", "h265": "hevc_nvenc", "av1": "av1_nvenc"}


def nvdec() -> HWAccel:
    """Return what lets FFmpeg decode on a card the codecs that the card knows."""
    return HWAccel("cuda", allow_software_fallback=True)


def nvenc(codec: str) -> str | None:
    """Return the encoder of a card for a codec that the user named without an encoder."""
    return _NVENC.get(codec.lower())
