"""Places quads in space, computes the light on them, and renders them in linear light."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from street.paint import Array, Point

FOCAL, HORIZON, EYE = 540.0, 0.54, 1.45
"""Focal length in pixels at scale 1, row of the horizon as a share of the height, and height of the
camera above the ground in metres. Chosen by hand."""
SKY, GROUND, DECAL, HOUSE, THING = range(5)
"""Layers of quads, in the order in which they are drawn."""
LAMPS = [(3.7, 5.6, 17.0), (-3.7, 5.6, 31.0), (3.7, 5.6, 46.0), (-3.7, 5.6, 61.0)]
"""Place of each street lamp: x, y, z in metres."""
SHOP = (7.0, 2.0, 20.5)
"""Place of the light of the shop: x, y, z in metres."""


@dataclass(eq=False)
class Quad:
    """A parallelogram in the world: top left corner, two edges in metres, and texture."""

    corner: Point
    across: Point
    down: Point
    paint: Array  # (H, W, 4) RGB and alpha, display code values 0..255
    layer: int = THING
    glow: Array | None = None  # (H, W) 0..1: emitted light; on the ground: wetness
    levels: dict[tuple[int, int], tuple[Array, Array | None]] = field(default_factory=dict)

    @property
    def vectors(self) -> tuple[Array, Array, Array]:
        """Corner and both edges, in metres, (3,) each."""
        return (
            np.array(self.corner, float),
            np.array(self.across, float),
            np.array(self.down, float),
        )

    @property
    def basis(self) -> Array:
        """Matrix (4, 3) from (u, v, 1) to a world point; u and v are 0 to 1 over the quad."""
        corner, across, down = self.vectors
        return np.vstack([np.stack([across, down, corner], 1), [0, 0, 1]])

    def normal(self, camera: Camera) -> Array:
        """Return the normal of length 1 that points to the side of the camera."""
        corner, across, down = self.vectors
        normal = np.cross(across, down) / np.linalg.norm(np.cross(across, down))
        return normal * np.sign(normal @ (np.array((1.2, EYE, camera.z)) - corner))

    def level(self, width: float, height: float) -> tuple[Array, Array | None]:
        """Return paint and glow in linear light, reduced by powers of two to about this size."""
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
    """Convert BT.709 code values to linear light."""
    return np.where(code < 0.081, code / 4.5, ((code + 0.099) / 1.099) ** (1 / 0.45))


def gamma(light: Array) -> Array:
    """Convert linear light to BT.709 code values."""
    light = np.clip(light, 0, 1)
    return np.where(light < 0.018, 4.5 * light, 1.099 * light**0.45 - 0.099)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at eye height."""

    z: float
    """Position along the street, in metres."""
    yaw: float
    """Rotation about the vertical axis, in radians."""
    scale: float
    """Factor by which the picture is larger than `size`."""
    mirrored: bool = False
    """Whether the camera sees the mirror image of the scene in the ground."""
    size: tuple[float, float] = (640, 360)
    """Width and height of the picture at scale 1, in pixels."""

    @property
    def matrix(self) -> Array:
        """Projection from world points to pixels, (3, 4)."""
        s, c = np.sin(self.yaw), np.cos(self.yaw)
        focal, flip = FOCAL * self.scale, -1 if self.mirrored else 1
        lens = np.array(
            [
                [focal, 0, self.size[0] * self.scale / 2],
                [0, -focal, self.size[1] * HORIZON * self.scale],
                [0, 0, 1],
            ]
        )
        turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
        move = np.array([[1, 0, 0, -1.2], [0, flip, 0, -EYE], [0, 0, 1, -self.z]])
        return lens @ turn @ move


def night(points: Array, normal: Array, camera_z: float, traffic_z: float) -> Array:
    """Return the light that falls on points of a surface at night, (..., 3) linear RGB."""
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
            facing = np.clip(facing * ray[..., 1] ** 3, 0.02, 1)  # a street lamp shines down
        light += (power * facing / square)[..., None] * np.float32(color)
    return light


def outline(quad: Quad, matrix: Array) -> Array | None:
    """Return the polygon of a quad on screen, (N, 2), without parts nearer than 0.3 metres."""
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
    """Return the light on a quad at night, (H, W, 3), computed at every eighth pixel."""
    corner, across, down = quad.vectors
    grid = np.stack(np.meshgrid(np.arange(4, size[0] + 8, 8), np.arange(4, size[1] + 8, 8)), -1)
    uvw = np.dstack([grid, np.ones(grid.shape[:2])]) @ np.linalg.inv(plane).T
    uv = np.clip(uvw[..., :2] / np.maximum(uvw[..., 2:], 1e-9), 0, 1)
    points = (corner + uv[..., :1] * across + uv[..., 1:] * down).astype(np.float32)
    light = night(points, quad.normal(camera).astype(np.float32), camera.z, traffic_z)
    return cv2.resize(light, (grid.shape[1] * 8, grid.shape[0] * 8))[: size[1], : size[0]]


def draw(quad: Quad, camera: Camera, traffic_z: float, day: Array, dark: Array, wet: Array) -> None:
    """Blend a quad into the pictures `day` and `dark`, and its wetness into `wet`."""
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
        # On the horizon, the projection to the ground is not a number.
        np.nan_to_num(cv2.warpPerspective(layer, warp, size, borderMode=cv2.BORDER_REPLICATE))
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
    """Return day and night pictures in linear light, with reflections in the wet ground."""
    shape = tuple(round(n * camera.scale) for n in camera.size[::-1])
    day, dark, wet = (np.zeros((*shape, *c), np.float32) for c in ((3,), (3,), ()))
    order = sorted(quads, key=lambda q: (q.layer, -(q.corner[2] + q.across[2] / 2 + q.down[2] / 2)))
    ground = [q for q in order if q.layer < HOUSE] if not camera.mirrored else []
    standing = [q for q in order if q.layer >= HOUSE]
    for quad in ground:
        draw(quad, camera, traffic_z, day, dark, wet)
    if not camera.mirrored:
        below = replace(camera, scale=camera.scale / 4, mirrored=True)
        row = np.arange(shape[0])[:, None, None] / shape[0]
        fresnel = np.clip(1.4 - (row - HORIZON) * 3.2, 0.25, 1)
        for picture, mirror in zip((day, dark), render(quads, below, traffic_z), strict=True):
            mirror = cv2.resize(cv2.blur(mirror, (2, 11)), shape[::-1])
            picture += mirror * wet[..., None] ** 2 * fresnel * 0.22
    for quad in standing:
        draw(quad, camera, traffic_z, day, dark, wet)
    return day, dark
