"""Reads and writes the files in docs/figures: tables, and the conditions of their measurement."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "figures"
ENGINES = ROOT / "engines"
COMMIT_DIGITS = 7
"""Number of digits of a commit in a page: the least number that `git rev-parse --short` prints."""


@dataclass
class Table:
    """A table of a page."""

    columns: dict[str, str]
    """Heading -> format of the column's numbers, such as .2f."""
    rows: list[list[Any]]
    """Values of the cells. Text is not formatted. None is an empty cell."""

    def markdown(self) -> str:
        """Return the table as Markdown."""
        forms = self.columns.values()
        cells = [[cell(v, f) for v, f in zip(row, forms, strict=True)] for row in self.rows]
        lines = [list(self.columns), ["---"] * len(self.columns), *cells]
        return "\n".join("|" + "".join(f" {c} |" if c else " |" for c in line) for line in lines)


def cell(value: Any, form: str) -> str:
    """Return the text of a cell."""
    if value is None or isinstance(value, str):
        return value or ""
    return format(value, form)


@dataclass
class Measured:
    """The results of a part."""

    tables: dict[str, Table]
    models: tuple[str, ...] = ()
    """Released models that ran, apart from those of the profiles."""
    profiles: tuple[str, ...] = ()
    """Profiles that ran."""
    pictures: tuple[Path, ...] = ()
    """Plots of the same measurement."""


@dataclass
class Record:
    """The content of a file of docs/figures."""

    date: str
    commit: str
    command: str
    cpu: str
    cores: int
    versions: dict[str, str]
    tables: dict[str, Table]
    weights: dict[str, str] = field(default_factory=dict)
    """Model -> digest of its graphs."""
    profiles: dict[str, str] = field(default_factory=dict)
    """Profile -> its model."""
    pictures: dict[str, str] = field(default_factory=dict)
    """Name of a plot beside this file -> its digest."""
    held: str = ""
    """Reason for keeping the figures although the weights or profiles have changed."""

    def origin(self) -> str:
        """Return the line below a table: command, date, commit and machine."""
        line = f"{self.command}, {self.date}, commit {self.commit}, {self.cpu}, {self.cores} cores."
        return f"{line} Kept: {self.held}." if self.held else line


def read(part: str, folder: Path = FOLDER) -> Record:
    """Read the file of a part."""
    told = json.loads((folder / f"{part}.json").read_text("utf-8"))
    told["tables"] = {name: Table(**table) for name, table in told["tables"].items()}
    return Record(**told)


def read_all(folder: Path = FOLDER) -> dict[str, Record]:
    """Read the files of all parts."""
    return {path.stem: read(path.stem, folder) for path in sorted(folder.glob("*.json"))}


def write(part: str, record: Record, folder: Path = FOLDER) -> None:
    """Write the file of a part."""
    told = {name: value for name, value in asdict(record).items() if value}
    text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    one_line = re.compile(r"\[[^][{}]*\]")  # an innermost list: a row of a table
    flat = one_line.sub(lambda row: f"[{' '.join(row[0][1:-1].split())}]", text)
    (folder / f"{part}.json").write_text(flat, "utf-8")


def stamp(part: str, found: Measured) -> Record:
    """Return a record of results, with the present date, commit, machine, versions and digests."""
    from streamkind.backends import processor
    from streamkind.cli.bench import versions
    from streamkind.engine.profiles import PROFILES
    from streamkind.model.checkpoint import source_commit

    profiles = {name: PROFILES[name].model for name in found.profiles}  # type: ignore[index]
    models = sorted({*found.models, *profiles.values()})
    return Record(
        date=str(datetime.date.today()),
        commit=source_commit()[:COMMIT_DIGITS],
        command=f"`python tools/figures.py {part}`",
        cpu=f"{processor.name()} {processor.bf16_note()}",
        cores=os.cpu_count() or 1,
        versions=versions(),
        tables=found.tables,
        weights={model: digest(ENGINES.glob(f"{model}-*.onnx")) for model in models},
        profiles=profiles,
        pictures={p.name: digest([p]) for p in found.pictures},
    )


def digest(paths: Iterable[Path]) -> str:
    """Return the first 16 digits of the SHA-256 over all files, in the order of their names."""
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:16]


def stale(records: dict[str, Record], root: Path = ROOT) -> Iterator[str]:
    """Yield a message for each record whose weights, profiles or plots have changed since then."""
    from streamkind.engine.profiles import PROFILES

    now = {name: profile.model for name, profile in PROFILES.items()}
    for part, record in records.items():
        again = f"docs/figures/{part}.json: run `python tools/figures.py {part}`, or say in `held`"
        for model, told in record.weights.items():
            if not record.held and digest((root / "engines").glob(f"{model}-*.onnx")) != told:
                yield f"{again} why not: the weights of {model} are others now"
        for profile, model in record.profiles.items():
            if not record.held and now.get(profile) != model:
                yield f"{again} why not: {profile} does not run {model} now"
        for name, told in record.pictures.items():
            plot = root / FOLDER.relative_to(ROOT) / name
            if not plot.exists() or digest([plot]) != told:
                yield f"{again}: {name} is not the plot of this measurement"
