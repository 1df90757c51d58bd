"""Checks of values that a caller gives, before any work."""

from __future__ import annotations

from collections.abc import Sequence, Set
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from streamkind.errors import UsageError
from streamkind.light.exposure import MANUAL_RANGE, Ratio
from streamkind.video.frames import Pixels

_NAMES = {
    bool: "True or False",
    float: "a number",
    int: "a whole number",
    str: "a str",
    Path: "a Path",
    NoneType: "None",
}
"""Names of the types of options in messages."""


def check_ratio(ratio: Ratio) -> None:
    """Raise UsageError unless `ratio` is "auto" or a number in `MANUAL_RANGE`."""
    low, high = MANUAL_RANGE
    if isinstance(ratio, str) and ratio == "auto":
        return
    if not _is_number(ratio) or not low <= float(ratio) <= high:
        raise UsageError(
            f"ratio must be 'auto' or a number from {low:g} to {high:g}, got {ratio!r}"
        )


def check_target(target: float) -> None:
    """Raise UsageError unless `target` is a mean luma in (0, 1]."""
    if not _is_number(target) or not 0 < target <= 1:
        raise UsageError(f"target must be a mean luma above 0 and up to 1, got {target!r}")


def check_pixels(image: Pixels) -> None:
    """Raise ValueError unless `image` is an array of uint8 and shape (H, W, 3)."""
    if not isinstance(image, np.ndarray):
        raise ValueError(
            "image must be a NumPy array, RGB uint8 of shape (H, W, 3), got"
            f" {type(image).__name__}; convert it with numpy.asarray"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"image must be RGB uint8 of shape (H, W, 3), got {image.dtype} {image.shape}"
        )


def check_type(name: str, value: object, hint: Any) -> None:
    """Raise UsageError unless the value of an option fits its type hint."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if not any(_fits(value, kind) for kind in kinds):
        told = " or ".join(_NAMES.get(kind) or _named(kind) for kind in kinds)
        raise UsageError(f"{name} must be {told}, got {value!r}")


def _fits(value: object, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if get_origin(kind) in (Sequence, Set):
        return isinstance(value, get_origin(kind))
    if kind is float:
        return _is_number(value)
    if kind is int:
        return isinstance(value, Integral) and not isinstance(value, bool)
    return isinstance(value, kind)


def _named(kind: Any) -> str:
    return f"one of {', '.join(get_args(kind))}"


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
