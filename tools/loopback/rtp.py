"""Encodes pictures as H.264 in RTP packets, for the scripted camera."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any

import av
import numpy as np

RATE = 90_000
"""Unit of RTP time stamps: ticks per second."""
MOST_BYTES = 1200
"""Largest number of bytes of a NAL unit in one RTP packet."""

Draw = Callable[[int, int, int], np.ndarray]
"""Draws a picture: (number, width, height) -> (H, W, 3) uint8 RGB."""


def dark_ball(number: int, width: int, height: int) -> np.ndarray:
    """Draw a dark picture with a square that moves to the right with each number."""
    image = np.full((height, width, 3), 20, np.uint8)
    left = 4 * number % (width - 32)
    image[height // 3 : height // 3 + 32, left : left + 32] = 60
    return image


def coded_pictures(
    count: int, size: tuple[int, int], rate: int, gop: int, draw: Draw = dark_ball
) -> list[list[bytes]]:
    """Encode `count` pictures as H.264; return a list of NAL units for each."""
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height = size
    context.pix_fmt, context.framerate, context.thread_count = "yuv420p", rate, 1
    context.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "g": str(gop),
        "sc_threshold": "0",
        "keyint_min": str(gop),
        "x264-params": "force-cfr=1",
    }
    units = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(draw(number, *size))
        frame.pts = number
        units += [bytes(packet) for packet in context.encode(frame)]
    units += [bytes(packet) for packet in context.encode(None)]
    assert len(units) == count
    return [[n for n in re.split(b"\0\0\0?\1", unit) if n] for unit in units]


def rtp_packets(units: list[bytes], stamp: int) -> list[bytes]:
    """Pack the NAL units of a picture into RTP packets with sequence number 0."""
    payloads = []
    for unit in units:
        if len(unit) <= MOST_BYTES:
            payloads.append(unit)
            continue
        parts = [unit[i : i + MOST_BYTES] for i in range(1, len(unit), MOST_BYTES)]
        for i, part in enumerate(parts):
            ends = (0x80 if i == 0 else 0) | (0x40 if i == len(parts) - 1 else 0)
            payloads.append(bytes([unit[0] & 0xE0 | 28, ends | unit[0] & 31]) + part)
    last = len(payloads) - 1
    return [
        struct.pack(">BBHII", 0x80, (0x80 if i == last else 0) | 96, 0, stamp, 1) + payload
        for i, payload in enumerate(payloads)
    ]


def silence(number: int, rate: int) -> bytes:
    """Return the n-th RTP packet of silence in G.711 (mu-law, 8 kHz), with sequence number 0."""
    count = 8000 // rate
    head = struct.pack(">BBHII", 0x80, 97, 0, number * count % 2**32, 2)
    return head + b"\xff" * count


def sender_report(seconds: float, stamp: int) -> bytes:
    """Return an RTCP sender report: RTP time `stamp` is at `seconds` of the sender's clock."""
    return struct.pack(
        ">BBHIIIIII", 0x80, 200, 6, 1, int(seconds), int(seconds % 1 * 2**32), stamp, 0, 0
    )


def interleaved(channel: int, packet: bytes) -> bytes:
    """Add the header that RTSP over TCP needs before a packet."""
    return b"$" + struct.pack(">BH", channel, len(packet)) + packet
