"""Measures enhanced night clips, and films of known truth.

Enhances some frames at three places of each clip as `streamkind enhance` does, in every profile,
and compares their figures with those of gamma and LIME. `streamkind/measure/night.py` defines the
figures. `films.py` makes films of known truth; their last frame is compared with the true picture.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from parts import films
from parts.baselines import METHODS
from parts.record import ROOT, Measured, Table
from streamkind import enhance
from streamkind.engine.profiles import PROFILES, ProfileName
from streamkind.measure.night import (
    NAMES,
    Figures,
    StoredFrame,
    figures,
    picture_of_frame,
    picture_of_rgb,
    summary,
)
from streamkind.model.data import load_pairs, load_split
from streamkind.model.degrade import Image
from streamkind.model.recipe import read_recipe
from streamkind.model.validation import chroma, mean_matched

PLACES = 1 / 6, 1 / 2, 5 / 6
"""Places in a clip, as shares of its length."""
BASELINES = "gamma 0.4", "LIME"
"""Names of the methods in `METHODS` with which the profiles are compared."""
FRAMES, JUDGED = 6, 2
"""Frames that are enhanced at each place, and how many of them, the last ones, are measured."""
FILMS = 12
"""Number of films of held-out pairs of our485; as many are made of synthetic pairs."""


def measure(data: Path, folder: Path) -> Measured:
    """Measure the real clips, and compare the films with their true pictures."""
    clips = sorted([*(data / "video").glob("*.mp4"), *(data / "video_near_black").glob("*.mp4")])
    found = {}
    for clip in clips:
        found[clip.stem] = judge(clip)
        print(clip.stem, flush=True)
    tables = {"night": means(found), "patch": highest(found), "truth": truths(data)}
    return Measured(tables, profiles=tuple(PROFILES))


def frames(path: Path, start: float, count: int) -> Iterator[StoredFrame]:
    """Yield `count` frames, from `start` seconds after the first frame on."""
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
    """Return start and duration, in seconds, of the `count` frames before each of `PLACES`."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pts = sorted(p.pts for p in container.demux(stream) if p.pts is not None)
        times = [float((one - pts[0]) * (stream.time_base or 0)) for one in pts]
    firsts = [max(0, int(len(times) * share) - count) for share in PLACES]
    lasts = [min(first + count, len(times) - 1) for first in firsts]
    return [(times[a], times[b] - times[a]) for a, b in zip(firsts, lasts, strict=True)]


def enhanced(path: Path, start: float, duration: float, profile: ProfileName) -> list[StoredFrame]:
    """Enhance a part of a clip by `enhance`; return the frames of the output."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "clear.mkv"
        enhance(path, out, start=start, duration=duration, profile=profile)
        return list(frames(out, 0.0, 1 << 20))


def judge(path: Path) -> dict[str, Figures]:
    """Return the figures of every profile and baseline on a clip, by name."""
    found: dict[str, list[Figures]] = {}
    count = FRAMES
    for start, duration in places_of(path, FRAMES):
        made = {f"`{name}`": enhanced(path, start, duration, name) for name in PROFILES}
        # Input and output begin with the same frame. If the frame rate varies, the output may have
        # more or fewer frames.
        count = min([count, *map(len, made.values())])
        seen = list(frames(path, start, count))[-JUDGED:]
        results = {name: [picture_of_rgb(METHODS[name](p.rgb)) for p in seen] for name in BASELINES}
        results |= {name: told[:count][-JUDGED:] for name, told in made.items()}
        for name, told in results.items():
            pairs = [figures(a, b) for a, b in zip(seen, told, strict=True)]
            found.setdefault(name, []).append(summary(pairs))
    return {name: summary(told) for name, told in found.items()}


def means(found: dict[str, dict[str, Figures]]) -> Table:
    """Return the mean figures of each method over all clips."""
    rows: list[list[Any]] = []
    for name in next(iter(found.values())):
        told = summary([clip[name] for clip in found.values()])
        rows.append([name, *(told.get(figure) for figure in NAMES)])
    return Table({"": ""} | dict.fromkeys(NAMES, ".3g"), rows)


def highest(found: dict[str, dict[str, Figures]]) -> Table:
    """Return the figure `patch` of each clip in each profile."""
    names = [f"`{name}`" for name in PROFILES]
    rows = [[clip, *(told[name].get("patch") for name in names)] for clip, told in found.items()]
    return Table({"`patch` of a clip": ""} | dict.fromkeys(names, ".1f"), rows)


TRUTH = {
    "CIEDE2000": ".1f",
    "of the most colourful tenth": ".1f",
    "at equal mean luma": ".1f",
    "chroma by the truth's": ".2f",
    "the same at equal mean luma": ".2f",
}
"""Names and formats of the values that `against_truth` returns."""


def truths(data: Path) -> Table:
    """Enhance films of known truth; return the mean errors by source of pairs and profile."""
    recipe = read_recipe(ROOT / "tools" / "kind.toml")
    lol = data / "lol" / "our485"
    held_out = load_split(lol, 1.0, recipe.held_out, recipe.seed)[1]
    synthetic = load_pairs(data / "lol_v2_synthetic" / "train")
    sources = {"our485": held_out, "synthetic": synthetic}
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as name:
        for source, pairs in sources.items():
            found: dict[str, list[list[float]]] = {}
            for i, pair in enumerate(pairs[:: len(pairs) // FILMS][:FILMS]):
                films.write(pair, folder := Path(name, source, str(i)), i)
                truth = cv2.imread(str(folder / "reference.png"))[..., ::-1]
                for profile in PROFILES:
                    enhance(folder / "dark.mp4", clear := folder / "clear.mkv", profile=profile)
                    last = list(frames(clear, 0.0, films.FRAMES))[-1].rgb
                    found.setdefault(f"`{profile}`", []).append(against_truth(last, truth))
            rows += [[source, p, *np.nanmean(told, axis=0).tolist()] for p, told in found.items()]
    return Table({"pairs of": "", "": "", **TRUTH}, rows)


def against_truth(image: Image, truth: Image) -> list[float]:
    """Return the values of `TRUTH` for a frame. Those of colour are NaN for a gray truth."""
    true, matched = rgb2lab(truth), mean_matched(image, truth)
    strength: NDArray[Any] = np.hypot(true[..., 1], true[..., 2])
    far, far_matched = (deltaE_ciede2000(true, rgb2lab(i)) for i in (image, matched))
    told = [far.mean(), np.nan, far_matched.mean(), np.nan, np.nan]
    if chroma(true) > 1:
        told[1] = far[strength >= np.percentile(strength, 90)].mean()
        told[3:] = (chroma(rgb2lab(i)) / chroma(true) for i in (image, matched))
    return [float(value) for value in told]
