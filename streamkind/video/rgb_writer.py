"""Makes frames for the encoders of animations, which accept RGB or a palette."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from streamkind.video.color import YuvWriter, frame_of
from streamkind.video.format import ColorRange, ColorTags
from streamkind.video.frames import Pixels

RGB_FORMATS = {"gif": "pal8", "apng": "rgb24", "libwebp": "bgra", "libwebp_anim": "bgra"}
"""Pixel format for each encoder of animations."""
_COLORS = 256
"""Number of colours in a palette: the limit of GIF."""


class RgbWriter:
    """Converts RGB or yuv420p to RGB frames, or to frames with a palette each."""

    def __init__(self, tags: ColorTags, pix_fmt: str, *, planes: ColorTags | None = None) -> None:
        """Make frames of `pix_fmt`. yuv420p has the tags `planes`, or `tags` if that is None."""
        self._planes = YuvWriter(planes or tags, "yuv420p")
        self._pix_fmt = pix_fmt
        self._sws = VideoReformatter()

    def __call__(self, pixels: Pixels) -> av.VideoFrame:
        """Return a new frame; `pixels` is not kept."""
        frame = frame_of(pixels) if pixels.ndim == 3 else self._planes(pixels)
        if self._pix_fmt != "pal8":
            return self._sws.reformat(frame, format=self._pix_fmt, dst_color_range=ColorRange.FULL)
        rgb = self._sws.reformat(frame, format="rgb24", dst_color_range=ColorRange.FULL)
        image = Image.fromarray(rgb.to_ndarray()).quantize(_COLORS)
        palette = np.zeros((_COLORS, 4), np.uint8)  # alpha, red, green, blue
        known = np.array(image.getpalette(), np.uint8).reshape(-1, 3)
        palette[:, 0], palette[: len(known), 1:] = 255, known
        coded: Any = np.asarray(image), palette  # PyAV's stubs do not have such a pair
        return av.VideoFrame.from_ndarray(coded, format="pal8")
