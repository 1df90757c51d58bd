"""Reads the colour tags of a video, and converts between YUV and RGB according to the tags."""

from __future__ import annotations

import functools
from typing import Protocol

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from streamkind.video.format import (
    HD_ROWS,
    ColorMatrix,
    ColorRange,
    ColorTags,
    is_deep,
)
from streamkind.video.frames import (
    DEEP,
    QUARTERS,
    Pixels,
    PixFmt,
    levels,
    stored,
    yuv420p_planes,
)
from streamkind.video.tonemap import ToneMapper, is_hdr

UNSURE = 2, 5
"""Luma above black, in 8-bit levels. Up to the first value, chroma counts as an error of rounding.
From the second value on, it counts as colour of the scene. Chosen by hand."""

# FFmpeg's AVCOL_SPC_* -> SWS_CS_*, for the matrices that swscale can convert. BT.2020 constant
# luminance (10) is converted as non-constant luminance: without HDR they differ little.
_SWS_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}

RGB16 = 65535 / (255 * QUARTERS)
"""Values of FFmpeg's gbrp16le for one value of uint16 pixels."""
# Without FULL_CHR_H_INT, swscale uses tables whose results are wrong by up to 3 levels.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_LUMA = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
"""Weights of red and blue in luma, by AVCOL_SPC_* (ITU-T H.273, table 4)."""


@functools.cache
def yuv_of_rgb(tags: ColorTags) -> NDArray[np.float64]:
    """Return the matrix from 8-bit RGB to 8-bit YUV: (3, 4), whose last column is an offset."""
    red, blue = _LUMA[tags.matrix]
    luma = np.array([red, 1 - red - blue, blue])
    chroma = [(np.eye(3)[2] - luma) / (2 - 2 * blue), (np.eye(3)[0] - luma) / (2 - 2 * red)]
    scale = [219, 224, 224] if tags.range == ColorRange.LIMITED else [255, 255, 255]
    offset = [16 if tags.range == ColorRange.LIMITED else 0, 128, 128]
    matrix = np.array([luma, *chroma]) * (np.array(scale) / 255)[:, None]
    return _fixed(np.column_stack([matrix, offset]))


@functools.cache
def rgb_of_yuv(tags: ColorTags) -> NDArray[np.float64]:
    """Return the matrix from 8-bit YUV to 8-bit RGB: (3, 4), whose last column is an offset."""
    forth = yuv_of_rgb(tags)
    back = np.linalg.inv(forth[:, :3])
    return _fixed(np.column_stack([back, -back @ forth[:, 3]]))


def _fixed(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make a matrix read-only, because several callers share it."""
    matrix.setflags(write=False)
    return matrix


class _Tagged(Protocol):
    color_range: int
    colorspace: int
    color_primaries: int
    color_trc: int


def read_tags(frame: av.VideoFrame, warnings: list[str]) -> ColorTags:
    """Read the tags of a decoded frame. Add a message to `warnings` if the matrix is a guess."""
    tagged: _Tagged = frame
    name = frame.format.name
    colored = frame.format.is_rgb, name.startswith(("gray", "mono", "pal8"))
    return ColorTags(
        range=_range_of(tagged.color_range, name),
        matrix=_matrix_of(tagged.colorspace, frame.height, any(colored), warnings),
        primaries=tagged.color_primaries,
        transfer=tagged.color_trc,
    )


def _range_of(tag: int, pix_fmt: str) -> int:
    if tag in (ColorRange.LIMITED, ColorRange.FULL):
        return tag
    # swscale always writes gray in full range, so untagged gray is full.
    return ColorRange.FULL if pix_fmt.startswith(("yuvj", "gray")) else ColorRange.LIMITED


def _matrix_of(tag: int, height: int, no_matrix: bool, warnings: list[str]) -> int:
    if tag in _SWS_MATRIX:
        return tag
    guess = ColorMatrix.BT601 if height < HD_ROWS else ColorMatrix.BT709
    if not no_matrix:
        name = "BT.601" if guess == ColorMatrix.BT601 else "BT.709"
        said = "is not specified" if tag == ColorMatrix.UNSPECIFIED else f"({tag}) is not supported"
        warnings.append(f"the colour matrix {said}; {name} is assumed from a height of {height}")
    return guess


class Reader:
    """Converts decoded frames of any pixel format to RGB or planes. Use it from one thread only."""

    def __init__(
        self,
        tags: ColorTags,
        width: int,
        height: int,
        pix_fmt: PixFmt = "rgb24",
        *,
        made: ColorTags | None = None,
    ) -> None:
        """Read frames with the tags `tags`; scale frames of another size to `width` x `height`.

        If `pix_fmt` is YUV, frames are converted to the tags `made`, if given. HDR is tone-mapped.
        """
        self._tags, self._made = tags, made or tags
        self._size = width, height
        self._pix_fmt = pix_fmt
        self._mapper: ToneMapper | None = None
        self._sws, self._opaque = VideoReformatter(), VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> Pixels:
        """Return the pixels as stored, not turned upright. The caller may keep the array."""
        rgb = self._pix_fmt in ("rgb24", "gbrp16le")
        tags = self._tags
        if frame.format.name == "gbrap16le":
            # To gbrp16le, swscale copies only half of some rows.
            frame = self._opaque.reformat(frame, format="rgb48le")
        if is_hdr(tags):
            frame, tags = self._tone_map(frame), ColorTags(ColorRange.FULL, ColorMatrix.BT709)
        fine = self._pix_fmt == "yuv420p" and is_deep(frame.format.name)
        read = self._sws.reformat(
            frame,
            *self._size,
            format=DEEP["yuv420p"] if fine else self._pix_fmt,
            src_colorspace=_SWS_MATRIX[tags.matrix],
            dst_colorspace=_SWS_MATRIX[(tags if rgb else self._made).matrix],
            src_color_range=tags.range,
            dst_color_range=ColorRange.FULL if rgb else self._made.range,
            interpolation=_EXACT,
        )
        # A view of the frame's own buffer when its rows have no padding.
        pixels = np.ascontiguousarray(read.to_ndarray())
        if fine:
            return dithered(pixels)
        return scaled(pixels, 1 / RGB16) if self._pix_fmt == "gbrp16le" else pixels

    def _tone_map(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._mapper is None:
            self._mapper = ToneMapper(self._tags.transfer, frame)
        rgb = self._sws.reformat(
            frame,
            *self._size,
            format=ToneMapper.pix_fmt,
            src_colorspace=_SWS_MATRIX[self._tags.matrix],
            dst_colorspace=_SWS_MATRIX[self._tags.matrix],
            src_color_range=self._tags.range,
            dst_color_range=ColorRange.FULL,
            interpolation=_EXACT,
        )
        return self._mapper(rgb)


def scaled(rgb: Pixels, by: float) -> Pixels:
    """Multiply RGB of 16 bits, (H, W, 3), by a factor."""
    return np.asarray(cv2.addWeighted(rgb, by, rgb, 0, 0), np.uint16)


def dithered(planes: Pixels) -> Pixels:
    """Convert planes of 10 bits, (H, W), to 8 bits, dithered by Bayer's 2x2 pattern.

    The mean of each 2x2 pixels keeps all 10 bits. The dither of swscale would keep only 9.
    """
    raised = planes.copy()
    for row, thresholds in enumerate(((0, 2), (3, 1))):
        for column, threshold in enumerate(thresholds):
            raised[row::2, column::2] += threshold
    return np.asarray(np.minimum(raised >> 2, 255), np.uint8)


class YuvWriter:
    """Converts RGB or yuv420p to frames for an encoder. Use it from one thread only."""

    def __init__(self, tags: ColorTags, pix_fmt: str, *, planes: ColorTags | None = None) -> None:
        """Make frames of `pix_fmt` with the tags `tags`, from RGB or yuv420p.

        yuv420p has the tags `planes`, or `tags` if `planes` is None.
        """
        self._tags, self._planes = tags, planes or tags
        self._pix_fmt = pix_fmt
        self._sws = VideoReformatter()

    def __call__(self, pixels: Pixels) -> av.VideoFrame:
        """Return a new frame; `pixels` is not kept."""
        if pixels.dtype == np.uint16 and not is_deep(self._pix_fmt):
            # swscale would dither 10 bits to 8. In enhanced pixels, that would only be more noise.
            pixels = stored(levels(pixels))
        rgb = pixels.ndim == 3
        matrix = _SWS_MATRIX[self._tags.matrix]
        yuv = self._sws.reformat(
            frame_of(pixels),
            format=self._pix_fmt,
            src_colorspace=matrix if rgb else _SWS_MATRIX[self._planes.matrix],
            dst_colorspace=matrix,
            src_color_range=ColorRange.FULL if rgb else self._planes.range,
            dst_color_range=self._tags.range,
            interpolation=_EXACT,
        )
        yuv.colorspace = self._tags.matrix
        yuv.color_range = self._tags.range
        yuv.color_primaries = self._tags.primaries
        yuv.color_trc = self._tags.transfer
        return yuv


def frame_of(pixels: Pixels) -> av.VideoFrame:
    """Return a frame of pixels, RGB or yuv420p. RGB is copied; yuv420p shares its memory."""
    deep = pixels.dtype == np.uint16
    if pixels.ndim == 3:  # copied, because swscale reads some bytes beyond the last row of RGB
        whole = scaled(pixels, RGB16) if deep else np.ascontiguousarray(pixels)
        return av.VideoFrame.from_ndarray(whole, format="gbrp16le" if deep else "rgb24")
    if deep:
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="yuv420p10le")
    # from_numpy_buffer assumes a height of yuv420p that is a multiple of 4. DLPack does not accept
    # read-only memory.
    planes = yuv420p_planes(np.require(pixels, requirements=["C", "W"]))
    return av.VideoFrame.from_dlpack(planes, format="yuv420p")
