"""Machines that are made up: which card is there, which packages are."""

from __future__ import annotations

import importlib.util
from pathlib import Path

CARD = "echo '9.0, NVIDIA H100 80GB HBM3, 580.1, 00000000:01:00.0'"
"""What nvidia-smi does on a machine with a card, in shell."""


def put_nvidia_smi(monkeypatch, folder: Path, script: str = CARD) -> None:
    """Put a shell script where nvidia-smi is looked for."""
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)


def install_only(monkeypatch, names, among) -> None:
    """Let those of `among` that are no `names` look as if they were not installed."""
    find, found = importlib.util.find_spec, importlib.util.find_spec("json")

    def find_spec(name, *rest):
        if name not in among:
            return find(name, *rest)
        return found if name in names else None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
