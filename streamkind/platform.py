"""Functions that differ between Linux, macOS and Windows."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import unicodedata
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

WINDOWS = sys.platform == "win32"
RELOAD = [signal.SIGHUP] if hasattr(signal, "SIGHUP") else []
"""Signals that tell the command to read its configuration file again. Windows has none."""
STOP = [
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name)
]
"""Signals that tell the command to finish its output and exit. SIGBREAK is Ctrl-Break on Windows.
"""
BELOW_NORMAL_PRIORITY_CLASS = 0x4000
"""Value for SetPriorityClass, from processthreadsapi.h of Windows."""
CACHE = "STREAMKIND_CACHE"
"""Environment variable for the folder of all caches. It replaces the default folder."""
REPLACE_SECONDS = 2.0
"""Longest time for which replacing a file is retried on Windows, in seconds: a virus scanner may
have it open. Chosen by hand."""

SCREENS = {"DISPLAY", "WAYLAND_DISPLAY"}
"""Environment variables that are set on Linux if there is a screen."""
SHOW_SECONDS = 10.0
"""Longest wait for an error of the file manager, in seconds. Chosen by hand."""


def signal_main_thread(number: int) -> None:
    """Send a signal to the main thread of this process. Windows only has its handler called."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(signal.Signals(number))


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def give_way(nice: int) -> None:
    """Lower the priority of this process by `nice`, 0 to 19. On Windows, 1 to 19 do the same."""
    if hasattr(os, "nice"):
        os.nice(nice)
    elif nice > 0 and hasattr(ctypes, "windll"):
        kernel = ctypes.windll.kernel32
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        kernel.SetPriorityClass.argtypes = [ctypes.c_void_p, ctypes.c_ulong]
        kernel.SetPriorityClass(kernel.GetCurrentProcess(), BELOW_NORMAL_PRIORITY_CLASS)


@contextmanager
def keeps_scheduling() -> Iterator[None]:
    """Undo changes of libraries to the scheduling of threads in the block.

    Threads that start in the block get the scheduling of the caller. SVT-AV1, if it runs as root,
    sets real-time priority for its threads and for the thread that opens it.
    """
    before = schedulings()
    own = before.get(threading.get_native_id())
    try:
        yield
    finally:
        for thread, found in schedulings().items():
            wanted = before.get(thread, own)
            if wanted is not None and found != wanted:
                with contextlib.suppress(OSError):  # the thread has ended
                    os.sched_setscheduler(thread, wanted[0], os.sched_param(wanted[1]))


def schedulings() -> dict[int, tuple[int, int]]:
    """Return policy and priority of each thread of this process; {} if the system has none."""
    found = {}
    with contextlib.suppress(OSError, AttributeError):
        for name in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):
                thread = int(name)
                priority = os.sched_getparam(thread).sched_priority
                found[thread] = os.sched_getscheduler(thread), priority
    return found


def give_memory_back() -> None:
    """Return freed memory to the system. Only glibc keeps the heaps of ended threads."""
    if not WINDOWS:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def replace(source: Path, target: Path) -> None:
    """Rename a file or folder to `target` in one step. `target` may be a file or an empty folder.

    Raises OSError; on Windows only after retries for REPLACE_SECONDS.
    """
    if WINDOWS and source.is_dir() and target.is_dir():
        target.rmdir()  # Windows cannot replace a folder
    until = time.monotonic() + REPLACE_SECONDS
    while True:
        try:
            os.replace(source, target)
        except PermissionError:
            if not WINDOWS or time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def sync(path: Path) -> None:
    """Write a file, or the entries of a folder, to the disk. Do nothing for a folder on Windows."""
    if WINDOWS and path.is_dir():
        return
    try:
        # Windows syncs only files that are open for writing.
        descriptor = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
    except PermissionError:
        if path.is_dir():  # a folder may be writable, but not readable
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError:
        if path.is_file():  # some file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file. The system releases it when the process dies.

    Raises BlockingIOError if another process holds it and `wait` is false, and OSError if the file
    cannot be created.
    """
    from filelock import FileLock, Timeout  # imported here, so that commands start quickly

    lock = FileLock(path, timeout=-1 if wait else 0, mode=0o600)
    try:
        lock.acquire()
    except Timeout as exc:
        raise BlockingIOError(f"{path} is locked by another process") from exc
    try:
        yield
    finally:
        lock.release()


def unified(path: Path) -> str:
    """Return the same text for all names that this system usually takes for one file."""
    if sys.platform == "darwin":
        return unicodedata.normalize("NFC", str(path)).casefold()
    return str(path).casefold() if WINDOWS else str(path)


def cache_folder(name: str) -> Path:
    """Return this user's cache folder `name`. It is below $STREAMKIND_CACHE if that is set."""
    if chosen := os.environ.get(CACHE):
        return Path(chosen) / name
    local = os.environ.get("LOCALAPPDATA" if WINDOWS else "XDG_CACHE_HOME")
    return Path(local or Path.home() / ".cache") / "streamkind" / name


def config_folder() -> Path:
    """Return this user's folder for the settings of streamkind. It may not exist yet."""
    told = os.environ.get("APPDATA" if WINDOWS else "XDG_CONFIG_HOME")
    return Path(told or Path.home() / ".config") / "streamkind"


def show_in_folder(path: Path) -> None:
    """Open the folder of a file in the system's file manager. Raises OSError if there is none."""
    if WINDOWS:
        words = ["explorer", f"/select,{path}"]
    elif sys.platform == "darwin":
        words = ["open", "-R", str(path)]
    else:
        words = ["xdg-open", str(path.parent)]
    none = subprocess.DEVNULL
    opener = subprocess.Popen(words, stdin=none, stdout=none, stderr=none, start_new_session=True)
    try:
        code = opener.wait(SHOW_SECONDS)
    except subprocess.TimeoutExpired:  # some file managers run until the user closes them
        threading.Thread(target=opener.wait, daemon=True).start()
        return
    if code and not WINDOWS:  # explorer's code is 1 in any case
        raise OSError(f"{words[0]} ended with code {code}")


def open_browser(url: str) -> bool:
    """Open a page in the user's browser. Return False if there is no screen or browser."""
    screen = WINDOWS or sys.platform == "darwin" or SCREENS & os.environ.keys()
    return bool(screen) and webbrowser.open(url)


def writable_by_others(folder: Path) -> bool:
    """Return whether other users may write to a folder. Always False on Windows."""
    if not hasattr(os, "getuid"):
        return False
    found = folder.stat()
    return found.st_uid != os.getuid() or bool(stat.S_IMODE(found.st_mode) & 0o022)


def restart(words: list[str], environment: Mapping[str, str]) -> None:
    """Replace this process by the same program with other arguments.

    On Windows, return without doing so. Windows cannot replace a process, and there only
    administrators see the arguments of other users' processes.
    """
    if not WINDOWS:
        os.execve(sys.executable, words, environment)


def print_anything() -> None:
    """Let `print` write `?` for characters that the console's encoding, such as cp1252, lacks."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # not a console
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
