"""Reads side data, which FFmpeg attaches to a decoded picture."""

from __future__ import annotations

import sys
from typing import Any

import av
from av.sidedata.sidedata import SideDataContainer, Type


def _unknown(cls: type[Type], value: int) -> Type:
    """Create a type for side data that PyAV does not know, such as EXIF (31). PyAV would fail."""
    kind = object.__new__(cls)
    kind._name_ = f"TYPE_{value}"
    kind._value_ = value  # type: ignore[assignment]
    return kind


# PyAV reads all side data of a frame, even if only one type is needed.
Type._missing_ = classmethod(_unknown)  # type: ignore[method-assign,assignment]


_RECTILINEAR = 4
"""FFmpeg's AV_SPHERICAL_RECTILINEAR: the projection of a usual lens."""


def side_data(frame: av.VideoFrame) -> Any:
    """Return the side data of a picture: a mapping by name, which PyAV's type stubs lack.

    `frame.side_data` is not used, because it makes a reference cycle: the frame refers to the
    mapping and the mapping to the frame. The memory would be freed only by the garbage collector.
    """
    mapping: Any = SideDataContainer
    return mapping(frame)


def is_spherical(frame: av.VideoFrame) -> bool:
    """Return whether a picture is marked as spherical, such as that of a 360-degree camera."""
    return _first_number(frame, "SPHERICAL") not in (None, _RECTILINEAR)


def is_stereo(frame: av.VideoFrame) -> bool:
    """Return whether a picture is marked as one with two views."""
    return bool(_first_number(frame, "STEREO3D"))  # AV_STEREO3D_2D is 0


def has_rpu(frame: av.VideoFrame) -> bool:
    """Return whether a picture has metadata of Dolby Vision."""
    return side_data(frame).get("DOVI_RPU_BUFFER") is not None


def _first_number(frame: av.VideoFrame, name: str) -> int | None:
    data = side_data(frame).get(name)
    return None if data is None else int.from_bytes(bytes(data)[:4], sys.byteorder)


def display_matrix(frame: av.VideoFrame) -> bytes | None:
    """Return the display matrix of a picture, nine int32; None if it has none."""
    data = side_data(frame).get("DISPLAYMATRIX")
    return None if data is None else bytes(data)
