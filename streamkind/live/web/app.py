"""The REST API, health, metrics and the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.routing import Route

from streamkind import __version__
from streamkind.errors import UsageError
from streamkind.live.config import (
    NAME,
    CameraConfig,
    CameraSettings,
    check_camera,
    check_outputs,
    redact,
)
from streamkind.live.secrets import HIDDEN
from streamkind.live.status import CameraStatus, Fleet
from streamkind.live.web.guard import WRONG_TOKEN, Authenticator, problem, set_session
from streamkind.live.web.metrics import open_registry
from streamkind.live.web.recordings import recording_routes
from streamkind.live.web.schemas import (
    JPEG,
    TEXT,
    UNKNOWN,
    WRONG,
    CameraAnswer,
    FleetAnswer,
    Light,
    Login,
    Problem,
    Ready,
)
from streamkind.live.web.video import video_routes
from streamkind.live.web.watch import Previews, Watch, encode, encode_tile

PAGE = FilePath(__file__).parent / "page"
AGES = {"ages"}
"""Fields that answers leave out: they are for the histogram in /metrics only."""
CameraName = Annotated[str, Path(pattern=NAME, description="The camera.")]
REFUSED: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No token, or a wrong one"},
}


class Cameras:
    """The operations of the API on cameras."""

    def __init__(self, fleet: Fleet, watch: Watch) -> None:
        self.fleet = fleet
        self._watch = watch
        self._previews = Previews(fleet, encode)
        self._tiles = Previews(fleet, encode_tile)
        self._lock = threading.Lock()
        """Held while the fleet is read and then changed."""

    def list(self) -> FleetAnswer:
        """Return the state of every camera."""
        return FleetAnswer(redact(self.fleet.engine), time.time(), self._watch.status())

    def get(self, name: CameraName) -> CameraAnswer:
        """Return the state and the settings of a camera. Secrets are shown as ***."""
        settings = self.fleet.configs().get(name)
        for camera in self._watch.status():
            if camera.name == name and settings is not None:
                return CameraAnswer(camera, hidden(settings))
        raise unknown(name)

    def put(self, name: CameraName, settings: CameraSettings, response: Response) -> CameraConfig:
        """Add a camera (201), or change the one with this name (200). Others are not interrupted.

        A URL with *** is refused: it was copied from an answer, which shows *** for a password.
        """
        config = CameraConfig(name=name, **dict(settings))
        try:
            if any(HIDDEN in url for url in (config.url, *config.to)):
                raise UsageError(
                    f"a URL contains {HIDDEN} in place of a secret; give the whole URL, change the "
                    "camera in cameras.toml, or change only ratio and target by PATCH"
                )
            check_camera(config, from_api=True)
            with self._lock:
                present = self.fleet.configs()
                check_outputs({**present, name: config})
                response.status_code = 200 if name in present else 201
                self.fleet.put(config)
        except UsageError as exc:
            raise HTTPException(422, redact(str(exc))) from exc
        return hidden(config)

    def patch(self, name: CameraName, light: Light) -> CameraConfig:
        """Change ratio and target of a camera, from its next frame on."""
        try:
            self.fleet.set(name, ratio=light.ratio, target=light.target)
            return hidden(self.fleet.configs()[name])
        except UsageError as exc:
            raise HTTPException(422, redact(str(exc))) from exc
        except KeyError as exc:
            raise unknown(name) from exc

    def delete(self, name: CameraName) -> None:
        """Stop a camera and remove it."""
        try:
            self.fleet.remove(name)
        except KeyError as exc:
            raise unknown(name) from exc

    def preview(self, name: CameraName, if_none_match: Annotated[str, Header()] = "") -> Response:
        """Return the last frame before (left) and after (right half), at most five a second."""
        return self._picture(self._previews, name, if_none_match)

    def tile(self, name: CameraName, if_none_match: Annotated[str, Header()] = "") -> Response:
        """Return the last enhanced frame, reduced to 384 pixels of width, at most five a second."""
        return self._picture(self._tiles, name, if_none_match)

    @staticmethod
    def _picture(previews: Previews, name: str, known: str) -> Response:
        try:
            picture = previews.get(name, time.monotonic())
        except KeyError as exc:
            raise unknown(name) from exc
        if picture is None:
            return Response(status_code=204)
        headers = {"ETag": picture.tag, "Cache-Control": "private, no-cache"}
        if known == picture.tag:
            return Response(status_code=304, headers=headers)
        return Response(picture.data, media_type="image/jpeg", headers=headers)


def unknown(name: str) -> HTTPException:
    """Return the error for an unknown camera."""
    return HTTPException(404, f"no camera '{name}'; GET /api/cameras lists them")


def hidden(config: CameraConfig) -> CameraConfig:
    """Return settings without the secrets of their URLs."""
    told = {"url": redact(config.url), "to": tuple(map(redact, config.to))}
    return config.model_copy(update=told)  # without checks, which would refuse ***


def camera_routes(cameras: Cameras, auth: Authenticator) -> APIRouter:
    """Return the routes of the cameras. All need the token, or a session."""
    one = "/api/cameras/{name}"
    router = APIRouter(tags=["cameras"], dependencies=[Depends(auth.check)], responses=REFUSED)
    router.add_api_route(
        "/api/cameras",
        cameras.list,
        response_model_exclude={"cameras": {"__all__": AGES}},
        summary="All cameras",
    )
    router.add_api_route(
        one,
        cameras.get,
        responses=UNKNOWN,
        response_model_exclude={"status": AGES},
        summary="One camera",
    )
    added: dict[int | str, dict[str, Any]] = {201: {"model": CameraConfig, "description": "Added"}}
    router.add_api_route(
        one, cameras.put, methods=["PUT"], responses=WRONG | added, summary="Add or change"
    )
    router.add_api_route(
        one, cameras.patch, methods=["PATCH"], responses=UNKNOWN, summary="Change the light"
    )
    router.add_api_route(
        one,
        cameras.delete,
        methods=["DELETE"],
        responses=UNKNOWN,
        status_code=204,
        summary="Remove",
    )
    for path, picture, summary in (
        ("preview.jpg", cameras.preview, "Before and after"),
        ("tile.jpg", cameras.tile, "A small picture"),
    ):
        router.add_api_route(
            f"{one}/{path}", picture, responses=JPEG, response_class=Response, summary=summary
        )
    router.include_router(recording_routes(cameras.fleet))
    return router


def session_routes(auth: Authenticator) -> APIRouter:
    """Return the routes by which browsers log in and out."""
    router = APIRouter(tags=["session"])

    @router.post("/api/session", status_code=204, responses=WRONG | REFUSED, summary="Log in")
    async def log_in(login: Login, request: Request, response: Response) -> None:
        """Check the token, and set a cookie that scripts cannot read."""
        if not auth.is_token(login.token):
            await auth.refuse(request)
            raise HTTPException(401, WRONG_TOKEN)
        set_session(response, request, auth.new_session())

    @router.delete("/api/session", status_code=204, summary="Log out")
    def log_out(request: Request, response: Response) -> None:
        """Delete the cookie."""
        set_session(response, request, "")

    return router


def health_routes(watch: Watch, auth: Authenticator, engine: Any) -> APIRouter:
    """Return the routes of health and metrics. Only metrics need the token."""
    router = APIRouter(tags=["health"])
    registry = open_registry(watch, engine, lambda: auth.wrong)

    @router.head("/healthz", include_in_schema=False)  # some services that watch servers ask so
    @router.get("/healthz", summary="Process")
    def healthz() -> dict[str, str]:
        """Answer 200 as long as the process works."""
        return {"status": "ok", "version": __version__}

    @router.head("/readyz", include_in_schema=False)
    @router.get(
        "/readyz",
        responses={503: {"model": Ready, "description": "Not all"}},
        summary="Cameras",
    )
    def readyz(response: Response) -> Ready:
        """Answer 200 while every required camera and output is live (or none is), else 503."""
        required = [camera for camera in watch.status() if camera.required]
        live = sum(map(delivers, required))
        response.status_code = 200 if live == len(required) else 503
        return Ready(live == len(required), len(required), live)

    @router.get(
        "/metrics",
        dependencies=[Depends(auth.check)],
        responses=REFUSED | TEXT,
        response_class=Response,
        summary="Prometheus",
    )
    def metrics() -> Response:
        """Return all metrics in the text format of Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def delivers(camera: CameraStatus) -> bool:
    """Return whether a camera is live, and its outputs too if they are required."""
    outputs = camera.sinks if camera.required_outputs else ()
    return camera.state == "live" and all(sink.state == "live" for sink in outputs)


async def wrong_request(request: Request, exc: Exception) -> JSONResponse:
    """Answer what is wrong with a request, without the value, which may contain a password."""
    assert isinstance(exc, RequestValidationError)
    found = [(".".join(map(str, e["loc"])), e["msg"], e["type"]) for e in exc.errors()]
    code = 400 if any(kind == "json_invalid" for _, _, kind in found) else 422
    return problem(code, "; ".join(f"{where}: {told}" for where, told, _ in found))


def page_of(file: FilePath) -> Callable[[Request], Awaitable[FileResponse]]:
    """Return a route that answers with a file."""

    async def page(request: Request) -> FileResponse:
        return FileResponse(file)

    return page


def build_app(fleet: Fleet, token: str) -> FastAPI:
    """Return the console of a fleet; an empty token lets everyone in."""
    app = FastAPI(
        title="streamkind",
        version=__version__,
        description="Live cameras: their state, settings, pictures and recordings.",
        docs_url=None,
        redoc_url=None,
        strict_content_type=True,  # a body that a form of another site can send is not read as JSON
    )
    app.add_exception_handler(RequestValidationError, wrong_request)
    auth, watch = Authenticator(token), Watch(fleet)
    app.include_router(camera_routes(Cameras(fleet, watch), auth))
    app.include_router(video_routes(fleet, auth))
    app.include_router(session_routes(auth))
    app.include_router(health_routes(watch, auth, lambda: redact(fleet.engine)))
    add_files(app, PAGE.iterdir())
    app.router.routes.append(Route("/", page_of(PAGE / "index.html")))
    return app


def add_files(app: FastAPI, files: Iterable[FilePath]) -> None:
    """Serve files at /."""
    for file in files:
        # StaticFiles at / would answer requests by a method that a path of the API does not have.
        app.router.routes.append(Route(f"/{file.name}", page_of(file)))
