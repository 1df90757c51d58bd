"""One camera, from its source to its outputs. A lost connection is opened again."""

from __future__ import annotations

import threading
import time

import numpy as np

from streamkind.engine.engine import Engine
from streamkind.engine.stream import Stream, choose_ratio
from streamkind.engine.whole import Finish
from streamkind.errors import InputError
from streamkind.live.clock import Backoff, LiveClock
from streamkind.live.config import CameraConfig
from streamkind.live.connect import is_file
from streamkind.live.explain import RefusedError, SilentError
from streamkind.live.frame_queue import FrameQueue, WaitingFrame
from streamkind.live.output import Output
from streamkind.live.secrets import redact
from streamkind.live.shared import SharedEngine
from streamkind.live.source import Connection, Picture
from streamkind.live.state import CameraState
from streamkind.live.status import CameraStatus, Preview
from streamkind.video.format import HD
from streamkind.video.frames import size_of

REFUSED_SECONDS = 60.0
"""Pause, in seconds, after a wrong password. Cameras lock out clients that try often."""
DEPTH = 32
"""Largest number of decoded frames that wait for the engine, of any age."""
FINISH_SECONDS = 60.0
"""Longest wait, in seconds, for the last frames of a file to be written."""


class Camera:
    """Source, state and outputs of one camera. The engine's thread uses it as an `EngineClient`."""

    def __init__(self, config: CameraConfig, engine: SharedEngine) -> None:
        self.state = CameraState(config)
        self.clock = LiveClock(time.monotonic())
        self.output = Output(self.state, self.clock)
        self.queue = FrameQueue(DEPTH, engine.ready)
        self._engine = engine
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"streamkind-read-{config.name}", daemon=True
        )
        # Used only by the camera's thread.
        self._clock_told = False
        self._transport = config.transport
        # Used only by the engine's thread.
        self._stream: Stream | None = None
        self._relit = config.ratio, config.target

    @property
    def config(self) -> CameraConfig:
        """The present settings."""
        return self.state.config

    @property
    def preview(self) -> Preview | None:
        """The last enhanced frame."""
        return self.state.preview

    def start(self) -> None:
        """Start the threads."""
        self.output.start()
        self._engine.add(self)
        self._thread.start()

    def stop(self) -> None:
        """Ask the threads to end, and outputs to write what waits. It may be called twice."""
        self._stop.set()
        self._engine.remove(self)
        self.output.stop()

    def join(self, until: float) -> None:
        """Wait for the end of the threads, at most until `until`, a time of `time.monotonic`.

        A read that is blocked in the network ends by itself after the camera's timeout.
        """
        self.output.join(until)
        if self._thread.ident is not None:
            self._thread.join(max(0.0, until - time.monotonic()))
        self.state.stopped()

    def change(self, config: CameraConfig) -> None:
        """Apply settings that need no new connection, from the next frame on."""
        self.state.configure(config)

    def status(self, *, take_ages: bool) -> CameraStatus:
        """Return the present state. With `take_ages`, the list of ages is emptied."""
        return self.state.snapshot(
            dropped=self._dropped(),
            queue=len(self.queue) + len(self.output.queue),
            sinks=tuple(sink.status() for sink in self.output.sinks),
            take_ages=take_ages,
        )

    def has_room(self) -> bool:
        """Return whether the encoder's queue has room for one more frame."""
        return not self.output.queue.is_full

    def oldest(self, seconds: float, wait: float) -> float:
        """Return a time of `time.monotonic`: frames that were decoded before it are too old.

        `seconds` is how long the engine takes. `wait` is the longest wait, in seconds, at the
        present load. It does not apply to frames of a file, of which none should be dropped.
        """
        # Doubled, because the next frame may take longer than the last ones.
        most = max(0.0, self.config.max_delay_seconds - 2 * seconds)
        return time.monotonic() - (most if is_file(self.config.url) else min(wait, most))

    def took(self, seconds: float) -> None:
        """Store how long the engine takes for a frame, in seconds."""
        self.state.engine_took(seconds)

    def stream(self, engine: Engine) -> Stream:
        """Return the `Stream` of the camera, which stays the same over reconnects.

        For a new engine, a new stream continues from the state of the old one. New settings of the
        ratio apply from the next frame on. Call it from the engine's thread.
        """
        config = self.config
        wanted = config.ratio, config.target
        if self._stream is None or self._stream.engine is not engine:
            self._stream = self._open_stream(engine, self._stream)
        if wanted != self._relit:
            self._stream.choose = choose_ratio(wanted[0], target=wanted[1])
            self._relit = wanted
        return self._stream

    def _open_stream(self, engine: Engine, before: Stream | None) -> Stream:
        ratio, target = self._relit
        stream = Stream(
            engine,
            choose_ratio(ratio, target=target),
            color=HD,
            skip=engine.max_batch == 1,  # an engine with batches runs on every frame
            state=before.state.elsewhere() if before else None,
        )
        if before:
            stream.seconds.update(before.seconds)
        return stream

    def deliver(self, frame: WaitingFrame, finish: Finish, ratio: float) -> None:
        """Pass an enhanced frame to the outputs. The encoder's thread finishes it."""
        before = frame.pixels if self.config.side_by_side else None
        enhanced = WaitingFrame(finish, frame.seconds, frame.decoded, before)
        preview = Preview(frame.pixels, lambda: enhanced.pixels, time.time())
        steps = self._stream.seconds if self._stream else {}
        self.state.enhanced(preview, ratio, steps, time.monotonic())
        self.output.queue.put(enhanced)

    def fail(self, error: str) -> None:
        """Store an error for the status."""
        self.state.failed(error)

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            pause = None
            frames = self.state.frames_in
            try:
                if self._read():
                    break
            except RefusedError as exc:
                self.state.lost(str(exc), refused=True)
                pause = REFUSED_SECONDS * float(np.random.uniform(0.8, 1.2))
            except SilentError as exc:
                self.state.lost(str(exc))
                if not self.state.frames_in and self.config.transport == "auto":
                    # Some cameras accept a connection by TCP, but never send anything.
                    self._transport = "udp" if self._transport == "auto" else "auto"
            except Exception as exc:  # a failure of one camera must not affect others
                self.state.lost(redact(str(exc) or type(exc).__name__))
            if self.state.frames_in > frames:
                backoff.reset()
            self._stop.wait(pause or backoff.next_seconds())
        self._finish()

    def _read(self) -> bool:
        """Read one connection to its end. Return whether the camera is then finished."""
        config = self.config
        with Connection(
            config.url,
            config.timeout_seconds,
            self._stop,
            self.state.packet_decoded,
            self._engine.pix_fmt,
            transport=self._transport,
            deinterlace=config.deinterlace,
            hwaccel=config.hwaccel,
        ) as connection:
            self.clock.restart()
            self.output.connected(connection.rate, connection.aspect, connection.sound)
            for item in connection:
                now = time.monotonic()
                if isinstance(item, Picture):
                    seconds = self.clock(item.seconds, now)
                    self._tell_of_clock()
                    self.state.picture_came(size_of(item.pixels))
                    self.queue.put(WaitingFrame(item.pixels, seconds, now))
                else:
                    self.output.put_sound(
                        item.data, self.clock.sound(item.seconds, now), item.duration
                    )
            if connection.is_file or self._stop.is_set():
                return True
        raise InputError(f"{redact(config.url)}: the camera ended the stream")

    def _tell_of_clock(self) -> None:
        speed = self.clock.wrong_speed
        if (speed or self.clock.set_too_often) and not self._clock_told:
            self._clock_told = True
            how = f"counts {speed:.2g} s per second" if speed else "is set again and again"
            self.fail(
                f"{redact(self.config.url)}: the camera's clock {how}; its time stamps are not"
                " used, and pictures are timed by their arrival"
            )

    def _under_way(self) -> bool:
        return self.state.frames_in > self.state.frames_out + self._dropped()

    def _dropped(self) -> int:
        return self.queue.dropped + self.output.queue.dropped

    def _finish(self) -> None:
        """Wait until the last frames of a file are written, then stop."""
        until = time.monotonic() + FINISH_SECONDS
        while self._under_way() and not self._stop.is_set() and time.monotonic() < until:
            self._stop.wait(0.05)
        self.output.stop()
        if not self._stop.is_set():  # else the fleet waits, and ends the outputs
            self.output.join(until)
        self.state.stopped()
