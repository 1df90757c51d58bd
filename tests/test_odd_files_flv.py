"""Joined FLVs: a warning says what FFmpeg's reader leaves out, and how to enhance that part."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support.odd import ffmpeg

from streamkind.video.source import open_source

RECORDINGS = {
    "avc": "-c:v libx264 -bf 2 -an",
    "avc aac": "-c:v libx264 -c:a aac -ar 44100",
    "h263": "-c:v flv -an",
    "h263 aac": "-c:v flv -c:a aac -ar 44100",
    "h263 mp3": "-c:v flv -c:a mp3 -ar 44100",
}
"""Options of ffmpeg for each recording, by the codecs of its video and sound."""
HEADER = 13
FRAMES = 50


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("flv")
    made = ["-f", "lavfi", "-i", "testsrc2=s=96x64:r=25:d=2", "-f", "lavfi", "-i", "sine=440:d=2"]
    paths = {name: folder / f"{name}.flv" for name in RECORDINGS}
    for name, path in paths.items():
        ffmpeg(*made, "-pix_fmt", "yuv420p", *RECORDINGS[name].split(), path)
    return paths


def tags(path: Path, *, later_by_ms: int) -> bytes:
    """Return the tags of video and sound of an FLV, with later time stamps."""
    data, place, moved = path.read_bytes(), HEADER, bytearray()
    while place < len(data):
        end = place + 15 + int.from_bytes(data[place + 1 : place + 4])
        tag = bytearray(data[place:end])
        tag[4:7] = (int.from_bytes(tag[4:7]) + later_by_ms).to_bytes(3)
        moved += tag if tag[0] in (8, 9) else b""
        place = end
    return bytes(moved)


def read(path: Path) -> tuple[int, list[str]]:
    with open_source(path) as source:
        frames = len(list(source))
    return frames, [line for line in source.warnings if "recording" in line]


def run_advice(line: str, path: Path) -> Path:
    """Run the command of the warning, which writes the rest of the file; return its path."""
    (command,) = re.findall(r"\(head .*flv", line) or re.findall(r"tail [^)]*", line)
    rest = path.with_name("REST.flv")
    whole = command.replace("FILE", path.name) + ("" if "REST" in command else " > REST.flv")
    subprocess.run(whole, shell=True, check=True, cwd=path.parent)
    return rest


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("avc", "avc", ""),
        ("avc", "h263", "video"),
        ("h263", "avc", "video"),
        ("avc aac", "h263 mp3", "video sound"),
        ("h263 mp3", "avc aac", "video sound"),
        ("avc aac", "h263 aac", "video"),
        ("h263 aac", "h263 mp3", "sound"),
    ],
)
def test_a_codec_that_changes_is_told(
    first: str, second: str, told: str, recordings: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "in.flv"
    path.write_bytes(recordings[first].read_bytes() + tags(recordings[second], later_by_ms=2000))
    frames, lines = read(path)
    assert frames == (FRAMES if "video" in told else 2 * FRAMES)
    assert [kind for kind in told.split() if f"codec of the {kind} changes at 2" in str(lines)] == (
        told.split()
    )
    assert len(lines) == len(told.split())
    if "video" in told:
        assert f" {FRAMES} frames of another codec" in lines[0]
        assert read(run_advice(lines[0], path)) == (FRAMES, [])


@pytest.mark.parametrize(("first", "second"), [("avc", "avc"), ("avc aac", "h263 mp3")])
def test_a_file_behind_another_is_told(
    first: str, second: str, recordings: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "in.flv"
    path.write_bytes(recordings[first].read_bytes() + recordings[second].read_bytes())
    frames, (line,) = read(path)
    assert frames == FRAMES
    assert read(run_advice(line, path)) == (FRAMES, [])


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_whole_file_gets_no_line(name: str, recordings: dict[str, Path]) -> None:
    assert read(recordings[name]) == (FRAMES, [])
