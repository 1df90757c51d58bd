"""Joins the payloads of RTP packets into access units: the coded pictures of H.264 and H.265.

FFmpeg's parser returns a picture when the next one begins, which is late by the time of a frame.
Most cameras send a fixed number of slices per picture. They cut each slice into packets of one
size, and a shorter last packet. If this rule has held for some time, a picture is complete with the
shorter packet of its last slice. The rule is checked with every picture. After it has failed, a
picture is returned when the next one begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import av

from streamkind.video.codecs import free_packet

_START = b"\0\0\1"
"""Start code of a NAL unit (H.264 and H.265, annex B). FFmpeg puts it, with one more zero, before
the first payload of each NAL unit."""
_SAME_TIME = 90
"""Most ticks of 1/90000 s between the pts of one picture: they differ a little if the camera
reports its clock between two packets."""
_PICTURES = 50
"""Number of pictures in a row for which the rule must have held before it is used: two seconds at
25 frames a second. Chosen by hand."""
_KEYFRAMES = 2
"""The same for keyframes, because these may have more slices than other pictures."""


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One coded picture."""

    data: bytes
    """NAL units with start codes."""
    pts: int | None
    """pts of the first payload, in ticks of 1/90000 s; None if unknown."""
    is_keyframe: bool
    is_corrupt: bool


@dataclass(frozen=True)
class Syntax:
    """How a codec marks its NAL units."""

    header: int
    """Length of the header of a NAL unit, in bytes."""
    shift: int
    """Number of bits in the first byte of the header after the type of the NAL unit."""
    mask: int
    """Bits of the type, once it is shifted."""
    slices: range
    """Types of slices."""
    keys: frozenset[int]
    """Types of keyframes' slices."""


SYNTAX = {
    "h264": Syntax(1, 0, 31, range(1, 6), frozenset({5})),
    "hevc": Syntax(2, 1, 63, range(32), frozenset(range(16, 22))),
}
"""Syntax by FFmpeg's name of the codec (H.264, 7.3.1 and table 7-1; H.265, 7.3.1.2 and table 7-1).
In both, the first bit after the header is 1 in the first slice of a picture only."""


@dataclass
class _OpenUnit:
    """The payloads of a picture that have arrived."""

    pts: int | None = None
    parts: list[bytes] = field(default_factory=list)
    slices: int = 0
    is_keyframe: bool = False
    is_corrupt: bool = False
    ended: bool = False
    """Whether the picture is complete by the rule."""
    returned: int = 0
    """Number of parts when the picture was returned because of that; 0 if it was not."""
    failed: bool = False
    """Whether more data of the picture has arrived after its end by the rule."""

    def unit(self) -> AccessUnit:
        return AccessUnit(b"".join(self.parts), self.pts, self.is_keyframe, self.is_corrupt)


class AccessUnits:
    """Joins the payloads of one stream."""

    def __init__(self, codec: str) -> None:
        """Begin a stream. `codec` is a key of `SYNTAX`."""
        self._syntax = SYNTAX[codec]
        self._picture = _OpenUnit()
        self._slices = 0
        """Number of slices of the last picture."""
        self._last = 0
        """Length of the last payload, in bytes."""
        self._full = 0
        """Length of the largest payload that was not the last one of its NAL unit, in bytes."""
        self._whole = 0
        """Length of the largest payload that was the last one of its NAL unit, in bytes."""
        self._held = self._keyframes_held = 0
        """Number of pictures and of keyframes in a row for which the rule has held."""
        self._failed = False

    @property
    def early(self) -> bool:
        """Whether pictures are returned with their last payload."""
        held = self._held >= _PICTURES and self._keyframes_held >= _KEYFRAMES
        return held and not self._failed

    def packets(self, packet: av.Packet[Any]) -> list[av.Packet[Any]]:
        """Take the next packet of the container. Return packets for the decoder.

        An empty packet ends the stream. It is returned behind the last picture.
        """
        data = bytes(packet)
        made = []
        for unit in self.feed(data, packet.pts, packet.is_corrupt) if data else self.finish():
            whole = free_packet(unit.data)
            whole.pts, whole.time_base = unit.pts, packet.time_base
            whole.is_keyframe, whole.is_corrupt = unit.is_keyframe, unit.is_corrupt
            made.append(whole)
        return made if data else [*made, packet]

    def feed(self, data: bytes, pts: int | None, is_corrupt: bool = False) -> list[AccessUnit]:
        """Take the next payload. Return the pictures that are complete, usually none or one.

        `data` is a part of a NAL unit, or one or several whole ones with start codes. `pts` is in
        ticks of 1/90000 s. A picture for which the rule fails is returned once more, then whole.
        """
        found: list[AccessUnit] = []
        starts = list(self._starts(data))
        if starts:
            self._whole = max(self._whole, self._last)
        elif not self._picture.parts or self._is_later(pts):
            return self.finish()  # the start of this NAL unit was lost
        else:  # the last NAL unit goes on
            self._full = max(self._full, self._last)
            self._picture.failed |= self._picture.ended
        begin = 0
        for place, kind in starts:
            is_slice = kind in self._syntax.slices
            if self._picture.slices and self._is_next(data, place, kind, pts):
                self._picture.parts.append(data[begin:place])
                begin = place
                found += self.finish()
            self._picture.failed |= is_slice and self._picture.ended
            self._picture.slices += is_slice
            self._picture.is_keyframe |= kind in self._syntax.keys
        if self._picture.pts is None:
            self._picture.pts = pts
        self._picture.parts.append(data[begin:])
        self._picture.is_corrupt |= is_corrupt
        self._last = len(data) - (len(_START) + 1 + self._syntax.header if starts else 0)
        # If no NAL unit was cut so far, a payload may be whole that is no larger than others.
        whole = self._last < self._full if self._full else self._last <= self._whole
        self._picture.ended |= whole and self._picture.slices == self._slices > 0
        if self._picture.ended and not self._picture.returned and self.early:
            self._picture.returned = len(self._picture.parts)
            found.append(self._picture.unit())
        return found

    def finish(self) -> list[AccessUnit]:
        """End the present picture, and return it unless that was done before."""
        picture, self._picture = self._picture, _OpenUnit()
        if not picture.slices:
            return []
        if picture.failed or picture.slices != self._slices:
            self._held = self._keyframes_held = 0
        else:
            self._held += 1
            self._keyframes_held += picture.is_keyframe
        self._slices = picture.slices
        if picture.returned and not picture.failed:
            # Later parts may be parameter sets of the next picture.
            self._picture.parts = picture.parts[picture.returned :]
            return []
        self._failed |= picture.returned > 0
        return [picture.unit()]

    def _starts(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield place and type of each NAL unit that begins in a payload."""
        syntax = self._syntax
        if not data.startswith((_START, b"\0" + _START)):
            return
        place = data.find(_START)
        while place >= 0 and place + len(_START) < len(data):
            yield place, data[place + len(_START)] >> syntax.shift & syntax.mask
            place = data.find(_START, place + len(_START))

    def _is_next(self, data: bytes, place: int, kind: int, pts: int | None) -> bool:
        """Return whether a NAL unit begins another picture than that of the slices before it.

        Only a slice or another time shows this: cameras repeat parameter sets between slices.
        """
        first = place + len(_START) + self._syntax.header
        is_first = kind in self._syntax.slices and data[first : first + 1] >= b"\x80"
        return is_first or self._is_later(pts)

    def _is_later(self, pts: int | None) -> bool:
        """Return whether a payload has another time than the present picture."""
        before = self._picture.pts
        return pts is not None and before is not None and abs(pts - before) > _SAME_TIME
