"""Joins independently encoded parts of a video into one file, without encoding them again."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
from av.video.stream import VideoStream

from streamkind.errors import UsageError
from streamkind.video.encoders import PART_THREADS, add_encoder, choose_pix_fmt
from streamkind.video.others import AddVideo, OtherVideo, Part, move, packets_of
from streamkind.video.output import OutputFile
from streamkind.video.sink import encoder_settings
from streamkind.video.source import VideoSource

_JOINABLE = ("matroska", "webm", "mp4", "mov")
"""Formats that store time stamps, and store the parameters of the decoder once in a header."""


Others = Sequence[tuple[VideoSource, Part]]
"""Other videos of the same file, each with its enhanced video."""


def join(
    path: Path,
    source: VideoSource,
    parts: Sequence[Part],
    others: Others = (),
    *,
    codec: str,
    crf: int | None,
    preset: str | None,
) -> list[str]:
    """Write the parts one after the other, and the other streams of the input. Return warnings.

    Raises OutputError, also if a part has other frames than expected.
    """
    with OutputFile(path, source, others=[video.stream_index for video, _ in others]) as file:
        video, time_base = _start(file, source, others, codec, crf, preset)
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
    name: str,
    source: VideoSource,
    others: Sequence[VideoSource] = (),
    *,
    codec: str,
    crf: int | None,
    preset: str | None,
) -> None:
    """Raise UsageError or OutputError if parts cannot be joined into a file of that name."""
    with tempfile.TemporaryDirectory(prefix="streamkind-") as folder:
        made = [(video, Part(Path(folder), 0, 0)) for video in others]
        numbers = [video.stream_index for video in others]
        file = OutputFile(Path(folder, name), source, others=numbers)
        try:
            _start(file, source, made, codec, crf, preset)
        finally:
            file.abort()


def _start(
    file: OutputFile,
    source: VideoSource,
    others: Others,
    codec: str,
    crf: int | None,
    preset: str | None,
) -> tuple[VideoStream, Fraction]:
    if file.name not in _JOINABLE:
        raise UsageError(f"{file.path}: {file.name} cannot be joined of parts; choose .mkv or .mp4")
    add = partial(_encoder, codec=codec, crf=crf, preset=preset)
    copied = [OtherVideo(video, *add(video), partial(_itself, part)) for video, part in others]
    add_video, time_base = add(source)
    return file.start(add_video, time_base, copied), time_base


def _encoder(
    source: VideoSource, *, codec: str, crf: int | None, preset: str | None
) -> tuple[AddVideo, Fraction]:
    """Return a function that adds the stream of a video, and its time base.

    The stream has an encoder that describes it. The encoder receives no frame.
    """
    settings = encoder_settings(
        source.format, codec=codec, crf=crf, preset=preset, threads=PART_THREADS
    )
    pix_fmt = choose_pix_fmt(settings)
    return lambda container: add_encoder(container, settings, pix_fmt), settings.time_base


def _itself(part: Part) -> Part:
    return part
