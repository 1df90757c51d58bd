"""Enhances a file: source -> batches -> stream -> sink. Read this module first.

`run` has the flow, and a `Stream` (`engine/stream.py`) the steps of one batch.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Unpack

from streamkind.backends.choose import on_gpu
from streamkind.engine.chroma import restrain_stills
from streamkind.engine.engine import Engine
from streamkind.engine.options import (
    TRACK,
    EnhanceOptions,
    Options,
    TrackOptions,
    describes_options,
)
from streamkind.engine.profiles import Profile
from streamkind.engine.stream import Stream
from streamkind.engine.survey import survey
from streamkind.engine.whole import Adapt, Finish
from streamkind.errors import InputError, UsageError
from streamkind.light.exposure import Floats
from streamkind.light.lookahead import light_changes
from streamkind.light.track import Track
from streamkind.video.encoders import usual_codec
from streamkind.video.frames import Batch, Pixels, batched, beside, rgb
from streamkind.video.images import is_still
from streamkind.video.keyframes import key_frames
from streamkind.video.pipe_input import PipeInput
from streamkind.video.sequence import USUAL_FPS, becomes_video
from streamkind.video.sink import Sink
from streamkind.video.source import Source, open_source
from streamkind.video.storage import as_path
from streamkind.video.threads import Between, ReadAhead, WriteBehind
from streamkind.video.videos_of_file import VideosOfFile

DEPTH = 2
"""Number of batches that may wait between two threads. More would hardly be faster, because the
threads share the cores, and take more memory."""


@dataclass
class Report:
    """The progress of a run while it works, and its result at the end."""

    total: int | None
    """Expected number of frames; None if the container does not state it."""
    engine: str
    """Description of the engine: profile, model, device and precision."""
    early: list[str] = field(default_factory=list)
    """Warnings that are known before the first frame."""
    surveyed: int = 0
    """Number of frames that the first of two passes has read so far."""
    frames: int = 0
    """Number of frames enhanced so far."""
    ratio: float = 1.0
    """Ratio of the last enhanced frame: how much its illumination was raised."""
    lost: int = 0
    """Number of frames that could not be decoded."""
    began: float = field(default_factory=time.perf_counter)
    """Start of the run, in seconds of `time.perf_counter`."""
    seconds: float = 0.0
    """Time from the start of the run to the last finished batch, in seconds."""
    stages: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Time that each stage has worked, in seconds. Stages overlap: the sum may exceed `seconds`."""
    warnings: list[str] = field(default_factory=list)
    """Messages on data that was changed, guessed or left out."""

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
Show = Callable[[Pixels, Pixels], Pixels] | None


def run(
    source: Source,
    stream: Stream,
    sink: Sink,
    report: Report,
    *,
    show: Show = None,
    progress: Progress = lambda report: None,
) -> None:
    """Enhance every frame of `source` and write it to `sink`.

    Four threads work at once. They decode, run the network, adapt its results, and finish and
    encode them. `show` gets a batch before and after enhancement, (N, H, W, 3) each, and returns
    the batch to write, by default the enhanced one. `progress` is called after each batch.
    """
    with (
        ReadAhead(source, depth=DEPTH * stream.max_batch) as frames,
        WriteBehind(sink, depth=DEPTH) as output,
        Between(output, depth=DEPTH) as between,
    ):
        for batch in batched(frames, stream.max_batch):
            adapt, ratios = stream.begin(batch.pixels, batch.times)
            between.put(partial(adapted, batch, adapt, ratios, show))
            report.add(batch, float(ratios[-1]))
            progress(report)
    report.seconds = time.perf_counter() - report.began
    took = {"decode": frames.seconds, **stream.seconds, "encode": output.seconds}
    for stage, seconds in took.items():
        report.stages[stage] += seconds


def adapted(batch: Batch, adapt: Adapt, ratios: Floats, show: Show) -> Callable[[], Batch]:
    """Adapt a batch. Return the function that finishes it."""
    return partial(finished, batch, adapt(), ratios, show)


def finished(batch: Batch, finish: Finish, ratios: Floats, show: Show) -> Batch:
    """Finish a batch; return the batch to write."""
    pixels = finish()
    restrain_stills(batch.frames, pixels, ratios)
    return batch.replace(show(batch.pixels, pixels) if show else pixels)


@describes_options()
def enhance(
    input: str | Path,
    output: str | Path,
    *,
    progress: Progress = lambda report: None,
    **options: Unpack[EnhanceOptions],
) -> Report:
    """Enhance all videos of a file, an image or a folder of images, and return a report.

    The output appears when it is complete, or not at all. `progress` is called with the report so
    far: at the start, after each frame of a first pass, and after each batch. Raises UsageError,
    InputError, OutputError or EngineError.
    """
    return enhance_file(input, output, Options(**options), progress=progress)


def enhance_file(
    input: str | Path,
    output: str | Path,
    options: Options,
    *,
    progress: Progress = lambda report: None,
) -> Report:
    """Do the same as `enhance`, with options that are checked already."""
    fps = options.fps
    if fps is None and becomes_video(input, output):
        fps = USUAL_FPS
    still = fps is None and is_still(input)
    if still:
        options.check_for_still()
    options = replace(
        options,
        fps=fps,
        codec=usual_codec(output, options.codec),
        target=options.target_of(still=still),
        profile=options.profile_of(still=still),
    )
    track = None if options.ratio_track is None else Track.read(options.ratio_track)
    gpu = on_gpu(options.backend, options.device)
    read = partial(
        open_source,
        input,
        hwaccel=options.hwaccel or ("cuda" if gpu else "none"),
        video_stream=options.video_stream,
        start=options.start,
        duration=options.duration,
        fps=fps,
        deinterlace=options.deinterlace,
    )
    show = beside if options.side_by_side else None
    with (
        read(pix_fmt=rgb if show else options.chosen.pix_fmt) as source,
        VideosOfFile(source, read, others=options.video_stream is None) as videos,
        videos.write(
            output, side_by_side=bool(show), hardware=gpu, **options.encoder(source.format)
        ) as sink,
        options.open_engine() as engine,
    ):
        progress(report := Report(videos.total, engine.description, videos.told(sink)))
        for video, out in videos.each(sink):
            light = track
            if finds_track(input, video, options):
                again = videos.again(video)
                light = first_pass(again, engine, options.video_target, report, progress)
            stream = options.open_stream(video, engine, light)
            run(video, stream, out, report, show=show, progress=progress)
        report.check(input)
    report.lost, report.warnings = videos.lost, videos.told(sink)
    return report


@describes_options(TRACK)
def find_track(
    input: str | Path,
    *,
    progress: Progress = lambda report: None,
    **options: Unpack[TrackOptions],
) -> Track:
    """Run only the first of two passes: return the smoothed ratio of every frame of a video.

    `progress` is called with the report so far: at the start, after each frame, and at the end.
    Raises UsageError, InputError or EngineError.
    """
    asked = Options(**options)
    asked.check_only(TRACK, "find_track")
    with open_source(input, start=asked.start, duration=asked.duration) as source:
        if source.still:
            raise UsageError(f"{input}: a ratio track is for videos, but the input is stills")
        with asked.open_engine() as engine:
            report = Report(source.format.frames, engine.description)
            progress(report)
            track = first_pass(source, engine, asked.video_target, report, progress)
    report.lost, report.warnings = source.lost, source.warnings
    progress(report)
    return track


def finds_track(input: str | Path, video: Source, options: Options) -> bool:
    """Return whether a first pass finds the ratios of a video.

    It can do so if the ratios are automatic and smoothed. It does so if the user asks for two
    passes, or by default if `needs_two_passes`.
    """
    chosen = options.ratio == "auto" and options.ratio_track is None
    if video.still or not chosen or "ratio" not in options.steady:
        return False
    if options.two_pass is not None:
        return options.two_pass
    if isinstance(input, PipeInput):
        return False  # a first pass would wait for the end of the pipe
    return needs_two_passes(
        input,
        options.chosen,
        start=options.start,
        duration=options.duration,
        video_stream=getattr(video, "stream_index", None),
    )


def needs_two_passes(
    input: str | Path,
    profile: Profile,
    *,
    start: float = 0.0,
    duration: float | None = None,
    video_stream: int | None = None,
) -> bool:
    """Return whether two passes are needed: for a fast profile, only if the light changes."""
    if not profile.fast:
        return True
    path = as_path(input)
    return light_changes(
        key_frames(path, start=start, duration=duration, video_stream=video_stream)
    )


def first_pass(
    source: Source, engine: Engine, target: float, report: Report, progress: Progress
) -> Track:
    """Read a whole video to find its ratios. Report the progress, and close the source."""

    def seen(frames: int) -> None:
        report.surveyed, report.seconds = frames, time.perf_counter() - report.began
        progress(report)

    with source, report.stage("first pass"):
        return survey(source, engine, target, seen)
