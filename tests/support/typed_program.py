"""A user's program with type hints. `make lint` checks it with mypy; no test runs it.

Each value of a wrong type, which mypy must refuse, has a comment that ignores this error. mypy
reports such a comment if there is no error.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import streamkind

Picture = NDArray[np.uint8]
DARK: Picture = np.zeros((48, 64, 3), np.uint8)


def use(*values: object) -> None:
    """Take values, so that mypy checks the expressions that give them."""


def show(report: streamkind.Report) -> None:
    use(report.frames, report.total, report.fps, report.ratio, report.warnings)


def pictures() -> Iterator[tuple[float, Picture]]:
    yield 0.0, DARK


def frames() -> Iterator[streamkind.Frame]:
    yield streamkind.Frame(DARK, 0, Fraction(1, 25))


def enhance_files() -> streamkind.Report:
    streamkind.enhance("a.mp4", "b.mp4", steady=("ratio",))
    streamkind.enhance("a.mp4", "b.mp4", steady=("ratio", "light"), ratio=3)
    streamkind.enhance("a.mp4", "b.mp4", steady=["noise"], ratio_track=Path("ratios.csv"))
    streamkind.enhance("a.mp4", "b.mp4", steady={"noise"}, ratio=2.5)
    streamkind.enhance("a.mp4", "b.mp4", steady=())
    streamkind.enhance("a.mp4", "b.mp4", steady="ratio")  # type: ignore[arg-type]
    streamkind.enhance("a.mp4", "b.mp4", profile="fast")  # type: ignore[arg-type]
    streamkind.enhance("a.mp4", "b.mp4", crf="20")  # type: ignore[arg-type]
    streamkind.enhance("a.mp4", "b.mp4", crv=20)  # type: ignore[call-arg]
    return streamkind.enhance(
        Path("a.mp4"),
        "b.mp4",
        progress=show,
        ratio="auto",
        target=0.4,
        two_pass=True,
        codec="h264",
        crf=20,
        preset="fast",
        fps=25,
        hwaccel="none",
        deinterlace="off",
        video_stream=0,
        side_by_side=True,
        start=1,
        duration=2.5,
        profile="realtime",
        model="lite",
        backend="openvino",
        device="cpu",
    )


def enhance_frames(engine: streamkind.Engine, track: streamkind.Track) -> None:
    clear: Picture = engine.enhance(DARK, ratio=2)
    use(engine.max_batch, engine.description, clear.shape)
    for frame in engine.stream(pictures(), steady=["ratio"], ratio_track=track):
        seconds: Fraction = frame.time
        use(frame.pixels.shape, frame.ratio, seconds)
    for frame in engine.stream(frames(), ratio=3, target=0.5, steady=("light",)):
        another: streamkind.ClearFrame = frame.with_pixels(DARK)
        use(another.ratio)
    with (
        streamkind.open_video("a.mp4", start=1, duration=3) as video,
        streamkind.create_video("b.mp4", like=video, codec="h264", crf=20) as out,
    ):
        for frame in engine.stream(video):
            out.write(frame.with_pixels(frame.pixels))
        use(video.format.width, video.lost, video.warnings, out.frames, out.warnings)


def main() -> None:
    track = streamkind.find_track("a.mp4", start=0, profile="realtime", progress=show)
    track.write("ratios.csv")
    streamkind.find_track("a.mp4", crf=20)  # type: ignore[call-arg]
    streamkind.open_engine(profile="fast")  # type: ignore[arg-type]
    scores: streamkind.Scores = streamkind.score("a.mp4", "b.mp4")
    use(scores.figures("output"))
    with streamkind.open_engine("student", profile="realtime", backend="openvino") as engine:
        enhance_frames(engine, streamkind.Track.read("ratios.csv"))
    try:
        enhance_files()
    except (streamkind.UsageError, streamkind.InputError, streamkind.OutputError):
        raise
    except streamkind.EngineError as error:
        failed: streamkind.StreamkindError = error
        use(failed)
