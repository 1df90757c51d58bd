"""One camera: read, watched over and connected again, from its source to its outputs."""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np

from streamkind.engine.engine import Engine
from streamkind.engine.stream import Stream, choose_ratio
from streamkind.errors import InputError
from streamkind.live.clock import Backoff, LiveClock
from streamkind.live.config import CameraConfig
from streamkind.live.explain import RefusedError, SilentError
from streamkind.live.inbox import Inbox, Waiting
from streamkind.live.output import Output
from streamkind.live.secrets import redact
from streamkind.live.shared import SharedEngine
from streamkind.live.source import Connection, Picture, Tally
from streamkind.live.status import CameraStatus, Preview, State
from streamkind.video.format import HD
from streamkind.video.frames import Pixels, size_of

REFUSED_SECONDS = 60.0
"""Pause after a wrong password: cameras lock out who tries often."""
DEPTH = 32
"""Most decoded frames that wait for the engine, whatever their age."""
FPS_SECONDS = 5.0
FINISH_SECONDS = 60.0
"""Most time that the last frames of a file may take."""


class Camera:
    """Everything that belongs to one camera; the engine's thread calls it as `Served`."""

    def __init__(self, config: CameraConfig, engine: SharedEngine) -> None:
        self.config = config
        self.clock = LiveClock(time.monotonic())
        self.output = Output(config, self.clock, self.fail)
        self.inbox = Inbox(DEPTH, engine.ready)
        self.preview: Preview | None = None
        self._engine = engine
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"streamkind-read-{config.name}", daemon=True
        )
        self._state: State = "connecting"
        self._since = time.time()
        self._error, self._error_time = "", 0.0
        self._size = (0, 0)
        self._tally = Tally()
        self._frames_in = self._reconnects = 0
        self._done: deque[float] = deque(maxlen=1000)
        self._ratio = 1.0
        self._clock_told = False
        self._transport = config.transport
        self._stream: Stream | None = None
        self._relit = config.ratio, config.target

    def start(self) -> None:
        """Begin."""
        self.output.start()
        self._engine.add(self)
        self._thread.start()

    def stop(self) -> None:
        """Ask for an end; `join` waits for it. Outputs finish what they have. Twice is fine."""
        self._stop.set()
        self._engine.remove(self)
        self.output.stop()

    def join(self, until: float) -> None:
        """Wait for the end until a time of `time.monotonic`.

        A read that is blocked in the network ends by itself after the camera's timeout.
        """
        self.output.join(until)
        if self._thread.ident is not None:
            self._thread.join(max(0.0, until - time.monotonic()))
        self._change("stopped")

    def change(self, config: CameraConfig) -> None:
        """Take settings that need no new connection, from the next frame on."""
        self.config = config
        self.output.max_delay = config.max_delay

    def status(self, *, take_ages: bool) -> CameraStatus:
        """Tell how it goes; `take_ages` begins a new list of them."""
        output, config, now = self.output, self.config, time.monotonic()
        state, since = self._told()
        recent = [t for t in list(self._done) if now - t <= FPS_SECONDS]
        ages = tuple(output.delays)
        if take_ages:
            output.delays.clear()
        return CameraStatus(
            name=config.name,
            state=state,
            required=config.required,
            required_outputs=config.required_outputs,
            url=redact(config.url),
            width=self._size[0],
            height=self._size[1],
            fps=len(recent) / FPS_SECONDS,
            frames_in=self._frames_in,
            frames_out=output.frames,
            dropped=self._dropped(),
            damaged=self._tally.damaged,
            queue=len(self.inbox) + len(output.inbox),
            delay_seconds=output.delay,
            ages=ages,
            age_count=output.aged,
            age_sum=output.delay_sum,
            stages={
                "decode": self._tally.seconds,
                "decompose": self._busy("decompose"),
                "recompose": self._busy("steady", "ratio", "recompose"),
                "encode": output.encode_seconds,
            },
            reconnects=self._reconnects,
            ratio=self._ratio,
            wanted_ratio=config.ratio,
            target=config.target,
            since=since,
            error=self._error,
            error_time=self._error_time,
            sinks=tuple(sink.status() for sink in output.sinks),
        )

    def _told(self) -> tuple[State, float]:
        """Return state and its begin: where no picture comes out, what comes in does not count."""
        silent = self.output.silent_since() if self._state == "live" else 0.0
        if not silent:
            return self._state, self._since
        return ("lost", silent) if self.output.frames else ("connecting", self._since)

    def has_room(self) -> bool:
        """Return whether an enhanced frame can wait for the encoder without loss of another."""
        return not self.output.inbox.is_full

    def oldest(self, seconds: float) -> float:
        """Return the time before which a decoded frame is too old to be begun.

        If the engine takes too long for any frame, the output lets late ones pass.
        """
        self.output.all_late = seconds > self.config.max_delay
        # Twice: the next frames may take longer than the last ones.
        return time.monotonic() - max(0.0, self.config.max_delay - 2 * seconds)

    def stream(self, engine: Engine) -> Stream:
        """Return what remembers the video; it stays over reconnects, and goes to a new engine.

        Other settings of the ratio act on the next frame. Called from the engine's thread.
        """
        wanted = self.config.ratio, self.config.target
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
            skip=engine.max_batch == 1,  # where batches are worth more, all frames are seen
            state=before.state.elsewhere() if before else None,
        )
        if before:
            stream.seconds.update(before.seconds)
        return stream

    def deliver(self, frame: Waiting, pixels: Pixels, ratio: float) -> None:
        """Hand an enhanced frame to the outputs."""
        self._ratio = ratio
        self._done.append(time.monotonic())
        self.preview = Preview(frame.pixels, pixels, time.time())
        self.output.inbox.put(Waiting(pixels, frame.seconds, frame.decoded))

    def fail(self, error: str) -> None:
        """Note what went wrong."""
        self._error, self._error_time = error, time.time()

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            pause = None
            frames = self._frames_in
            try:
                if self._read():
                    break
            except RefusedError as exc:
                self.fail(str(exc))
                self._lose("refused")
                pause = REFUSED_SECONDS * float(np.random.uniform(0.8, 1.2))
            except SilentError as exc:
                self.fail(str(exc))
                self._lose("lost")
                if self._frames_in == frames and self.config.transport == "auto":
                    # Some take a connection by TCP, and send nothing.
                    self._transport = "udp" if self._transport == "auto" else "auto"
            except Exception as exc:  # one camera's failure may not touch another camera
                self.fail(redact(str(exc) or type(exc).__name__))
                self._lose("lost")
            if self._frames_in > frames:
                backoff.reset()
            self._stop.wait(pause or backoff.next_seconds())
        self._finish()

    def _read(self) -> bool:
        """Read one connection to its end; return whether nothing more will come."""
        with Connection(
            self.config.url,
            self.config.timeout,
            self._stop,
            self._tally,
            self._engine.pix_fmt,
            transport=self._transport,
            deinterlace=self.config.deinterlace,
        ) as connection:
            self.clock.restart()
            self.output.connected(connection.rate, connection.aspect, connection.sound)
            began = self._frames_in
            for item in connection:
                now = time.monotonic()
                if isinstance(item, Picture):
                    seconds = self.clock(item.seconds, now)
                    self._tell_of_clock()
                    self._take(item.pixels, seconds, now, first=self._frames_in == began)
                else:
                    self.output.hear(item.data, self.clock.sound(item.seconds, now), item.duration)
            if connection.is_file or self._stop.is_set():
                return True
        raise InputError(f"{redact(self.config.url)}: the camera ended the stream")

    def _tell_of_clock(self) -> None:
        speed = self.clock.wrong_speed
        if speed and not self._clock_told:
            self._clock_told = True
            self.fail(
                f"{redact(self.config.url)}: its clock counts {speed:.2g} s in a second; its"
                " pictures get the time at which they come"
            )

    def _take(self, pixels: Pixels, seconds: float, now: float, *, first: bool) -> None:
        if first:
            self._reconnects += self._frames_in > 0
            self._change("live")
        self._frames_in += 1
        self._size = size_of(pixels)
        self.inbox.put(Waiting(pixels, seconds, now))

    def _lose(self, state: State) -> None:
        # Before its first picture a camera is not lost, it has never been there.
        self._change("connecting" if state == "lost" and not self._frames_in else state)

    def _busy(self, *steps: str) -> float:
        seconds = self._stream.seconds if self._stream else {}
        return sum(seconds.get(step, 0.0) for step in steps)

    def _under_way(self) -> bool:
        return self._frames_in > self.output.frames + self._dropped()

    def _dropped(self) -> int:
        return self.inbox.dropped + self.output.inbox.dropped

    def _finish(self) -> None:
        """After a file's end: let all frames through, then stop."""
        until = time.monotonic() + FINISH_SECONDS
        while self._under_way() and not self._stop.is_set() and time.monotonic() < until:
            self._stop.wait(0.05)
        self.output.stop()
        self._change("stopped")

    def _change(self, state: State) -> None:
        if state != self._state:
            self._state, self._since = state, time.time()
        self.output.lost_since = self._since if state in ("lost", "refused") else 0.0
