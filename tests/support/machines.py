"""Simulated machines: the card and the installed packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path

CARD = "echo '9.0, NVIDIA H100 80GB HBM3, 580.1, 00000000:01:00.0'"
"""Shell script that prints what nvidia-smi prints on a machine with one card."""


def put_nvidia_smi(monkeypatch, folder: Path, script: str = CARD) -> None:
    """Write a shell script named nvidia-smi to `folder`, and put that folder first in PATH."""
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)


def install_only(monkeypatch, names, among) -> None:
    """Simulate that of the packages `among`, only `names` are installed."""
    find, found = importlib.util.find_spec, importlib.util.find_spec("json")

    def find_spec(name, *rest):
        if name not in among:
            return find(name, *rest)
        return found if name in names else None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
