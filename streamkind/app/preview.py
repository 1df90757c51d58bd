"""Makes previews: single frames of a file before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, TypeVar

import numpy as np

from streamkind.app.facts import FileKey, LruCache, key_of
from streamkind.app.settings import ProfileChoice
from streamkind.backends.base import Layers
from streamkind.batch.work import engine_for
from streamkind.engine.engine import Engine
from streamkind.engine.profiles import PROFILES, open_engine
from streamkind.engine.stream import Stream
from streamkind.engine.whole import View
from streamkind.errors import InputError
from streamkind.light.exposure import DEFAULT_TARGET, MANUAL_RANGE, Ratio, auto_ratio
from streamkind.live.web.watch import jpeg_of
from streamkind.video.demux import main_video, open_input
from streamkind.video.footage import VideoSource
from streamkind.video.format import ColorTags
from streamkind.video.frames import Frame

FAST: ProfileChoice = "realtime"
"""Profile of the first, fast preview."""
USUAL = 1920, 1080
"""Width and height, in pixels, for which the networks are compiled in advance."""
WARM = 3
"""Number of frames before the shown one that go through the filter over time, so that the preview
has as little noise as the result."""
STOP_SECONDS = 3.0
"""Longest wait, in seconds, for previews under way when the command ends."""
FAST_KEPT, FINE_KEPT = 8, 4
"""Number of frames whose layers are cached. Those of a 1080p frame in `quality` take about 60 MB.
"""

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class SplitFrame:
    """A frame of a file, split into layers. For another ratio, only `recompose` runs again."""

    view: View
    layers: Layers
    color: ColorTags

    def picture(self, ratio: Ratio, target: float, width: int) -> FilePreview:
        """Relight the frame, and encode it at a width of at most `width` pixels."""
        told = auto_ratio(self.layers.statistics, target)
        ratios = told if ratio == "auto" else np.full(1, ratio, np.float32)
        after = self.view.recompose(self.layers, ratios)[0]
        return FilePreview(
            jpeg_of(self.layers.pixels[0], after, self.color, width), float(ratios[0])
        )


@dataclass(frozen=True)
class FilePreview:
    """A frame before and after."""

    jpeg: bytes
    """JPEG: before in its left half, after in its right."""
    ratio: float
    """Ratio by which the frame was relit."""


@dataclass(frozen=True)
class PreviewRequest:
    """The frame and the settings of a preview."""

    path: Path
    at: float
    """Time of the frame, in seconds from the beginning of the video."""
    profile: ProfileChoice
    ratio: Ratio
    target: float
    width: int
    """Largest width of one picture, in pixels."""


class FilePreviews:
    """Makes previews in two threads: a fast one, and one for the chosen profile.

    Each thread has an engine of its own. The fast one answers while the other works on a frame.
    """

    def __init__(self) -> None:
        self._fast = ThreadPoolExecutor(1, "preview-fast")
        self._fine = ThreadPoolExecutor(1, "preview-fine")
        self._engine: Engine | None = None
        self._warmed = False
        self._tasks: set[Future[Any]] = set()
        self._fast_frames: LruCache[tuple[FileKey, float], SplitFrame] = LruCache(FAST_KEPT)
        self._fine_frames: LruCache[tuple[FileKey, float, str], SplitFrame] = LruCache(FINE_KEPT)
        self._rates: LruCache[FileKey, float] = LruCache(FINE_KEPT)

    def warm(self) -> None:
        """Prepare the fast engine, so that it is ready when the first file is chosen."""
        if not self._warmed:
            self._warmed = True
            self._run(self._fast, self._show_black)

    def show(self, wanted: PreviewRequest, *, fine: bool, gone: Event) -> Future[FilePreview]:
        """Return a preview: with `fine` in the profile of its settings, else in `FAST`.

        The future raises InputError soon after `gone` is set.
        """
        if fine:
            return self._run(self._fine, self._show_fine, wanted, gone)
        return self._run(self._fast, self._show_fast, wanted, gone)

    def run(self, function: Callable[..., Answer], *arguments: Any) -> Future[Answer]:
        """Run a function in the slow thread, where the engine of `batch.work` is used."""
        return self._run(self._fine, function, *arguments)

    def _run(
        self, executor: ThreadPoolExecutor, function: Callable[..., Answer], *arguments: Any
    ) -> Future[Answer]:
        task = executor.submit(function, *arguments)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """Cancel waiting tasks, and free the engines.

        A task that takes longer than `STOP_SECONDS` is not waited for.
        """
        for executor in (self._fast, self._fine):
            executor.shutdown(wait=False, cancel_futures=True)
        _, late = wait(list(self._tasks), STOP_SECONDS)
        if self._engine is not None and not late:
            self._engine.close()

    def _fast_engine(self) -> Engine:
        if self._engine is None:
            self._engine = open_engine(profile=FAST)
        return self._engine

    def _show_black(self) -> None:
        """Enhance a black frame of the usual size, which compiles the networks."""
        width, height = USUAL
        stream = Stream(self._fast_engine(), skip=False)
        frame = np.zeros((1, height * 3 // 2, width), np.uint8)
        layers, _ = stream.prepare(stream.decompose(frame), [0.0])
        SplitFrame(stream.view, layers, ColorTags()).picture(MANUAL_RANGE[1], DEFAULT_TARGET, width)

    def _show_fast(self, wanted: PreviewRequest, gone: Event) -> FilePreview:
        key = key_of(wanted.path), wanted.at
        split = self._fast_frames.get(
            key, lambda: self._split(self._fast_engine(), FAST, wanted, gone, warm=0)
        )
        return split.picture(wanted.ratio, wanted.target, wanted.width)

    def _show_fine(self, wanted: PreviewRequest, gone: Event) -> FilePreview:
        key = key_of(wanted.path), wanted.at, wanted.profile
        split = self._fine_frames.get(key, lambda: self._split_fine(wanted, gone))
        return split.picture(wanted.ratio, wanted.target, wanted.width)

    def _split_fine(self, wanted: PreviewRequest, gone: Event) -> SplitFrame:
        check_wanted(gone)
        engine = engine_for("auto", "auto", wanted.profile, "auto")
        return self._split(engine, wanted.profile, wanted, gone, warm=WARM)

    def _split(
        self,
        engine: Engine,
        profile: ProfileChoice,
        wanted: PreviewRequest,
        gone: Event,
        *,
        warm: int,
    ) -> SplitFrame:
        """Decode the wanted frame and `warm` frames before it, and split it into layers.

        Raises InputError.
        """
        path, at = wanted.path, wanted.at
        rate = self._rates.get(key_of(path), lambda: rate_of(path))
        with frames_until(path, at, warm, profile, rate) as source:
            color = source.format.color
            stream = Stream(engine, color=color, skip=False)
            layers: Layers | None = None
            for frame in last_frames(source, at, warm):
                check_wanted(gone)
                layers, _ = stream.prepare(stream.decompose(frame.data[None]), [float(frame.time)])
        if layers is None:
            raise InputError(
                f"{path.name}: no frame can be decoded at {at:.1f} s; choose another time"
            )
        return SplitFrame(stream.view, layers, color)


def check_wanted(gone: Event) -> None:
    """Raise InputError if `gone` is set: nobody waits for the answer any more."""
    if gone.is_set():
        raise InputError("nobody waits for the answer; ask again")


def rate_of(path: Path) -> float:
    """Return the frames per second of a video, 0 if unknown. Raises InputError."""
    with open_input(path) as container:
        return float(main_video(container, path).average_rate or 0)


def frames_until(
    path: Path, at: float, warm: int, profile: ProfileChoice, rate: float
) -> VideoSource:
    """Open a video of `rate` frames per second `warm` frames before `at` seconds."""
    start = max(0.0, at - (warm + 1) / rate) if rate else 0.0
    try:
        return VideoSource(path, pix_fmt=PROFILES[profile].pix_fmt, start=start)
    except InputError:  # the file is shorter than its header says
        return VideoSource(path, pix_fmt=PROFILES[profile].pix_fmt)


def last_frames(source: VideoSource, at: float, warm: int) -> Iterator[Frame]:
    """Yield the frame at `at` seconds, and up to `warm` frames before it."""
    begin: float | None = None
    for count, frame in enumerate(source):
        begin = float(frame.time) if begin is None else begin
        yield frame
        if count >= warm or float(frame.time) - begin >= at:
            return
