"""Measures the peak memory of each profile, and of short and long clips."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from parts.record import Measured, Table
from streamkind.engine.profiles import PROFILES, ProfileName
from streamkind.measure.bench import make_clip

CLIPS = {
    "1920x1080, 2 s": ((1920, 1080), 60, tuple(PROFILES)),
    "1280x720, 5 s": ((1280, 720), 150, ("balanced",)),
    "1280x720, 30 s": ((1280, 720), 900, ("balanced",)),
}
"""Clip of a moving texture -> width and height, number of frames at 30 per second, profiles."""
PEAK = """
from pathlib import Path
from streamkind.cli import main
try:
    main()
except SystemExit as leave:
    if leave.code:
        raise
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""
"""Program that runs `streamkind`, and prints its peak resident memory (VmHWM) in KiB.

`ru_maxrss` is not used, because it includes the memory of the parent process at the start.
"""


def measure(data: Path, folder: Path) -> Measured:
    """Measure the peak memory of each clip and profile."""
    rows = [
        [clip, f"`{profile}`", peak_of_clip(size, frames, profile)]
        for clip, (size, frames, profiles) in CLIPS.items()
        for profile in profiles
    ]
    table = Table({"clip": "", "profile": "", "peak, MiB": ".0f"}, rows)
    return Measured({"peak": table}, profiles=tuple(PROFILES))


def peak_of_clip(size: tuple[int, int], frames: int, profile: ProfileName) -> float:
    """Return the peak memory of `enhance` on a clip of a size, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        clip, out = Path(folder, "clip.mp4"), Path(folder, "out.mp4")
        make_clip(clip, size, frames)
        return peak("enhance", str(clip), str(out), "--profile", profile)


def peak(*words: str) -> float:
    """Run `streamkind WORDS`; return its peak resident memory in MiB. Raises CalledProcessError."""
    line = [sys.executable, "-c", PEAK, *words]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]) / 1024
