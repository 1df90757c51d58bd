"""Rules of the code: layers of imports, the table in CONTRIBUTING.md, lengths of functions."""

from __future__ import annotations

import ast
import functools
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    ("tools",),
    ("__main__",),
    ("cli",),
    ("app",),
    ("live", "batch"),
    ("__init__",),  # the public API
    ("measure",),
    ("pipeline",),
    ("engine",),
    ("backends",),
    ("model",),
    ("light",),
    ("video",),
    ("errors", "platform"),
)
"""Packages by layer, top to bottom. A package may import from itself and from lower layers."""
LAYER_OF = {package: layer for layer, packages in enumerate(LAYERS) for package in packages}


def module_of(path: Path) -> str:
    """Return the module of a file: streamkind/live/web/app.py -> streamkind.live.web.app."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


FILES = {module_of(path): path for path in sorted((ROOT / "streamkind").rglob("*.py"))}


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements inside a node. Expressions are skipped, which saves most of the time."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield child
            yield from statements(child)


def imports_of(module: ast.Module) -> set[str]:
    """Return the modules that a file imports, also those imported within functions."""
    found = set()
    for node in statements(module):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else "." * node.level + node.module for name in whole}
    return found


def package_of(module: str) -> str:
    """Return the package of a module: streamkind.live.web.app -> live; streamkind -> `__init__`."""
    top, _, inside = module.partition(".")
    if top != "streamkind":
        return top
    return inside.partition(".")[0] or "__init__"


def climbs(module: str, imported: str) -> bool:
    """Return whether an import is from a higher layer, or another package of the same layer."""
    above, below = package_of(module), package_of(imported)
    return above != below and LAYER_OF[below] <= LAYER_OF[above]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import streamkind.errors", {"streamkind.errors"}),
        ("from streamkind.errors import UsageError", {"streamkind.errors"}),
        ("from streamkind.live import fleet", {"streamkind.live.fleet"}),
        ("from streamkind import __version__", {"streamkind"}),
        ("def f():\n    from streamkind.errors import UsageError", {"streamkind.errors"}),
        ("if TYPE_CHECKING:\n    import streamkind.errors as e", {"streamkind.errors"}),
        ("try:\n    f()\nexcept E:\n    import streamkind.errors", {"streamkind.errors"}),
        ("match x:\n    case 1:\n        import streamkind.errors", {"streamkind.errors"}),
        ("from .errors import UsageError", {".errors"}),
    ],
)
def test_every_import_of_a_file_is_found(text, found):
    assert imports_of(ast.parse(text)) == found


@pytest.mark.parametrize(
    ("module", "imported", "is_one"),
    [
        ("streamkind.light.track", "streamkind.engine.survey", True),
        ("streamkind.model.data", "streamkind.backends.base", True),
        ("streamkind.batch.work", "streamkind.live.fleet", True),
        ("streamkind.engine.engine", "streamkind", True),
        ("streamkind.live.web.app", "streamkind.live.status", False),
        ("streamkind.batch.journal", "streamkind", False),
        ("streamkind.cli.app", "streamkind.errors", False),
    ],
)
def test_an_import_of_a_higher_layer_is_found(module, imported, is_one):
    assert climbs(module, imported) == is_one


def test_imports_go_down_only_and_never_in_a_circle():
    imports = {m: imports_of(parsed(path)) & FILES.keys() for m, path in FILES.items()}
    assert sum(map(len, imports.values())) > 200  # otherwise the wrong folder was read
    up = [(m, i) for m, found in imports.items() for i in found if climbs(m, i)]
    assert sorted(up) == []
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the cycle


def test_streamkind_imports_neither_tools_nor_tests_and_nothing_by_dots():
    own = {path.stem for folder in ("tools", "tests") for path in (ROOT / folder).iterdir()}
    for module, path in FILES.items():
        tops = {name.partition(".")[0] for name in imports_of(parsed(path))}
        assert not tops & (own | {"tools", "tests", ""}), module


@pytest.mark.parametrize("folder", ["tests", "tools"])
def test_no_test_is_imported(folder):
    for path in (ROOT / folder).rglob("*.py"):
        tops = {name.partition(".")[0] for name in imports_of(parsed(path))}
        assert not [top for top in tops if top.startswith("test_") or top in ("tests", "conftest")]
        assert folder == "tests" or "support" not in tops, path


def test_every_package_is_in_the_table_of_contributing_in_the_order_of_imports():
    layout = (ROOT / "CONTRIBUTING.md").read_text().partition("| folder or file |")[2]
    rows = re.findall(r"^\| (`.+?) \|", layout, re.MULTILINE)
    paths = [path for row in rows for path in re.findall("`(.+?)`", row)]
    assert all((ROOT / path).exists() for path in paths)
    told = [Path(path).with_suffix("").parts for path in paths if path != "engines/"]
    packages = dict.fromkeys(parts[1] if parts[0] == "streamkind" else parts[0] for parts in told)
    assert list(packages) == [
        package for layer in LAYERS for package in layer if package != "__main__"
    ]
    folders = {path.parent for path in FILES.values()}
    mapped = {ROOT / path for path in paths}
    assert [f for f in sorted(folders) if f not in mapped] == [ROOT / "streamkind"]


def test_the_root_package_has_only_the_flow_the_platform_and_the_errors():
    root = {path.stem for path in FILES.values() if path.parent.name == "streamkind"}
    assert root == {"__init__", "__main__", "pipeline", "platform", "errors"}


def functions() -> Iterator[tuple[str, str, int]]:
    """Yield module, name and number of lines of every function."""
    for module, path in FILES.items():
        for node in statements(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield module, node.name, node.end_lineno - node.lineno + 1


def types_of(module: str) -> Iterator[tuple[str, str]]:
    """Yield name and definition of every class and type alias of a module, no type variables."""
    for node in parsed(FILES[module]).body:
        if isinstance(node, ast.ClassDef):
            yield node.name, module
        elif isinstance(node, ast.Assign) and not isinstance(node.value, ast.Call):
            names = [name.id for name in node.targets if isinstance(name, ast.Name)]
            yield from ((n, ast.dump(node.value)) for n in names if re.match("[A-Z][a-z]", n))


def test_every_name_of_a_type_means_one_thing():
    homes: dict[str, dict[str, str]] = {}
    for module in FILES:
        for name, definition in types_of(module):
            homes.setdefault(name, {})[definition] = module
    twice = {name: sorted(made.values()) for name, made in homes.items() if len(made) > 1}
    layers = {"Up": ["streamkind.model.kindpp", "streamkind.model.student"]}
    assert twice == layers  # each is a layer of another network


def test_only_tables_of_data_are_kept_from_the_formatter():
    for folder in ("streamkind", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            tables = re.findall(r"^# fmt: off$(.*?)^# fmt: on$", text, re.MULTILINE | re.DOTALL)
            assert len(re.findall(r"# *fmt: *(?:off|skip)", text)) == len(tables), path
            for node in ast.walk(ast.Module([n for t in tables for n in ast.parse(t).body], [])):
                assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Call) or (
                    isinstance(node, ast.Call) and node.func.id == "frozenset"
                ), path


def test_no_function_is_longer_than_60_lines():
    found = list(functions())
    assert len(found) > 100  # otherwise the wrong folder was read
    assert [f for f in found if f[2] > 60] == []


def test_no_file_is_longer_than_300_lines():
    lines = {module: len(path.read_text().splitlines()) for module, path in FILES.items()}
    assert {module: count for module, count in lines.items() if count > 300} == {}
