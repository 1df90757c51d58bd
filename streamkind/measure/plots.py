"""Draws figures over time by matplotlib (extra `score`), which is imported when it is used."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from streamkind.errors import OutputError, UsageError
from streamkind.light.track import Track
from streamkind.measure.score import Scores
from streamkind.video.publish import Staging, check_file


@contextmanager
def picture(path: str | Path, panels: int) -> Iterator[Any]:
    """Yield a number of panels to draw on, one above the other, and write the picture at the end.

    The picture appears complete or not at all. Raises UsageError without matplotlib, or for a
    suffix that it does not know, and OutputError if the picture cannot be written.
    """
    check_picture(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1 + 2.2 * panels), layout="constrained")
    yield figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    staging = Staging(path := Path(path))
    try:
        figure.savefig(staging.path, dpi=110)
    except OSError as exc:
        staging.discard()
        raise OutputError(f"{path}: cannot be written ({exc.strerror})") from exc
    staging.publish()


def check_picture(path: str | Path) -> None:
    """Raise the errors of `picture` that are known before the work."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError("drawing needs matplotlib: pip install 'streamkind[score]'")
    from matplotlib.backend_bases import FigureCanvasBase

    suffix = Path(path).suffix.lower().lstrip(".")
    if suffix not in FigureCanvasBase.get_supported_filetypes():
        raise UsageError(
            f"{path}: matplotlib cannot write '{suffix}'; end the name in .png or .svg"
        )
    check_file(Path(path))


def draw_track(track: Track, path: str | Path) -> None:
    """Draw ratio and wanted ratio, and the luma of the input, over time."""
    with picture(path, 2) as (above, below):
        from matplotlib.ticker import MaxNLocator

        if np.isfinite(track.wanted).any():
            above.plot(track.time, track.wanted, color="0.7", label="wanted")
        above.plot(track.time, track.ratio, label="ratio")
        above.set_yscale("log", base=2)
        # With powers of two alone, the axis of a constant track would have no numbers.
        above.yaxis.set_major_locator(MaxNLocator(6))
        above.yaxis.set_major_formatter("{x:.4g}")
        above.set_ylabel("ratio")
        above.legend()
        below.plot(track.time, track.luma)
        below.set_ylabel("luma of the input")
        below.set_xlabel("seconds")
        mark_cuts((above, below), track.time[track.cut][1:])


def draw_scores(scores: Scores, path: str | Path) -> None:
    """Draw mean luma, MABD and E_warp of every row, frame by frame."""
    with picture(path, 3) as panels:
        labels = ("log mean Y", "MABD", "E_warp")
        for name, row in scores.rows.items():
            series: tuple[Any, ...] = (np.log(np.maximum(row.luma, 1e-4)), row.mabd, row.warp)
            for panel, values, label in zip(panels, series, labels, strict=True):
                first = len(row.luma) - len(values)  # values between frames are one fewer
                panel.plot(np.arange(first, len(row.luma)), values, label=name, linewidth=0.9)
                panel.set_ylabel(label)
        panels[0].legend()
        panels[-1].set_xlabel("frame")
        mark_cuts(panels, scores.cuts)


def draw_bench(told: dict[str, Any], path: str | Path) -> None:
    """Draw quality against cost: PSNR over ms per picture, by profile, network and size."""
    from matplotlib.ticker import LogLocator, NullFormatter

    quality = told["sizes"][0]["quality"]
    with picture(path, 1) as (panel,):
        for one, marker in zip(told["sizes"], itertools.cycle("osD^v"), strict=False):
            panel.scatter([], [], color="0.5", marker=marker, label="x".join(map(str, one["size"])))
        for i, (name, scores) in enumerate(quality.items()):
            for one, marker in zip(told["sizes"], itertools.cycle("osD^v"), strict=False):
                rounds = one["profiles"].get(name, {}).get("nets") or one["nets"].get(name)
                if rounds:
                    at = 1e3 * np.median(rounds), scores["psnr"]
                    panel.scatter(*at, color=f"C{i}", marker=marker)
            offset = (8, 4) if i % 2 == 0 else (8, -12)  # so that near labels do not overlap
            panel.annotate(name, at, offset, textcoords="offset points", color=f"C{i}")
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter("{x:.4g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel("ms of the nets per picture")
        panel.set_ylabel("PSNR, dB, blind")
        panel.margins(0.15)
        panel.legend()


def mark_cuts(panels: Any, times: Any) -> None:
    """Draw a vertical line at the beginning of each scene."""
    for panel in panels:
        for time in times:
            panel.axvline(time, color="tab:red", linewidth=0.8, linestyle=":")
