"""The objects of the street, in metres: x right, y up, z ahead."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from street.paint import (
    Point,
    box,
    canvas,
    car_side,
    fill,
    leaves,
    noise,
    shop,
    text,
    wall,
    window,
)
from street.space import DECAL, GROUND, HOUSE, LAMPS, SKY, THING, Quad

CARS = [  # x of the left edge, z of the near end, colour
    *[(3.1, 19.0, (52, 92, 150)), (3.1, 24.5, (176, 50, 44)), (3.1, 30.5, (200, 200, 196))],
    *[(3.1, 39.0, (60, 110, 84)), (-4.9, 9.2, (206, 160, 56)), (-4.9, 20.0, (120, 130, 142))],
    *[(-4.9, 26.0, (64, 120, 140)), (-4.9, 37.0, (150, 60, 60))],
]
TREES = [(6.4, 26.5), (-6.2, 15.0), (6.3, 37.0), (-6.2, 27.0), (-6.3, 44.0), (5, 84), (-4, 86)]
TREES += [(0.5, 88.0), (-5.5, 84.0), (2.0, 90.0)]
"""Place of each tree: x and z in metres."""
LOOKS = [  # colour, whether of brick, name of the shop
    *[((196, 170, 128), False, ""), ((164, 84, 64), True, ""), ((120, 146, 150), False, "BAKERY")],
    *[((206, 196, 176), False, ""), ((150, 96, 84), True, ""), ((150, 160, 122), False, "")],
    *[((198, 140, 112), False, "CAFE LUX"), ((134, 92, 72), True, "")],
    ((176, 180, 186), False, ""),
]
WIDTHS, HEIGHTS = (8.0, 6.5, 8.5, 9.0), (9.2, 6.6, 8.4, 10.6, 6.9)
"""Widths and heights of houses, in metres."""
CROSSING = 14.5
"""z of the middle of the pedestrian crossing, in metres."""


def house(
    z: float, width: float, height: float, side: int, look: tuple[Point, bool, str], seed: int
) -> Iterator[Quad]:
    """Yield the facade of a house along the pavement, and the bare gable that faces the camera."""
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


def tree(x: float, z: float, seed: int) -> Quad:
    """Return a street tree, 5.6 metres high."""
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
    """Yield the road in pieces of 6 metres: asphalt, markings, puddles, kerbs and pavements."""
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


def car(x: float, z: float, color: Point, *, oncoming: bool = False) -> list[Quad]:
    """Return a car whose near end is at z: shadow, side towards the street, roof, window, end."""
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
    """Return a pedestrian in a red coat who walks to the right over the crossing, and a shadow."""
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
    """Return a pole on the pavement with an arm over the road; x and height are of its lamp."""
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
    """Return a sign with a speed limit of 30, above a street name."""
    paint = canvas(288, 96)
    box(paint, 45, 20, 6, 268, (140, 144, 146))
    for radius, color in ((44, (196, 30, 36)), (33, (240, 240, 236))):
        cv2.circle(paint, (48, 46), radius, (*color, 255), -1)
    text(paint, "30", 48, 60, 1.2, (24, 24, 28))
    box(paint, 2, 98, 92, 30, (30, 70, 140))
    text(paint, "KIND ST", 48, 119, 0.55, (240, 240, 240))
    glow = np.zeros((288, 96), np.float32)
    glow[:130] = 0.4  # reflects headlights
    return Quad((x - 0.42, 2.6, z), (0.84, 0, 0), (0, -2.6, 0), paint, THING, glow)


def sky() -> Quad:
    """Return a sky at dusk with a few clouds, 400 metres away."""
    fade = (np.linspace(0, 1, 256) ** 1.5)[:, None, None]
    paint = canvas(256, 1024, (0, 0, 0))
    paint[..., :3] = np.float32((38, 58, 108)) * (1 - fade) + np.float32((176, 150, 160)) * fade
    cloud = np.clip(noise(256, 1024, 2, coarsest=128), 0, 1)[..., None] * 0.35
    paint[..., :3] = paint[..., :3] * (1 - cloud) + np.float32((150, 140, 170)) * cloud
    return Quad((-500, 200, 400), (1000, 0, 0), (0, -205, 0), paint, SKY)


def houses() -> Iterator[Quad]:
    """Yield the houses on both sides of the street, nine each, with gaps."""
    for side, shift, z in ((1, 0, 3.0), (-1, 4, 1.0)):
        for i in range(9):
            n = i + shift
            width, height = WIDTHS[n % len(WIDTHS)], HEIGHTS[n % len(HEIGHTS)]
            yield from house(z, width, height, side, LOOKS[n % len(LOOKS)], 40 * shift + i + 11)
            z += width + (0.0 if i % 3 else 1.5)


def scene() -> list[Quad]:
    """Return all objects that do not move."""
    hedge = leaves(110, 400, [(x, 62, 34) for x in range(36, 370, 26)], 9)[:, :160]
    quads = [sky(), *road(1.0, 91.0), *houses(), sign(5.4, 12.5)]
    yards = canvas(8, 8, (92, 90, 86))
    quads += [Quad((-30, -0.02, 91), (60, 0, 0), (0, 0, -90), yards, SKY)]
    quads += [Quad((5.6, 1.1, 18.0), (1.6, 0, 0), (0, -1.1, 0), hedge)]
    quads += [tree(x, z, seed) for seed, (x, z) in enumerate(TREES, 1)]
    quads += [street_lamp(*lamp) for lamp in LAMPS]
    return quads + [quad for spot in CARS for quad in car(*spot)]
