"""Writes the duration of the last frame of an animation, which FFmpeg does not write."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO


def _apng(file: BinaryIO, seconds: Fraction) -> None:
    """Change the last `fcTL` chunk: its delay is a fraction in two numbers of 16 bits."""
    last, at = 0, 8
    while len(head := _read(file, at, 8)) == 8:
        last = at if head[4:] == b"fcTL" else last
        at += 12 + int.from_bytes(head[:4])
    if last:
        delay = min(round(seconds * 1000), 0xFFFF).to_bytes(2) + (1000).to_bytes(2)
        chunk = _read(file, last + 4, 24) + delay + _read(file, last + 32, 2)
        file.seek(last + 4)
        file.write(chunk + zlib.crc32(chunk).to_bytes(4))


def _webp(file: BinaryIO, seconds: Fraction) -> None:
    """Change the last `ANMF` chunk: its duration is a number of milliseconds in 24 bits."""
    last, at = 0, 12
    while len(head := _read(file, at, 8)) == 8:
        last = at if head[:4] == b"ANMF" else last
        size = int.from_bytes(head[4:], "little")
        at += 8 + size + size % 2
    if last:
        file.seek(last + 20)
        file.write(min(round(seconds * 1000), 0xFFFFFF).to_bytes(3, "little"))


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


_WRITERS: dict[str, Callable[[BinaryIO, Fraction], None]] = {"apng": _apng, "webp": _webp}
"""The function for each format, by FFmpeg's name. FFmpeg itself writes the last duration of GIF and
AVIF."""


def write_last_duration(path: Path, kind: str, seconds: Fraction) -> None:
    """Write the duration of the last frame of a finished animation, if FFmpeg does not.

    `kind` is FFmpeg's name of the format. Raises OSError.
    """
    write = _WRITERS.get(kind)
    if write is not None and seconds > 0:
        with path.open("r+b") as file:
            write(file, seconds)
