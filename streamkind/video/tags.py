"""Tags of files and streams, and short descriptions of streams."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from streamkind.video.demux import is_picture

# Tags that describe the old container. The new one writes its own.
_STALE_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder", "rotate")
_STALE_PREFIXES = ("DURATION", "NUMBER_OF_", "BPS", "_STATISTICS_")
_MOST_COUNTED = 255
"""Most frames per second of a time code: MP4 stores their number in a byte."""


def fresh_tags(metadata: dict[str, str]) -> dict[str, str]:
    """Return the tags that are still true of the output."""
    tags = {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _STALE_TAGS and not key.upper().startswith(_STALE_PREFIXES)
    }
    # In MP4 tracks, FFmpeg reads the tag as "name", and writes it from "title".
    if "name" in tags:
        tags.setdefault("title", tags["name"])
    return tags


def counts_frames(timecode: str, rate: Fraction | int) -> bool:
    """Return whether FFmpeg writes a time code, HH:MM:SS:FF, at a rate of frames per second."""
    if not re.fullmatch(r"\d\d:\d\d:\d\d[:;.]\d+", timecode) or rate > _MOST_COUNTED:
        return False
    # The ; marks drop-frame time codes, which FFmpeg refuses at other rates than NTSC's.
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
