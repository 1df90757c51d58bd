"""Decides for each stream whether it is copied into a container, converted or left out."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
from av.container import OutputContainer

from streamkind.errors import OutputError

MP4_LIKE = ("mp4", "mov", "3gp", "3g2")
"""FFmpeg's names of the formats with the structure of MP4."""

# fmt: off
_RIFF = frozenset({
    "aac", "ac3", "adpcm_ima_wav", "adpcm_ms", "mp2", "mp3", "pcm_alaw", "pcm_f32le", "pcm_mulaw",
    "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_u8", "wmav1", "wmav2",
})
_MPEG = frozenset({"ac3", "mp2", "mp3"})
SOUND: dict[str, frozenset[str] | None] = {
    "3g2": frozenset({"aac", "amr_nb"}),
    "3gp": frozenset({"aac", "amr_nb"}),
    "asf": _RIFF,
    "avi": _RIFF,
    "f4v": frozenset({"aac"}),
    "flv": frozenset({"aac", "mp3"}),
    "ipod": frozenset({"aac", "alac"}),
    "ismv": frozenset({"aac"}),
    "matroska": None,
    "mov": frozenset({
        "aac", "ac3", "alac", "eac3", "mp2", "mp3", "pcm_alaw", "pcm_f32le", "pcm_mulaw",
        "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32le", "pcm_u8",
    }),
    "mp4": frozenset({"aac", "ac3", "alac", "dts", "eac3", "flac", "mp2", "mp3", "opus", "truehd"}),
    "mpeg": _MPEG,
    "mpegts": frozenset({
        "aac", "aac_latm", "ac3", "dts", "eac3", "mp2", "mp3", "opus", "s302m", "truehd",
    }),
    "mxf": frozenset({"pcm_s16le", "pcm_s24le"}),
    "nut": _RIFF - {"adpcm_ima_wav", "wmav1", "wmav2"},
    "svcd": _MPEG,
    "webm": frozenset({"opus", "vorbis"}),
    "wtv": _MPEG,
}
"""Audio codecs that each format holds, by FFmpeg's name of the format. None: every codec that can
be written can be read again.

PCM in MP4 is not listed: FFmpeg writes it since version 6, but few players read it.
"""
_OWN_SOUND = {
    "avi": "libmp3lame", "mpeg": "mp2", "mxf": "pcm_s16le", "svcd": "mp2", "webm": "libopus",
    "wtv": "mp2",
}
"""Encoder for audio that a format does not hold, by FFmpeg's name of the format; else AAC."""
_ONE_SOUND = frozenset({"flv"})
LAYOUTS = {
    1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1",
}
"""Channel layout of converted audio, by its number of channels."""
MANY_CHANNELS = ("aac", "pcm_s16le")
"""Encoders that accept more than two channels."""
SUBTITLES: dict[str, frozenset[str]] = {
    "3g2": frozenset({"mov_text"}),
    "3gp": frozenset({"mov_text"}),
    "matroska": frozenset({
        "ass", "dvb_subtitle", "dvd_subtitle", "hdmv_pgs_subtitle", "hdmv_text_subtitle", "subrip",
        "text", "webvtt",
    }),
    "mov": frozenset({"mov_text"}),
    "mp4": frozenset({"dvd_subtitle", "mov_text"}),
    "mpegts": frozenset({"dvb_subtitle", "dvb_teletext"}),
    "webm": frozenset({"webvtt"}),
}
"""Subtitle codecs that each format holds, by FFmpeg's name of the format."""
_OWN_SUBTITLES = {
    "3g2": "mov_text", "3gp": "mov_text", "matroska": "subrip", "mov": "mov_text",
    "mp4": "mov_text", "webm": "webvtt",
}
_TEXTS = frozenset({
    "ass", "microdvd", "mov_text", "mpl2", "sami", "subrip", "subviewer", "text", "webvtt",
})
# fmt: on
"""Codecs of text subtitles. FFmpeg converts each of them into every other."""
_TRIAL_PACKETS = 8
"""Number of packets that are written to test whether a container holds a stream."""
_TRIAL_STEP = Fraction(1, 50)
"""Seconds between packets of the test that have no duration."""
MXF_RATE = 48_000
"""Sample rate of all audio in MXF, in Hz."""

Fate = Literal["copied", "converted", "left out"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a stream is copied, converted or left out, and why."""

    fate: Fate
    encoder: str = ""
    """FFmpeg's name of the encoder that converts the stream; "" if it is not converted."""
    why: str = ""
    """Reason, for the user."""


def decide(
    stream: Any, kind: str, packets: Sequence[av.Packet[Any]], *, whole: bool = True
) -> Decision:
    """Decide on a stream by its first packets. `kind` is FFmpeg's name of the container's format.

    Without `whole`, only streams that PyAV accepts are copied into Matroska.
    """
    codec = codec_of(stream)
    if not codec and stream.type in ("audio", "subtitle"):
        return Decision("left out", why="FFmpeg does not know its codec; keep the input for it")
    if stream.type == "audio":
        if kind in _ONE_SOUND and stream.container.streams.audio[0].index != stream.index:
            return Decision("left out", why=f"the format {kind} holds one sound; .mkv keeps all")
        held = kind in SOUND and codec in (SOUND[kind] or {codec})
        admitted = whole or admits(stream, kind)
        if held and admitted and writes(stream, kind, packets):
            return Decision("copied")
        return _convert_sound(stream, kind, packets)
    if stream.type == "subtitle":
        if codec in SUBTITLES.get(kind, ()):
            return Decision("copied")
        return _convert_text(codec, kind)
    if writes(stream, kind, packets):
        return Decision("copied")
    if stream.type == "video" and not packets:
        return Decision("left out", why="no packet of it was found; keep the input for it")
    hint = " (records of sensors or broadcasts)" if stream.type == "data" else ""
    return Decision(
        "left out", why=f"the format {kind} cannot hold it{hint}; keep the input for it"
    )


def _convert_sound(stream: Any, kind: str, packets: Sequence[av.Packet[Any]]) -> Decision:
    if kind not in SOUND:
        return Decision("left out", why=f"no sound is written into {kind}; .mkv keeps it")
    encoder = "pcm_s16le" if kind == "matroska" else _OWN_SOUND.get(kind, "aac")
    if not stream.codec_context.sample_rate:
        return Decision("left out", why="no sample rate is known; keep the input for it")
    channels = settle_channels(stream)
    if channels not in LAYOUTS:
        return Decision("left out", why="it has too many channels; .mkv keeps most kinds of it")
    kept = kind != "matroska" and writes(stream, "matroska", packets)
    hint = "; .mkv keeps it as it is" if kept else ""
    name = encoder.removeprefix("lib").removesuffix("lame").upper().replace("_S16LE", "")
    if channels > 2 and encoder not in MANY_CHANNELS:
        name += " in stereo"
    return Decision("converted", encoder, f"to {name}: the format {kind} cannot hold it{hint}")


def settle_channels(stream: Any) -> int:
    """Return the number of channels of audio. For PCM, set the usual layout for that number.

    QuickTime files may have custom layouts, and PyAV crashes when it frees a custom layout.
    """
    context = stream.codec_context
    bits = re.fullmatch(r"pcm_(?:[suf](\d+)[lb]?e?|[am]u?law)", context.codec.canonical_name)
    if bits is None or not context.bit_rate:
        return int(context.channels)
    channels: int = round(context.bit_rate / (context.sample_rate * int(bits.group(1) or 8)))
    if channels in LAYOUTS:
        context.layout = LAYOUTS[channels]
    return channels


def _convert_text(codec: str, kind: str) -> Decision:
    own = _OWN_SUBTITLES.get(kind)
    if own is None:
        return Decision("left out", why=f"the format {kind} cannot hold it; .mkv keeps it")
    if codec not in _TEXTS:
        hint = "" if kind == "matroska" else "; .mkv keeps nearly all"
        return Decision("left out", why=f"the format {kind} cannot hold it{hint}")
    return Decision("converted", own, f"to {own}: the format {kind} cannot hold it")


def codec_of(stream: Any) -> str:
    """Return FFmpeg's name of a stream's codec; "" if it has none."""
    context = stream.codec_context
    return "" if context is None else str(context.codec.canonical_name)


def admits(stream: Any, kind: str) -> bool:
    """Return whether PyAV accepts a stream for a container. It refuses some that Matroska holds."""
    with tempfile.TemporaryDirectory(prefix="streamkind-") as folder:
        output = av.open(str(Path(folder, "a")), "w", format=kind)
        try:
            output.add_stream_from_template(stream, opaque=True)
        except (av.FFmpegError, ValueError):
            return False
    return True


def writes(stream: Any, kind: str, packets: Sequence[av.Packet[Any]]) -> bool:
    """Return whether a test file with these packets can be written and read again.

    Raises OutputError if there is no space for it.
    """
    if kind == "mxf":  # FFmpeg writes no MXF without video
        return stream.type != "audio" or bool(stream.codec_context.sample_rate == MXF_RATE)
    with tempfile.TemporaryDirectory(prefix="streamkind-") as folder:
        path = Path(folder, "a")
        output = open_output(str(path), kind, wide=not admits(stream, kind))
        try:
            copy = output.add_stream_from_template(stream, opaque=True)
            output.start_encoding()
            if not packets:  # the stream begins late: a test file would be empty
                return True
            longest = max(packet.duration or 0 for packet in packets)
            for number, packet in enumerate(packets[:_TRIAL_PACKETS]):
                step = max(longest, round(_TRIAL_STEP / packet.time_base))
                output.mux_one(_again(packet, copy, number * step))
            output.close()
            return _reads(path, stream, kind)
        except (av.FFmpegError, ValueError, NotImplementedError) as exc:
            code = getattr(exc, "errno", None)
            if code in (errno.ENOSPC, errno.EDQUOT):
                raise OutputError(
                    f"no space in {tempfile.gettempdir()} ({os.strerror(code)}) to test what"
                    f" the format {kind} holds; free some, or set TMPDIR to another disk"
                ) from exc
            return False
        finally:
            with contextlib.suppress(av.FFmpegError, ValueError):
                output.close()


def _again(packet: av.Packet[Any], copy: Any, stamp: int) -> av.Packet[Any]:
    """Return a copy of a packet for another stream. The packet itself is not changed."""
    again = av.Packet(bytes(packet))
    again.stream, again.time_base = copy, packet.time_base
    again.pts = again.dts = stamp
    again.duration = packet.duration
    again.is_keyframe = True
    return again


def _reads(path: Path, stream: Any, kind: str) -> bool:
    with av.open(str(path)) as back:
        found = [other for other in back.streams if other.type == stream.type]
        if stream.type == "data":  # MPEG-TS accepts all data, but does not keep its type
            named = [other.name for other in found if other.name is not None]
            return stream.name in named and (stream.name != "bin_data" or kind in MP4_LIKE)
        return any(_like(codec_of(other), codec_of(stream)) for other in found)


def _like(found: str, codec: str) -> bool:
    # MP4 has one codec tag for all layers of MPEG audio. The packets say which layer it is.
    return found == codec or {found, codec} == {"mp2", "mp3"}


def open_output(name: str, kind: str, *, wide: bool = False, **options: Any) -> OutputContainer:
    """Open a container for writing. With `wide`, Matroska accepts all codecs that FFmpeg can write.

    PyAV checks whether a format holds a codec, and refuses some codecs that FFmpeg writes into
    Matroska. It does not check the segment muxer. So `wide` uses that muxer, with one segment.
    """
    output: OutputContainer
    if not (wide and kind == "matroska"):
        output = av.open(name, "w", format=kind, **options)
        return output
    told = ":".join(f"{k}={v}" for k, v in options.pop("container_options", {}).items())
    segment = {"segment_format": kind, "segment_time": "1000000000", "strftime": "1"}
    segment |= {"avoid_negative_ts": "disabled", "segment_format_options": told}
    name = name.replace("%", "%%")
    output = av.open(name, "w", format="segment", container_options=segment, **options)
    return output
