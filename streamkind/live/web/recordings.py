"""The part of the API that lists recordings by camera and time, and sends them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Path, Query, Response
from fastapi.responses import FileResponse, StreamingResponse

from streamkind.live.config import CameraConfig
from streamkind.live.recordings import find_recording, is_written, recordings_of, span_of
from streamkind.live.status import Fleet
from streamkind.live.web.schemas import Problem, RecordingsAnswer

MOST_LISTED = 2000
"""Largest number of recordings in an answer; the newest are listed. With ten minutes each, they
are those of two weeks."""
KINDS = {".mkv": "video/x-matroska", ".mp4": "video/mp4"}
"""Media types of recordings, by the ending of the file."""
CHUNK = 1 << 18
"""Bytes of a recording that are read at once."""
File = Annotated[str, Path(pattern=r"^[0-9A-Za-z.-]{1,64}$", description="The file's name.")]
UnixTime = Annotated[float, Query(ge=0, description="Unix time, seconds.", allow_inf_nan=False)]
MISSING: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "No camera or recording of that name"},
    422: {"model": Problem, "description": "What was wrong, and what was expected"},
}
VIDEO: dict[int | str, dict[str, Any]] = {
    **MISSING,
    200: {"content": {kind: {} for kind in KINDS.values()}, "description": "The whole file"},
    206: {"description": "The bytes that Range asks for"},
    400: {"description": "Range is not a valid range of bytes"},
    416: {"description": "Range begins after the end of the file"},
}
END_OF_TIME = 2.0**40
"""A time in Unix seconds that is later than that of any recording."""


class RecordingsOf:
    """The operations of the API on recordings."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def list(
        self, name: str, since: UnixTime = 0.0, until: UnixTime = END_OF_TIME
    ) -> RecordingsAnswer:
        """List the recordings that begin from `since` on and before `until`."""
        config = self._config(name)
        found = recordings_of(config, time.time(), since=since, until=until)
        listed = found[-MOST_LISTED:]
        return RecordingsAnswer(span_of(config), listed, config.side_by_side)

    def get(self, name: str, file: File, range: Annotated[str, Header()] = "") -> Response:
        """Return a recording, or the bytes of Range. An unfinished one is sent as far as it is."""
        path = find_recording(self._config(name), file)
        try:
            told = path.stat() if path else None
        except FileNotFoundError:  # it was deleted meanwhile, to keep the limits
            told = None
        if path is None or told is None:
            raise HTTPException(
                404, f"no recording '{file}'; GET /api/cameras/{name}/recordings lists them"
            )
        kind = KINDS[path.suffix]
        if range or not is_written(told.st_mtime, time.time()):
            return FileResponse(path, media_type=kind, stat_result=told)
        # When the file grows, FileResponse would send more bytes than its Content-Length.
        headers = {"Content-Length": str(told.st_size), "Accept-Ranges": "bytes"}
        return StreamingResponse(beginning(path, told.st_size), media_type=kind, headers=headers)

    def _config(self, name: str) -> CameraConfig:
        try:
            return self._fleet.configs()[name]
        except KeyError:
            raise HTTPException(404, f"no camera '{name}'; GET /api/cameras lists them") from None


def beginning(path: FilePath, size: int) -> Iterator[bytes]:
    """Yield the first `size` bytes of a file."""
    with path.open("rb") as file:
        while size and (chunk := file.read(min(CHUNK, size))):
            size -= len(chunk)
            yield chunk


def recording_routes(fleet: Fleet) -> APIRouter:
    """Return the routes of the recordings, for a router that checks the token."""
    recordings = RecordingsOf(fleet)
    all_of_one = "/api/cameras/{name}/recordings"
    router = APIRouter(tags=["recordings"])
    router.add_api_route(all_of_one, recordings.list, responses=MISSING, summary="Recordings")
    router.add_api_route(
        all_of_one + "/{file}",
        recordings.get,
        responses=VIDEO,
        response_class=Response,
        summary="One recording",
    )
    return router
