"""Read this module first: it is the flow of a file, source -> batches -> stream -> sink.

`run` has the flow. The steps of one batch are those of a `Stream` (`engine/stream.py`). The other
functions open what `run` needs, from the options that a user gives.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from streamkind.backends.base import BackendName
from streamkind.backends.choose import on_gpu
from streamkind.engine.engine import Engine, check_ratio, check_target
from streamkind.engine.profiles import (
    PROFILES,
    Profile,
    ProfileName,
    choose_profile,
    encoder_preset,
    open_engine,
)
from streamkind.engine.steady import STEADY, SteadyName, check_steady
from streamkind.engine.stream import Stream, choose_ratio
from streamkind.engine.survey import survey
from streamkind.errors import InputError, UsageError
from streamkind.light.exposure import DEFAULT_TARGET, STILL_TARGET, Ratio
from streamkind.light.lookahead import light_changes
from streamkind.light.track import Track
from streamkind.video.deinterlace import Deinterlace
from streamkind.video.encoders import usual_codec
from streamkind.video.frames import Batch, Pixels, batched, rgb24
from streamkind.video.images import check_still, is_still
from streamkind.video.keyframes import key_frames
from streamkind.video.sequence import USUAL_FPS, becomes_video
from streamkind.video.several import Several
from streamkind.video.sink import Sink
from streamkind.video.source import Source, open_source
from streamkind.video.storage import as_path
from streamkind.video.threads import ReadAhead, WriteBehind


@dataclass
class Report:
    """The progress of a run while it works, and its result at the end."""

    total: int | None
    """Number of frames expected. None if the container does not say."""
    engine: str
    """Description of the engine: profile, model, device and precision."""
    surveyed: int = 0
    """Frames seen by the first of two passes so far."""
    frames: int = 0
    """Frames enhanced so far."""
    ratio: float = 1.0
    """Ratio of the last frame."""
    lost: int = 0
    """Frames that could not be decoded."""
    began: float = field(default_factory=time.perf_counter)
    """Start of the run, in seconds of `time.perf_counter`."""
    seconds: float = 0.0
    """Seconds from the start of the run to the last finished batch."""
    stages: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Seconds that each stage worked. Stages overlap, so the sum may exceed `seconds`."""
    warnings: list[str] = field(default_factory=list)
    """What was changed, guessed or left out: one line each."""

    @property
    def fps(self) -> float:
        """Enhanced frames per second so far; 0 before the first batch is finished."""
        return self.frames / self.seconds if self.seconds else 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a `with` block to the stage `name`."""
        began = time.perf_counter()
        yield
        self.stages[name] += time.perf_counter() - began

    def add(self, batch: Batch, ratio: float) -> None:
        """Count a finished batch."""
        self.frames += len(batch.frames)
        self.ratio = ratio
        self.seconds = time.perf_counter() - self.began

    def check(self, input: object) -> None:
        """Raise InputError if no frame was enhanced."""
        if not self.frames:
            raise InputError(f"{input} has no frame that can be decoded; nothing was written")


Progress = Callable[[Report], None]


def run(
    source: Source,
    stream: Stream,
    sink: Sink,
    report: Report,
    *,
    show: Callable[[Pixels, Pixels], Pixels] | None = None,
    progress: Progress = lambda report: None,
) -> None:
    """Enhance every frame of `source` and write it to `sink`.

    Decoding and encoding run in threads of their own. `show` combines the batch before and after,
    (N, H, W, 3) each, into what is written; without it the enhanced batch is written. `progress`
    is called after each batch.
    """
    with ReadAhead(source) as frames, WriteBehind(sink) as output:
        for batch in batched(frames, stream.max_batch):
            pixels, ratios = stream(batch.pixels, batch.times)
            output.put(batch.replace(show(batch.pixels, pixels) if show else pixels))
            report.add(batch, float(ratios[-1]))
            progress(report)
    took = {"decode": frames.seconds, **stream.seconds, "encode": output.seconds}
    for stage, seconds in took.items():
        report.stages[stage] += seconds


def enhance(
    input: str | Path,
    output: str | Path,
    *,
    ratio: Ratio = "auto",
    target: float | None = None,
    steady: Collection[SteadyName] = STEADY,
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
    deinterlace: Deinterlace = "frame",
    video_stream: int | None = None,
    start: float = 0.0,
    duration: float | None = None,
    progress: Progress = lambda report: None,
) -> Report:
    """Enhance all videos of a file, an image or a folder of images, and return a report.

    `ratio`, 0.1 to 10, raises the illumination; "auto" brings dark frames to a mean luma of
    `target`, in (0, 1]: 0.45, stills 0.47. `two_pass` looks ahead; `ratio_track` is a CSV;
    `video_stream` is the only video to enhance. Raises StreamkindError; no partial output is left.
    """
    fps = USUAL_FPS if fps is None and becomes_video(input, output) else fps
    still, gpu = fps is None and is_still(input), on_gpu(backend, device)
    check_still(still, codec, crf, preset, two_pass, ratio_track)
    codec = usual_codec(output, codec)
    target = (STILL_TARGET if still else DEFAULT_TARGET) if target is None else target
    track = check(ratio, target, steady, ratio_track)
    profile = choose_profile(profile, backend, device, still=still)
    part: Any = {"start": start, "duration": duration, "fps": fps, "deinterlace": deinterlace}
    read = partial(open_source, input, hardware=gpu, video_stream=video_stream, **part)
    fitting = partial(encoder_preset, PROFILES[profile], codec, preset)
    form: Any = {"codec": codec, "crf": crf, "side_by_side": side_by_side, "hardware": gpu}
    with (
        read(pix_fmt=rgb24 if side_by_side else PROFILES[profile].pix_fmt) as source,
        Several(source, read, others=video_stream is None) as videos,
        videos.write(output, preset=fitting(source.format), **form) as sink,
        open_engine(model, backend=backend, profile=profile, device=device) as engine,
    ):
        progress(report := Report(videos.total, engine.description))
        smoothed = track is None and is_smoothed(input, ratio, () if source.still else steady)
        look = partial(passes_twice, input, two_pass, PROFILES[profile], start, duration)
        for video, out in videos.each(sink):
            light = track
            if smoothed and look(video_stream=getattr(video, "stream_index", None)):
                light = first_pass(videos.again(video), engine, target, report, progress)
            stream = open_stream(video, engine, light, ratio=ratio, target=target, steady=steady)
            show = beside if side_by_side else None
            run(video, stream, out, report, show=show, progress=progress)
        report.check(input)
    report.lost, report.warnings = videos.lost, [*videos.warnings, *sink.warnings]
    return report


def open_stream(
    source: Source,
    engine: Engine,
    track: Track | None,
    *,
    ratio: Ratio,
    target: float,
    steady: Collection[SteadyName],
) -> Stream:
    """Open a stream for the frames of a source. Stills of a folder do not affect each other."""
    color, in_order = source.format.color, not source.still
    held = steady if in_order else ()
    choose = choose_ratio(ratio, target=target, track=track, steady=held, still=source.still)
    return Stream(engine, choose, steady=held, color=color, skip=in_order, film=in_order)


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
    """Run the first of two passes alone: return the smoothed ratio of every frame of a video.

    The options are those of `enhance`. Raises UsageError, InputError or EngineError.
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


def check(
    ratio: Ratio, target: float, steady: Collection[str], track: str | Path | None
) -> Track | None:
    """Read a ratio track, if there is one. Raise UsageError for a value that is not valid."""
    check_ratio(ratio)
    check_target(target)
    check_steady(steady)
    if track is not None and ratio != "auto":
        raise UsageError("a ratio track and a fixed ratio exclude each other; give one of them")
    return None if track is None else Track.read(track)


def is_smoothed(input: str | Path, ratio: Ratio, steady: Collection[SteadyName]) -> bool:
    """Return whether ratios are smoothed over time: automatic ones of one file only."""
    return ratio == "auto" and "ratio" in steady and as_path(input).is_file()


def passes_twice(
    input: str | Path,
    told: bool | None,
    profile: Profile,
    start: float = 0.0,
    duration: float | None = None,
    video_stream: int | None = None,
) -> bool:
    """Return whether to run two passes: as `told`, or else as the profile and the light need.

    A fast profile runs two only if the light of the key frames changes.
    """
    if told is not None:
        return told
    part: Any = {"start": start, "duration": duration, "video_stream": video_stream}
    return not profile.fast or light_changes(key_frames(as_path(input), **part))


def first_pass(
    source: Source, engine: Engine, target: float, report: Report, progress: Progress
) -> Track:
    """Read a whole video to find its ratios, report the progress of that, and close the source."""

    def seen(frames: int) -> None:
        report.surveyed, report.seconds = frames, time.perf_counter() - report.began
        progress(report)

    with source, report.stage("first pass"):
        return survey(source, engine, target, seen)


def beside(before: Pixels, after: Pixels) -> Pixels:
    """Put the original to the left of the result: (N, H, W, 3) each -> (N, H, 2 W, 3)."""
    return np.concatenate([before, after], axis=2)
