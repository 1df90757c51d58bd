"""Messages about data of a video that is changed or left out, from its header and first frame."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from streamkind.video.demux import is_picture
from streamkind.video.format import ColorTags
from streamkind.video.side_data import is_spherical, is_stereo
from streamkind.video.tonemap import DOLBY_TAGS, refuse_dolby, tone_note


def remarks(
    first: av.VideoFrame,
    stream: VideoStream,
    container: InputContainer,
    tags: ColorTags,
    path: Path,
) -> list[str]:
    """Return messages about data of a video that is changed or left out.

    Raises InputError for a video that cannot be enhanced at all.
    """
    refuse_dolby(first, stream.codec_context.codec_tag, tags, path)
    notes = tone_note(tags)
    if has_alpha(first, stream):
        notes.append("the video has transparency, which is left out")
    if is_spherical(first):
        notes.append(
            "the video is spherical (360 or 180 degrees), but the output is not marked as that;"
            " mark it with a tool for spherical metadata"
        )
    if is_stereo(first):
        notes.append(
            "the video is stereoscopic (3D), but the output is not marked as that; if each view is"
            " coded by itself (MV-HEVC), only the first view is enhanced, and the other is left out"
        )
    return notes


def has_alpha(first: av.VideoFrame, stream: VideoStream) -> bool:
    """Return whether a video has an alpha channel. FFmpeg's decoders of VP8 and VP9 ignore it."""
    known = first.format.name.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8"))
    return known or stream.metadata.get("alpha_mode") == "1"


def other_videos(container: InputContainer, stream: VideoStream) -> list[int]:
    """Return the stream indices of the videos other than `stream`, without cover art."""
    videos = [s for s in container.streams.video if not is_picture(s) and s.codec_context]
    return [video.index for video in videos if video.index != stream.index]


def copied_note(index: int, others: Collection[int]) -> str:
    """Return the message on videos that are copied and not enhanced."""
    told = ", ".join(f"#{other}" for other in others)
    return f"stream #{index} is enhanced; other videos are copied unchanged: {told}"


def layers(container: InputContainer, stream: VideoStream) -> list[int]:
    """Return the indices of enhancement layers: Dolby Vision tracks beside a video without it."""
    if _is_dolby(stream):
        return []
    others = other_videos(container, stream)
    return [index for index in others if _is_dolby(container.streams[index])]


def _is_dolby(stream: Any) -> bool:
    return stream.codec_context.codec_tag in DOLBY_TAGS


def layer_note(index: int) -> str:
    """Return the message on an enhancement layer."""
    return (
        f"stream #{index} is left out: it is the enhancement layer of Dolby Vision (profile 7),"
        " which fits only the unchanged video"
    )
