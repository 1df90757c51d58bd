"""Reads fragmented MP4s that `cat` has joined, in which the times start again, as one recording.

The times of later fragments are increased while the file is read. Otherwise FFmpeg would mix up the
fragments.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from streamkind.video.boxes import MOST_BOXES, Box, boxes_of, inner_boxes
from streamkind.video.storage import file_url

_BASE, _DESCRIPTION, _DURATION = 1, 2, 8
"""Flags of a `tfhd` box (ISO 14496-12, 8.8.7): it has the place of the data, the number of the
description of samples, and their usual duration."""
_OFFSET, _FIRST_FLAGS, _EACH_DURATION = 1, 4, 0x100
"""Flags of a `trun` box (8.8.8): it has the place of the data, flags of the first sample, and the
duration of each sample."""
_EACH = 0x100, 0x200, 0x400, 0x800
"""Flags of the four numbers that a `trun` may have for each sample."""
_LARGEST_NUMBER = 8
"""Size of the largest number that is changed, in bytes."""
_TOLERANCE = Fraction(1, 4)
"""How much earlier than the end of the recording before a later one may begin, in seconds."""


@dataclass(slots=True)
class _Track:
    """What the index (moov) of a recording says of a track."""

    scale: int
    """Units of time in a second."""
    coding: bytes
    """The description of samples, with the parameters of the decoder."""
    duration: int = 0
    """Usual duration of a sample, in units of time."""


@dataclass(slots=True)
class _Run:
    """The samples of one track in one fragment."""

    track: int
    time: int
    """Time of the first sample, in units of time."""
    time_at: int
    """Where the file has this time, in bytes."""
    time_size: int
    """Size of that number, in bytes."""
    base: int | None
    """Where the file says that the data are, in bytes; None if they are beside the fragment."""
    base_at: int
    """Where the file has that number of eight bytes."""
    length: int
    """Duration of all samples, in units of time."""


@dataclass(slots=True)
class Joined:
    """What is changed in a file of several recordings, and where another one begins."""

    changes: dict[int, bytes] = field(default_factory=dict)
    """New bytes by their place in the file."""
    end: int | None = None
    """Where a recording begins that cannot be read behind the first, in bytes."""


def joined(path: Path) -> Joined:
    """Return the changes for an MP4. Only fragmented MP4s that were joined have any."""
    told = path.stat()
    return _joined(path, told.st_size, told.st_mtime_ns)


def readable(path: Path) -> Any:
    """Return the URL of a local file, or a file object if FFmpeg needs other times in it."""
    recordings = joined(path)
    changed = recordings.changes or recordings.end is not None
    return ChangedFile(path, recordings) if changed else file_url(path)


@lru_cache(maxsize=64)  # more than are open at a time
def _joined(path: Path, size: int, _changed_ns: int) -> Joined:
    boxes = boxes_of(path)
    parts = _parts(boxes)
    whole = parts if len(boxes) < MOST_BOXES else parts[:-1]  # of the last, boxes are not known
    if len(parts) < 2 or not all(any(box.name == "moof" for box in part) for part in whole):
        return Joined()
    with path.open("rb") as file:
        try:
            found = _join(file, whole)
        except (ValueError, IndexError):  # a box is damaged: FFmpeg reads what it can
            return Joined()
    if found.end is None and len(whole) < len(parts):
        found.end = parts[-1][0].begin - 8
    return found


def _join(file: BinaryIO, parts: list[list[Box]]) -> Joined:
    found, end, first = Joined(), Fraction(0), _tracks(file, parts[0])
    for part in parts:
        begin, tracks = part[0].begin - 8, _tracks(file, part)
        if tracks != first:
            found.end = begin
            break
        runs = [run for box in part if box.name == "moof" for run in _runs(file, box, tracks)]
        end = _continue(found.changes, runs, tracks, begin, end)
    return found


def _parts(boxes: tuple[Box, ...]) -> list[list[Box]]:
    parts: list[list[Box]] = []
    for box in boxes:
        if box.name == "ftyp":
            parts.append([])
        parts[-1].append(box)
    return parts


def _continue(
    changes: dict[int, bytes],
    runs: list[_Run],
    tracks: dict[int, _Track],
    begin: int,
    end: Fraction,
) -> Fraction:
    """Let a recording that begins at byte `begin` follow the one that ends at `end` s."""
    starts = [Fraction(run.time, tracks[run.track].scale) for run in runs]
    start = min(starts, default=end)
    moved = end - start if start < end - _TOLERANCE else Fraction(0)
    for run in runs:
        if moved:
            time = run.time + round(moved * tracks[run.track].scale)
            changes[run.time_at] = time.to_bytes(8)[-run.time_size :]
        if run.base is not None and run.base < begin:
            changes[run.base_at] = (run.base + begin).to_bytes(8)
    ends = [Fraction(run.time + run.length, tracks[run.track].scale) for run in runs]
    return moved + max(ends, default=start)


def _tracks(file: BinaryIO, part: list[Box]) -> dict[int, _Track]:
    tracks: dict[int, _Track] = {}
    for moov in (box for box in part if box.name == "moov"):
        for track in _find(file, moov, "trak"):
            (head,), (clock,) = _find(file, track, "tkhd"), _find(file, track, "mdia", "mdhd")
            number = _number(file, head.begin + (20 if _number(file, head.begin, 1) else 12))
            scale = _number(file, clock.begin + (20 if _number(file, clock.begin, 1) else 12))
            (table,) = _find(file, track, "mdia", "minf", "stbl", "stsd")
            tracks[number] = _Track(max(1, scale), _bytes(file, table.begin, table.end))
        for usual in _find(file, moov, "mvex", "trex"):
            number = _number(file, usual.begin + 4)
            if number in tracks:
                tracks[number].duration = _number(file, usual.begin + 12)
    return tracks


def _runs(file: BinaryIO, fragment: Box, tracks: dict[int, _Track]) -> Iterator[_Run]:
    for part in _find(file, fragment, "traf"):
        heads, times = _find(file, part, "tfhd"), _find(file, part, "tfdt")
        if len(heads) != 1 or len(times) != 1:
            continue
        flags, number = _number(file, heads[0].begin), _number(file, heads[0].begin + 4)
        place = heads[0].begin + 8
        base = _number(file, place, 8) if flags & _BASE else None
        usual = place + 8 * bool(flags & _BASE) + 4 * bool(flags & _DESCRIPTION)
        if number not in tracks:
            continue
        duration = _number(file, usual) if flags & _DURATION else tracks[number].duration
        size = 8 if _number(file, times[0].begin, 1) else 4
        time_at = times[0].begin + 4
        length = sum(_length(file, box, duration) for box in _find(file, part, "trun"))
        yield _Run(
            number, _number(file, time_at, size), time_at, size, base, heads[0].begin + 8, length
        )


def _length(file: BinaryIO, box: Box, duration: int) -> int:
    """Return how long the samples of a `trun` box last, in units of time."""
    flags, count = _number(file, box.begin) & 0xFFFFFF, _number(file, box.begin + 4)
    if not flags & _EACH_DURATION:
        return count * duration
    place = box.begin + 8 + 4 * bool(flags & _OFFSET) + 4 * bool(flags & _FIRST_FLAGS)
    step = 4 * sum(bool(flags & each) for each in _EACH)
    data = _bytes(file, place, min(box.end, place + count * step))
    return sum(int.from_bytes(data[at : at + 4]) for at in range(0, len(data), step))


def _find(file: BinaryIO, box: Box, *names: str) -> list[Box]:
    """Return the boxes at a path of names within a box."""
    found = [box]
    for name in names:
        found = [
            inner
            for outer in found
            for inner in inner_boxes(file, outer.begin, outer.end)
            if inner.name == name
        ]
    return found


def _bytes(file: BinaryIO, begin: int, end: int) -> bytes:
    file.seek(begin)
    return file.read(max(0, end - begin))


def _number(file: BinaryIO, place: int, size: int = 4) -> int:
    return int.from_bytes(_bytes(file, place, place + size))


class ChangedFile(io.RawIOBase):
    """A file on disk in which some bytes read as others, and which may end early."""

    def __init__(self, path: Path, recordings: Joined) -> None:
        """Open the file with the changes of `recordings`."""
        self._file = path.open("rb")
        self._end = path.stat().st_size if recordings.end is None else recordings.end
        self._changes, self._places = recordings.changes, sorted(recordings.changes)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        begin = self._file.tell()
        left = max(0, self._end - begin)
        data = bytearray(self._file.read(left if size < 0 else min(size, left)))
        first = bisect_left(self._places, begin - _LARGEST_NUMBER)
        last = bisect_left(self._places, begin + len(data))
        for place in self._places[first:last]:
            for at, byte in enumerate(self._changes[place], place - begin):
                if 0 <= at < len(data):
                    data[at] = byte
        return bytes(data)

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place of the file."""
        if whence == io.SEEK_END:
            place, whence = self._end + place, io.SEEK_SET
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Return True: `seek` works."""
        return True

    def readable(self) -> bool:
        """Return True: `read` works."""
        return True

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
