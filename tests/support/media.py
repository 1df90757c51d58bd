"""Tiny clips made on the spot, and what the tests read back from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

PALETTE = np.array(
    [
        [[235, 20, 20], [20, 200, 30], [25, 30, 220], [230, 220, 30]],
        [[20, 210, 220], [200, 40, 190], [128, 128, 128], [40, 90, 160]],
        [[5, 5, 5], [250, 250, 250], [120, 60, 20], [60, 20, 90]],
    ],
    np.uint8,
)
"""Flat patches of saturated colours, (3, 4, 3) RGB."""


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A frame that carries its number: brightness rises by 4 a frame; darker at top left."""
    level = 20 + 4 * (number % 50)
    image = np.full((height, width, 3), level, np.uint8)
    image[: height // 2, : width // 2] = level // 2
    return image


def scene(width=320, height=240):
    """A dark picture with detail of every size, colours and an edge."""
    y, x = np.mgrid[:height, :width]
    gray = 14 + 8 * np.sin(x / 9) * np.sin(y / 13) + 6 * (x > width // 2) + 2 * ((x + y) % 3 == 0)
    return np.clip(gray[..., None] * [1.2, 1.0, 0.7], 0, 255).astype(np.uint8)


def number_of(image: np.ndarray) -> int:
    """The number that `picture` put in."""
    return round((float(image[-8:, -8:].mean()) - 20) / 4)


def patches(width: int = 64, height: int = 48) -> np.ndarray:
    """The palette as a picture."""
    return PALETTE.repeat(height // 3, 0).repeat(width // 4, 1)


def patch_colors(image: np.ndarray) -> np.ndarray:
    """The middle of each patch, (3, 4, 3) int."""
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
    """Write a clip; `color` is (range, matrix, primaries, transfer) in FFmpeg's numbers."""
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
        video = _add_video(output, codec, size, rate, time_base, pix_fmt, color, options, sar)
        video.metadata["title"] = "the road"
        if rotation is not None:
            video.set_display_rotation(*rotation)
        sound = _add_audio(output, audio) if audio else None
        text = output.add_mux_stream(subtitles, time_base=Fraction(1, 1000)) if subtitles else None
        if text is not None:
            text.metadata.update(language="fra", title="sous-titres")
            text.disposition = Disposition.forced
        other = _add_video(output, codec, (32, 32), rate, time_base) if second_video else None
        art = output.add_mux_stream("png", width=8, height=8) if cover else None
        if art is not None:
            art.disposition = Disposition.attached_pic
        if attachment is not None:
            output.add_attachment("font.ttf", "application/x-truetype-font", attachment)
        if chapters:
            output.set_chapters([_chapter(1, 0, 200, "night"), _chapter(2, 200, 400, "tunnel")])
        output.start_encoding()
        sung = 0
        if art is not None:
            _mux(output, art, png(), 0, 0)
        for number, (stamp, image) in enumerate(zip(pts, images, strict=True)):
            duration = step
            if number + 1 < len(pts):
                duration = pts[number + 1] - stamp
            elif last_duration is not None:
                duration = last_duration
            _encode(output, video, image, stamp, time_base, pix_fmt, duration)
            if other is not None:
                _encode(output, other, picture(number, 32, 32), stamp, time_base, "yuv420p", step)
            if sound is not None:
                sung = _sing(output, sound, sung, float(stamp * time_base) + 0.2)
            if text is not None and number % 4 == 0:
                line = f"line {number}".encode()
                if subtitles == "mov_text":
                    line = len(line).to_bytes(2, "big") + line
                _mux(output, text, line, int(stamp * time_base * 1000), 100)
        for stream in (video, other, sound):
            if stream is not None:
                output.mux(stream.encode(None))
    return path


def png() -> bytes:
    """A valid 8x8 PNG."""
    import cv2

    return cv2.imencode(".png", np.full((8, 8, 3), 90, np.uint8))[1].tobytes()


def _add_video(
    output: Any,
    codec: str,
    size: tuple[int, int],
    rate: Fraction | int,
    time_base: Fraction,
    pix_fmt: str = "yuv420p",
    color: tuple[int, int, int, int] | None = None,
    options: dict[str, str] | None = None,
    sar: Fraction | None = None,
) -> Any:
    video = output.add_stream(codec, rate=Fraction(rate), options=options or {})
    video.width, video.height = size
    video.pix_fmt = pix_fmt
    video.codec_context.time_base = video.time_base = time_base
    video.codec_context.flags |= 1 << 8  # frame_duration
    video.codec_context.thread_count = 1
    if codec == "libx264" and not options:
        video.codec_context.options = {"crf": "10", "preset": "veryfast", "g": "5"}
    if color is not None:
        context = video.codec_context
        context.color_range, context.colorspace = color[:2]
        context.color_primaries, context.color_trc = color[2:]
    if sar is not None:
        video.codec_context.sample_aspect_ratio = sar
    return video


def _encode(
    output: Any,
    stream: Any,
    image: np.ndarray,
    pts: int,
    time_base: Fraction,
    pix_fmt: str,
    duration: int,
) -> None:
    context = stream.codec_context
    # Straight from the definition of each matrix, with swscale's most exact path.
    matrix = {1: 1, 5: 5, 6: 5, 9: 9}.get(context.colorspace, 5)
    full = context.color_range == 2 or pix_fmt.startswith("yuvj")
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image)).reformat(
        format=pix_fmt,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=2 if full else 1,
        interpolation=2 | 0x2000 | 0x40000,
    )
    frame.pts, frame.time_base, frame.duration = pts, time_base, duration
    output.mux(stream.encode(frame))


def _add_audio(output: Any, codec: str) -> Any:
    sound = output.add_stream(codec, rate=48_000)
    sound.codec_context.layout = "mono"
    sound.metadata.update(language="deu", title="Mikrofon")
    return sound


def _sing(output: Any, sound: Any, done: int, until: float) -> int:
    """Encode noise from sample `done` up to `until` seconds; return where it got to."""
    context = sound.codec_context
    size = context.frame_size or 1024
    random = np.random.default_rng(done)
    while done / 48_000 < until:
        noise = random.normal(0, 0.1, (1, size)).astype(np.float32)
        kind = context.format.name
        if kind in ("s16", "s16p"):
            noise = (noise * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(noise, format=kind, layout="mono")
        frame.sample_rate = 48_000
        frame.pts = done
        frame.time_base = Fraction(1, 48_000)
        done += size
        output.mux(sound.encode(frame))
    return done


def _mux(output: Any, stream: Any, data: bytes, pts: int, duration: int) -> None:
    packet = av.Packet(data)
    packet.stream = stream
    packet.time_base = Fraction(1, 1000)
    packet.pts = packet.dts = pts
    packet.duration = duration
    packet.is_keyframe = True
    output.mux(packet)


def _chapter(number: int, start: int, end: int, title: str) -> dict[str, Any]:
    return {
        "id": number,
        "start": start,
        "end": end,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }


@dataclass(frozen=True)
class Video:
    """What is in a file's first video stream, by PyAV alone."""

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
    """Decode all of a file."""
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
    """Packets and labels of a stream that is copied."""

    kind: str
    codec: str
    language: str | None
    title: str | None
    disposition: int
    packets: list[tuple[Fraction | None, bytes]]


def read_tracks(path: Path) -> list[Track]:
    """All streams but the first video, with their packets: (seconds, bytes)."""
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
