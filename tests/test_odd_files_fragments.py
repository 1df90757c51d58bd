"""Fragmented MP4s joined by `cat`: all frames come out in order, or losses are reported."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support.odd import ffmpeg, pass_through, times

from streamkind.errors import InputError
from streamkind.video.source import open_source

CODED = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -threads 1"
FLAGS = {
    "beside the fragment": "frag_keyframe+empty_moov+default_base_moof",
    "places in the file": "frag_keyframe+empty_moov",
    "a track in each fragment": "frag_keyframe+empty_moov+separate_moof",
    "times that go on": "frag_keyframe+empty_moov+default_base_moof",
}
COLOURS = "red", "green", "blue"
FRAMES = 50


def recording(
    path: Path, colour: str, flags: str, *, words: str = CODED, begin: float = 0
) -> bytes:
    made = f"-f lavfi -i color={colour}:s=96x64:r=25:d=2 -f lavfi -i sine=440:d=2"
    shifted = f"-output_ts_offset {begin}" if begin else ""
    ffmpeg(*f"{made} {words} -bf 2 -c:a aac {shifted} -movflags {flags}".split(), path)
    return path.read_bytes()


def colours(path: Path, **options: float) -> tuple[str, list[float], list[str]]:
    """Return the colour of each frame (r, g, b), the times, and warnings of lost recordings."""
    with open_source(path, **options) as source:
        frames = [(int(f.data.mean((0, 1)).argmax()), f.time) for f in source]
    names = "".join("rgb"[number] for number, _ in frames)
    lines = [line for line in source.warnings if "recording" in line or "lost" in line]
    return names, [float(time) for _, time in frames], lines


@pytest.mark.parametrize("name", FLAGS)
def test_joined_recordings_follow_each_other(name: str, tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    goes_on = "go on" in name
    parts = [
        recording(tmp_path / f"{i}.mp4", colour, FLAGS[name], begin=2.2 * i * goes_on)
        for i, colour in enumerate(COLOURS)
    ]
    path.write_bytes(b"".join(parts))
    names, stamps, lines = colours(path)
    assert names == "r" * FRAMES + "g" * FRAMES + "b" * FRAMES
    assert not lines
    steps = np.diff(stamps)
    assert steps.min() > 0.03 and steps.max() < (0.5 if goes_on else 0.2)
    pass_through(path, tmp_path / "out.mp4")
    sound = times(tmp_path / "out.mp4", "a")
    assert len(times(tmp_path / "out.mp4", "v")) == 3 * FRAMES
    assert abs(sound[-1] - stamps[-1]) < 0.3
    assert min(b - a for a, b in pairwise(sound)) > 0


def test_a_part_begins_in_a_later_recording(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    parts = [recording(tmp_path / f"{c}.mp4", c, FLAGS["places in the file"]) for c in COLOURS]
    path.write_bytes(b"".join(parts))
    names, _, _ = colours(path, start=4.5, duration=0.4)
    assert names == "b" * 10


@pytest.mark.parametrize("before", [1, 2])
def test_a_recording_of_another_coding_is_left_out_and_told(before: int, tmp_path: Path) -> None:
    path, flags = tmp_path / "in.mp4", FLAGS["places in the file"]
    parts = [recording(tmp_path / f"{i}.mp4", COLOURS[i], flags) for i in range(before)]
    other = recording(tmp_path / "other.mp4", "blue", flags, words="-c:v mpeg4")
    path.write_bytes(b"".join([*parts, other]))
    names, _, (line,) = colours(path)
    assert names == "".join(c[0] * FRAMES for c in COLOURS[:before])
    begin = int(re.findall(r"byte (\d+)", line)[0])
    assert path.read_bytes()[begin:] == other


def test_a_recording_of_too_many_fragments_is_left_out_and_told(tmp_path: Path) -> None:
    """Check it with empty boxes before its fragments."""
    path, flags = tmp_path / "in.mp4", FLAGS["beside the fragment"]
    first, second = (recording(tmp_path / f"{i}.mp4", COLOURS[i], flags) for i in range(2))
    begin = second.index(b"moof") - 4
    path.write_bytes(first + second[:begin] + b"\0\0\0\x08free" * 10_000 + second[begin:])
    names, _, (line,) = colours(path)
    assert names == "r" * FRAMES
    assert f"another recording begins at byte {len(first)}" in line


@pytest.mark.parametrize("at", range(40, 1400, 45))
def test_a_damaged_second_recording_ends_in_no_trace(at: int, tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    first = recording(tmp_path / "0.mp4", "red", FLAGS["beside the fragment"])
    second = bytearray(first)
    second[at : at + 6] = b"\xff\0\xff\0\xff\xff"
    path.write_bytes(first + second)
    try:
        names, _, _ = colours(path)
    except InputError:  # FFmpeg reads the first fragments of both, and refuses some files
        return
    assert names.startswith("r" * FRAMES)
