"""Compiled graphs by shape: as many are kept as come again, while there is memory for them."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

LEAST_LEFT = 0.2
"""Share of the memory that compiled graphs leave free; one takes 20 to 150 MB."""
Shapes = tuple[tuple[int, ...], ...]


class Kept:
    """Compiles what is asked for, and keeps what was asked for last. One thread only.

    At first `most` are kept: a file has one size, and a folder of images has many that come once.
    One more is kept for each that comes again after it had to go: cameras of many sizes take turns.
    """

    def __init__(self, compile: Callable[..., Any], most: int) -> None:
        self._compile = compile
        self._most = most
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._gone: set[tuple[Any, ...]] = set()
        self._told = False

    def __call__(self, part: str, shapes: Shapes, *kind: Any) -> Any:
        """Return what was compiled of a part for shapes and a type, or compile it."""
        key = part, shapes, *kind
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key in self._gone:
            self._gone.remove(key)
            self._keep_more()
        self._keep(key, self._compile(*key))
        return self._kept[key]

    def adopt(self, other: Kept) -> None:
        """Take over all of another; what it compiled is known to come again."""
        for key, compiled in other._kept.items():
            if key not in self._kept and len(self._kept) >= self._most:
                self._keep_more()
            self._keep(key, compiled)
        other.clear()

    def known(self, key: tuple[Any, ...]) -> Any:
        """Return what is kept for a part, shapes and a type, None for nothing. From any thread."""
        return self._kept.get(key)

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    def clear(self) -> None:
        """Free all."""
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
                "openvino: less than %.0f %% of the memory is free, so graphs of %d shapes only are"
                " kept, and others compiled again and again; use fewer sizes of pictures",
                100 * LEAST_LEFT,
                len(self._kept),
            )


def memory_left() -> float:
    """Return the share of this machine's memory, or of this container's, that is free."""
    shares = [1.0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        told = {line.split(":")[0]: float(line.split()[1]) for line in lines}
        shares.append(told["MemAvailable"] / told["MemTotal"])
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text(encoding="utf-8").strip()
        if limit.isdecimal():
            used = float((group / "memory.current").read_text(encoding="utf-8"))
            shares.append(1 - used / float(limit))
    except (OSError, ValueError, KeyError, IndexError):
        pass  # another system, or no limit of a container
    return min(shares)
