"""Where a video is divided into parts that can be worked on each for itself."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamkind.errors import InputError
from streamkind.light.track import Track
from streamkind.video.demux import PacketReader, main_video, open_input, read_only

PART_SECONDS = 10.0
"""About how long a part is: a kill costs at most the work on one."""
WARM_FRAMES = 12
"""Frames before a part that it looks at: of what is held still there, 0.2 % is older."""


class Division(NamedTuple):
    """The parts of a video."""

    starts: list[int]
    """Where each begins, as pts."""
    warm: list[int]
    """Where the frames begin that it looks at first."""
    packets: list[int]
    """How many it has; none where they have no good time stamps."""
    ticks: float
    """Units of pts in a second."""


def divide(path: Path, track: Track | None) -> Division:
    """Choose where parts begin.

    At scene cuts where there are any, else at keyframes of the input, else anywhere. A file whose
    time stamps are missing, doubled or set back cannot be entered in the middle: it is one part.
    """
    stamps, keys, ticks = read_stamps(path)
    if not stamps:
        return Division([0], [0], [], ticks)
    cuts = [] if track is None else np.round(track.time[track.cut] * ticks).astype(int).tolist()
    length, starts = int(PART_SECONDS * ticks), [stamps[0]]
    while stamps[-1] - starts[-1] > 1.5 * length:
        goal = starts[-1] + length
        near = nearest(cuts, goal, length // 2) or nearest(keys, goal, length // 2)
        starts.append(near or stamps[bisect_left(stamps, goal)])
    places = [bisect_left(stamps, start) for start in starts]
    warm = [stamps[max(0, place - WARM_FRAMES)] for place in places]
    packets = np.diff([*places, len(stamps)]).tolist()
    return Division(starts, warm, packets, ticks)


def expected_frames(path: Path) -> int:
    """Return how many frames a file says it has, about; 0 when it does not say."""
    try:
        with open_input(path) as container:
            stream = main_video(container, path)
            seconds = (container.duration or 0) / 1_000_000
            return stream.frames or round(seconds * (stream.average_rate or 0))
    except InputError:
        return 0  # whoever is to enhance it will tell


def nearest(stamps: list[int], goal: int, reach: int) -> int | None:
    """Return the stamp that is nearest to a goal, if one is within reach."""
    near = min(stamps, key=lambda stamp: abs(stamp - goal), default=None)
    return near if near is not None and abs(near - goal) <= reach else None


def read_stamps(path: Path) -> tuple[list[int], list[int], float]:
    """Return pts of all packets in order, those of keyframes, and ticks per second.

    Nothing is decoded. There are none when they cannot be relied on.
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
            # The first packets of Matroska have no dts; later ones without say nothing either.
            behind = last is not None and packet.dts is not None and packet.dts <= last
            if packet.pts is None or packet.is_corrupt or behind:
                return [], [], ticks
            last = packet.dts if packet.dts is not None else last
            stamps.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    moved = reader.bridge is not None and reader.bridge.moved
    if moved or len(set(stamps)) < len(stamps):
        return [], [], ticks
    return sorted(stamps), keys, ticks
