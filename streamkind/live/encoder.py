"""Encodes live pictures without delay, with keyframes at regular times and on demand."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.video.frame import PictureType

from streamkind.engine.shrink import rgb_at
from streamkind.video.color import YuvWriter
from streamkind.video.encoders import EncoderSettings, add_encoder, choose_pix_fmt, find_encoder
from streamkind.video.format import HD, HD_ROWS, ColorMatrix
from streamkind.video.frames import Pixels, size_of

TIME_BASE = Fraction(1, 90_000)
"""The `time_base` of all packets, in seconds: that of MPEG-TS and RTP."""
DARK = 32
"""Luma of the background of a slate, as an 8-bit level. A slate is a picture with the text "no
signal"."""
LEAST_STEP = 90
"""Least difference between two pts, in `TIME_BASE`. It is one millisecond, the unit of Matroska and
RTMP."""
SHORTEST = float(LEAST_STEP * TIME_BASE)
"""The same in seconds. Times that differ by less count as equal."""
KEY_SECONDS, HLS_KEY_SECONDS = 2.0, 0.9
"""Seconds between keyframes: usually, and with HLS. New viewers wait for a keyframe, and each HLS
segment begins with one. Players begin three segments before the end. With segments of 0.9 s, they
are less than 4 s behind the camera."""
_LOW_DELAY = {
    "libx264": {
        "preset": "veryfast",
        "tune": "zerolatency",
        "crf": "23",
        "forced-idr": "1",
        "sc_threshold": "0",  # keyframes at regular times only
    },
    "libx265": {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "crf": "26",
        "forced-idr": "1",
        "x265-params": "log-level=none:scenecut=0",
    },
    "libsvtav1": {"preset": "10", "crf": "35", "svtav1-params": "pred-struct=1:lookahead=0"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "crf": "32"},
    "nvenc": {"preset": "p4", "tune": "ull", "rc": "vbr", "cq": "26", "forced-idr": "1"},
    "qsv": {"async_depth": "1", "forced_idr": "1"},
    "vaapi": {"async_depth": "1"},
}
"""Options for encoding without delay, by the name of an encoder, or by the last part of the name:
"nvenc" for h264_nvenc."""


@dataclass(frozen=True, slots=True)
class Coded:
    """An encoded packet for the outputs."""

    data: bytes
    pts: int
    """Presentation time, in `TIME_BASE`."""
    duration: int
    """Duration in `TIME_BASE`; 0 if unknown."""
    key: bool
    """Whether decoding can begin here."""
    video: bool
    """Whether it is a picture; else it is sound."""


class Template:
    """A copy of the description of a stream, as muxers need it.

    It stays valid when the camera's connection is closed.
    """

    def __init__(self, stream: Any) -> None:
        """Copy the description of an open stream."""
        self._container = av.open(io.BytesIO(), "w", format="nut")
        self.stream = self._container.add_stream_from_template(stream, opaque=True)
        context = stream.codec_context
        self.key = (context.name, context.sample_rate, context.layout.name, context.extradata)
        """Properties that must stay the same for packets of one stream."""


class LiveEncoder:
    """Encodes pictures of one size. Used from one thread only."""

    def __init__(
        self,
        codec: str,
        size: tuple[int, int],
        rate: Fraction,
        aspect: Fraction,
        key_seconds: float = KEY_SECONDS,
    ) -> None:
        """Open an encoder for pictures of `size`, (width, height), at `rate` frames per second.

        Raises UsageError for an unknown codec, OutputError if the encoder does not open.
        """
        width, height = self.size = size
        found = find_encoder(codec)
        family = found.name.rpartition("_")[2]
        options = _LOW_DELAY.get(found.name, _LOW_DELAY.get(family, {}))
        settings = EncoderSettings(
            codec=found,
            width=width,
            height=height,
            time_base=TIME_BASE,
            rate=rate,
            sample_aspect_ratio=aspect,
            color=replace(HD, matrix=ColorMatrix.BT601) if height < HD_ROWS else HD,
            b_frames=False,
            threads=1 if width * height < 640 * 480 else 4,
            thread_type="SLICE",
            options=options
            | {"g": str(max(1, round(key_seconds * rate))), "flags": "+global_header"},
        )
        pix_fmt = choose_pix_fmt(settings)
        self._container = av.open(io.BytesIO(), "w", format="nut")
        self.stream: Any = add_encoder(self._container, settings, pix_fmt)
        self._context = self.stream.codec_context
        self._container.start_encoding()  # fills in the stream's description
        # Viewers who join a transport stream later find the parameter sets at each keyframe.
        self._repeat = BitStreamFilterContext("dump_extra=freq=keyframe", in_stream=self.stream)
        self._yuv = YuvWriter(settings.color, pix_fmt)
        self.last_pts = -LEAST_STEP
        """Presentation time of the last picture given to the encoder, in `TIME_BASE`."""
        self._last_key, self._seconds = -key_seconds, 0.0
        self._key_seconds = key_seconds

    def __call__(self, pixels: Pixels, seconds: float, *, key: bool) -> Iterator[Coded]:
        """Encode a picture shown at `seconds` on the timeline; with `key`, as a keyframe."""
        frame = self._yuv(fit(pixels, self.size))
        self.last_pts = frame.pts = max(round(seconds / TIME_BASE), self.last_pts + LEAST_STEP)
        frame.time_base = TIME_BASE
        since = seconds - self._last_key
        if key or since >= self._key_seconds - SHORTEST or since < 0:
            frame.pict_type = PictureType.I
            self._last_key = seconds
        self._seconds = seconds
        return self._packets(frame)

    def finish(self) -> Iterator[Coded]:
        """Return the packets that the encoder still holds."""
        return self._packets(None)

    def _packets(self, frame: av.VideoFrame | None) -> Iterator[Coded]:
        for packet in self._context.encode(frame):
            key = packet.is_keyframe
            if key:  # the encoder may make some of its own
                self._last_key = self._seconds
            for whole in self._repeat.filter(packet):
                yield Coded(bytes(whole), whole.pts or 0, 0, key, True)


def fit(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Scale a picture to `size`, (width, height), with black bars if its aspect ratio differs."""
    if (own := size_of(pixels)) == size:
        return pixels
    width, height = size
    scale = min(width / own[0], height / own[1])
    inner = max(1, round(own[0] * scale)), max(1, round(own[1] * scale))
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    whole = np.zeros((height, width, 3), np.uint8)
    whole[top : top + inner[1], left : left + inner[0]] = rgb_at(inner, pixels, HD)
    return whole


def slate(size: tuple[int, int], lines: list[str]) -> Pixels:
    """Draw a dark picture of `size`, (width, height), with lines of ASCII text, scaled to fit."""
    width, height = size
    picture = np.full((height, width, 3), DARK, np.uint8)
    high = max(8, width // 20)
    for i, line in enumerate(lines):
        text = np.hstack([letters().get(letter, letters()["?"]) for letter in line or " "])
        scale = min(high / text.shape[0], 0.9 * width / text.shape[1], 0.4 * height / len(text))
        inner = max(1, int(text.shape[1] * scale)), max(1, int(text.shape[0] * scale))
        drawn = cv2.resize(text, inner, interpolation=cv2.INTER_AREA)
        top = round(height / 2 + (1.2 * i - 0.6 * len(lines)) * inner[1])
        left = (width - inner[0]) // 2
        picture[top : top + inner[1], left : left + inner[0]] = drawn[:, :, None]
    return picture


@functools.cache
def letters() -> dict[str, Pixels]:
    """Return pictures of all printable ASCII characters, (48, W) uint8 each.

    They are drawn once: OpenCV loads and keeps megabytes of font for each thread that draws.
    """
    font, drawn = cv2.FONT_HERSHEY_SIMPLEX, {}
    for letter in map(chr, range(32, 127)):
        (wide, _), _ = cv2.getTextSize(letter, font, 1.0, 2)
        cell = np.full((48, max(wide, 8) + 4), DARK, np.uint8)
        cv2.putText(cell, letter, (2, 34), font, 1.0, (200,), 2, cv2.LINE_AA)
        drawn[letter] = cell
    return drawn
