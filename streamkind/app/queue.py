"""The queue: enhances one file at a time, in a process of its own.

The queue continues when the browser is closed. A job is a batch of one file. Its journal has the
finished parts, so a job continues after a pause, and after the command was killed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from streamkind.app.entries import JobState, QueueEntry, load, save
from streamkind.app.settings import Settings
from streamkind.app.uploads import free_path
from streamkind.batch.files import KEPT_SUFFIXES
from streamkind.errors import StreamkindError, UsageError
from streamkind.platform import WINDOWS, locked, unified
from streamkind.video.storage import remove_folder

log = logging.getLogger("streamkind.app")

QUEUE = ".streamkind-app.json"
"""Name of the queue's file, in the folder of the results."""
MOST_JOBS = 1000
"""Largest number of entries."""
STOP_SECONDS = 10.0
"""Longest wait, in seconds, for a process to end after it was killed."""


class Queue:
    """Runs files one after the other in a thread. May be used from any thread."""

    def __init__(self, out: Path) -> None:
        """Use a folder for the results, and the queue that is stored in it.

        Raises UsageError if another queue uses it.
        """
        self.out = out
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self._running: QueueEntry | None = None
        self._ended = False
        self._held = contextlib.ExitStack()
        try:
            out.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(locked(out / f"{QUEUE}.lock", wait=False))
        except BlockingIOError as exc:
            raise UsageError(
                f"{out}: another `streamkind app` uses it; close that one, or choose another --out"
            ) from exc
        except OSError as exc:
            raise UsageError(
                f"{out}: cannot be written ({exc.strerror}); choose another --out"
            ) from exc
        self._entries = load(out / QUEUE)
        self._pictures = Path(tempfile.mkdtemp(prefix="streamkind-"))
        self._thread = threading.Thread(target=self._work, name="streamkind-queue", daemon=True)
        self._thread.start()

    def list(self) -> list[QueueEntry]:
        """Return all entries in order. It does not wait for a thread that writes to the disk."""
        return list(self._entries)

    def get(self, key: str) -> QueueEntry:
        """Return an entry, also without waiting. Raises KeyError."""
        return self._find(key)

    def picture(self, key: str) -> Path:
        """Return the path of the picture of an entry's present frame. It may not exist yet."""
        return self._pictures / f"{key}.jpg"

    def add(self, path: Path, place: str, settings: Settings) -> QueueEntry:
        """Add a file at the end. Its result gets a name that is free. Raises UsageError."""
        with self._changed:
            if len(self._entries) >= MOST_JOBS:
                raise UsageError(f"the queue has {MOST_JOBS} entries; remove some first")
            output = self._free_name(path, settings.added)
            entry = QueueEntry(
                secrets.token_hex(8), path.name, place, str(path), str(output), settings
            )
            self._entries.append(entry)
            try:
                self._save()
            except StreamkindError:
                self._entries.remove(entry)
                raise
        return entry

    def set_state(self, key: str, state: JobState) -> QueueEntry:
        """Pause an entry ("paused"), or let it run in its turn ("waiting"). Raises KeyError.

        Raises UsageError for an entry that is done.
        """
        with self._changed:
            entry = self._find(key)
            if entry.state == "done":
                raise UsageError(
                    f"{entry.name}: is finished; to enhance the file again, add it again"
                )
            if state == "waiting" and entry.state == "running":
                return entry
            entry.state = state
            self._stop(entry)
            self._save()
        return entry

    def move(self, key: str, place: int) -> None:
        """Move an entry to a place of the list, 0 for the first. Raises KeyError."""
        with self._changed:
            entry = self._find(key)
            self._entries.remove(entry)
            self._entries.insert(place, entry)
            self._save()

    def remove(self, key: str) -> None:
        """Remove an entry, and the files of its job. A complete result stays."""
        with self._changed:
            entry = self._find(key)
            self._entries.remove(entry)
            self._stop(entry)
            if entry.state != "done":  # before its name is free for another entry
                entry.remove_result()  # it may have been finished just now
            self._save()  # after that, because the disk may have been full
        self.picture(key).unlink(missing_ok=True)

    def needs(self, path: Path) -> bool:
        """Return whether a file is the input of an entry that is not done."""
        return any(e.input == str(path) and e.state != "done" for e in self.list())

    def close(self) -> None:
        """Stop the work. Finished parts are kept for the next time. It may be called twice."""
        with self._changed:
            self._ended = True
            if self._running is not None:
                self._stop(self._running)
            self._changed.notify_all()
        self._thread.join(STOP_SECONDS)
        remove_folder(self._pictures)
        self._held.close()

    def _find(self, key: str) -> QueueEntry:
        for entry in list(self._entries):
            if entry.id == key:
                return entry
        raise KeyError(key)

    def _free_name(self, path: Path, added: str) -> Path:
        taken = {unified(Path(entry.output)) for entry in self._entries}
        suffix = path.suffix if path.suffix.lower() in KEPT_SUFFIXES else ".mkv"
        return free_path(self.out, path.stem, added, suffix, taken)

    def _save(self) -> None:
        """Write the file, and wake the thread. The lock is held. Raises OutputError."""
        self._changed.notify_all()
        save(self.out / QUEUE, self._entries)

    def _try_to_save(self) -> None:
        """Write the file. If that fails, as on a full disk, log a warning and continue."""
        try:
            self._save()
        except StreamkindError as exc:
            log.warning("the queue is not stored: %s", exc)

    def _stop(self, entry: QueueEntry) -> None:
        """End the process of an entry, if it has one. The lock is held."""
        if entry is self._running and self._process is not None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # it waits for a disk
                self._process.wait(STOP_SECONDS)

    def _next(self) -> QueueEntry | None:
        return next((entry for entry in self._entries if entry.state == "waiting"), None)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._ended and (entry := self._next()) is None:
                    self._changed.wait()
                if self._ended or entry is None:
                    return
                entry.begin()
                self._running = entry
                try:
                    self._process = start(entry, self.picture(entry.id))
                except OSError as exc:
                    self._running = None
                    self._note(entry, failed(f"its process cannot be started ({exc.strerror})"))
                    continue
                self._try_to_save()
            self._follow(entry, self._process)
            with self._changed:
                self._running = self._process = None

    def _follow(self, entry: QueueEntry, process: subprocess.Popen[str]) -> None:
        """Read the progress of a process until it ends, and note how it ended."""
        assert process.stdout is not None
        result: dict[str, Any] = {}
        with process:
            for line in process.stdout:
                told = read_line(line)
                with self._changed:
                    if "status" in told:
                        result = told
                    elif "frames" in told and entry.state == "running":
                        entry.seen(told)
        with self._changed:
            if entry.state == "running" and entry in self._entries and not self._ended:
                self._note(entry, result or crashed(process.returncode))

    def _note(self, entry: QueueEntry, result: dict[str, Any]) -> None:
        entry.error, entry.warnings = result["error"], result["warnings"]
        entry.seconds = result["seconds"]
        entry.state = "failed" if entry.error else "done"
        if not entry.error:
            entry.progress.frames = entry.progress.total = result["frames"]
        entry.progress.left_seconds = None
        self._try_to_save()


def start(entry: QueueEntry, picture: Path) -> subprocess.Popen[str]:
    """Start the process of an entry."""
    group = {"creationflags": 0x200} if WINDOWS else {"start_new_session": True}  # no Ctrl-C
    process = subprocess.Popen(
        [sys.executable, "-m", "streamkind.app.work"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        errors="replace",  # a library may write anything
        **group,
    )
    told = {
        "input": entry.input,
        "output": entry.output,
        "settings": entry.settings.model_dump(),
        "picture": str(picture),
    }
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
    except OSError:  # it has ended already
        with contextlib.suppress(OSError):
            process.stdin.close()  # or else the end of `with process` would fail
    return process


def read_line(line: str) -> dict[str, Any]:
    """Read a line of a process; empty if a library has written it."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def crashed(code: int) -> dict[str, Any]:
    """Return the result of a process that ended without a result."""
    return failed(f"its process ended unexpectedly (code {code}), perhaps for lack of memory")


def failed(why: str) -> dict[str, Any]:
    """Return the result of a job whose process could not run or ended early."""
    advice = "close other programs, or choose a faster profile, and run it again"
    return {"error": f"{why}; {advice}", "warnings": [], "seconds": 0.0}
