"""One process at a time on a job."""

from __future__ import annotations

import contextlib

from streamkind.batch.journal import Job
from streamkind.errors import OutputError
from streamkind.platform import WINDOWS, locked
from streamkind.video.storage import is_local


class Lock:
    """Held on a file beside a job's folder until released; the system lets go when a process dies.

    Storage other than disks has no locks: there, whoever starts a job twice does it twice.
    """

    def __init__(self, job: Job) -> None:
        """Make the job's folder and lock it. Raises OutputError."""
        self._held: contextlib.ExitStack | None = None
        self._folder = job.folder
        self._file = job.folder.with_name(f"{job.folder.name}.lock")
        if not is_local(job.folder):
            return
        try:
            job.folder.mkdir(parents=True, exist_ok=True)
            held = contextlib.ExitStack()
            held.enter_context(locked(self._file, wait=False))
            self._held = held
        except BlockingIOError as exc:
            raise OutputError(f"{job.output}: another process is working on it; wait") from exc
        except OSError as exc:
            raise OutputError(
                f"{job.output}: its folder cannot be made or locked ({exc.strerror}); "
                "choose another --out"
            ) from exc

    def release(self) -> None:
        """Let go, and leave neither the file nor an empty folder behind. Twice is fine."""
        if self._held is None:
            return
        self._clear()
        self._held.close()
        self._held = None
        if WINDOWS:  # which removes no file that is open
            self._clear()

    def _clear(self) -> None:
        for remove in (self._folder.rmdir, self._file.unlink):
            with contextlib.suppress(OSError):
                remove()
