"""Batches of small dark clips, run in this process or by the command."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import av
import numpy as np

from streamkind.batch.jobs import JobRunner
from streamkind.engine.options import Options
from support.media import make_clip

QUICK = Options(preset="ultrafast")
ARGUMENTS = ["--preset", "ultrafast"]


def batch(*arguments, **options):
    command = [sys.executable, "-m", "streamkind", "batch", *map(str, arguments), *ARGUMENTS]
    return subprocess.run(command, capture_output=True, text=True, **options)


def run(jobs, **options):
    told = []
    results = JobRunner(jobs, progress=lambda p: told.append(p.told), **options).run()
    return results, "\n".join(told)


def digests(path):
    """Return the pts and the SHA-256 of the pixels of every decoded frame."""
    with av.open(str(path)) as container:
        return [
            (frame.pts, hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest())
            for frame in container.decode(video=0)
        ]


def night(path, frames=40, rate=10, **options):
    """Write a dark clip of moving blocks with noise and sound; return its path."""
    rng = np.random.default_rng(frames)
    light = np.kron(rng.integers(0, 60, (6, 24, 3)), np.ones((8, 8, 1))).astype(int)
    images = [
        np.clip(np.roll(light, i, axis=1)[:, :64] + rng.integers(-4, 4, (48, 64, 3)), 0, 255)
        for i in range(frames)
    ]
    images = [image.astype(np.uint8) for image in images]
    step = 12_800 // rate
    pts = [step * i + (i % 3) * 40 for i in range(frames)]  # a variable frame rate
    return make_clip(path, images=images, pts=pts, rate=rate, audio="aac", **options)


def left(folder):
    """Return the names of unfinished results and of temporary files of a batch in a folder."""
    names = (path.name for path in folder.rglob("*"))
    return [n for n in names if n.endswith((".job", ".json", ".nut")) or ".partial" in n]
