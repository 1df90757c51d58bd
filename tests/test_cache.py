"""The cache of plans: plans are built once, checked, and never loaded if they were changed."""

from __future__ import annotations

import functools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import fields, replace

import pytest
from support.plans import recipe_of

from streamkind.backends import plans
from streamkind.backends.cache import Cache
from streamkind.backends.plans import PlanRecipe
from streamkind.errors import EngineError
from streamkind.model.released import find_release

RECIPE = recipe_of("steady")


@functools.cache
def steady_plan():
    return plans.build(RECIPE, find_release("kind").steady)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "plans")


class Asked:
    """Gets plans from a cache, and records builds and messages."""

    def __init__(self, cache):
        self.cache, self.built, self.said = cache, 0, []

    def take(self, recipe=RECIPE):
        return self.cache.take(recipe, self.build, self.said.append)

    def build(self):
        self.built += 1
        return steady_plan(), 0.5


@pytest.fixture
def asked(cache):
    return Asked(cache)


def path_of(cache, kind, recipe=RECIPE):
    return cache.folder / f"{recipe.key}.{kind}"


def test_a_plan_is_built_once_and_kept(asked):
    first, second = asked.take(), asked.take()
    assert first == second == steady_plan()
    assert asked.built == 1
    assert asked.said == [f"{RECIPE}: not built yet; building"]
    assert asked.cache.fault(RECIPE.key) is None


OTHER = {
    "model": "other",
    "part": "recompose",
    "graph": "0" * 64,
    "library": "tensorrt",
    "version": "1.7.1.117",
    "cuda": "cu12",
    "driver": "580.1",
    "gpu": "NVIDIA GeForce RTX 4090",
    "sm": "sm_120",
    "os": "windows amd64",
    "precision": "fp32",
    "size": (64, 64),
    "batch": (1, 1, 2),
    "frames": "float32",
    "level": 5,
    "workspace_mib": 1024,
    "schema": 3,
}


def test_each_part_of_the_key_is_tried():
    assert OTHER.keys() == {field.name for field in fields(PlanRecipe)}


@pytest.mark.parametrize("name", OTHER)
def test_each_part_of_the_key_makes_another_plan(asked, name):
    asked.take()
    asked.take(replace(RECIPE, **{name: OTHER[name]}))
    assert asked.built == 2
    assert len(asked.cache.entries()) == 2


def truncate(cache):
    os.truncate(path_of(cache, "plan"), 1000)


def flip(cache):
    path = path_of(cache, "plan")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def lose_plan(cache):
    path_of(cache, "plan").unlink()


def lose_sidecar(cache):
    path_of(cache, "json").unlink()


def damage_sidecar(cache):
    path_of(cache, "json").write_text('{"recipe": ')


def put_a_foreign_one(cache):
    other = Asked(cache)
    recipe = replace(RECIPE, sm="sm_120")
    other.take(recipe)
    for kind in ("plan", "json"):
        path_of(cache, kind, recipe).replace(path_of(cache, kind))


@pytest.mark.parametrize(
    ("touch", "reason"),
    [
        (truncate, r"has 1000 bytes, not \d+"),
        (flip, "was changed since it was built"),
        (lose_plan, "cannot be read"),
        (lose_sidecar, "is missing or damaged"),
        (damage_sidecar, "is missing or damaged"),
        (put_a_foreign_one, "was built by another recipe"),
    ],
)
def test_changed_plans_are_built_again_and_never_loaded(asked, touch, reason):
    asked.take()
    touch(asked.cache)
    assert asked.take() == steady_plan()
    assert asked.built == 2
    assert re.search(reason, asked.said[1])
    asked.take()
    assert asked.built == 2
    assert asked.cache.fault(RECIPE.key) is None


def test_a_plan_can_be_forgotten(asked):
    asked.take()
    asked.cache.forget(RECIPE.key)
    asked.take()
    assert asked.built == 2


BUILD = ("build", "--size", "64x48", "--batch", "1:1:2", "--gpu", "sm_89")
LONG = ("build", *(word for n in range(64, 1024, 16) for word in ("--size", f"{n}x48")))
LONG += ("--model", "kindpp", "--gpu", "sm_89,sm_120")
"""Arguments for hundreds of plans, so that the command still runs after the first has begun."""


def engines(folder, *words):
    environment = os.environ | {"STREAMKIND_CACHE": str(folder.parent), "COLUMNS": "150"}
    return subprocess.Popen(
        [sys.executable, "-m", "streamkind", "engines", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A process in the background ignores SIGINT. These tests may run in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def ended(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_two_processes_at_once_build_once_and_commands_tell_of_it(call, monkeypatch, tmp_path):
    monkeypatch.setenv("STREAMKIND_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "150")
    folder = tmp_path / "plans"
    results = [ended(p) for p in [engines(folder, *BUILD), engines(folder, *BUILD)]]
    assert [code for code, _, _ in results] == [0, 0]
    both = results[0][2] + results[1][2]
    assert both.count("not built yet; building") == both.count(": built in ") == 4
    assert both.count(": kept, ") == 4
    assert call("engines", "verify")[1].count("good") == 4
    listed = call("engines", "list")[1]
    assert "kind decompose 64x48 fp16 batch 1:1:2 sm_89" in listed
    key = next(path.stem for path in folder.glob("*.plan"))
    told = json.loads(call("engines", "info", key[:8])[1])
    assert told["key"] == key
    assert told["report"]["inputs"]
    assert "0 plans removed" in call("engines", "prune", "--keep-gb", "inf")[2]
    os.truncate(folder / f"{key}.plan", 5)
    code, out, err = call("engines", "verify")
    assert (code, out.count("good")) == (1, 3)
    assert "1 of 4 plans are damaged" in err
    assert "4 plans removed" in call("engines", "prune", "--keep-gb", "0")[2]
    assert not list(folder.glob("*.plan"))


def test_a_killed_build_leaves_nothing_that_hinders(tmp_path):
    folder = tmp_path / "plans"
    process = engines(folder, *LONG)
    for line in process.stderr:
        if "not built yet; building" in line:
            process.send_signal(signal.SIGKILL)
            break
    assert ended(process)[0] == -signal.SIGKILL
    cache = Cache(folder)
    assert list(folder.glob("*.lock"))
    assert all(cache.fault(entry.key) is None for entry in cache.entries())  # complete, or absent
    asked = Asked(cache)
    asked.take()
    assert asked.built == 1


def test_ctrl_c_ends_a_build_in_one_line(tmp_path):
    process = engines(tmp_path / "plans", *LONG)
    first = process.stderr.readline()
    assert "not built yet; building" in first
    time.sleep(0.3)  # if rich is interrupted within a line, it prints the line again
    process.send_signal(signal.SIGINT)
    left = process.stderr.read()
    process.communicate(timeout=60)
    assert process.returncode == 130
    *others, last = left.splitlines()
    assert last == "streamkind: interrupted; no partial output was left"
    assert all(re.match(r"kindpp \w+ \d+x48 fp16 batch ", line) for line in others)  # no traceback
    cache = Cache(tmp_path / "plans")
    assert not list(cache.folder.glob("*.building"))
    assert all(cache.fault(key) is None for key in cache.kept())


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (
            ("build", "--size", "big", "--gpu", "sm_89"),
            2,
            "size 'big': expected WIDTHxHEIGHT, such as 1280x720",
        ),
        (
            ("build", "--batch", "8", "--gpu", "sm_89"),
            2,
            "batch '8': expected fewest:usual:most, such as 1:4:8",
        ),
        (("build", "--precision", "fp4", "--gpu", "sm_89"), 2, "choose fp16, fp32, bf16"),
        (("build", "--precision", "int8", "--gpu", "sm_89"), 2, "'int8' is not offered"),
        (
            ("build", "--gpu", "RTX 4090"),
            2,
            "card 'RTX 4090': expected a compute capability, such as sm_89",
        ),
        (("info", "00"), 1, "0 plans have a key that begins '00'"),
    ],
)
def test_wrong_arguments_are_answered_in_one_line(call, monkeypatch, tmp_path, words, code, error):
    monkeypatch.setenv("STREAMKIND_CACHE", str(tmp_path / "plans"))
    found, _, err = call("engines", *words)
    assert found == code
    assert error in err
    assert err.count("\n") == 1


def test_the_folder_is_its_owners_alone(tmp_path):
    folder = tmp_path / "plans"
    folder.mkdir()
    folder.chmod(0o755)
    Cache(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o770)
    with pytest.raises(EngineError, match=r"other users may write to it.*chmod 700"):
        Cache(folder)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"cannot be stored in .*STREAMKIND_CACHE"):
        Cache(tmp_path / "file" / "plans")


@contextmanager
def nobody():
    """Run the block as an unprivileged user, because root may write anywhere."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_cache_that_cannot_be_written_is_an_error_before_a_build(asked):
    asked.cache.folder.chmod(0o500)
    with (
        nobody(),
        pytest.raises(EngineError, match=r"cannot be stored in .*Permission.*STREAMKIND"),
    ):
        asked.take()
    assert asked.built == 0
    asked.cache.folder.chmod(0o700)
    asked.take()
    assert asked.built == 1


def test_a_full_disk_is_an_error_and_leaves_nothing(asked):
    steady_plan()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(EngineError, match=r"cannot be stored in .*free some space"):
            asked.take()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert asked.cache.kept() == []
    asked.take()
    assert asked.cache.fault(RECIPE.key) is None


def test_the_longest_unused_go_first(tmp_path):
    size = len(steady_plan().data)
    asked = Asked(Cache(tmp_path / "plans", limit_bytes=2 * size))
    recipes = [replace(RECIPE, size=(64, 16 * n)) for n in (1, 2, 3)]
    for i, recipe in enumerate(recipes[:2]):
        asked.take(recipe)
        os.utime(path_of(asked.cache, "json", recipe), (i, i))
    asked.take(recipes[0])  # used again, so the second is now the oldest
    asked.take(recipes[2])
    left = [entry.key for entry in asked.cache.entries()]
    assert sorted(left) == sorted([recipes[0].key, recipes[2].key])


def test_a_plan_that_is_larger_than_the_bound_is_kept_until_the_next(tmp_path):
    asked = Asked(Cache(tmp_path / "plans", limit_bytes=1))
    other = replace(RECIPE, size=(64, 16))
    asked.take()
    assert [entry.key for entry in asked.cache.entries()] == [RECIPE.key]
    asked.take(other)
    assert [entry.key for entry in asked.cache.entries()] == [other.key]


def test_a_plan_that_another_process_builds_during_a_prune_is_kept(asked, monkeypatch):
    other, kept = Asked(Cache(asked.cache.folder)), asked.cache.kept
    monkeypatch.setattr(asked.cache, "kept", lambda: (other.take(), kept())[1])
    assert asked.cache.prune(0) == []  # it did not exist when the plans were listed
    assert [entry.key for entry in asked.cache.entries()] == [RECIPE.key]


def test_a_plan_that_another_process_holds_is_not_pruned(asked):
    asked.take()
    with asked.cache._locked(RECIPE.key):
        assert asked.cache.prune(0) == []
    assert asked.cache.prune(0) == [RECIPE.key]
