"""The format of frames: size, time base and colour, by FFmpeg's names and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction

import av

VIDEO_SUFFIXES = frozenset(
    {".264", ".265", ".3g2", ".3gp", ".asf", ".av1", ".avi", ".dav", ".divx", ".dv"}
    | {".f4v", ".flv", ".gxf", ".h264", ".h265", ".hevc", ".insv", ".ivf", ".lrv", ".m1v"}
    | {".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mod", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".obu", ".ogm", ".ogv", ".qt", ".rm"}
    | {".rmvb", ".tod", ".trp", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
"""Endings of video files. A batch takes files with these from a folder if no pattern is given."""


class ColorRange(IntEnum):
    """FFmpeg's AVCOL_RANGE_*: luma from 16 to 235, or from 0 to 255."""

    LIMITED = 1
    FULL = 2


class ColorMatrix(IntEnum):
    """Some of FFmpeg's AVCOL_SPC_*."""

    BT709 = 1
    UNSPECIFIED = 2
    BT601 = 6


class ColorPrimaries(IntEnum):
    """Some of FFmpeg's AVCOL_PRI_*."""

    BT709 = 1
    UNSPECIFIED = 2


class ColorTransfer(IntEnum):
    """Some of FFmpeg's AVCOL_TRC_*."""

    BT709 = 1
    UNSPECIFIED = 2
    PQ = 16
    HLG = 18


@dataclass(frozen=True, slots=True)
class ColorTags:
    """The colour tags of a video, which say how YUV is converted to RGB: FFmpeg's AVCOL_*.

    An input may have values that the enumerations do not name, such as 9 for the matrix of BT.2020.
    """

    range: int = ColorRange.FULL
    """Range. A missing tag was guessed."""
    matrix: int = ColorMatrix.BT709
    """Matrix. A missing tag was guessed."""
    primaries: int = ColorPrimaries.UNSPECIFIED
    """Primaries, as in the input."""
    transfer: int = ColorTransfer.UNSPECIFIED
    """Transfer, as in the input."""


HD = ColorTags(range=ColorRange.LIMITED, matrix=ColorMatrix.BT709)
"""The usual tags of high-definition video. YUV of live cameras is converted to them."""
FULL_709 = ColorTags()
"""BT.709 in full range: the tags of YUV that is computed here from RGB."""
HD_ROWS = 720
"""Smallest height, in pixels, at which BT.709 is assumed if the matrix is not specified."""


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """The format of the frames that a source delivers."""

    width: int
    """Width of the delivered (upright) frames."""
    height: int
    """Height of the delivered (upright) frames."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    frame_rate: Fraction | None
    """Average frames per second; None if unknown."""
    sample_aspect_ratio: Fraction
    """Width of a pixel by its height, in the delivered (upright) frames; 1 if unknown."""
    color: ColorTags
    """Tags of the output, and of the delivered frames if they are YUV."""
    pix_fmt: str
    """FFmpeg's pixel format of the input."""
    frames: int | None
    """Estimated number of frames; None if unknown."""
    duration: float | None
    """Length in seconds; None if unknown."""

    @property
    def deep(self) -> bool:
        """Whether the input has more than 8 bits."""
        return is_deep(self.pix_fmt)


def is_deep(pix_fmt: str) -> bool:
    """Return whether a pixel format of FFmpeg has more than 8 bits. Hardware formats give False."""
    return any(component.bits > 8 for component in av.VideoFormat(pix_fmt).components)
