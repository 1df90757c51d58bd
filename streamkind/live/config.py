"""Settings of live cameras and of the console, and how they are read from cameras.toml."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from streamkind.engine.engine import check_ratio, check_target
from streamkind.errors import InputError, UsageError
from streamkind.light.exposure import DEFAULT_TARGET, Ratio
from streamkind.live.secrets import check_login, has_secret, redact, resolve
from streamkind.video.deinterlace import Deinterlace, check_deinterlace
from streamkind.video.encoders import find_encoder

__all__ = ["CameraConfig", "ConsoleConfig", "check_camera", "read_config", "redact", "resolve"]

Recording = Literal["mkv", "mp4"]
Transport = Literal["auto", "tcp", "udp", "udp_multicast", "http"]
"""Transport of RTSP. auto: TCP, then UDP if TCP is refused or delivers nothing."""
SOURCES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "v4l2", "file")
"""Schemes of cameras. The API does not accept `file`, which must be the last one."""
KEEP = ("keep_gb", "keep_days", "keep_free_gb")
"""Settings of retention: numbers of 0 or more, of which 0 is no limit."""
PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443, "http": 80, "https": 443}
SINKS = ("rtsp", "rtsps", "rtmp", "rtmps", "udp")
"""Schemes of outputs. Without a scheme, an output is a folder, or a path that ends in .m3u8."""


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """Settings of one camera: a table `[camera.NAME]` of the TOML, or a body of the API."""

    name: str
    """1 to 64 letters, digits, - and _."""
    url: str
    """URL with a scheme of `SOURCES`. `${VARIABLE}` in it is replaced from the environment, and
    `${file:PATH}` from a file."""
    to: tuple[str, ...] = ()
    """Outputs: URLs, playlists, or folders for recordings."""
    required: bool = True
    """Whether `/readyz` waits for the camera."""
    required_outputs: bool = True
    """Whether `/readyz` waits for the outputs of a required camera too."""
    ratio: Ratio = "auto"
    target: float = DEFAULT_TARGET
    max_delay: float = 0.5
    """Largest age of a frame, in seconds from the decoder on; older ones are dropped."""
    timeout: float = 5.0
    """Seconds without a picture after which the camera counts as lost."""
    transport: Transport = "auto"
    deinterlace: Deinterlace = "frame"
    codec: str = "h264"
    """Encoder: h264, hevc, av1, or FFmpeg's name of one."""
    recording: Recording = "mkv"
    """Container of recordings: Matroska, or fragmented MP4."""
    segment_seconds: float = 600.0
    """Length of one recording, in seconds."""
    keep_gb: float = 0.0
    """Largest size of all recordings in a folder, in 10^9 bytes; 0 is no limit."""
    keep_days: float = 0.0
    """Age in days after which a recording is deleted; 0 is no limit."""
    keep_free_gb: float = 0.0
    """Space that recordings leave free on their disk, in 10^9 bytes."""


@dataclass(frozen=True, kw_only=True)
class ConsoleConfig:
    """Settings of the console: the table `[console]`."""

    host: str = "127.0.0.1"
    port: int = 8780
    token: str = ""
    """Token for access; `${VARIABLE}` and `${file:PATH}` as in a camera's URL. A host other than
    this machine needs one."""


def read_config(
    path: Path, *, may_be_empty: bool = True
) -> tuple[dict[str, CameraConfig], ConsoleConfig]:
    """Read cameras.toml; return the cameras by name, and the console. Secrets stay unresolved.

    Raises InputError if it cannot be read, and UsageError for settings that are not valid. Without
    `may_be_empty`, a file without cameras is not valid, unless it has an empty table [camera].
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise InputError(f"{path}: {reason}; expected TOML with a table [camera.NAME]") from exc
    if unknown := sorted(set(tables) - {"camera", "console"}):
        raise UsageError(f"{path}: unknown '{unknown[0]}'; expected [camera.NAME] and [console]")
    if not may_be_empty and "camera" not in tables:
        raise UsageError(f"{path}: no camera in it; to stop all, write an empty table [camera]")
    try:
        return _read_cameras(tables), _from(ConsoleConfig, _table(tables, "console"))
    except UsageError as exc:  # a URL with a password may be anywhere by mistake
        raise UsageError(redact(str(exc))) from None


def _read_cameras(tables: Mapping[str, Any]) -> dict[str, CameraConfig]:
    cameras = {}
    for name, table in _table(tables, "camera").items():
        config = _from(CameraConfig, {"name": name, **_as_table(table, f"camera.{name}")})
        check_camera(config, from_api=False)
        cameras[name] = config
    check_outputs(cameras)
    return cameras


def check_outputs(cameras: Mapping[str, CameraConfig]) -> None:
    """Raise UsageError if two cameras have one output, as they would overwrite recordings."""
    owners: dict[str, str] = {}
    for name, config in cameras.items():
        for url in config.to:
            key = _place(url)
            if (owner := owners.setdefault(key, name)) != name:
                raise UsageError(
                    f"camera {name!r}: camera {owner!r} goes to {redact(url)!r} already; "
                    "give each camera outputs of its own"
                )


def _place(url: str) -> str:
    """Return a text that is equal for all spellings of one output."""
    if "://" not in url:
        return os.path.realpath(url)
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("?")[0].rstrip("/").partition("/")
    host = host.rpartition("@")[2].lower().removesuffix(f":{PORTS.get(scheme.lower())}")
    return f"{scheme.lower()}://{host}{slash}{path}"


def check_camera(config: CameraConfig, *, from_api: bool) -> None:
    """Raise UsageError for settings that cannot work, or that the API does not accept."""
    where = f"camera {config.name!r}"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", config.name):
        raise UsageError(f"{where}: a name has 1 to 64 letters, digits, - and _")
    _check_types(config, where)
    if from_api and has_secret(" ".join((config.url, *config.to))):
        # Otherwise a user of the API could have any file sent to a host of theirs.
        raise UsageError(f"{where}: ${{...}} is read from cameras.toml only, not from the API")
    _check_scheme(config.url, where, SOURCES[:-1] if from_api else SOURCES)
    for url in config.to:
        if from_api or "://" in url:
            _check_scheme(url, where, SINKS)
    if len(set(config.to)) < len(config.to):
        raise UsageError(f"{where}: the same output twice; name each once")
    check_ratio(config.ratio)
    check_target(config.target)
    find_encoder(config.codec)
    for key, least in (("max_delay", 0.05), ("timeout", 0.5), ("segment_seconds", 1.0)):
        if not least <= getattr(config, key) <= 86400:
            raise UsageError(f"{where}: {key} is {least:g} to 86400 seconds")
    for key in KEEP:
        if not 0 <= getattr(config, key) < math.inf:
            raise UsageError(f"{where}: {key} is 0 (all) or more, got {getattr(config, key):g}")


def _check_scheme(url: str, where: str, known: tuple[str, ...]) -> None:
    if url.startswith("${"):  # the whole URL is a secret; it is checked when it is opened
        return
    check_login(url)
    scheme, found, rest = url.partition(":")
    if not found or scheme not in known or not rest.strip("/"):
        raise UsageError(
            f"{where}: cannot take {redact(url)!r}; expected {':, '.join(known)}: and an address"
        )
    if scheme == "v4l2" and not re.fullmatch(r"(//)?/dev/video\d+", rest):
        raise UsageError(f"{where}: cannot take {url!r}; expected v4l2:/dev/videoN")


def _check_types(config: CameraConfig, where: str) -> None:
    """Raise UsageError for values of other types, which TOML and JSON can hold."""
    for key in ("url", "codec"):
        if not isinstance(getattr(config, key), str):
            raise UsageError(f"{where}: {key} must be text")
    if not isinstance(config.to, tuple) or not all(isinstance(u, str) and u for u in config.to):
        raise UsageError(f"{where}: to must be a list of URLs and folders")
    for key in ("target", "max_delay", "timeout", "segment_seconds", *KEEP):
        value = getattr(config, key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"{where}: {key} must be a number, got {value!r}")
    for key in ("required", "required_outputs"):
        if not isinstance(getattr(config, key), bool):
            raise UsageError(f"{where}: {key} must be true or false")
    if isinstance(config.ratio, bool):
        raise UsageError(f"{where}: ratio must be auto or a number")
    if config.transport not in get_args(Transport):
        known = ", ".join(get_args(Transport))
        raise UsageError(f"{where}: transport is {known}, got {config.transport!r}")
    check_deinterlace(config.deinterlace)
    if config.recording not in ("mkv", "mp4"):
        raise UsageError(f"{where}: recording must be mkv or mp4, got {config.recording!r}")


Config = TypeVar("Config", CameraConfig, ConsoleConfig)


def _from(kind: type[Config], table: Mapping[str, Any]) -> Config:
    known = {f.name: f for f in fields(kind)}
    if unknown := sorted(set(table) - set(known)):
        raise UsageError(f"unknown key '{unknown[0]}'; expected {', '.join(known)}")
    if missing := [n for n, f in known.items() if f.default is MISSING and n not in table]:
        raise UsageError(f"camera '{table.get('name')}' has no {missing[0]}")
    values = dict(table)
    if "to" in values:
        values["to"] = (values["to"],) if isinstance(values["to"], str) else tuple(values["to"])
    config = kind(**values)
    if isinstance(config, ConsoleConfig):
        _check_console(config)
    return config


def _check_console(config: ConsoleConfig) -> None:
    port = config.port
    if not isinstance(config.host, str) or not isinstance(config.token, str):
        raise UsageError("console: host and token must be text")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port < 65536:
        raise UsageError(f"console: port must be 0 to 65535, got {port!r}")


def _table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return _as_table(tables.get(name, {}), name)


def _as_table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        kind = type(value).__name__  # not the value: it may be a URL with its password
        raise UsageError(f"[{name}] must be a table, got {kind}; expected [camera.NAME], url = ...")
    return value
