"""The process that works on one file of the queue: python -m streamkind.app.work.

It reads the job as a line of JSON from stdin, runs it as a batch, and writes its progress as lines
of JSON to stdout. It ends when stdin is closed, because then the page's process has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from streamkind.app.settings import Settings
from streamkind.backends.process import configure_process
from streamkind.batch.jobs import BatchProgress, JobRunner, Result
from streamkind.batch.journal import Job
from streamkind.errors import OutputError
from streamkind.live.web.watch import jpeg_of
from streamkind.platform import give_way
from streamkind.video.format import ColorTags
from streamkind.video.frames import Pixels
from streamkind.video.storage import write_whole

NICE = 10
"""Niceness of the process, 0 to 19. It is above 0, so that the page and its previews stay fast."""
TELL_SECONDS, LOOK_SECONDS = 0.25, 1.0
"""Least time, in seconds, between two lines of progress, and between two pictures."""
LOOK_WIDTH = 640
"""Width of a picture of the present frame, in pixels."""


class ProgressWriter:
    """Writes the progress of the batch, at limited intervals."""

    def __init__(self, picture: Path) -> None:
        """Write pictures of the present frame, before and after, to the file `picture`."""
        self._picture = picture
        self._told = self._looked = float("-inf")

    def progress(self, progress: BatchProgress) -> None:
        """Write a line, if the last one is not too recent."""
        now = time.monotonic()
        if now - self._told < TELL_SECONDS:
            return
        self._told = now
        frames = progress.frames + progress.under_way
        write_line(frames=frames, surveyed=progress.surveyed, total=progress.total)

    def look(self, before: Pixels, after: Pixels, color: ColorTags) -> None:
        """Write a picture, if the last one is not too recent. The job does not depend on it."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            with contextlib.suppress(OutputError, OSError):  # its disk is full
                self._picture.parent.mkdir(0o700, exist_ok=True)  # the system may have cleaned it
                write_whole(self._picture, jpeg_of(before, after, color, LOOK_WIDTH))


def write_line(**told: Any) -> None:
    """Write one line of JSON to stdout."""
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def end_with_parent() -> None:
    """Wait until stdin is closed, then end this process. The journal has the finished parts."""
    sys.stdin.read()
    os._exit(1)


def result_of(result: Result) -> dict[str, Any]:
    """Return the last message of a job: its result."""
    return {
        "status": result.status,
        "frames": result.frames,
        "seconds": result.seconds,
        "warnings": result.warnings,
        "error": result.error,
    }


def main() -> None:
    """Run one job."""
    configure_process()
    give_way(NICE)
    told = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    options = Settings.model_validate(told["settings"]).options()
    writer = ProgressWriter(Path(told["picture"]))
    batch = JobRunner(
        [Job(Path(told["input"]), Path(told["output"]), options)],
        progress=writer.progress,
        look=writer.look,
    )
    (result,) = batch.run()
    write_line(**result_of(result))
    os._exit(0)  # the thread still waits for stdin


if __name__ == "__main__":
    main()
