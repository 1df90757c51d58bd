"""Reads side data, which FFmpeg attaches to a decoded picture."""

from __future__ import annotations

from typing import Any

import av
from av.sidedata.sidedata import Type


def _unknown(cls: type[Type], value: int) -> Type:
    """Create a type for side data that PyAV does not know, such as EXIF (31). PyAV would fail."""
    kind = object.__new__(cls)
    kind._name_ = f"TYPE_{value}"
    kind._value_ = value  # type: ignore[assignment]
    return kind


# PyAV reads all side data of a frame, even if only one type is needed.
Type._missing_ = classmethod(_unknown)  # type: ignore[method-assign,assignment]


def display_matrix(frame: av.VideoFrame) -> bytes | None:
    """Return the display matrix of a picture, nine int32; None if it has none."""
    side_data: Any = frame.side_data  # a mapping by name, which PyAV's stubs do not say
    data = side_data.get("DISPLAYMATRIX")
    return None if data is None else bytes(data)
