"""Messages on what is changed or left out of a video, from its header and first picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from streamkind.video.demux import is_picture
from streamkind.video.format import ColorTags
from streamkind.video.tonemap import refuse_dolby, tone_note


def remarks(
    first: av.VideoFrame,
    stream: VideoStream,
    container: InputContainer,
    tags: ColorTags,
    path: Path,
) -> list[str]:
    """Return messages on what of a video is changed, left out or not enhanced.

    Raises InputError for a video that cannot be enhanced at all.
    """
    refuse_dolby(first, stream.codec_context.codec_tag, tags, path)
    notes = tone_note(tags)
    if has_alpha(first, stream):
        notes.append("the video has transparency, which is left out")
    others = [s.index for s in container.streams.video if s.index != stream.index and real(s)]
    if others:
        told = ", ".join(f"#{index}" for index in others)
        notes.append(
            f"stream #{stream.index} is enhanced; {told} is video too and is copied as it is:"
            f" --video-stream {others[0]} enhances that one instead"
        )
    return notes


def has_alpha(first: av.VideoFrame, stream: VideoStream) -> bool:
    """Return whether pictures have transparency. In VP8 and VP9, FFmpeg's decoder ignores it."""
    known = first.format.name.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8"))
    return known or stream.metadata.get("alpha_mode") == "1"


def real(stream: Any) -> bool:
    """Return whether a video stream is footage, not cover art."""
    return not is_picture(stream) and stream.codec_context is not None
