"""A camera in this process that does what real cameras do wrong: RTSP, written out by hand.

Stamps, keyframes, logins, transports and ends are as the test says, packet by packet.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import av
import numpy as np

RATE = 90_000
"""RTP time stamps a second."""
MOST_BYTES = 1200
"""Of an RTP packet."""


Draw = Callable[[int, int, int], np.ndarray]
"""(number, width, height) -> (H, W, 3) uint8 RGB."""


def dark_ball(number: int, width: int, height: int) -> np.ndarray:
    """A dark picture in which something moves."""
    image = np.full((height, width, 3), 20, np.uint8)
    left = 4 * number % (width - 32)
    image[height // 3 : height // 3 + 32, left : left + 32] = 60
    return image


def coded_pictures(
    count: int, size: tuple[int, int], rate: int, gop: int, draw: Draw = dark_ball
) -> list[list[bytes]]:
    """Encode `count` pictures as H.264; each is a list of its NAL units."""
    context: Any = av.CodecContext.create("libx264", "w")
    context.width, context.height = size
    context.pix_fmt, context.framerate, context.thread_count = "yuv420p", rate, 1
    context.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "g": str(gop),
        "sc_threshold": "0",
        "keyint_min": str(gop),
        "x264-params": "force-cfr=1",
    }
    units = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(draw(number, *size))
        frame.pts = number
        units += [bytes(packet) for packet in context.encode(frame)]
    units += [bytes(packet) for packet in context.encode(None)]
    assert len(units) == count
    return [[n for n in re.split(b"\0\0\0?\1", unit) if n] for unit in units]


class ScriptedCamera:
    """Serves rtsp://127.0.0.1:PORT/1 to all who connect. A context manager."""

    def __init__(
        self,
        *,
        size: tuple[int, int] = (160, 128),
        rate: int = 10,
        gop: int = 10,
        count: int = 60,
        first: int = 0,
        stamp: Callable[[int], float] | None = None,
        burst: int = 0,
        login: str = "",
        code: int = 0,
        transports: tuple[str, ...] = ("tcp", "udp"),
        sound: str = "",
        draw: Draw = dark_ball,
    ) -> None:
        """Play `count` pictures again and again, from `first` on, `burst` of them at once.

        `stamp` gives the seconds of the n-th picture sent, by default n / rate; `login` is
        "Basic", "Digest MD5" or "Digest SHA-256" (of user "user", password "right"); `code`
        answers every DESCRIBE; the transport "silent tcp" is taken, and brings nothing.
        """
        self.size, self.rate = size, rate
        self._pictures = coded_pictures(count, size, rate, gop, draw)
        self._first, self._burst = first, burst
        self.stamp = stamp or (lambda n: n / rate)
        self._login, self._code, self._transports = login, code, transports
        self._sound = sound
        self.frozen = threading.Event()
        """Set: connections stay, and nothing comes."""
        self.sent = 0
        """Pictures, to all."""
        self.sent_at: dict[int, float] = {}
        """When each of the `count` pictures was last sent whole, `time.monotonic`."""
        self.clients = 0
        """Connections so far."""
        self.asked: list[str] = []
        """First lines of all requests."""
        self.set_up: list[str] = []
        """Transports that were asked for."""
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/1"
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    def __enter__(self) -> ScriptedCamera:
        """Return it, already listening."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all connections and threads."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join()

    def hang_up(self) -> None:
        """End all connections."""
        for client in self._sockets:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._stop.is_set():
                client, _ = self._listener.accept()
                self.clients += 1
                self._sockets.append(client)
                thread = threading.Thread(target=self._serve, args=(client,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        gone = threading.Event()
        player: threading.Thread | None = None
        peer: Any = None
        waiting = b""
        with contextlib.suppress(OSError), client:
            while not self._stop.is_set():
                data = client.recv(65536)
                if not data:
                    break
                waiting += data
                while b"\r\n\r\n" in waiting:
                    head, _, waiting = waiting.partition(b"\r\n\r\n")
                    request = head[max(0, head.rfind(b"rtsp://") - 20) :].decode(errors="replace")
                    method, answer, found = self._answer(head.decode(errors="replace"))
                    self.asked.append(request.splitlines()[0])
                    peer = found or peer
                    client.sendall(answer)
                    if method == "PLAY" and player is None:
                        player = threading.Thread(target=self._play, args=(client, peer, gone))
                        player.start()
        gone.set()
        if player is not None:
            player.join()

    def _answer(self, head: str) -> tuple[str, bytes, Any]:
        found = re.search(r"(OPTIONS|DESCRIBE|SETUP|PLAY|TEARDOWN|GET_PARAMETER) \S+ RTSP", head)
        method = found[1] if found else ""
        number = re.search(r"CSeq: *(\d+)", head)
        lines, body, code, peer = [f"CSeq: {number[1] if number else 0}"], "", 200, None
        if method == "OPTIONS":
            lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif self._code and method == "DESCRIBE":
            code = self._code
        elif self._login and not self._knows(head):
            code = 401
            kind, _, algorithm = self._login.partition(" ")
            asks = f'WWW-Authenticate: {kind} realm="camera"'
            lines.append(asks + (f', nonce="1234", algorithm={algorithm}' if algorithm else ""))
        elif method == "DESCRIBE":
            body = self._sdp()
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            code, peer = self._set_up(head, lines)
        lines.append("Session: 1;timeout=60")
        told = {200: "OK", 401: "Unauthorized", 461: "Unsupported Transport"}.get(code, "Refused")
        text = "\r\n".join([f"RTSP/1.0 {code} {told}", *lines, "", body])
        return method, text.encode(), peer

    def _knows(self, head: str) -> bool:
        if self._login == "Basic":
            return base64.b64encode(b"user:right").decode() in head
        found = re.search(r'(\w+) \S+ RTSP.*uri="([^"]*)".*response="([^"]*)"', head, re.DOTALL)
        if self._login != "Digest MD5" or not found:
            return False
        right = md5(f"{md5('user:camera:right')}:1234:{md5(f'{found[1]}:{found[2]}')}")
        return found[3] == right

    def _set_up(self, head: str, lines: list[str]) -> tuple[int, Any]:
        wanted = re.search(r"Transport: *(.*)", head)
        text = wanted[1].strip() if wanted else ""
        channel = re.search(r"interleaved=(\d+)-(\d+)", text)
        ports = re.search(r"client_port=(\d+)-(\d+)", text)
        self.set_up.append(text)
        if channel and {"tcp", "silent tcp"} & set(self._transports):
            lines.append(f"Transport: {text}")
            return 200, ("tcp" if channel[1] == "0" else None)
        if "multicast" in text and "udp_multicast" in self._transports:
            group, port = f"239.255.77.{self.port % 250 + 1}", self.port & ~1
            lines.append(f"Transport: {text};destination={group};port={port}-{port + 1};ttl=1")
            return 200, (group, port)
        if ports and "udp" in self._transports:
            lines.append(f"Transport: {text};server_port=6970-6971")
            return 200, ("127.0.0.1", int(ports[1]))
        return 461, None

    def _sdp(self) -> str:
        sets = [n for n in self._pictures[0] if n[0] & 31 in (7, 8)]
        sprop = ",".join(base64.b64encode(n).decode() for n in sets)
        lines = [
            "v=0",
            "o=- 0 0 IN IP4 127.0.0.1",
            "s=camera",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "m=video 0 RTP/AVP 96",
            "a=rtpmap:96 H264/90000",
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sprop}",
            "a=control:video",
        ]
        if self._sound:
            lines += ["m=audio 0 RTP/AVP 97", f"a=rtpmap:97 {self._sound}", "a=control:audio"]
        return "\r\n".join([*lines, ""])

    def _play(self, client: socket.socket, peer: Any, gone: threading.Event) -> None:
        sequence, began = 0, time.monotonic()
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError), udp:
            number = 0
            while not gone.is_set() and not self._stop.is_set():
                due = began + max(0, number - self._burst) / self.rate
                if gone.wait(max(0.0, due - time.monotonic())):
                    return
                if self.frozen.is_set() or (peer == "tcp" and "tcp" not in self._transports):
                    gone.wait(0.02)
                    continue
                units = self._pictures[(self._first + number) % len(self._pictures)]
                stamp = round(self.stamp(number) * RATE) % 2**32
                for packet in rtp_packets(units, stamp):
                    whole = packet[:2] + struct.pack(">H", sequence % 65536) + packet[4:]
                    sequence += 1
                    if peer == "tcp":
                        client.sendall(b"$\0" + struct.pack(">H", len(whole)) + whole)
                    else:
                        udp.sendto(whole, peer)
                self.sent_at[(self._first + number) % len(self._pictures)] = time.monotonic()
                number += 1
                self.sent += 1


def md5(text: str) -> str:
    """As RFC 2069 wants it."""
    return hashlib.md5(text.encode()).hexdigest()


def rtp_packets(units: list[bytes], stamp: int) -> list[bytes]:
    """Cut a picture into RTP packets of H.264, sequence numbers left 0."""
    payloads = []
    for unit in units:
        if len(unit) <= MOST_BYTES:
            payloads.append(unit)
            continue
        parts = [unit[i : i + MOST_BYTES] for i in range(1, len(unit), MOST_BYTES)]
        for i, part in enumerate(parts):
            ends = (0x80 if i == 0 else 0) | (0x40 if i == len(parts) - 1 else 0)
            payloads.append(bytes([unit[0] & 0xE0 | 28, ends | unit[0] & 31]) + part)
    last = len(payloads) - 1
    return [
        struct.pack(">BBHII", 0x80, (0x80 if i == last else 0) | 96, 0, stamp, 1) + payload
        for i, payload in enumerate(payloads)
    ]
