"""Each part of the published figures can be measured on small data."""

from __future__ import annotations

import importlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from parts import film, films, fleet, memory, scores, soak
from parts.pages import BLOCK, public_pages
from parts.record import Table, read_all
from support.media import make_clip

from streamkind.model.recipe import read_recipe
from streamkind.video.source import open_source

pytestmark = pytest.mark.slow
SIZE = (320, 240)


@pytest.fixture
def data(tmp_path):
    """Write folders like those beside the repository, with small clips and pairs."""
    rng = np.random.default_rng(0)
    for name, count in (("lol/our485", 6), ("lol/eval15", 2), ("lol_v2_synthetic/train", 4)):
        for i in range(count):
            blobs = rng.integers(60, 250, (6, 8, 3), np.uint8)
            high = cv2.resize(blobs, SIZE, interpolation=cv2.INTER_CUBIC)
            for side, picture in (("high", high), ("low", high // 8)):
                (tmp_path / name / side).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(tmp_path / name / side / f"{i}.png"), picture)
    for name in ("video/street_dusk_rain_1080p", "video/ir_cam_garden_person"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        make_clip(tmp_path / f"{name}.mp4", size=SIZE, frames=24, rate=24)
    return tmp_path


@pytest.fixture
def few(monkeypatch):
    """Set the smallest settings with which every part measures all its tables."""

    def recipe(path):
        return replace(read_recipe(path), held_out=2)

    little = {"gamma 0.4": scores.METHODS["gamma 0.4"], "input itself": lambda image: image}
    for where, name, value in (
        (scores, "read_recipe", recipe),
        (scores, "METHODS", little),
        (scores, "paleness", lambda pair: 1.5),
        (film, "read_recipe", recipe),
        (film, "FILMS", 2),
        (film, "METHODS", little | {"LIME": lambda image: image}),
        (films, "FRAMES", 3),
        (films, "SIZES", (SIZE,)),
        (soak, "MINUTES", 0.4),
        (soak, "SETTLED_MINUTES", 0),
        (fleet, "MINUTES", 0.1),
        (memory, "CLIPS", {"small": (SIZE, 4, ("realtime",))}),
    ):
        monkeypatch.setattr(where, name, value)


@pytest.mark.parametrize("part", ["scores", "film", "memory", "soak", "fleet"])
def test_a_part_measures_every_table_that_a_page_shows(part, data, few, tmp_path):
    found = importlib.import_module(f"parts.{part}").measure(data, tmp_path)
    shown = {m[2] for page in public_pages() for m in BLOCK.finditer(page.read_text())}
    assert {f"{part}-{name}" for name in found.tables} == {n for n in shown if n.startswith(part)}
    kept = read_all()[part].tables
    assert found.tables.keys() == kept.keys()
    for name, table in found.tables.items():
        assert isinstance(table, Table) and table.rows, name
        assert table.markdown().count("\n") == len(table.rows) + 1
    assert all(path.stat().st_size > 1000 for path in found.pictures)


def test_a_film_is_compared_with_its_truth():
    truth = np.full((40, 60, 3), (120, 60, 60), np.uint8)
    same = film.against_truth(truth, truth)
    assert same == [0, 0, 0, pytest.approx(1), pytest.approx(1)]
    paler = film.against_truth(np.full_like(truth, 78), truth)
    assert paler[0] > 10 and paler[1] > 10 and paler[3] < 0.05
    gray = film.against_truth(truth // 2, np.full_like(truth, 80))
    assert np.isnan(gray).tolist() == [False, True, False, True, True]


@pytest.mark.parametrize("size", films.SIZES)
def test_a_film_shows_the_colours_of_its_truth_at_each_size(size, monkeypatch, tmp_path):
    monkeypatch.setattr(films, "FRAMES", 1)
    red = np.full((*size[::-1], 3), (200, 40, 40), np.uint8)
    films.film(red, tmp_path / "dark.mp4", 18, infrared=False, seed=0)
    with open_source(tmp_path / "dark.mp4") as source:
        (frame,) = source
    for seen in (frame.data, next(film.frames(tmp_path / "dark.mp4", 0.0, 1)).rgb):
        assert np.abs(seen.mean(axis=(0, 1)) - (200, 40, 40)).max() < 4
