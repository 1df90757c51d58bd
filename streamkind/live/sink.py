"""One output of a camera: feeds a publishing process, and starts it again when it ends."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import av

from streamkind.errors import OutputError
from streamkind.live.clock import Backoff
from streamkind.live.config import CameraConfig
from streamkind.live.encoder import TIME_BASE, Coded
from streamkind.live.order import INTERLEAVE, order
from streamkind.live.pipes import open_pipes
from streamkind.live.secrets import redact
from streamkind.live.state import OutputState
from streamkind.live.status import SinkStatus

PUBLISHER = Path(__file__).with_name("publish.py")
STUCK_SECONDS = 5.0
"""Time, in seconds, without accepted data after which an output is started again."""
CONNECT_SECONDS = 10.0  # time to connect, in seconds
REASON_SECONDS = 0.5  # longest wait for the reason of a failure, in seconds
END_SECONDS = 60.0
"""Longest time, in seconds, to finish a recording or to close the connection to a server. At the
end of the command, `LiveFleet` halts outputs earlier."""
WAIT_SECONDS = 0.1  # longest wait, in seconds, before flags are checked
PIPE = INTERLEAVE | {"syncpoints": "none", "write_index": "0", "strict": "experimental"}
"""Options of FFmpeg's muxer for NUT. Writer and reader would keep each syncpoint in memory: 200
bytes for 32 kB of video. They only serve seeking, which a pipe cannot do. For FFmpeg, a stream
without them is experimental."""
DEPTH = 256
"""Largest number of packets that wait for an output: about those of a few seconds."""


class LiveSink:
    """Passes packets to one output. No caller ever waits for the output."""

    def __init__(self, url: str, config: CameraConfig) -> None:
        self.wants_key = threading.Event()
        """Set when an output needs a keyframe: at its start, or after packets were dropped."""
        self.url = url
        self._config = config
        self._queue: queue.Queue[Coded] = queue.Queue(DEPTH)
        self._templates: list[Any] = []
        self._stop = threading.Event()
        self._halt = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"streamkind-sink-{config.name}", daemon=True
        )
        self._state = OutputState(url)
        self._reason = ""
        """Reason that a failed publisher gave."""

    def start(self, templates: list[Any]) -> None:
        """Start the thread if it does not run. `templates` describe picture and perhaps sound.

        Raises RuntimeError if the system gives no more threads. Then call it again.
        """
        self._templates = templates
        if self._thread.ident is None:
            self._thread.start()

    def offer(self, packet: Coded) -> None:
        """Add a packet to the queue. If the queue is full, drop all packets in it."""
        try:
            self._queue.put_nowait(packet)
        except queue.Full:
            with contextlib.suppress(queue.Empty):
                while True:
                    self._drop(self._queue.get_nowait())
            self._drop(packet)
            self.wants_key.set()

    def stop(self) -> None:
        """Ask the thread to end after the waiting packets; `join` waits for that."""
        self._stop.set()

    def join(self, until: float) -> None:
        """Wait for the end, at most until the time `until` of `time.monotonic`."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, until - time.monotonic()))

    def halt(self) -> None:
        """Drop what is not written yet, and kill the publisher."""
        self._halt.set()

    def status(self) -> SinkStatus:
        """Return the present state of the output."""
        return self._state.snapshot()

    def _run(self) -> None:
        backoff = Backoff()
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._publish()
            except Exception as exc:  # an error must not affect other outputs
                self._state.failed(redact(str(exc) or type(exc).__name__))
            if self._state.is_live and time.monotonic() - began > CONNECT_SECONDS:
                backoff.reset()
            if not self._stop.is_set():
                self._state.ended(for_good=False)
                self._rest(backoff.next_seconds())
        self._state.ended(for_good=True)

    def _rest(self, seconds: float) -> None:
        """Wait before the next attempt, and drop the packets that come meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stop.is_set():
            with contextlib.suppress(queue.Empty):
                self._drop(self._queue.get(timeout=WAIT_SECONDS))

    def _publish(self) -> None:
        """Start a publisher and feed it until it ends or `stop` is called."""
        self._reason = ""
        publisher = Publisher(order(self.url, self._config), self._templates, self._halt)
        try:
            self.wants_key.set()
            begun = False
            while True:
                self._check_publisher(publisher)
                try:
                    packet = self._queue.get(timeout=WAIT_SECONDS)
                except queue.Empty:
                    if self._stop.is_set():
                        break
                    continue
                begun = begun or (packet.video and packet.key)
                if not begun:
                    self._drop(packet)
                    continue
                publisher.write(packet)
                self._state.handed_over(int(packet.video))
            publisher.finish()
            self._read_lines(publisher)
        except OutputError as exc:
            publisher.await_end()
            self._read_lines(publisher)
            raise OutputError(self._reason or str(exc)) from exc
        finally:
            publisher.close()
            self._state.publisher_ended()

    def _read_lines(self, publisher: Publisher) -> None:
        for line in publisher.lines():
            if line == "live":
                self._state.connected()
            elif line.startswith("failed "):
                self._reason = redact(line.removeprefix("failed "))
            else:
                self._state.failed(redact(line.removeprefix("error ")))

    def _check_publisher(self, publisher: Publisher) -> None:
        self._read_lines(publisher)
        if publisher.failed:
            raise OutputError(publisher.end)
        if not self._state.is_live and publisher.seconds > CONNECT_SECONDS:
            raise OutputError(
                f"no connection within {CONNECT_SECONDS:g} s; check the address and the server"
            )

    def _drop(self, packet: Coded) -> None:
        self._state.dropped(int(packet.video))


class Publisher:
    """The process behind an output. Used from one thread only."""

    def __init__(self, order: dict[str, Any], templates: list[Any], halt: threading.Event) -> None:
        """Start the process. Setting `halt` ends every wait."""
        self._halt = halt
        self._began = time.monotonic()
        self._received = b""
        # -P: the folder of the script has modules named like those of the standard library.
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(PUBLISHER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a blocked reader of our stderr would block it
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._pipes = open_pipes(self._process.stdin.fileno(), self._process.stdout.fileno())
        self._muxer: Any = None
        try:
            self._send(json.dumps(order).encode() + b"\n")
            self._muxer = av.open(_Pipe(self._send), "w", format="nut", container_options=PIPE)
            self._streams = [
                self._muxer.add_stream_from_template(t, opaque=True) for t in templates
            ]
            self._muxer.start_encoding()
        except BaseException:
            self.close()
            raise

    @property
    def failed(self) -> bool:
        """Whether the process has ended by itself."""
        return self._process.poll() is not None

    @property
    def end(self) -> str:
        """A description of how the process has ended, for a process that gave no reason."""
        code = self._process.poll()
        return f"the output ended, by signal {-code}" if code and code < 0 else "the output ended"

    def await_end(self) -> None:
        """Wait shortly for the end after the pipe was closed, because a reason may follow."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if not self._halt.is_set():
                self._process.wait(REASON_SECONDS)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def lines(self) -> list[str]:
        """Return the lines that the process has written since the last call."""
        self._received += self._pipes.read()
        *lines, self._received = self._received.split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def write(self, packet: Coded) -> None:
        """Pass a packet to the process. Raises OutputError if the process does not accept it."""
        copy = av.Packet(packet.data)
        copy.stream = self._streams[0 if packet.video else 1]
        copy.time_base = TIME_BASE
        copy.pts = copy.dts = packet.pts
        copy.duration = packet.duration
        copy.is_keyframe = packet.key
        self._muxer.mux_one(copy)

    def finish(self) -> None:
        """Let the process write the rest and end. Raises OutputError if that takes too long."""
        self._muxer.close()
        until = time.monotonic() + END_SECONDS
        while not self._pipes.finish(WAIT_SECONDS):
            self._check_end(until)
        self._process.stdin.close()  # type: ignore[union-attr]
        while self._process.poll() is None:
            self._check_end(until)
            time.sleep(0.02)

    def _check_end(self, until: float) -> None:
        if time.monotonic() > until or self._halt.is_set():
            raise OutputError("the output did not close in time; its last seconds may be missing")

    def close(self) -> None:
        """Kill the process if it still runs. It may be called twice."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError, OutputError, av.FFmpegError):
            if self._muxer is not None:
                self._muxer.close()
        self._pipes.close()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _send(self, data: bytes) -> None:
        view = memoryview(data)
        until = time.monotonic() + STUCK_SECONDS
        while view:
            if self._process.stdin.closed:  # type: ignore[union-attr]
                raise OutputError("the output has ended")
            try:
                taken = self._pipes.write(view, WAIT_SECONDS)
            except OSError:
                raise OutputError("the output ended") from None
            view = view[taken:]
            if taken:
                until = time.monotonic() + STUCK_SECONDS
            elif time.monotonic() > until or self._halt.is_set():
                raise OutputError(
                    f"the output accepted no data for {STUCK_SECONDS:g} s; check the server or disk"
                )


class _Pipe:
    """The file object that PyAV writes to."""

    def __init__(self, send: Any) -> None:
        self.write = send
