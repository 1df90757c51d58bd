"""Detects files that were cut off: their format requires another end, or the header another size.

FFmpeg reads such a file to its end and reports no error.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from streamkind.video.boxes import ends_in_box
from streamkind.video.flv import TAG as FLV_TAG
from streamkind.video.pipe_input import PipeInput
from streamkind.video.storage import is_local

_TS_PACKETS = {188: 0, 192: 4, 204: 0}
"""Sizes of MPEG-TS packets, in bytes, and the offset of the sync byte in them: plain, on Blu-ray,
and with the error correction of broadcasts."""
_TS_SYNC = 0x47
"""Value of the sync byte of a TS packet (ISO 13818-1, 2.4.3.3)."""
_ASF_PROPERTIES = bytes.fromhex("A1DCAB8C47A9CF118EE400C00C205365")
"""GUID of ASF's File Properties Object. The size of the file is stored at byte 40 of the object."""
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
_TAIL = 1 << 20
"""Bytes at the end of a file in which its last unit is searched."""
_START_CODE = b"\0\0\1"
"""The bytes with which each start code of MPEG-PS begins."""
_PACK, _PROGRAM_END, _FIRST_OF_PES = 0xBA, 0xB9, 0xBB
"""Last bytes of start codes of MPEG-PS (ISO 13818-1, 2.5.3): of a pack, of the end of the stream,
and the smallest one of the packets whose length follows."""
_DV_FRAMES = 120_000, 144_000
"""Size of a DV frame with 525 and with 625 lines, in bytes. All frames of DVCPRO are multiples."""
_DV_SYNC = b"\x1f\x07\x00"
"""First bytes of each DV frame: the ID of its header block."""
_REAL_SLACK = 10
"""Bytes by which FFmpeg states the size of a RealMedia's DATA chunk too large."""
_SWF_UNKNOWN = 100 << 20
"""Size of a file that FFmpeg writes into an SWF if it cannot seek back, in bytes."""
_DESCENDED = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
"""IDs of Matroska's Segment and Cluster, whose size is unknown in a live recording. Then the
elements in them are read."""
_Y4M_CHROMA = {"420": (2, 2), "411": (4, 1), "422": (2, 1), "444": (1, 1)}
"""Pixels across and down for one sample of chroma, by the colour space of a Y4M."""
_MOST_ELEMENTS = 100_000
"""Largest number of elements of a Matroska file that are read."""


def is_cut_off(path: Path, kind: str) -> bool:
    """Return whether a file ends too early by its own structure. `kind` is FFmpeg's format name.

    Formats in which nothing says where a unit ends, such as raw H.264, always give False, and so
    does a file that has been moved or removed meanwhile.
    """
    check = next((_CHECKS[name] for name in kind.split(",") if name in _CHECKS), None)
    if check is None or isinstance(path, PipeInput) or not is_local(path):
        return False
    try:
        with path.open("rb") as file:
            return check(file, file.seek(0, 2))
    except OSError:
        return False


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


def _avi(file: BinaryIO, end: int) -> bool:
    return int.from_bytes(_at(file, 4, 4), "little") + 8 > end


def _ogg(file: BinaryIO, end: int) -> bool:
    tail = _at(file, end - _LARGEST_PAGE, _LARGEST_PAGE)
    page = tail[tail.rfind(b"OggS") :]
    return len(page) > 5 and not page[5] & _END_OF_STREAM


def _flv(file: BinaryIO, end: int) -> bool:
    told = int.from_bytes(_at(file, end - 4, 4), "big")
    size = int.from_bytes(_at(file, end - 4 - told, 4)[1:], "big")
    _, found, number = _at(file, 0, _HEADER).partition(_FLV_SIZE)
    announced: float = struct.unpack(">d", number[:8])[0] if found and len(number) >= 8 else 0
    return told != size + FLV_TAG or end < announced


def _nut(file: BinaryIO, end: int) -> bool:
    size = int.from_bytes(_at(file, end - 12, 8), "big")  # then 4 bytes of checksum
    return not 12 <= size <= end or _at(file, end - size, 8) != _NUT_INDEX


def _mjpeg(file: BinaryIO, end: int) -> bool:
    return b"\xff\xd9" not in _at(file, end - 64, 64)  # cameras pad with a few zeros


def _mpegps(file: BinaryIO, end: int) -> bool:
    tail = _at(file, end - _TAIL, _TAIL)
    place = tail.find(_START_CODE + bytes([_PACK]))
    while place >= 0:
        stop = _after_packets(tail, place)
        if stop is not None:
            return stop > len(tail)
        place = tail.find(_START_CODE + bytes([_PACK]), place + 1)
    return False


def _after_packets(data: bytes, place: int) -> int | None:
    """Return where the last packet of MPEG-PS ends by its length; None if no packet is there."""
    while place < len(data):
        head = data[place : place + 14].ljust(14, b"\0")
        code = head[3] if head[:3] == _START_CODE else 0
        if code == _PROGRAM_END:
            return len(data)
        if code == _PACK:
            place += 14 + (head[13] & 7) if head[4] >> 6 == 1 else 12  # MPEG-2, else MPEG-1
        elif code >= _FIRST_OF_PES:
            place += 6 + int.from_bytes(head[4:6], "big")
        else:
            return None
    return place


def _dv(file: BinaryIO, end: int) -> bool:
    head = _at(file, 0, 4)
    return head[:3] == _DV_SYNC and end % _DV_FRAMES[head[3] >> 7] > 0


def _real(file: BinaryIO, end: int) -> bool:
    place, name = 0, b".RMF"
    while name in (b".RMF", b"PROP", b"MDPR", b"CONT"):
        head = _at(file, place, 8)
        name, size = head[:4], int.from_bytes(head[4:], "big")
        place += max(size, 8)
    return name == b"DATA" and place - _REAL_SLACK > end


def _swf(file: BinaryIO, end: int) -> bool:
    head = _at(file, 0, 8)
    size = int.from_bytes(head[4:], "little")
    return head[:3] == b"FWS" and size != _SWF_UNKNOWN and size > end


def _y4m(file: BinaryIO, end: int) -> bool:
    header = _at(file, 0, _HEADER).partition(b"\n")[0]
    told = {word[:1]: word[1:] for word in header.decode("latin-1").split()[1:]}
    width, height, kind = int(told["W"]), int(told["H"]), told.get("C", "420")
    samples = width * height
    if kind[:3] in _Y4M_CHROMA:
        across, down = _Y4M_CHROMA[kind[:3]]
        samples += 2 * -(-width // across) * -(-height // down)
    samples += width * height * kind.endswith("alpha")
    deep = re.search(r"(p|mono)\d+$", kind) is not None
    line = b"FRAME\n"
    step, begin = len(line) + samples * (1 + deep), len(header) + 1
    rest = (end - begin) % step
    return rest > 0 and _at(file, end - rest, len(line)) == line[:rest]


def _dahua(file: BinaryIO, end: int) -> bool:
    tail = _at(file, end - _TAIL, _TAIL)
    place = tail.rfind(b"DHAV")
    size = int.from_bytes(tail[place + 12 : place + 16], "little")
    return place >= 0 and place + size > len(tail)


def _matroska(file: BinaryIO, end: int) -> bool:
    place = 0
    for _ in range(_MOST_ELEMENTS):
        head = _at(file, place, 12).ljust(12, b"\0")
        begin, size = _element(head)
        if place >= end or not begin:
            return False
        live = size is None and head[:4] in _DESCENDED
        place += begin + (0 if live else size or 0)
        if place > end:
            return True
    return False


def _element(head: bytes) -> tuple[int, int | None]:
    """Return where the content of an EBML element begins, and its size if it is known.

    Return 0 for data that is no element.
    """
    if head[0] < 1 << 4:
        return 0, None
    place = 9 - head[0].bit_length()  # the leading zeros of a number say its length (RFC 8794, 4)
    length = 9 - head[place].bit_length()
    size = int.from_bytes(head[place : place + length], "big") - (1 << 7 * length)
    return place + length, None if size == (1 << 7 * length) - 1 else size


_CHECKS: dict[str, Callable[[BinaryIO, int], bool]] = {
    "asf": _asf,
    "avi": _avi,
    "dhav": _dahua,
    "dv": _dv,
    "flv": _flv,
    "matroska": _matroska,
    "mjpeg": _mjpeg,
    "mov": ends_in_box,
    "mpeg": _mpegps,
    "mpegts": _mpegts,
    "nut": _nut,
    "ogg": _ogg,
    "rm": _real,
    "swf": _swf,
    "yuv4mpegpipe": _y4m,
}
"""The check of each format, by FFmpeg's name of the format."""
