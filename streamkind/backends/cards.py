"""NVIDIA cards: those of this machine, and others that plans are built for."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from streamkind.errors import EngineError, UsageError

log = logging.getLogger("streamkind.engines")

ANSWER_SECONDS = 10
"""Time limit of nvidia-smi, in seconds: it does not end if the driver hangs. Chosen by hand."""
_shown: dict[str, list[Card]] = {}
"""Path of nvidia-smi -> the cards that it showed. It may take seconds each time."""


@dataclass(frozen=True)
class Card:
    """The facts of a card that a plan depends on."""

    sm: str
    """Compute capability, such as `sm_89`."""
    name: str = "any"
    driver: str = "any"
    present: bool = False
    place: str = ""
    """Address on the PCI bus, in lower case."""


def named_card(sm: str) -> Card:
    """Return a card of a compute capability. It need not be in this machine."""
    if not re.fullmatch(r"sm_\d{2,3}", sm):
        raise UsageError(f"card '{sm}': expected a compute capability, such as sm_89")
    return Card(sm)


def find_cards() -> list[Card]:
    """Return the cards of this machine, in the order of nvidia-smi. It runs until it shows one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    if program in _shown:
        return [*_shown[program]]
    told = "compute_cap,name,driver_version,pci.bus_id"
    query = [program, f"--query-gpu={told}", "--format=csv,noheader"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("no NVIDIA card is used: nvidia-smi does not answer (%s)", error)
        return []
    rows = [[v.strip() for v in line.split(",")] for line in result.stdout.splitlines()]
    found = [
        Card("sm_" + row[0].replace(".", ""), row[1], row[2], present=True, place=row[3].lower())
        for row in rows
        # A Jetson's nvidia-smi answers [N/A] to most queries. Its facts are read by CUDA.
        if len(row) == 4 and result.returncode == 0 and re.fullmatch(r"\d+\.\d", row[0])
    ]
    if found:  # without cards it is asked again, because a driver may come up later
        _shown[program] = found
    return [*found]


def card_here() -> bool:
    """Return whether this machine has a card. On a Jetson, nvidia-smi may be missing."""
    return bool(find_cards()) or Path("/dev/nvhost-gpu").exists() or Path("/dev/nvgpu").exists()


def first_card() -> Card:
    """Return the first card of this machine. Raises EngineError when there is none."""
    cards = find_cards()
    if not cards:
        raise EngineError(
            "no NVIDIA card is found here (nvidia-smi shows none); "
            "name the card to build for, such as --gpu sm_89"
        )
    return cards[0]
