"""Makes odd files with Debian's ffmpeg, copies them, and reads their streams with ffprobe."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from streamkind.video.sink import open_sink
from streamkind.video.source import open_source


def ffmpeg(*words: object) -> None:
    """Run ffmpeg. It overwrites existing files."""
    command = ["ffmpeg", "-v", "error", "-y", "-nostdin", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def make_base(path: Path, *, sound: str = "aac", seconds: float = 2, words: str = "") -> Path:
    """Write a moving test picture, 64x48 at 25 frames per second, with a stereo tone."""
    made = ["-f", "lavfi", "-i", f"testsrc=s=64x48:r=25:d={seconds}", "-f", "lavfi", "-i"]
    made += [f"sine=440:r=48000:d={seconds},aformat=channel_layouts=stereo"]
    video = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "12", "-pix_fmt", "yuv420p"]
    sounds = ["-c:a", sound, "-strict", "-2"]
    ffmpeg(*made, *video, "-threads", 1, *sounds, *words.split(), path)
    return path


def copy_of(path: Path, output: Path) -> Path:
    """Return the result of `ffmpeg -c copy` for a file."""
    ffmpeg("-i", path, "-map", "0", "-c", "copy", output)
    return output


def probe(path: Path) -> dict[str, Any]:
    """Return streams, format and chapters of a file, as ffprobe prints them in JSON."""
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format"]
    done = subprocess.run([*command, "-show_chapters", str(path)], capture_output=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def times(path: Path, kind: str) -> list[float]:
    """Return the sorted pts of the packets of the first stream of a kind (v, a, s), in seconds."""
    command = ["ffprobe", "-v", "error", "-select_streams", f"{kind}:0", "-of", "json"]
    done = subprocess.run(
        [*command, "-show_entries", "packet=pts_time", str(path)], capture_output=True, check=True
    )
    packets = json.loads(done.stdout)["packets"]
    return sorted(float(packet["pts_time"]) for packet in packets if "pts_time" in packet)


def pass_through(path: Path, output: Path, **options: Any) -> tuple[list[str], list[str]]:
    """Copy all frames without change; return the warnings of source and sink."""
    codec, preset = options.pop("codec", "h264"), options.pop("preset", "ultrafast")
    with (
        open_source(path, **options) as source,
        open_sink(output, source, codec=codec, preset=preset) as sink,
    ):
        for frame in source:
            sink.write(frame)
    return source.warnings, sink.warnings


def first_and_last(path: Path, kind: str) -> tuple[int, float, float]:
    """Return the number of packets, and the first and the last pts in seconds."""
    found = times(path, kind)
    return len(found), found[0], found[-1]
