"""Writes and reads checkpoints of training runs, and loads released weights."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from streamkind.model.kind import KinD
from streamkind.model.kindpp import KinDpp
from streamkind.model.lite import Lite
from streamkind.model.released import Release
from streamkind.model.student import Student

StateDict = dict[str, Any]
ARCHITECTURES: dict[str, type[KinD]] = {
    "kind": KinD,
    "kindpp": KinDpp,
    "lite": Lite,
    "student": Student,
}
"""Classes of networks, by the name that a checkpoint states."""


def save(path: Path, state: StateDict) -> None:
    """Write a checkpoint completely or not at all: if it fails, the previous one stays."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load(path: Path) -> StateDict:
    """Read a checkpoint onto the CPU. Raises FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; start the run without --resume")
    state: StateDict = torch.load(path, map_location="cpu", weights_only=True)
    return state


def load_kind(path: Path) -> KinD:
    """Return the networks of a checkpoint with averaged weights (EMA), which are released."""
    state = load(path)
    kind = ARCHITECTURES[state["recipe"]["architecture"]]()
    kind.load_state_dict(state["ema"])
    return kind.eval()


def load_released(release: Release) -> KinD:
    """Return the networks of a released model. Its ONNX graphs have the weights, by name."""
    kind = ARCHITECTURES[release.info.get("architecture", "kind")]()
    kind.load_state_dict(released_weights(kind, release))
    return kind.eval()


def released_weights(kind: KinD, release: Release) -> StateDict:
    """Return the state of `kind`, with the weights of a released model where both have them."""
    state: StateDict = kind.state_dict()
    for graph in (release.decompose, release.recompose):
        for stored in onnx.load_from_string(graph.read()).graph.initializer:
            name = stored.name.removesuffix(".half")
            if name in state and state[name].shape == torch.Size(stored.dims):
                value = numpy_helper.to_array(stored).astype(np.float32)
                state[name] = torch.from_numpy(value)
    return state


@functools.cache
def source_commit() -> str:
    """Return the commit of the checkout that this file is in; "" outside of one."""
    if not shutil.which("git"):
        return ""
    command = ("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD")
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
