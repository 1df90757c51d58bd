"""The API of the queue and of presets."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from streamkind.app.entries import QueueEntry, as_answer
from streamkind.app.file_routes import JPEG, VIDEO, WRONG, video
from streamkind.app.library import Library, UnknownPlaceError
from streamkind.app.queue import Queue
from streamkind.app.settings import KeptSettings, PresetName, Presets, Settings
from streamkind.errors import OutputError
from streamkind.live.config import STRICT
from streamkind.live.web.schemas import Problem
from streamkind.platform import show_in_folder

Id = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="Of an entry of the queue.")]
NOT_JSON: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is not JSON"}
}
NO_PICTURE: dict[int | str, dict[str, Any]] = {204: {"description": "No frame yet"}}


class NewJob(BaseModel):
    """A file to enhance."""

    model_config = STRICT

    path: str = Field(max_length=4096)
    """Its place, as GET /api/files names it."""
    settings: Settings


class JobChange(BaseModel):
    """A change of an entry. Fields that are missing stay as they are."""

    model_config = STRICT

    state: Literal["waiting", "paused"] | None = None
    """paused: stop, and keep the finished parts; waiting: run when its turn comes."""
    place: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Place in the queue, 0 for the first."""


class ProgressAnswer(BaseModel):
    """The progress of an entry."""

    frames: int
    surveyed: int
    """Number of frames that the first pass has read."""
    total: int
    fps: float
    left_seconds: float | None


class JobAnswer(BaseModel):
    """An entry of the queue."""

    id: str
    name: str
    place: str
    output: str
    """Name of the result."""
    settings: Settings
    state: Literal["waiting", "running", "paused", "done", "failed"]
    seconds: float
    warnings: list[str]
    error: str
    progress: ProgressAnswer


class QueueAnswer(BaseModel):
    """The queue at one moment."""

    folder: str
    """Folder of the results."""
    free_bytes: int
    """Free bytes on the disk of this folder."""
    jobs: list[JobAnswer]


class Jobs:
    """The answers to requests about the queue."""

    def __init__(self, queue: Queue, library: Library, presets: Presets) -> None:
        self._queue, self._library, self._presets = queue, library, presets

    def list(self) -> QueueAnswer:
        """Return all entries in order."""
        out = self._queue.out
        jobs = [answer(entry) for entry in self._queue.list()]
        try:
            free = shutil.disk_usage(out).free
        except OSError:  # its disk was removed
            free = 0
        return QueueAnswer(folder=str(out), free_bytes=free, jobs=jobs)

    def add(self, new: NewJob) -> JobAnswer:
        """Add a file at the end of the queue. Its settings are stored as the last ones."""
        entry = self._queue.add(self._library.file(new.path), new.path, new.settings)
        self._presets.use(new.settings)
        return answer(entry)

    def change(self, id: Id, change: JobChange) -> JobAnswer:
        """Pause, continue or move an entry."""
        with known(id):
            entry = self._queue.get(id)
            if change.state is not None:
                self._queue.set_state(id, change.state)
            if change.place is not None:
                self._queue.move(id, change.place)
        return answer(entry)

    def remove(self, id: Id) -> None:
        """Remove an entry. If it is not finished, delete its files; a finished result stays."""
        with known(id):
            self._queue.remove(id)

    def now(self, id: Id) -> Response:
        """Return the present frame before (left half) and after (right half)."""
        self._find(id)
        try:
            return Response(self._queue.picture(id).read_bytes(), media_type="image/jpeg")
        except OSError:
            return Response(status_code=204)

    def result(
        self, id: Id, save: Annotated[bool, Query(description="Save it, not play it.")] = False
    ) -> FileResponse:
        """Return the result, to play or save it. Range is supported."""
        path = self._result(id)
        return video(path, name=path.name if save else None)

    def original(self, id: Id) -> FileResponse:
        """Return the original file, to play it."""
        return video(self._library.again(FilePath(self._find(id).input)))

    def show(self, id: Id) -> None:
        """Open the folder of the result in the file manager of this machine."""
        path = self._result(id)
        try:
            show_in_folder(path)
        except OSError as exc:
            raise OutputError(
                f"no file manager can be opened here ({exc}); the result is {path}"
            ) from exc

    def _find(self, id: str) -> QueueEntry:
        with known(id):
            entry = self._queue.get(id)
        return entry

    def _result(self, id: str) -> FilePath:
        entry = self._find(id)
        path = FilePath(entry.output)
        if entry.state != "done" or not path.is_file():
            raise UnknownPlaceError(
                f"{entry.name}: has no result; wait until it is done, or add the file again"
            )
        return path


@contextlib.contextmanager
def known(id: str) -> Iterator[None]:
    """Answer 404 if an entry does not exist, or is removed by another request meanwhile."""
    try:
        yield
    except KeyError:
        raise HTTPException(404, f"no entry {id}; GET /api/jobs lists them") from None


def answer(entry: QueueEntry) -> JobAnswer:
    """Return the description of an entry."""
    return JobAnswer.model_validate(as_answer(entry))


def job_routes(jobs: Jobs) -> APIRouter:
    """Return the routes of the queue."""
    router = APIRouter(tags=["queue"], responses=WRONG)
    add, one = router.add_api_route, "/api/jobs/{id}"
    add("/api/jobs", jobs.list, summary="The queue")
    add(
        "/api/jobs",
        jobs.add,
        methods=["POST"],
        status_code=201,
        responses=NOT_JSON,
        summary="Add a file",
    )
    add(one, jobs.change, methods=["PATCH"], responses=NOT_JSON, summary="Pause, continue, move")
    add(one, jobs.remove, methods=["DELETE"], status_code=204, summary="Remove")
    picture: dict[str, Any] = {"response_class": Response, "responses": JPEG | NO_PICTURE}
    add(f"{one}/now.jpg", jobs.now, summary="The present frame", **picture)
    played: dict[str, Any] = {"response_class": Response, "responses": VIDEO}
    add(f"{one}/result", jobs.result, summary="The result", **played)
    add(f"{one}/original", jobs.original, summary="The original file", **played)
    add(
        f"{one}/show",
        jobs.show,
        methods=["POST"],
        status_code=204,
        summary="Open the folder of the result",
    )
    return router


def preset_routes(presets: Presets) -> APIRouter:
    """Return the routes of presets."""
    router = APIRouter(tags=["presets"], responses=WRONG)

    @router.get("/api/presets", summary="Presets, and the last settings")
    def get() -> KeptSettings:
        """Return the presets and the last settings."""
        return presets.get()

    @router.put("/api/presets/{name}", status_code=204, responses=NOT_JSON, summary="Store")
    def put(name: PresetName, settings: Settings) -> None:
        """Store settings under a name."""
        presets.put(name, settings)

    @router.delete("/api/presets/{name}", status_code=204, summary="Delete")
    def delete(name: PresetName) -> None:
        """Delete a preset."""
        try:
            presets.delete(name)
        except KeyError:
            raise HTTPException(404, f"no preset {name!r}; GET /api/presets lists them") from None

    return router
