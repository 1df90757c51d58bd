"""A cache of compiled graphs by the shape of their inputs, limited by free memory."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

LEAST_LEFT = 0.2
"""Share of memory, 0 to 1, that must be free for the cache to grow. A compiled graph takes 20 to
150 MB. Chosen by hand."""
MACHINE, CONTAINER = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
"""Where Linux states the memory of this machine, and that of this container."""
Shapes = tuple[tuple[int, ...], ...]


class GraphCache:
    """Compiles graphs on demand, and keeps those that were used last. Any thread may use it.

    At first `most` graphs are kept. That is enough for a file, which has one size, and for a folder
    of images, where most sizes occur once. Cameras of several sizes need more. So whenever a graph
    is compiled again that was removed before, the limit is raised by one.
    """

    def __init__(self, compile: Callable[..., Any], most: int) -> None:
        self._compile = compile
        self._most = most
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._gone: set[tuple[Any, ...]] = set()
        self._told = False
        self._alone = threading.Lock()

    def __call__(self, part: str, shapes: Shapes, *kind: Any) -> Any:
        """Return the compiled graph of a part for shapes and a type; compile it if it is new."""
        key = part, shapes, *kind
        with self._alone:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            if key in self._gone:
                self._gone.remove(key)
                self._keep_more()
            compiled = self._compile(*key)
            self._keep(key, compiled)
            return compiled

    def take_compiled(self, other: GraphCache) -> None:
        """Take over all compiled graphs of another cache, as the last used ones."""
        for key, compiled in other._kept.items():
            if key not in self._kept and len(self._kept) >= self._most:
                self._keep_more()
            self._keep(key, compiled)
        other.clear()

    def known(self, key: tuple[Any, ...]) -> Any:
        """Return the compiled graph for a key (part, shapes and type), or None."""
        return self._kept.get(key)

    def __len__(self) -> int:
        """Return the number of compiled graphs."""
        return len(self._kept)

    def clear(self) -> None:
        """Free all compiled graphs."""
        self._kept.clear()

    def _keep(self, key: tuple[Any, ...], compiled: Any) -> None:
        while len(self._kept) >= self._most and key not in self._kept:
            self._gone.add(self._kept.popitem(last=False)[0])
        self._kept[key] = compiled
        self._kept.move_to_end(key)

    def _keep_more(self) -> None:
        if memory_left() >= LEAST_LEFT:
            self._most += 1
        elif not self._told:
            self._told = True
            log.warning(
                "openvino: less than %.0f %% of the memory is free, so only %d compiled graphs are"
                " kept, and others are compiled again for each use; use fewer picture sizes",
                100 * LEAST_LEFT,
                len(self._kept),
            )


def memory_left() -> float:
    """Return the free share, 0 to 1, of the memory of this machine or container."""
    shares = [1.0]
    try:
        machine = _amounts(MACHINE)
        shares.append(machine["MemAvailable"] / machine["MemTotal"])
        limit = (CONTAINER / "memory.max").read_text(encoding="utf-8").strip()
        if limit.isdecimal():
            used = float((CONTAINER / "memory.current").read_text(encoding="utf-8"))
            told = _amounts(CONTAINER / "memory.stat")
            # The system keeps read and written files in memory until it is needed.
            used -= told["active_file"] + told["inactive_file"]
            shares.append(1 - used / float(limit))
    except (OSError, ValueError, KeyError, IndexError):
        pass  # another system, or no limit of a container
    return min(shares)


def _amounts(path: Path) -> dict[str, float]:
    """Read a file of names and amounts, one of each per line."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {words[0].rstrip(":"): float(words[1]) for words in lines}
