"""Measures flicker and sharpness of a result, and of two baselines.

Y = .299 R + .587 G + .114 B in [0, 1]. The flow is that of the input for every row. Scene cuts are
left out, and counted. docs/score.md defines each figure.
"""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from streamkind.errors import InputError, UsageError
from streamkind.light.exposure import Floats
from streamkind.light.smoother import is_cut
from streamkind.light.track import Series
from streamkind.measure.flow import Flow, SeenFrame, luma
from streamkind.pipeline import enhance
from streamkind.video.frames import Pixels
from streamkind.video.source import open_source
from streamkind.video.threads import ReadAhead

ScoreProgress = Callable[[str, int], None]

AVERAGE_FRAMES = 15
"""Length of the centred moving average for flicker, in frames."""
STEP_STOPS = 1.0
"""Change of the input's mean, in stops, within three frames that counts as a step."""

INPUT, OUTPUT, GAIN, UNSMOOTHED = "input", "output", "constant gain", "without smoothing"
ROWS = (OUTPUT, GAIN, UNSMOOTHED, INPUT)


@dataclass
class Row:
    """The figures of one video, frame by frame. Figures of pairs are one fewer, and NaN at cuts."""

    luma: list[float] = field(default_factory=list)
    """Mean Y."""
    sharpness: list[float] = field(default_factory=list)
    """Mean size of the gradient of Y, over mean Y."""
    black: list[float] = field(default_factory=list)
    """Share of pixels with Y of half a level or less."""
    white: list[float] = field(default_factory=list)
    """Share of pixels with Y of 254.5 levels or more."""
    mabd: list[float] = field(default_factory=list)
    """Mean absolute difference of Y from one frame to the next."""
    warp: list[float] = field(default_factory=list)
    """E_warp of each pair of frames."""
    psnr: list[float] = field(default_factory=list)
    """PSNR of RGB against the reference, in dB, at the size of `SeenFrame.small`."""
    ssim: list[float] = field(default_factory=list)
    """SSIM of Y against the reference, with a Gaussian window of sigma 1.5."""


@dataclass(frozen=True)
class Scores:
    """The figures of the result, of the input and of two baselines, and the scene cuts."""

    rows: dict[str, Row]
    """Rows by name: those of `ROWS`, and `reference` if there is one."""
    cuts: list[int]
    """Number of the first frame of each scene but the first."""

    def figures(self, name: str) -> dict[str, float | None]:
        """Return the figures of one row, such as "output", by the names in docs/score.md."""
        row, dark = self.rows[name], self.rows[INPUT]
        gain = mean(row.luma) / max(mean(dark.luma), 1e-6)
        figures: dict[str, float | None] = {
            "excess_flicker": flicker(row.luma, self.cuts) - flicker(dark.luma, self.cuts),
            "flicker": flicker(row.luma, self.cuts),
            "log_luma_deviation": float(np.std(np.log(np.maximum(row.luma, 1e-4)))),
            "mabd": mean(row.mabd),
            "e_warp": mean(row.warp),
            "e_warp_gain_normalised": mean(row.warp) / gain**2,
            "response_frames": response(dark.luma, row.luma),
            "luma": mean(row.luma),
            "sharpness": mean(row.sharpness),
            "clipped_black": mean(row.black),
            "clipped_white": mean(row.white),
        }
        if "reference" in self.rows:
            true = np.array(self.rows["reference"].mabd)
            figures |= {
                "mabd_error": mean((np.array(row.mabd) - true) ** 2),
                "psnr": mean(row.psnr),
                "psnr_least": min(row.psnr),
                "ssim": mean(row.ssim),
                "ssim_least": min(row.ssim),
            }
        return figures

    def as_json(self) -> dict[str, Any]:
        """Return figures and series as plain types. NaN becomes None."""

        def plain(value: float | None) -> float | None:
            return value if value is not None and np.isfinite(value) else None

        return {
            "frames": len(self.rows[INPUT].luma),
            "cuts": self.cuts,
            "figures": {n: {k: plain(v) for k, v in self.figures(n).items()} for n in self.rows},
            "series": {
                name: {key: [*map(plain, values)] for key, values in vars(row).items()}
                for name, row in self.rows.items()
            },
        }


def score(
    input: str | Path,
    output: str | Path,
    *,
    reference: str | Path | None = None,
    unsmoothed: str | Path | None = None,
    progress: ScoreProgress = lambda task, frames: None,
) -> Scores:
    """Measure a result, the input times one gain, and the model without smoothing.

    `unsmoothed` is a video by the model without smoothing. If it is None, it is made here, which
    takes as long as `enhance`. `reference` is a video of the same scene, well lit. `progress` is
    called with the name of the task and its number of frames so far. Raises InputError when a video
    cannot be read or differs from the input in size or number of frames, and UsageError when a
    reference is given without scikit-image.
    """
    if reference is not None and importlib.util.find_spec("skimage") is None:
        raise UsageError("a reference needs scikit-image: pip install 'streamkind[score]'")
    with contextlib.ExitStack() as stack:
        gain = constant_gain(Path(input), Path(output), progress)
        if unsmoothed is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="streamkind-"))
            unsmoothed = Path(folder) / "unsmoothed.mkv"
            enhance(
                input,
                unsmoothed,
                steady=(),
                crf=4,
                preset="veryfast",
                progress=lambda report: progress(UNSMOOTHED, report.frames),
            )
        videos = {INPUT: Path(input), OUTPUT: Path(output), UNSMOOTHED: Path(unsmoothed)}
        if reference is not None:
            videos["reference"] = Path(reference)
        return measure(videos, gain, progress)


def constant_gain(input: Path, output: Path, progress: ScoreProgress) -> float:
    """Return the gain that brings the mean luma of the input, clipped at 1, to the output's."""
    levels, wanted, count = np.zeros(1024), 0.0, 0
    for frames in together({INPUT: input, OUTPUT: output}):
        y = luma(frames[INPUT])
        levels += np.ravel(cv2.calcHist([y], [0], None, [1024], [0.0, 1.0 + 1e-6]))
        wanted += float(luma(frames[OUTPUT]).mean())
        count += 1
        progress("gain", count)
    centers = (np.arange(1024) + 0.5) / 1024
    gains = np.geomspace(0.01, 1000, 2000)
    means = [float((levels * np.minimum(centers * g, 1)).sum() / levels.sum()) for g in gains]
    return float(np.interp(wanted / count, means, gains))


def together(videos: dict[str, Path]) -> Iterator[dict[str, Pixels]]:
    """Yield the frames of several videos, one of each at a time."""
    with contextlib.ExitStack() as stack:
        readers = {
            name: iter(stack.enter_context(ReadAhead(stack.enter_context(open_source(path)))))
            for name, path in videos.items()
        }
        count = 0
        while True:
            frames = {name: next(reader, None) for name, reader in readers.items()}
            found = {name: frame.data for name, frame in frames.items() if frame is not None}
            if not found:
                break
            check_alike(videos, found, count)
            yield found
            count += 1
        if count < 2:
            raise InputError(f"{videos[INPUT]} has {count} frames; a score needs two at least")


def check_alike(videos: dict[str, Path], frames: dict[str, Pixels], count: int) -> None:
    """Raise InputError for videos that differ in length or size."""
    for name in videos:
        if name not in frames:
            raise InputError(
                f"{videos[name]} ends after {count} frames and another video goes on; expected "
                "the same frames in each: score a whole result against its whole input"
            )
    height, width = frames[INPUT].shape[:2]
    for name, frame in frames.items():
        if frame.shape[:2] != (height, width):
            raise InputError(
                f"{videos[name]} is {frame.shape[1]}x{frame.shape[0]}, the input {width}x{height}; "
                "expected one size: score a result made without --side-by-side"
            )


def measure(videos: dict[str, Path], gain: float, progress: ScoreProgress) -> Scores:
    """Read all videos once and measure each row."""
    scores = Scores({name: Row() for name in dict.fromkeys((*ROWS, *videos))}, [])
    before: dict[str, SeenFrame] = {}
    with ThreadPoolExecutor(2) as pool:
        for i, frames in enumerate(together(videos)):
            frames[GAIN] = np.asarray(cv2.convertScaleAbs(frames[INPUT], alpha=gain), np.uint8)
            names = list(scores.rows)
            now = dict(zip(names, pool.map(SeenFrame.of, (frames[n] for n in names)), strict=True))
            if before:
                flow = flow_unless_cut(before[INPUT].y, now[INPUT].y)
                if flow is None:
                    scores.cuts.append(i)
                pairs = [(scores.rows[n], before[n], now[n], flow) for n in names]
                list(pool.map(lambda pair: add_pair(*pair), pairs))
            stills = [(scores.rows[n], now[n], now.get("reference")) for n in names]
            list(pool.map(lambda still: add_frame(*still), stills))
            before = now
            progress("score", i + 1)
    return scores


def flow_unless_cut(before: Floats, after: Floats) -> Flow | None:
    """Return the flow between two lumas, or None at a scene cut."""
    size = max(1, before.shape[1] // 16), max(1, before.shape[0] // 16)
    a, b = (
        np.asarray(cv2.resize(y, size, interpolation=cv2.INTER_AREA), np.float32)
        for y in (before, after)
    )
    return None if is_cut(a, b) else Flow.between(before, after)


def add_frame(row: Row, still: SeenFrame, reference: SeenFrame | None) -> None:
    """Measure one frame."""
    y = still.y
    level = float(y.mean())
    steps = (cv2.norm(y[:, 1:], y[:, :-1], cv2.NORM_L1), cv2.norm(y[1:], y[:-1], cv2.NORM_L1))
    row.luma.append(level)
    row.sharpness.append(sum(steps) / y.size / max(level, 1e-6))
    row.black.append(float(np.count_nonzero(y <= 0.5 / 255) / y.size))
    row.white.append(float(np.count_nonzero(y >= 254.5 / 255) / y.size))
    if reference is not None:
        from skimage.metrics import structural_similarity

        error = float(((still.small - reference.small) ** 2).mean())
        row.psnr.append(10 * float(np.log10(1 / max(error, 1e-10))))
        window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        row.ssim.append(float(structural_similarity(y, reference.y, data_range=1.0, **window)))


def add_pair(row: Row, before: SeenFrame, after: SeenFrame, flow: Flow | None) -> None:
    """Measure the difference between two frames; nothing at a cut."""
    apart = cv2.norm(after.y, before.y, cv2.NORM_L1) / after.y.size
    row.mabd.append(np.nan if flow is None else apart)
    row.warp.append(np.nan if flow is None else flow.error(before.small, after.small))


def flicker(luma: list[float], cuts: list[int]) -> float:
    """Return the standard deviation of log mean Y minus its moving average, within scenes."""
    logs = np.log(np.maximum(luma, 1e-4))
    return float(np.concatenate([high_pass(scene) for scene in np.split(logs, cuts)]).std())


def high_pass(x: Series) -> Series:
    """Subtract the centred moving average, which is shorter near the ends."""
    half = AVERAGE_FRAMES // 2
    sums = np.concatenate([[0.0], np.cumsum(x)])
    i = np.arange(len(x))
    low, high = np.maximum(i - half, 0), np.minimum(i + half + 1, len(x))
    return np.asarray(x - (sums[high] - sums[low]) / (high - low), np.float64)


def response(dark: list[float], luma: list[float]) -> float | None:
    """Return how many frames the output takes to follow a step of the input; None without steps.

    It has followed when it stays within a tenth of the step from its final value, the median of the
    26th to 50th frame after the step. The slowest step counts.
    """
    stops, out = (np.log2(np.maximum(x, 1e-4)) for x in (dark, luma))
    slowest, last = None, -50
    for k in range(1, len(stops) - 30):
        step = abs(stops[k] - stops[max(k - 3, 0)])
        if step < STEP_STOPS or k - last < 50:
            continue
        last = k
        away = np.abs(out[k : k + 25] - np.median(out[k + 25 : k + 50])) > 0.1 * step
        slowest = max(slowest or 0.0, float(np.flatnonzero(away)[-1] + 1 if away.any() else 0))
    return slowest


def mean(values: Any) -> float:
    """Return the mean of the values that are not NaN."""
    values = np.asarray(values, float)
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
