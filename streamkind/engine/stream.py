"""The state of one video: everything that is stored from frame to frame.

Streams share an engine, which stores nothing of any video.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from streamkind.backends.base import Layers
from streamkind.engine.checks import check_pixels
from streamkind.engine.steady import STEADY, HeldLayers, Steadier, SteadyNames
from streamkind.engine.whole import Adapt, Finish, HasViews
from streamkind.light.exposure import (
    DEFAULT_TARGET,
    ChooseRatio,
    FixedRatio,
    Floats,
    OwnRatio,
    Ratio,
)
from streamkind.light.smoother import RatioSmoother, RatioState
from streamkind.light.track import Track, TrackRatio
from streamkind.video.format import ColorTags
from streamkind.video.frames import ClearFrame, Frame, Pixels

MICROSECONDS = 1_000_000
"""Units per second of the time base that is used for times given as float seconds."""


@dataclass(frozen=True, slots=True)
class StreamState:
    """The state of a stream at one moment. It does not change when the stream continues."""

    ratio: RatioState | None = None
    """State of the smoothed ratio: numbers on the host, which can be pickled."""
    held: HeldLayers | None = None
    """The last filtered layers, in the memory of the engine that made them."""
    seen: Any = None
    """State of the view, in the memory of the engine."""

    def elsewhere(self) -> StreamState:
        """Return the part that another engine can use: all that is not in an engine's memory."""
        return StreamState(self.ratio)


class Stream:
    """Enhances the frames of one video in order. Several streams may take turns on one engine.

    The steps: decompose -> filter the layers over time -> choose the ratio -> relight -> adapt
    -> finish. The network runs in the first and in the fourth.
    """

    def __init__(
        self,
        engine: HasViews,
        choose: ChooseRatio | None = None,
        *,
        steady: SteadyNames = STEADY,
        color: ColorTags | None = None,
        skip: bool = True,
        film: bool = True,
        state: StreamState | None = None,
    ) -> None:
        """Begin a video, or with `state` continue where another stream was.

        `choose` gives the ratio of each frame; without it the ratio is automatic and smoothed.
        `steady` names the layers to filter, "light" and "noise". `color` says how frames that are
        not RGB are coded. `skip` allows the network to skip frames if the profile does. Without
        `film` the frames are stills: each is relit by one ratio for the whole picture.
        """
        state = state or StreamState()
        self.engine, self.color = engine, color
        self.choose: ChooseRatio = choose or RatioSmoother()
        if isinstance(self.choose, RatioSmoother):
            self.choose.state = state.ratio
        self.view = engine.view(color, skip=skip, film=film)
        if state.seen is not None:
            self.view.state = state.seen
        self._hold = Steadier(self.view, steady, state=state.held)
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """Seconds that each step has worked so far."""

    @property
    def max_batch(self) -> int:
        """Largest useful batch, in frames."""
        return self.view.max_batch

    @property
    def overlaps(self) -> bool:
        """Whether `relight` may run in a second thread."""
        return self.view.overlaps

    @property
    def state(self) -> StreamState:
        """The present state, for another stream of the same engine and options."""
        smooth = self.choose
        ratio = smooth.state if isinstance(smooth, RatioSmoother) else None
        return StreamState(ratio, self._hold.state, self.view.state)

    def __call__(self, pixels: Pixels, times: Sequence[float]) -> tuple[Pixels, Floats]:
        """Enhance N consecutive frames of one size, shown at `times` in seconds.

        `pixels` are (N, H, W, 3) uint8 RGB or (N, 3 H / 2, W) yuv420p. Returns frames of the same
        shape, in memory of their own, and the N ratios.
        """
        adapt, ratios = self.begin(pixels, times)
        return adapt()(), ratios

    def begin(self, pixels: Pixels, times: Sequence[float]) -> tuple[Adapt, Floats]:
        """Do the first four steps. Return the fifth one as a function, and the N ratios.

        Call the function once, in the order of the frames. A second thread may call it while the
        next frames begin. It returns the last step as a function, which any thread may call. If
        the stream `overlaps`, the fourth step, which uses the device, is done with the fifth one. A
        batch of more than `max_batch` frames is divided, and enhanced before this method returns.
        """
        if len(pixels) > self.max_batch:
            clear, ratios = self._in_turn(pixels, times)
            return lambda: lambda: clear, ratios
        layers, ratios = self.prepare(self.decompose(pixels), times)
        if self.overlaps:
            return lambda: self.relight(layers, ratios)(), ratios
        return self.relight(layers, ratios), ratios

    def decompose(self, pixels: Pixels) -> Layers:
        """Split N frames into layers. The result does not depend on earlier frames."""
        with self.timed("decompose"):
            return self.view.decompose(pixels)

    def prepare(self, layers: Layers, times: Sequence[float]) -> tuple[Layers, Floats]:
        """Filter the layers of the next frames over time, and choose the ratio of each, (N,)."""
        with self.timed("steady"):
            layers = self._hold(layers, times)
        with self.timed("ratio"):
            return layers, self.choose(layers.statistics, times)

    def relight(self, layers: Layers, ratios: Floats) -> Adapt:
        """Relight layers by their ratios; return the next step."""
        with self.timed("relight"):
            return partial(self._adapt, self.view.relight(layers, ratios))

    def _adapt(self, adapt: Adapt) -> Finish:
        with self.timed("adapt"):
            return partial(self._finish, adapt())

    def _finish(self, finish: Finish) -> Pixels:
        with self.timed("finish"):
            return finish()

    def look_at(self, pixels: Pixels, times: Sequence[float]) -> None:
        """Update the filter over time by frames that are not enhanced themselves."""
        self._hold(self.view.decompose(pixels), times)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of a `with` block to the seconds of a step."""
        began = time.perf_counter()
        yield
        self.seconds[step] += time.perf_counter() - began

    def _in_turn(self, pixels: Pixels, times: Sequence[float]) -> tuple[Pixels, Floats]:
        some = [slice(i, i + self.max_batch) for i in range(0, len(pixels), self.max_batch)]
        parts = [self(pixels[one], times[one]) for one in some]
        clear, ratios = (np.concatenate(column) for column in zip(*parts, strict=True))
        return clear, ratios


def enhance_together(
    streams: Sequence[Stream], pixels: Pixels, times: Sequence[float]
) -> tuple[Finish, Floats]:
    """Enhance one frame of each of N videos in one batch.

    Returns the function for the last step, and the N ratios. Frames of several videos are finished
    already. They have one size, (N, H, W, 3) or (N, 3 H / 2, W). The streams have one engine and
    one color, and none skips frames. Each stream filters its layers and chooses its ratio by
    itself.
    """
    if len(streams) == 1:
        adapt, ratios = streams[0].begin(pixels, times)
        return adapt(), ratios
    view = streams[0].view
    with _shared(streams, "decompose"):
        layers = view.decompose(pixels)
    own = [
        stream.prepare(layers.frame(i), [at])
        for i, (stream, at) in enumerate(zip(streams, times, strict=True))
    ]
    ratios = np.concatenate([ratio for _, ratio in own])
    with _shared(streams, "relight"):
        adapt = view.relight(view.join([one for one, _ in own]), ratios)
    with _shared(streams, "adapt"):
        finish = adapt()
    with _shared(streams, "finish"):
        clear = finish()
    return lambda: clear, ratios


def clear_frames(
    stream: Stream, frames: Iterable[Frame | tuple[float, Pixels]]
) -> Iterator[ClearFrame]:
    """Yield enhanced frames one by one. No frame is read ahead."""
    for one in frames:
        frame = one if isinstance(one, Frame) else timed_frame(one)
        pixels, ratios = stream(frame.data[None], [float(frame.time)])
        yield ClearFrame(
            pixels[0],
            frame.pts,
            frame.time_base,
            frame.duration,
            still=frame.still,
            ratio=float(ratios[0]),
        )


def timed_frame(pair: tuple[float, Pixels]) -> Frame:
    """Return a frame for a time in seconds, which is rounded to a microsecond, and a picture.

    Raises ValueError for anything else.
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(
            "frames must be Frame objects, or pairs of a time in seconds and a picture, got"
            f" {type(pair).__name__}"
        )
    seconds, picture = pair
    if not isinstance(seconds, Real) or not math.isfinite(seconds):
        raise ValueError(f"the time of a frame must be a number of seconds, got {seconds!r}")
    check_pixels(picture)
    return Frame(picture, round(seconds * MICROSECONDS), Fraction(1, MICROSECONDS))


@contextmanager
def _shared(streams: Sequence[Stream], step: str) -> Iterator[None]:
    """Divide the time of a `with` block equally among the streams, as time of a step."""
    began = time.perf_counter()
    yield
    share = (time.perf_counter() - began) / len(streams)
    for stream in streams:
        stream.seconds[step] += share


def choose_ratio(
    ratio: Ratio = "auto",
    *,
    target: float = DEFAULT_TARGET,
    track: Track | None = None,
    steady: SteadyNames = STEADY,
    still: bool = False,
) -> ChooseRatio:
    """Return the object that chooses the ratio of each frame.

    A number gives the same ratio for all frames; a track gives that of each time. Otherwise the
    ratio is automatic, and smoothed if "ratio" is in `steady`.
    """
    if ratio != "auto":
        return FixedRatio(float(ratio))
    if track is not None:
        return TrackRatio(track)
    return RatioSmoother(target=target) if "ratio" in steady else OwnRatio(target, still)
