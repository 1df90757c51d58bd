"""Finds boxes of an MP4 that FFmpeg does not read, such as private records of cameras."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
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
MOST_BOXES = 10_000
"""Largest number of boxes that are read from one file. Data of a damaged file may look like any
number of boxes."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box: its name, and where its content begins and ends, in bytes."""

    name: str
    begin: int
    end: int


def boxes_of(path: Path) -> tuple[Box, ...]:
    """Return the boxes of an MP4 on a local disk. They are read once, unless the file changes."""
    told = path.stat()
    return _read_boxes(path, told.st_size, told.st_mtime_ns)


@lru_cache(maxsize=64)  # more than are open at a time
def _read_boxes(path: Path, size: int, _changed_ns: int) -> tuple[Box, ...]:
    with path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return ()
        return tuple(inner_boxes(file, 0, size))


def private_boxes(path: Path) -> list[str]:
    """Return the names of boxes with private records of the camera, such as `gps `."""
    found: list[Box] = []
    if not is_local(path):
        return []
    with path.open("rb") as file:
        for box in boxes_of(path):
            if box.name in ("free", "skip", "moov"):
                found += filter(_is_private, inner_boxes(file, box.begin, box.end))
            elif _is_private(box):
                found.append(box)
    return list(dict.fromkeys(box.name for box in found))


def ends_in_box(file: BinaryIO, end: int) -> bool:
    """Return whether a file of `end` bytes ends within a box: a fragmented MP4 was cut off then."""
    boxes = list(inner_boxes(file, 0, end))
    stop = boxes[-1].end if boxes else 0
    file.seek(stop)
    head = file.read(8)
    size = int.from_bytes(head[:4], "big")
    return head[4:].decode("latin-1") in _KNOWN and (size == 1 or stop + size > end)


def second_file(path: Path) -> int | None:
    """Return the byte at which a second MP4 begins in a file; None if there is none.

    Of fragmented files, all fragments are read.
    """
    boxes = boxes_of(path)
    begins = [box.begin - 8 for box in boxes if box.name == "ftyp"]
    fragmented = any(box.name == "moof" for box in boxes)
    return begins[1] if len(begins) > 1 and not fragmented else None


def _is_private(box: Box) -> bool:
    return box.name not in _KNOWN and box.end - box.begin >= _LEAST_BYTES


def inner_boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes between two places of a file, in bytes. Stop at data that is not a box."""
    for _ in range(MOST_BOXES):
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
        yield Box(text, begin, stop)
        start = stop
