"""Estimates how long a whole file will take, by enhancing some of its frames."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import cast

from streamkind.app.facts import Facts, LruCache
from streamkind.app.preview import check_wanted
from streamkind.app.settings import Settings
from streamkind.batch import work
from streamkind.batch.journal import Job
from streamkind.engine.survey import survey
from streamkind.errors import InputError
from streamkind.pipeline import Report, run
from streamkind.video.footage import VideoSource
from streamkind.video.frames import Frame
from streamkind.video.others import PART_SUFFIX
from streamkind.video.sink import VideoSink
from streamkind.video.source import Source

WARM_FRAMES = 2
"""Number of first frames that are not measured, because the networks are compiled at the first
frame, and the filter over time at the second."""
LEAST_FRAMES, MOST_FRAMES = 3, 24
"""Least and largest number of frames that are enhanced for a measurement. A frame in `quality` may
take seconds."""
BUDGET_SECONDS = 2.0
"""Time in seconds after which a measurement ends, if it has `LEAST_FRAMES`."""
MOST_KEPT = 64
"""Number of measurements that are cached."""

Kind = tuple[str, str, bool, int, int]
"""All that the time depends on: profile, codec, whether the ratio is automatic, width, height."""


@dataclass(frozen=True)
class Estimate:
    """The expected time of a whole file."""

    profile: str
    seconds: float
    fps: float
    """Frames per second, both passes together."""


class Estimates:
    """A cache of measurements, one for each `Kind`. Use it from one thread only."""

    def __init__(self) -> None:
        self._known: LruCache[Kind, float] = LruCache(MOST_KEPT)
        self._folder = tempfile.TemporaryDirectory(prefix="streamkind-", ignore_cleanup_errors=True)

    def close(self) -> None:
        """Remove the files of a measurement that is still under way."""
        self._folder.cleanup()

    def get(self, path: Path, facts: Facts, settings: Settings, gone: Event) -> Estimate:
        """Return the expected time of a file. Raises StreamkindError.

        Raises InputError soon after `gone` is set, because nobody waits for the answer then.
        """
        auto = settings.ratio == "auto"
        kind = settings.profile, settings.codec, auto, facts.width, facts.height
        each = self._known.get(
            kind, lambda: measure(path, facts, settings, gone, self._folder.name)
        )
        return Estimate(settings.profile, each * facts.frames, 1 / each)


@dataclass
class Timer:
    """Yields some frames of a source, and measures the time of all but the first ones."""

    source: VideoSource
    gone: Event
    """Whether nobody waits for the measurement any more."""
    first: float | None = None
    """Time at which the first frames were enhanced, by `time.monotonic`; None before that."""
    skipped: int = 0
    """Number of these first frames: `WARM_FRAMES`, or more if their batch had more."""
    frames: int = 0
    began: float = field(default_factory=time.monotonic)

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames until the time is over."""
        for number, frame in enumerate(self.source):
            check_wanted(self.gone)
            late = self.first is not None and time.monotonic() - self.first > BUDGET_SECONDS
            if number >= MOST_FRAMES or (late and number >= LEAST_FRAMES):
                return
            yield frame

    def seen(self, frames: int) -> None:
        """Count the frames that are done."""
        if self.first is None and frames >= WARM_FRAMES:
            self.first, self.skipped = time.monotonic(), frames
        self.frames = frames

    def seconds_per_frame(self) -> float:
        """Return the mean time per frame up to now, in seconds. Raises InputError."""
        if not self.frames:
            raise InputError(
                f"{self.source.path.name}: no frame can be decoded; the file may be damaged"
            )
        if self.first is None or self.frames == self.skipped:  # a very short file
            return (time.monotonic() - self.began) / self.frames
        return (time.monotonic() - self.first) / (self.frames - self.skipped)


def measure(path: Path, facts: Facts, settings: Settings, gone: Event, where: str) -> float:
    """Enhance some frames of a file as a batch does; return the time per frame, in seconds.

    Files are written in the folder `where`, and removed. Raises StreamkindError; InputError soon
    after `gone` is set.
    """
    start = facts.seconds / 3
    Path(where).mkdir(0o700, exist_ok=True)  # the system may have cleaned it
    with tempfile.TemporaryDirectory(dir=where) as folder:
        job = Job(path, Path(folder, path.name), settings.options())
        each = time_enhancing(job, start, gone)
    return each + (time_survey(job, start, gone) if settings.ratio == "auto" else 0.0)


def time_enhancing(job: Job, start: float, gone: Event) -> float:
    """Return the time that one frame takes from decoder to encoder, in seconds."""
    part = job.output.with_suffix(PART_SUFFIX)
    with VideoSource(job.input, start=start, pix_fmt=job.options.chosen.pix_fmt) as source:
        timer, report = Timer(source, gone), Report(None, "")
        with VideoSink(part, source, part=True, **work.encoding(job, source.format)) as sink:
            stream = work.open_stream(job, None, source)
            run(as_source(timer), stream, sink, report, progress=lambda r: timer.seen(r.frames))
        return timer.seconds_per_frame()  # all frames are encoded


def time_survey(job: Job, start: float, gone: Event) -> float:
    """Return the time that one frame takes in the first pass, in seconds."""
    with VideoSource(job.input, start=start) as source:
        timer = Timer(source, gone)
        survey(as_source(timer), work.engine_of(job), seen=timer.seen)
        return timer.seconds_per_frame()


def as_source(timer: Timer) -> Source:
    """Return a timer as a `Source`, of which `run` and `survey` use only the frames."""
    return cast(Source, timer)
