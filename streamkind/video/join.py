"""Joins independently encoded parts of a video into one file, without encoding them again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.stream import VideoStream

from streamkind.errors import OutputError, UsageError
from streamkind.video.demux import PacketReader, open_input
from streamkind.video.encoders import PART_THREADS, add_encoder, choose_pix_fmt
from streamkind.video.output import OutputFile
from streamkind.video.sink import encoder_settings
from streamkind.video.source import VideoSource

PART_SUFFIX = ".nut"
"""Container of a part: NUT takes every time base, and the output of every encoder."""

_JOINABLE = ("matroska", "webm", "mp4", "mov")
"""Formats that keep time stamps, and store the parameters for the decoder in one place."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the video, as VideoSink has written it."""

    path: Path
    frames: int
    end_pts: int
    """End of its last frame, in the time base of the source."""


def join(
    path: Path,
    source: VideoSource,
    parts: Sequence[Part],
    *,
    codec: str,
    crf: int | None,
    preset: str | None,
) -> list[str]:
    """Write the parts one after the other, with the other streams of the input; return warnings.

    Raises OutputError, also if a part does not contain what it should.
    """
    with OutputFile(path, source) as file:
        video, time_base = _start(file, source, codec, crf, preset)
        origin = source.start_pts - round(source.origin / source.format.time_base)
        file.expect(origin, 0)
        waiting: av.Packet[Any] | None = None
        for part in parts:
            for packet in _packets(part, video.codec_context.extradata):
                _move(packet, time_base, origin)
                packet.stream = video
                if waiting is not None:
                    file.mux([waiting])
                waiting = packet
        file.expect(parts[-1].end_pts - source.start_pts + origin, 0)
        if waiting is not None:
            file.mux([waiting], last=True)
    return file.warnings


def check_joinable(
    name: str, source: VideoSource, *, codec: str, crf: int | None, preset: str | None
) -> None:
    """Raise UsageError or OutputError if parts cannot be joined into a file of that name."""
    with tempfile.TemporaryDirectory(prefix="streamkind-") as folder:
        file = OutputFile(Path(folder, name), source)
        try:
            _start(file, source, codec, crf, preset)
        finally:
            file.abort()


def _start(
    file: OutputFile, source: VideoSource, codec: str, crf: int | None, preset: str | None
) -> tuple[VideoStream, Fraction]:
    if file.name not in _JOINABLE:
        raise UsageError(f"{file.path}: {file.name} cannot be joined of parts; choose .mkv or .mp4")
    settings = encoder_settings(
        source.format, codec=codec, crf=crf, preset=preset, threads=PART_THREADS
    )
    pix_fmt = choose_pix_fmt(settings)
    # This encoder receives no frame. It gives the description of the stream.
    stream = file.start(lambda c: add_encoder(c, settings, pix_fmt), settings.time_base)
    return stream, settings.time_base


def _packets(part: Part, extradata: bytes | None) -> Iterator[av.Packet[Any]]:
    frames = 0
    with open_input(part.path) as container:
        stream = container.streams.video[0]
        if stream.codec_context.extradata != extradata:
            raise OutputError(f"{part.path}: made by another encoder; delete it and run again")
        for packet in PacketReader(container, [stream]):
            frames += 1
            yield packet
    if frames != part.frames:
        raise OutputError(
            f"{part.path}: {frames} frames in it, expected {part.frames}; delete it and run again"
        )


def _move(packet: av.Packet[Any], time_base: Fraction, origin: int) -> None:
    """Convert the times of a packet to the clock of the output."""
    scale = packet.time_base / time_base
    packet.pts = origin + round((packet.pts or 0) * scale)
    packet.dts = None if packet.dts is None else origin + round(packet.dts * scale)
    packet.duration = 0  # NUT has none, and the guess of the muxer is as good as that of FFmpeg
    packet.time_base = time_base
