"""Runs command lines in a process that simulates Windows: it lacks and forbids what Windows does.

It is called as `python windows.py JSON-list-of-command-lines`, and writes a JSON list of results.
Libraries are imported before the simulation begins, so that it affects streamkind only.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import importlib
import json
import os
import select
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

LIBRARIES = (
    "numpy av cv2 openvino typer rich.progress rich.table rich.live filelock upath fastapi uvicorn "
    "uvicorn.protocols.http.h11_impl prometheus_client multiprocessing.popen_spawn_posix tempfile "
    "matplotlib.pyplot concurrent.futures.process asyncio platform shutil subprocess"
)
LACKING = ("fcntl", "grp", "pwd", "pty", "resource", "syslog", "termios", "tty", "posix")
"""Modules that Windows lacks."""
OS_LACKS = ("nice", "sched_getaffinity", "getuid", "set_blocking", "mkfifo")
"""Functions that `os` lacks on Windows, without those that filelock uses."""
SIGNALS = ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "SIGPIPE", "SIGQUIT")


def become_windows() -> None:
    """Remove modules, functions and signals that Windows lacks, and forbid what it forbids."""
    import platform

    for name in LIBRARIES.split():
        importlib.import_module(name)
    platform.platform()  # its result is cached
    for name in LACKING:
        sys.modules[name] = None  # type: ignore[assignment]
    for name in OS_LACKS:
        delattr(os, name)
    for name in SIGNALS:
        delattr(signal, name)
    forbid_on_files()
    forbid_elsewhere()
    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    asyncio.ProactorEventLoop = asyncio.SelectorEventLoop  # type: ignore[attr-defined]
    sys.platform = "win32"


def forbid_on_files() -> None:
    """Make calls fail for folders, open files and files open for reading, as on Windows."""
    real = {f: getattr(os, f) for f in ("open", "fsync", "replace", "rename", "unlink", "remove")}

    def open_(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", path)
        return real["open"](path, flags, *rest, **named)

    def fsync(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        real["fsync"](descriptor)

    def check_free(*paths: Any) -> None:
        for path in paths:
            if is_open(path):
                raise PermissionError(13, "used by another process", str(path))

    def replace(source: Any, target: Any, **named: Any) -> None:
        check_free(source, target)
        if os.path.isdir(target):
            raise PermissionError(13, "Access is denied", str(target))
        real["replace"](source, target, **named)

    def unlink(path: Any, **named: Any) -> None:
        check_free(path)
        real["unlink"](path, **named)

    os.open, os.fsync, os.replace, os.rename = open_, fsync, replace, replace  # type: ignore[assignment]
    os.unlink = os.remove = unlink


def forbid_elsewhere() -> None:
    """Make `ctypes` find no library with a Unix name, and `select` fail as for files."""

    class Library(ctypes.CDLL):
        def __init__(self, name: str | None, *rest: Any, **named: Any) -> None:
            if name is None:
                raise TypeError("bad argument type for built-in operation")
            if ".so" in name:
                raise OSError(f"could not find module {name!r}")
            super().__init__(name, *rest, **named)

    def select_(*_: Any) -> NoReturn:
        raise OSError(10038, "an operation was attempted on something that is not a socket")

    ctypes.CDLL = Library  # type: ignore[misc]
    select.select = select_


def is_open(path: Any) -> bool:
    """Return whether this process has a file open."""
    where = os.path.realpath(path)
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{descriptor}") == where and os.path.isfile(where):
                return True
    return False


def stop_when(log: Path, words: str) -> None:
    """Interrupt this process when `words` are in the log, or after 90 seconds."""

    def watch() -> None:
        until = time.monotonic() + 90
        while words not in log.read_text() and time.monotonic() < until:
            time.sleep(0.1)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def run(words: list[str]) -> dict[str, Any]:
    """Run a command line; return its words, its exit code and what it printed."""
    from streamkind import cli

    sys.argv = ["streamkind", *words]
    log, before = Path("printed.txt"), os.dup(2)
    with log.open("w", buffering=1) as file:
        os.dup2(file.fileno(), 2)  # cameras write their log there
        if words[0] == "serve":
            stop_when(log, "a: ")
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            try:
                cli.run()
            except SystemExit as leave:
                code = leave.code
            except BaseException:
                code = "failed"
                file.write(traceback.format_exc())
        os.dup2(before, 2)
    return {"words": words, "code": code, "told": log.read_text()}


def import_all() -> list[str]:
    """Import every module that the runtime needs; return their names."""
    import streamkind

    folder = Path(streamkind.__file__).parent
    extra = ("model/", "backends/torch.py", "measure/bench_nets.py", "live/publish.py", "__main__")
    names = [p.relative_to(folder).as_posix() for p in sorted(folder.rglob("*.py"))]
    names = [name for name in names if not name.startswith(extra)]
    for name in names:
        importlib.import_module(
            "streamkind." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        )
    return names


if __name__ == "__main__":
    sys.orig_argv = sys.orig_argv[:1]
    become_windows()
    results = [{"told": import_all()}, *map(run, json.loads(sys.argv[1]))]
    sys.stdout.write(json.dumps(results))
