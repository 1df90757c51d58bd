"""Measures flicker of profiles on real clips, of smoothing on rendered scenes, and of filters.

Enhances the first seconds of each clip, encodes the result without loss, and scores it. The scenes
are those of tools/make_scenes.py, and are compared with their bright version.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import make_scenes

from parts.record import Measured, Table
from parts.smoothing import FILTERS, SERIES, figures
from streamkind import enhance
from streamkind.engine.profiles import PROFILES
from streamkind.engine.steady import STEADY
from streamkind.measure.plots import draw_scores
from streamkind.measure.score import GAIN, INPUT, OUTPUT, Scores, score
from streamkind.video.source import open_source

Settings = dict[str, dict[str, Any]]
"""Options of `enhance` that are compared, by the names that tables show."""
SECONDS, ROWS = 2.0, 540
"""Seconds of each clip that are used, and height to which larger clips are reduced."""
SCENES = {"static": 4.0, "tunnel": 6.0, "headlights": 6.0, "cut": 4.0}
"""Rendered scene -> its length in seconds."""
PROFILE_SETTINGS: Settings = {f"`{name}`": {"profile": name} for name in PROFILES} | {
    "`realtime`, two passes": {"profile": "realtime", "two_pass": True}
}
"""Settings for the real clips."""
STEADY_SETTINGS: Settings = {
    "nothing": {"profile": "balanced", "steady": ()},
    "ratio": {"profile": "balanced", "steady": ("ratio",)},
    "ratio, light and noise": {"profile": "balanced", "steady": STEADY},
}
"""Settings for the rendered scenes."""
PLOTTED = "street_dusk_rain_1080p", "tunnel"
"""Clip and scene whose scores are plotted."""
COLUMNS = {
    "excess flicker": "excess_flicker",
    "log-luma std": "log_luma_deviation",
    "E_warp/g²": "e_warp_gain_normalised",
    "luma": "luma",
    "sharpness": "sharpness",
    "response": "response_frames",
}
"""Heading of a column -> name of the figure in `Scores.figures`."""


def excerpt(clip: Path, path: Path, seconds: float, rows: int) -> None:
    """Write the first seconds of a clip without loss, at most `rows` high."""
    with open_source(clip, duration=seconds) as source, av.open(str(path), "w") as output:
        stream = None
        for frame in source:
            picture = av.VideoFrame.from_ndarray(frame.data, "rgb24")
            if stream is None:
                scale = min(1.0, rows / picture.height)
                width, height = (round(s * scale / 2) * 2 for s in (picture.width, picture.height))
                stream = output.add_stream("ffv1", 30, width=width, height=height, pix_fmt="bgr0")
                stream.time_base = stream.codec_context.time_base = Fraction(1, 90_000)
            picture = picture.reformat(stream.width, stream.height, interpolation="AREA")
            picture.pts, picture.time_base = round(frame.time * 90_000), Fraction(1, 90_000)
            output.mux(stream.encode(picture))
        if stream:
            output.mux(stream.encode())


def score_clip(clip: Path, settings: Settings) -> dict[str, Scores]:
    """Enhance a clip, or the folder of a scene, with every setting; return the scores by setting.

    The video without smoothing is made with the options of the last setting.
    """
    scores: dict[str, Scores] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dark, reference, seconds = folder / "dark.mkv", None, SECONDS
        if clip.is_dir():
            reference, seconds = folder / "reference.mkv", SCENES[clip.name]
            excerpt(clip / "reference.mkv", reference, seconds, ROWS)
            clip = clip / "dark-high.mp4"
        excerpt(clip, dark, seconds, ROWS)
        encoding: dict[str, Any] = {"crf": 0, "preset": "veryfast"}
        unsmoothed = list(settings.values())[-1] | {"steady": ()}
        enhance(dark, plain := folder / "plain.mkv", **unsmoothed, **encoding)
        for setting, options in settings.items():
            enhance(dark, clear := folder / "clear.mkv", **options, **encoding)
            scores[setting] = score(dark, clear, unsmoothed=plain, reference=reference)
    print(clip, flush=True)
    return scores


def excess(found: dict[str, dict[str, Scores]]) -> Table:
    """Return the excess flicker of every clip and setting, in 10^-4."""
    rows = [
        [clip, *(1e4 * (s.figures(OUTPUT)["excess_flicker"] or 0) for s in scores.values())]
        for clip, scores in found.items()
    ]
    settings = next(iter(found.values()))
    return Table({"excess flicker, 10⁻⁴": ""} | dict.fromkeys(settings, ".1f"), rows)


def details(found: dict[str, dict[str, Scores]]) -> Table:
    """Return the figures of `COLUMNS` for the input, for constant gain, and for every setting."""
    return Table({"": "", "smoothed": ""} | dict.fromkeys(COLUMNS, ".3g"), list(lines(found)))


def lines(found: dict[str, dict[str, Scores]]) -> Iterator[list[Any]]:
    """Yield the rows of the table of `details`."""
    for clip, scores in found.items():
        last = list(scores.values())[-1]
        rows = [(name, last.figures(name)) for name in (INPUT, GAIN)]
        rows += [(name, s.figures(OUTPUT)) for name, s in scores.items()]
        for name, told in rows:
            yield [clip, name, *(told[key] for key in COLUMNS.values())]


def measure(data: Path, folder: Path) -> Measured:
    """Score clips and scenes, and compare filters of the ratio on artificial series."""
    clips = sorted((data / "video").glob("*.mp4"))
    real = {clip.stem: score_clip(clip, PROFILE_SETTINGS) for clip in clips}
    made = {}
    with tempfile.TemporaryDirectory() as place:
        for name, seconds in SCENES.items():
            scene = Path(place, name)
            make_scenes.write(name, scene, size=(608, 400), seconds=seconds, seed=0)
            made[name] = score_clip(scene, STEADY_SETTINGS)
    pictures = []
    for name in PLOTTED:
        scores = (real | made)[name]
        draw_scores(list(scores.values())[-1], picture := folder / f"{name}.png")
        pictures.append(picture)
    filters = [[name, *figures(smooth)] for name, smooth in FILTERS.items()]
    tables = {
        "clips": excess(real),
        "details": details(real),
        "scenes": details(made),
        "filters": Table({"": ""} | dict.fromkeys(SERIES, ".3g"), filters),
    }
    return Measured(tables, profiles=tuple(PROFILES), pictures=tuple(pictures))
