"""Joins independently encoded parts of a video into one file, without encoding them again."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.stream import VideoStream

from streamkind.errors import UsageError
from streamkind.video.encoders import PART_THREADS, add_encoder, choose_pix_fmt
from streamkind.video.others import Part, move, packets_of
from streamkind.video.output import OutputFile
from streamkind.video.sink import encoder_settings
from streamkind.video.source import VideoSource

_JOINABLE = ("matroska", "webm", "mp4", "mov")
"""Formats that keep time stamps, and store the parameters for the decoder in one place."""


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
            for packet in packets_of(part, video.codec_context.extradata):
                move(packet, time_base, origin)
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
