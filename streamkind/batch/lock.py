"""A lock that lets only one process at a time work on a job."""

from __future__ import annotations

import contextlib

from streamkind.batch.journal import Job
from streamkind.errors import OutputError
from streamkind.platform import WINDOWS, locked
from streamkind.video.storage import is_local


class Lock:
    """A lock on a file beside a job's folder. The system releases it when the process ends.

    Storage other than disks has no locks. A job that is started twice there is done twice.
    """

    def __init__(self, job: Job) -> None:
        """Create the job's folder and lock it. Raises OutputError."""
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
            raise OutputError(
                f"{job.output}: another process is working on it; wait until it ends"
            ) from exc
        except OSError as exc:
            raise OutputError(
                f"{job.output}: its folder cannot be made or locked ({exc.strerror}); "
                "choose another --out"
            ) from exc

    def release(self) -> None:
        """Release the lock, and remove its file and an empty folder. It may be called twice."""
        if self._held is None:
            return
        self._clear()
        self._held.close()
        self._held = None
        if WINDOWS:  # it cannot remove an open file
            self._clear()

    def _clear(self) -> None:
        for remove in (self._folder.rmdir, self._file.unlink):
            with contextlib.suppress(OSError):
                remove()
