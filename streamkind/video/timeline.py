"""Repairs time stamps so that they rise: encoders and containers require this."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from streamkind.errors import InputError, UsageError
from streamkind.video.format import VideoFormat


class NothingThereError(InputError):
    """A video has no frame in the file, or none in the part of the file that is read."""


_NO_CLOCK = 0x0080
"""FFmpeg's flag AVFMT_NOTIMESTAMPS: the format has no time stamps, as raw H.264."""
_NO_PTS = "avi"
"""FFmpeg's name of a format that stores only dts. FFmpeg's own guess of pts may be late."""
_JUMP_SECONDS = 1
"""Smallest step back, in seconds, that means that the clock was set back. A smaller step back means
that one time stamp is wrong. Chosen by hand."""

_MOST_EARLY = 32
"""Most frames without a time stamp that are held until the first frame that has one."""
MOST_FPS = 1000
"""Largest frame rate, in frames per second. A header with a larger one is wrong."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of a file. In the output, its `start` becomes 0."""

    start: Fraction
    """Beginning of the part, in seconds on the file's own clock."""
    end: Fraction | None
    """End of the part, in seconds on the file's own clock; None for the end of the file."""


def rate_of(fps: float) -> Fraction:
    """Return a rate that the user has given, in frames per second. Raises UsageError."""
    rate = Fraction(fps).limit_denominator(1001) if 0 < fps <= MOST_FPS else None
    if not rate:
        expected = f"frames per second, from 0.001 to {MOST_FPS}"
        raise UsageError(f"fps={fps:g}: expected {expected}")
    return rate


class RisingClock:
    """Repairs time stamps that are missing or do not rise. Other time stamps are not changed."""

    def __init__(self, time_base: Fraction, step: int) -> None:
        """Place a missing time stamp `step` units of `time_base` after the one before."""
        self.repaired = 0
        self.last: int | None = None
        self._step = max(1, step)
        self._jump = int(_JUMP_SECONDS / time_base)
        self._offset = self._before = 0  # now, and before the clock was set back

    def __call__(self, stamp: int | None, *, least: int = 1) -> int:
        """Return `stamp`, repaired if it is less than `least` units after the one before."""
        if stamp is None:
            self.repaired += 1
            self.last = 0 if self.last is None else self.last + self._step
            return self.last
        result = stamp + self._offset
        if self.last is not None and result - self.last > self._jump:
            right = stamp + self._before
            if self.last + least <= right <= self.last + self._jump:
                # The clock was not set back: the time stamps in between were wrong.
                self._offset, result = self._before, right
        if self.last is not None and result < self.last + least:
            self.repaired += 1
            # If the clock was set back (a camera restarted), later time stamps are moved too.
            if self.last - result > self._jump:
                self._before = self._offset
                self._offset += self.last + self._step - result
                result = self.last + self._step
            else:
                result = self.last + least
        self.last = result
        return result


class FrameClock:
    """Gives frames their pts, also in streams without time stamps, such as raw .h264."""

    def __init__(
        self, container: InputContainer, stream: VideoStream, path: Path, fps: float | None
    ) -> None:
        """Use `fps` for a stream without time stamps. Raises UsageError for other streams."""
        self.missing = bool(container.format.flags & _NO_CLOCK)
        """Whether frames have no time stamps. They then get a constant rate."""
        self._guessed = container.format.name == _NO_PTS
        self.time_base = stream.time_base or Fraction(1, 90_000)
        # For a stream without time stamps, FFmpeg always gives an average rate of 25. For DV, it
        # gives ticks per second.
        average = None if self.missing else stream.average_rate
        average = average if average is not None and average <= MOST_FPS else None
        self.rate: Fraction | None = average or stream.guessed_rate or None
        self._told = fps is not None
        if fps is not None:
            if not self.missing:
                raise UsageError(f"fps={fps:g}: {path} has time stamps of its own; leave it out")
            self.rate = rate_of(fps)
        self.restart()

    def restart(self) -> None:
        """Restart the clock, as after seeking."""
        self.step = round(1 / ((self.rate or 25) * self.time_base))
        self._rising = RisingClock(self.time_base, self.step)

    def stamp(
        self, frames: Iterable[av.VideoFrame], skipped: Callable[[], int]
    ) -> Iterator[av.VideoFrame]:
        """Give frames without time stamps a constant rate: that of the first frame's duration.

        `skipped` returns the number of frames that were skipped before the first one.

        If only the first frames have no time stamps, they get times before the first frame that has
        one: Matroska does not store times before 0.
        """
        if not self.missing:
            ordered = _by_dts(frames) if self._guessed else _in_order(frames)
            yield from self._before_the_first(ordered)
            return
        for number, frame in enumerate(frames):
            if not number and not self._told and frame.duration:
                self.rate = 1 / (frame.duration * self.time_base)
                self.restart()
            frame.pts = (skipped() + number) * self.step
            frame.time_base = self.time_base
            frame.duration = self.step
            yield frame

    def _before_the_first(self, frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
        early: list[av.VideoFrame] = []
        frames = iter(frames)
        for frame in frames:
            if frame.pts is None and len(early) < _MOST_EARLY:
                early.append(frame)
                continue
            for back, one in enumerate(reversed(early), 1):
                one.pts = None if frame.pts is None else frame.pts - back * self.step
            yield from early
            yield frame
            yield from frames
            return
        yield from early

    @property
    def repaired(self) -> int:
        """Number of repaired time stamps so far."""
        return self._rising.repaired

    def __call__(self, raw: av.VideoFrame) -> tuple[int, int]:
        """Return pts and duration of a frame, in units of `time_base`."""
        return self._rising(raw.pts), max(0, raw.duration or 0)


def _in_order(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Replace pts by dts once pts have failed to rise more often than dts, as FFmpeg does.

    Such pts are in the order of decoding. Some muxers write them so, and AVI stores no pts.
    """
    last_pts: int | None = None
    last_dts: int | None = None
    faulty = 0
    held: av.VideoFrame | None = None
    for frame in frames:
        pts, dts = frame.pts, frame.dts
        if pts is not None:
            faulty += last_pts is not None and pts <= last_pts
            last_pts = pts
        if dts is not None:
            faulty -= last_dts is not None and dts <= last_dts
            last_dts = dts
        if faulty > 0:
            frame.pts = dts
        if held is not None:
            if faulty > 0:
                held.pts = held.dts  # the next frame has a smaller pts
            yield held
        held = frame
    if held is not None:
        yield held


def _by_dts(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Set the pts of frames to their dts, as the program `ffmpeg` does for AVI.

    The last B-frames have no dts. Their pts continue with the step of the frames before.
    """
    last, step = None, 1
    for frame in frames:
        stamp = frame.dts
        if stamp is None and last is not None:
            stamp = last + step
        if stamp is not None and last is not None:
            step = stamp - last
        frame.pts = last = stamp
        yield frame


def check_times(start: float, duration: float | None) -> None:
    """Raise UsageError for a start or duration that is not valid."""
    if not (math.isfinite(start) and start >= 0):
        raise UsageError(f"start={start}: expected seconds from 0 up")
    if duration is not None and not (math.isfinite(duration) and duration > 0):
        raise UsageError(f"duration={duration}: expected seconds above 0, or none for all")


def cut_of(start_pts: int, time_base: Fraction, start: float, duration: float | None) -> Cut | None:
    """Return the part from `start` seconds after `start_pts` on, or None for the whole file."""
    if not start and duration is None:
        return None
    begin = (start_pts + round(Fraction(start) / time_base)) * time_base
    if duration is None:
        return Cut(begin, None)
    # 0.4 means 2/5, not the float's 0.40000000000000002
    return Cut(begin, begin + Fraction(duration).limit_denominator(1_000_000))


def shortened(
    form: VideoFormat, start: float, duration: float | None, rate: Fraction | None
) -> VideoFormat:
    """Return `form` with the length and number of frames of a part of the video, if known."""
    seconds = seconds_left(form.duration, start, duration)
    count = max(1, round(seconds * rate)) if seconds and rate else None
    return replace(form, frames=count, duration=seconds)


def nothing_from(
    path: Path, start: float, length: float | None, duration: float | None
) -> NothingThereError:
    """Return the error for a video without a frame in a part of it. All times are in seconds."""
    lasts = "" if length is None else f"; it lasts {length:.1f} s"
    within, longer = "", ""
    if duration is not None:
        within, longer = f" for duration={duration:g} s", " or a longer duration"
    told = f"no frame from start={start:g} s on{within}{lasts}; choose an earlier start{longer}"
    return NothingThereError(f"{path}: {told}")


def seconds_left(length: float | None, start: float, duration: float | None) -> float | None:
    """Return the length of a part of a video, in seconds; None if it is unknown.

    `length` is the length of the video.
    """
    rest = None if length is None else max(0.0, length - start)
    return min((known for known in (duration, rest) if known is not None), default=None)
