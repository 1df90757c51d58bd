"""The commands `streamkind stream` and `streamkind serve`."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cv2
import typer

from streamkind.backends.base import BackendName
from streamkind.backends.choose import on_gpu
from streamkind.backends.processor import threads
from streamkind.cli import options
from streamkind.cli.log import Format, Level, logging_to_stderr
from streamkind.cli.state_log import StateLog
from streamkind.engine.engine import Engine
from streamkind.engine.options import ENGINE
from streamkind.engine.profiles import ProfileName, open_engine
from streamkind.errors import StreamkindError, UsageError
from streamkind.live.config import (
    CameraConfig,
    CameraSettings,
    ConsoleConfig,
    check_outputs,
    read_camera,
    read_config,
)
from streamkind.live.fleet import LiveFleet, check_count
from streamkind.live.secrets import hide_passwords, redact, resolve
from streamkind.platform import RELOAD, STOP, restart

log = logging.getLogger("streamkind.live")

To = Annotated[
    list[str], typer.Option(help="rtsp://, rtmp://, udp://, NAME.m3u8, or a folder; repeatable.")
]
ELSEWHERE = ("url", "to", "required", "required_outputs")
"""Settings of a camera for which `stream` has other arguments, or which it does not need."""
CAMERA = [
    options.as_option(
        name,
        field.annotation,
        field.default,
        " ".join(field.description.split()),
        getattr(field.validation_alias, "choices", ()),
    )
    for name, field in CameraSettings.model_fields.items()
    if name not in ELSEWHERE and field.description
]
ENGINE_OPTIONS = options.described(ENGINE)
LogLevel = Annotated[Level, typer.Option(help="Least level that is logged.")]
LogFormat = Annotated[
    Format, typer.Option(help="Form of the log: text, or one JSON object in each line.")
]
LOOK_SECONDS = 0.5
"""Interval, in seconds, at which the states of cameras and the settings file are read. Chosen by
hand."""

WithConsole = Annotated[
    bool, typer.Option("--console", help="Serve the web page at http://127.0.0.1:8780.")
]


@options.takes("engine", ENGINE_OPTIONS)
@options.takes("camera", CAMERA)
def stream_command(
    url: Annotated[
        str,
        typer.Argument(help="rtsp(s)://, rtmp(s)://, http(s)://, udp://, v4l2:/dev/video0, a file"),
    ],
    to: To,
    *,
    camera: dict[str, Any],
    with_console: WithConsole = False,
    engine: dict[str, Any],
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:
    """Enhance one live camera and publish the result, until the command is stopped.

    In 'rtsp://user:${VARIABLE}@camera/1', the password comes from the environment.
    """
    move_secrets()
    config = read_camera("camera", {"url": as_url(url), "to": to, **camera})
    for text in (config.url, *config.to):
        resolve(text)  # a secret that is missing now will be missing later
    console = console_of(ConsoleConfig() if with_console else None)
    with (
        logging_to_stderr(log_level, log_format),
        Signals() as signals,
        open_fleet(**engine) as fleet,
    ):
        fleet.put(config)
        follow(fleet, console, signals)


def as_url(text: str) -> str:
    """Return a URL: `text` itself, or `file:` and `text` if it is not a URL."""
    return text if "://" in text or text.startswith(("v4l2:", "file:", "${")) else f"file:{text}"


def follow(
    fleet: LiveFleet,
    console: Callable[[LiveFleet], contextlib.AbstractContextManager[object]],
    signals: Signals,
) -> None:
    """Log the changes of cameras until all have ended, or until a signal comes."""
    show = StateLog()
    with console(fleet):
        while not signals.stop_within(LOOK_SECONDS):
            if all(camera.state == "stopped" for camera in show(fleet.look())):
                break
        fleet.stop()  # while the console ends


@options.takes("engine", ENGINE_OPTIONS)
def serve_command(
    config: Annotated[Path, typer.Argument(help="Settings file, cameras.toml; see docs/live.md.")],
    with_console: Annotated[
        bool, typer.Option("--console/--no-console", help="Serve the web page, API and metrics.")
    ] = True,
    *,
    engine: dict[str, Any],
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:
    """Enhance many live cameras. The file is read again when it changes, and on SIGHUP."""
    known = seen = changed(config)  # before it is read: opening the engine may take minutes
    cameras, console_config = read_config(config)
    console = console_of(console_config if with_console else None)
    with (
        logging_to_stderr(log_level, log_format),
        Signals() as signals,
        open_fleet(**engine) as fleet,
    ):
        for camera in cameras.values():
            fleet.put(camera)
        show = StateLog()
        with console(fleet):
            while not signals.stop_within(LOOK_SECONDS):
                before, seen = seen, changed(config)
                # An editor may empty the file before it writes. So wait until it does not change.
                if (seen == before and seen != known) or signals.reload:
                    signals.reload = False
                    known, cameras = seen, reload(fleet, config, cameras, console_config)
                show(fleet.look())
            fleet.stop()  # while the console ends


def open_fleet(
    profile: ProfileName = "auto",
    *,
    model: str = "auto",
    backend: BackendName = "auto",
    device: str = "auto",
) -> LiveFleet:
    """Open the engine and return a fleet without cameras."""
    if profile == "auto":
        profile = "quality" if on_gpu(backend, device) else "realtime"
    cv2.setNumThreads(max(1, threads() // 2))  # cameras and stages use other cores meanwhile

    def opened() -> Engine:
        return open_engine(model, backend=backend, profile=profile, device=device)

    fleet = LiveFleet(opened)
    log.info("engine: %s", fleet.engine)
    return fleet


def console_of(
    config: ConsoleConfig | None,
) -> Callable[[LiveFleet], contextlib.AbstractContextManager[object]]:
    """Return a context manager that serves the console of a fleet; without `config`, an empty one.

    It is called before cameras run. While they run, the imports would take many times as long.
    """
    if config is None:
        return contextlib.nullcontext
    try:
        from streamkind.live.web.server import serve_console  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ModuleNotFoundError as exc:
        raise UsageError(
            f"the console needs '{exc.name}': pip install 'streamkind[live]', or --no-console"
        ) from exc
    return lambda fleet: serve_console(fleet, config)


def reload(
    fleet: LiveFleet, path: Path, before: dict[str, CameraConfig], listening: ConsoleConfig
) -> dict[str, CameraConfig]:
    """Apply the settings file to the fleet. Changes that were made by the API stay.

    A file that cannot be read, or that has neither cameras nor an empty table, changes nothing.
    """
    try:
        cameras, console_config = read_config(path, may_be_empty=not before)
        running = fleet.configs()
        wanted = {name: c for name, c in running.items() if name in cameras or name not in before}
        for name, config in cameras.items():
            if config != before.get(name):
                wanted[name] = merged(config, before.get(name), running.get(name))
        check_outputs(wanted)
        check_count(len(wanted))
        for name in set(running) - set(wanted):
            with contextlib.suppress(KeyError):  # the API has removed it meanwhile
                fleet.remove(name)
        for name, config in wanted.items():
            if config != running.get(name):
                fleet.put(config)
    except StreamkindError as exc:
        log.error("%s; the cameras continue with their present settings", redact(str(exc)))
        return before
    log.info("%s: %d cameras", path, len(cameras))
    if console_config != listening:
        log.warning("%s: the change of [console] takes effect at the next start", path)
    return cameras


def merged(
    now: CameraConfig, before: CameraConfig | None, running: CameraConfig | None
) -> CameraConfig:
    """Return the settings that changed in the file, and the running ones for all others."""
    if before is None or running is None:
        return now
    same = [n for n in CameraConfig.model_fields if getattr(now, n) == getattr(before, n)]
    return now.model_copy(update={name: getattr(running, name) for name in same})


def changed(path: Path) -> tuple[int, int, int]:
    """Return values that differ after a file was written; zeros while it does not exist."""
    try:
        told = path.stat()
    except OSError:
        return 0, 0, 0
    return told.st_mtime_ns, told.st_ino, told.st_size


def move_secrets() -> None:
    """If arguments contain passwords, start again with these in the environment."""
    words, variables = hide_passwords(sys.orig_argv)
    if variables:
        restart(words, os.environ | variables)


class Signals:
    """Handles signals: SIGTERM and Ctrl-C stop the command, SIGHUP reads the settings again.

    With `reloads=False`, SIGHUP stops the command too, unless it is ignored as after nohup.

    The handler only puts the signal into a SimpleQueue. A handler may run while the main thread
    holds the lock of an Event or of another kind of queue. It would wait for that lock forever.
    """

    def __init__(self, *, reloads: bool = True) -> None:
        self.reload = False
        """Whether a SIGHUP has come. The caller sets it to False after reading the settings."""
        self._stop = False
        heard = [n for n in RELOAD if reloads or signal.getsignal(n) is not signal.SIG_IGN]
        self._numbers = (*STOP, *heard)
        self._reloads = RELOAD if reloads else ()
        self._heard: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        """Install the handlers."""
        for number in self._numbers:
            self._before[number] = signal.signal(number, lambda told, _: self._heard.put(told))
        return self

    def __exit__(self, *_: object) -> None:
        """Install the former handlers again."""
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def stop_within(self, seconds: float) -> bool:
        """Return whether a signal asks to stop. Wait for at most `seconds`, or until a SIGHUP."""
        with contextlib.suppress(queue.Empty):
            while not self._stop:
                heard = self._heard.get(timeout=seconds)
                seconds = 0.0  # those that wait already
                self._stop |= heard not in self._reloads
                self.reload |= heard in self._reloads
        return self._stop
