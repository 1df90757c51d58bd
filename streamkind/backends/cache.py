"""The user's cache of TensorRT plans: each is built once, and is not loaded if it was changed.

A plan is code that runs on the card. It is loaded only from a folder to which no other user may
write, and only if its digest is the one that was stored when it was built.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamkind.backends.inspector import Inspection
from streamkind.backends.plans import Plan, PlanRecipe
from streamkind.errors import EngineError
from streamkind.platform import CACHE, cache_folder, locked, replace, writable_by_others

LIMIT_BYTES = 8 << 30
"""Largest size of all plans together, in bytes. The least recently used are removed first."""
KINDS = ("json", "plan", "building")
"""Suffixes of the files of a plan, except its lock, which stays."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Entry:
    """A plan in the cache, as described in its JSON file."""

    key: str
    recipe: dict[str, Any]
    sha256: str
    size_bytes: int
    seconds: float
    """Duration of the build, in seconds."""
    report: Inspection
    used: float
    """Time of the last use, in seconds since 1970."""


class Cache:
    """Plans in a folder: `KEY.plan`, its description `KEY.json`, and the lock `KEY.lock`."""

    def __init__(self, folder: Path | None = None, *, limit_bytes: int = LIMIT_BYTES) -> None:
        """Create the folder, for its owner only. Raises EngineError if others may write to it."""
        self.folder = folder or default_folder()
        self._limit = limit_bytes
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            others = writable_by_others(self.folder)
            if not others:
                self.folder.chmod(0o700)
        except OSError as exc:
            raise _unwritable(self.folder, exc) from exc
        if others:
            raise EngineError(
                f"{self.folder}: other users may write to it, but plans are code; run"
                f" chmod 700 {self.folder}, or set {CACHE} to another folder"
            )

    def take(self, recipe: PlanRecipe, build: Callable[[], tuple[Plan, float]], say: Say) -> Plan:
        """Return a plan. If it is missing or damaged, log this by `say`, build it and store it.

        `build` returns the plan and the seconds that it took. If several processes need the same
        plan, one builds it and the others wait. Raises EngineError.
        """
        with self._locked(recipe.key):
            try:
                return self._read(recipe)
            except _UnusableError as reason:
                say(f"{recipe}: {reason}; building")
            plan, seconds = build()
            self._write(recipe, plan, seconds)
        self.prune(self._limit, keep=recipe.key)
        return plan

    def forget(self, key: str) -> None:
        """Remove a plan. Raises EngineError."""
        with self._locked(key):
            self._remove(key)

    def note(self, key: str, found: Inspection) -> None:
        """Add facts to the description of a plan. Raises EngineError."""
        with self._locked(key):
            sidecar = self._path(key, "json")
            try:
                told = json.loads(sidecar.read_bytes())
            except (OSError, ValueError):
                return  # removed meanwhile
            told["report"] |= found
            self._publish(sidecar, json.dumps(told, indent=1).encode())

    def entries(self) -> list[Entry]:
        """Return all entries, the most recently used first."""
        found = (self._entry(path.stem) for path in self.folder.glob("*.json"))
        return sorted((e for e in found if e is not None), key=lambda e: e.used, reverse=True)

    def find(self, key: str) -> Entry:
        """Return the entry whose key begins with `key`. Raises EngineError unless it is one."""
        found = [entry for entry in self.entries() if entry.key.startswith(key)]
        if len(found) != 1:
            raise EngineError(
                f"{len(found)} plans have a key that begins '{key}', expected one; "
                "see `streamkind engines list`"
            )
        return found[0]

    def fault(self, key: str) -> str | None:
        """Return why a plan cannot be used, or None if it is unchanged since it was built."""
        try:
            self._verified(key)
        except _UnusableError as reason:
            return str(reason)
        return None

    def kept(self) -> list[str]:
        """Return the keys of all plans, complete or not."""
        paths = (path for kind in KINDS for path in self.folder.glob(f"*.{kind}"))
        return sorted({path.stem for path in paths})

    def prune(self, limit_bytes: float, *, keep: str = "") -> list[str]:
        """Remove damaged plans, and then the least recently used, until the rest fits the limit.

        Plans that another process builds or reads are left, and so is the plan with the key `keep`.
        Returns the keys of the removed plans.
        """
        entries = self.entries()
        listed = {entry.key for entry in entries}
        gone: dict[str, Entry | None] = {k: None for k in self.kept() if k not in listed}
        total = sum(entry.size_bytes for entry in entries)
        for entry in reversed(entries):
            if total > limit_bytes and entry.key != keep:
                gone[entry.key] = entry
                total -= entry.size_bytes
        return [key for key, known in gone.items() if key != keep and self._removed(key, known)]

    def _removed(self, key: str, known: Entry | None) -> bool:
        """Remove a plan, unless another process holds it or has built or used it since."""
        try:
            with self._locked(key, wait=False):
                if self._entry(key) != known:
                    return False
                self._remove(key)
        except BlockingIOError:
            return False
        return True

    def _read(self, recipe: PlanRecipe) -> Plan:
        entry, data = self._verified(recipe.key)
        if entry.recipe != _as_json(recipe):
            raise _UnusableError("the plan with this key was built by another recipe")
        os.utime(self._path(recipe.key, "json"))
        return Plan(data, entry.report)

    def _verified(self, key: str) -> tuple[Entry, bytes]:
        plan, sidecar = self._path(key, "plan"), self._path(key, "json")
        if not plan.exists() and not sidecar.exists():
            raise _UnusableError("not built yet")
        entry = self._entry(key)
        if entry is None:
            raise _UnusableError(f"{sidecar.name} is missing or damaged")
        try:
            data = plan.read_bytes()
        except OSError as exc:
            raise _UnusableError(f"{plan.name} cannot be read ({exc.strerror})") from exc
        if len(data) != entry.size_bytes:
            raise _UnusableError(f"{plan.name} has {len(data)} bytes, not {entry.size_bytes}")
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise _UnusableError(f"{plan.name} was changed since it was built")
        return entry, data

    def _entry(self, key: str) -> Entry | None:
        path = self._path(key, "json")
        try:
            told = json.loads(path.read_bytes())
            return Entry(key=key, used=path.stat().st_mtime, **told)
        except (OSError, ValueError, TypeError):
            return None

    def _write(self, recipe: PlanRecipe, plan: Plan, seconds: float) -> None:
        told = {
            "recipe": _as_json(recipe),
            "sha256": hashlib.sha256(plan.data).hexdigest(),
            "size_bytes": len(plan.data),
            "seconds": round(seconds, 2),
            "report": plan.report,
        }
        # The description is written last, because a plan without its digest is not used.
        self._publish(self._path(recipe.key, "plan"), plan.data)
        self._publish(self._path(recipe.key, "json"), json.dumps(told, indent=1).encode())

    def _publish(self, path: Path, data: bytes) -> None:
        """Write a complete file or none. The caller holds the lock of its key."""
        staged = path.with_suffix(".building")
        try:
            with staged.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            replace(staged, path)
        except OSError as exc:
            with contextlib.suppress(OSError):
                staged.unlink()
            raise _unwritable(self.folder, exc) from exc

    def _remove(self, key: str) -> None:
        for kind in KINDS:
            self._path(key, kind).unlink(missing_ok=True)

    def _path(self, key: str, kind: str) -> Path:
        return self.folder / f"{key}.{kind}"

    @contextmanager
    def _locked(self, key: str, *, wait: bool = True) -> Iterator[None]:
        """Hold the lock of a plan. The system releases it if the process dies."""
        with ExitStack() as held:
            try:
                held.enter_context(locked(self._path(key, "lock"), wait=wait))
            except BlockingIOError:
                raise
            except OSError as exc:
                raise _unwritable(self.folder, exc) from exc
            yield


class _UnusableError(Exception):
    """A plan of the cache must not be loaded; the message says why."""


def default_folder() -> Path:
    """Return the folder of this user's plans."""
    return cache_folder("plans")


def _as_json(recipe: PlanRecipe) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(recipe)))  # type: ignore[no-any-return]


def _unwritable(folder: Path, exc: OSError) -> EngineError:
    return EngineError(
        f"plans cannot be stored in {folder} ({exc.strerror}); "
        f"free some space, or set {CACHE} to a folder of your own"
    )
