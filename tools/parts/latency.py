"""Measures the delay of live pictures, by a number that is drawn into each of them.

A camera on loopback sends numbered pictures by RTSP. `LiveFleet` enhances them.

The output is received as MPEG-TS over UDP. For this, the camera runs in its own process, so that it
does not wait for Python's lock while a frame is enhanced. The latency of a picture is the time from
its last byte at the camera's socket to its last byte at the receiver's socket.

With HLS, the output is a playlist. A player begins with the third last part, as HLS demands. Twice
a second, the latency is measured as the time since the first picture of this part was sent.
"""

from __future__ import annotations

import io
import multiprocessing
import socket
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import av
import numpy as np
from loopback.scripted import ScriptedCamera
from loopback.servers import wait_for

from streamkind.live.config import CameraConfig
from streamkind.live.fleet import LiveFleet

COUNT = 250
"""Number of different pictures. After them, the numbers repeat."""
MOST_SECONDS = 8.0
"""Largest delay, in seconds. A later picture with the same number is one of the next round, and the
picture of this round was dropped."""
BITS = 8
"""Number of bits of a number in a picture."""
RATE = 25
"""Frames per second of the camera."""
PARTS = 3
"""Number of parts before the end of the playlist at which a player begins (RFC 8216, 6.3.3)."""
PACKET = 188
"""Size of a packet of MPEG-TS, in bytes."""
WARM_SECONDS = 5.0
"""Time in seconds from the first output to the beginning of the measurement."""
LOOK_SECONDS = 0.5
"""Interval, in seconds, at which the camera's process records what was sent. It is short, because
numbers repeat after ten seconds."""
DARK, BRIGHT = 16, 70
"""8-bit levels of a block for the bits 0 and 1."""


def numbered(number: int, width: int, height: int) -> np.ndarray:
    """Draw a dark picture with a number: a dark block, a bright block, and a block for each bit."""
    image = np.full((height, width, 3), DARK, np.uint8)
    block = width // (BITS + 2)
    for place, bit in enumerate([0, 1, *(number >> i & 1 for i in range(BITS))]):
        image[: height // 2, place * block : (place + 1) * block] = BRIGHT if bit else DARK
    return image


def number_in(image: np.ndarray) -> int:
    """Return the number in a gray picture (H, W) of any brightness."""
    block = image.shape[1] // (BITS + 2)
    rows = image[height_of(image) // 8 : height_of(image) * 3 // 8]
    levels = [rows[:, int((i + 0.5) * block)].mean() for i in range(BITS + 2)]
    middle = (levels[0] + levels[1]) / 2
    return sum((level > middle) << i for i, level in enumerate(levels[2:]))


def height_of(image: np.ndarray) -> int:
    """Return the height of a picture."""
    return int(image.shape[0])


class Receiver:
    """Receives MPEG-TS over UDP, with the time of each datagram. A context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.url = f"udp://127.0.0.1:{self._socket.getsockname()[1]}"
        self.came: list[tuple[float, bytes]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __enter__(self) -> Receiver:
        """Return the receiver, which already listens."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                datagram = self._socket.recv(65536)
            except TimeoutError:
                continue
            self.came.append((time.monotonic(), datagram))

    def pictures(self) -> list[tuple[int, float]]:
        """Return the number in each picture, and the time when its last byte was received."""
        ends: list[float] = []
        for when, datagram in self.came:
            for start in range(0, len(datagram), PACKET):
                flags, low = datagram[start + 1], datagram[start + 2]
                if (flags & 31) << 8 | low != 0x100:  # the PID of FFmpeg's first stream
                    continue
                ends += [when] if flags & 0x40 else []
                if ends:
                    ends[-1] = when
        stream = io.BytesIO(b"".join(data for _, data in self.came))
        with av.open(stream, format="mpegts") as container:
            frames = [f.to_ndarray(format="gray") for f in container.decode(video=0)]
        return [(number_in(f), end) for f, end in zip(frames, ends, strict=False)]


class CameraApart:
    """A scripted camera in its own process. A context manager."""

    def __init__(self, size: tuple[int, int]) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._ask, self._theirs = spawn.Pipe()
        self._process = spawn.Process(target=play, args=(size, self._theirs), daemon=True)

    def __enter__(self) -> CameraApart:
        """Start the process; return the camera when it serves."""
        self._process.start()
        self._theirs.close()
        self.url: str = self._ask.recv()
        return self

    def sent(self) -> list[tuple[int, float]]:
        """Return the number of each picture, and the time when its last byte was sent."""
        self._ask.send("sent")
        return list(self._ask.recv())

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._ask.close()
        self._process.join()


def play(size: tuple[int, int], asked: Connection) -> None:
    """Serve a camera until the pipe is closed; send the list of sent pictures at each request."""
    with ScriptedCamera(size=size, rate=RATE, gop=RATE, count=COUNT, draw=numbered) as camera:
        asked.send(camera.url)
        sent: dict[tuple[int, float], None] = {}
        with suppress(EOFError):
            while True:
                there = asked.poll(LOOK_SECONDS)
                sent |= dict.fromkeys(list(camera.sent_at.items()))
                if there:
                    asked.recv()
                    asked.send(list(sent))


def measure(
    fleet: LiveFleet, size: tuple[int, int], seconds: float, *, codec: str = "h264"
) -> list[float]:
    """Return the latencies of pictures of a size (width, height) over UDP, in seconds."""
    found: list[float] = []
    with Receiver() as receiver, CameraApart(size) as camera:
        config = CameraConfig(
            name="latency", url=camera.url, to=(receiver.url,), codec=codec, max_delay_seconds=5.0
        )
        fleet.put(config)
        try:
            wait_for(lambda: receiver.came, "nothing comes out")
            time.sleep(WARM_SECONDS)
            began = time.monotonic()
            time.sleep(seconds)
            sent = [(number, when) for number, when in camera.sent() if when >= began]
            time.sleep(1.0)
        finally:
            fleet.remove("latency")
        shown = receiver.pictures()
    for number, when in sent:
        later = [end - when for n, end in shown if n == number and 0 <= end - when < MOST_SECONDS]
        found += later[:1]
    return found


def measure_hls(
    fleet: LiveFleet, size: tuple[int, int], seconds: float, *, codec: str = "h264"
) -> list[float]:
    """Return the latencies, in seconds, of pictures with which an HLS player would begin."""
    found: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ScriptedCamera(size=size, rate=RATE, gop=RATE, count=COUNT, draw=numbered) as camera,
    ):
        playlist = Path(folder, "a.m3u8")
        fleet.put(CameraConfig(name="latency", url=camera.url, to=(str(playlist),), codec=codec))
        try:
            wait_for(lambda: len(parts_of(playlist)) > PARTS, "no parts come")
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                now, part = time.monotonic(), parts_of(playlist)[-PARTS]
                late = now - camera.sent_at[first_number(part)]
                found += [late] if late < MOST_SECONDS else []
                time.sleep(0.5)
        finally:
            fleet.remove("latency")
    return found


def parts_of(playlist: Path) -> list[Path]:
    """Return the parts that a playlist names, the oldest first."""
    lines = playlist.read_text().splitlines() if playlist.exists() else []
    return [playlist.parent / line for line in lines if line and not line.startswith("#")]


def first_number(part: Path) -> int:
    """Return the number in the first picture of a part."""
    # The format is named, because FFmpeg does not recognise MPEG-TS from a few packets.
    with av.open(str(part), format="mpegts") as container:
        return number_in(next(container.decode(video=0)).to_ndarray(format="gray"))
