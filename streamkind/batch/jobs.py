"""Runs the jobs of a batch: prepares each job, enhances its parts and joins them.

Read this module of `batch` first. Any `concurrent.futures.Executor` can run the tasks: in this
process, in several processes or on a cluster.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from streamkind.batch import work
from streamkind.batch.divide import expected_frames
from streamkind.batch.ending import finish
from streamkind.batch.executors import InProcess
from streamkind.batch.journal import Job, Journal, write
from streamkind.batch.lock import Lock
from streamkind.errors import OutputError, StreamkindError, in_words
from streamkind.light.track import Track
from streamkind.video.storage import remove_folder, write_whole

Status = Literal["waiting", "done", "skipped", "failed"]


@dataclass
class Result:
    """The result of a job so far."""

    job: Job
    status: Status = "waiting"
    expected: int = 0
    """Number of frames by the input's header; 0 if the header has none."""
    frames: int = 0
    lost: int = 0
    seconds: float = 0.0
    """Time from the beginning to the end of the job, in seconds."""
    warnings: list[str] = field(default_factory=list)
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the result as a dictionary, for a report."""
        told = {key: value for key, value in vars(self).items() if key != "job"}
        return {"input": str(self.job.input), "output": str(self.job.output), **told}


@dataclass
class BatchProgress:
    """The progress of a batch."""

    results: list[Result]
    frames: int = 0
    """Number of frames in finished parts of jobs that have not failed."""
    surveyed: int = 0
    """Frames read so far by the first pass, if it runs in this process."""
    under_way: int = 0
    """Frames enhanced so far in the present part, if it is enhanced in this process."""
    total: int = 0
    """Expected frames of all jobs that are not skipped and have not failed."""
    told: str = ""
    """Message about a job that has just begun or ended; "" if there is none."""


@dataclass
class _Running:
    """A job that has begun."""

    result: Result
    lock: Lock
    journal: Journal | None = None
    outcomes: dict[int, work.Outcome] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)


_Task = tuple[Callable[..., Any], Callable[[_Running, Any], None], _Running]
"""The function for the executor, the method that receives its result, and the job."""


class JobRunner:
    """Runs jobs until each is done, skipped or failed."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        executor: Executor | None = None,
        slots: Callable[[], int] = lambda: 1,
        progress: Callable[[BatchProgress], None] = lambda progress: None,
        look: work.ShowFrames | None = None,
    ) -> None:
        """`slots` returns how many tasks to submit at once. It may change, as a cluster may grow.

        `look` is called with frames before and after, if this process enhances them.
        """
        self.results = [Result(job, expected=expected_frames(job.input)) for job in jobs]
        self._executor = executor or InProcess()
        self._slots = slots
        self._tell, self._look = progress, look
        self._progress = BatchProgress(self.results)
        self._waiting: deque[_Task] = deque()
        self._futures: dict[Future[Any], _Task] = {}
        self._locks: set[Lock] = set()
        self._engine_told = False

    def run(self) -> list[Result]:
        """Run all jobs and return their results. A job that fails does not affect the others."""
        ahead = deque(self.results)
        try:
            while ahead or self._waiting or self._futures:
                while len(self._futures) < self._slots() and (self._waiting or ahead):
                    if self._waiting:
                        self._submit(self._waiting.popleft())
                    else:
                        self._begin(ahead.popleft())
                done, _ = wait(self._futures, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    self._take(future)
        except BrokenProcessPool as error:
            raise OutputError(
                "a worker process was killed, perhaps for lack of memory; run the same command "
                "again, with fewer --jobs; finished parts are kept"
            ) from error
        finally:
            for lock in self._locks:
                lock.release()
        return self.results

    def _begin(self, result: Result) -> None:
        """Skip a job that is done. Otherwise lock it, and submit its preparation."""
        job = result.job
        try:
            if job.is_done():
                remove_folder(job.folder)
                result.status = "skipped"
                self._say(f"{job.output}: skipped, it exists and was made with these settings")
                return
            lock = Lock(job)
        except Exception as error:  # a library of remote storage has kinds of its own
            self._fail(result, error)
            return
        self._locks.add(lock)
        self._say(f"{job.input}")
        running = _Running(result, lock)
        if not self._engine_told:
            self._engine_told = True
            self._waiting.append((partial(work.engine_description, job), self._engine_is, running))
        self._try(running, lambda: self._read_journal(running))

    def _engine_is(self, running: _Running, told: str) -> None:
        self._engine_told = bool(told)  # if there is none, that of the next file is reported
        if told:
            self._say(f"{running.result.job.input}: {told}")

    def _read_journal(self, running: _Running) -> None:
        job = running.result.job
        if job.output.exists():
            self._note(
                running, "its result is damaged or was made with other settings; it is made again"
            )
        found = Journal.read(job)
        if isinstance(found, Journal):
            self._go_on(running, found)
            return
        if found:
            self._note(running, f"{found}; the job starts again")
        seen = self._surveyed if isinstance(self._executor, InProcess) else None
        self._waiting.append((partial(work.prepare, job, seen), self._prepared, running))

    def _submit(self, task: _Task) -> None:
        if task[2].result.status == "failed":
            return
        self._futures[self._executor.submit(task[0])] = task

    def _take(self, future: Future[Any]) -> None:
        _, then, running = self._futures.pop(future)
        if running.result.status == "failed":
            return
        self._try(running, lambda: then(running, future.result()))

    def _try(self, running: _Running, step: Callable[[], None]) -> None:
        """Run a step of a job. If it fails, the job fails, not the batch."""
        try:
            step()
        except BrokenProcessPool:
            raise
        except Exception as error:
            self._end(running)
            self._fail(running.result, error)

    def _prepared(self, running: _Running, found: tuple[Journal, Track | None]) -> None:
        journal, track = found
        self._go_on(running, journal.keep(running.result.job, track))

    def _go_on(self, running: _Running, journal: Journal) -> None:
        """Submit all parts that are not finished."""
        job, running.journal = running.result.job, journal
        track = Track.read(job.track) if journal.track else None
        here = isinstance(self._executor, InProcess)
        seen, look = (self._seen, self._look) if here else (None, None)
        self._progress.surveyed = 0
        tasks: list[_Task] = []
        for index in range(journal.count):
            known = work.whole_part(job, index)
            if isinstance(known, work.Outcome):
                self._keep(running, index, known)
                continue
            if known:
                self._note(running, known)
            ratios = journal.ratios(index, track)
            call = partial(work.enhance_part, job, journal, index, ratios, seen, look)
            tasks.append((call, partial(self._enhanced, index=index), running))
        if running.outcomes:
            done, parts = len(running.outcomes), journal.count
            self._say(f"{job.input}: resumed, {done} of {parts} parts are done")
        self._waiting.extendleft(reversed(tasks))
        self._join(running)

    def _note(self, running: _Running, note: str) -> None:
        running.result.warnings.append(note)
        self._say(f"{running.result.job.input}: {note}")

    def _enhanced(self, running: _Running, outcome: work.Outcome, *, index: int) -> None:
        job = running.result.job
        if outcome.data is not None:  # from a machine that cannot see the job's folder
            write_whole(job.part(index), outcome.data)
            outcome.data = None
            write(job.record(index), outcome.record())
        self._keep(running, index, outcome)
        self._join(running)

    def _keep(self, running: _Running, index: int, outcome: work.Outcome) -> None:
        running.outcomes[index] = outcome
        running.result.frames += outcome.frames
        running.result.lost += outcome.lost
        running.result.warnings += [w for w in outcome.warnings if w not in running.result.warnings]
        self._progress.frames += outcome.frames
        self._progress.under_way = 0
        self._say("")

    def _surveyed(self, frames: int) -> None:
        self._progress.surveyed = frames
        self._say("")

    def _seen(self, frames: int) -> None:
        self._progress.under_way = frames
        self._say("")

    def _join(self, running: _Running) -> None:
        """Join the parts if all are finished."""
        result, journal = running.result, running.journal
        if journal is None or len(running.outcomes) < journal.count:
            return
        outcomes = [running.outcomes[i] for i in range(journal.count)]
        warnings = finish(result.job, journal, outcomes)
        result.warnings += [w for w in warnings if w not in result.warnings]
        if result.lost and len(journal.starts) > 1:
            result.warnings.append(
                f"{result.lost} frames could not be decoded: the file is damaged; "
                "all other frames were enhanced"
            )
        found = sum(outcome.frames for outcome in outcomes[: len(journal.starts)])
        if journal.frames is not None and journal.frames != found:
            result.warnings.append(
                f"the first pass has read {journal.frames} frames, but {found} were enhanced"
            )
        result.status = "done"
        self._end(running)
        self._say(f"{result.job.output}: done")

    def _end(self, running: _Running) -> None:
        running.lock.release()
        self._locks.discard(running.lock)
        running.result.seconds = time.monotonic() - running.began

    def _fail(self, result: Result, error: Exception) -> None:
        result.status = "failed"
        cause = getattr(error, "cause", None) or error  # Ray wraps it, with its trace
        known = isinstance(cause, StreamkindError)
        told = str(cause) if known else f"{result.job.input}: {in_words(cause) or repr(cause)}"
        result.error = " ".join(told.split())
        self._progress.frames -= result.frames  # `total` leaves them out too
        self._progress.under_way = self._progress.surveyed = 0
        self._say(f"failed: {result.error}")

    def _say(self, told: str) -> None:
        at_work = [r for r in self.results if r.status in ("waiting", "done")]
        self._progress.total = sum(r.expected or r.frames for r in at_work)
        self._progress.told = told
        self._tell(self._progress)
