"""Draws the textures of the street: RGBA pictures of display code values, 0 to 255."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Point = tuple[float, float, float]
"""A colour (RGB, 0 to 255), or a place in the world (x, y, z in metres)."""


def noise(rows: int, columns: int, seed: int, *, coarsest: int = 64) -> Array:
    """Return multi-octave value noise of mean 0, about -1 to 1, (rows, columns)."""
    rng, total, cell, weight = np.random.default_rng(seed), 0, coarsest, 1.0
    while cell >= 1:
        grid = rng.uniform(-1, 1, (rows // cell + 2, columns // cell + 2)).astype(np.float32)
        big = cv2.resize(grid, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        total = total + weight * big[:rows, :columns]
        cell, weight = cell // 2, weight * 0.75
    return total / 1.6


def canvas(rows: int, columns: int, color: Point | None = None) -> Array:
    """Return an RGBA picture of one opaque colour, or a transparent one."""
    paint = np.zeros((rows, columns, 4), np.float32)
    if color is not None:
        paint[:] = (*color, 255)
    return paint


def fill(paint: Array, points: list[tuple[float, float]], color: Point) -> None:
    """Draw an opaque polygon."""
    cv2.fillPoly(paint, [np.int32(np.round(points))], (*color, 255))


def box(paint: Array, x: float, y: float, w: float, h: float, color: Point) -> None:
    """Draw an opaque rectangle."""
    paint[int(y) : int(y + h), int(x) : int(x + w)] = (*color, 255)


def text(paint: Array, words: str, x: int, y: int, scale: float, color: Point) -> None:
    """Draw a text in a Hershey font, centred on x."""
    width = cv2.getTextSize(words, cv2.FONT_HERSHEY_DUPLEX, scale, 2)[0][0]
    ink = np.zeros(paint.shape[:2], np.uint8)  # putText draws on bytes only
    cv2.putText(ink, words, (x - width // 2, y), cv2.FONT_HERSHEY_DUPLEX, scale, 255, 2)
    paint[ink > 127] = (*color, 255)


def wall(rows: int, columns: int, color: Point, seed: int, *, brick: bool) -> Array:
    """Return a wall of bricks or stained plaster, with 64 pixels per metre."""
    paint = canvas(rows, columns, color)
    grain = noise(rows, columns, seed, coarsest=4 if brick else 128)
    if brick:
        row, column = np.mgrid[:rows, :columns]
        course = row // 7
        stone = (column + course % 2 * 9) // 18
        shade = np.random.default_rng(seed).uniform(-1, 1, (rows, columns))[course, stone]
        joint = (row % 7 == 0) | ((column + course % 2 * 9) % 18 == 0)
        paint[..., :3] *= (1 + 0.16 * shade + 0.05 * noise(rows, columns, seed + 1))[..., None]
        paint[joint, :3] = 0.45 * paint[joint, :3] + 0.55 * np.float32((150, 142, 132))
    paint[..., :3] *= (1 + 0.07 * grain)[..., None]
    paint[..., :3] *= np.linspace(1.03, 0.9, rows)[:, None, None]
    return paint


def window(paint: Array, glow: Array, x: int, y: int, rng: np.random.Generator) -> None:
    """Draw a sash window with curtains, 1.1 by 1.6 metres. A fifth of them are lit."""
    w, h, lit = 70, 102, rng.random() < 0.22
    box(paint, x - 9, y - 12, w + 18, 12, (206, 198, 184))
    box(paint, x - 6, y, w + 12, h, (228, 224, 214))
    shade = np.linspace(0, 1, h - 10, dtype=np.float32)[:, None, None]
    dusk, lamplight = np.float32((58, 76, 100)), np.float32((255, 206, 128))
    glass = lamplight - shade * 40 if lit else dusk + shade * 50
    pane = np.broadcast_to(glass, (h - 10, w - 8, 3)).copy()
    folds = 1 + 0.12 * np.sin(np.arange(w - 8) * 0.9)
    drawn = int(rng.integers(8, 26))
    for part in (slice(0, drawn), slice(w - 8 - drawn, w - 8)):
        cloth = rng.choice([(190.0, 120.0, 90.0), (200.0, 190.0, 160.0)])
        pane[:, part] = 0.45 * pane[:, part] + 0.5 * cloth
        pane[:, part] *= folds[part, None]
    paint[y + 6 : y + h - 4, x + 4 : x + w - 4, :3] = pane
    if lit:
        glow[y + 6 : y + h - 4, x + 4 : x + w - 4] = rng.uniform(0.35, 0.9)
    for bar in ((x + w // 2 - 2, y, 4, h), (x, y + h // 2 - 2, w, 4)):
        box(paint, *bar, (228, 224, 214))
        glow[bar[1] : bar[1] + bar[3], bar[0] : bar[0] + bar[2]] = 0
    paint[y : y + 6, x : x + w, :3] *= 0.55
    box(paint, x - 10, y + h, w + 20, 8, (190, 182, 170))
    paint[y + h + 8 : y + h + 15, x - 8 : x + w + 8, :3] *= 0.72


def shop(paint: Array, glow: Array, name: str, color: Point, seed: int) -> None:
    """Draw a lit shop front on the ground floor, with a painted sign above it."""
    rows, columns = glow.shape
    rng, top = np.random.default_rng(seed), rows - 206
    box(paint, 0, top - 56, columns, 262, color)
    box(paint, 10, top - 50, columns - 20, 46, tuple(0.55 * c for c in color))
    text(paint, name, columns // 2, top - 14, 1.35, (250, 232, 180))
    glow[top - 50 : top - 4, 10:-10] = 0.4
    for left, right in ((16, columns // 2 - 60), (columns // 2 + 20, columns - 16)):
        box(paint, left, top + 10, right - left, 160, (255, 222, 160))
        glow[top + 10 : top + 170, left:right] = np.linspace(0.75, 0.28, 160)[:, None]
        for shelf in (top + 70, top + 120, top + 168):
            box(paint, left, shelf - 3, right - left, 5, (120, 80, 50))
            for x in range(left + 14, right - 10, 19):
                bread = tuple(float(c) for c in rng.uniform((150, 80, 30), (230, 170, 90)))
                size = (8, int(rng.integers(5, 14)))
                cv2.ellipse(paint, (x, shelf - 6), size, 0, 180, 360, (*bread, 255), -1)
    door = columns // 2 - 48
    box(paint, door, top + 10, 56, 196, (70, 48, 40))
    box(paint, door + 9, top + 20, 38, 120, (244, 210, 150))
    glow[top + 20 : top + 140, door + 9 : door + 47] = 0.6


def leaves(rows: int, columns: int, blobs: list[tuple[float, ...]], seed: int) -> Array:
    """Return foliage of small leaves, darker below and inside. Blobs: (x, y, radius) in pixels."""
    paint, rng = canvas(rows, columns), np.random.default_rng(seed)
    for depth in (0.45, 0.62, 0.8, 1.0):
        for x, y, radius in blobs:
            for _ in range(int(radius * radius * 0.09)):
                angle, reach = rng.uniform(0, 2 * np.pi), 1.15 - 0.25 * depth
                dx, dy = reach * np.sqrt(rng.random()) * np.array((np.cos(angle), np.sin(angle)))
                light = depth * (0.95 - 0.4 * dy - 0.2 * dx) * rng.uniform(0.75, 1.2)
                color = (*np.clip(np.array((92, 132, 52)) * light, 0, 255).tolist(), 255)
                axes, turn = (int(rng.integers(2, 5)), int(rng.integers(1, 4))), rng.uniform(0, 180)
                at = (int(x + radius * dx), int(y + radius * dy))
                cv2.ellipse(paint, at, axes, turn, 0, 360, color, -1)
    return paint


def car_side(color: Point) -> Array:
    """Return the side of an estate car, 4.2 by 1.5 metres, 80 pixels per metre, near end left."""
    paint, dark = canvas(120, 336), tuple(0.62 * c for c in color)
    outline = [(3, 98), (1, 48), (30, 5), (60, 2), (180, 3), (240, 42), (318, 52), (334, 72)]
    fill(paint, [*outline, (333, 98)], color)
    fill(paint, [(3, 98), (2, 78), (334, 78), (333, 98)], dark)
    edge = [min(255, 1.25 * c + 15) for c in color]
    cv2.line(paint, (4, 52), (318, 56), (*edge, 255), 2)
    for glass in (
        [(18, 42), (38, 10), (66, 9), (66, 43)],
        [(72, 43), (72, 9), (126, 9), (130, 43)],
        [(137, 43), (133, 9), (178, 10), (224, 43)],
    ):
        fill(paint, glass, (44, 56, 70))
        fill(paint, [glass[0], glass[1], ((glass[1][0] + glass[2][0]) // 2, 10)], (92, 112, 130))
    for x in (69, 132, 226):
        cv2.line(paint, (x, 44), (x - 2, 94), (*dark, 255), 1)
    for x in (66, 268):
        for radius, shade in ((29, 20), (24, 34), (15, 150), (12, 96), (4, 170)):
            cv2.circle(paint, (x, 95), radius, (shade, shade, shade, 255), -1)
    return paint
