"""What FFmpeg attaches to a decoded picture."""

from __future__ import annotations

from typing import Any

import av
from av.sidedata.sidedata import Type


def _unknown(cls: type[Type], value: int) -> Type:
    """Name a kind of side data that PyAV does not know, such as EXIF (31), with which it fails."""
    kind = object.__new__(cls)
    kind._name_ = f"TYPE_{value}"
    kind._value_ = value  # type: ignore[assignment]
    return kind


# PyAV builds all of a frame's side data, whichever of it is asked for.
Type._missing_ = classmethod(_unknown)  # type: ignore[method-assign,assignment]


def display_matrix(frame: av.VideoFrame) -> bytes | None:
    """Return how a picture is to be turned, nine int32; None when it is not said."""
    side_data: Any = frame.side_data  # a mapping by name, which PyAV's stubs do not say
    data = side_data.get("DISPLAYMATRIX")
    return None if data is None else bytes(data)
