"""Detects files that were cut off: by the end that their format requires, or a size in the header.

FFmpeg reads such a file to its end and reports no error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from streamkind.video.boxes import ends_in_box
from streamkind.video.spool import Spool
from streamkind.video.storage import is_local

_TS_PACKETS = {188: 0, 192: 4, 204: 0}
"""Sizes of MPEG-TS packets, in bytes, and the offset of the sync byte in them: plain, on Blu-ray,
and with the error correction of broadcasts."""
_TS_SYNC = 0x47
_ASF_PROPERTIES = bytes.fromhex("A1DCAB8C47A9CF118EE400C00C205365")
"""GUID of ASF's File Properties Object. The file's size is 40 bytes after the object's begin."""
_FLV_SIZE = b"\0\x08filesize\0"
"""Name and type of the field `filesize` in an FLV's onMetaData. A big-endian double follows it."""
_HEADER = 1 << 16
"""Bytes at the beginning of a file in which the size of an ASF or FLV is searched."""
_LARGEST_PAGE = 65_307
"""Largest size of an Ogg page, in bytes (RFC 3533, section 6)."""
_END_OF_STREAM = 4
"""Flag of the last page of an Ogg stream (RFC 3533, section 6)."""
_NUT_INDEX = b"NX\xdd\x67\x2f\x23\xe6\x4e"
"""Start code of NUT's index, which is at the end of a file."""
_FLV_TAG = 11
"""Size of the header of an FLV tag, in bytes. The size of a tag is repeated after it."""


def is_cut_off(path: Path, kind: str) -> bool:
    """Return whether a file ends too early by its own structure. `kind` is FFmpeg's format name.

    Formats without an end mark, such as raw H.264 and MPEG-PS, always give False.
    """
    check = next((_CHECKS[name] for name in kind.split(",") if name in _CHECKS), None)
    if check is None or isinstance(path, Spool) or not is_local(path):
        return False
    with path.open("rb") as file:
        return check(file, file.seek(0, 2))


def _at(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(max(0, place))
    return file.read(size)


def _mpegts(file: BinaryIO, end: int) -> bool:
    for size, sync in _TS_PACKETS.items():
        last = (end // size - 1) * size
        places = (sync, sync + size, sync + last - size, sync + last)
        if last > 0 and all(_at(file, place, 1) == bytes([_TS_SYNC]) for place in places):
            return end % size > 0
    return False


def _asf(file: BinaryIO, end: int) -> bool:
    head = _at(file, 0, _HEADER)
    place = head.find(_ASF_PROPERTIES)
    return place >= 0 and end < int.from_bytes(head[place + 40 : place + 48], "little")


def _ogg(file: BinaryIO, end: int) -> bool:
    tail = _at(file, end - _LARGEST_PAGE, _LARGEST_PAGE)
    page = tail[tail.rfind(b"OggS") :]
    return len(page) > 5 and not page[5] & _END_OF_STREAM


def _flv(file: BinaryIO, end: int) -> bool:
    told = int.from_bytes(_at(file, end - 4, 4), "big")
    size = int.from_bytes(_at(file, end - 4 - told, 4)[1:], "big")
    _, found, number = _at(file, 0, _HEADER).partition(_FLV_SIZE)
    announced: float = struct.unpack(">d", number[:8])[0] if found and len(number) >= 8 else 0
    return told != size + _FLV_TAG or end < announced


def _nut(file: BinaryIO, end: int) -> bool:
    size = int.from_bytes(_at(file, end - 12, 8), "big")  # then 4 bytes of checksum
    return not 12 <= size <= end or _at(file, end - size, 8) != _NUT_INDEX


def _mjpeg(file: BinaryIO, end: int) -> bool:
    return b"\xff\xd9" not in _at(file, end - 64, 64)  # cameras pad with a few zeros


_CHECKS: dict[str, Callable[[BinaryIO, int], bool]] = {
    "asf": _asf,
    "flv": _flv,
    "mjpeg": _mjpeg,
    "mov": ends_in_box,
    "mpegts": _mpegts,
    "nut": _nut,
    "ogg": _ogg,
}
"""The check of each format, by FFmpeg's name of the format."""
