"""The plan of a job, which is written once, and the records of its finished parts."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from streamkind import __version__
from streamkind.engine.options import BATCH, Options
from streamkind.errors import OutputError
from streamkind.light.track import Track
from streamkind.model.released import PARTS, find_release
from streamkind.video.images import IMAGE_SUFFIXES
from streamkind.video.others import PART_SUFFIX
from streamkind.video.publish import remove
from streamkind.video.storage import (
    fingerprint,
    is_local,
    remove_folder,
    sha256,
    write_whole,
)

Told = TypeVar("Told")

JOURNAL = "journal.json"
"""Name of the journal's file."""
VERSION = 2
"""Version of the journal's format. A journal of another version is not used."""

LONGEST = 240
"""Longest name of an output, in bytes, from which hidden names are made without shortening it. Most
file systems allow 255 bytes, and a hidden name is up to 12 bytes longer."""


def recorded(options: Options) -> dict[str, Any]:
    """Return everything that the result depends on: options, version and the model's digest."""
    release = find_release(options.chosen_model)
    graphs = "".join(getattr(release, part).sha256 for part in PARTS)
    engine = hashlib.sha256(graphs.encode()).hexdigest()
    given = {name: getattr(options, name) for name in BATCH}
    told: dict[str, Any] = json.loads(json.dumps(given))
    return told | {"engine": engine, "streamkind": __version__}


@dataclass(frozen=True)
class Job:
    """One input file, its output file, and the options."""

    input: Path
    output: Path
    options: Options

    def absolute(self) -> Job:
        """Return the same job for machines that work in another folder."""
        input, output = (p.absolute() if is_local(p) else p for p in (self.input, self.output))
        return replace(self, input=input, output=output)

    @property
    def folder(self) -> Path:
        """The hidden folder beside the output with the finished parts."""
        return self._beside(".job")

    @property
    def receipt(self) -> Path:
        """The hidden file beside the output that says how the output was made."""
        return self._beside(".streamkind")

    def _beside(self, ending: str) -> Path:
        """Return a hidden name beside the output. That of a long name is shortened."""
        name = os.fsencode(self.output.name)
        told = self.output.name
        if len(name) > LONGEST:
            kept = name[: LONGEST // 2].decode(errors="ignore")
            told = f"{kept}-{hashlib.sha256(name).hexdigest()[:16]}"
        return self.output.parent / f".{told}{ending}"

    @property
    def track(self) -> Path:
        """The file with the ratios from the first pass."""
        return self.folder / "track.csv"

    def part(self, index: int) -> Path:
        """Return the file of the enhanced part `index`. For an image, it is the whole image."""
        still = self.output.suffix.lower() in IMAGE_SUFFIXES
        return self.folder / f"{index:05}{self.output.suffix if still else PART_SUFFIX}"

    def record(self, index: int) -> Path:
        """Return the file that exists if part `index` is complete."""
        return self.folder / f"{index:05}.json"

    def is_done(self) -> bool:
        """Return whether the output exists, is complete, and has this input and these settings.

        Raises OutputError if the output exists without a receipt.
        """
        if not self.output.exists():
            return False
        receipt = read(self.receipt)
        if receipt is None:
            raise OutputError(
                f"{self.output}: exists, but was not made by `streamkind batch`; move it away, or"
                " choose another --out"
            )
        return receipt == self.make_receipt(self.output, fingerprint(self.input))

    def make_receipt(self, output: Path, input: str) -> dict[str, Any]:
        """Return the settings and fingerprints that identify an output made from `input`."""
        return {
            "settings": recorded(self.options),
            "input": input,
            "output": fingerprint(output),
        }


@dataclass(frozen=True)
class Journal:
    """The plan of a job. It stays the same when the job is resumed, on any machine."""

    input: str
    """Fingerprint of the input."""
    settings: dict[str, Any]
    still: bool
    """Whether the input is an image, which is one part."""
    starts: list[int]
    """The pts of the input at which each part begins."""
    warm: list[int]
    """The pts of the first frame that is read for each part, to initialise the filter over time."""
    packets: list[int]
    """Number of video packets in each part; empty if unknown."""
    ticks: float
    """Units of pts per second."""
    frames: int | None
    """Number of frames of the whole video; None if unknown."""
    track: str | None = None
    """SHA-256 digest of the ratio track, or None without a track."""
    others: list[int] = field(default_factory=list)
    """Stream indices of the file's other videos. Each is one part, after the main video's parts."""

    def __post_init__(self) -> None:
        """Raise ValueError if the numbers of parts contradict each other."""
        rising = all(before < after for before, after in pairwise(self.starts))
        parts = len(self.starts)
        if not (self.starts and rising and len(self.warm) == parts and 0 < self.ticks < math.inf):
            raise ValueError(f"starts={self.starts}, warm={self.warm}, ticks={self.ticks}")
        if len(self.packets) != parts and (parts > 1 or self.packets):
            raise ValueError(f"packets={self.packets}, expected {parts}")

    @property
    def count(self) -> int:
        """Number of parts of all videos."""
        return len(self.starts) + len(self.others)

    def video(self, index: int) -> int | None:
        """Return the stream index of part `index` if it is another video; None for the main one."""
        return self.others[index - len(self.starts)] if index >= len(self.starts) else None

    def part(self, index: int) -> tuple[int | None, int | None] | None:
        """Return the range of pts of part `index`, or None for a whole video."""
        if len(self.starts) == 1 or self.video(index) is not None:
            return None
        ends = [*self.starts[1:], None]
        return self.starts[index] if index else None, ends[index]

    def ratios(self, index: int, track: Track | None) -> Track | None:
        """Return the rows of a track that part `index` needs."""
        if self.video(index) is not None:
            return None
        if track is None or len(self.starts) == 1:
            return track
        ends = [*self.starts[1:], math.inf]
        first = np.searchsorted(track.time, self.starts[index] / self.ticks) - 2
        last = np.searchsorted(track.time, ends[index] / self.ticks) + 2
        rows = slice(max(0, first), last)
        return Track(*(column[rows] for column in vars(track).values()))

    def keep(self, job: Job, track: Track | None) -> Self:
        """Empty the job's folder, and write the journal and the track into it."""
        empty(job.folder)
        journal = self
        if track is not None:
            track.write(job.track)
            journal = replace(self, track=sha256(job.track))
        write(job.folder / JOURNAL, asdict(journal) | {"version": VERSION})
        return journal

    @classmethod
    def read(cls, job: Job) -> Self | str:
        """Return the journal of a job, or a reason why it cannot be used; "" if it has none."""
        path = job.folder / JOURNAL
        if not path.exists():
            return ""
        told = read(path)
        if told is None:
            return "its journal is damaged or was edited"
        if told.pop("version", None) != VERSION:
            return "its journal is of another version"
        if set(told) != set(cls.__dataclass_fields__):
            return "its journal is of another version"
        journal = typed(cls, told)
        if journal is None:
            return "its journal is damaged or was edited"
        if journal.input != fingerprint(job.input):
            return "the input has changed"
        if journal.settings != recorded(job.options):
            return "the settings, the model or the version have changed"
        if journal.track and (not job.track.exists() or sha256(job.track) != journal.track):
            return "its ratio track is damaged or was edited"
        return journal


def empty(folder: Path) -> None:
    """Create a folder, or remove all files in it."""
    if not is_local(folder):
        remove_folder(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        remove(path)


def write(path: Path, told: dict[str, Any]) -> None:
    """Write a JSON file with a digest of its content, completely or not at all.

    Raises OutputError.
    """
    text = json.dumps(told, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    write_whole(path, json.dumps({"check": digest, **told}, indent=1).encode())


def read(path: Path) -> dict[str, Any] | None:
    """Read a file of `write`. Return None if it does not exist, was cut off or was edited."""
    try:
        told = json.loads(path.read_bytes())
        digest = told.pop("check")
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    same = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest() == digest
    return told if same else None


def typed(kind: type[Told], told: dict[str, Any]) -> Told | None:
    """Return a dataclass with the values of `read`, or None if they do not fit."""
    try:
        return TypeAdapter(kind).validate_json(json.dumps(told), strict=True)
    except ValidationError:
        return None
