"""One clock that goes on, where the time stamps of a file step: recordings joined, gaps, wraps."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer

TS_DISCONT = 0x0200
"""AVFMT_TS_DISCONT: a format whose clock may step, such as MPEG-TS and MPEG-PS."""
BACK_SECONDS = 1
"""A step back by more than this, which is no damaged stamp; dts never fall within a recording."""
FORWARD_SECONDS = 10
"""A step forward by more than this is no pause but another clock; FFmpeg has the same limit."""
WRAP_SECONDS = Fraction(2**33, 90_000)
"""MPEG counts time in 33 bits, and begins anew after 26.5 hours."""
MOST_HELD = 256
"""Packets that wait for all streams to come to a step."""


@dataclass(slots=True)
class _Clock:
    """How far a stream is."""

    offset: Fraction
    """From the stamps of the file to those that go on, seconds."""
    end: Fraction
    """Where its last packet ends, seconds on the clock that goes on."""


@dataclass(slots=True)
class Bridge:
    """Moves packets after a step so that picture and sound go on, both by the same time.

    All packets of pictures and sound go in, in the order of the file, so that two readers of one
    file come to the same times.
    """

    steps: list[float] = field(default_factory=list)
    """How far each step went, seconds."""
    _clocks: dict[int, _Clock] = field(default_factory=dict)
    _held: list[av.Packet[Any]] = field(default_factory=list)
    _offset: Fraction = Fraction(0)

    @property
    def moved(self) -> bool:
        """Whether any times differ from those in the file."""
        return bool(self.steps or self._offset)

    def feed(self, packet: av.Packet[Any]) -> list[av.Packet[Any]]:
        """Take a packet, and return those whose times are known; most often itself."""
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
        """Return the packets that still wait."""
        return self._release() if self._held else []

    def _fits(self, clock: _Clock, time: Fraction) -> bool:
        """Whether a time goes on from what was before it; a wrap of the counter is no step."""
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
        """Return the offset of subtitles and data, which may be far apart."""
        front = max((clock.end for clock in self._clocks.values()), default=time + self._offset)
        return self._offset + WRAP_SECONDS * round((front - time - self._offset) / WRAP_SECONDS)

    def _without_stray(self, index: int) -> list[av.Packet[Any]]:
        """Return what waits of a stream whose clock goes on: its stamps were damaged."""
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
        """Let what waits go on where what was before has ended, no stream earlier than that."""
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
    """Return the first time of each stream."""
    first: dict[int, Fraction] = {}
    for packet in packets:
        time = seconds_of(packet)
        if time is not None:
            first.setdefault(packet.stream_index, time)
    return first


def seconds_of(packet: av.Packet[Any]) -> Fraction | None:
    """Return when a packet is to be decoded, on the clock of the file."""
    stamp = packet.dts if packet.dts is not None else packet.pts
    return None if stamp is None else stamp * packet.time_base


def _move(packet: av.Packet[Any], offset: Fraction) -> av.Packet[Any]:
    ticks = round(offset / packet.time_base) if offset else 0
    # One of the two stamps may have wrapped before the other.
    if packet.pts is not None and packet.dts is not None:
        wrap = round(WRAP_SECONDS / packet.time_base)
        packet.pts += wrap * round((packet.dts - packet.pts) / wrap)
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks
    return packet


def may_step(container: InputContainer) -> bool:
    """Whether the clock of a container's format may step."""
    return bool(container.format.flags & TS_DISCONT)
