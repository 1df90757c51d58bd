"""The application of the page and its API. With cameras, it includes those of the console."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.routing import Route

from streamkind import __version__
from streamkind.app.estimate import Estimates
from streamkind.app.file_routes import Files, file_routes
from streamkind.app.library import Library, UnknownPlaceError
from streamkind.app.preview import FilePreviews
from streamkind.app.queue import Queue
from streamkind.app.queue_routes import Jobs, job_routes, preset_routes
from streamkind.app.settings import CodecChoice, Presets, Settings
from streamkind.app.uploads import MOST_BYTES, NoSpaceError, remove_unfinished
from streamkind.errors import StreamkindError
from streamkind.live.config import ConsoleConfig, redact, resolve
from streamkind.live.status import Fleet
from streamkind.live.web import guard
from streamkind.live.web.app import (
    PAGE,
    REFUSED,
    Cameras,
    add_files,
    camera_routes,
    health_routes,
    page_of,
    session_routes,
    wrong_request,
)
from streamkind.live.web.guard import Authenticator, Guard, check_listening, problem
from streamkind.live.web.server import serve
from streamkind.live.web.video import video_routes
from streamkind.live.web.watch import Watch
from streamkind.platform import config_folder
from streamkind.video.quality import most_crf

OWN_PAGE = Path(__file__).parent / "page"
"""Folder of the page's files."""
UPLOADS_FOLDER = "originals"
"""Name of the folder for dropped files, in the folder of the results."""
SHARED = ("console.css", "icon.svg", "parts.js", "api.html", "api.js")
"""Files of the console's page that this page uses too."""
PRESETS = "app.json"
"""Name of the file of presets, in the user's folder for settings."""
CODES: dict[type[StreamkindError], int] = {UnknownPlaceError: 404, NoSpaceError: 507}
"""HTTP status code of each error. All others have 422."""


@dataclass(frozen=True)
class About:
    """The facts about the command that the page needs."""

    version: str
    cameras: bool
    """Whether the page shows cameras."""
    local: bool
    """Whether only this machine can open the page. Only then it can open a file manager."""
    most_crf: dict[CodecChoice, int]
    """Largest crf of each codec."""


class SiteParts:
    """Library, presets, queue and previews, which are open within a `with` block."""

    def __init__(self, folders: Sequence[Path], out: Path, usual: Settings) -> None:
        """Open all parts. Until the user stores settings, `usual` are used. Raises UsageError."""
        self.library = Library(folders, out / UPLOADS_FOLDER)
        self.presets = Presets(config_folder() / PRESETS, usual)
        self.queue = Queue(out.resolve())  # locks the folder, so that no upload is under way
        remove_unfinished(self.library.uploads)
        self.previews, self.estimates = FilePreviews(), Estimates()

    def __enter__(self) -> SiteParts:
        """Return the parts, which are open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the work; what is done is kept."""
        self.previews.close()
        self.estimates.close()
        self.queue.close()


def build_app(parts: SiteParts, token: str, *, local: bool, fleet: Fleet | None = None) -> FastAPI:
    """Return the application; an empty token lets everyone in."""
    app = FastAPI(
        title="streamkind",
        version=__version__,
        description="Files and cameras: their state, settings, previews and results.",
        docs_url=None,
        redoc_url=None,
        strict_content_type=True,
    )
    app.add_exception_handler(RequestValidationError, wrong_request)
    app.add_exception_handler(StreamkindError, refused)
    app.add_exception_handler(OSError, out_of_reach)
    auth = Authenticator(token)
    behind = {"dependencies": [Depends(auth.check), Depends(own_page)], "responses": REFUSED}
    files = Files(parts.library, parts.previews, parts.estimates, parts.queue.needs)
    jobs = Jobs(parts.queue, parts.library, parts.presets)
    for router in (file_routes(files), job_routes(jobs), preset_routes(parts.presets)):
        app.include_router(router, **behind)  # type: ignore[arg-type]
    app.include_router(session_routes(auth))

    @app.get("/api/about", tags=["session"], summary="This command", responses=REFUSED)
    def about() -> About:
        """Return the facts about the command that the page needs. No token is needed."""
        most = {codec: most_crf(codec) for codec in get_args(CodecChoice)}
        return About(__version__, fleet is not None, local, most)

    add_files(app, [*OWN_PAGE.iterdir(), *(PAGE / name for name in SHARED)])
    app.router.routes.append(Route("/", page_of(OWN_PAGE / "files.html")))
    if fleet is not None:
        add_cameras(app, fleet, auth)
    return app


def add_cameras(app: FastAPI, fleet: Fleet, auth: Authenticator) -> None:
    """Add the page of the console, at /cameras, and its API."""
    index = PAGE / "index.html"
    add_files(app, [file for file in PAGE.iterdir() if file.name not in (*SHARED, index.name)])
    app.router.routes.append(Route("/cameras", page_of(index)))
    watch = Watch(fleet)
    app.include_router(camera_routes(Cameras(fleet, watch), auth))
    app.include_router(video_routes(fleet, auth))
    app.include_router(health_routes(watch, auth, lambda: redact(fleet.engine)))


async def own_page(request: Request) -> None:
    """Refuse requests of other sites' pages, because a preview takes much computing time."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise HTTPException(403, "a page of another site may not use this API")


async def refused(request: Request, exc: Exception) -> JSONResponse:
    """Answer with the message of an error."""
    return problem(CODES.get(type(exc), 422), str(exc))  # type: ignore[arg-type]


async def out_of_reach(request: Request, exc: Exception) -> JSONResponse:
    """Answer that a folder or file cannot be used, for example because its disk was removed."""
    where = getattr(exc, "filename", None) or "a file"
    why = getattr(exc, "strerror", None) or exc
    return problem(422, f"{where!s}: {why}; check the folder and its disk")


def most_bytes(method: str, path: str) -> int:
    """Return the largest body of a request, in bytes. That of an upload may be larger."""
    upload = method == "PUT" and path.startswith("/api/uploads/")
    return MOST_BYTES if upload else guard.MOST_BYTES


@contextmanager
def serve_app(
    folders: Sequence[Path],
    out: Path,
    config: ConsoleConfig,
    usual: Settings,
    *,
    fleet: Fleet | None = None,
) -> Iterator[str]:
    """Serve the page within a `with` block. Yields its URL. Raises UsageError."""
    token = resolve(config.token)
    check_listening(config.host, token)
    with ExitStack() as stack:
        parts = stack.enter_context(SiteParts(folders, out, usual))
        local = guard.is_loopback(config.host)
        app = build_app(parts, token, local=local, fleet=fleet)
        guarded = Guard(app, open_to_all=not token, most_bytes=most_bytes)
        url = stack.enter_context(serve(guarded, config))
        stack.callback(parts.queue.close)  # before the server waits for requests under way
        yield url
