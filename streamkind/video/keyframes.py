"""Reads the key frames of a video, small and gray, to see quickly whether its light changes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from streamkind.video.codecs import take_codec
from streamkind.video.demux import PacketReader, main_video, open_input, read_only
from streamkind.video.frames import Pixels
from streamkind.video.sequence import is_sequence

MOST = 256
"""Largest number of key frames that are decoded of a video. Chosen by hand."""


def key_frames(
    path: Path,
    *,
    start: float = 0.0,
    duration: float | None = None,
    video_stream: int | None = None,
) -> Iterator[Pixels]:
    """Yield the luma of the last key frame, and of key frames at least a second apart.

    Each is (h, w) uint8, the means of blocks of 16x16 pixels. Frames that cannot be decoded are
    skipped. Raises InputError if the file cannot be opened.
    """
    if is_sequence(path):
        return  # no key frame: callers take this as no change of light
    with open_input(path) as container:
        stream = main_video(container, path, video_stream)
        read_only(container, [stream])
        tick = stream.time_base or Fraction(1, 90_000)
        begin = (stream.start_time or 0) * tick + Fraction(start)
        if start:
            with contextlib.suppress(av.FFmpegError):
                container.seek(round(begin / tick), stream=stream)
        apart = max(1.0, (duration or (container.duration or 0) / 1e6) / MOST)
        following, last = -math.inf, None
        for packet in PacketReader(container, [stream]):
            if packet.pts is None or not packet.is_keyframe or take_codec(packet):
                continue
            at = float(packet.pts * tick - begin)
            if duration is not None and at >= duration:
                break
            last = packet
            if at >= following:
                following, last = at + apart, None
                yield from _small(stream, packet)
        if last is not None:
            yield from _small(stream, last)
        yield from _small(stream, None)


def _small(stream: av.VideoStream, packet: av.Packet[av.VideoStream] | None) -> Iterator[Pixels]:
    with contextlib.suppress(av.FFmpegError):
        for frame in stream.decode(packet):
            size = {"width": max(1, frame.width // 16), "height": max(1, frame.height // 16)}
            small = frame.reformat(**size, format="gray", interpolation="AREA")
            yield np.asarray(small.to_ndarray(), np.uint8)
