"""Settings of live cameras and of the console; `read_config` reads them from cameras.toml."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from streamkind.errors import InputError, UsageError
from streamkind.light.exposure import DEFAULT_TARGET, MANUAL_RANGE
from streamkind.live.secrets import (
    check_characters,
    check_login,
    has_secret,
    is_meant_as_url,
    redact,
    redact_url,
    resolve,
)
from streamkind.video.deinterlace import Deinterlace
from streamkind.video.encoders import find_encoder
from streamkind.video.hardware import check_hwaccel

__all__ = ["CameraConfig", "ConsoleConfig", "check_camera", "read_config", "redact", "resolve"]

Transport = Literal["auto", "tcp", "udp", "udp_multicast", "http"]
"""Transport of RTSP."""
SOURCES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "v4l2", "file")
"""Schemes of cameras. The API does not accept `file`, which must be the last one."""
PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
"""Default port of each scheme."""
SINKS = ("rtsp", "rtsps", "rtmp", "rtmps", "udp")
"""Schemes of outputs. Without a scheme, an output is a folder, or a path that ends in .m3u8."""
NAME = "^[A-Za-z0-9_-]{1,64}$"
"""Pattern of the names of cameras, which stand in paths of the API and in names of files."""
STRICT = ConfigDict(
    extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
)
"""Settings of pydantic. Values are not converted: "3" is not a number, and 1 is not true."""


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value  # TOML and JSON have lists


Manual = Annotated[float, Field(ge=MANUAL_RANGE[0], le=MANUAL_RANGE[1])]
Target = Annotated[float, Field(gt=0, le=1)]
Limit = Annotated[float, Field(ge=0)]
Url = Annotated[str, Field(min_length=1, max_length=2048, examples=["rtsp://10.0.0.5/1"])]


class CameraSettings(BaseModel):
    """The settings of a camera: the body of the API, and the options of the command `stream`."""

    model_config = STRICT

    url: Url
    """URL of the camera: rtsp(s), rtmp(s), http(s), udp, v4l2, or file. `${VARIABLE}` is replaced
    from the environment, `${file:PATH}` from a file. The API accepts neither file nor `${...}`."""
    to: Annotated[tuple[Url, ...], BeforeValidator(_as_tuple), Field(max_length=16)] = ()
    """Outputs: URLs, playlists, and folders for recordings. The API accepts URLs only."""
    required: bool = True
    """Whether `/readyz` waits for the camera."""
    required_outputs: bool = True
    """Whether `/readyz` also waits for the outputs of a required camera."""
    max_delay_seconds: Annotated[
        float,
        Field(ge=0.05, le=86400, validation_alias=AliasChoices("max_delay_seconds", "max_delay")),
    ] = 0.5
    """Largest age of a frame, in seconds from decoder to encoder. Older frames are dropped."""
    timeout_seconds: Annotated[
        float,
        Field(ge=0.5, le=86400, validation_alias=AliasChoices("timeout_seconds", "timeout")),
    ] = 5.0
    """Seconds without a picture after which the camera counts as lost."""
    transport: Transport = "auto"
    """Transport of RTSP. auto: TCP; UDP if TCP is refused or delivers nothing."""
    hwaccel: Annotated[str, Field(max_length=64)] = "none"
    """Hardware that decodes: none, auto, or a name of FFmpeg such as cuda, qsv or vaapi."""
    deinterlace: Deinterlace = "frame"
    """Interlaced video: make one frame of each frame, one of each field, or leave it (off)."""
    ratio: Manual | Literal["auto"] = "auto"
    """How much the light is raised: auto, or 0.1 to 10; 1 changes nothing."""
    target: Target = DEFAULT_TARGET
    """Mean luma, above 0 to 1, of dark scenes after enhancement, on average, if the ratio is
    automatic."""
    codec: Annotated[str, Field(max_length=64)] = "h264"
    """Encoder: h264, hevc, av1, auto-hw (hardware), or a name of FFmpeg such as h264_nvenc."""
    recording: Literal["mkv", "mp4"] = "mkv"
    """Container of recordings: Matroska, or fragmented MP4."""
    segment_seconds: Annotated[float, Field(ge=1, le=86400)] = 600.0
    """Length of one recording, in seconds."""
    side_by_side: bool = False
    """Whether recordings show the original to the left of the result."""
    keep_gb: Limit = 0.0
    """Largest size of the recordings in a folder, in GB; the oldest are deleted; 0: no limit."""
    keep_days: Limit = 0.0
    """Age in days after which a recording is deleted; 0: never."""
    keep_free_gb: Limit = 0.0
    """Space that recordings leave free on their disk, in GB."""


class CameraConfig(CameraSettings):
    """The settings of a camera and its name: a table `[camera.NAME]` of cameras.toml."""

    name: Annotated[str, Field(pattern=NAME)]
    """1 to 64 letters, digits, - and _."""


class ConsoleConfig(BaseModel):
    """Settings of the console: the table `[console]`."""

    model_config = STRICT

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, lt=65536)] = 8780
    """TCP port to listen on; 0: any free one."""
    token: str = ""
    """Token for access; `${VARIABLE}` and `${file:PATH}` as in a camera's URL. Needed if `host` is
    not this machine."""


Model = TypeVar("Model", bound=BaseModel)


def read_camera(name: str, values: Mapping[str, Any]) -> CameraConfig:
    """Return the settings of a camera, checked. Raises UsageError."""
    config = _read(CameraConfig, {**values, "name": name}, f"camera {name!r}")
    check_camera(config, from_api=False)
    return config


def _read(kind: type[Model], values: Mapping[str, Any], where: str) -> Model:
    try:
        return kind.model_validate(values)
    except ValidationError as exc:
        raise UsageError(f"{where}: {describe(exc.errors(), kind)}") from None


def describe(errors: Iterable[Mapping[str, Any]], kind: type[BaseModel]) -> str:
    """Return what pydantic found in one line, without the values: they may hold a password."""
    found: dict[str, list[str]] = {}
    for error in errors:
        told = error["msg"]
        if error["type"] == "extra_forbidden":
            told = f"not known; expected {', '.join(kind.model_fields)}"
        found.setdefault(".".join(map(str, error["loc"][:1])), []).append(told)
    return "; ".join(f"{name}: {' or '.join(told)}" for name, told in found.items())


def read_config(
    path: Path, *, may_be_empty: bool = True
) -> tuple[dict[str, CameraConfig], ConsoleConfig]:
    """Read cameras.toml; return the cameras by name, and the console. Secrets stay unresolved.

    Raises InputError if it cannot be read, and UsageError for settings that are not valid. Without
    `may_be_empty`, a file without cameras is not valid, unless it has an empty table [camera].
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise InputError(f"{path}: {reason}; expected TOML with a table [camera.NAME]") from exc
    if unknown := sorted(set(tables) - {"camera", "console"}):
        raise UsageError(f"{path}: unknown '{unknown[0]}'; expected [camera.NAME] and [console]")
    if not may_be_empty and "camera" not in tables:
        raise UsageError(
            f"{path}: has no camera; expected [camera.NAME], or an empty table [camera] to stop all"
        )
    try:
        return _read_cameras(tables), _read(ConsoleConfig, _table(tables, "console"), "console")
    except UsageError as exc:  # a user may have written a URL with a password in any place
        raise UsageError(redact(str(exc))) from None


def _read_cameras(tables: Mapping[str, Any]) -> dict[str, CameraConfig]:
    cameras = {}
    for name, table in _table(tables, "camera").items():
        values = dict(_as_table(table, f"camera.{name}"))
        if isinstance(values.get("to"), str):
            values["to"] = [values["to"]]
        cameras[name] = read_camera(name, values)
    check_outputs(cameras)
    return cameras


def check_outputs(cameras: Mapping[str, CameraConfig]) -> None:
    """Raise UsageError if two cameras have the same output: one would overwrite the other."""
    owners: dict[str, str] = {}
    for name, config in cameras.items():
        for url in config.to:
            key = _place(url)
            if (owner := owners.setdefault(key, name)) != name:
                raise UsageError(
                    f"camera {name!r}: its output {redact(url)!r} is one of camera {owner!r} "
                    "already; give each camera outputs of its own"
                )


def _place(url: str) -> str:
    """Return a text that is the same for all ways to write one output."""
    if "://" not in url:
        return os.path.realpath(url)
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("?")[0].rstrip("/").partition("/")
    host = host.rpartition("@")[2].lower().removesuffix(f":{PORTS.get(scheme.lower())}")
    return f"{scheme.lower()}://{host}{slash}{path}"


def check_camera(config: CameraConfig, *, from_api: bool) -> None:
    """Raise UsageError for URLs and codecs that cannot work, and for URLs that the API must refuse.

    All other settings are checked by the types of the fields.
    """
    where = f"camera {config.name!r}"
    if from_api and has_secret(" ".join((config.url, *config.to))):
        # Otherwise a user of the API could send the content of any file to another host.
        raise UsageError(f"{where}: ${{...}} is read from cameras.toml only, not from the API")
    _check_scheme(config.url, where, SOURCES[:-1] if from_api else SOURCES)
    for url in config.to:
        if from_api or is_meant_as_url(url):
            _check_scheme(url, where, SINKS)
    # One URL may be written with several queries, as of two streams of a server.
    if len({url if "://" in url else _place(url) for url in config.to}) < len(config.to):
        raise UsageError(f"{where}: has the same output twice; name each output once")
    find_encoder(config.codec)
    check_hwaccel(config.hwaccel)


def _check_scheme(url: str, where: str, known: tuple[str, ...]) -> None:
    if url.startswith("${"):  # the whole URL is a secret; it is checked when it is opened
        return
    check_login(url)
    scheme, _, rest = url.partition(":")
    local = scheme in ("v4l2", "file")
    # A file name that looks like a login, and does not exist, is a URL that lacks its scheme.
    lost = scheme == "file" and is_meant_as_url(rest) and not Path(rest).exists()
    if scheme not in known or not rest.strip("/") or lost or not (local or "://" in url):
        shown = redact_url(rest if lost else url)
        raise UsageError(
            f"{where}: cannot take {shown!r}; expected {':, '.join(known)}: and an address"
        )
    if not local:
        check_characters(url)
    if scheme == "v4l2" and not re.fullmatch(r"(//)?/dev/video\d+", rest):
        raise UsageError(f"{where}: cannot take {redact_url(url)!r}; expected v4l2:/dev/videoN")


def _table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _as_table(tables.get(name, {}), name)


def _as_table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        kind = type(value).__name__  # not the value: it may be a URL with its password
        raise UsageError(f"[{name}] must be a table, got {kind}; expected [camera.NAME], url = ...")
    return value
