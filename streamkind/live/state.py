"""The state of a camera and of an output. Any thread may change and read it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping

from streamkind.live.config import CameraConfig
from streamkind.live.secrets import redact
from streamkind.live.status import CameraStatus, Preview, SinkState, SinkStatus, SourceState

FPS_SECONDS = 5.0
"""Seconds over which the rate of enhanced frames is measured."""
SILENT_SECONDS = 5.0
"""Least seconds without a picture after which a connected camera does not count as live."""
STAGES = {
    "decompose": ("decompose",),
    "recompose": ("steady", "ratio", "relight", "adapt"),
    "finish": ("finish",),
}
"""Stages of the engine in the status, and the steps of a `Stream` whose times each one sums."""


class CameraState:
    """All values that the threads of a camera share, with one lock.

    Methods may be called from any thread, and return at once. A thread that holds the lock takes
    no other lock. `now` is a time of `time.monotonic`, in seconds.
    """

    def __init__(self, config: CameraConfig) -> None:
        self._lock = threading.Lock()
        self._config = config
        self._state: SourceState = "connecting"
        self._since = time.time()
        self._error, self._error_time = "", 0.0
        # The input.
        self._size = (0, 0)
        self._frames_in = self._reconnects = self._damaged = 0
        self._decode_seconds = 0.0
        # The engine.
        self._enhanced: deque[float] = deque(maxlen=1000)
        self._ratio = 1.0
        self._preview: Preview | None = None
        self._steps: Mapping[str, float] = {}
        self._engine_seconds = 0.0
        # The output.
        self._frames_out, self._handed_on = 0, 0.0
        self._encode_seconds = 0.0
        self._age, self._age_sum, self._age_count = 0.0, 0.0, 0
        self._ages: deque[float] = deque(maxlen=500)

    @property
    def config(self) -> CameraConfig:
        """The present settings."""
        with self._lock:
            return self._config

    def configure(self, config: CameraConfig) -> None:
        """Set settings that need no new connection. They apply from the next frame on."""
        with self._lock:
            self._config = config

    def packet_decoded(self, damaged: int, seconds: float) -> None:
        """Add damaged packets and frames, and the working time of the decoder in seconds."""
        with self._lock:
            self._damaged += damaged
            self._decode_seconds += seconds

    def picture_came(self, size: tuple[int, int]) -> None:
        """Count a decoded frame of a width and height. The first one makes the camera live."""
        with self._lock:
            if self._state not in ("live", "stopped"):
                self._reconnects += self._frames_in > 0
                self._change("live")
            self._frames_in += 1
            self._size = size

    def failed(self, error: str) -> None:
        """Store an error message without secrets."""
        with self._lock:
            self._fail(error)

    def lost(self, error: str, *, refused: bool = False) -> None:
        """Set the state to lost, or with `refused` to refused. `error` is without secrets.

        A camera that never had a picture is not lost: it stays `connecting`.
        """
        with self._lock:
            self._fail(error)
            if refused:
                self._change("refused")
            else:
                self._change("lost" if self._frames_in else "connecting")

    def stopped(self) -> None:
        """Set the state to stopped. It does not change after that."""
        with self._lock:
            self._change("stopped")

    def engine_took(self, seconds: float) -> None:
        """Store how long the engine takes for a frame of this camera, in seconds."""
        with self._lock:
            self._engine_seconds = seconds

    def enhanced(
        self, preview: Preview, ratio: float, steps: Mapping[str, float], now: float
    ) -> None:
        """Store an enhanced frame, its ratio, and the working time of each step since the start."""
        with self._lock:
            self._preview, self._ratio, self._steps = preview, ratio, dict(steps)
            self._enhanced.append(now)

    def encoded(self, seconds: float) -> None:
        """Add working time of the encoder, in seconds."""
        with self._lock:
            self._encode_seconds += seconds

    def handed_on(self, now: float) -> None:
        """Count a frame that the encoder has accepted."""
        with self._lock:
            self._frames_out += 1
            self._handed_on = now

    def left(self, age: float) -> None:
        """Add the age of a frame that is encoded, in seconds since it was decoded."""
        with self._lock:
            self._age = age
            self._ages.append(age)
            self._age_sum += age
            self._age_count += 1

    @property
    def frames_in(self) -> int:
        """Number of frames decoded so far."""
        with self._lock:
            return self._frames_in

    @property
    def frames_out(self) -> int:
        """Number of frames that the encoder has accepted so far."""
        with self._lock:
            return self._frames_out

    @property
    def last_handed_on(self) -> float:
        """When the encoder accepted the last frame, by `time.monotonic`; 0 before the first."""
        with self._lock:
            return self._handed_on

    @property
    def preview(self) -> Preview | None:
        """The last enhanced frame."""
        with self._lock:
            return self._preview

    @property
    def all_late(self) -> bool:
        """Whether the engine alone takes longer than `max_delay_seconds`."""
        with self._lock:
            return self._engine_seconds > self._config.max_delay_seconds

    def no_signal_since(self, now: float) -> float:
        """Return the Unix time since which no picture is decoded or encoded, or 0."""
        with self._lock:
            lost = self._state in ("lost", "refused")
            return self._since if lost else self._silent_since(now)

    def snapshot(
        self, *, dropped: int, queue: int, sinks: tuple[SinkStatus, ...], take_ages: bool
    ) -> CameraStatus:
        """Return the status, with the given numbers of frames. `take_ages` empties the ages."""
        now = time.monotonic()
        with self._lock:
            config = self._config
            state, since = self._shown(now)
            ages = tuple(self._ages)
            if take_ages:
                self._ages.clear()
            return CameraStatus(
                name=config.name,
                state=state,
                required=config.required,
                required_outputs=config.required_outputs,
                url=redact(config.url),
                width=self._size[0],
                height=self._size[1],
                fps=sum(now - t <= FPS_SECONDS for t in self._enhanced) / FPS_SECONDS,
                frames_in=self._frames_in,
                frames_out=self._frames_out,
                dropped=dropped,
                damaged=self._damaged,
                queue=queue,
                delay_seconds=self._age,
                ages=ages,
                age_count=self._age_count,
                age_sum=self._age_sum,
                stages=self._stages(),
                reconnects=self._reconnects,
                ratio=self._ratio,
                wanted_ratio=config.ratio,
                target=config.target,
                since=since,
                error=self._error,
                error_time=self._error_time,
                sinks=sinks,
            )

    def _shown(self, now: float) -> tuple[SourceState, float]:
        """Return the state and when it began. A camera is live only if pictures are encoded too."""
        silent = self._silent_since(now) if self._state == "live" else 0.0
        if not silent:
            return self._state, self._since
        return ("lost", silent) if self._frames_out else ("connecting", self._since)

    def _silent_since(self, now: float) -> float:
        silent, most = now - self._handed_on, max(self._config.timeout_seconds, SILENT_SECONDS)
        return time.time() - silent if silent > most else 0.0

    def _stages(self) -> dict[str, float]:
        busy = {
            stage: sum(self._steps.get(step, 0.0) for step in steps)
            for stage, steps in STAGES.items()
        }
        return {"decode": self._decode_seconds, **busy, "encode": self._encode_seconds}

    def _fail(self, error: str) -> None:
        self._error, self._error_time = error, time.time()

    def _change(self, state: SourceState) -> None:
        if state != self._state and self._state != "stopped":
            self._state, self._since = state, time.time()


class OutputState:
    """All values of one output, with one lock. The threads of output and encoder change them."""

    def __init__(self, url: str) -> None:
        self._lock = threading.Lock()
        self._url = redact(url)
        self._state: SinkState = "connecting"
        self._frames = self._dropped = self._connections = 0
        self._handed = 0
        """Number of frames given to a publisher that has no connection yet."""
        self._error = ""

    @property
    def is_live(self) -> bool:
        """Whether there is a connection."""
        with self._lock:
            return self._state == "live"

    def connected(self) -> None:
        """Set the state to live, and count the frames given to the publisher so far as written."""
        with self._lock:
            self._state = "live"
            self._connections += 1
            self._frames, self._handed = self._frames + self._handed, 0

    def handed_over(self, frames: int) -> None:
        """Count frames given to a publisher."""
        with self._lock:
            if self._state == "live":
                self._frames += frames
            else:
                self._handed += frames

    def publisher_ended(self) -> None:
        """Count the frames that the publisher got before it had a connection as dropped."""
        with self._lock:
            self._dropped, self._handed = self._dropped + self._handed, 0

    def dropped(self, frames: int) -> None:
        """Count frames that were given to no publisher."""
        with self._lock:
            self._dropped += frames

    def failed(self, error: str) -> None:
        """Store an error message without secrets."""
        with self._lock:
            self._error = error

    def ended(self, *, for_good: bool) -> None:
        """Set the state to lost, or with `for_good` to stopped."""
        with self._lock:
            self._state = "stopped" if for_good else "lost"

    def snapshot(self) -> SinkStatus:
        """Return the status."""
        with self._lock:
            return SinkStatus(
                url=self._url,
                state=self._state,
                frames=self._frames,
                dropped=self._dropped,
                reconnects=max(0, self._connections - 1),
                error=self._error,
            )
