"""What holding things still gains: python tools/flicker.py CLIP... [--out docs/flicker].

Takes the first seconds of each clip, runs the model without smoothing, with the ratio alone, and
with all, and scores each, encoded without loss. Writes a table, README.md, with all figures, JSON,
and a plot per clip. A folder of tools/make_scenes.py is a clip too: its dark-high.mp4, with its
reference. What it costs, tools/benchmark.py --steady measures.
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

import av

from streamkind import __version__, enhance
from streamkind.doctor import cpu
from streamkind.plots import draw_scores
from streamkind.profiles import PROFILES, ProfileName
from streamkind.score import GAIN, INPUT, OUTPUT, Scores, score
from streamkind.steady import STEADY, Steady
from streamkind.video.source import open_source

SETTINGS: dict[str, tuple[Steady, ...]] = {
    "none": (),
    "ratio": ("ratio",),
    "ratio, light": ("ratio", "light"),
    "all": STEADY,
}
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


def score_clip(
    clip: Path, folder: Path, seconds: float, rows: int, profile: ProfileName
) -> dict[str, Scores]:
    """Score every setting of a clip."""
    dark, reference = folder / "dark.mkv", None
    if clip.is_dir():
        reference = folder / "reference.mkv"
        excerpt(clip / "reference.mkv", reference, seconds, rows)
        clip = clip / "dark-high.mp4"
    excerpt(clip, dark, seconds, rows)
    scores = {}
    for name, steady in SETTINGS.items():
        clear = folder / f"{name}.mkv"
        enhance(dark, clear, profile=profile, steady=steady, crf=0, preset="veryfast")
        none = folder / "none.mkv"
        scores[name] = score(dark, clear, unsmoothed=none, reference=reference)
    return scores


def table(scores: dict[str, Scores]) -> list[str]:
    """Return a clip's lines of Markdown: baselines, and the settings."""
    lines = ["| | " + " | ".join(COLUMNS) + " |", "| --- " * (len(COLUMNS) + 1) + "|"]
    rows = [(name, scores["all"].figures(name)) for name in (INPUT, GAIN)]
    rows += [(name, s.figures(OUTPUT)) for name, s in scores.items()]
    for name, figures in rows:
        cells = ["-" if figures[k] is None else f"{figures[k]:.3g}" for k in COLUMNS.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each clip, from its start")
    parser.add_argument("--rows", type=int, default=540, help="larger clips are made this high")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="quality")
    parser.add_argument("--out", type=Path, default=Path("docs/flicker"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python", *sys.argv])
    lines = [
        f"streamkind {__version__}, {datetime.date.today()}, python {platform.python_version()}, "
        f"{cpu().value}: `{command}`\n"
    ]
    everything = {}
    for clip in args.clips:
        with tempfile.TemporaryDirectory() as folder:
            scores = score_clip(clip, Path(folder), args.seconds, args.rows, args.profile)
        draw_scores(scores["all"], args.out / f"{clip.stem}.png")
        found = scores["all"]
        frames, cuts = len(found.rows[INPUT].luma), len(found.cuts)
        lines += [f"\n## {clip.stem}\n", f"{frames} frames, {cuts} cuts left out.\n"]
        lines += [*table(scores), f"\n![{clip.stem}]({clip.stem}.png)"]
        everything[clip.stem] = {n: s.as_json()["figures"] for n, s in scores.items()}
        print("\n".join(lines[-len(SETTINGS) - 7 :]), flush=True)
        (args.out / "README.md").write_text(
            "# What holding things still gains\n\n" + "\n".join(lines) + "\n"
        )
        (args.out / "figures.json").write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()
