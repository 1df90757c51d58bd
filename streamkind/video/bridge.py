"""Makes time stamps continuous where they jump: at joined recordings, gaps and wraps."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer

TS_DISCONT = 0x0200
"""FFmpeg's flag AVFMT_TS_DISCONT: the time stamps of a format may step, as in MPEG-TS and -PS."""
BACK_SECONDS = Fraction(1, 4)
"""Smallest step back of dts that counts as the start of another clock, in seconds. dts always rise
within a recording, so a smaller step back is a damaged time stamp. Chosen by hand."""
FORWARD_SECONDS = 10
"""Smallest step forward that counts as the start of another clock, in seconds: FFmpeg's limit
(`dts_delta_threshold`). A smaller step is a pause."""
WRAP_SECONDS = Fraction(2**33, 90_000)
"""Time after which MPEG's clock wraps: 26.5 hours. It counts units of 1/90,000 s in 33 bits."""
MOST_HELD = 256
"""Largest number of packets that are held until every stream has reached a step."""


@dataclass(slots=True)
class _Clock:
    """The clock of one stream."""

    offset: Fraction
    """Seconds that are added to the time stamps of the file."""
    end: Fraction
    """End of the last packet, in seconds on the continuous clock."""


@dataclass(slots=True)
class Bridge:
    """Changes the times of the packets after a step, so that they continue those before it.

    All streams get the same offset. Give it all packets of video and audio in the order of the
    file. Then every reader of the file gets the same times.
    """

    steps: list[float] = field(default_factory=list)
    """Size of each step, in seconds."""
    _clocks: dict[int, _Clock] = field(default_factory=dict)
    _held: list[av.Packet[Any]] = field(default_factory=list)
    _offset: Fraction = Fraction(0)

    @property
    def moved(self) -> bool:
        """Whether any time stamp was changed so far."""
        return bool(self.steps or self._offset)

    def feed(self, packet: av.Packet[Any]) -> list[av.Packet[Any]]:
        """Take a packet. Return all packets whose times are now known: usually this one."""
        index, time = packet.stream_index, seconds_of(packet)
        clock = self._clocks.get(index)
        if time is None or packet.stream.type not in ("video", "audio"):
            return [_move(packet, self._offset if time is None else self._nearest(time))]
        waits = any(held.stream_index == index for held in self._held)
        if clock is not None and waits and 0 <= time + clock.offset - clock.end <= FORWARD_SECONDS:
            return [*self._without_stray(index), *self.feed(packet)]
        if not waits and (clock is None or self._fits(clock, time)):
            offset = self._offset if clock is None else clock.offset
            self._note(packet, time, offset)
            return [_move(packet, offset)]
        self._held.append(packet)
        full = len(self._held) >= MOST_HELD
        return self._release() if full or self._all_held() else []

    def finish(self) -> list[av.Packet[Any]]:
        """Return the packets that are still held."""
        return self._release() if self._held else []

    def _fits(self, clock: _Clock, time: Fraction) -> bool:
        """Return whether `time` continues the clock. Change the offset of the clock at a wrap."""
        for offset in (clock.offset, self._offset):
            for wrap in (0, WRAP_SECONDS, -WRAP_SECONDS):
                ahead = time + offset + wrap - clock.end
                if -BACK_SECONDS <= ahead <= FORWARD_SECONDS:
                    if wrap:
                        self._offset = offset + wrap
                    clock.offset = offset + wrap
                    return True
        return False

    def _nearest(self, time: Fraction) -> Fraction:
        """Return the offset for a packet of subtitles or data, which may be hours apart."""
        front = max((clock.end for clock in self._clocks.values()), default=time + self._offset)
        return self._offset + WRAP_SECONDS * round((front - time - self._offset) / WRAP_SECONDS)

    def _without_stray(self, index: int) -> list[av.Packet[Any]]:
        """Return the held packets of a stream whose clock did not step, without time stamps."""
        stray = [packet for packet in self._held if packet.stream_index == index]
        self._held = [packet for packet in self._held if packet.stream_index != index]
        for packet in stray:
            packet.pts = packet.dts = None
        return stray

    def _all_held(self) -> bool:
        front = max(clock.end for clock in self._clocks.values())
        held = {packet.stream_index for packet in self._held}
        running = {i for i, c in self._clocks.items() if front - c.end <= FORWARD_SECONDS}
        return running <= held

    def _release(self) -> list[av.Packet[Any]]:
        """Return the held packets, moved so that no stream begins before its former end."""
        held, self._held = self._held, []
        first = _first_times(held)
        gaps = [clock.end - first[i] for i, clock in self._clocks.items() if i in first]
        before = self._clocks[held[0].stream_index]
        self.steps.append(float(first[held[0].stream_index] + before.offset - before.end))
        self._offset = max(gaps)
        return [moved for packet in held for moved in self.feed(packet)]

    def _note(self, packet: av.Packet[Any], time: Fraction, offset: Fraction) -> None:
        end = time + offset + (packet.duration or 0) * packet.time_base
        self._clocks[packet.stream_index] = _Clock(offset, end)


def _first_times(packets: list[av.Packet[Any]]) -> dict[int, Fraction]:
    """Return the decoding time of the first packet of each stream, in seconds."""
    first: dict[int, Fraction] = {}
    for packet in packets:
        time = seconds_of(packet)
        if time is not None:
            first.setdefault(packet.stream_index, time)
    return first


def seconds_of(packet: av.Packet[Any]) -> Fraction | None:
    """Return the decoding time of a packet, in seconds on the clock of the file."""
    stamp = packet.dts if packet.dts is not None else packet.pts
    return None if stamp is None else stamp * packet.time_base


def _move(packet: av.Packet[Any], offset: Fraction) -> av.Packet[Any]:
    ticks = round(offset / packet.time_base) if offset else 0
    # pts is later than dts, so it wraps first. Both are brought to the same side of the wrap.
    if packet.pts is not None and packet.dts is not None:
        wrap = round(WRAP_SECONDS / packet.time_base)
        packet.pts += wrap * round((packet.dts - packet.pts) / wrap)
    shift(packet, ticks)
    return packet


def shift(packet: av.Packet[Any], ticks: int) -> None:
    """Move a packet by a number of units of its time base."""
    packet.pts = None if packet.pts is None else packet.pts + ticks
    packet.dts = None if packet.dts is None else packet.dts + ticks


def may_step(container: InputContainer) -> bool:
    """Return whether the time stamps of a container's format may step."""
    return bool(container.format.flags & TS_DISCONT)
