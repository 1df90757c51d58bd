"""One connection to a camera: opens, reads and decodes it until it ends or fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import av
from av.container import Flags

from streamkind.errors import InputError
from streamkind.live.access_units import SYNTAX, AccessUnits
from streamkind.live.config import Transport
from streamkind.live.connect import is_file, open_camera
from streamkind.live.explain import check_video, explain, nothing_came
from streamkind.live.secrets import redact, resolve
from streamkind.video.color import Reader, read_tags
from streamkind.video.deinterlace import Deinterlace, Deinterlacer
from streamkind.video.demux import main_video
from streamkind.video.format import HD, HD_ROWS
from streamkind.video.frames import Pixels, PixFmt
from streamkind.video.hardware import open_hwaccel, software_note
from streamkind.video.tonemap import refuse_dolby, tone_note
from streamkind.video.upright import Orientation, Turns

log = logging.getLogger("streamkind.live")

KEY_TIMEOUTS = 4
"""Longest wait for the first keyframe, as a multiple of the camera's timeout. Cameras may send a
keyframe only every few seconds."""
_NO_CLOCK = ("mjpeg", "mpjpeg")
"""Formats without time stamps: FFmpeg assumes 25 frames per second."""
JUMP_SECONDS = 3.0
"""Difference between two consecutive time stamps, in seconds, from which on the second one counts
as being on another timeline."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded frame."""

    pixels: Pixels
    """Upright RGB, uint8, (H, W, 3), or yuv420p with the tags `HD`, (3 H / 2, W)."""
    seconds: float | None
    """Time on the camera's clock, in seconds; None if the camera sends none."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A packet of sound, as the camera has encoded it."""

    data: bytes
    seconds: float | None
    """Time on the camera's clock, in seconds; None if the camera sends none."""
    duration: float
    """Duration in seconds."""


class Pace:
    """Finds how long to wait with each picture, so that pictures come no faster than recorded."""

    def __init__(self, *, forgets_jumps: bool) -> None:
        self._forgets_jumps = forgets_jumps
        self._start: float | None = None
        self._last = 0.0

    def __call__(self, seconds: float, now: float) -> float:
        """Return the wait, in seconds, for the picture with the time stamp `seconds`."""
        step = seconds - self._last
        # A file may have pauses, but nothing can be waited for at a time that has passed.
        jumped = step < -JUMP_SECONDS or (self._forgets_jumps and step > JUMP_SECONDS)
        if self._start is None or jumped:
            self._start = now - seconds
        self._last = seconds
        return max(0.0, self._start + seconds - now)


class Connection:
    """A connection to a camera. Reading blocks for at most `timeout_seconds`.

    Use it from one thread only.
    """

    def __init__(
        self,
        url: str,
        timeout_seconds: float,
        stop: threading.Event,
        count: Callable[[int, float], None],
        pix_fmt: Callable[[int, int], PixFmt],
        *,
        transport: Transport = "auto",
        deinterlace: Deinterlace = "frame",
        hwaccel: str = "none",
    ) -> None:
        """Connect. Raises RefusedError for a wrong password, SilentError, or InputError.

        `count` is called for each packet of video, with the number of packets and frames that could
        not be decoded, and with the time that decoding took, in seconds. `pix_fmt` returns the
        wanted pixel format for upright pictures of a width and height.
        """
        self._pix_fmt = pix_fmt
        self._count = count
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._stop = stop
        self.is_file = is_file(url)
        began = time.monotonic()
        try:
            accel, note = open_hwaccel(hwaccel)
            self._container = open_camera(resolve(url), timeout_seconds, transport, accel)
        except (av.FFmpegError, ValueError) as exc:
            raise self._explain(exc, time.monotonic() - began) from exc
        try:
            if not self.is_file:
                check_video(self._container, redact(url))
            self._video = main_video(self._container, redact(url))  # type: ignore[arg-type]
            context = self._video.codec_context
            if not self.is_file:
                # By default the decoder conceals damage, and does not report damaged frames. It
                # obeys `err_detect` only with one thread. Frame threads would also add a delay.
                context.thread_count, context.options = 1, {"err_detect": "explode"}
            sounds = self._container.streams.audio
            self.sound: Any = sounds[0] if sounds and sounds[0].codec_context else None
        except BaseException:
            self.close()
            raise
        self.rate: Fraction | None = self._video.average_rate or self._video.guessed_rate or None
        self.aspect = self._video.sample_aspect_ratio or Fraction(1)
        self._read: tuple[object, Reader] | None = None
        self._turns = Turns()
        self._deinterlacer = Deinterlacer(deinterlace, self._video.time_base or Fraction(1, 90_000))
        self._told: set[str] = set()
        self._accel = accel
        self._tell([note] if note else [])
        unparsed = self._container.flags & Flags.no_parse.value
        self._units = AccessUnits(context.name) if unparsed and context.name in SYNTAX else None
        self._keyed = False
        """Whether the first keyframe has come, from which decoding can begin."""
        self._pace = Pace(forgets_jumps=not self.is_file)
        self._next_seconds = 0.0
        """Time of the next frame of a file, if it has no time stamp."""

    def __enter__(self) -> Self:
        """Return the connection, which is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection. It may be called twice."""
        self._container.close()

    def __iter__(self) -> Iterator[Picture | Sound]:
        """Yield pictures and sound until the stream ends. Raises InputError if it fails."""
        packets = self._container.demux()  # for one stream alone, it would wait without a limit
        seen = time.monotonic()
        try:
            while (packet := self._next(packets)) is not None and not self._stop.is_set():
                if packet.stream_index == self._video.index:
                    for picture in self._pictures_of(packet):
                        self._keep_pace(picture)
                        seen = time.monotonic()
                        yield picture
                elif self.sound and packet.stream_index == self.sound.index and packet.size:
                    yield _sound(packet)
                self._check_progress(time.monotonic() - seen)
        except av.FFmpegError as exc:
            raise self._explain(exc) from exc

    def _next(self, packets: Iterator[av.Packet[Any]]) -> av.Packet[Any] | None:
        """Return the next packet, None at the end. Raises SilentError if nothing comes in time."""
        asked = time.monotonic()
        packet = next(packets, None)
        # After a timeout, FFmpeg returns packets that it has received before.
        if not self.is_file and time.monotonic() - asked >= self._timeout_seconds:
            raise nothing_came(redact(self._url), self._timeout_seconds)
        return packet

    def _check_progress(self, seconds: float) -> None:
        """Raise InputError if data comes, but no picture for too long, as with sound alone."""
        most = self._timeout_seconds if self._keyed else KEY_TIMEOUTS * self._timeout_seconds
        if seconds > most:
            lacking = "picture" if self._keyed else "keyframe"
            raise InputError(
                f"{redact(self._url)}: data comes, but no {lacking} for {seconds:.1f} s;"
                " connecting again"
            )

    def _pictures_of(self, packet: av.Packet[Any]) -> Iterator[Picture]:
        for whole in [packet] if self._units is None else self._units.packets(packet):
            yield from self._decode(whole)

    def _decode(self, packet: av.Packet[Any]) -> list[Picture]:
        began = time.perf_counter()
        self._keyed = self._keyed or packet.is_keyframe
        try:
            frames = self._video.decode(packet if packet.size else None)
            damaged = int(packet.is_corrupt)
        except av.FFmpegError:
            frames, damaged = [], 1
        whole = [frame for frame in frames if not frame.is_corrupt]
        self._keyed = self._keyed or bool(whole)
        lost = 0
        if self._keyed:  # before a keyframe, pictures cannot be decoded; they do not count
            lost = damaged + len(frames) - len(whole)
        shown = [made for frame in whole for made in self._deinterlacer(frame)]
        shown += [] if packet.size else self._deinterlacer(None)
        self._tell(self._deinterlacer.notes)
        pictures = [self._picture(frame) for frame in shown]
        self._count(lost, time.perf_counter() - began)
        return pictures

    def _picture(self, frame: av.VideoFrame) -> Picture:
        tags, turn = read_tags(frame, []), self._turns(frame)
        size = frame.width, frame.height
        if self._read is None or self._read[0] != (size, tags, turn):
            refuse_dolby(frame, self._video.codec_context.codec_tag, tags, redact(self._url))
            self._tell(tone_note(tags) + software_note(self._accel, self._video.codec_context))
            large = frame.height >= HD_ROWS and turn == Orientation()
            pix_fmt = self._pix_fmt(*size) if large else "rgb24"
            self._read = (size, tags, turn), Reader(tags, *size, pix_fmt, made=HD)
        pixels = self._read[1](frame)
        return Picture(pixels if pixels.ndim == 2 else turn.apply(pixels), self._time_of(frame))

    def _time_of(self, frame: av.VideoFrame) -> float | None:
        """Return the time of a frame in seconds. In files without time stamps, frames are counted.

        Returns None if a camera sends no time stamps.
        """
        seconds = None
        if frame.pts is not None and self._container.format.name not in _NO_CLOCK:
            seconds = float(frame.pts * (self._video.time_base or 0))
        elif self.is_file:
            seconds = self._next_seconds
        self._next_seconds = (seconds or 0.0) + 1 / float(self.rate or 25)
        return seconds

    def _tell(self, notes: list[str]) -> None:
        """Log how pictures are changed. Each message is logged once per connection."""
        for note in notes:
            if note not in self._told:
                self._told.add(note)
                log.warning("%s: %s", redact(self._url), note)

    def _keep_pace(self, picture: Picture) -> None:
        # An HLS segment lasts many seconds, and arrives at once.
        if picture.seconds is not None and (self.is_file or self._container.format.name == "hls"):
            self._stop.wait(self._pace(picture.seconds, time.monotonic()))

    def _explain(self, exc: Exception, seconds: float = 0.0) -> InputError:
        return explain(exc, resolve(self._url), self._timeout_seconds, seconds)


def _sound(packet: av.Packet[Any]) -> Sound:
    base = packet.time_base
    stamp = packet.dts if packet.dts is not None else packet.pts
    return Sound(
        bytes(packet),
        None if stamp is None else float(stamp * base),
        float((packet.duration or 0) * base),
    )
