"""Detects a second recording in a file after the first one. FFmpeg reads only the first one.

Such files are made by `cat`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

import av

from streamkind.video.boxes import second_file
from streamkind.video.flv import unread
from streamkind.video.fragments import joined
from streamkind.video.pipe_input import PipeInput
from streamkind.video.storage import file_url, is_local

_ASF_HEADER = bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C")
"""GUID of ASF's Header Object, with which a file begins."""
_ASF_SIZE = 16
"""Size of the GUID of an ASF object, in bytes. A little-endian size of eight bytes follows it."""
_TABLE = b"\x47\x40\x00"
"""Beginning of the packet of MPEG-TS that lists the programmes: PID 0 (ISO 13818-1, 2.4.3.2)."""
_MOST_LATE = 2
"""Largest number of video packets, from the last one that was read on, that do not count as another
recording."""


def joined_note(path: Path, kind: str) -> list[str]:
    """Return a message on a second file in an MP4, MOV or ASF. `kind` is FFmpeg's format name."""
    names = kind.split(",")
    if isinstance(path, PipeInput) or not is_local(path) or not {"mov", "asf"}.intersection(names):
        return []
    begin = second_file(path) or joined(path).end if "mov" in names else _second_asf(path)
    return [] if begin is None else [_note(begin)]


def late_note(path: Path, kind: str, place: int, known: Collection[int]) -> list[str]:
    """Return messages on a video that begins after `place`, the byte of the last packet read.

    MPEG-TS and FLV only. `known` are the PIDs of the streams that were found at the beginning.
    There are no messages if the file has been moved or removed meanwhile.
    """
    if isinstance(path, PipeInput) or not is_local(path):
        return []
    with contextlib.suppress(OSError):
        if kind == "flv":
            second, notes = unread(path)
            return notes + ([] if second is None else [_note(second)])
        return _late_in_ts(path, place, known) if kind == "mpegts" else []
    return []


def _late_in_ts(path: Path, place: int, known: Collection[int]) -> list[str]:
    try:
        with av.open(f"subfile,,start,{place},end,0,,:{file_url(path)}") as rest:
            videos = {s.index for s in rest.streams.video if s.id not in known}
            late = [p.pos for p in rest.demux() if p.stream_index in videos and p.pos]
    except (av.FFmpegError, ValueError, IndexError):
        return []
    if len(late) <= _MOST_LATE:
        return []
    with path.open("rb") as file:
        file.seek(place)
        table = file.read(late[0]).rfind(_TABLE)
    return [_note(place + max(0, table))]


def _note(begin: int) -> str:
    return (
        f"another recording begins at byte {begin} of the file, and is left out; split the file"
        f" there (tail -c +{begin + 1} FILE), and enhance both parts"
    )


def _second_asf(path: Path) -> int | None:
    with path.open("rb") as file:
        end, place = file.seek(0, 2), 0
        while place + _ASF_SIZE + 8 <= end:
            file.seek(place)
            head = file.read(_ASF_SIZE + 8)
            size = int.from_bytes(head[_ASF_SIZE:], "little")
            if place and head[:_ASF_SIZE] == _ASF_HEADER:
                return place
            if size < len(head):
                return None
            place += size
    return None
