"""Tags of files and streams, and short descriptions of streams."""

from __future__ import annotations

from typing import Any

from streamkind.video.demux import is_picture

# Tags that describe the old container. The new one writes its own.
_STALE_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder", "rotate")
_STALE_PREFIXES = ("DURATION", "NUMBER_OF_", "BPS", "_STATISTICS_")


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


def describe(stream: Any) -> str:
    """Return a short description of a stream for the user: type, codec and language."""
    if is_picture(stream):
        return "cover art"
    context = stream.codec_context
    name = context.name if context is not None else getattr(stream, "name", None)
    name = name or getattr(stream, "codec_tag", "")
    language = f", {stream.language}" if stream.language else ""
    return f"{stream.type} {name or 'of unknown kind'}{language}"
