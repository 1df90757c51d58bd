"""Published figures must be measured with the released weights, and never be written by hand."""

from __future__ import annotations

import importlib
import re

import figures
import pytest
from parts import nets, scores
from parts.pages import BLOCK, public_pages, renewed
from parts.record import ENGINES, ROOT, Record, Table, digest, read, read_all, write

from streamkind.engine.profiles import PROFILES
from streamkind.model.released import releases
from streamkind.model.validation import PairScores

PAGE = "# A page\n\n<!-- figures: part-speed -->\n<!-- end -->\n"
AGAIN = re.compile(r"^docs/figures/part\.json: run `python tools/figures.py part`")


@pytest.fixture
def root(tmp_path):
    """Return the root of a repository with one page, one model, one plot and one measured part."""
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "kind-decompose.onnx").write_bytes(b"weights")
    plot = tmp_path / "docs" / "figures" / "plot.png"
    plot.parent.mkdir(parents=True)
    plot.write_bytes(b"plot")
    table = Table({"": "", "fps": ".1f"}, [["fast", 48.25], ["slow", None]])
    record = Record(
        *("2026-11-29", "abc", "`command`", "a processor", 2, {"av": "18"}, {"speed": table}),
        weights={"kind": digest((tmp_path / "engines").iterdir())},
        profiles={"quality": PROFILES["quality"].model},
        pictures={"plot.png": digest([plot])},
    )
    write("part", record, tmp_path / "docs" / "figures")
    (tmp_path / "README.md").write_text(PAGE)
    rewrite(tmp_path)
    return tmp_path


def rewrite(root):
    for path, text in renewed(read_all(root / "docs" / "figures"), root).items():
        path.write_text(text)


def changed(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_text_between_markers_must_equal_the_measured_tables(root):
    page = (root / "README.md").read_text()
    assert "| | fps |\n| --- | --- |\n| fast | 48.2 |\n| slow | |\n" in page
    assert "`command`, 2026-11-29, commit abc, a processor, 2 cores." in page
    assert figures.check(root) == []
    rewrite(root)
    assert (root / "README.md").read_text() == page


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("README.md", "48.2", "48.3"),
        ("README.md", "2026-11-29", "2026-11-30"),
        ("README.md", "| slow | |\n", ""),
        ("docs/figures/part.json", "48.25", "48.35"),
        ("docs/figures/part.json", "abc", "abd"),
    ],
)
def test_a_changed_digit_is_found(root, file, old, new):
    changed(root / file, old, new)
    assert figures.check(root) == ["README.md: run `python tools/figures.py --write`"]


@pytest.mark.parametrize("file", ["engines/kind-decompose.onnx", "docs/figures/plot.png"])
def test_other_weights_and_other_plots_are_found(root, file):
    (root / file).write_bytes(b"others")
    (line,) = figures.check(root)
    assert AGAIN.match(line)


def test_a_profile_that_runs_another_model_is_found(root):
    changed(root / "docs" / "figures" / "part.json", '"quality": "kind"', '"quality": "student"')
    (line,) = figures.check(root)
    assert AGAIN.match(line) and "quality does not run student now" in line


def test_figures_of_other_weights_may_be_held_if_the_page_says_why(root):
    (root / "engines" / "kind-decompose.onnx").write_bytes(b"others")
    record = read("part", root / "docs" / "figures")
    record.held = "speed does not depend on weights"
    write("part", record, root / "docs" / "figures")
    assert figures.check(root) == ["README.md: run `python tools/figures.py --write`"]
    rewrite(root)
    assert figures.check(root) == []
    assert "Kept: speed does not depend on weights." in (root / "README.md").read_text()


def test_a_table_that_nobody_measured_is_reported(root):
    changed(root / "README.md", "part-speed", "part-weight")
    with pytest.raises(KeyError, match=r"README\.md: docs/figures has no 'weight'"):
        figures.check(root)


def test_a_table_without_rows_is_not_measured_yet(root):
    record = read("part", root / "docs" / "figures")
    record.tables["speed"].rows.clear()
    write("part", record, root / "docs" / "figures")
    rewrite(root)
    assert "Not measured yet." in (root / "README.md").read_text()


def test_the_figures_of_this_repository_are_those_that_were_measured():
    assert figures.check() == []


def test_every_page_is_in_the_table_of_pages():
    text = (ROOT / "docs" / "README.md").read_text()
    (table,) = (m[0] for m in BLOCK.finditer(text) if m[2] == "pages")
    names = [str(path.relative_to(ROOT)) for path in public_pages()]
    assert [name for name in names if f"[{name}](" not in table] == []


def test_every_part_can_be_measured_and_every_file_has_a_part():
    for part in figures.PARTS:
        assert callable(importlib.import_module(f"parts.{part}").measure)
    assert read_all().keys() == figures.PARTS.keys()


def test_every_released_model_has_a_card_with_the_curves_of_its_training():
    cards = (ENGINES / "README.md").read_text()
    for name in releases():
        assert f"\n## `{name}`\n" in cards
        assert f"docs/training/{name}.png" in cards
    curves = {path.stem for path in (ROOT / "docs" / "training").iterdir()}
    assert curves == releases().keys()


def test_the_page_of_profiles_names_their_models():
    page = (ROOT / "docs" / "profiles.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE)
    assert dict(rows) == {name: profile.model for name, profile in PROFILES.items()}


def test_tools_are_few_and_each_is_named():
    told = (ROOT / "CONTRIBUTING.md").read_text()
    names = [path.name for path in (ROOT / "tools").glob("*.py")]
    assert len(names) <= 12 and [name for name in names if f"`{name}`" not in told] == []


NO_PROSE = re.compile(
    r"<!-- figures: [\w-]+ -->\n.*?<!-- end -->|```.*?```|`[^`]*`|\]\([^)]*\)|<[^>\s]+>", re.DOTALL
)
FIGURE = re.compile(
    r"(?<![\w.])\d*\.\d+|\d[\d,]*(?=\s*(?:%|dB|ms\b|[KMG]i?B\b|fps|frames a second|times\b"
    r"|parameters|multiply-adds))"
)
"""Pattern of a number with decimals, or with the unit of a measured quantity."""
OTHERS = ("docs/published.md", "docs/gpu-report.md", "docs/cli.md", "docs/score.md")
"""Pages with figures of other works, figures of one card, options, and formulas."""
PAST = ("CHANGELOG.md", "engines/HISTORY.md")
DEFINED = {
    "README.md": {"3.11", "3.13"},
    "SECURITY.md": {"127.0"},
    "docs/app.md": {"2", "10", "64"},
    "docs/files.md": {"1", "255"},
    "docs/gallery/README.md": {"58"},
    "docs/getting-started.md": {"0.45", "0.47", "3.11", "3.13"},
    "docs/how-it-works.md": {"0.05", "0.45"},
    "docs/live-console.md": {"2", "10", "25", "64", "16", "127.0"},
    "docs/live.md": {"0.05", "0.1", "0.5", "0.9", "5", "10", "25"},
    "docs/machines.md": {"1.1", "3.11", "3.12", "3.13"},
    "docs/nvidia.md": {"8", "99.9"},
    "docs/onnx.md": {"0.1"},
    "docs/profiles.md": {"0.3"},
    "docs/steady.md": {"0.01", "0.1", "0.55", "1.25", "25"},
    "docs/troubleshooting.md": {"0.1", "0.3", "0.35", "0.45", "0.5", "8.4"},
}
"""Numbers of each page that are defined, not measured: versions, limits, settings, sizes."""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("21.29 dB and 48.2 frames a second", ["21.29", "48.2"]),
        ("a share of .66, 21 times the work, 60 % off", [".66", "21", "60"]),
        ("34,000 multiply-adds, 1452 MiB", ["34,000", "1452"]),
        ("on 2026-11-27, 640x400, `--ratio 0.1`, three frames, version 10", []),
        ("<!-- figures: a-b -->\n| 0.5 |\n<!-- end -->\n", []),
    ],
)
def test_a_figure_is_told_from_other_numbers(text, found):
    assert FIGURE.findall(NO_PROSE.sub("", text)) == found


@pytest.mark.parametrize("path", public_pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_measured_figure_is_written_by_hand(path):
    name = str(path.relative_to(ROOT))
    if name in OTHERS or name in PAST:
        return
    found = set(FIGURE.findall(NO_PROSE.sub("", path.read_text())))
    assert found - DEFINED.get(name, set()) == set()


def test_the_multiply_adds_of_a_graph_are_those_of_its_convolutions():
    # Counts by torch, without the exposure network.
    kind, student = (
        sum(map(nets.per_pixel, ENGINES.glob(f"{name}-*.onnx"))) for name in ("kind", "student")
    )
    assert kind == pytest.approx(266_249, rel=0.01)
    assert student == pytest.approx(12_160, rel=0.05)
    assert {row[0] for row in nets.sizes().rows} >= {"`kind`", "`student`"}


def test_the_table_of_scores_has_a_line_a_method_and_keeps_protocols_apart():
    def rows(level):
        one = scores.Rows()
        for i, protocol in enumerate(("blind", "mean matched", "ratio from truth")):
            one.scores[protocol] = [PairScores(level + i, 0.5, 0.6, 7.0, 0.9)] * 2
        one.blind_only = [[10.0, 2.0], [20.0, 4.0]]
        return one

    names = ("kind", "lite", "student", "gamma 0.4", "input itself")
    found = {name: rows(10.0 * i) for i, name in enumerate(names, 1)}
    blind = scores.table(found, "blind")
    assert blind.rows[1] == ["lite", 20.0, 0.5, 0.6, 7.0, 0.9, 15.0, 3.0]
    assert [row[1] for row in scores.table(found, "mean matched").rows] == [11, 21, 31, 41, 51]
    short = scores.readme(found)
    assert [row[1] for row in short.rows] == [10, 12, 11, 20, 30, 40, 50, 20.87]
    assert blind.markdown() and short.markdown()
