"""Follows the codecs of streams, which may change within a transport stream."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, cast

import av
from av.bitstream import BitStreamFilterContext

_BEGINNINGS = {
    "h264": re.compile(rb"\x00\x00\x01[\x27\x47\x67]"),
    "hevc": re.compile(rb"\x00\x00\x01\x40\x01"),
    "mpeg2video": re.compile(rb"\x00\x00\x01\xb3"),
}
"""Start code with which a recording begins, by codec: of the sequence parameter set (H.264, table
7-1), the video parameter set (H.265, table 7-1) or the sequence header (H.262, table 6-1)."""

_ADTS_SYNC = 0xFFF
"""First 12 of the 32 bits before AAC in a transport stream (ISO 13818-7, 6.2)."""
_ADTS_FORMAT = 0b1111_1101_1100_0000
"""Mask of the bits of these 32 for profile, sampling rate and channels."""


class Codecs:
    """Returns the codec of a stream at the packet that was read last. Use it from one thread only.

    PyAV keeps the codec of the beginning. FFmpeg updates its own parameters of a stream when the
    tables of a transport stream change. The filter `null` copies these parameters to a stream of an
    output that is never written, where they can be read.
    """

    def __init__(self) -> None:
        output = av.open(io.BytesIO(), "w", format="null")
        self._copy: Any = output.add_data_stream()

    def __call__(self, stream: Any) -> str | None:
        """Return FFmpeg's name of the codec if it is not that of the beginning, else None."""
        if stream.codec_context is None:
            return None
        BitStreamFilterContext("null", stream, self._copy)
        name: str | None = self._copy.name
        return None if name == stream.codec_context.codec.canonical_name else name


def mark_codec(packet: av.Packet[Any], codec: str) -> None:
    """Note the codec of a packet that is not that of the beginning."""
    packet.opaque = (codec,)  # PyAV needs another object for each packet


def take_codec(packet: av.Packet[Any]) -> str | None:
    """Return the codec of a packet of `PacketReader`; None if it is that of the beginning.

    The note is removed: a decoder that frees it in another thread would wait for Python's lock.
    """
    noted = cast(tuple[str] | None, packet.opaque)
    packet.opaque = None
    return None if noted is None else noted[0]


class OneCodec:
    """Leaves out packets after a change of codec, because a copied stream has only one codec."""

    def __init__(self) -> None:
        self._others: dict[int, str] = {}
        self._adts: dict[int, set[int]] = {}

    def of(
        self, packets: Iterable[av.Packet[Any]], converted: Collection[int]
    ) -> Iterator[av.Packet[Any]]:
        """Yield the packets with the codec of the beginning. `converted` are not copied."""
        for packet in packets:
            codec = take_codec(packet)
            if codec is not None:
                self._others[packet.stream_index] = codec
                continue
            aac = getattr(packet.stream, "name", None) == "aac"
            if aac and packet.stream_index not in converted:
                self._look(packet)
            yield packet

    def _look(self, packet: av.Packet[Any]) -> None:
        head = int.from_bytes(bytes(packet)[:4], "big")
        if head >> 20 == _ADTS_SYNC:
            self._adts.setdefault(packet.stream_index, set()).add(head & _ADTS_FORMAT)

    def notes(self, kind: str) -> list[str]:
        """Return messages on what has changed since the last call. `kind` is the output's format.

        The beginning of a file tells the format of AAC, except in MPEG-TS.
        """
        changed = [] if kind == "mpegts" else [i for i, told in self._adts.items() if len(told) > 1]
        notes = [
            f"the codec of stream #{index} changes: recordings were joined; its {codec} is left"
            " out; split the file there, and enhance each part"
            for index, codec in self._others.items()
        ]
        notes += [
            f"the sampling rate or the channels of stream #{index} change: recordings were joined;"
            " players expect those of the beginning; choose .ts, or split the file there"
            for index in changed
        ]
        self._others, self._adts = {}, {}
        return notes


def decoder_of(codec: str) -> av.VideoCodecContext:
    """Return a decoder for a codec of video. Raises UnknownCodecError."""
    context = cast(av.VideoCodecContext, av.CodecContext.create(codec, "r"))
    context.thread_type = "AUTO"
    return context


def without_rest(packet: av.Packet[Any], codec: str) -> av.Packet[Any]:
    """Return the first packet of a codec without the end of the recording before.

    FFmpeg joins the last picture of one codec and the first one of the next into one packet.
    """
    data = bytes(packet)
    begin = _BEGINNINGS[codec].search(data) if codec in _BEGINNINGS else None
    rest = free_packet(data[begin.start() if begin else 0 :])
    rest.pts, rest.dts, rest.time_base = packet.pts, packet.dts, packet.time_base
    rest.duration = packet.duration
    return rest


def free_packet(data: bytes) -> av.Packet[Any]:
    """Return a packet with a copy of `data`, which a decoder may free in another thread.

    The data of `av.Packet(data)` belong to Python: such a thread would wait for Python's lock.
    """
    packet = av.Packet(len(data))
    packet.update(data)
    return packet
