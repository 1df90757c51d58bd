"""Finds frames of an FLV that are not read: FFmpeg stops at another codec, and at another file."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_HEADER = 13
"""Size of the header of an FLV, in bytes, with the empty size of a tag before the first one."""
TAG = 11
"""Size of the header of a tag, in bytes. After its data, its size is repeated in 4 bytes."""
_SOUND, _VIDEO, _SCRIPT = 8, 9, 18
"""Types of tags (Video File Format Specification 10.1, annex E.4.1)."""
_NO_FRAME = 5
"""Type of a frame that is only a command."""
_AVC, _HEVC, _AAC, _MP3 = 7, 12, 10, 2
"""Numbers of codecs. That of HEVC is used in China."""
_NUMBERS = {b"avc1": _AVC, b"hvc1": _HEVC, b"mp4a": _AAC, b".mp3": _MP3}
"""The same codecs by the names of Enhanced RTMP."""
_SAME_SOUND = {14: _MP3, 4: 6, 5: 6}
"""Numbers of the same sound at another sampling rate: MP3 of 8 kHz, Nellymoser of 16 and 8 kHz."""
_NAMED_VIDEO, _NAMED_SOUND = 0x80, 9
"""Bit of the first byte of a video tag, and number of a sound, whose codec has a name."""
_NAMED_FRAMES = 1, 3
"""Types of packets of Enhanced RTMP that have a frame."""
_SPECIAL = 5
"""Smallest type of packets of Enhanced RTMP in which the name of the codec is at another place."""


@dataclass(slots=True)
class _Kind:
    """The tags of one type: those with the first codec are read, those with another are not."""

    codec: bytes | int | None = None
    times: list[int] = field(default_factory=list)
    """Times of the frames of another codec, in ms."""
    end: int = 0
    """Where the last tag before the tags of another codec ends, in bytes."""
    other: int = 0
    """Where the first tag of another codec begins, in bytes; 0 if there is none."""


def unread(path: Path) -> tuple[int | None, list[str]]:
    """Return where another FLV begins in a file, and messages on frames of other codecs."""
    kinds = {_VIDEO: _Kind(), _SOUND: _Kind()}
    second = None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for place, end in _tags(data):
            if end == place:
                second = place
            elif data[place] in kinds and (told := _codec(data, place, end)) is not None:
                codec, has_frame = told
                kind = kinds[data[place]]
                kind.codec = codec if kind.codec is None else kind.codec
                if codec != kind.codec:
                    time = int.from_bytes(data[place + 4 : place + 7]) | data[place + 7] << 24
                    kind.times += [time] * has_frame
                    kind.other = kind.other or place
                elif not kind.other:
                    kind.end = end
    return second, _notes(kinds[_VIDEO], kinds[_SOUND])


def _tags(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Yield where each tag begins and ends. Of another file's header, both are its beginning.

    Stop at the header, and at damaged data.
    """
    place = _HEADER
    while place + TAG < len(data):
        if data[place : place + 4] == b"FLV\x01":
            yield place, place
            return
        end = place + TAG + int.from_bytes(data[place + 1 : place + 4]) + 4
        if data[place] not in (_SOUND, _VIDEO, _SCRIPT) or end > len(data):
            return
        yield place, end
        place = end


def _codec(data: mmap.mmap, place: int, end: int) -> tuple[bytes | int, bool] | None:
    """Return the codec of a tag and whether it has a frame; None for a tag without a codec."""
    content = data[place + TAG : min(end - 4, place + TAG + 5)]
    if len(content) < 5:
        return None
    first, video = content[0], data[place] == _VIDEO
    if first & _NAMED_VIDEO if video else first >> 4 == _NAMED_SOUND:
        kind = first & 15
        name = content[1:]
        return None if kind >= _SPECIAL else (_NUMBERS.get(name, name), kind in _NAMED_FRAMES)
    if video:
        number = first & 15
        has_frame = number not in (_AVC, _HEVC) or content[1] == 1
        return None if first >> 4 == _NO_FRAME else (number, has_frame)
    number = _SAME_SOUND.get(first >> 4, first >> 4)
    return number, number != _AAC or content[1] == 1


def _notes(video: _Kind, sound: _Kind) -> list[str]:
    notes = []
    if video.times:
        begin, last = video.times[0] / 1000, video.times[-1] / 1000
        # Old sound may follow the last old frame.
        place = max(video.end, sound.end) if sound.end <= video.other else video.end
        notes.append(
            f"the codec of the video changes at {begin:.1f} s: recordings were joined;"
            f" {len(video.times)} frames of another codec, up to {last:.1f} s, are left out; make a"
            f" file of the rest, (head -c {_HEADER} FILE; tail -c +{place + 1} FILE) > REST.flv,"
            " and enhance it"
        )
    if sound.times:
        begin = sound.times[0] / 1000
        notes.append(
            f"the codec of the sound changes at {begin:.1f} s: recordings were joined; sound of"
            " another codec is left out"
        )
    return notes
