"""Muxes an encoder's packets to fragmented MP4, which Media Source Extensions of browsers play."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Any

import av

from streamkind.live.encoder import TIME_BASE, Coded

_OPTIONS = {
    # No trailer: its index would grow with each fragment.
    "movflags": "empty_moov+default_base_moof+frag_every_frame+skip_trailer",
    "flush_packets": "1",
}


@dataclass(frozen=True, slots=True)
class Fragment:
    """One picture as a fragment: the boxes moof and mdat."""

    data: bytes
    key: bool
    """Whether decoding can begin here."""


class FragmentMuxer:
    """Muxes the pictures of one encoder to fragments. Use it from one thread only.

    The first picture is at time 0. FFmpeg writes a picture when it gets the next one, because the
    duration is known only then.
    """

    def __init__(self, stream: Any) -> None:
        """Begin with the stream of a `LiveEncoder`."""
        self._written: list[bytes] = []
        self._key = False
        self._container = av.open(self, "w", format="mp4", container_options=_OPTIONS)
        self._stream = self._container.add_stream_from_template(stream, opaque=True)
        self._container.start_encoding()
        self.init = self._take()
        """The boxes ftyp and moov, which players need before any fragment."""
        self.mime = mime_of(self.init)
        """Type for `MediaSource.isTypeSupported`."""

    def write(self, data: bytes) -> int:
        """Store the bytes that PyAV writes to this object."""
        self._written.append(bytes(data))
        return len(data)

    def __call__(self, packet: Coded) -> Fragment | None:
        """Add a picture; return the one before, None at the first."""
        copy = av.Packet(packet.data)
        copy.stream, copy.time_base = self._stream, TIME_BASE
        copy.pts = copy.dts = packet.pts
        copy.is_keyframe = packet.key
        self._container.mux_one(copy)
        key, self._key = self._key, packet.key
        data = self._take()
        return Fragment(data, key) if data else None

    def close(self) -> None:
        """Free FFmpeg's memory."""
        with contextlib.suppress(av.FFmpegError):
            self._container.close()

    def _take(self) -> bytes:
        data = b"".join(self._written)
        self._written.clear()
        return data


def mime_of(init: bytes) -> str:
    """Return the media type of an MP4 by RFC 6381, from its box avcC, hvcC or av1C.

    If there is none of these boxes, the type has no codec, and browsers refuse to play it.
    """
    for name, tell in (("avcC", _avc), ("hvcC", _hevc), ("av1C", _av1)):
        box = re.search(name.encode() + rb"(.{13})", init, re.DOTALL)
        if box:
            return f'video/mp4; codecs="{tell(box[1])}"'
    return "video/mp4"


def _avc(box: bytes) -> str:
    """Return the codec string of H.264: profile, constraints and level."""
    return f"avc1.{box[1:4].hex()}"


def _hevc(box: bytes) -> str:
    """Return the codec string of H.265: profile, compatibility bits reversed, tier, level, rest."""
    space = ("", "A", "B", "C")[box[1] >> 6]
    compatible = int(f"{int.from_bytes(box[2:6]):032b}"[::-1], 2)
    constraints = "".join(f".{byte:X}" for byte in box[6:12].rstrip(b"\0"))
    tier = "H" if box[1] & 32 else "L"
    return f"hev1.{space}{box[1] & 31}.{compatible:X}.{tier}{box[12]}{constraints}"


def _av1(box: bytes) -> str:
    """Return the codec string of AV1: profile, level, tier and bits."""
    depth = 8 if not box[2] & 64 else 12 if box[2] & 32 else 10
    return f"av01.{box[1] >> 5}.{box[1] & 31:02}{'H' if box[2] & 128 else 'M'}.{depth:02}"
