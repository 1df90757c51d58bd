"""The API of files: lists, facts, uploads, previews and expected times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path as FilePath
from threading import Event
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.requests import ClientDisconnect

from streamkind.app.estimate import Estimate, Estimates
from streamkind.app.facts import Facts, FactsCache
from streamkind.app.library import UPLOADS, Library, Listed, Listing
from streamkind.app.preview import FilePreviews, PreviewRequest
from streamkind.app.settings import ProfileChoice, Settings
from streamkind.app.uploads import receive
from streamkind.errors import UsageError
from streamkind.light.exposure import DEFAULT_TARGET
from streamkind.live.config import Manual, Target
from streamkind.live.web.schemas import Problem

Answer = TypeVar("Answer")
Place = Annotated[
    str, Query(alias="path", max_length=4096, description="A place, as GET /api/files names it.")
]
FileName = Annotated[str, Path(max_length=255, description="Name of the file, without a folder.")]
RatioQuery = Annotated[Manual | Literal["auto"], Query()]
WRONG: dict[int | str, dict[str, Any]] = {
    403: {"model": Problem, "description": "The request is from a page of another site"},
    404: {"model": Problem, "description": "It does not exist, or is not shown"},
    422: {"model": Problem, "description": "What was wrong, and what was expected"},
}
UPLOADED: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body was cut off"},
    408: {"model": Problem, "description": "The body did not arrive in time"},
    413: {"model": Problem, "description": "The file is too large"},
    507: {"model": Problem, "description": "The disk is full"},
}
JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "description": "A picture"}
}
VIDEO: dict[int | str, dict[str, Any]] = {
    200: {"content": {"video/*": {}}, "description": "The whole file"},
    206: {"content": {"video/*": {}}, "description": "The bytes that Range asks for"},
    400: {"description": "Range is not a valid range of bytes"},
    416: {"description": "Range begins after the end of the file"},
}
BODY = {"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}}
TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm"}
"""Media types by the ending of a file. For other files, browsers detect the type themselves."""
LOOK_SECONDS = 0.5
"""Interval, in seconds, at which it is checked whether a browser still waits."""


class Files:
    """The answers to requests about files."""

    def __init__(
        self,
        library: Library,
        previews: FilePreviews,
        estimates: Estimates,
        needed: Callable[[FilePath], bool],
    ) -> None:
        """Answer from these parts. `needed` returns whether the queue still needs a file."""
        self._library, self._previews, self._needed = library, previews, needed
        self._facts, self._estimates = FactsCache(), estimates

    def list(self, place: Place = "") -> Listing:
        """List a folder; without a path, the folders that the command was started with."""
        self._previews.warm()
        return self._library.list(place)

    def facts(self, place: Place) -> Facts:
        """Return length, size and mean luma of a video."""
        return self._facts.get(self._library.file(place)).facts

    def thumbnail(self, place: Place) -> Response:
        """Return a thumbnail of a video."""
        look = self._facts.get(self._library.file(place))
        kept = {"Cache-Control": "private, max-age=60"}
        return Response(look.thumbnail, media_type="image/jpeg", headers=kept)

    def content(self, place: Place) -> Response:
        """Return the original video, to play it. Range is supported."""
        return video(self._library.file(place))

    async def upload(self, name: FileName, request: Request) -> Listed:
        """Upload a file, which is the body. If the name exists, the new file gets a number."""
        length = int(request.headers.get("content-length", "0"))
        try:
            path = await receive(self._library.uploads, name, request.stream(), length)
        except ClientDisconnect as exc:
            raise HTTPException(400, "the body was cut off; send it again") from exc
        told = path.stat()
        return Listed(f"{UPLOADS}/{path.name}", path.name, told.st_size, told.st_mtime)

    def delete(self, name: FileName) -> None:
        """Delete a file that was uploaded, unless the queue still needs it."""
        path = self._library.file(f"{UPLOADS}/{name}")
        if self._needed(path):
            raise UsageError(
                f"{name}: the queue still needs this file; remove its entry from the queue first"
            )
        path.unlink()

    async def preview(
        self,
        request: Request,
        place: Place,
        at: Annotated[float, Query(ge=0, le=1e6, description="Seconds.")] = 0.0,
        profile: ProfileChoice = "realtime",
        ratio: RatioQuery = "auto",
        target: Annotated[Target, Query()] = DEFAULT_TARGET,
        width: Annotated[int, Query(ge=16, le=8192, description="Of one picture.")] = 960,
        fine: Annotated[bool, Query(description="Use the profile; else use realtime.")] = False,
    ) -> Response:
        """Return a frame before (left half) and after (right half). X-Ratio is its ratio."""
        path = self._library.file(place)
        wanted = PreviewRequest(path, at, profile, ratio, target, width)
        gone = Event()
        picture = await finished(request, self._previews.show(wanted, fine=fine, gone=gone), gone)
        told = {"X-Ratio": f"{picture.ratio:.4g}"}
        return Response(picture.jpeg, media_type="image/jpeg", headers=told)

    async def estimate(
        self,
        request: Request,
        place: Place,
        profile: ProfileChoice = "balanced",
        codec: Literal["h264", "hevc", "av1"] = "h264",
        ratio: RatioQuery = "auto",
    ) -> Estimate:
        """Estimate how long the whole file will take, by enhancing some frames (some seconds)."""
        path = self._library.file(place)
        settings = Settings(profile=profile, codec=codec, ratio=ratio)
        look = await asyncio.to_thread(self._facts.get, path)
        gone = Event()
        task = self._previews.run(self._estimates.get, path, look.facts, settings, gone)
        return await finished(request, task, gone)


def video(path: FilePath, *, name: str | None = None) -> FileResponse:
    """Return a video to play, or with `name` a video to save under that name."""
    kind = TYPES.get(path.suffix.lower(), "application/octet-stream")
    kept = {"Cache-Control": "private, no-cache"}
    return FileResponse(path, media_type=kind, filename=name, headers=kept)


async def finished(request: Request, task: Future[Answer], gone: Event) -> Answer:
    """Wait for a task. If the browser disconnects, cancel the task, and set `gone` to stop it."""
    waiting = asyncio.wrap_future(task)
    try:
        while not (await asyncio.wait([waiting], timeout=LOOK_SECONDS))[0]:
            if await request.is_disconnected():
                raise HTTPException(408, "nobody waits for the answer")
        return waiting.result()
    finally:
        gone.set()
        waiting.cancel()


def file_routes(files: Files) -> APIRouter:
    """Return the routes of files."""
    router = APIRouter(tags=["files"], responses=WRONG)
    add = router.add_api_route
    add("/api/files", files.list, summary="A folder")
    add("/api/files/facts", files.facts, summary="One video")
    add(
        "/api/files/thumbnail.jpg",
        files.thumbnail,
        responses=JPEG,
        response_class=Response,
        summary="A small picture",
    )
    add(
        "/api/files/content",
        files.content,
        responses=VIDEO,
        response_class=Response,
        summary="The video itself",
    )
    add(
        "/api/files/preview.jpg",
        files.preview,
        responses=JPEG,
        response_class=Response,
        summary="Before and after",
    )
    add("/api/files/estimate", files.estimate, summary="Expected time")
    add(
        "/api/uploads/{name}",
        files.upload,
        methods=["PUT"],
        status_code=201,
        responses=UPLOADED,
        openapi_extra=BODY,
        summary="Add a file",
    )
    add(
        "/api/uploads/{name}",
        files.delete,
        methods=["DELETE"],
        status_code=204,
        summary="Delete an added file",
    )
    return router
