"""Render the shipped clip: python tools/make_sample.py [--bright reference.mp4].

A street made of textured rectangles in metres (x right, y up, z ahead), seen from a slow car. Every
frame is drawn twice, in linear light: evenly lit (the reference) and by its own lamps (the night).
The night goes through a camera model (glare, shot and read noise, BT.709 curve) to H.264 and AAC.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Point = tuple[float, float, float]
WIDTH, HEIGHT, RATE, FRAMES, SAMPLE_RATE = 640, 360, 24, 96, 48_000
FOCAL, HORIZON, EYE = 540.0, 0.54, 1.45
SKY, GROUND, DECAL, HOUSE, THING = range(5)
SAMPLE = Path(__file__).parent.parent / "samples" / "night_street.mp4"
LAMPS = [(3.7, 5.6, 17.0), (-3.7, 5.6, 31.0), (3.7, 5.6, 46.0), (-3.7, 5.6, 61.0)]
SHOP = (7.0, 2.0, 20.5)
CARS = [  # left edge, near end, colour
    *[(3.1, 19.0, (52, 92, 150)), (3.1, 24.5, (176, 50, 44)), (3.1, 30.5, (200, 200, 196))],
    *[(3.1, 39.0, (60, 110, 84)), (-4.9, 9.2, (206, 160, 56)), (-4.9, 20.0, (120, 130, 142))],
    *[(-4.9, 26.0, (64, 120, 140)), (-4.9, 37.0, (150, 60, 60))],
]
TREES = [(6.4, 26.5), (-6.2, 15.0), (6.3, 37.0), (-6.2, 27.0), (-6.3, 44.0), (5, 84), (-4, 86)]
TREES += [(0.5, 88.0), (-5.5, 84.0), (2.0, 90.0)]
LOOKS = [  # plaster or brick, and the shop below
    *[((196, 170, 128), False, ""), ((164, 84, 64), True, ""), ((120, 146, 150), False, "BAKERY")],
    *[((206, 196, 176), False, ""), ((150, 96, 84), True, ""), ((150, 160, 122), False, "")],
    *[((198, 140, 112), False, "CAFE LUX"), ((134, 92, 72), True, "")],
    ((176, 180, 186), False, ""),
]
WIDTHS, HEIGHTS = (8.0, 6.5, 8.5, 9.0), (9.2, 6.6, 8.4, 10.6, 6.9)
CROSSING, EXPOSURE = 14.5, 0.038


@dataclass(eq=False)
class Quad:
    """A parallelogram in the world: top left corner, its two edges, and what is painted on it."""

    corner: Point
    across: Point
    down: Point
    paint: Array  # (H, W, 4) RGB and alpha, 0..255, as displayed
    layer: int = THING
    glow: Array | None = None  # (H, W) 0..1: emitted light; on the ground: wetness
    levels: dict[tuple[int, int], tuple[Array, Array | None]] = field(default_factory=dict)

    @property
    def vectors(self) -> tuple[Array, Array, Array]:
        """Corner and edges, metres."""
        return (
            np.array(self.corner, float),
            np.array(self.across, float),
            np.array(self.down, float),
        )

    @property
    def basis(self) -> Array:
        """(4, 3): takes (u, v, 1), each 0..1 over the quad, to a world point."""
        corner, across, down = self.vectors
        return np.vstack([np.stack([across, down, corner], 1), [0, 0, 1]])

    def normal(self, camera: Camera) -> Array:
        """Of length 1, towards the camera."""
        corner, across, down = self.vectors
        normal = np.cross(across, down) / np.linalg.norm(np.cross(across, down))
        return normal * np.sign(normal @ (np.array((1.2, EYE, camera.z)) - corner))

    def level(self, width: float, height: float) -> tuple[Array, Array | None]:
        """Linear-light paint and glow, shrunk by powers of two to about this size on screen."""
        rows, columns = self.paint.shape[:2]
        key = tuple(
            int(max(0, np.log2(n / max(m, 1)))) for n, m in ((columns, width), (rows, height))
        )
        if key not in self.levels:
            size = (max(1, columns >> key[0]), max(1, rows >> key[1]))
            alpha = self.paint[..., 3:] / 255
            paint = np.dstack([degamma(self.paint[..., :3] / 255) * alpha, alpha])
            paint = cv2.resize(paint.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            glow = self.glow
            if glow is not None:
                glow = cv2.resize(glow.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            self.levels[key] = paint, glow
        return self.levels[key]


def degamma(code: Array) -> Array:
    """BT.709 code value to linear light."""
    return np.where(code < 0.081, code / 4.5, ((code + 0.099) / 1.099) ** (1 / 0.45))


def gamma(light: Array) -> Array:
    """Linear light to BT.709 code value."""
    light = np.clip(light, 0, 1)
    return np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)


def noise(rows: int, columns: int, seed: int, *, coarsest: int = 64) -> Array:
    """Multi-octave value noise, mean 0, about -1..1."""
    rng, total, cell, weight = np.random.default_rng(seed), 0, coarsest, 1.0
    while cell >= 1:
        grid = rng.uniform(-1, 1, (rows // cell + 2, columns // cell + 2)).astype(np.float32)
        big = cv2.resize(grid, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        total = total + weight * big[:rows, :columns]
        cell, weight = cell // 2, weight * 0.75
    return total / 1.6


def canvas(rows: int, columns: int, color: Point | None = None) -> Array:
    """RGBA paint: one opaque colour, or transparent."""
    paint = np.zeros((rows, columns, 4), np.float32)
    if color is not None:
        paint[:] = (*color, 255)
    return paint


def fill(paint: Array, points: list[tuple[float, float]], color: Point) -> None:
    """An opaque polygon."""
    cv2.fillPoly(paint, [np.int32(np.round(points))], (*color, 255))


def box(paint: Array, x: float, y: float, w: float, h: float, color: Point) -> None:
    """An opaque rectangle."""
    paint[int(y) : int(y + h), int(x) : int(x + w)] = (*color, 255)


def text(paint: Array, words: str, x: int, y: int, scale: float, color: Point) -> None:
    """Hershey letters, centred on x."""
    width = cv2.getTextSize(words, cv2.FONT_HERSHEY_DUPLEX, scale, 2)[0][0]
    ink = np.zeros(paint.shape[:2], np.uint8)  # putText draws on bytes only
    cv2.putText(ink, words, (x - width // 2, y), cv2.FONT_HERSHEY_DUPLEX, scale, 255, 2)
    paint[ink > 127] = (*color, 255)


def wall(rows: int, columns: int, color: Point, seed: int, *, brick: bool) -> Array:
    """Brick courses or stained plaster at 64 pixels a metre."""
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
    """A sash window, 1.1 by 1.6 metres, some lit behind curtains."""
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
    """A lit shop front with a painted sign over the ground floor."""
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


def house(
    z: float, width: float, height: float, side: int, look: tuple[Point, bool, str], seed: int
) -> Iterator[Quad]:
    """A facade along the pavement and the bare gable that faces the camera."""
    color, brick, name = look
    rows, columns, rng = int(height * 64), int(width * 64), np.random.default_rng(seed)
    paint = wall(rows, columns, color, seed, brick=brick)
    glow = np.zeros((rows, columns), np.float32)
    count = int(width // 2.1)
    for floor in range(int((height - 3.4) // 2.8)):
        for i in range(count):
            x = int((i + 0.5) * columns / count) - 35
            window(paint, glow, x, rows - 206 - 64 - 110 - int(floor * 2.8 * 64), rng)
    if name:
        shop(paint, glow, name, (36, 84, 76), seed)
    else:
        for i in range(1, count):
            window(paint, glow, int((i + 0.5) * columns / count) - 35, rows - 176, rng)
        door = tuple(float(c) for c in rng.uniform(40, 130, 3))
        box(paint, columns // count // 2 - 42, rows - 160, 84, 160, (214, 206, 192))
        box(paint, columns // count // 2 - 34, rows - 150, 68, 150, door)
        paint[-40:, :, :3] *= 0.72
    box(paint, 0, 0, columns, 14, (196, 188, 174))
    paint[14:24, :, :3] *= 0.6
    corner = (side * 7.5, height, z + width if side > 0 else z)  # left end, as seen from the street
    yield Quad(corner, (0, 0, -side * width), (0, -height, 0), paint, HOUSE, glow)
    gable = wall(rows, 384, tuple(0.85 * c for c in color), seed + 7, brick=brick)
    yield Quad((side * 7.5, height, z), (side * 6.0, 0, 0), (0, -height, 0), gable, HOUSE)


def leaves(rows: int, columns: int, blobs: list[tuple[float, ...]], seed: int) -> Array:
    """Foliage: thousands of small leaves, darker below and inside. Blobs are (x, y, radius)."""
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


def tree(x: float, z: float, seed: int) -> Quad:
    """A street tree, 5.6 metres high."""
    rng = np.random.default_rng(seed)
    blobs = [
        (128 + rng.uniform(-62, 62), 110 + rng.uniform(-58, 58), rng.uniform(34, 52))
        for _ in range(11)
    ]
    crown, paint = leaves(360, 256, blobs, seed), canvas(360, 256)
    fill(paint, [(121, 360), (124, 150), (134, 150), (139, 360)], (92, 72, 56))
    for end in ((80, 120), (180, 110), (128, 80)):
        cv2.line(paint, (129, 210), end, (84, 66, 52, 255), 6)
    paint[..., :3] *= (1 + 0.2 * noise(360, 256, seed, coarsest=8))[..., None]
    paint = np.where(crown[..., 3:] > 0, crown, paint)
    return Quad((x - 2, 5.75, z), (4, 0, 0), (0, -5.6, 0), paint)


def road(near: float, far: float) -> Iterator[Quad]:
    """Asphalt with markings and puddles, kerbs and tiled pavements, in pieces of 6 metres."""
    scale, rows, columns = 40, int((far - near) * 40), 600
    z, x = far - np.arange(rows)[:, None] / scale, np.arange(columns)[None] / scale - 7.5
    z, x = np.broadcast_arrays(z, x)
    aside, ahead, paint = np.abs(x), np.abs(z - CROSSING), canvas(rows, columns, (98, 99, 103))
    white = (aside < 0.07) & (z % 4 < 2) & (ahead > 3)
    white |= (np.abs(aside - 2.95) < 0.05) & (ahead > 2.4)
    white |= (ahead < 1.5) & ((x + 0.25) % 1 < 0.5) & (aside < 4.8)
    white |= (np.abs(z - CROSSING + 2.3) < 0.15) & (x > 0.1) & (x < 2.9)
    paint[white & (noise(rows, columns, 9, coarsest=8) < 0.75), :3] = (216, 214, 206)
    tiled, shade = aside > 5.0, np.random.default_rng(3).uniform(0.88, 1.1, (200, 32))
    shade = shade[np.int32(z * 2), np.int32(x * 2 + 15)]
    paint[tiled, :3] = np.float32((158, 150, 140)) * shade[tiled, None]
    paint[tiled & (((z * 2) % 1 < 0.09) | ((x * 2) % 1 < 0.09)), :3] *= 0.72
    paint[np.abs(aside - 5.08) < 0.1, :3] = (182, 178, 170)
    paint[np.abs(aside - 4.94) < 0.05, :3] = (52, 52, 54)
    paint[..., :3] *= 1 + 0.16 * noise(rows, columns, 5, coarsest=2)[..., None]
    paint[..., :3] *= 1 + 0.07 * noise(rows, columns, 6, coarsest=256)[..., None]
    wet = np.clip(0.55 + 0.5 * noise(rows, columns, 8, coarsest=128), 0.15, 1)
    wet *= np.where(tiled, 0.25, 1)
    for top in range(0, rows, 6 * scale):
        part = slice(top, top + 6 * scale)
        corner, down = (-7.5, 0, far - top / scale), (0, 0, -paint[part].shape[0] / scale)
        yield Quad(corner, (15, 0, 0), down, paint[part], GROUND, wet[part])


def car_side(color: Point) -> Array:
    """An estate car from the side, near end left, 4.2 by 1.5 metres at 80 pixels a metre."""
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


def car(x: float, z: float, color: Point, *, oncoming: bool = False) -> list[Quad]:
    """A car whose near end is at z: shadow, the side seen from the street, end, window, roof."""
    end, glow, back = canvas(80, 140), np.zeros((80, 140), np.float32), canvas(48, 140)
    fill(end, [(3, 78), (0, 30), (6, 0), (134, 0), (140, 30), (137, 78)], color)
    box(end, 2, 50, 136, 22, tuple(0.5 * c for c in color))
    box(end, 48, 30, 44, 13, (236, 232, 208))
    text(end, "SK 26", 70, 41, 0.32, (30, 30, 40))
    lamp = (255, 250, 235) if oncoming else (200, 28, 28)
    for left in (5, 112):
        box(end, left, 12, 23, 15, lamp)
        glow[12:27, left : left + 23] = 1.0 if oncoming else 0.0
    for left in (8, 106):
        box(end, left, 72, 26, 8, (20, 20, 20))
    fill(back, [(0, 48), (5, 0), (135, 0), (140, 48)], color)
    fill(back, [(10, 46), (15, 6), (125, 6), (130, 46)], (52, 64, 78))
    fill(back, [(40, 46), (60, 6), (88, 6), (68, 46)], (104, 122, 138))
    inner, roof = x if x > 0.5 else x + 1.75, canvas(8, 8, tuple(min(255, 1.1 * c) for c in color))
    shade = canvas(96, 64)
    shade[12:-12, 10:-10, 3] = 215
    shade = cv2.GaussianBlur(shade, None, 6)
    return [
        Quad((x - 0.4, 0.01, z + 4.7), (2.55, 0, 0), (0, 0, -5.2), shade, DECAL),
        Quad((inner, 1.5, z), (0, 0, 4.2), (0, -1.5, 0), car_side(color)),
        Quad((x + 0.12, 1.46, z + 2.2), (1.5, 0, 0), (0, 0, -1.8), roof),
        Quad((x, 1.44, z + 0.42), (1.75, 0, 0), (0, -0.54, -0.42), back),
        Quad((x, 0.92, z), (1.75, 0, 0), (0, -0.7, 0), end, THING, glow),
    ]


def pedestrian(x: float, seconds: float) -> list[Quad]:
    """Someone in a red coat, walking to the right over the crossing; 100 pixels a metre."""
    paint, swing = canvas(190, 130), np.sin(seconds * 2 * np.pi * 0.95)
    for phase, color in ((-1, (34, 52, 104)), (1, (46, 70, 136))):
        hip, knee = (62, 98), (62 + phase * swing * 17 + 4, 137)
        lift = 9 * max(0, phase * np.cos(seconds * 2 * np.pi * 0.95))
        foot = (62 + phase * swing * 31 - lift, 176 - lift * 0.6)
        for a, b, thick in ((hip, knee, 15), (knee, foot, 11)):
            cv2.line(paint, np.int32(a), np.int32(b), (*color, 255), thick)
        box(paint, foot[0] - 6, foot[1], 20, 8, (60, 40, 32))
    coat = [(48, 46), (58, 38), (72, 40), (78, 60), (80, 112), (44, 112)]
    for phase, sleeve in ((1, (120, 27, 31)), (-1, (170, 38, 44))):
        hand = np.int32((61 + phase * swing * 22, 92))
        cv2.line(paint, (61, 50), hand, (*sleeve, 255), 11)
        cv2.circle(paint, hand, 5, (222, 176, 148, 255), -1)
        if phase > 0:  # the far arm swings behind the coat
            fill(paint, coat, (196, 44, 50))
            fill(paint, [(48, 46), (56, 40), (54, 112), (44, 112)], (150, 30, 38))
            box(paint, 46, 76, 33, 5, (70, 26, 30))
    box(paint, 56, 34, 16, 10, (240, 200, 80))
    cv2.ellipse(paint, (64, 21), (11, 14), 0, 0, 360, (222, 176, 148, 255), -1)
    cv2.ellipse(paint, (61, 16), (13, 12), 0, 150, 330, (78, 50, 34, 255), -1)
    box(paint, 49, 14, 10, 17, (78, 50, 34))
    shade = cv2.ellipse(canvas(32, 64), (32, 16), (18, 7), 0, 0, 360, (0, 0, 0, 190), -1)
    shade = cv2.GaussianBlur(shade, None, 4)
    return [
        Quad((x - 0.9, 0.01, CROSSING + 0.45), (1.8, 0, 0), (0, 0, -0.9), shade, DECAL),
        Quad((x - 0.65, 1.85, CROSSING), (1.3, 0, 0), (0, -1.85, 0), paint),
    ]


def street_lamp(x: float, height: float, z: float) -> Quad:
    """A pole on the pavement with an arm over the road; x and height are the lamp's."""
    paint, glow = canvas(384, 128), np.zeros((384, 128), np.float32)
    box(paint, 104, 14, 7, 370, (92, 98, 100))
    cv2.line(paint, (22, 10), (107, 18), (92, 98, 100, 255), 5)
    box(paint, 6, 6, 36, 8, (120, 124, 124))
    box(paint, 8, 14, 32, 7, (255, 226, 170))
    glow[14:21, 8:40] = 1
    width = 2.13 if x > 0 else -2.13
    corner, down = (x - 0.18 * width, height + 0.3, z), (0, -height - 0.3, 0)
    return Quad(corner, (width, 0, 0), down, paint, THING, glow)


def sign(x: float, z: float) -> Quad:
    """A speed limit of 30 over a street name."""
    paint = canvas(288, 96)
    box(paint, 45, 20, 6, 268, (140, 144, 146))
    for radius, color in ((44, (196, 30, 36)), (33, (240, 240, 236))):
        cv2.circle(paint, (48, 46), radius, (*color, 255), -1)
    text(paint, "30", 48, 60, 1.2, (24, 24, 28))
    box(paint, 2, 98, 92, 30, (30, 70, 140))
    text(paint, "KIND ST", 48, 119, 0.55, (240, 240, 240))
    glow = np.zeros((288, 96), np.float32)
    glow[:130] = 0.4  # retroreflects
    return Quad((x - 0.42, 2.6, z), (0.84, 0, 0), (0, -2.6, 0), paint, THING, glow)


def sky() -> Quad:
    """Dusk with a few clouds, 400 metres away."""
    fade = (np.linspace(0, 1, 256) ** 1.5)[:, None, None]
    paint = canvas(256, 1024, (0, 0, 0))
    paint[..., :3] = np.float32((38, 58, 108)) * (1 - fade) + np.float32((176, 150, 160)) * fade
    cloud = np.clip(noise(256, 1024, 2, coarsest=128), 0, 1)[..., None] * 0.35
    paint[..., :3] = paint[..., :3] * (1 - cloud) + np.float32((150, 140, 170)) * cloud
    return Quad((-500, 200, 400), (1000, 0, 0), (0, -205, 0), paint, SKY)


def houses() -> Iterator[Quad]:
    """Both sides of the street, nine houses each, with gaps."""
    for side, shift, z in ((1, 0, 3.0), (-1, 4, 1.0)):
        for i in range(9):
            n = i + shift
            width, height = WIDTHS[n % len(WIDTHS)], HEIGHTS[n % len(HEIGHTS)]
            yield from house(z, width, height, side, LOOKS[n % len(LOOKS)], 40 * shift + i + 11)
            z += width + (0.0 if i % 3 else 1.5)


def scene() -> list[Quad]:
    """Everything that stands still."""
    hedge = leaves(110, 400, [(x, 62, 34) for x in range(36, 370, 26)], 9)[:, :160]
    quads = [sky(), *road(1.0, 91.0), *houses(), sign(5.4, 12.5)]
    yards = canvas(8, 8, (92, 90, 86))
    quads += [Quad((-30, -0.02, 91), (60, 0, 0), (0, 0, -90), yards, SKY)]
    quads += [Quad((5.6, 1.1, 18.0), (1.6, 0, 0), (0, -1.1, 0), hedge)]
    quads += [tree(x, z, seed) for seed, (x, z) in enumerate(TREES, 1)]
    quads += [street_lamp(*lamp) for lamp in LAMPS]
    return quads + [quad for spot in CARS for quad in car(*spot)]


@dataclass(frozen=True)
class Camera:
    """A pinhole at eye height; `matrix` takes world points to pixels, `mirrored` from below."""

    z: float
    yaw: float
    scale: float
    mirrored: bool = False

    @property
    def matrix(self) -> Array:
        """(3, 4) projection."""
        s, c = np.sin(self.yaw), np.cos(self.yaw)
        focal, flip = FOCAL * self.scale, -1 if self.mirrored else 1
        lens = np.array(
            [
                [focal, 0, WIDTH * self.scale / 2],
                [0, -focal, HEIGHT * HORIZON * self.scale],
                [0, 0, 1],
            ]
        )
        turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        move = np.array([[1, 0, 0, -1.2], [0, flip, 0, -EYE], [0, 0, 1, -self.z]])
        return lens @ turn @ move


def night(points: Array, normal: Array, camera_z: float, traffic_z: float) -> Array:
    """Light that falls on points (..., 3) of a surface at night, linear RGB."""
    light = np.full(points.shape, 1, np.float32) * np.float32((0.20, 0.23, 0.31))
    sources = [(lamp, (1.0, 0.70, 0.38), 420.0, None) for lamp in LAMPS]
    sources += [(SHOP, (1.0, 0.74, 0.42), 1.4, None)]
    sources += [
        ((1.2 + dx, 0.7, camera_z + 0.5), (0.95, 1.0, 1.0), 300.0, (0.03, -0.05, 1))
        for dx in (-0.6, 0.6)
    ]
    sources += [((-1.3, 0.7, traffic_z - 0.1), (0.92, 0.97, 1.0), 200.0, (0.0, -0.05, -1))]
    for place, color, power, beam in sources:
        ray = np.float32(place) - points
        square = np.sum(ray * ray, axis=-1) + 0.3
        ray = ray / np.sqrt(square)[..., None]
        facing = np.clip(0.75 * (ray @ normal) + 0.25, 0.03, 1)
        if beam is not None:
            off = -ray - np.float32(beam) / np.linalg.norm(beam)
            facing = facing * np.exp(
                -(off[..., 0] ** 2) / 0.05
                - off[..., 1] ** 2 / np.where(off[..., 1] > 0, 0.010, 0.02)
            )
        elif place is not SHOP:
            facing = np.clip(facing * ray[..., 1] ** 3, 0.02, 1)  # shines down
        light += (power * facing / square)[..., None] * np.float32(color)
    return light


def outline(quad: Quad, matrix: Array) -> Array | None:
    """The quad on screen, (N, 2), cut off at 0.3 metres before the lens."""
    corner, across, down = quad.vectors
    world = [corner, corner + across, corner + across + down, corner + down]
    seen = [matrix @ np.append(point, 1) for point in world]
    kept = []
    for a, b in zip(seen, seen[1:] + seen[:1], strict=True):
        if a[2] > 0.3:
            kept.append(a)
        if (a[2] > 0.3) != (b[2] > 0.3):
            kept.append(a + (b - a) * (0.3 - a[2]) / (b[2] - a[2]))
    return np.array([point[:2] / point[2] for point in kept]) if len(kept) > 2 else None


def lit(quad: Quad, plane: Array, size: tuple[int, int], camera: Camera, traffic_z: float) -> Array:
    """Night light on a quad, (H, W, 3): worked out at every eighth pixel."""
    corner, across, down = quad.vectors
    grid = np.stack(np.meshgrid(np.arange(4, size[0] + 8, 8), np.arange(4, size[1] + 8, 8)), -1)
    uvw = np.dstack([grid, np.ones(grid.shape[:2])]) @ np.linalg.inv(plane).T
    uv = np.clip(uvw[..., :2] / np.maximum(uvw[..., 2:], 1e-9), 0, 1)
    points = (corner + uv[..., :1] * across + uv[..., 1:] * down).astype(np.float32)
    light = night(points, quad.normal(camera).astype(np.float32), camera.z, traffic_z)
    return cv2.resize(light, (grid.shape[1] * 8, grid.shape[0] * 8))[: size[1], : size[0]]


def draw(quad: Quad, camera: Camera, traffic_z: float, day: Array, dark: Array, wet: Array) -> None:
    """Blend one quad into both pictures, linear light, and its wetness into the third."""
    matrix, shape = camera.matrix, outline(quad, camera.matrix)
    if shape is None:
        return
    x0, y0 = np.maximum(np.floor(shape.min(0)), 0).astype(int).tolist()
    x1, y1 = np.minimum(np.ceil(shape.max(0)) + 1, day.shape[1::-1]).astype(int).tolist()
    if x1 <= x0 or y1 <= y0:
        return
    edges = np.linalg.norm(shape - np.roll(shape, 1, axis=0), axis=1)
    paint, glow = quad.level(*(edges[[1, 2]] if len(shape) == 4 else (9e9, 9e9)))
    plane = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]]) @ matrix @ quad.basis
    warp = plane @ np.diag([1 / paint.shape[1], 1 / paint.shape[0], 1])
    size, here = (x1 - x0, y1 - y0), (slice(y0, y1), slice(x0, x1))
    inside = np.zeros(size[::-1], np.float32)
    cv2.fillPoly(inside, [np.int32(np.round((shape - (x0, y0)) * 16))], 1, shift=4)
    pixels, glowing = (
        cv2.warpPerspective(layer, warp, size, borderMode=cv2.BORDER_REPLICATE)
        for layer in (paint, np.zeros((4, 4), np.float32) if glow is None else glow)
    )
    pixels, keep = pixels * inside[..., None], 1 - pixels[..., 3:] * inside[..., None]
    shine = glowing[..., None] if quad.layer >= HOUSE else np.float32(0)
    light, normal = lit(quad, plane, size, camera, traffic_z), quad.normal(camera)
    open_sky = 1.0 if quad.layer == SKY else 0.72 + 0.3 * normal[1] - 0.12 * normal[0]
    bright = np.float32(open_sky) + 0.55 * shine + np.minimum(0.03 * light, 0.3)
    day[here] = day[here] * keep + pixels[..., :3] * bright
    dark[here] = dark[here] * keep + pixels[..., :3] * (light + 90 * shine**4)
    if quad.layer == GROUND:
        wet[here] = wet[here] * keep[..., 0] + glowing * inside


def render(quads: list[Quad], camera: Camera, traffic_z: float) -> tuple[Array, Array]:
    """Day and night pictures in linear light, the ground mirroring what stands on it."""
    shape = (int(HEIGHT * camera.scale), int(WIDTH * camera.scale))
    day, dark, wet = (np.zeros((*shape, *c), np.float32) for c in ((3,), (3,), ()))
    order = sorted(quads, key=lambda q: (q.layer, -(q.corner[2] + q.across[2] / 2 + q.down[2] / 2)))
    ground = [q for q in order if q.layer < HOUSE] if not camera.mirrored else []
    standing = [q for q in order if q.layer >= HOUSE]
    for quad in ground:
        draw(quad, camera, traffic_z, day, dark, wet)
    if not camera.mirrored:
        below = Camera(camera.z, camera.yaw, 0.5, mirrored=True)
        row = np.arange(shape[0])[:, None, None] / shape[0]
        fresnel = np.clip(1.4 - (row - HORIZON) * 3.2, 0.25, 1)
        for picture, mirror in zip((day, dark), render(quads, below, traffic_z), strict=True):
            mirror = cv2.resize(cv2.blur(mirror, (2, 11)), shape[::-1])
            picture += mirror * wet[..., None] ** 2 * fresnel * 0.22
    for quad in standing:
        draw(quad, camera, traffic_z, day, dark, wet)
    return day, dark


def expose(dark: Array, rng: np.random.Generator) -> Array:
    """What a small sensor makes of the night: glare, clipping, shot and read noise. 0..1 codes."""
    dark = dark * EXPOSURE
    lamps = np.maximum(dark - 0.5, 0)
    dark = dark + 0.14 * cv2.GaussianBlur(lamps, None, 4) + 0.12 * cv2.GaussianBlur(lamps, None, 22)
    dark = 1 - np.exp(-dark * (1 + 0.3 * dark))
    sigma = np.sqrt(dark * 0.0007 + 0.0013**2)
    grain = cv2.GaussianBlur(rng.standard_normal(dark.shape).astype(np.float32), None, 0.55) * 1.6
    return gamma(dark + sigma * grain)


def pictures() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """(reference, night) frames, (H, W, 3) uint8 RGB."""
    quads, rng = scene(), np.random.default_rng(1)
    for i in range(FRAMES):
        seconds = i / RATE
        traffic_z = 58 - 8.5 * seconds
        moving = car(-2.2, traffic_z, (70, 84, 110), oncoming=True)
        moving += pedestrian(1.15 * seconds - 0.4, seconds)
        camera = Camera(1.2 * seconds, np.radians(2.5 + 0.7 * seconds), 2.0)
        day, dark = (
            cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            for picture in render(quads + moving, camera, traffic_z)
        )
        yield tuple(np.uint8(np.round(code * 255)) for code in (gamma(day), expose(dark, rng)))


def sound() -> Array:
    """Soft wind and a car that comes nearer, (2, samples) float32."""
    count = SAMPLE_RATE * FRAMES // RATE
    rng, seconds = np.random.default_rng(2), np.arange(count) / SAMPLE_RATE
    frequency = np.fft.rfftfreq(count, 1 / SAMPLE_RATE) + 1

    def band(low: float, high: float) -> Array:
        shape = 1 / (1 + (low / frequency) ** 4) / (1 + (frequency / high) ** 2)
        wave = np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * shape, count)
        return wave / np.abs(wave).max()

    near = 1 / (1 + ((seconds - 3.4) / 0.5) ** 2)
    tyre, gust = band(180, 1400) * near, 1 + 0.3 * np.sin(seconds * 2.1)
    sides = [0.05 * band(60, 350) * gust + level * tyre for level in (0.22, 0.13)]
    fade = np.minimum(1, np.minimum(seconds, seconds[-1] - seconds) / 0.2)
    return (np.array(sides) * fade).astype(np.float32)


def encode(path: Path, frames: list[NDArray[np.uint8]], *, crf: int) -> None:
    """H.264 and AAC in MP4, BT.709 limited range."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as output:
        output.metadata["title"] = "Night street, rendered by streamkind"
        options = {"crf": str(crf), "preset": "slow", "threads": "1"}
        options["x264-params"] = "colorprim=bt709:transfer=bt709:colormatrix=bt709:range=tv"
        size = {"width": WIDTH, "height": HEIGHT, "pix_fmt": "yuv420p"}
        video = output.add_stream("libx264", RATE, options=options, **size)
        audio = output.add_stream("aac", SAMPLE_RATE, layout="stereo", bit_rate=96_000)
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame = frame.reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            output.mux(video.encode(frame))
        wave = sound()
        for start in range(0, wave.shape[1], 1024):
            block = np.ascontiguousarray(wave[:, start : start + 1024])
            piece = av.AudioFrame.from_ndarray(block, "fltp", "stereo")
            piece.sample_rate, piece.pts = SAMPLE_RATE, start
            output.mux(audio.encode(piece))
        output.mux(video.encode())
        output.mux(audio.encode())


def main() -> None:
    """Render, encode, and say how bright the two are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bright", type=Path, help="also write the evenly lit reference here")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    bright, dark = zip(*pictures(), strict=True)
    encode(SAMPLE, dark, crf=20)
    if arguments.bright:
        encode(arguments.bright, bright, crf=14)
    for name, frames in (("night", dark), ("bright", bright)):
        luma = np.mean(np.mean(frames, axis=(0, 1, 2)) @ (0.2126, 0.7152, 0.0722)) / 255
        print(f"{name}: mean luma {luma:.3f}")
    print(f"{SAMPLE}: {SAMPLE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
