"""Options and time stamps for muxers, chosen so that no time stamp is rounded, moved or refused."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import av

from streamkind.video.containers import MP4_LIKE
from streamkind.video.demux import is_picture
from streamkind.video.passthrough import Passthrough
from streamkind.video.sequence import SequenceSource
from streamkind.video.source import Source, VideoSource

_MAX_DELAY = "700000"
"""FFmpeg's muxdelay of MPEG, in microseconds: the default of the program `ffmpeg`."""
_MAX_TIMESCALE = 100_000_000
"""Largest time scale of an MP4, in units per second. MP4 stores it in 32 bits."""
_PLAYS = {"apng": "plays", "webp": "loop", "avif": "loop"}
"""Option of each muxer of animations for the number of times that they are played; 0: without end.
"""
_MOST_PLAYS = 65_535
"""Largest number of these options, and of GIF's `loop`."""
_REORDER_TICKS = 16
"""Time of the first dts before the first pts, in units of the time base, if it is unknown."""
_LONGEST_REORDER_SECONDS = 3600
"""Largest difference between pts and dts, in seconds. A larger one means that dts is uninitialised.
"""


def container_options(kind: str, source: Source, passthrough: Passthrough | None) -> dict[str, str]:
    """Return the options for a container. `kind` is FFmpeg's name of its format."""
    options = {}
    early = isinstance(source, VideoSource) and source.cut is None and _first(source) < 0
    if kind in (*MP4_LIKE, "matroska", "webm") or (kind == "nut" and passthrough is None):
        # These formats can store audio before 0, but FFmpeg would move all streams by default.
        # Frames of video before 0 would not be shown: if there are any, all streams are moved.
        options["avoid_negative_ts"] = "make_non_negative" if early else "disabled"
    if kind in ("mpegts", "mpeg", "svcd"):
        options["max_delay"] = _MAX_DELAY
    if kind in MP4_LIKE:
        options |= _mp4_options(source, passthrough)
    plays = source.plays if isinstance(source, SequenceSource) else 0
    if kind == "gif":
        # GIF stores how often it is repeated: -1 is never, 0 without end.
        options["loop"] = str({0: 0, 1: -1}.get(plays, min(plays - 1, _MOST_PLAYS)))
    if kind in _PLAYS:
        options[_PLAYS[kind]] = str(min(plays, _MOST_PLAYS))
    return options


def _first(source: VideoSource) -> Fraction:
    return source.start_pts * source.format.time_base - source.origin


def _mp4_options(source: Source, passthrough: Passthrough | None) -> dict[str, str]:
    """Return time scales in which the times of all packets and streams are whole numbers."""
    streams = passthrough.streams if passthrough is not None else []
    origin = source.origin if isinstance(source, VideoSource) else 0
    scale = source.format.time_base.denominator
    for stream in streams:
        if stream.type == "video" and not is_picture(stream) and stream.time_base:
            # All videos have the same scale.
            exact = math.lcm(scale, stream.time_base.denominator)
            scale = exact if exact <= _MAX_TIMESCALE else scale
    movie = scale
    for stream in streams:
        # The start of a stream is stored in the time scale of the movie.
        start = (stream.start_time or 0) * (stream.time_base or 0) - origin
        exact = math.lcm(movie, Fraction(start).denominator)
        if exact <= _MAX_TIMESCALE:
            movie = exact
    # Tags of phones (com.apple.quicktime.location...) can be stored only in QuickTime's list of
    # tags, and cover art only in the other list.
    keys = passthrough.tags if passthrough is not None else {}
    listed = any(key.startswith("com.") for key in keys)
    if any(is_picture(stream) for stream in streams):
        listed = False
    return {
        "movflags": "+faststart+use_metadata_tags" if listed else "+faststart",
        "video_track_timescale": str(scale),
        "movie_timescale": str(movie),
    }


class PacketTimes:
    """Completes the time stamps of packets from the encoder."""

    def __init__(self, time_base: Fraction) -> None:
        """Complete packets whose times are in units of `time_base`."""
        self._durations: dict[int, int] = {}
        self._first_pts = 0
        self._first_dts: int | None = None
        self._last_dts = 0
        self._end: int | None = None
        self._longest = int(_LONGEST_REORDER_SECONDS / time_base)

    def expect(self, pts: int, duration: int) -> None:
        """Store the duration of a frame that is given to the encoder."""
        if self._end is None:
            self._first_pts = pts
        self._end = pts + duration
        if duration:
            self._durations[pts] = duration

    def complete(self, packet: av.Packet[Any]) -> None:
        """Give a packet the duration of its frame, and a dts that muxers accept."""
        # Some encoders do not pass durations on.
        duration = self._durations.pop(packet.pts or 0, None)
        if duration is not None:
            packet.duration = duration
        pts = packet.pts or 0
        dts = packet.dts
        # x265 leaves dts uninitialised for clips shorter than its reordering.
        if dts is None or not self._first_pts - self._longest < dts <= pts:
            started = self._first_dts is not None
            dts = self._last_dts + 1 if started else self._first_pts - _REORDER_TICKS
        if self._first_dts is None:
            self._first_dts = dts
        packet.dts = self._last_dts = dts

    def stretch(self, packet: av.Packet[Any]) -> None:
        """Extend the last packet of an MP4 to the end of the last frame.

        The length of an MP4 track ends with its last dts. With B-frames, the packet with the last
        dts is not the last frame.
        """
        if self._end is not None and self._first_dts is not None:
            rest = self._end - self._first_pts - (self._last_dts - self._first_dts)
            packet.duration = max(packet.duration or 0, rest)
