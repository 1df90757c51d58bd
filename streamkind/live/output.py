"""Encodes the enhanced pictures of a camera for all its outputs.

While the camera is lost, it encodes slates: pictures with the text "no signal".
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import av

from streamkind.live.clock import LiveClock
from streamkind.live.config import CameraConfig
from streamkind.live.encoder import (
    HLS_KEY_SECONDS,
    KEY_SECONDS,
    LEAST_STEP,
    TIME_BASE,
    Coded,
    LiveEncoder,
    Template,
    slate,
)
from streamkind.live.frame_queue import FrameQueue, WaitingFrame
from streamkind.live.output_streams import OutputStreams
from streamkind.live.recordings import is_folder, is_playlist
from streamkind.live.secrets import redact
from streamkind.live.sink import LiveSink
from streamkind.live.state import CameraState
from streamkind.live.viewers import Viewers
from streamkind.video.frames import Pixels, beside, size_of

SLATE_SECONDS = 0.2
"""Seconds from one slate to the next."""
QUIET_SECONDS = 0.5
"""Seconds from the last frame of a lost camera to the first slate."""
LATE_SECONDS = 1.0
"""Seconds without an encoded picture, after which a picture is encoded even if it is too old."""
DEPTH = 2
"""Largest number of enhanced pictures that wait for the encoder. It is small, so that pictures wait
before the engine, where dropping one wastes no work."""
WAIT_SECONDS = 0.05
"""Longest wait, in seconds, before the stop flag is checked."""
RETRY_SECONDS = 5.0
"""Pause after an error of the encoder, in seconds."""


class Channel:
    """One encoder and the sinks that get its packets. Used only by the encoder's thread."""

    def __init__(self, sinks: list[LiveSink], key_seconds: float, *, wide: bool = False) -> None:
        """Encode for `sinks`. With `wide`, pictures show the original to the left of the result."""
        self.sinks, self.wide = sinks, wide
        self.encoder: LiveEncoder | None = None
        self.rests_until = 0.0
        """Time of `time.monotonic` until which it is left out, because its encoder has failed."""
        self.encoding: deque[tuple[int, float]] = deque()
        """`pts` and decoding time of the pictures in the encoder whose age is measured."""
        self._key_seconds = key_seconds
        self._size: tuple[int, int] | None = None

    def open(
        self,
        codec: str,
        frame: WaitingFrame,
        rate: Fraction,
        aspect: Fraction,
        sound: Template | None,
    ) -> LiveEncoder:
        """Open an encoder for pictures like the first one, and start the sinks."""
        self._size = self._size or size_of(self.picture(frame))
        encoder = LiveEncoder(codec, self._size, rate, aspect, self._key_seconds)
        streams = [encoder.stream] + ([sound.stream] if sound else [])
        for sink in self.sinks:
            sink.start(streams)
        self.encoder = encoder
        return encoder

    def drop(self) -> None:
        """Give up the encoder. The next picture opens another one."""
        self.encoder = None
        self.encoding.clear()

    def picture(self, frame: WaitingFrame) -> Pixels:
        """Return the picture to encode."""
        if self.wide and frame.before is not None:
            return beside(frame.before, frame.pixels)
        return frame.pixels

    def hand_out(self, packets: Iterable[Coded]) -> None:
        """Pass packets to all sinks."""
        for packet in packets:
            for sink in self.sinks:
                sink.offer(packet)


class Output:
    """Encodes the pictures of a camera for sinks and viewers, in a thread of its own.

    Pictures are encoded once for all sinks, and a second time for recordings that show them side by
    side. Without sinks, they are encoded only while there is a viewer.
    """

    def __init__(self, state: CameraState, clock: LiveClock) -> None:
        """Create the sinks. Ages of encoded pictures, and errors, are stored in `state`."""
        config = state.config
        self.queue = FrameQueue(DEPTH)
        self.sinks = [LiveSink(url, config) for url in config.to]
        self.viewers = Viewers()
        self._state = state
        self._clock = clock
        self._streams = OutputStreams()
        self._sound_next = 0
        """Least `pts` of the next packet of sound. Used only by the camera's thread."""
        # Used only by the encoder's thread.
        self._channels = channels_of(self.sinks, config)
        self._slated = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"streamkind-encode-{config.name}", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end after the waiting pictures; `join` waits for that."""
        self._stop.set()

    def join(self, until: float) -> None:
        """Wait for the end, at most until the time `until` of `time.monotonic`."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, until - time.monotonic()))
        for sink in self.sinks:
            sink.join(until)

    def halt(self) -> None:
        """Drop what is not written yet, and end the sinks."""
        for sink in self.sinks:
            sink.halt()

    def connected(self, rate: Fraction | None, aspect: Fraction, sound: Any) -> None:
        """Set the frame rate, pixel aspect and sound of a new connection.

        It must be called before the first picture of the connection.
        """
        template = None
        if sound is not None:
            try:
                template = Template(sound)
            except (ValueError, av.FFmpegError) as exc:
                self._state.failed(f"the sound is left out: {redact(str(exc))}")
        self._streams.connected(rate if rate and rate <= 240 else None, aspect, template)

    def put_sound(self, data: bytes, seconds: float, duration: float) -> None:
        """Pass a packet of sound to the sinks. The camera's thread calls this."""
        if not self._streams.carries_sound:
            return
        pts = max(round(seconds / TIME_BASE), self._sound_next)
        self._sound_next = pts + LEAST_STEP
        for channel in self._channels:
            channel.hand_out([Coded(data, pts, round(duration / TIME_BASE), True, False)])

    def _run(self) -> None:
        while True:
            try:
                if not self._step():
                    break
            except Exception as exc:  # an error of one encoder must not affect other cameras
                self._state.failed(redact(f"encoder: {exc}"))
                self.queue.clear()
                self._stop.wait(RETRY_SECONDS)
        try:
            for channel in self._channels:
                if channel.encoder is not None:
                    channel.hand_out(channel.encoder.finish())
        except Exception as exc:  # outputs must be finished all the same
            self._state.failed(redact(f"encoder: {exc}"))
        self.viewers.close()
        for sink in self.sinks:
            sink.stop()

    def _wanted(self) -> list[Channel]:
        """Return the channels that have sinks or viewers. Viewers get the first channel.

        Channels that rest are left out, unless all do.
        """
        first, *others = self._channels
        wanted = [first] * bool(first.sinks or self.viewers) + others
        now = time.monotonic()
        return [channel for channel in wanted if channel.rests_until <= now] or wanted

    def _each(self, channels: list[Channel], encode: Callable[[Channel], None]) -> None:
        """Call `encode` for all channels. One that fails rests. Raises if all have failed."""
        errors = []
        for channel in channels:
            try:
                encode(channel)
            except Exception as exc:  # other outputs must continue
                channel.rests_until = time.monotonic() + RETRY_SECONDS
                errors.append(exc)
        if errors and len(errors) == len(channels):
            raise errors[0]
        for error in errors:
            self._state.failed(redact(f"encoder: {error}"))

    def _step(self) -> bool:
        """Encode a waiting picture, or a slate; return whether to continue."""
        ready = self.queue.ready
        with ready:
            if not len(self.queue) and not self._stop.is_set():
                ready.wait(WAIT_SECONDS)
        now = time.monotonic()
        due = self._state.all_late or now - self._state.last_handed_on > LATE_SECONDS
        frame = self.queue.take(now - self._state.config.max_delay_seconds, last=due)
        if frame is not None:
            try:
                self._encode(frame)
            except BaseException:
                self.queue.count_dropped()
                raise
            return True
        since = self._state.no_signal_since(now)
        if since and not self._stop.is_set():
            self._show_slate(since)
        return not self._stop.is_set()

    def _encode(self, frame: WaitingFrame) -> None:
        wanted = self._wanted()

        def encode(channel: Channel) -> None:
            encoder = channel.encoder
            if encoder is None:
                encoder = channel.open(self._state.config.codec, frame, *self._streams.fix())
            try:
                self._write(channel, encoder, frame, aged=channel is wanted[0])
            except Exception:  # on a card that was lost and returns, only a new one works
                channel.drop()
                raise

        self._each(wanted, encode)
        if not wanted:
            self._age(frame.decoded)
        self._state.handed_on(time.monotonic())

    def _age(self, decoded: float) -> None:
        self._state.left(time.monotonic() - decoded)

    def _show_slate(self, lost_since: float) -> None:
        now = time.monotonic()
        # Frames may still come from the engine. They would be older than a slate shown now.
        if now - self._slated < SLATE_SECONDS:
            return
        if now - self._state.last_handed_on < QUIET_SECONDS:
            return
        self._slated = now
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(lost_since))

        def show(channel: Channel) -> None:
            if (encoder := channel.encoder) is not None:
                picture = slate(encoder.size, [self._state.config.name, f"no signal since {since}"])
                self._write(channel, encoder, WaitingFrame(picture, self._clock.at(now), now))

        self._each(self._wanted(), show)

    def _write(
        self, channel: Channel, encoder: LiveEncoder, frame: WaitingFrame, *, aged: bool = False
    ) -> None:
        waiting = [sink.wants_key for sink in channel.sinks]
        waiting += [] if channel.wide else [self.viewers.wants_key]
        wanted = [event for event in waiting if event.is_set()]
        for event in wanted:
            event.clear()
        picture = channel.picture(frame)
        began = time.perf_counter()
        packets = list(encoder(picture, frame.seconds, key=bool(wanted)))
        self._state.encoded(time.perf_counter() - began)
        channel.hand_out(packets)
        if not channel.wide and (told := self.viewers.offer(packets, encoder.stream)):
            self._state.failed(redact(f"live video: {told}"))
        if aged:
            channel.encoding.append((encoder.last_pts, frame.decoded))
        for packet in packets:  # an encoder may return a picture only after later calls
            while channel.encoding and channel.encoding[0][0] <= packet.pts:
                self._age(channel.encoding.popleft()[1])


def channels_of(sinks: list[LiveSink], config: CameraConfig) -> list[Channel]:
    """Return how the pictures are encoded: once for all sinks, or side by side for recordings."""
    wide = [s for s in sinks if config.side_by_side and is_folder(s.url)]
    plain = [sink for sink in sinks if sink not in wide]
    hls = any(is_playlist(sink.url) for sink in plain)
    first = Channel(plain, HLS_KEY_SECONDS if hls else KEY_SECONDS)
    return [first, *([Channel(wide, KEY_SECONDS, wide=True)] if wide else [])]
