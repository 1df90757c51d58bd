"""What a source delivers: size, clock and colour, as FFmpeg names them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

UNSPECIFIED = 2
"""FFmpeg's "not said" for matrix, primaries and transfer; for range it is 0."""
LIMITED, FULL = 1, 2
BT709, BT601 = 1, 6


VIDEO_SUFFIXES = frozenset(
    {".264", ".265", ".3g2", ".3gp", ".asf", ".av1", ".avi", ".dav", ".divx", ".dv"}
    | {".f4v", ".flv", ".gxf", ".h264", ".h265", ".hevc", ".insv", ".ivf", ".lrv", ".m1v"}
    | {".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mod", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm"}
    | {".rmvb", ".tod", ".trp", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
"""Endings of videos: what a batch takes from a folder when no pattern says otherwise."""


@dataclass(frozen=True, slots=True)
class ColorTags:
    """How RGB was turned into YUV; FFmpeg's AVCOL_* numbers, as PyAV has them."""

    range: int = FULL
    """1: limited (16-235), 2: full (0-255). Never unspecified: a guess has been made by then."""
    matrix: int = BT709
    """AVCOL_SPC_*: 1 is BT.709, 5 and 6 are BT.601, 9 is BT.2020. Never unspecified."""
    primaries: int = UNSPECIFIED
    """AVCOL_PRI_*, as the input had it."""
    transfer: int = UNSPECIFIED
    """AVCOL_TRC_*, as the input had it."""


HD = ColorTags(range=LIMITED, matrix=BT709)
"""As high-definition video mostly is; the planes of live cameras are made so."""
HD_ROWS = 720
"""Height from which on a picture is taken for high definition."""


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """What a source delivers."""

    width: int
    """Of the delivered (upright) frames."""
    height: int
    time_base: Fraction
    frame_rate: Fraction | None
    """Average; None when unknown."""
    sample_aspect_ratio: Fraction
    """Of the delivered (upright) frames; 1 when the file does not say."""
    color: ColorTags
    pix_fmt: str
    frames: int | None
    """Estimate of how many frames will be delivered."""
    duration: float | None
    """Seconds."""
