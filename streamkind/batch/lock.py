"""One process at a time on a job."""

from __future__ import annotations

import contextlib
import fcntl
import os

from streamkind.batch.journal import Job
from streamkind.errors import OutputError
from streamkind.video.storage import is_local


class Lock:
    """Held on the folder of a job until released; the system lets go when the process dies.

    Storage other than disks has no locks: there, whoever starts a job twice does it twice.
    """

    def __init__(self, job: Job) -> None:
        """Make the job's folder and lock it. Raises OutputError."""
        self._descriptor: int | None = None
        self._folder = job.folder
        if not is_local(job.folder):
            return
        try:
            job.folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(job.folder, os.O_RDONLY)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            self.release()
            raise OutputError(f"{job.output}: another process is working on it; wait") from exc
        except OSError as exc:
            self.release()
            raise OutputError(
                f"{job.output}: its folder cannot be made or locked ({exc.strerror}); "
                "choose another --out"
            ) from exc

    def release(self) -> None:
        """Let go, and leave no empty folder behind. Twice is fine."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            self._folder.rmdir()
        os.close(self._descriptor)
        self._descriptor = None
