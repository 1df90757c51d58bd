"""Judge night clips as a viewer would: python tools/night.py CLIP... [--json F] [--sheet F].

Enhances some frames at three places of each clip as `streamkind enhance` does, in every profile,
and measures them beside the input (`streamkind/measure/night.py` says what each figure is), gamma
and LIME. Prints means over the clips; JSON has each clip, the sheet a frame of each.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from baselines import METHODS
from rich.console import Console
from rich.table import Table

from streamkind import enhance
from streamkind.engine.profiles import PROFILES, ProfileName
from streamkind.measure.night import (
    NAMES,
    Figures,
    Planes,
    figures,
    picture_of_frame,
    picture_of_rgb,
    summary,
)

PLACES = 1 / 6, 1 / 2, 5 / 6
BASELINES = "gamma 0.4", "LIME"


def frames(path: Path, start: float, count: int) -> Iterator[Planes]:
    """Read some frames from a second on, counted from the first frame."""
    first = None
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            first = frame.time if first is None else first
            if frame.time - first + 1e-6 < start:
                continue
            if count <= 0:
                return
            count -= 1
            yield picture_of_frame(frame)


def places_of(path: Path, count: int) -> list[tuple[float, float]]:
    """Return start and duration, in seconds, of each place: `count` frames."""
    with av.open(str(path)) as container:
        rate = float(container.streams.video[0].average_rate or 25)
        seconds = (container.duration or 0) / 1e6
    return [(max(0.0, seconds * share - count / rate), (count + 0.5) / rate) for share in PLACES]


def enhanced(path: Path, start: float, duration: float, profile: ProfileName) -> list[Planes]:
    """Enhance a piece of a clip as a user would, and read what was written."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "clear.mkv"
        enhance(path, out, start=start, duration=duration, profile=profile)
        return list(frames(out, 0.0, 1 << 20))


def judge(
    path: Path, profiles: list[ProfileName], count: int, last: int
) -> tuple[dict[str, list[Figures]], list[np.ndarray]]:
    """Judge every method on a clip; also one frame of each, the input first."""
    found: dict[str, list[Figures]] = {}
    shown: list[np.ndarray] = []
    for start, duration in places_of(path, count):
        made = {name: enhanced(path, start, duration, name) for name in profiles}
        # Both begin with the same frame. A clip of varying rate has more or fewer in that time.
        count = min([count, *map(len, made.values())])
        seen = list(frames(path, start, count))[-last:]
        results = {name: [picture_of_rgb(METHODS[name](p.rgb)) for p in seen] for name in BASELINES}
        results |= {name: told[:count][-last:] for name, told in made.items()}
        for name, told in results.items():
            pairs = [figures(a, b) for a, b in zip(seen, told, strict=True)]
            found.setdefault(name, []).append(summary(pairs))
        shown = [seen[-1].rgb, *(told[-1].rgb for told in results.values())]
    return found, shown


def sheet(rows: list[list[np.ndarray]], width: int = 480) -> np.ndarray:
    """Lay out a row a clip, a column a method."""
    lines = []
    for row in rows:
        height = round(width * row[0].shape[0] / row[0].shape[1])
        lines.append(np.hstack([cv2.resize(p, (width, height)) for p in row]))
    return np.vstack(lines)


def show(found: dict[str, dict[str, list[Figures]]], print_: Callable[[Table], None]) -> None:
    """Print means over the clips."""
    table = Table("", *NAMES)
    for name in next(iter(found.values())):
        means = summary([summary(clip[name]) for clip in found.values()])
        table.add_row(name, *(f"{means[n]:.3g}" if n in means else "-" for n in NAMES))
    print_(table)


def main() -> None:
    """Read the command line and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--profiles", nargs="+", choices=tuple(PROFILES), default=list(PROFILES))
    parser.add_argument("--frames", type=int, default=6, help="enhanced at each place")
    parser.add_argument("--last", type=int, default=2, help="of these, measured")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    args = parser.parse_args()
    found, rows = {}, []
    for clip in args.clips:
        found[clip.stem], shown = judge(clip, args.profiles, args.frames, args.last)
        rows.append(shown)
        print(clip.stem, flush=True)
    show(found, Console(width=160).print)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    if args.sheet:
        cv2.imwrite(str(args.sheet), sheet(rows)[..., ::-1])


if __name__ == "__main__":
    main()
