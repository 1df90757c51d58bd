"""One engine for all cameras. Frames of several cameras that have one size can share a batch."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from streamkind.engine.engine import Engine
from streamkind.engine.stream import Stream, enhance_together
from streamkind.engine.whole import Finish
from streamkind.live.compiled_sizes import CompiledSizes
from streamkind.live.frame_queue import FrameQueue, WaitingFrame
from streamkind.live.load import Load
from streamkind.live.secrets import redact
from streamkind.video.frames import Pixels, PixFmt

WINDOW_SECONDS = 0.01
"""Time, in seconds, that an incomplete batch waits for frames of other cameras."""
WAIT_SECONDS = 0.05
"""Longest wait, in seconds, before the stop flag is checked."""
PAUSE_SECONDS = 2.0
"""Pause, in seconds, of a camera after the engine has failed on its frame. Also the pause between
two attempts to open an engine again."""
MOST_FAILURES = 3
"""Number of failures in a row after which the engine is opened again."""


class EngineClient(Protocol):
    """The part of a camera that the engine uses. The engine's thread calls all methods."""

    queue: FrameQueue

    def has_room(self) -> bool:
        """Return whether the camera can accept an enhanced frame. If not, its frames wait."""

    def oldest(self, seconds: float, wait: float) -> float:
        """Return a time of `time.monotonic`: frames that were decoded before it are too old.

        `seconds` is how long the engine takes for a frame. `wait` is the longest wait, in seconds,
        at the present load. The call changes nothing.
        """

    def took(self, seconds: float) -> None:
        """Store the time that the engine takes for its frames, in seconds."""

    def stream(self, engine: Engine) -> Stream:
        """Return the camera's `Stream` over this engine."""

    def deliver(self, frame: WaitingFrame, finish: Finish, ratio: float) -> None:
        """Accept the function that finishes an enhanced frame, and its ratio."""

    def fail(self, error: str) -> None:
        """Store the error of a frame that could not be enhanced."""


@dataclass
class BatchFrame:
    """A frame of a camera that is enhanced in the next batch."""

    camera: EngineClient
    frame: WaitingFrame
    dropped: int
    """Number of older frames of the camera that were dropped when this one was taken."""
    done: bool = False


class SharedEngine:
    """One engine in a thread of its own, for all cameras."""

    def __init__(self, open_engine: Callable[[], Engine]) -> None:
        """Open the engine in its thread. Raises what `open_engine` raises."""
        self.ready = threading.Condition()
        """Notified when a frame is added to the queue of a camera."""
        self._open = open_engine
        # The lock of `ready` protects these.
        self._description = ""
        self._wanted: Callable[[int, int], PixFmt] | None = None
        self._cameras: list[EngineClient] = []
        self._resting: dict[int, float] = {}
        # Used only by the engine's thread.
        self._compiled: CompiledSizes | None = None
        self._cost: dict[tuple[int, ...], float] = {}
        self._load = Load()
        self._failures = 0
        self._stop = threading.Event()
        self._opened = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="streamkind-engine", daemon=True)
        self._thread.start()
        while not self._opened.wait(WAIT_SECONDS):
            pass
        if self._error is not None:
            self._thread.join()
            raise self._error

    @property
    def description(self) -> str:
        """Description of the engine, for the log."""
        with self.ready:
            return self._description

    def pix_fmt(self, width: int, height: int) -> PixFmt:
        """Return the best pixel format for frames of this size. Any thread may call it."""
        with self.ready:
            wanted = self._wanted
        return wanted(width, height) if wanted else "rgb24"

    def add(self, camera: EngineClient) -> None:
        """Serve a camera from now on."""
        with self.ready:
            self._cameras.append(camera)

    def remove(self, camera: EngineClient) -> None:
        """Stop serving a camera."""
        with self.ready:
            if camera in self._cameras:
                self._cameras.remove(camera)
            self._resting.pop(id(camera), None)

    def stop(self) -> None:
        """Ask the thread to end; `join` waits for that."""
        self._stop.set()

    def join(self, until: float) -> None:
        """Wait for the end of the thread, at most until `until`, a time of `time.monotonic`."""
        self._thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        engine: Engine | None = None
        try:
            engine = self._begin()
        except BaseException as exc:
            self._error = exc
            return
        finally:
            self._opened.set()
        try:
            while engine is not None and not self._stop.is_set():
                batch = self._next_frames(engine.max_batch)
                if batch and not self._serve(engine, batch):
                    lost, engine = engine, None
                    self._end(lost)  # before another is opened: a device may not hold two
                    engine = self._reopen()
        finally:
            if engine is not None:
                self._end(engine)

    def _end(self, engine: Engine) -> None:
        with contextlib.suppress(Exception):  # a lost device may refuse to be closed
            if self._compiled is not None:
                self._compiled.close()
            engine.close()

    def _begin(self) -> Engine:
        """Open an engine, and store its description and pixel format.

        They may differ from those of the engine before.
        """
        engine = self._open()
        self._compiled = CompiledSizes(engine)
        with self.ready:
            self._description, self._wanted = engine.description, engine.pix_fmt
        return engine

    def _reopen(self) -> Engine | None:
        """Try to open an engine until that works, because a lost device may return.

        Returns None if `stop` was called.
        """
        self._failures = 0
        self._cost.clear()
        while not self._stop.is_set():
            try:
                return self._begin()
            except Exception as exc:
                with self.ready:
                    cameras = list(self._cameras)
                for camera in cameras:
                    camera.fail(redact(f"engine: {exc}"))
            self._stop.wait(PAUSE_SECONDS)
        return None

    def _serve(self, engine: Engine, batch: list[BatchFrame]) -> bool:
        """Enhance a batch. Return False if the engine has failed too often."""
        began = time.monotonic()
        try:
            serve(engine, batch)
        except Exception as exc:  # other cameras must continue
            for one in batch:
                one.camera.fail(redact(f"engine: {exc}"))
                self._rest(one.camera)
                if not one.done:
                    one.camera.queue.count_dropped()
            self._failures += 1
            return self._failures < MOST_FAILURES
        self._failures = 0
        shape = (len(batch), *batch[0].frame.pixels.shape)
        if self._compiled is not None:
            self._compiled.learn(shape[1:])
        ended = time.monotonic()
        self._load.note(began, ended, len(batch), sum(one.dropped for one in batch))
        took = ended - began
        # The first batch of a size includes the time for compiling, so it does not count.
        before = self._cost.get(shape)
        self._cost[shape] = 0.0 if before is None else max(took, 0.8 * before + 0.2 * took)
        for one in batch:
            one.camera.took(self._cost[shape])
        return True

    def _rest(self, camera: EngineClient) -> None:
        with self.ready:
            if camera in self._cameras:
                self._resting[id(camera)] = time.monotonic() + PAUSE_SECONDS

    def _next_frames(self, most: int) -> list[BatchFrame]:
        """Take one frame from each of up to `most` cameras, all of one size.

        Move these cameras to the end of the list, so that the others are served next.
        """
        with self.ready:
            batch = self._gather([], most)
            if not batch:
                self.ready.wait(WAIT_SECONDS)
                batch = self._gather([], most)
            until = time.monotonic() + WINDOW_SECONDS
            while batch and len(batch) < min(most, len(self._cameras)):
                left = until - time.monotonic()
                if left <= 0 or self._stop.is_set():
                    break
                self.ready.wait(left)
                batch = self._gather(batch, most)
            served = [one.camera for one in batch]
            self._cameras = [c for c in self._cameras if c not in served] + [
                c for c in served if c in self._cameras
            ]
        return batch

    def _gather(self, batch: list[BatchFrame], most: int) -> list[BatchFrame]:
        now = time.monotonic()
        taken = {id(one.camera) for one in batch}
        for camera in self._cameras:
            if len(batch) >= most:
                break
            first = camera.queue.peek()
            if first is None or id(camera) in taken or self._resting.get(id(camera), 0) > now:
                continue
            if not camera.has_room():  # the enhanced frame would replace another one
                continue
            if batch and first.pixels.shape != batch[0].frame.pixels.shape:
                continue
            alone = len(self._cameras) == 1
            if self._compiled is not None and not alone and not self._compiled.has(first.pixels):
                continue  # not compiled for this size yet
            cost = self._cost.get((len(batch) + 1, *first.pixels.shape), 0.0)
            dropped = camera.queue.dropped
            wait = self._load.longest_wait(now) * camera.queue.interval
            frame = camera.queue.take(camera.oldest(cost, wait))
            if frame is not None:
                batch.append(BatchFrame(camera, frame, camera.queue.dropped - dropped))
        return batch


def serve(engine: Engine, batch: list[BatchFrame]) -> None:
    """Relight one frame of each of several cameras in one batch, and deliver the results."""
    streams = [one.camera.stream(engine) for one in batch]
    frames = [one.frame for one in batch]
    pixels = np.stack([frame.pixels for frame in frames])
    finish, ratios = enhance_together(streams, pixels, [frame.seconds for frame in frames])
    for i, (one, ratio) in enumerate(zip(batch, ratios, strict=True)):
        one.camera.deliver(one.frame, partial(_frame, finish, i), float(ratio))
        one.done = True


def _frame(finish: Finish, number: int) -> Pixels:
    """Finish frames, and return one of them."""
    picture: Pixels = finish()[number]
    return picture
