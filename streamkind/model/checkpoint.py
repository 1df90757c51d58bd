"""Checkpoints of a training run: everything to go on, or to rebuild the nets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from streamkind.model.kind import KinD

State = dict[str, Any]


def save(path: Path, state: State) -> None:
    """Write whole or not at all, so that a kill at any moment leaves the last good one."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path) -> State:
    """Read a checkpoint onto the CPU."""
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; start the run without --resume")
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_kind(path: Path) -> KinD:
    """Return the averaged nets of a checkpoint, as validation and release use them."""
    kind = KinD()
    kind.load_state_dict(load(path)["ema"])
    return kind.eval()
