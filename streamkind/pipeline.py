"""READ THIS FIRST: source -> batches -> decompose -> ratio -> recompose -> sink."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from streamkind.backends.base import BackendName, Engine
from streamkind.engine import Ratio, check_ratio, open_engine
from streamkind.errors import InputError, UsageError
from streamkind.exposure import DEFAULT_TARGET, FixedRatio, RatioSmoother
from streamkind.exposure import Ratio as ChooseRatio
from streamkind.video.frames import Batch, Pixels, batched
from streamkind.video.sink import Sink, open_sink
from streamkind.video.source import Source, open_source
from streamkind.video.threads import ReadAhead, WriteBehind


@dataclass
class Report:
    """How far a run is, and at its end what it did."""

    total: int | None
    """Frames expected; None when the container does not say."""
    engine: str
    frames: int = 0
    """Frames enhanced so far."""
    ratio: float = 1.0
    """Of the last frame."""
    lost: int = 0
    """Frames that could not be decoded."""
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0
    """Since the first frame was asked for."""
    stages: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Busy seconds of each stage; they overlap, so their sum may exceed `seconds`."""
    warnings: list[str] = field(default_factory=list)

    @property
    def fps(self) -> float:
        """Frames per second so far."""
        return self.frames / self.seconds if self.seconds else 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        began = time.perf_counter()
        yield
        self.stages[name] += time.perf_counter() - began

    def add(self, batch: Batch, ratio: float) -> None:
        """Count a finished batch."""
        self.frames += len(batch.frames)
        self.ratio = ratio
        self.seconds = time.perf_counter() - self.began


Progress = Callable[[Report], None]


def run(
    source: Source,
    engine: Engine,
    ratio: ChooseRatio,
    sink: Sink,
    report: Report,
    *,
    side_by_side: bool = False,
    progress: Progress = lambda report: None,
) -> None:
    """Enhance every frame of the source into the sink. Decode and encode run in threads beside."""
    with ReadAhead(source) as frames, WriteBehind(sink) as output:
        for batch in batched(frames, engine.max_batch):
            with report.stage("decompose"):
                layers = engine.decompose(batch.pixels)
            ratios = ratio(layers.statistics, batch.times)
            with report.stage("recompose"):
                pixels = engine.recompose(layers, ratios)
            output.put(batch.replace(beside(batch.pixels, pixels) if side_by_side else pixels))
            report.add(batch, float(ratios[-1]))
            progress(report)
    report.stages |= {"decode": frames.seconds, "encode": output.seconds}


def enhance(
    input: str | Path,
    output: str | Path,
    *,
    ratio: Ratio = "auto",
    target: float = DEFAULT_TARGET,
    model: str = "kind",
    backend: BackendName = "auto",
    device: str = "auto",
    codec: str = "h264",
    crf: int | None = None,
    preset: str | None = None,
    side_by_side: bool = False,
    start: float = 0.0,
    duration: float | None = None,
    progress: Progress = lambda report: None,
) -> Report:
    """Make a video, an image or a folder of images clear, and tell how it went.

    `ratio` is how far the illumination is raised, 0.1 to 10, or "auto": a dark frame is brought to
    a mean luma of `target` in (0, 1]. `codec`, `crf` and `preset` are FFmpeg's. `start` and
    `duration` are in seconds. `progress` is called after every batch with the report so far.

    The output appears under its name only when it is complete. Raises UsageError, InputError,
    OutputError or EngineError; the input is never touched.
    """
    check_ratio(ratio)
    if not 0 < target <= 1:
        raise UsageError(f"target is a mean luma above 0 and up to 1, got {target:g}")
    with open_source(input, start=start, duration=duration) as source:
        choose = FixedRatio(ratio) if ratio != "auto" else automatic(source, target)
        with (
            open_sink(
                output, source, codec=codec, crf=crf, preset=preset, side_by_side=side_by_side
            ) as sink,
            open_engine(model, backend=backend, device=device) as engine,
        ):
            report = Report(source.format.frames, engine.description)
            progress(report)
            run(source, engine, choose, sink, report, side_by_side=side_by_side, progress=progress)
            if not report.frames:
                raise InputError(f"{input} has no frame that can be decoded; nothing was written")
        report.lost, report.warnings = source.lost, [*source.warnings, *sink.warnings]
    return report


def automatic(source: Source, target: float) -> RatioSmoother:
    """Smooth the ratio over a video; stills share no exposure."""
    return RatioSmoother(target=target, gap_seconds=0.0 if source.still else 2.0)


def beside(before: Pixels, after: Pixels) -> Pixels:
    """Put the original left of the result, (N, H, 2 W, 3)."""
    return np.concatenate([before, after], axis=2)
