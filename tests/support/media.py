"""Writes small clips for tests, and reads the streams of files back with PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from support.streams import Beside, add_video, chapter, encode

PALETTE = np.array(
    [
        [[235, 20, 20], [20, 200, 30], [25, 30, 220], [230, 220, 30]],
        [[20, 210, 220], [200, 40, 190], [128, 128, 128], [40, 90, 160]],
        [[5, 5, 5], [250, 250, 250], [120, 60, 20], [60, 20, 90]],
    ],
    np.uint8,
)
"""Colours of twelve patches, three rows of four, (3, 4, 3) uint8 RGB."""


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Return a gray frame that encodes its number: its level rises by 4 from frame to frame.

    The level begins again at 20 after 50 frames. The top left quarter has half the level.
    """
    level = 20 + 4 * (number % 50)
    image = np.full((height, width, 3), level, np.uint8)
    image[: height // 2, : width // 2] = level // 2
    return image


def scene(width=320, height=240):
    """Return a dark RGB picture with coarse and fine texture, a tint and a vertical edge."""
    y, x = np.mgrid[:height, :width]
    gray = 14 + 8 * np.sin(x / 9) * np.sin(y / 13) + 6 * (x > width // 2) + 2 * ((x + y) % 3 == 0)
    return np.clip(gray[..., None] * [1.2, 1.0, 0.7], 0, 255).astype(np.uint8)


def number_of(image: np.ndarray) -> int:
    """Return the number, 0 to 49, of a frame that `picture` made."""
    return round((float(image[-8:, -8:].mean()) - 20) / 4)


def patches(width: int = 64, height: int = 48) -> np.ndarray:
    """Return a picture of the twelve patches of `PALETTE`."""
    return PALETTE.repeat(height // 3, 0).repeat(width // 4, 1)


def patch_colors(image: np.ndarray) -> np.ndarray:
    """Return the colour in the middle of each patch, (3, 4, 3) int."""
    height, width = image.shape[:2]
    rows, columns = height // 3, width // 4
    return image[rows // 2 :: rows, columns // 2 :: columns].astype(int)


def make_clip(
    path: Path,
    *,
    frames: int = 10,
    size: tuple[int, int] = (64, 48),
    rate: Fraction | int = 25,
    time_base: Fraction = Fraction(1, 12_800),
    pts: Sequence[int] | None = None,
    images: Sequence[np.ndarray] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    color: tuple[int, int, int, int] | None = (1, 6, 6, 6),
    sar: Fraction | None = None,
    rotation: tuple[float, bool, bool] | None = None,
    audio: str | None = None,
    subtitles: str | None = None,
    second_video: bool = False,
    cover: bool = False,
    attachment: bytes | None = None,
    chapters: bool = False,
    metadata: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    last_duration: int | None = None,
) -> Path:
    """Write a clip; `color` has FFmpeg's numbers of range, matrix, primaries and transfer."""
    width, height = size
    step = round(1 / (Fraction(rate) * time_base))
    pts = list(pts) if pts is not None else [step * i for i in range(frames)]
    images = images or [picture(i, width, height) for i in range(len(pts))]
    scale = str(time_base.denominator)
    defaults = {"video_track_timescale": scale, "movie_timescale": scale}
    if path.suffix not in (".mp4", ".mov"):
        defaults = {}
    with av.open(str(path), "w", container_options=defaults | (container_options or {})) as output:
        output.metadata.update(metadata or {})
        video = add_video(output, codec, size, rate, time_base, pix_fmt, color, options, sar)
        video.metadata["title"] = "the road"
        if rotation is not None:
            video.set_display_rotation(*rotation)
        beside = Beside(output, audio, subtitles)
        other = add_video(output, codec, (32, 32), rate, time_base) if second_video else None
        beside.add(cover=cover, attachment=attachment)
        if chapters:
            output.set_chapters([chapter(1, 0, 200, "night"), chapter(2, 200, 400, "tunnel")])
        output.start_encoding()
        beside.begin()
        lengths = [after - stamp for stamp, after in pairwise(pts)]
        lengths.append(step if last_duration is None else last_duration)
        for number, (stamp, length) in enumerate(zip(pts, lengths, strict=False)):
            encode(output, video, images[number], stamp, time_base, pix_fmt, length)
            if other is not None:
                encode(output, other, picture(number, 32, 32), stamp, time_base, "yuv420p", step)
            beside.go_on(number, stamp * time_base)
        for stream in filter(None, (video, other, beside.sound)):
            output.mux(stream.encode(None))
    return path


@dataclass(frozen=True)
class Video:
    """The first video stream of a file, as PyAV alone decodes it."""

    pts: list[int]
    durations: list[int]
    time_base: Fraction
    size: tuple[int, int]
    color: tuple[int, int, int, int]
    sar: Fraction
    images: list[np.ndarray]
    rotated: bool
    pix_fmt: str
    codec: str


def read_video(path: Path) -> Video:
    """Decode all frames of the first video stream of a file."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        first = frames[0]
        tags = (first.color_range, first.colorspace, first.color_primaries, first.color_trc)
        matrix = {1: 1, 5: 5, 6: 5, 9: 9}.get(int(first.colorspace), 5)
        images = [
            frame.to_ndarray(
                format="rgb24",
                src_colorspace=matrix,
                dst_colorspace=matrix,
                src_color_range=int(first.color_range) or 1,
                dst_color_range=2,
                interpolation=2 | 0x2000 | 0x40000,
            )
            for frame in frames
        ]
        return Video(
            pts=[frame.pts for frame in frames],
            durations=[frame.duration for frame in frames],
            time_base=stream.time_base,
            size=(first.width, first.height),
            color=tuple(int(tag) for tag in tags),
            sar=stream.sample_aspect_ratio or Fraction(1),
            images=images,
            rotated="DISPLAYMATRIX" in first.side_data,
            pix_fmt=first.format.name,
            codec=stream.codec_context.name,
        )


@dataclass(frozen=True)
class Track:
    """Packets and metadata of a stream that is not the main video."""

    kind: str
    codec: str
    language: str | None
    title: str | None
    disposition: int
    packets: list[tuple[Fraction | None, bytes]]


def read_tracks(path: Path) -> list[Track]:
    """Return all streams but the first video, with their packets as (seconds, bytes)."""
    with av.open(str(path)) as container:
        main = container.streams.video[0].index
        # The chapter track of an MP4 is "data" that the demuxer discards.
        streams = [s for s in container.streams if s.index != main and s.discard < 48]
        packets: dict[int, list[tuple[Fraction | None, bytes]]] = {s.index: [] for s in streams}
        for packet in container.demux():
            if packet.stream_index in packets and packet.size:
                time = None if packet.pts is None else packet.pts * packet.time_base
                packets[packet.stream_index].append((time, bytes(packet)))
        return [
            Track(
                kind=s.type,
                codec=s.codec_context.name if s.codec_context else str(s.name),
                language=s.language,
                title=s.metadata.get("title") or s.metadata.get("name"),
                disposition=int(s.disposition),
                packets=packets[s.index],
            )
            for s in streams
        ]
