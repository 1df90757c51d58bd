"""Files that were cut off: one line says so where the file itself can tell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.odd import make_base

from streamkind.errors import InputError
from streamkind.video.source import open_source

SECONDS = 3
COUNTED = {
    "a.avi": "-c:v mjpeg -pix_fmt yuvj420p -c:a pcm_mulaw -ar 8000",
    "a.flv": "-ar 44100",
    "a.ivf": "-an -c:v libvpx",
    "a.mkv": "-c:v mpeg4",
    "a.mxf": "-c:v mpeg2video -c:a pcm_s16le",
    "a.webm": "-c:v libvpx -b:v 50k -c:a libvorbis",
    "first.mp4": "-movflags faststart",
}
"""Files that tell how long they were."""
TOLD = {
    "a.asf": "-c:v mpeg4 -c:a mp3",
    "a.m2ts": "-c:a ac3",
    "a.mjpeg": "-an -c:v mjpeg -pix_fmt yuvj420p",
    "a.nut": "",
    "a.ogv": "-c:v libtheora -c:a libvorbis",
    "a.ts": "",
    "a.wmv": "-c:v wmv2 -c:a wmav2 -b:a 64k",
    "fragments.mp4": "-movflags frag_keyframe+empty_moov",
    "live.flv": "-ar 44100 -flvflags no_duration_filesize",
}
"""Files that tell that they are not whole."""
REFUSED = {"a.mov": "-c:a pcm_s16le", "a.mp4": ""}
SILENT = {
    "a.h264": "-an",
    "a.m2v": "-an -c:v mpeg2video",
    "a.mpg": "-c:v mpeg2video -c:a mp2",
    "a.vob": "-c:v mpeg2video -c:a ac3",
}
"""Files that have no end of their own."""


def told(path: Path) -> tuple[int, int, list[str]]:
    """How many frames there are and were lost, and the lines about that."""
    with open_source(path) as source:
        frames = len(list(source))
    return frames, source.lost, [line for line in source.warnings if "cut off" in line]


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


@pytest.mark.parametrize("name", [*COUNTED, *TOLD, *SILENT])
def test_a_file_that_is_cut_off_is_said_to_be(name: str, tmp_path: Path) -> None:
    words = (COUNTED | TOLD | SILENT)[name]
    path = make_base(tmp_path / name, seconds=SECONDS, words=words)
    assert told(path) == (25 * SECONDS, 0, [])
    frames, lost, lines = told(cut(path, 0.6))
    assert 20 < frames < 65
    assert len(lines) == (name not in SILENT)
    assert (abs(lost + frames - 25 * SECONDS) <= 3) if name in COUNTED else not lost


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_without_its_index_is_refused(name: str, tmp_path: Path) -> None:
    path = make_base(tmp_path / name, seconds=1, words=REFUSED[name])
    with pytest.raises(InputError, match="its recording was probably cut off"):
        told(cut(path, 0.7))


@pytest.mark.parametrize("words", ["-f asf", "-f nut", "-f flv -ar 44100"])
def test_a_file_that_was_written_into_a_pipe_is_whole(words: str, tmp_path: Path) -> None:
    source, path = make_base(tmp_path / "a.mkv", seconds=0.4), tmp_path / "piped"
    command = ["ffmpeg", "-v", "error", "-i", source, "-c:v", "copy", *words.split(), "-"]
    path.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    assert told(path) == (10, 0, [])


@pytest.mark.parametrize("share", [0.97, 0.985])
def test_an_flv_that_ends_a_little_early_is_told_by_its_last_tag(
    share: float, tmp_path: Path
) -> None:
    path = make_base(tmp_path / "a.flv", seconds=2, words="-ar 44100")
    frames, lost, lines = told(cut(path, share))
    assert 40 < frames <= 50 and not lost and len(lines) == 1


def test_sound_that_outlasts_the_picture_is_no_loss(tmp_path: Path) -> None:
    words = "-ar 44100 -filter_complex [1:a]apad=pad_dur=3[a] -map 0:v -map [a]"
    path = make_base(tmp_path / "a.flv", seconds=1, words=words)
    assert told(path) == (25, 0, [])
