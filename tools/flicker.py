"""What smoothing over time gains: python tools/flicker.py CLIP... [--out docs/flicker].

Takes the first seconds of each clip, runs the model without smoothing, with the ratio alone, and
with all, and scores each, encoded without loss. Writes a table, README.md, with all figures, JSON,
and a plot per clip. A folder of tools/make_scenes.py is a clip too: its dark-high.mp4, with its
reference. What it costs, tools/benchmark.py --steady measures. With --profiles it compares the
profiles instead, all or those named, each as `streamkind enhance` runs it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from streamkind import __version__, enhance
from streamkind.cli.doctor import cpu
from streamkind.engine.profiles import PROFILES, ProfileName
from streamkind.engine.steady import STEADY, SteadyName
from streamkind.measure.plots import draw_scores
from streamkind.measure.score import GAIN, INPUT, OUTPUT, Scores, score
from streamkind.video.source import open_source

Settings = dict[str, dict[str, Any]]
"""What is compared: options of `enhance`, by name."""
COLUMNS = {
    "excess flicker": "excess_flicker",
    "log-luma std": "log_luma_deviation",
    "E_warp/g²": "e_warp_gain_normalised",
    "luma": "luma",
    "sharpness": "sharpness",
    "response": "response_frames",
}


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


def steadiness(profile: ProfileName) -> Settings:
    """Compare what is held still, more and more of it."""
    held: dict[str, tuple[SteadyName, ...]] = {
        "none": (),
        "ratio": ("ratio",),
        "ratio, light": ("ratio", "light"),
        "all": STEADY,
    }
    return {name: {"profile": profile, "steady": steady} for name, steady in held.items()}


def profiles(names: list[ProfileName]) -> Settings:
    """Compare profiles as they are; of all, `realtime` also with as many passes as the others."""
    if names:
        return {name: {"profile": name} for name in names}
    settings: Settings = {name: {"profile": name} for name in PROFILES}
    return settings | {"realtime, two passes": {"profile": "realtime", "two_pass": True}}


def score_clip(
    clip: Path, folder: Path, seconds: float, rows: int, settings: Settings
) -> dict[str, Scores]:
    """Score every setting of a clip; the first stands for what is not smoothed."""
    dark, reference = folder / "dark.mkv", None
    if clip.is_dir():
        reference = folder / "reference.mkv"
        excerpt(clip / "reference.mkv", reference, seconds, rows)
        clip = clip / "dark-high.mp4"
    excerpt(clip, dark, seconds, rows)
    scores = {}
    for name, options in settings.items():
        clear = folder / f"{name}.mkv"
        enhance(dark, clear, crf=0, preset="veryfast", **options)
        first = folder / f"{next(iter(settings))}.mkv"
        scores[name] = score(dark, clear, unsmoothed=first, reference=reference)
    return scores


def table(scores: dict[str, Scores]) -> list[str]:
    """Return a clip's lines of Markdown: baselines, and the settings."""
    lines = ["| | " + " | ".join(COLUMNS) + " |", "| --- " * (len(COLUMNS) + 1) + "|"]
    last = list(scores.values())[-1]
    rows = [(name, last.figures(name)) for name in (INPUT, GAIN)]
    rows += [(name, s.figures(OUTPUT)) for name, s in scores.items()]
    for name, figures in rows:
        cells = ["-" if figures[k] is None else f"{figures[k]:.3g}" for k in COLUMNS.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def summary(found: dict[str, dict[str, Scores]]) -> list[str]:
    """Return lines of Markdown: the excess flicker of every clip and setting, in 10^-4."""
    settings = list(next(iter(found.values())))
    lines = ["| excess flicker, 10⁻⁴ | " + " | ".join(settings) + " |"]
    lines.append("| --- " * (len(settings) + 1) + "|")
    for clip, scores in found.items():
        cells = [f"{1e4 * s.figures(OUTPUT)['excess_flicker']:.1f}" for s in scores.values()]
        lines.append(f"| {clip} | {' | '.join(cells)} |")
    return lines


def report(found: dict[str, dict[str, Scores]], title: str) -> str:
    """Return all of a README: how it was measured, every clip, every figure that matters."""
    lines = [
        f"# {title}\n",
        f"streamkind {__version__}, {datetime.date.today()}, python {platform.python_version()}, "
        f"{cpu().value}: `{' '.join(['python', *sys.argv])}`\n",
        *summary(found),
    ]
    for clip, scores in found.items():
        last = list(scores.values())[-1]
        lines += [f"\n## {clip}\n"]
        lines += [f"{len(last.rows[INPUT].luma)} frames, {len(last.cuts)} cuts left out.\n"]
        lines += [*table(scores), f"\n![{clip}]({clip}.png)"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each clip, from its start")
    parser.add_argument("--rows", type=int, default=540, help="larger clips are made this high")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="quality")
    parser.add_argument(
        "--profiles", nargs="*", choices=tuple(PROFILES), help="compare these, or all, instead"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/flicker"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    title, settings = "What smoothing over time gains", steadiness(args.profile)
    if args.profiles is not None:
        title, settings = "How steady the profiles are", profiles(args.profiles)
    found: dict[str, dict[str, Scores]] = {}
    for clip in args.clips:
        with tempfile.TemporaryDirectory() as folder:
            scores = score_clip(clip, Path(folder), args.seconds, args.rows, settings)
        draw_scores(list(scores.values())[-1], args.out / f"{clip.stem}.png")
        found[clip.stem] = scores
        print("\n".join([clip.stem, *table(scores)]), flush=True)
        (args.out / "README.md").write_text(report(found, title))
        figures = {c: {n: s.as_json()["figures"] for n, s in f.items()} for c, f in found.items()}
        (args.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
