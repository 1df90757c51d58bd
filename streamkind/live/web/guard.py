"""Protects the console: tokens, sessions, and limits of requests."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamkind.errors import UsageError
from streamkind.live.config import redact

log = logging.getLogger("streamkind.console")

COOKIE = "streamkind"
"""Name of the session cookie."""
SESSION_SECONDS = 7 * 86400
"""Lifetime of a session cookie, in seconds."""
LEAST_TOKEN = 16
"""Least length of a token, in characters."""
FREE_TRIES, TRY_SECONDS = 5, 60.0
"""Number of wrong tokens within a time, in seconds, that are answered without a pause. The answers
to more wait for `SLOW_SECONDS`."""
SLOW_SECONDS = 1.0
"""Pause before the answer to a wrong token, in seconds."""
WRONG_TOKEN = "wrong token; it is the `token` of [console] in cameras.toml, or that of --token"
"""Answer to a login with a wrong token."""
LOG_SECONDS = 10.0
"""Least time, in seconds, between two log lines about wrong tokens."""
MOST_BYTES = 64 * 1024
"""Largest body of a request, in bytes, unless `most_bytes` of a `Guard` allows more."""
BODY_SECONDS = 10.0
"""Longest time for a body of up to `MOST_BYTES`, in seconds."""
PART_SECONDS = 60.0
"""Longest time from one part of a larger body to the next, in seconds. A radio link may pause."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

bearer_scheme = HTTPBearer(auto_error=False, description="The console's token.")
cookie_scheme = APIKeyCookie(name=COOKIE, auto_error=False, description="Set by POST /api/session.")


def is_loopback(host: str) -> bool:
    """Return whether an address or a name means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_listening(host: str, token: str) -> None:
    """Raise UsageError for an address that needs a token, if there is none."""
    if not token and not is_loopback(host):
        raise UsageError(
            f"console: listening on {host} needs a token; set token = '${{file:PATH}}' in "
            "[console] of cameras.toml, or for `app` --token '${file:PATH}' "
            "(make one with: openssl rand -hex 16); or listen on 127.0.0.1"
        )
    if token and len(token) < LEAST_TOKEN:
        raise UsageError(
            f"console: the token has {len(token)} characters, expected {LEAST_TOKEN} or more; "
            "make one with: openssl rand -hex 16"
        )


class Authenticator:
    """Checks tokens and session cookies. Without a token, everyone is admitted."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        # The key is derived from the token, so that a browser stays logged in after a restart.
        self._key = hashlib.scrypt(self._token, salt=b"streamkind session", n=2**14, r=8, p=1)
        self.wrong = 0
        """Number of wrong tokens so far."""
        self._recent: deque[float] = deque(maxlen=FREE_TRIES)
        self._logged = -LOG_SECONDS

    def is_token(self, token: str) -> bool:
        """Return whether a token is right, compared in constant time."""
        return hmac.compare_digest(token.encode(), self._token)

    def new_session(self) -> str:
        """Return a cookie that is valid for `SESSION_SECONDS`, while the token stays the same."""
        return self._sign(str(int(time.time()) + SESSION_SECONDS))

    def _sign(self, expiry: str) -> str:
        return f"{expiry}.{hmac.new(self._key, expiry.encode(), hashlib.sha256).hexdigest()}"

    def is_session(self, cookie: str) -> bool:
        """Return whether a cookie is valid."""
        expiry = cookie.partition(".")[0]
        if not hmac.compare_digest(cookie.encode(), self._sign(expiry).encode()):
            return False
        return time.time() < int(expiry)

    async def refuse(self, request: HTTPConnection) -> None:
        """Count and log a wrong token. After `FREE_TRIES` of them, wait for `SLOW_SECONDS`."""
        self.wrong += 1
        now = time.monotonic()
        if now - self._logged >= LOG_SECONDS:
            self._logged = now
            host = request.client.host if request.client else "unknown"
            log.warning("console: wrong token from %s, %d since the start", host, self.wrong)
        many = len(self._recent) == FREE_TRIES and now - self._recent[0] < TRY_SECONDS
        self._recent.append(now)
        if many:
            await asyncio.sleep(SLOW_SECONDS)

    async def check(
        self,
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_scheme)],
        cookie: Annotated[str | None, Depends(cookie_scheme)],
    ) -> None:
        """Raise HTTPException unless a request has the token or a session."""
        if not await self.admits(request, bearer.credentials if bearer else None, cookie):
            raise HTTPException(
                401,
                "a token is needed; send 'Authorization: Bearer TOKEN', or log in",
                {"WWW-Authenticate": "Bearer"},
            )

    async def admits(self, request: HTTPConnection, token: str | None, cookie: str | None) -> bool:
        """Return whether the token, or else the cookie of a session, is valid."""
        if not self._token:
            return True
        if token is None:
            return bool(cookie) and self.is_session(cookie or "")
        if self.is_token(token):
            return True
        await self.refuse(request)
        return False


class Guard:
    """Refuses requests of other sites and large bodies, and adds headers for browsers."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        open_to_all: bool,
        most_bytes: Callable[[str, str], int] = lambda method, path: MOST_BYTES,
    ) -> None:
        """`most_bytes` returns the largest body of a request by its method and path."""
        self._app = app
        self._most_bytes = most_bytes
        self._open = open_to_all
        """Whether there is no token. Then a request is refused if its header `Host` has a name of
        another machine, because another site may have set its DNS name to this machine's address
        (DNS rebinding)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "websocket":
            await self._serve_socket(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        send = with_headers(send)
        most = self._most_bytes(scope["method"], scope["path"])
        if refusal := self._refuse(scope["method"], Headers(scope=scope), most):
            await refusal(scope, receive, send)
            return
        try:
            await self._app(scope, limited(receive, most), send)
        except Exception:
            # The app has answered 500. Uvicorn would print the trace, and a URL's password with it.
            log.error("console: %s", redact(traceback.format_exc()))

    async def _serve_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if self._foreign(headers) or is_of_another_site(headers):
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
            return
        try:
            await self._app(scope, receive, send)
        except Exception:
            log.error("console: %s", redact(traceback.format_exc()))

    def _foreign(self, headers: Headers) -> bool:
        return self._open and not is_loopback(host_name(headers.get("host", "")))

    def _refuse(self, method: str, headers: Headers, most: int) -> JSONResponse | None:
        if self._foreign(headers):
            return problem(
                421,
                "without a token the console answers only to the names 127.0.0.1 and localhost;"
                " use one of them, or set a token",
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            return problem(
                413, f"the body is larger than {most} bytes, the limit; send a smaller one"
            )
        if method in ("GET", "HEAD"):
            return None
        if is_of_another_site(headers):
            return problem(403, "a page of another site may not change anything here")
        return None


def is_of_another_site(headers: Headers) -> bool:
    """Return whether a browser sends a request for a page of another site.

    CORS does not prevent WebSockets and requests without a body. Old browsers send only `Origin`.
    """
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")


def problem(code: int, detail: str) -> JSONResponse:
    """Return the answer to a refused request."""
    return JSONResponse({"detail": redact(detail)}, code)


def host_name(host: str) -> str:
    """Return the name in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def limited(receive: Receive, most: int) -> Receive:
    """Limit size and time of a body, because a chunked body does not state its length."""
    left, more, until = most, True, 0.0

    async def read() -> Message:
        nonlocal left, more, until
        if not more:  # the app waits until the client disconnects
            return await receive()
        until = until or time.monotonic() + BODY_SECONDS  # from when the app begins to read
        seconds = until - time.monotonic() if most <= MOST_BYTES else PART_SECONDS
        try:
            message = await asyncio.wait_for(receive(), max(0.0, seconds))
        except TimeoutError:
            raise HTTPException(408, "the body did not arrive in time; send it again") from None
        left -= len(message.get("body", b""))
        more = message.get("more_body", False)
        if left < 0:
            raise HTTPException(
                413, f"the body is larger than {most} bytes, the limit; send a smaller one"
            )
        return message

    return read


def with_headers(send: Send) -> Send:
    """Add headers that forbid browsers other hosts, frames of other pages, and caching."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


def set_session(response: Response, request: Request, cookie: str) -> None:
    """Set the session cookie of a browser; an empty one ends the session."""
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=SESSION_SECONDS if cookie else 0,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
