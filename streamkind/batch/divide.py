"""Divides a video into parts that can be enhanced independently."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamkind.light.track import Track
from streamkind.video.codecs import take_codec
from streamkind.video.demux import PacketReader, main_video, open_input, read_only

PART_SECONDS = 10.0
"""Target length of a part, in seconds. An interruption loses the work on at most one part for each
process."""
WARM_FRAMES = 12
"""Number of frames before a part that are read to initialise the filter over time. The weight of
the filter is 0.6 (`KEPT`), so the frames before these would contribute 0.6^12, or 0.2 %."""


class Division(NamedTuple):
    """The parts of a video."""

    starts: list[int]
    """The pts at which each part begins."""
    warm: list[int]
    """The pts of the first frame that is read for each part, to initialise the filter over time."""
    packets: list[int]
    """Packets in each part; empty if the time stamps cannot be relied on."""
    ticks: float
    """Units of pts per second."""


def divide(path: Path, track: Track | None) -> Division:
    """Choose where parts begin: at scene cuts, else at keyframes of the input, else at any frame.

    A file whose time stamps are missing, repeated or set back, or whose codec changes, is one part,
    because reading cannot begin in its middle.
    """
    stamps, keys, ticks = read_stamps(path)
    if not stamps:
        return Division([0], [0], [], ticks)
    cuts = [] if track is None else np.round(track.time[track.cut] * ticks).astype(int).tolist()
    length, starts = max(1, int(PART_SECONDS * ticks)), [stamps[0]]  # a tick may be longer
    while stamps[-1] - starts[-1] > 1.5 * length:
        goal = starts[-1] + length
        near = nearest(cuts, goal, length // 2) or nearest(keys, goal, length // 2)
        starts.append(near or stamps[bisect_left(stamps, goal)])
    places = [bisect_left(stamps, start) for start in starts]
    warm = [stamps[max(0, place - WARM_FRAMES)] for place in places]
    packets = np.diff([*places, len(stamps)]).tolist()
    return Division(starts, warm, packets, ticks)


def expected_frames(path: Path) -> int:
    """Return the estimated number of frames of a file by its header; 0 if the header has none."""
    try:
        with open_input(path) as container:
            stream = main_video(container, path)
            seconds = (container.duration or 0) / 1_000_000
            return stream.frames or round(seconds * (stream.average_rate or 0))
    except Exception:  # a library of remote storage has kinds of its own
        return 0  # the error is reported when the file is enhanced


def nearest(stamps: list[int], goal: int, reach: int) -> int | None:
    """Return the time stamp nearest to `goal`, or None if none is within `reach`."""
    near = min(stamps, key=lambda stamp: abs(stamp - goal), default=None)
    return near if near is not None and abs(near - goal) <= reach else None


def read_stamps(path: Path) -> tuple[list[int], list[int], float]:
    """Return the pts of all packets in order, those of keyframes, and ticks per second.

    Nothing is decoded. The lists are empty if the time stamps cannot be relied on.
    """
    stamps, keys, last = [], [], None
    with open_input(path) as container:
        stream = main_video(container, path)
        read_only(container, [stream])
        ticks = float(1 / (stream.time_base or 1))
        reader = PacketReader(container, [stream])
        for packet in reader:
            if packet.is_discard:
                continue
            # In Matroska, the first packets and some later packets have no dts.
            behind = last is not None and packet.dts is not None and packet.dts <= last
            if packet.pts is None or packet.is_corrupt or behind or take_codec(packet):
                return [], [], ticks
            last = packet.dts if packet.dts is not None else last
            stamps.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    moved = reader.bridge is not None and reader.bridge.moved
    if moved or len(set(stamps)) < len(stamps):
        return [], [], ticks
    return sorted(stamps), keys, ticks
