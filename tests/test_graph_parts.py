"""Parts of the single graph, compared with the engine in NumPy and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from support.graphs import built

from streamkind.backends import window_graph
from streamkind.backends.local_graph import add_maps
from streamkind.backends.ratio_graph import add_ratio
from streamkind.backends.window_graph import Window
from streamkind.engine.local import nearest
from streamkind.light.exposure import RATIOS, Statistics, auto_ratio
from streamkind.light.local import local_maps

SIZES = [(1, 1), (1, 5), (2, 3), (4, 300), (24, 37), (45, 7), (180, 320)]
"""Heights and widths of planes, also smaller than the windows of the filters."""


@pytest.fixture(scope="module", params=[False, True], ids=["videos", "stills"])
def ratio(request):
    """Return whether pictures are stills, and a function that runs the graph of the ratio."""

    def add(g, *statistics):
        return [add_ratio(g, *statistics, 0.47, still=request.param)]

    return request.param, built(add, {"curve": 2, "thumbnail": 3, "exposure": 1}, [1])


def blocks(kind: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return mean lumas of the blocks of 40 pictures of a kind, (40, *size)."""
    shape = (40, *size)
    return {
        "black": lambda: np.zeros(shape),
        "white": lambda: np.ones(shape),
        "one level": lambda: np.full(shape, 0.125),
        "two levels": lambda: rng.choice([0.02, 0.5], shape, p=[0.9, 0.1]),
        "night": lambda: rng.uniform(0, 1, shape) ** 6,
        "lamps": lambda: np.where(rng.uniform(0, 1, shape) > 0.97, 0.9, 0.03),
        "dusk": lambda: rng.uniform(0, 1, (40, 1, 1)) * rng.uniform(0, 1, shape),
        "day": lambda: rng.uniform(0.3, 1, shape),
    }[kind]().astype(np.float32)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (25, 38)])
@pytest.mark.parametrize(
    "kind", ["black", "white", "one level", "two levels", "night", "lamps", "dusk", "day"]
)
def test_the_ratio_is_that_of_the_engine(ratio, kind, size):
    still, choose = ratio
    rng = np.random.default_rng(len(kind) + size[0])
    thumbnail = blocks(kind, size, rng)
    mean = thumbnail.mean(axis=(1, 2))[:, None]
    curve = np.minimum(mean * RATIOS ** rng.uniform(0.3, 1, (40, 1)), 1)
    curve += rng.uniform(0, 0.01, curve.shape)  # so that the curve does not rise everywhere
    exposure = rng.uniform(0.2, 0.7, 40)
    told = [np.asarray(x, np.float32) for x in (curve, thumbnail, exposure)]
    wanted = auto_ratio(Statistics.of(*told), 0.47, still=still)
    np.testing.assert_allclose(np.log2(choose(*told)[0]), np.log2(wanted), atol=5e-3)


def third(g, plane):
    """Return a third of the height and of the width of a plane, at least 1."""
    return [g.add("Max", g.size(plane, axis) / 3, 1) for axis in (2, 3)]


def box(radius):
    return lambda g, x: Window(g, x, radius).mean(x), lambda p, _: cv2.blur(
        p, (2 * radius + 1,) * 2
    )


def area(p, size):
    return cv2.resize(p, size, interpolation=cv2.INTER_AREA)


FILTERS = {
    "means of 3": box(1),
    "means of 9": box(4),
    "means of 15": box(7),
    "narrow Gaussian": (
        lambda g, x: window_graph.gaussian(g, x, 1.5, 1),
        lambda p, _: cv2.GaussianBlur(p, (0, 0), 1.5),
    ),
    "wide Gaussian": (
        lambda g, x: window_graph.gaussian(g, x, 5.0, 1),
        lambda p, _: cv2.GaussianBlur(p, (0, 0), 5.0),
    ),
    "smaller": (lambda g, x: window_graph.shrunk(g, x, *third(g, x)), area),
    "single pixels": (lambda g, x: window_graph.nearest(g, x, *third(g, x)), nearest),
    "larger": (
        lambda g, x: window_graph.resized(g, x, g.size(x, 2) * 2 + 1, g.size(x, 3) * 4),
        lambda p, _: cv2.resize(p, (4 * p.shape[1], 2 * p.shape[0] + 1)),
    ),
}
"""Each filter as a function that adds it to a graph, and as a function of OpenCV. The latter takes
a plane, and a third of its size."""


@pytest.mark.parametrize("name", FILTERS)
def test_filters_are_those_of_opencv(name):
    add, wanted = FILTERS[name]
    run = built(lambda g, x: [add(g, x)], {"x": 4}, [4])
    rng = np.random.default_rng(0)
    for height, width in SIZES:
        planes = rng.uniform(0, 1, (2, 1, height, width)).astype(np.float32)
        (found,) = run(planes)
        for plane, result in zip(planes[:, 0], found[:, 0], strict=True):
            expected = wanted(plane, (max(1, width // 3), max(1, height // 3)))
            np.testing.assert_allclose(result, expected.reshape(result.shape), atol=3e-5)


def luma(kind, size, rng):
    """Return luma of a frame of a kind, (h, w) float32 in [0, 1]."""
    rough = cv2.GaussianBlur(rng.uniform(0, 1, size).astype(np.float32), (0, 0), 3)
    noise = rng.normal(0, 0.004, size)
    sharp = 0.1 * (rng.uniform(0, 1, size) > 0.5)
    return (
        {
            "black": np.zeros(size),
            "dark and flat": 0.06 + noise,
            "dark and busy": 0.03 + sharp + noise,
            "partly lit": np.where(np.indices(size)[1] > size[1] // 2, 0.5 * rough, 0.04) + noise,
            "lit": 0.3 + 0.5 * rough,
            "white": np.ones(size),
        }[kind]
        .clip(0, 1)
        .astype(np.float32)
    )


@pytest.fixture(scope="module")
def maps():
    return built(add_maps, dict.fromkeys(("seen", "made", "points", "brightest"), 4), [4, 4, 4])


@pytest.mark.parametrize("size", [(1, 1), (4, 60), (33, 50), (180, 320)], ids=str)
@pytest.mark.parametrize(
    "kind", ["black", "dark and flat", "dark and busy", "partly lit", "lit", "white"]
)
def test_maps_are_those_of_the_engine(maps, kind, size):
    rng = np.random.default_rng(0)
    frames = []
    for turned in (1, -1):
        seen = luma(kind, size, rng)[:, ::turned]
        points = np.clip(seen + rng.normal(0, 0.01, size), 0, 1)
        given = seen, np.sqrt(seen), points, np.clip(1.3 * seen, 0, 1)
        frames.append([np.ascontiguousarray(plane, np.float32) for plane in given])
    found = maps(*(np.stack(planes)[:, None] for planes in zip(*frames, strict=True)))
    for i, given in enumerate(frames):
        for result, expected in zip(found, local_maps(*given), strict=True):
            # OpenCV computes running sums, which differ from sums of windows in the last digits.
            np.testing.assert_allclose(result[i, 0], expected, rtol=2e-3, atol=5e-3)
