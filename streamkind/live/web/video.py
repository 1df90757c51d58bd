"""Live video of a camera over a WebSocket.

The first message is the media type, as JSON text. Binary messages with fragmented MP4 follow.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from streamkind.errors import UsageError
from streamkind.live.status import Fleet
from streamkind.live.viewers import Viewer
from streamkind.live.web.guard import COOKIE, Authenticator

log = logging.getLogger("streamkind.console")

REFUSED, UNKNOWN, BUSY, ENDED = 4401, 4404, 4429, 4410
"""Close codes of the WebSocket: no token; no such camera; too many viewers; the camera has
ended."""


def video_routes(fleet: Fleet, auth: Authenticator) -> APIRouter:
    """Return the route of live video, which docs/live-console.md describes, not OpenAPI."""
    router = APIRouter()

    @router.websocket("/api/cameras/{name}/live")
    async def live(socket: WebSocket, name: str) -> None:
        await socket.accept()
        scheme, _, token = socket.headers.get("authorization", "").partition(" ")
        bearer = token if scheme.lower() == "bearer" else None
        if not await auth.admits(socket, bearer, socket.cookies.get(COOKIE)):
            await socket.close(REFUSED, "no token, or a wrong one")
            return
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        try:
            viewer = fleet.view(name, wake)
        except KeyError:
            await socket.close(UNKNOWN, "no such camera")
            return
        except UsageError as exc:
            await socket.close(BUSY, str(exc)[:100])
            return
        try:
            await watch(socket, viewer, woken)
        finally:
            viewer.leave()

    return router


async def watch(socket: WebSocket, viewer: Viewer, woken: asyncio.Event) -> None:
    """Send the video until one side ends."""
    sending = asyncio.ensure_future(send(socket, viewer, woken))
    try:
        with suppress(WebSocketDisconnect):
            while not sending.done():
                asking = asyncio.ensure_future(socket.receive())
                await asyncio.wait({sending, asking}, return_when=asyncio.FIRST_COMPLETED)
                if asking.done():
                    if asking.result()["type"] == "websocket.disconnect":
                        break
                else:
                    asking.cancel()
    finally:
        sending.cancel()


async def send(socket: WebSocket, viewer: Viewer, woken: asyncio.Event) -> None:
    """Send the video of a viewer. If the network is slow, pictures are dropped."""
    told = False
    while not viewer.closed:
        await woken.wait()
        woken.clear()
        for data in viewer.take():
            if not told:
                told = True
                await socket.send_json({"type": viewer.mime})
            await socket.send_bytes(data)
    await socket.close(ENDED, "the camera has ended")
