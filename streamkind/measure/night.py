"""Measures visible faults of an enhanced night video or still. Only its input is needed.

Luma is from 0 to 1. The luma and the deviation of a pixel are the mean and the standard deviation
of the 9x9 pixels around it. A gray block is 8x8 chroma samples of the input within 1.5 code values
of neutral, of luma below .25. All thresholds were chosen by hand.

- `cast`: distance from gray of the median colour of the gray blocks in the output, in CIELAB a, b.
- `patch`: 95th percentile of the distance of the gray blocks from that median. It is large if
  dark areas have purple, olive or green patches.
- `lit_contrast`: median of exp(-|log(output deviation / input deviation)|), of pixels of input luma
  .35 or more and deviation .02 or more. It is 1 if contrast is kept, and less if it rises or falls.
- `lit_lift`: mean of output luma less input luma, of pixels of input luma .35 or more.
- `new_clip`: per cent of pixels whose largest channel is 250 or more and was below 235.
- `dark_lift`: geometric mean of output luma / input luma, of pixels of input luma .02 to .12.
- `dark_detail`: median of output deviation / (slope of the tone curve x input deviation), of pixels
  of input luma .015 to .12 and deviation .02 or more. Below 1, dark areas are blurred.
- `black_lift`: mean output luma of pixels of input luma below .006.
- `blocks`: mean step across the lines of a grid of 8, 16 or 32 pixels less the mean step elsewhere,
  in 8-bit levels, of pixels of input luma .008 to .12 and deviation below .01. The largest of all
  grids and of both directions.
- `noise`: of the same pixels, the deviation from the 9x9 mean: that of the output, divided by the
  slope of the tone curve, over that of the input.
- `edge_strip`: difference in colour between the outermost 4 lines of a side and the lines after
  them that the input does not explain, in code values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from streamkind.light.exposure import Floats
from streamkind.video.frames import Pixels

Mask = NDArray[np.bool_]
Figures = dict[str, float]
# Names of the figures of a frame. The docstring of the module explains them.
NAMES = (
    "cast",
    "patch",
    "lit_contrast",
    "lit_lift",
    "new_clip",
    "dark_lift",
    "dark_detail",
    "black_lift",
    "blocks",
    "noise",
    "edge_strip",
)
ALWAYS = ("dark_lift", "new_clip", "edge_strip")
"""Figures that include frames that were hardly changed."""
CHANGED = 1.5
"""Least `dark_lift` of a frame that counts as changed."""


class StoredFrame(NamedTuple):
    """A frame as stored: RGB, and planes as floats in code values of limited range."""

    rgb: Pixels
    luma: Floats
    u: Floats
    """U minus 128; `v` likewise."""
    v: Floats


def picture_of_rgb(rgb: Pixels) -> StoredFrame:
    """Return the BT.601 planes of a still, (H, W, 3)."""
    x = rgb.astype(np.float32)
    y = x @ np.array([0.299, 0.587, 0.114], np.float32)
    size = y.shape[1] // 2, y.shape[0] // 2
    chroma = ((x[..., 2] - y) * 0.564, (x[..., 0] - y) * 0.713)
    u, v = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) * (224 / 255) for p in chroma)
    return StoredFrame(rgb, 16 + y * np.float32(219 / 255), _floats(u), _floats(v))


def picture_of_frame(frame: av.VideoFrame) -> StoredFrame:
    """Return the planes as they were stored, without any conversion."""
    name = frame.format.name
    full = name.startswith("yuvj") or frame.color_range == 2
    plain = name in ("yuv420p", "yuvj420p")
    planes = []
    for plane in (frame if plain else frame.reformat(format="yuv420p")).planes:
        rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
        planes.append(rows[: plane.height, : plane.width].astype(np.float32))
    y, u, v = planes[0], planes[1] - 128, planes[2] - 128
    if full:
        y, u, v = (
            16 + y * np.float32(219 / 255),
            u * np.float32(224 / 255),
            v * np.float32(224 / 255),
        )
    rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    return StoredFrame(rgb, _floats(y), _floats(u), _floats(v))


def figures(before: StoredFrame, after: StoredFrame) -> Figures:
    """Return the figures of a frame. Those that do not apply are absent. Raises ValueError."""
    if before.luma.shape != after.luma.shape:
        raise ValueError(f"sizes differ: {before.rgb.shape[:2]} and {after.rgb.shape[:2]}")
    a, b = (_floats(np.clip((p.luma - 16) / 219, 0, 1)) for p in (before, after))
    ma, mb, sa, sb = mean9(a), mean9(b), deviation9(a), deviation9(b)
    found = colours(before, after.rgb) | lit(ma, mb, sa, sb) | dark(a, b, ma, mb, sa, sb)
    clipped = (after.rgb.max(axis=2) >= 250) & (before.rgb.max(axis=2) < 235)
    found["new_clip"] = float(100 * clipped.mean())
    return found | {"edge_strip": strip(before.rgb, after.rgb)}


def summary(rows: Sequence[Figures]) -> Figures:
    """Return means over frames or clips. Hardly changed frames count for `ALWAYS` only."""
    changed = [row for row in rows if row.get("dark_lift", 2.0) >= CHANGED]
    means = {}
    for name in NAMES:
        values = [row[name] for row in (rows if name in ALWAYS else changed) if name in row]
        if values:
            means[name] = round(float(np.mean(values)), 4)
    return means | {"frames": len(rows), "unchanged": len(rows) - len(changed)}


def blocks_of(plane: Floats, size: int) -> Floats:
    """Return means of blocks of size x size pixels."""
    h, w = plane.shape[0] // size * size, plane.shape[1] // size * size
    return _floats(plane[:h, :w].reshape(h // size, size, w // size, size).mean(axis=(1, 3)))


def mean9(p: Floats) -> Floats:
    """Return means of 9x9 pixels."""
    return _floats(cv2.blur(p, (9, 9)))


def deviation9(p: Floats) -> Floats:
    """Return standard deviations of 9x9 pixels."""
    return _floats(np.sqrt(np.maximum(mean9(p * p) - mean9(p) ** 2, 0)))


def colours(before: StoredFrame, after: Pixels) -> Figures:
    """Return the figures of the colour of blocks that were recorded as gray."""
    chroma = np.hypot(blocks_of(before.u, 8), blocks_of(before.v, 8))
    luma = blocks_of(before.luma, 16)
    h, w = (min(p, q) for p, q in zip(chroma.shape, luma.shape, strict=True))
    gray = (chroma[:h, :w] <= 1.5) & ((luma[:h, :w] - 16) / 219 < 0.25)
    if gray.sum() < 20:
        return {}
    small = cv2.resize(after[: h * 16, : w * 16], (w, h), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[gray]
    middle = np.median(lab[:, 1:], axis=0)
    apart = np.hypot(*(lab[:, 1:] - middle).T)
    return {"cast": float(np.hypot(*middle)), "patch": float(np.percentile(apart, 95))}


def lit(ma: Floats, mb: Floats, sa: Floats, sb: Floats) -> Figures:
    """Return the figures of bright pixels."""
    where, found = ma >= 0.35, {}
    if where.sum() >= 500:
        found["lit_lift"] = float((mb - ma)[where].mean())
        busy = where & (sa >= 0.02)
        if busy.sum() >= 200:
            ratio = np.maximum(sb[busy], 1e-3) / sa[busy]
            found["lit_contrast"] = float(np.median(np.exp(-np.abs(np.log(ratio)))))
    return found


def dark(a: Floats, b: Floats, ma: Floats, mb: Floats, sa: Floats, sb: Floats) -> Figures:
    """Return the figures of dark pixels."""
    found, low = {}, (ma >= 0.02) & (ma <= 0.12)
    if low.sum() >= 500:
        ratio = (mb[low] + 1e-3) / (ma[low] + 1e-3)
        found["dark_lift"] = float(np.exp(np.log(ratio).mean()))
    black = ma < 0.006
    if black.sum() >= 500:
        found["black_lift"] = float(mb[black].mean())
    slope = slope_of(ma, mb)
    flat = (ma < 0.12) & (ma > 0.008) & (sa < 0.01)
    if flat.sum() >= 2000:
        found["blocks"] = grid(b, flat)
        rest = (a - ma)[flat].std()
        if slope is not None and rest > 1e-4:
            found["noise"] = float(((b - mb) / slope)[flat].std() / rest)
    busy = (ma > 0.015) & (ma < 0.12) & (sa >= 0.02)
    if slope is not None and busy.sum() >= 500:
        found["dark_detail"] = float(np.median(sb[busy] / (slope * sa)[busy]))
    return found


def slope_of(ma: Floats, mb: Floats) -> Floats | None:
    """Return the slope of the tone curve at the luma of each pixel.

    The curve is the median output luma by the input luma of dark pixels. None: too few of them.
    """
    x, y = ma[ma < 0.16][::3], mb[ma < 0.16][::3]
    if len(x) < 1000:
        return None
    bins = np.minimum((x / 0.004).astype(int), 39)
    full = [k for k in range(40) if (bins == k).sum() >= 60]
    if len(full) < 4:
        return None
    cx = np.array([x[bins == k].mean() for k in full], np.float32)
    cy = np.array([np.median(y[bins == k]) for k in full], np.float32)
    cy = np.maximum.accumulate(cv2.GaussianBlur(cy.reshape(-1, 1), (1, 5), 1)[:, 0])
    return _floats(np.interp(ma, cx, np.maximum(np.gradient(cy, cx), 0.3)))


def grid(b: Floats, flat: Mask) -> float:
    """Return `blocks`: how much larger steps are on the lines of a grid, in 8-bit levels."""
    worst = 0.0
    for plane, where in ((b, flat), (b.T, flat.T)):
        step, both = np.abs(np.diff(plane, axis=1)), where[:, 1:] & where[:, :-1]
        off = both.copy()
        off[:, 7::8] = False
        for size in (8, 16, 32):
            on = np.zeros_like(both)
            on[:, size - 1 :: size] = both[:, size - 1 :: size]
            if on.sum() >= 200 and off.sum() >= 200:
                worst = max(worst, float(255 * (step[on].mean() - step[off].mean())))
    return worst


def strip(before: Pixels, after: Pixels) -> float:
    """Return the `edge_strip` of the worst side, the lesser of two estimates."""
    worst = 0.0
    x, z = before.astype(np.float32), after.astype(np.float32)
    scale = (z.mean() + 1) / (x.mean() + 1)
    for turn in range(4):
        p, q = np.rot90(x, turn), np.rot90(z, turn)
        width = p.shape[1] // 32 * 32
        if width == 0 or len(p) < 80:
            continue
        explained = np.stack([expected_by_code(p[..., c], q[..., c]) for c in range(3)], axis=2)
        plain, fitted = (color_difference(error, width) for error in (q - scale * p, q - explained))
        worst = max(worst, min(plain, fitted))
    return worst


def expected_by_code(x: NDArray[Any], z: NDArray[Any]) -> NDArray[Any]:
    """Return the output expected for each pixel by its input value.

    It is the mean output for this value in lines 10 to 73, which are near the side.
    """
    seen, made = x[10:74].ravel().astype(int), z[10:74].ravel()
    count, total = np.bincount(seen, minlength=256), np.bincount(seen, made, 256)
    known = np.flatnonzero(count >= 20)
    return _floats(np.interp(x, known, total[known] / count[known])) if len(known) else z


def color_difference(error: NDArray[Any], width: int) -> float:
    """Return the difference in colour between the first 4 lines and lines 10 to 17.

    It is the median over pieces of 32 columns.
    """
    near, far = (
        error[rows, :width].mean(axis=0).reshape(-1, 32, 3).mean(axis=1)
        for rows in (slice(0, 4), slice(10, 18))
    )
    apart = near - far
    return float(np.median(np.abs(apart - apart.mean(axis=1, keepdims=True)).max(axis=1)))


def _floats(values: Any) -> Floats:
    return np.asarray(values, np.float32)
