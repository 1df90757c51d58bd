"""READ THIS FIRST: source -> batches -> decompose -> steady -> ratio -> recompose -> sink."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from streamkind.backends.base import BackendName, Engine, Layers
from streamkind.backends.choose import on_gpu
from streamkind.engine.engine import KinD, Ratio, check_ratio
from streamkind.engine.profiles import (
    PROFILES,
    Profile,
    ProfileName,
    choose_profile,
    encoder_preset,
    open_engine,
)
from streamkind.engine.steady import STEADY, Steadier, Steady, check_steady
from streamkind.engine.survey import survey
from streamkind.errors import InputError, UsageError
from streamkind.light.exposure import DEFAULT_TARGET, STILL_TARGET, FixedRatio, OwnRatio
from streamkind.light.exposure import Ratio as ChooseRatio
from streamkind.light.lookahead import light_changes
from streamkind.light.smoother import RatioSmoother
from streamkind.light.track import Track, TrackRatio
from streamkind.video.encoders import usual_codec
from streamkind.video.frames import Batch, Pixels, batched, rgb24
from streamkind.video.images import check_still, is_still
from streamkind.video.keyframes import key_frames
from streamkind.video.sequence import USUAL_FPS, becomes_video
from streamkind.video.sink import Sink, open_sink
from streamkind.video.source import Source, open_source
from streamkind.video.storage import as_path
from streamkind.video.threads import ReadAhead, WriteBehind


@dataclass
class Report:
    """How far a run is, and at its end what it did."""

    total: int | None
    """Frames expected; None when the container does not say."""
    engine: str
    surveyed: int = 0
    """Frames that the first of two passes has seen so far."""
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

    def check(self, input: object) -> None:
        """Raise InputError when there was nothing to enhance."""
        if not self.frames:
            raise InputError(f"{input} has no frame that can be decoded; nothing was written")


Progress = Callable[[Report], None]


def run(
    source: Source,
    engine: Engine,
    ratio: ChooseRatio,
    sink: Sink,
    report: Report,
    *,
    hold: Callable[[Layers, Sequence[float]], Layers] = lambda layers, times: layers,
    show: Callable[[Pixels, Pixels], Pixels] | None = None,
    progress: Progress = lambda report: None,
) -> None:
    """Enhance every frame of the source into the sink. Decode and encode run in threads beside."""
    with ReadAhead(source) as frames, WriteBehind(sink) as output:
        for batch in batched(frames, engine.max_batch):
            with report.stage("decompose"):
                layers = engine.decompose(batch.pixels)
            with report.stage("steady"):
                layers = hold(layers, batch.times)
            ratios = ratio(layers.statistics, batch.times)
            with report.stage("recompose"):
                pixels = engine.recompose(layers, ratios)
            output.put(batch.replace(show(batch.pixels, pixels) if show else pixels))
            report.add(batch, float(ratios[-1]))
            progress(report)
    report.stages |= {"decode": frames.seconds, "encode": output.seconds}


def enhance(
    input: str | Path,
    output: str | Path,
    *,
    ratio: Ratio = "auto",
    target: float | None = None,
    steady: Collection[Steady] = STEADY,
    two_pass: bool | None = None,
    ratio_track: str | Path | None = None,
    profile: ProfileName = "auto",
    model: str = "auto",
    backend: BackendName = "auto",
    device: str = "auto",
    codec: str = "auto",
    crf: int | None = None,
    preset: str | None = None,
    side_by_side: bool = False,
    fps: float | None = None,
    start: float = 0.0,
    duration: float | None = None,
    progress: Progress = lambda report: None,
) -> Report:
    """Make a video, an image or a folder of images clear, and tell how it went.

    `ratio` is how far the illumination is raised, 0.1 to 10, or "auto": a dark frame is brought to
    a mean luma of `target` in (0, 1], 0.45, a still 0.47. `steady` is what is held still in videos.
    With `two_pass`, in "realtime" if the light of key frames differs by a stop, ratios are found in
    a first pass and smoothed with look-ahead; `ratio_track`, a CSV, gives them instead. `profile`
    is by default "quality" for stills and on a GPU, else "balanced". `codec`, `crf` and `preset`
    are FFmpeg's, `start` and `duration` seconds; `fps` makes a folder of images a video. The
    output appears once complete. Raises UsageError or Input-, Output- or EngineError.
    """
    fps = USUAL_FPS if fps is None and becomes_video(input, output) else fps
    still, gpu = fps is None and is_still(input), on_gpu(backend, device)
    check_still(still, codec, crf, preset, two_pass, ratio_track)
    codec = usual_codec(output, codec)
    target = (STILL_TARGET if still else DEFAULT_TARGET) if target is None else target
    check(ratio, target, steady)
    track = check_track(ratio_track, ratio)
    profile = choose_profile(profile, backend, device, still=still)
    read = partial(open_source, input, start=start, duration=duration, hardware=gpu, fps=fps)
    fitting = partial(encoder_preset, PROFILES[profile], codec, preset)
    write = partial(open_sink, output, codec=codec, crf=crf, hardware=gpu)
    with (
        read(pix_fmt=rgb24 if side_by_side else PROFILES[profile].pix_fmt) as source,
        write(source, preset=fitting(source.format), side_by_side=side_by_side) as sink,
        engine_for(source, model, backend, profile, device) as engine,
    ):
        progress(report := Report(source.format.frames, describe(engine, source)))
        steady = () if source.still else steady
        choose = choose_ratio(ratio, track, target, steady, still=source.still)
        smoothed = isinstance(choose, RatioSmoother) and as_path(input).is_file()
        if smoothed and passes_twice(input, two_pass, PROFILES[profile], start, duration):
            with read() as first:
                choose = TrackRatio(first_pass(first, engine, target, report, progress))
        show, hold = beside if side_by_side else None, Steadier(engine, steady)
        run(source, engine, choose, sink, report, hold=hold, show=show, progress=progress)
        report.check(input)
    report.lost, report.warnings = source.lost, [*source.warnings, *sink.warnings]
    return report


def find_track(
    input: str | Path,
    *,
    target: float = DEFAULT_TARGET,
    profile: ProfileName = "auto",
    model: str = "auto",
    backend: BackendName = "auto",
    device: str = "auto",
    start: float = 0.0,
    duration: float | None = None,
    progress: Progress = lambda report: None,
) -> Track:
    """Do the first of two passes alone: the ratio of every frame of a video, smoothed.

    Takes what `enhance` takes. Raises UsageError, InputError or EngineError.
    """
    check_target(target)
    with open_source(input, start=start, duration=duration) as source:
        if source.still:
            raise UsageError(f"{input}: a ratio track is for videos; stills share no exposure")
        profile = choose_profile(profile, backend, device)
        with open_engine(model, backend=backend, profile=profile, device=device) as engine:
            report = Report(source.format.frames, engine.description)
            progress(report)
            track = first_pass(source, engine, target, report, progress)
    report.lost, report.warnings = source.lost, source.warnings
    progress(report)
    return track


def check(ratio: Ratio, target: float, steady: Collection[str]) -> None:
    """Refuse what no frame could be enhanced with."""
    check_ratio(ratio)
    check_target(target)
    check_steady(steady)


def engine_for(
    source: Source, model: str, backend: BackendName, profile: ProfileName, device: str
) -> KinD:
    """Open an engine for the frames of a source, in order."""
    return open_engine(
        model,
        backend=backend,
        profile=profile,
        device=device,
        color=source.format.color,
        in_order=not source.still,
    )


def describe(engine: KinD, source: Source) -> str:
    """Say what runs, and for a video how fast the nets are."""
    if source.still:
        return engine.description
    size = source.format.width, source.format.height
    fps = engine.expected_fps(*size)
    return f"{engine.description}, about {fps:.2g} frames per second at {size[0]}x{size[1]}"


def choose_ratio(
    ratio: Ratio, track: Track | None, target: float, steady: Collection[Steady], *, still: bool
) -> ChooseRatio:
    """Return what chooses the ratio of each frame."""
    if ratio != "auto":
        return FixedRatio(ratio)
    if track is not None:
        return TrackRatio(track)
    return RatioSmoother(target=target) if "ratio" in steady else OwnRatio(target, still)


def passes_twice(
    input: str | Path,
    told: bool | None,
    profile: Profile,
    start: float = 0.0,
    duration: float | None = None,
) -> bool:
    """Decide on two passes where the user has not: a quick look may find that one will do."""
    if told is not None:
        return told
    keys = key_frames(as_path(input), start=start, duration=duration)
    return not profile.fast or light_changes(keys)


def first_pass(
    source: Source, engine: Engine, target: float, report: Report, progress: Progress
) -> Track:
    """Find the ratios of a whole video, and tell how far it is."""

    def seen(frames: int) -> None:
        report.surveyed, report.seconds = frames, time.perf_counter() - report.began
        progress(report)

    with report.stage("first pass"):
        return survey(source, engine, target, seen)


def check_target(target: float) -> None:
    """Refuse a target that no picture has."""
    if not 0 < target <= 1:
        raise UsageError(f"target is a mean luma above 0 and up to 1, got {target:g}")


def check_track(path: str | Path | None, ratio: Ratio) -> Track | None:
    """Read a ratio track, which leaves nothing for a ratio to say."""
    if path is not None and ratio != "auto":
        raise UsageError("a ratio track and a fixed ratio exclude each other; give one of them")
    return None if path is None else Track.read(path)


def beside(before: Pixels, after: Pixels) -> Pixels:
    """Put the original left of the result, (N, H, 2 W, 3)."""
    return np.concatenate([before, after], axis=2)
