"""Runs the console in a thread within a `with` block."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from streamkind.errors import OutputError, UsageError
from streamkind.live.config import ConsoleConfig, resolve
from streamkind.live.status import Fleet
from streamkind.live.web.app import build_app
from streamkind.live.web.guard import Guard, check_listening

START_SECONDS = 10.0
"""Time limit of the start of the server, in seconds."""
FIRST_SECONDS = 10.0
"""Longest time from the begin of a connection to the end of its first headers, in seconds."""
STOP_SECONDS = 1
"""Time that open requests have to finish at the end, in seconds."""


@contextmanager
def serve_console(fleet: Fleet, config: ConsoleConfig) -> Iterator[str]:
    """Serve page, API, health and metrics of a fleet in a `with` block. Yields the console's URL.

    With port 0 the system chooses one. Raises UsageError for an address that needs a token, or that
    cannot be used.
    """
    token = resolve(config.token)
    check_listening(config.host, token)
    with serve(Guard(build_app(fleet, token), open_to_all=not token), config) as url:
        yield url


@contextmanager
def serve(guard: Guard, config: ConsoleConfig) -> Iterator[str]:
    """Serve an application in a thread within a `with` block. Yields its URL. Raises UsageError."""
    with closing(listen(config)) as listening:
        server = uvicorn.Server(settings(guard))
        thread = threading.Thread(
            target=server.run, args=([listening],), name="streamkind-console", daemon=True
        )
        thread.start()
        try:
            wait_for(server, thread)
            host, port = listening.getsockname()[:2]
            yield f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
        finally:
            server.should_exit = True
            thread.join(STOP_SECONDS + 2)


class PromptConnection(H11Protocol):
    """A connection, which is closed if no request comes.

    uvicorn would keep it, also for a client that has gone, and count it as one of its connections.
    """

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.loop.call_later(FIRST_SECONDS, self._check_request)

    def _check_request(self) -> None:
        if not self.scope:
            self.transport.close()


def settings(guard: Guard) -> uvicorn.Config:
    """Return the settings of uvicorn: no log, no proxy headers, at most 200 connections.

    uvicorn logs nothing, because the guard logs errors, and because requests that are cut off at
    the end are not errors.
    """
    return uvicorn.Config(
        guard,
        http=PromptConnection,
        ws="websockets-sansio",
        ws_max_size=1024,  # viewers send nothing
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=200,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=STOP_SECONDS,
        h11_max_incomplete_event_size=16 * 1024,
    )


def listen(config: ConsoleConfig) -> socket.socket:
    """Open the socket. Raises UsageError at once if the port is in use."""
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        return socket.create_server(address, family=family, backlog=128)
    except (OSError, UnicodeError) as exc:  # UnicodeError: two dots in a row
        reason = getattr(exc, "strerror", None) or exc
        raise UsageError(
            f"console: cannot listen on {config.host}:{config.port} ({reason}); "
            "choose another host or port: in [console] of cameras.toml, or for `app` by --port"
        ) from exc


def wait_for(server: uvicorn.Server, thread: threading.Thread) -> None:
    """Return when the server answers."""
    end = time.monotonic() + START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > end:
            raise OutputError(
                "console: the server did not start; choose another port, by `port` in [console] or"
                " by --port"
            )
        time.sleep(0.01)
