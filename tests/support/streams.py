"""Adds other streams to a clip: sound, subtitles, pictures, chapters."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from av.stream import Disposition


class Beside:
    """Sound, subtitles, cover and attachment that are written beside the packets of the video."""

    def __init__(self, output: Any, audio: str | None, subtitles: str | None) -> None:
        self._output, self._subtitles, self._sung = output, subtitles, 0
        self.sound = _add_audio(output, audio) if audio else None
        self._text = self._art = None
        if subtitles:
            self._text = output.add_mux_stream(subtitles, time_base=Fraction(1, 1000))
            self._text.metadata.update(language="fra", title="sous-titres")
            self._text.disposition = Disposition.forced

    def add(self, *, cover: bool, attachment: bytes | None) -> None:
        """Add the streams that have no duration, after all others."""
        if cover:
            self._art = self._output.add_mux_stream("png", width=8, height=8)
            self._art.disposition = Disposition.attached_pic
        if attachment is not None:
            self._output.add_attachment("font.ttf", "application/x-truetype-font", attachment)

    def begin(self) -> None:
        """Write the cover."""
        if self._art is not None:
            _mux(self._output, self._art, png(), 0, 0)

    def go_on(self, number: int, seconds: Fraction) -> None:
        """Write sound up to 0.2 s after a frame, and a subtitle with every fourth frame."""
        if self.sound is not None:
            self._sung = _sing(self._output, self.sound, self._sung, float(seconds) + 0.2)
        if self._text is not None and number % 4 == 0:
            line = f"line {number}".encode()
            if self._subtitles == "mov_text":
                line = len(line).to_bytes(2, "big") + line
            _mux(self._output, self._text, line, int(seconds * 1000), 100)


def png() -> bytes:
    """Return the bytes of a valid PNG file, 8x8."""
    return cv2.imencode(".png", np.full((8, 8, 3), 90, np.uint8))[1].tobytes()


def add_video(
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


def encode(
    output: Any,
    stream: Any,
    image: np.ndarray,
    pts: int,
    time_base: Fraction,
    pix_fmt: str,
    duration: int,
) -> None:
    context = stream.codec_context
    # By the definition of each matrix, with the most exact options of swscale.
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
    """Encode noise from sample `done` up to `until` seconds; return the next sample's number."""
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


def chapter(number: int, start: int, end: int, title: str) -> dict[str, Any]:
    return {
        "id": number,
        "start": start,
        "end": end,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": title},
    }
