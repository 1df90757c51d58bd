"""Parts of files without an index: they are exact, and found without reading the whole file."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.media import read_tracks
from support.odd import ffmpeg, pass_through, times

from streamkind.video import demux, pictures
from streamkind.video.source import open_source

SECONDS = 40
"""Length of each file, in seconds. Its first ten seconds are always read."""
X264 = "-c:v libx264 -preset veryfast -x264-params threads=1:scenecut=0"
CONSTANT = "-b:v 500k -minrate 500k -maxrate 500k -bufsize 250k"
WITH_SOUND = {
    "short.ts": f"{X264} -g 12 -bf 0 -c:a aac",
    "bframes.ts": f"{X264} -g 25 -bf 3 -c:a mp2",
    "open.ts": f"{X264}:open-gop=1 -g 25 -bf 3 -c:a ac3",
    "long.ts": f"{X264} -g 250 -bf 2 -c:a aac",
    "whole.ts": f"{X264} -g 9999 -bf 2 -c:a aac",
    "mpeg2.ts": "-c:v mpeg2video -g 15 -bf 2 -c:a mp2",
    "hevc.ts": "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1 -g 50 -c:a aac",
    "camera.m2ts": f"{X264} -g 25 -c:a ac3 -mpegts_m2ts_mode 1",
    "a.mpg": f"-c:v mpeg2video -g 12 -bf 2 {CONSTANT} -c:a mp2",
    "a.vob": f"-c:v mpeg2video -g 50 -bf 0 {CONSTANT} -c:a ac3 -f vob",
    "fields.ts": "-c:v mpeg2video -g 1 -flags +ildct+ilme -vf setfield=tff -c:a mp2",
}
RAW = {
    "short.h264": f"{X264} -g 12 -bf 0",
    "bframes.264": f"{X264} -g 25 -bf 3",
    "open.h264": f"{X264}:open-gop=1 -g 25 -bf 3",
    "a.h265": "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1:open-gop=0 -g 25",
    "open.h265": "-c:v libx265 -preset ultrafast -x265-params log-level=none:pools=1 -g 25 -bf 3",
    "open.m2v": "-c:v mpeg2video -g 12 -bf 2",
    "closed.m2v": "-c:v mpeg2video -g 12 -bf 2 -flags +cgop -sc_threshold 1000000000",
    "a.mjpeg": "-c:v mjpeg -pix_fmt yuvj420p",
}
INDEXED = {
    "a.avi": f"{X264} -g 25 -c:a mp3",
    "a.flv": f"{X264} -g 25 -bf 2 -c:a aac -ar 44100",
    "a.gif": "-an -vf scale=32:24",
    "a.mkv": f"{X264} -g 25 -bf 2 -c:a aac",
    "a.mp4": f"{X264}:open-gop=1 -g 25 -bf 3 -c:a aac",
    "a.mxf": "-c:v mpeg2video -g 12 -bf 2 -c:a pcm_s16le",
    "a.nut": f"{X264} -g 25 -bf 2 -c:a aac",
    "a.ogv": "-c:v libtheora -g 25 -c:a libvorbis",
    "a.rm": "-c:v rv10 -s 176x144 -g 25 -c:a ac3",
    "a.swf": "-c:v flv -g 25 -c:a mp3 -ar 44100",
    "a.wmv": "-c:v wmv2 -g 25 -c:a wmav2 -b:a 64k",
    "fragments.mp4": f"{X264} -g 25 -bf 2 -movflags frag_keyframe+empty_moov -c:a aac",
    "live.asf": "-c:v mpeg4 -g 25 -c:a mp3",
    "live.nut": f"{X264} -g 25 -bf 2 -c:a aac",
}
"""Options for files of five seconds. "live" files are written into a pipe, without an index."""
READ_WHOLE = {"whole.ts"}
"""Files with one keyframe, at the beginning, which must be decoded from there."""
DECODED_WHOLE = {"open.h264", "open.h265", "open.m2v"}
"""Streams whose frames cannot be counted without decoding them."""


PARTS = {
    "one after the other": ((0, 15), True),
    "a pause of two seconds": ((0, 17), True),
    "a gap of a minute": ((0, 75), False),
    "a gap of hours": ((0, 7000), False),
    "both from 0": ((0, 0), False),
    "set back by two hours": ((7000, 0), False),
    "set back by two seconds": ((0, 13), False),
    "back and forth": ((7000, 0, 20_000), False),
    "a wrap of the counter": ((95_435,), False),
    "a wrap at the beginning": ((95_440.9,), False),
}
"""Start times of the parts of a joined file, in seconds, and whether its clock is continuous."""


def footage(seconds: float, sound: bool = True) -> list[str]:
    """Return ffmpeg's options for inputs whose second half is still, so that the bit rate falls."""
    half = f"testsrc2=s=64x48:r=25:d={seconds / 2}"
    video = f"{half}[a];color=gray:s=64x48:r=25:d={seconds / 2}[b];[a][b]concat"
    tone = ["-f", "lavfi", "-i", f"sine=440:r=48000:d={seconds}"] if sound else []
    return ["-f", "lavfi", "-i", video, *tone, "-pix_fmt", "yuv420p"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of all files."""
    folder = tmp_path_factory.mktemp("files")
    for name, words in (WITH_SOUND | RAW).items():
        ffmpeg(*footage(SECONDS, name in WITH_SOUND), *words.split(), folder / name)
    ffmpeg(*footage(15), *WITH_SOUND["bframes.ts"].split(), folder / "part.mp4")
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Return a list to which the size of every packet that is read is added."""
    packets, kept = demux.PacketReader._read, []

    def counted(reader: demux.PacketReader, streams: Any) -> Iterator[Any]:
        for packet in packets(reader, streams):
            kept.append(packet.size)
            yield packet

    monkeypatch.setattr(demux.PacketReader, "_read", counted)
    return kept


def frames_of(path: Path, **part: float) -> list[tuple[float, bytes]]:
    with open_source(path, **part) as source:
        return [(float(frame.time), frame.data.tobytes()) for frame in source]


def same(found: list[tuple[float, bytes]], whole: list[tuple[float, bytes]], start: float) -> bool:
    """Return whether a part equals one second of the whole from `start` on."""
    begin = whole[0][0] + start
    inside = [(time - begin, data) for time, data in whole]
    wanted = [(time, data) for time, data in inside if -1e-5 < time < 1 - 1e-5]
    return [data for _, data in found] == [data for _, data in wanted] and np.allclose(
        [time for time, _ in found], [time for time, _ in wanted], atol=1e-4
    )


def check_part(
    path: Path, starts: list[float], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compare a part's pictures with the whole file's, and its sound with that of a full read."""
    whole = frames_of(path)
    for start in starts:
        assert same(frames_of(path, start=start, duration=1), whole, start)
        pass_through(path, folder / "sought.mkv", start=start, duration=1)
        with monkeypatch.context() as patch:
            patch.setattr(pictures, "find_place", lambda *_: None)
            pass_through(path, folder / "read.mkv", start=start, duration=1)
        sought, read = (read_tracks(folder / f"{name}.mkv") for name in ("sought", "read"))
        assert sought == read and (not sought or len(sought[0].packets) > 10)


def cost(path: Path, start: float, read: list[int]) -> tuple[int, int]:
    """Return how many packets are read, and how many are decoded, to find a position."""
    read.clear()
    with open_source(path, start=start, duration=0.2) as source:
        assert len(list(source)) == 5
    return len(read), source._pictures.decoder.sent


@pytest.mark.parametrize("name", [*WITH_SOUND, *RAW])
def test_a_part_is_what_the_whole_has(
    name: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_part(files / name, [12.5, 19.96, 36.0], tmp_path, monkeypatch)


@pytest.mark.parametrize("name", INDEXED)
def test_a_part_of_a_file_is_what_the_whole_has_whether_it_has_an_index_or_not(
    name: str, tmp_path: Path
) -> None:
    path, words = tmp_path / name, INDEXED[name].split()
    if name.startswith("live"):
        pipe = ["ffmpeg", "-v", "error", *footage(5), *words, "-f", path.suffix[1:], "-"]
        path.write_bytes(subprocess.run(pipe, capture_output=True, check=True).stdout)
    else:
        ffmpeg(*footage(5), *words, path)
    whole = frames_of(path)
    for start in (0.12, 1.88, 2.4, 3.96):
        assert same(frames_of(path, start=start, duration=1), whole, start)
    if "-an" not in words:
        pass_through(path, tmp_path / "out.mkv", start=0.12, duration=1)
        sound = times(tmp_path / "out.mkv", "a")
        assert sound[0] < 0.1 and sound[-1] > 0.9


@pytest.mark.parametrize("name", WITH_SOUND)
def test_a_part_is_found_without_reading_all_before_it(
    name: str, files: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sought = cost(files / name, 36, read)
    monkeypatch.setattr(pictures, "find_place", lambda *_: None)
    whole = cost(files / name, 36, read)
    if name in READ_WHOLE:
        assert sought[1] == whole[1]
    else:
        assert sought[0] < 0.8 * whole[0] and sought[1] <= whole[1]


@pytest.mark.parametrize("name", RAW)
def test_a_part_of_a_raw_stream_is_found_without_decoding_all_before_it(
    name: str, files: Path, read: list[int]
) -> None:
    sent = cost(files / name, 36, read)[1]
    assert (sent < 100) == (name not in DECODED_WHOLE)


@pytest.mark.parametrize("joint", PARTS)
def test_a_joined_file_is_read_from_its_beginning_if_its_clock_steps(
    joint: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts, steady = PARTS[joint]
    path, length = tmp_path / "joined.ts", 15 * len(starts)
    for start in starts:
        part = tmp_path / "part.ts"
        ffmpeg("-i", files / "part.mp4", "-c", "copy", "-output_ts_offset", start, part)
        with path.open("ab") as file:
            file.write(part.read_bytes())
    check_part(path, [length - 1.6], tmp_path, monkeypatch)
    with open_source(path, start=length - 2) as source:
        assert (source.place is not None) == steady


def test_a_raw_stream_that_begins_between_keyframes_is_decoded_whole(
    files: Path, tmp_path: Path
) -> None:
    data, path = (files / "short.h264").read_bytes(), tmp_path / "a.h264"
    path.write_bytes(data[: data.index(b"\0\0\1\x65")] + data[data.index(b"\0\0\1\x41") :])
    assert same(frames_of(path, start=12, duration=1), frames_of(path), 12)
