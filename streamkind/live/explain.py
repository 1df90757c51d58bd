"""Explains in one line why a camera could not be opened or read."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import Any
from urllib.parse import urlsplit

import av
from av.error import (
    HTTPClientError,
    HTTPError,
    HTTPForbiddenError,
    HTTPNotFoundError,
    HTTPUnauthorizedError,
)

from streamkind.errors import InputError
from streamkind.live.config import PORTS
from streamkind.live.connect import is_file
from streamkind.live.secrets import ENCODE, is_unclear, redact

PROBE_SECONDS = 3.0
"""Longest wait for the answer of a camera that is asked for its kind of login."""
UNABLE = re.compile(r"digest\b.*algorithm\s*=\s*\"?(sha-\d+(?:-\d+)?)", re.IGNORECASE)
"""Pattern of a Digest algorithm that FFmpeg does not have."""


class RefusedError(InputError):
    """The camera asks for another user or password, or forbids the stream."""


class SilentError(InputError):
    """No data came within the camera's timeout."""


def explain(exc: Exception, url: str, timeout_seconds: float, seconds: float = 0.0) -> InputError:
    """Return an error that explains a failure after `seconds`. It may contact the camera.

    `url` is resolved.
    """
    where = redact(url)
    if isinstance(exc, HTTPForbiddenError):
        return RefusedError(
            f"{where}: the camera forbids this stream (403); allow it for this user, or correct"
            " the path"
        )
    if isinstance(exc, HTTPUnauthorizedError):
        return RefusedError(f"{where}: {_why_unauthorized(url)}")
    if isinstance(exc, HTTPNotFoundError):
        return InputError(f"{where}: the camera has no such stream (404); correct the path")
    if isinstance(exc, (HTTPClientError, HTTPError)):
        return InputError(
            f"{where}: the camera answers with an error ({exc.strerror}); check the path, and"
            " whether too many viewers are connected to it"
        )
    if isinstance(exc, av.error.ExitError) or (
        isinstance(exc, av.error.InvalidDataError) and seconds >= timeout_seconds
    ):
        return nothing_came(where, timeout_seconds)
    if isinstance(exc, av.error.InvalidDataError) and url.startswith("rtsp"):
        return InputError(
            f"{where}: the answer is not that of an RTSP camera; check the port and the path"
        )
    reason = redact(getattr(exc, "strerror", None) or str(exc))
    if isinstance(exc, av.error.ProtocolNotFoundError) or reason == "Protocol not supported":
        return InputError(
            f"{where}: the camera does not take this transport; set transport = 'auto', 'tcp',"
            " 'udp', 'udp_multicast' or 'http'"
        )
    if is_file(url):
        return InputError(f"{where}: {reason}; check its name and the rights to read it")
    if is_unclear(url):
        return InputError(f"{where}: {reason}; {ENCODE}")
    if host := _unknown_host(url):
        return InputError(f"{where}: unknown host {host!r}; check the name, or write its address")
    return InputError(f"{where}: {reason}; check its address, power and network")


def check_video(container: Any, where: str) -> None:
    """Raise InputError if a camera sends no video that can be decoded. `where` is its URL."""
    videos = container.streams.video
    if not videos:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise InputError(
            f"{where}: the camera sends no video, only {kinds}; correct the path, or switch its"
            " video on"
        )
    if videos[0].codec_context is None:
        raise InputError(
            f"{where}: the camera's video has a codec without a decoder here; set it to H.264 or"
            " H.265"
        )


def nothing_came(where: str, timeout_seconds: float) -> SilentError:
    """Return the error for a camera that sends nothing. `where` is its URL without password."""
    return SilentError(
        f"{where}: no data came for {timeout_seconds:g} s; check whether the camera is frozen"
    )


def _why_unauthorized(url: str) -> str:
    if urlsplit(url).scheme == "rtsp" and (algorithm := _digest_of(url)):
        return (
            f"the camera wants Digest {algorithm}, which FFmpeg does not know; set its RTSP"
            " authentication to Digest (MD5) or Basic"
        )
    return "wrong user or password; correct them in its URL"


def _digest_of(url: str) -> str:
    """Ask a camera for its kind of login; return the algorithm if FFmpeg does not have it."""
    parts = urlsplit(url)
    path = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    with contextlib.suppress(OSError, ValueError):
        address = parts.hostname or "", parts.port or PORTS["rtsp"]
        with socket.create_connection(address, PROBE_SECONDS) as camera:
            camera.sendall(f"DESCRIBE {path} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
            answer = camera.recv(4096).decode(errors="replace")
        asked = re.findall(r"WWW-Authenticate: *(.*)", answer, re.IGNORECASE)
        unable = [found[1] for line in asked if (found := UNABLE.search(line))]
        if unable and len(unable) == len(asked):
            return unable[0].upper()
    return ""


def _unknown_host(url: str) -> str:
    """Return the host of a URL if its name cannot be resolved, else ""."""
    host = ""
    try:
        host = urlsplit(url).hostname or ""
        if host:
            socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return host
    except ValueError:
        pass
    return ""
