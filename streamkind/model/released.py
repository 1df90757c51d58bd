"""The released models: their files, descriptions and digests."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamkind.errors import EngineError, UsageError
from streamkind.video.frames import Levels

PARTS = ("decompose", "steady", "recompose")
"""The graphs of a model, in the order in which a frame goes through them."""
MULTIPLE = 16
"""The graphs take pictures whose sides are multiples of this number of pixels, because the networks
halve the size four times."""
APART = ("kindpp",)
"""Models that are not in the package, because they are too large for a package index."""
FOLDER = "STREAMKIND_ENGINES"
"""Environment variable that names a folder with the graphs that the package lacks."""
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Graph:
    """One ONNX file and the digest it must have."""

    path: Path
    sha256: str

    def read(self) -> bytes:
        """Return the bytes of the file. Raises EngineError if they are not the released ones."""
        try:
            data = self.path.read_bytes()
        except OSError as exc:
            advice = "reinstall it"
            if self.path.name.partition("-")[0] in APART:
                advice = (
                    "the package does not contain it, because of its size; get the file from "
                    f"`engines/` of streamkind's source, and set {FOLDER} to its folder"
                )
            raise EngineError(f"cannot read {self.path}: {exc.strerror}; {advice}") from exc
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.sha256:
            raise EngineError(
                f"{self.path} is not the released graph: its sha256 begins {digest[:12]}, "
                f"engine.json says {self.sha256[:12]}; reinstall streamkind"
            )
        return data


@dataclass(frozen=True)
class Release:
    """A released model: its graphs, and their description in engine.json."""

    name: str
    decompose: Graph
    steady: Graph
    recompose: Graph
    info: dict[str, Any]


def engines_folder() -> Path:
    """Return the folder of the released graphs: in the wheel, or at the top of a checkout."""
    inside = PACKAGE / "engines"
    return inside if inside.is_dir() else PACKAGE.parent / "engines"


def releases(folder: Path | None = None) -> dict[str, Release]:
    """Return every model that engine.json lists, by name. Raises EngineError."""
    folder = folder or engines_folder()
    path = folder / "engine.json"
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        return {name: _release(name, folder, info) for name, info in models.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise EngineError(
            f"cannot read {path}: {exc!r}; expected the list of released models; "
            "reinstall streamkind, or write it with tools/export.py"
        ) from exc


def find_release(model: str, folder: Path | None = None) -> Release:
    """Return a released model by name. Raises UsageError for an unknown name, and EngineError."""
    found = releases(folder)
    if model not in found:
        raise UsageError(f"unknown model '{model}'; released here: {', '.join(found) or 'none'}")
    return found[model]


def _release(name: str, folder: Path, info: dict[str, Any]) -> Release:
    graphs = {
        part: Graph(_find(folder, info[part]["file"]), info[part]["sha256"]) for part in PARTS
    }
    return Release(name, **graphs, info=info)


def _find(folder: Path, name: str) -> Path:
    """Return the path of a graph: in `folder`, or else in the folder that `FOLDER` names."""
    more = os.environ.get(FOLDER)
    if more and not (folder / name).exists():
        return Path(more) / name
    return folder / name


def padded(side: int) -> int:
    """Round a side up to a multiple of `MULTIPLE`."""
    return side + -side % MULTIPLE


def pad(pixels: Levels) -> Levels:
    """Repeat the last row and column of (N, H, W, 3) until both sides are multiples of 16."""
    bottom, right = (padded(side) - side for side in pixels.shape[1:3])
    if not bottom and not right:
        return pixels
    whole: Levels = np.pad(pixels, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge")
    return whole
