"""The entries of the queue, and the file that stores them."""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from streamkind.app.settings import Settings
from streamkind.batch.journal import Job
from streamkind.errors import StreamkindError
from streamkind.video.storage import remove_folder, write_whole

VERSION = 1
"""Version of the queue's file. A file of another version is not used."""
WINDOW_SECONDS = 15.0
"""Time over which the speed is measured, in seconds."""

JobState = Literal["waiting", "running", "paused", "done", "failed"]


@dataclass
class JobProgress:
    """The progress of a job."""

    frames: int = 0
    """Number of enhanced frames."""
    surveyed: int = 0
    """Number of frames that the first pass has read."""
    total: int = 0
    """Expected number of frames; 0 if unknown."""
    fps: float = 0.0
    """Frames per second of the present pass, over the last `WINDOW_SECONDS`."""
    left_seconds: float | None = None
    """Expected seconds to the end of the present pass; None if unknown."""


@dataclass
class QueueEntry:
    """One file in the queue."""

    id: str
    name: str
    """Name of the file, without its folder."""
    place: str
    """Place of the file in the library."""
    input: str
    """Path of the file."""
    output: str
    """Path of the result."""
    settings: Settings
    state: JobState = "waiting"
    seconds: float = 0.0
    """Seconds of the last run."""
    warnings: list[str] = field(default_factory=list)
    error: str = ""
    progress: JobProgress = field(default_factory=JobProgress)
    _seen: deque[tuple[float, int]] = field(default_factory=deque, repr=False)

    def job(self) -> Job:
        """Return the job of a batch."""
        return Job(Path(self.input), Path(self.output), self.settings.options())

    def record(self) -> dict[str, Any]:
        """Return the part of an entry that is stored in the file."""
        told = {k: v for k, v in vars(self).items() if k != "_seen"}
        return told | {"settings": self.settings.model_dump(), "progress": asdict(self.progress)}

    def begin(self) -> None:
        """Set the entry to running, without any progress."""
        self.state, self.error, self.warnings = "running", "", []
        self.progress, self._seen = JobProgress(), deque()

    def seen(self, told: dict[str, Any]) -> None:
        """Update the progress by a line of the process: `frames`, `surveyed` and `total`."""
        now, last = time.monotonic(), self.progress
        frames, surveyed, total = told["frames"], told["surveyed"], told["total"]
        done = frames or surveyed
        if bool(last.frames) != bool(frames):  # the other pass begins
            self._seen.clear()
        self._seen.append((now, done))
        while now - self._seen[0][0] > WINDOW_SECONDS:
            self._seen.popleft()
        then, before = self._seen[0]
        fps = (done - before) / (now - then) if now > then else 0.0
        left = max(0, total - done) / fps if fps and total else None
        self.progress = JobProgress(frames, surveyed, total, fps, left)

    def clean(self) -> None:
        """Remove everything that the job has written, except a complete result."""
        job = self.job()
        remove_folder(job.folder)
        with contextlib.suppress(OSError):
            job.folder.with_name(f"{job.folder.name}.lock").unlink()
        if not job.output.exists():
            with contextlib.suppress(OSError):
                job.receipt.unlink()

    def remove_result(self) -> None:
        """Remove the result, if this job has made it."""
        job = self.job()
        with contextlib.suppress(StreamkindError, OSError):  # the file is another's
            if job.is_done():
                job.output.unlink()
        self.clean()


def save(path: Path, entries: Iterable[QueueEntry]) -> None:
    """Write the queue's file. Raises OutputError."""
    told = {"version": VERSION, "jobs": [entry.record() for entry in entries]}
    write_whole(path, json.dumps(told, indent=1).encode())


def load(path: Path) -> list[QueueEntry]:
    """Read the queue's file; return [] if it does not exist or is of another version.

    An entry that was running is set to waiting.
    """
    try:
        told = json.loads(path.read_bytes())
        if told["version"] != VERSION:
            return []
        entries = [read_entry(job) for job in told["jobs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    for entry in entries:
        entry.state = "waiting" if entry.state == "running" else entry.state
    return entries


def read_entry(job: dict[str, Any]) -> QueueEntry:
    """Return an entry from its `record`; that of version 0.2.0 has no progress."""
    settings = Settings.model_validate(job["settings"])
    progress = JobProgress(**job.get("progress", {}))
    return QueueEntry(**{**job, "settings": settings, "progress": progress})


def as_answer(entry: QueueEntry) -> dict[str, Any]:
    """Return the description of an entry for the page."""
    told = entry.record()
    told["output"] = Path(entry.output).name
    del told["input"]
    return told
