"""A simulated RTSP camera in this process, with the faults of real cameras.

The test sets its time stamps, keyframes, logins, transports and disconnections.
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loopback.rtp import (
    RATE,
    Draw,
    coded_pictures,
    dark_ball,
    interleaved,
    rtp_packets,
    sender_report,
    silence,
)


@dataclass(frozen=True)
class Script:
    """The faults of a camera; by default none. Sound and RTCP reports are sent over TCP only."""

    headers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Additional header lines of the response to a method."""
    sdp: Callable[[str], str] = lambda text: text
    """Changes the text of the SDP, the response to DESCRIBE."""
    sees: Callable[[int], bool] = lambda number: True
    """Whether the n-th picture is sent."""
    hears: Callable[[int], bool] = lambda number: True
    """Whether sound is sent with the n-th picture, if the camera has sound. It is silence."""
    reports: Callable[[int], float | None] = lambda number: None
    """Sender's clock, in seconds, that is reported before the n-th picture. None: no report."""
    keep_alive_seconds: float = 0.0
    """Session timeout that the camera states, in seconds. It ends the connection of a player that
    sends nothing for ten times as long. 0: it states 60 s, and does not end the connection."""
    late_seconds: Mapping[str, float] = field(default_factory=dict)
    """Delay of the response to a method, in seconds."""
    nonces: Callable[[int], str] = lambda number: "1234"
    """Nonce in the n-th response 401, counted from 0. After it, only this nonce is accepted."""


class ScriptedCamera:
    """Serves rtsp://127.0.0.1:PORT/1 to all clients. A context manager."""

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
        pictures: list[list[bytes]] | None = None,
        script: Script = Script(),
    ) -> None:
        """Play `count` pictures in a loop, from picture `first` on.

        Pictures are sent at `rate` per second, `burst` pictures ahead of their time. `stamp`
        returns the RTP time of the n-th picture in seconds, by default n / rate. `login` is
        "Basic", "Digest MD5" or "Digest SHA-256". The user is "user" and the password "right", but
        no response to "Digest SHA-256" is accepted. `code` is the status of every response to
        DESCRIBE; 0: the usual one. The transport "silent tcp" is accepted, but nothing is sent.
        `sound` is the codec of the sound in the SDP, such as "PCMU/8000". `pictures` are the NAL
        units of each picture, used instead of those that `draw` draws.
        """
        self.size, self.rate, self.script = size, rate, script
        self._pictures = pictures or coded_pictures(count, size, rate, gop, draw)
        self._nonce, self._nonces = "", 0
        self._first, self._burst = first, burst
        self.stamp = stamp or (lambda n: n / rate)
        self._login, self._code, self._transports = login, code, transports
        self._sound = sound
        self.frozen = threading.Event()
        """While it is set, connections stay open, but nothing is sent."""
        self.sent = 0
        """Number of pictures sent, to all clients together."""
        self.sent_at: dict[int, float] = {}
        """Time (`time.monotonic`) when each of the `count` pictures was last sent, by number."""
        self.clients = 0
        """Number of connections so far."""
        self.asked: list[str] = []
        """First lines of all requests."""
        self.set_up: list[str] = []
        """Values of the header Transport of all requests."""
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/1"
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    def __enter__(self) -> ScriptedCamera:
        """Return the camera, which already listens."""
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
        """Close all connections."""
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
                if player is not None and self.script.keep_alive_seconds:
                    client.settimeout(10 * self.script.keep_alive_seconds)
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
                    self._stop.wait(self.script.late_seconds.get(method, 0.0))
                    client.sendall(answer)
                    if method == "PLAY" and player is None:
                        player = threading.Thread(target=self._play, args=(client, peer, gone))
                        player.start()
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
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
            lines.append(self._login_wanted("response=" in head))
        elif method == "DESCRIBE":
            body = self._sdp()
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            code, peer = self._set_up(head, lines)
        lines += self.script.headers.get(method, ())
        lines.append(f"Session: 1;timeout={round(self.script.keep_alive_seconds) or 60}")
        told = {200: "OK", 401: "Unauthorized", 461: "Unsupported Transport"}.get(code, "Refused")
        text = "\r\n".join([f"RTSP/1.0 {code} {told}", *lines, "", body])
        return method, text.encode(), peer

    def _login_wanted(self, answered: bool) -> str:
        kind, _, algorithm = self._login.partition(" ")
        line = f'WWW-Authenticate: {kind} realm="camera"'
        if not algorithm:
            return line
        self._nonce = self.script.nonces(self._nonces)
        self._nonces += 1
        stale = ", stale=true" if answered and self._nonces > 1 else ""
        return f'{line}, nonce="{self._nonce}", algorithm={algorithm}{stale}'

    def _knows(self, head: str) -> bool:
        if self._login == "Basic":
            return base64.b64encode(b"user:right").decode() in head
        found = re.search(r'(\w+) \S+ RTSP.*uri="([^"]*)".*response="([^"]*)"', head, re.DOTALL)
        if self._login != "Digest MD5" or not found:
            return False
        right = md5(f"{md5('user:camera:right')}:{self._nonce}:{md5(f'{found[1]}:{found[2]}')}")
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
        return self.script.sdp("\r\n".join([*lines, ""]))

    def _play(self, client: socket.socket, peer: Any, gone: threading.Event) -> None:
        sequences, began = [0, 0], time.monotonic()
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

        def send(packets: list[bytes], stream: int) -> None:
            for packet in packets:
                whole = packet[:2] + struct.pack(">H", sequences[stream] % 65536) + packet[4:]
                sequences[stream] += 1
                if peer == "tcp":
                    client.sendall(interleaved(2 * stream, whole))
                elif not stream and peer is not None:
                    udp.sendto(whole, peer)

        with contextlib.suppress(OSError), udp:
            number = 0
            while not gone.is_set() and not self._stop.is_set():
                due = began + max(0, number - self._burst) / self.rate
                if gone.wait(max(0.0, due - time.monotonic())):
                    return
                if self.frozen.is_set() or (peer == "tcp" and "tcp" not in self._transports):
                    gone.wait(0.02)
                    continue
                if (clock := self.script.reports(number)) is not None and peer == "tcp":
                    stamp = round(self.stamp(number) * RATE) % 2**32
                    client.sendall(interleaved(1, sender_report(clock, stamp)))
                if self.script.sees(number):
                    self._send_picture(number, send)
                if self._sound and self.script.hears(number):
                    send([silence(number, self.rate)], 1)
                number += 1

    def _send_picture(self, number: int, send: Callable[[list[bytes], int], None]) -> None:
        place = (self._first + number) % len(self._pictures)
        send(rtp_packets(self._pictures[place], round(self.stamp(number) * RATE) % 2**32), 0)
        self.sent_at[place] = time.monotonic()
        self.sent += 1


def md5(text: str) -> str:
    """Return the MD5 digest of a text in hexadecimal, as RFC 2069 needs it."""
    return hashlib.md5(text.encode()).hexdigest()
