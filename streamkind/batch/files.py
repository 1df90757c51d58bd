"""Finds the files of a batch, and names their results."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from streamkind.batch.journal import Job
from streamkind.engine.options import BATCH, Options
from streamkind.errors import InputError, UsageError
from streamkind.platform import unified
from streamkind.video.format import VIDEO_SUFFIXES
from streamkind.video.publish import check_not_input
from streamkind.video.storage import as_path, is_folder, is_local

KEPT_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv"})
"""File endings that are the same for the result. Others become .mkv, which can hold nearly all
codecs."""
MOST_NAMED = 5
"""Most files that a message names."""
NAME = "{folder}/{stem}{suffix}"
"""Default template for the names of results."""


def find_jobs(
    inputs: Iterable[str | Path],
    out: str | Path,
    options: Options,
    *,
    patterns: Sequence[str] = (),
    name: str = NAME,
    left_out: list[Path] | None = None,
) -> list[Job]:
    """Return a job for every input file, and for the matching files of every input folder.

    In `name`, {folder} is the path from the input folder to the file's folder, and {stem} and
    {suffix} are parts of the file's name. The files of folders that are not taken are added to
    `left_out`, except hidden files. Raises InputError if no file is found. Raises UsageError if two
    results would have the same name, if one would replace its input, and for options that a batch
    does not take.
    """
    options.check_only(BATCH, "a batch")
    inputs = list(inputs)
    base, jobs = as_path(out), dict[str, Job]()
    left_out = [] if left_out is None else left_out
    for top, path in find_files(inputs, patterns, base, left_out):
        output = base / result_name(name, top, path)
        check_not_input(output, path)
        key = unified(output) if is_local(output) else str(output)
        if (other := jobs.get(key)) is not None and not _is_same(other.input, path):
            raise UsageError(
                f"{other.input} and {path} would both become {output}; "
                "make the names differ by --name, such as '{folder}/{stem}-{kind}{suffix}'"
            )
        jobs[key] = Job(path, output, options)
    if not jobs:
        told = f" ({tell_left_out(left_out)})" if left_out else ""
        if any(_is_below(as_path(item), base) for item in inputs):
            raise InputError(
                f"no video was found{told}: files below --out are results, not inputs;"
                " choose another --out"
            )
        raise InputError(
            f"no video was found{told}; name video files, folders with videos, or a --pattern"
        )
    return list(jobs.values())


def find_files(
    inputs: Iterable[str | Path], patterns: Sequence[str], out: Path, left_out: list[Path]
) -> Iterable[tuple[Path, Path]]:
    """Yield pairs of the input folder and a file in it; for a named file, its own folder."""
    for item in inputs:
        path = as_path(item)
        if not is_folder(path):
            yield path.parent, path
            continue
        for file in sorted(path.rglob("*"), key=str):
            hidden = any(part.startswith(".") for part in _parts_below(path, file))
            if hidden or _is_below(file.parent, out) or (file.is_dir() and not file.is_symlink()):
                continue
            if file.is_file() and is_wanted(file, patterns):
                yield path, file
            else:
                left_out.append(file)


def _is_same(one: Path, other: Path) -> bool:
    """Return whether two paths name one file. One may be absolute."""
    if not (is_local(one) and is_local(other)):
        return one == other
    return os.path.realpath(one) == os.path.realpath(other)


def _is_below(folder: Path, out: Path) -> bool:
    """Return whether a folder is `out` or below it. One may be named by an absolute path."""
    if not (is_local(folder) and is_local(out)):
        return out == folder or out in folder.parents
    return Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(out))


def _parts_below(top: Path, path: Path) -> Sequence[str]:
    """Return the names of the folders from the input folder to a file, and that of the file."""
    if is_local(path):
        return path.relative_to(top).parts
    return str(path)[len(str(top)) :].strip("/").split("/")


def tell_left_out(files: Sequence[Path]) -> str:
    """Return a message about the files of folders that are not taken, with some of their names."""
    names = ", ".join(str(file) for file in files[:MOST_NAMED])
    rest = f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else ""
    return (
        "left out, because their names do not end as those of videos or do not match --pattern, or"
        f" because they are links to folders or broken links: {names}{rest}"
    )


def is_wanted(path: Path, patterns: Sequence[str]) -> bool:
    """Return whether a file of a folder is taken: by `patterns`, or by its ending without any."""
    if patterns:
        return any(fnmatch(path.name, pattern) for pattern in patterns)
    return path.suffix.lower() in VIDEO_SUFFIXES


def result_name(template: str, top: Path, path: Path) -> str:
    """Fill in the template of a name. Raises UsageError.

    {folder} is the path from the input folder to the file's folder, {stem} the file's name without
    its ending, {kind} that ending in lower case without the dot, and {suffix} that of the result.
    """
    suffix = path.suffix.lower()
    still = suffix not in VIDEO_SUFFIXES and suffix not in KEPT_SUFFIXES
    known = {
        "folder": "/".join(_parts_below(top, path)[:-1]) or ".",
        "stem": path.stem,
        "suffix": path.suffix if suffix in KEPT_SUFFIXES or still else ".mkv",
        "kind": suffix.lstrip("."),
    }
    try:
        return template.format(**known)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as exc:
        raise UsageError(
            f"--name {template!r} cannot be filled in: {exc}; use only"
            f" {', '.join(f'{{{k}}}' for k in known)}"
        ) from exc


def read_list(path: Path) -> list[str]:
    """Read inputs from a file, one per line. Empty lines and lines that begin with # are ignored.

    Raises InputError.
    """
    try:
        data = path.read_bytes()
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # of PowerShell 5
        lines = data.decode("utf-16" if utf16 else "utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(
            f"{path}: cannot be read as a list ({exc}); expected one path per line"
        ) from exc
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
