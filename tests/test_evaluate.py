"""The table of scores: its methods, protocols and output."""

import csv
import sys

import cv2
import numpy as np
import pytest
from parts import baselines
from support.tools import load_tool

from streamkind.model.data import Pair
from streamkind.model.validation import mean_matched

evaluate = load_tool("evaluate")


def picture(seed=0, size=(48, 64)):
    """Return a scene of smooth blobs in colour, uint8 of shape (*size, 3)."""
    blobs = np.random.default_rng(seed).integers(20, 256, (6, 8, 3), np.uint8)
    return cv2.resize(blobs, size[::-1], interpolation=cv2.INTER_CUBIC)


def darkened(image, seed=0):
    noise = np.random.default_rng(seed).normal(0, 1, image.shape)
    return np.clip(image * 0.1 + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", baselines.METHODS)
def test_a_baseline_takes_and_gives_a_picture(name):
    low = darkened(picture())
    kept = low.copy()
    clear = baselines.METHODS[name](low)
    assert clear.shape == low.shape and clear.dtype == np.uint8
    np.testing.assert_array_equal(low, kept)
    if name != "input itself":
        assert clear.mean() > 1.5 * low.mean()


def test_retinex_takes_out_a_slope_of_light():
    scene = np.random.default_rng(0).integers(100, 250, (96, 256, 3)).astype(np.uint8)
    lit = (scene * np.linspace(0.1, 1, 256)[None, :, None]).astype(np.uint8)
    for name in ("SSR", "MSR"):
        left, right = np.split(baselines.METHODS[name](lit).astype(float), 2, axis=1)
        assert left.mean() > 0.6 * right.mean() > 0
    left, right = np.split(lit, 2, axis=1)
    assert left.mean() < 0.5 * right.mean()


def test_limes_light_keeps_edges_and_loses_texture():
    rng = np.random.default_rng(0)
    step = np.where(np.arange(64) < 32, 0.2, 0.8)[None].repeat(48, axis=0)
    light = baselines.smooth_light(np.clip(step + rng.normal(0, 0.02, step.shape), 0, 1), 0.15)
    assert light[:, :28].std() < 0.01 and light[:, 36:].std() < 0.01
    assert light[:, 36:].mean() - light[:, :28].mean() == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize(
    "change, least, most",
    [(lambda i: i, 0, 0), (lambda i: i // 2 * 2 + 1, 0, 400), (lambda i: 255 - i, 1000, 3350)],
    ids=["same", "nearly", "reversed"],
)
def test_lightness_order_error(change, least, most):
    low = picture(size=(50, 67))
    assert least <= evaluate.loe(change(low), low) <= most


@pytest.fixture
def folder(tmp_path):
    for seed in range(2):
        high = picture(seed)
        for name, image in (("high", high), ("low", darkened(high))):
            (tmp_path / name).mkdir(exist_ok=True)
            assert cv2.imwrite(str(tmp_path / name / f"{seed}.png"), image)
    return tmp_path


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
    evaluate.main()


def test_the_table_has_every_method_under_its_own_protocols(monkeypatch, folder, capsys):
    table, sheet = folder / "table.csv", folder / "sheet.png"
    more = ("--models", "kind", "--baselines", "input itself", "LIME")
    run(monkeypatch, folder, *more, "--csv", table, "--sheet", sheet)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    protocols = [(r["method"], r["protocol"]) for r in rows]
    both = ("blind", "mean matched")
    assert protocols == [
        *[("kind", p) for p in (*both, "ratio from truth")],
        *[(name, p) for name in ("input itself", "LIME") for p in both],
    ]
    for row in rows:
        assert 0 < float(row["PSNR"]) < 60 and -1 <= float(row["SSIM"]) <= 1
        assert bool(row["ms"]) == bool(row["LOE"]) == (row["protocol"] == "blind")
    assert cv2.imread(str(sheet)).shape == (24 + 2 * 180, 4 * 240, 3)
    shown = capsys.readouterr().out
    assert "published, LOL eval15" in shown and "official README" in shown
    assert "kind: gate mean_l_low" in shown


def test_a_recipe_as_input_gives_the_pairs_that_it_holds_out(folder, monkeypatch):
    recipe = folder / "tiny.toml"
    recipe.write_text(f'name = "tiny"\ndata = "{folder}"\nheld_out = 1\nstage = []\n')
    (pair,) = evaluate.read_pairs([recipe])
    table = folder / "table.csv"
    more = ("--models", "kind", "--baselines", "--fixed", "--csv", table)
    run(monkeypatch, recipe, *more)
    with table.open() as file:
        methods = {r["method"] for r in csv.DictReader(file)}
    assert methods == {"kind", "kind, one exposure"} and pair.stem in "01"


def test_dark_pictures_may_be_coded_as_video(folder, monkeypatch):
    found = {}
    for crf in (1, 40):
        table = folder / f"{crf}.csv"
        more = ("--models", "--baselines", "input itself", "--crf", crf, "--csv", table)
        run(monkeypatch, folder, *more)
        with table.open() as file:
            found[crf] = [float(r["SSIM"]) for r in csv.DictReader(file)]
    assert found[1][1] - found[40][1] > 0.1  # the row scaled to the truth's mean


def test_the_target_of_the_blind_pictures_may_be_another(folder, monkeypatch):
    means = []  # of the student; of the student with one exposure for all scenes
    for target in (0.3, 0.6):
        sheet = folder / "sheet.png"
        more = ("--models", "student", "--baselines", "--fixed", "--target", target)
        run(monkeypatch, folder, *more, "--sheet", sheet)
        shown = cv2.imread(str(sheet))[24:]
        means.append([shown[:, x : x + 240].mean() for x in (0, 240)])
    (alone, one), (brighter, one_brighter) = means
    assert brighter > 1.2 * alone and one_brighter > 1.2 * one


def test_two_folders_are_a_pair_of_folders(folder):
    pairs = evaluate.read_pairs([folder / "low", folder / "high"])
    assert [p.stem for p in pairs] == sorted(p.stem for p in pairs)
    (pair,) = [p for p in pairs if p.stem == "1"]
    (other,) = [p for p in evaluate.read_pairs([folder]) if p.stem == "1"]
    np.testing.assert_array_equal(pair.low, other.low)
    np.testing.assert_array_equal(pair.high, other.high)


def test_protocols_are_not_mixed():
    high = picture()
    pair, rows = Pair("0", darkened(high), high), evaluate.Rows()
    rows.add(high // 2, pair, 0.1)
    rows.put("ratio from truth", high - 1, pair)
    blind, matched, truth = (rows.scores[p][0] for p in rows.scores)
    assert list(rows.scores) == ["blind", "mean matched", "ratio from truth"]
    assert blind.psnr < min(matched.psnr, truth.psnr)
    assert mean_matched(high // 2, high).mean() == pytest.approx(high.mean(), rel=0.01)


def test_a_method_whose_package_is_missing_is_left_out_and_said(monkeypatch, folder, capsys):
    monkeypatch.setattr(evaluate, "NEEDS", {"LIME": "no_such_package"})
    run(monkeypatch, folder, "--models", "--baselines", "LIME", "gamma 0.4")
    assert "LIME is left out: pip install 'streamkind[evaluate]'" in capsys.readouterr().out
