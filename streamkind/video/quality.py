"""Turns crf and preset into the options of an encoder."""

from __future__ import annotations

from collections.abc import Collection

import av
from av.codec import Codec

from streamkind.errors import UsageError

_CRF = {"libx264": 18, "libx265": 20, "libsvtav1": 24, "libaom-av1": 24, "libvpx-vp9": 24}
"""Default crf of an encoder, on its own scale. Chosen by hand."""
_PRESET = {"libx264": "medium", "libx265": "medium", "libsvtav1": "8"}
"""Default preset of an encoder. Chosen by hand."""
_X26X_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)
_SVT_PRESETS = tuple(str(number) for number in range(-2, 14))
_PRESETS = {"libx264": _X26X_PRESETS, "libx265": _X26X_PRESETS, "libsvtav1": _SVT_PRESETS}
"""Presets of encoders that print to stderr if they are given an unknown preset."""
_DEBLOCK = "2:2"
"""Offsets of H.264's deblocking filter. They reduce blocks, which become visible in flat areas that
are brightened. `tools/figures.py film` measures a quarter fewer blocks with them, at equal detail
and file size."""
_MOST_CRF = {"h264": 51, "hevc": 51}
"""Largest crf of a codec, by FFmpeg's name. For all others it is 63, the limit of AV1 and VP9."""
_WEBP_QUALITY = 90
"""Quality of animated WebP, on libwebp's scale from 0 to 100. Chosen by hand."""


_QP2LAMBDA = 118
"""FFmpeg's FF_QP2LAMBDA: units of `global_quality` in one step of a quantiser or of quality."""


def most_crf(codec: str) -> int:
    """Return the largest crf of a codec, by FFmpeg's name of the codec."""
    return _MOST_CRF.get(codec, 63)


def quality_options(codec: Codec, crf: int | None, preset: str | None) -> dict[str, str]:
    """Return crf and preset as options of the encoder. Raises UsageError."""
    most = most_crf(codec.canonical_name)
    if crf is not None and not (isinstance(crf, int) and 0 <= crf <= most):
        raise UsageError(f"crf={crf!r}: expected 0 (best) to {most} (smallest) for {codec.name}")
    context = av.CodecContext.create(codec.name, "w")
    names = {option.name for option in context.supported_options.private}
    options = {}
    quality = str(_CRF.get(codec.name, 20) if crf is None else crf)
    if "crf" in names:
        options["crf"] = quality
    elif codec.name.startswith("libwebp"):
        options["quality"] = str(_WEBP_QUALITY if crf is None else 100 - crf)
    elif "cq" in names:  # NVENC; 0 would mean automatic
        options |= {"rc": "vbr", "cq": str(max(1, int(quality)))}
    elif "qp" in names:  # VAAPI
        options |= {"rc_mode": "CQP", "qp": quality} if "rc_mode" in names else {"qp": quality}
    elif codec.lossy:  # the usual quantiser is 1 to 31
        scale = max(1, min(31, int(quality) // 6))
        usual = {"flags": "+qscale", "global_quality": str(_QP2LAMBDA * scale)}
        options |= hardware_quality(codec.name, int(quality), names) or usual
    preset = preset or _PRESET.get(codec.name)
    if preset is not None:
        if "preset" not in names:
            raise UsageError(f"preset={preset!r}: {codec.name} has no presets; leave it out")
        if preset not in _PRESETS.get(codec.name, (preset,)):
            known = ", ".join(_PRESETS[codec.name])
            raise UsageError(f"preset={preset!r}: {codec.name} knows {known}; choose one of them")
        options["preset"] = preset
    if codec.name == "libx264":
        options["deblock"] = _DEBLOCK
    if codec.name == "libx265":
        options["x265-params"] = "log-level=none"  # otherwise x265 prints to stderr
    return options


def hardware_quality(name: str, crf: int, known: Collection[str]) -> dict[str, str]:
    """Return the options for a crf of an encoder on hardware that has no such option; else {}.

    `known` are the names of the encoder's own options. Quick Sync and AMF get a fixed quantiser: up
    to 51, or 255 for AV1. VideoToolbox and Media Foundation count quality up, to 100.
    """
    kind, _, family = name.rpartition("_")
    step, quality = str(max(1, crf * 4 if kind == "av1" else crf)), max(1, 100 - 2 * crf)
    if family in ("qsv", "videotoolbox"):
        scale = int(step) if family == "qsv" else quality
        return {"flags": "+qscale", "global_quality": str(_QP2LAMBDA * scale)}
    if family == "amf":
        return {"rc": "cqp"} | {key: step for key in ("qp_i", "qp_p", "qp_b") if key in known}
    return {"rate_control": "quality", "quality": str(quality)} if family == "mf" else {}
