"""What files and streams are called, and what is said of them."""

from __future__ import annotations

from typing import Any

from streamkind.video.demux import is_picture

# They describe the container that was, and the new one writes its own.
_STALE_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder", "rotate")
_STALE_PREFIXES = ("DURATION", "NUMBER_OF_", "BPS", "_STATISTICS_")


def fresh_tags(metadata: dict[str, str]) -> dict[str, str]:
    """Return the tags that are still true of the output."""
    tags = {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _STALE_TAGS and not key.upper().startswith(_STALE_PREFIXES)
    }
    # What FFmpeg reads from an MP4 track as "name" it writes there from "title".
    if "name" in tags:
        tags.setdefault("title", tags["name"])
    return tags


def describe(stream: Any) -> str:
    """Name a stream for the user."""
    if is_picture(stream):
        return "cover art"
    context = stream.codec_context
    name = context.name if context is not None else getattr(stream, "name", None)
    name = name or getattr(stream, "codec_tag", "")
    language = f", {stream.language}" if stream.language else ""
    return f"{stream.type} {name or 'of unknown kind'}{language}"
