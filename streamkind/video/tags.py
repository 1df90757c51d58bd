"""Reads the tags of files and streams, and describes streams for messages."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from streamkind.video.demux import is_picture

if TYPE_CHECKING:
    from av.container.core import Chapter  # in the stubs only

# Tags that describe the container of the input. The muxer writes its own.
_STALE_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder", "rotate")
_STALE_PREFIXES = ("DURATION", "NUMBER_OF_", "BPS", "_STATISTICS_")
_MOST_COUNTED = 255
"""Largest frame rate of a time code, in frames per second: MP4 stores it in one byte."""


def fresh_tags(metadata: dict[str, str]) -> dict[str, str]:
    """Return the tags of the input that are also valid for the output."""
    tags = {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _STALE_TAGS and not key.upper().startswith(_STALE_PREFIXES)
    }
    # In MP4 tracks, FFmpeg reads the title as "name", but writes it from "title".
    if "name" in tags:
        tags.setdefault("title", tags["name"])
    return tags


def tags_of_part(
    metadata: dict[str, str], rate: Fraction | int, *, late: bool
) -> tuple[dict[str, str], list[str]]:
    """Return the tags of the input that are valid for a part of it, and messages about the others.

    `late` says whether the part begins after the beginning of the input. `rate` is in frames per
    second.
    """
    tags, notes = fresh_tags(metadata), []
    for key in [key for key in tags if key.lower() == "timecode"]:
        if late or not counts_frames(tags[key], rate):
            why = "it counts from the file's beginning" if late else "FFmpeg cannot write it"
            notes.append(f"the time code {tags[key]} is left out: {why}")
            del tags[key]
    return tags, notes


def chapter_of_part(chapter: Chapter, start: Fraction, stop: Fraction | None) -> Chapter | None:
    """Return a chapter on the timeline of the part from `start` to `stop`, in seconds.

    Return None for a chapter outside the part. `stop` is None for the end of the file.
    """
    base = chapter["time_base"]
    if base is None:
        return chapter
    begin = round(start / base)
    end = chapter["end"] if stop is None else round(stop / base)
    if chapter["end"] <= begin or chapter["start"] >= end:
        return None
    moved = chapter.copy()
    moved["start"] = max(chapter["start"], begin) - begin
    moved["end"] = min(chapter["end"], end) - begin
    return moved


def counts_frames(timecode: str, rate: Fraction | int) -> bool:
    """Return whether FFmpeg can write a time code, HH:MM:SS:FF, at a rate in frames per second."""
    if not re.fullmatch(r"\d\d:\d\d:\d\d[:;.]\d+", timecode) or rate > _MOST_COUNTED:
        return False
    # A semicolon marks a drop-frame time code, which FFmpeg accepts only at NTSC's frame rates.
    dropping = timecode[8] != ":"
    return not dropping or (rate * Fraction(1001, 30_000)).denominator == 1


def describe(stream: Any) -> str:
    """Return a short description of a stream for the user: type, codec and language."""
    if is_picture(stream):
        return "cover art"
    context = stream.codec_context
    name = context.name if context is not None else getattr(stream, "name", None)
    name = name or getattr(stream, "codec_tag", "")
    language = f", {stream.language}" if stream.language else ""
    return f"{stream.type} {name or 'of unknown kind'}{language}"
