"""Finds the short video behind a picture that a phone has taken as a motion photo."""

from __future__ import annotations

import re

_VIDEO = re.compile(rb"....ftyp(?:mp4|iso|qt|M4V|3gp|avc|hev|hvc)", re.DOTALL)
"""Beginning of an MP4: the box `ftyp` with the name of a format for video."""
_MARK = re.compile(rb"((?:MotionPhoto|MicroVideo)(?:=[\"']|>))1")
"""Google's marks in XMP that a video follows the picture."""
_HEAD = 64
"""Bytes at the beginning in which the `ftyp` of a HEIC itself is, at most."""


def motion_note(name: str, data: bytes) -> list[str]:
    """Return a message on the video in a picture file, which is left out."""
    found = _VIDEO.search(data, _HEAD)
    if found is None:
        return []
    cut = f"tail -c +{found.start() + 1} {name} > video.mp4"
    return [
        f"{name}: a motion photo: only the picture is enhanced, and its video is left out; to"
        f" enhance that too, make a file of it ({cut})"
    ]


def without_mark(xmp: bytes) -> bytes:
    """Return XMP that does not say that a video follows the picture."""
    return _MARK.sub(rb"\g<1>0", xmp)
