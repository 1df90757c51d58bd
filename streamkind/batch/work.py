"""The tasks of a job: preparation, and enhancing a part. Each may run on any machine."""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from streamkind.backends.base import BackendName
from streamkind.batch.divide import Division, divide
from streamkind.batch.journal import JOURNAL, Job, Journal, read, recorded, typed, write
from streamkind.engine.engine import Engine
from streamkind.engine.options import Options
from streamkind.engine.profiles import ProfileName, open_engine
from streamkind.engine.stream import Stream, choose_ratio
from streamkind.errors import OutputError, StreamkindError
from streamkind.light.track import Track
from streamkind.pipeline import Report, enhance_file, first_pass, run
from streamkind.video.encoders import usual_codec
from streamkind.video.format import ColorTags, VideoFormat
from streamkind.video.frames import Pixels, batched
from streamkind.video.join import check_joinable
from streamkind.video.sink import VideoSink
from streamkind.video.source import Source, VideoSource, open_source
from streamkind.video.storage import fingerprint, is_local, local_file, sha256
from streamkind.video.videos_of_file import VideosOfFile

SPARE_BYTES = 16 << 20
"""Space that must stay free on the disk, in bytes."""

CountFrames = Callable[[int], None]
"""A function that is called with the number of frames that a task has done."""
ShowFrames = Callable[[Pixels, Pixels, ColorTags], None]
"""A function that is called with a frame before and after, RGB or yuv420p, and its tags.

It must not keep the frames.
"""


class NothingDecodedError(Exception):
    """No frame of a part could be decoded."""


@dataclass
class Outcome:
    """The result of enhancing a part."""

    frames: int = 0
    lost: int = 0
    end_pts: int = 0
    """End of the last frame, in the time base of the input."""
    warnings: list[str] = field(default_factory=list)
    sha256: str = ""
    data: bytes | None = None
    """The encoded part, if the machine that made it cannot see the job's folder."""

    def record(self) -> dict[str, Any]:
        """Return the record that is stored beside the part."""
        return {key: value for key, value in vars(self).items() if key != "data"}


@functools.lru_cache(maxsize=1)
def engine_for(model: str, backend: BackendName, profile: ProfileName, device: str) -> Engine:
    """Open an engine, once per process."""
    return open_engine(model, backend=backend, profile=profile, device=device)


def engine_of(job: Job) -> Engine:
    """Return the engine for the options of a job."""
    told = job.options
    return engine_for(told.model, told.backend, told.profile, told.device)


def open_stream(job: Job, track: Track | None, source: Source) -> Stream:
    """Open a stream for a part of a video.

    The network runs on all frames, because which frames are skipped would depend on earlier frames.
    """
    told = job.options
    choose = choose_ratio(told.ratio, target=told.video_target, track=track, steady=told.steady)
    color = source.format.color
    return Stream(engine_of(job), choose, steady=told.steady, color=color, skip=False)


def source_of(
    job: Job, part: tuple[int | None, int | None] | None = None, video: int | None = None
) -> VideoSource:
    """Open a video of a job, or a part of it. The default is the main video."""
    told = job.options
    return VideoSource(
        job.input,
        part=part,
        pix_fmt=told.chosen.pix_fmt,
        deinterlace=told.deinterlace,
        video_stream=video,
    )


def input_of(job: Job, video: int | None = None) -> Source:
    """Open the input of a job, which is a still or a video, or stream `video` of it."""
    return open_source(job.input, deinterlace=job.options.deinterlace, video_stream=video)


def is_smoothed(job: Job) -> bool:
    """Return whether a first pass finds the ratios of a job's videos."""
    return job.options.ratio == "auto" and "ratio" in job.options.steady


def engine_description(job: Job) -> str:
    """Return the description of a job's engine; "" for stills and inputs that cannot be read."""
    with contextlib.suppress(StreamkindError), input_of(job) as source:
        if not source.still:
            return engine_of(job).description
    return ""


def prepare(job: Job, seen: CountFrames | None = None) -> tuple[Journal, Track | None]:
    """Read the input of a job. Return the plan and the ratios; write nothing.

    Raises InputError, OutputError or UsageError.
    """
    with input_of(job) as source, VideosOfFile(source, functools.partial(input_of, job)) as videos:
        still, others = source.still, [video.stream_index for video in videos.others]
        if isinstance(source, VideoSource):
            form = encoding(job, source.format)
            check_joinable(job.output.name, source, videos.others, **form)
    check_space(job.output, job.input.stat().st_size)
    track = None
    if not still and is_smoothed(job):
        track = find_ratios(job, seen)
    division = Division([0], [0], [], 1.0) if still else divide(job.input, track)
    frames = None if track is None else len(track.time)
    settings = recorded(job.options)
    journal = Journal(fingerprint(job.input), settings, still, *division, frames, None, others)
    return journal, track


def encoding(job: Job, form: VideoFormat) -> dict[str, Any]:
    """Return the options of the encoder for a video."""
    codec = usual_codec(job.output, job.options.codec)
    return replace(job.options, codec=codec).encoder(form)


def find_ratios(job: Job, seen: CountFrames | None = None, video: int | None = None) -> Track:
    """Run the first pass over a video."""
    report = Report(None, "")
    told = (lambda r: seen(r.surveyed)) if seen else (lambda r: None)
    with input_of(job, video) as source:
        return first_pass(source, engine_of(job), job.options.video_target, report, told)


def check_space(path: Path, needed: int) -> None:
    """Raise OutputError if a disk has less than `needed` and `SPARE_BYTES` bytes free.

    Do nothing for a folder that only another machine has.
    """
    if not (is_local(path) and path.parent.is_dir()):
        return
    free = shutil.disk_usage(path.parent).free
    if free < needed + SPARE_BYTES:
        raise OutputError(
            f"{path}: {free >> 20} MiB are free on its disk, but about "
            f"{(needed + SPARE_BYTES) >> 20} MiB are needed; free some space, and run "
            "the same command again"
        )


def whole_part(job: Job, index: int) -> Outcome | str:
    """Return the result of a finished part, or a reason why it cannot be used.

    Returns "" if the part is not finished.
    """
    if not job.record(index).exists():
        return ""
    told = read(job.record(index))
    try:
        outcome = None if told is None else typed(Outcome, told)
        if outcome is not None and sha256(job.part(index)) == outcome.sha256:
            return outcome
    except OSError:
        pass
    return f"part {index} is damaged; it is made again"


def enhance_part(
    job: Job,
    journal: Journal,
    index: int,
    track: Track | None,
    seen: CountFrames | None = None,
    look: ShowFrames | None = None,
) -> Outcome:
    """Enhance a part, and store it in the job's folder, or return it if there is no such folder.

    `track` has the ratios of the part, and may have more.
    """
    if not (job.folder / JOURNAL).exists():
        with tempfile.TemporaryDirectory(prefix="streamkind-") as folder:
            path = Path(folder, job.part(index).name)
            outcome = encode_part(job, journal, index, track, path, seen, look)
            outcome.data = path.read_bytes()
        return outcome
    parts = [path for i in range(journal.count) if (path := job.part(i)).exists()]
    check_space(job.part(index), 2 * max((path.stat().st_size for path in parts), default=0))
    with local_file(job.part(index)) as path:
        outcome = encode_part(job, journal, index, track, path, seen, look)
    write(job.record(index), outcome.record())
    return outcome


def encode_part(
    job: Job,
    journal: Journal,
    index: int,
    track: Track | None,
    path: Path,
    seen: CountFrames | None = None,
    look: ShowFrames | None = None,
) -> Outcome:
    """Enhance a part into a file. The result depends only on the journal and the track."""
    if journal.still:
        return encode_still(job, path)
    report, video = Report(None, ""), journal.video(index)
    begin, first = (journal.starts[index], journal.warm[index]) if video is None else (0, 0)
    if video is not None and is_smoothed(job):
        track = find_ratios(job, video=video)
    told = (lambda r: seen(r.frames)) if seen else (lambda r: None)
    with (
        contextlib.suppress(NothingDecodedError),
        source_of(job, journal.part(index), video) as source,
        VideoSink(path, source, part=True, **encoding(job, source.format)) as sink,
    ):
        stream = open_stream(job, track, source)
        if begin != first:
            with source_of(job, (first, begin)) as before:
                for batch in batched(before, stream.max_batch):
                    stream.look_at(batch.pixels, batch.times)
        run(source, stream, sink, report, show=shown(look, source.format.color), progress=told)
        if not report.frames:
            raise NothingDecodedError
    if not report.frames:  # the input is damaged in this part
        path.write_bytes(b"")
    warnings = [*source.warnings, *sink.warnings]
    lost = source.lost
    if (
        video is None and len(journal.starts) > 1
    ):  # failed packets before and after the part belong to other parts
        lost = min(lost, max(0, journal.packets[index] - report.frames))
    return Outcome(report.frames, lost, sink.end_pts, warnings, sha256(path))


def shown(look: ShowFrames | None, color: ColorTags) -> Callable[[Pixels, Pixels], Pixels] | None:
    """Return a function `show` for `run` that calls `look` with the last frame of each batch."""
    if look is None:
        return None

    def show(before: Pixels, after: Pixels) -> Pixels:
        look(before[-1], after[-1], color)
        return after

    return show


def encode_still(job: Job, path: Path) -> Outcome:
    """Enhance an image into a file. Options for videos are left out; a batch may have both."""
    videos = ("codec", "crf", "preset", "steady", "deinterlace")
    told = replace(job.options, **{name: getattr(Options(), name) for name in videos})
    report = enhance_file(job.input, path, told)
    return Outcome(report.frames, report.lost, 0, report.warnings, sha256(path))
