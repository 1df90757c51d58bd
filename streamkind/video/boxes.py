"""Finds boxes of an MP4 that FFmpeg does not read, such as private records of cameras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from streamkind.video.storage import is_local

# fmt: off
_KNOWN = frozenset({
    "ftyp", "moov", "mdat", "free", "skip", "wide", "pnot", "uuid", "moof", "mfra", "sidx", "styp",
    "meta", "udta", "PICT", "pdin", "prft", "emsg", "mvhd", "trak", "mvex", "iods", "drm", "pssh",
})
# fmt: on
"""Names of boxes that the standards of MP4 and QuickTime define."""
_LEAST_BYTES = 32
"""Smallest content of a box that counts as a record, in bytes."""
_MOST_BOXES = 10_000
"""Most boxes that are read from one file: a damaged file may seem to have any number."""


def private_boxes(path: Path) -> list[str]:
    """Return the names of boxes with private records of the camera, such as `gps `."""
    found: list[str] = []
    if not is_local(path):
        return found
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return found
        end = file.seek(0, 2)
        for name, start, stop in _boxes(file, 0, end):
            if name in ("free", "skip", "moov"):
                inner = [box for box in _boxes(file, start, stop) if _is_private(*box)]
                found += [box[0] for box in inner]
            elif _is_private(name, start, stop):
                found.append(name)
    return list(dict.fromkeys(found))


def ends_in_box(file: BinaryIO, end: int) -> bool:
    """Return whether a file of `end` bytes ends within a box: a fragmented MP4 was cut off then."""
    boxes = list(_boxes(file, 0, end))
    stop = boxes[-1][2] if boxes else 0
    file.seek(stop)
    head = file.read(8)
    size = int.from_bytes(head[:4], "big")
    return head[4:].decode("latin-1") in _KNOWN and (size == 1 or stop + size > end)


def second_file(path: Path) -> int | None:
    """Return the byte at which a second MP4 begins in a file; None if there is none.

    Of fragmented files, FFmpeg reads all fragments.
    """
    with path.open("rb") as file:
        boxes = list(_boxes(file, 0, file.seek(0, 2)))
    begins = [begin for name, begin, _ in boxes if name == "ftyp"]
    fragmented = any(name == "moof" for name, _, _ in boxes)
    return begins[1] - 8 if len(begins) > 1 and not fragmented else None


def _is_private(name: str, start: int, stop: int) -> bool:
    return name not in _KNOWN and stop - start >= _LEAST_BYTES


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Yield the name of each box, and where its content begins and ends, in bytes.

    Stop at data that is not a box.
    """
    for _ in range(_MOST_BOXES):
        file.seek(start)
        head = file.read(16)
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        begin = start + 8
        if size == 1:
            size, begin = int.from_bytes(head[8:16], "big"), start + 16
        stop = end if size == 0 else start + size
        if len(head) < 8 or not begin <= stop <= end or not name.isascii():
            return
        text = name.decode()
        if not text.replace(" ", "").isalnum():
            return
        yield text, begin, stop
        start = stop
