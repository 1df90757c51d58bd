"""Tracks: the ratio of a whole video over time, and the CSV format for it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamkind.errors import UsageError
from streamkind.light.exposure import Floats, Statistics
from streamkind.video.storage import as_path, write_whole

Series = NDArray[np.float64]

TRACK_RANGE = (0.1, 32.0)
"""Least and largest ratio in a track: the first and the last of `exposure.RATIOS`."""
COLUMNS = ("time", "ratio", "wanted", "luma", "cut")
"""Columns of the CSV, in the order of the fields of `Track`."""


@dataclass(frozen=True, eq=False)
class Track:
    """The ratio of a video over time: arrays of one length, with a row for each frame or fewer."""

    time: Series
    """Time in seconds, strictly rising."""
    ratio: Series
    """Ratio by which a frame is relit, 0.1 to 32."""
    wanted: Series
    """Automatic ratio before smoothing, for information. NaN if unknown."""
    luma: Series
    """Mean luma of the input without lamps, in [0, 1], for information. NaN if unknown."""
    cut: NDArray[np.bool_]
    """True where a scene begins."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a CSV with at least the columns `time`, in seconds, and `ratio`. Raises UsageError.

        The columns `wanted`, `luma` and `cut` (0 or 1) may be missing.
        """
        path = as_path(path)
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = csv.DictReader(file, skipinitialspace=True)
                if missing := {"time", "ratio"} - set(rows.fieldnames or ()):
                    raise UsageError(
                        f"{path}: no column {' and '.join(sorted(missing))}; the first line of a "
                        f"ratio track names its columns: {','.join(COLUMNS)}"
                    )
                parsed = [(rows.line_num, *_parse(path, rows.line_num, row)) for row in rows]
        except (OSError, UnicodeDecodeError, csv.Error) as exc:
            raise UsageError(
                f"{path} cannot be read as a ratio track ({exc}); make one with `streamkind track`"
            ) from exc
        if not parsed:
            raise UsageError(f"{path} has no rows; a ratio track needs at least one")
        line, time, ratio, wanted, luma, cut = (np.array(c) for c in zip(*parsed, strict=True))
        if (late := np.flatnonzero(np.diff(time) <= 0)).size:
            before, after = late[0], late[0] + 1
            raise UsageError(
                f"{path}, line {line[after]}: time {time[after]:.10g} follows {time[before]:.10g}; "
                "times must rise from row to row; sort the rows, and remove repeated times"
            )
        return cls(time, ratio, wanted, luma, cut.astype(bool))

    def write(self, path: str | Path) -> None:
        """Write all columns as CSV, completely or not at all. Raises OutputError."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        for t, r, w, y, c in zip(*vars(self).values(), strict=True):
            # Time and ratio in full precision, so that reading gives the same track.
            rows.writerow([repr(float(t)), repr(float(r)), f"{w:.5g}", f"{y:.5g}", int(c)])
        write_whole(as_path(path), text.getvalue().encode())


def _parse(path: Path, line: int, row: dict[Any, Any]) -> tuple[float, float, float, float, bool]:
    if None in row:  # for example "0,5" instead of "0.5"
        raise UsageError(
            f"{path}, line {line}: more values than columns; numbers take a point, not a comma"
        )

    def number(column: str, low: float, high: float, default: float | None = None) -> float:
        text = row.get(column) or ""
        if not text and default is not None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise UsageError(
                f"{path}, line {line}: {column} is {text!r}, "
                f"expected a number from {low:g} to {high:g}"
            )
        return value

    return (
        number("time", -1e9, 1e9),
        number("ratio", *TRACK_RANGE),
        number("wanted", 0, math.inf, math.nan),
        number("luma", 0, 1, math.nan),
        bool(number("cut", 0, 1, 0)),
    )


@dataclass(frozen=True)
class TrackRatio:
    """Chooses the ratio of each frame from a track.

    Between two rows the ratio in stops is interpolated linearly. If a scene begins at the second
    row, the ratio stays constant until that row. Before the first row and after the last row it is
    constant.
    """

    track: Track

    def __call__(self, statistics: Statistics, times: Sequence[float]) -> Floats:
        """Return one ratio per frame, (N,)."""
        return np.array([self._at(time) for time in times], np.float32)

    def _at(self, time: float) -> float:
        t = self.track
        i = int(np.searchsorted(t.time, time, side="right")) - 1
        if i < 0 or i + 1 == len(t.time) or t.time[i] == time or t.cut[i + 1]:
            return float(t.ratio[max(i, 0)])
        share = (time - t.time[i]) / (t.time[i + 1] - t.time[i])
        return float(t.ratio[i] ** (1 - share) * t.ratio[i + 1] ** share)
