"""Files that were cut off: one warning says so if the format shows it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.odd import ffmpeg, make_base

from streamkind.errors import InputError
from streamkind.video.cut_off import is_cut_off
from streamkind.video.decode import Decoder
from streamkind.video.demux import open_input
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
"""Options of ffmpeg for formats that state the length of the whole file."""
TOLD = {
    "a.asf": "-c:v mpeg4 -c:a mp3",
    "a.dv": "-s 720x576 -c:v dvvideo -c:a pcm_s16le",
    "a.m2ts": "-c:a ac3",
    "a.mjpeg": "-an -c:v mjpeg -pix_fmt yuvj420p",
    "a.mpg": "-c:v mpeg2video -c:a mp2",
    "a.nut": "",
    "a.ogv": "-c:v libtheora -c:a libvorbis",
    "a.rm": "-c:v rv10 -s 176x144 -c:a ac3",
    "a.swf": "-c:v flv -c:a mp3 -ar 44100",
    "a.ts": "",
    "a.vob": "-c:v mpeg2video -c:a ac3",
    "a.wmv": "-c:v wmv2 -c:a wmav2 -b:a 64k",
    "fragments.mp4": "-movflags frag_keyframe+empty_moov",
    "live.flv": "-ar 44100 -flvflags no_duration_filesize",
    "live.mkv": "-live 1 -f matroska",
    "mpeg1.mpg": "-c:v mpeg1video -c:a mp2",
}
"""The same for formats that show only that the end is missing."""
REFUSED = {
    "a.mov": ("-c:a pcm_s16le", "its recording was probably cut off"),
    "a.mp4": ("", "its recording was probably cut off"),
    "a.wtv": ("-c:a ac3", "a WTV that is damaged or cut off"),
}
SILENT = {
    "a.h264": "-an",
    "a.m2v": "-an -c:v mpeg2video",
    "a.obu": "-an -c:v libaom-av1 -cpu-used 8",
}
"""The same for formats without a mark of the end, for which there is no warning."""


def told(path: Path) -> tuple[int, int, list[str]]:
    """Return the numbers of frames and of lost frames, and the warnings about a cut."""
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
    frames, lost, lines = told(cut(path, 0.613))
    assert 20 < frames < 70
    assert len(lines) == (name not in SILENT)
    assert (abs(lost + frames - 25 * SECONDS) <= 3) if name in COUNTED else not lost


UNITS = {
    "420.y4m": "-pix_fmt yuv420p",
    "411.y4m": "-pix_fmt yuv411p",
    "deep.y4m": "-s 64x49 -pix_fmt yuv422p10le -strict -1",
    "gray.y4m": "-pix_fmt gray",
    "ntsc.dv": "-s 720x480 -r 30000/1001 -pix_fmt yuv411p -c:v dvvideo",
    "pal.dv": "-s 720x576 -c:v dvvideo",
}
"""Options of ffmpeg for formats whose units all have the same size."""


@pytest.mark.parametrize("name", UNITS)
def test_a_file_of_equal_units_is_cut_off_if_the_last_is_not_whole(
    name: str, tmp_path: Path
) -> None:
    path, kind = tmp_path / name, "dv" if name.endswith("dv") else "yuv4mpegpipe"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=63x49:r=25:d=0.4", *UNITS[name].split(), path)
    assert not is_cut_off(path, kind)
    data = path.read_bytes()
    for left_out in (1, 999):
        path.write_bytes(data[:-left_out])
        assert is_cut_off(path, kind)


def test_a_recording_of_dahua_is_cut_off_within_its_last_frame(tmp_path: Path) -> None:
    frames = [bytes([n]) * size for n, size in enumerate((3000, 70, 900))]
    path = tmp_path / "a.dav"
    path.write_bytes(whole := b"".join(map(dahua, frames)))
    assert not is_cut_off(path, "dhav")
    path.write_bytes(whole[:-500])
    assert is_cut_off(path, "dhav")
    path.write_bytes(whole + bytes(4000))  # padded
    assert not is_cut_off(path, "dhav")


def dahua(payload: bytes) -> bytes:
    """Return a frame of a .dav. Its header (24 bytes) and trailer (8 bytes) state its length."""
    size = (len(payload) + 32).to_bytes(4, "little")
    return b"DHAV\xfd\0\0\0" + bytes(4) + size + bytes(8) + payload + b"dhav" + size


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_without_its_index_is_refused(name: str, tmp_path: Path) -> None:
    words, says = REFUSED[name]
    path = make_base(tmp_path / name, seconds=1, words=words)
    with pytest.raises(InputError, match=says):
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


DELAYED = {
    "h264.flv": "-c:v libx264 -bf 2",
    "h264.mp4": "-c:v libx264 -bf 2 -movflags frag_keyframe+empty_moov",
    "h264.ts": "-c:v libx264 -bf 2",
    "hevc.mp4": "-c:v libx265 -x265-params log-level=none -movflags frag_keyframe+empty_moov",
    "mpeg2.mp4": "-c:v mpeg2video -bf 2 -movflags frag_keyframe+empty_moov",
    "mpeg4.mkv": "-c:v mpeg4 -bf 2",
    "vp9.mkv": "-c:v libvpx-vp9 -cpu-used 8",
}
"""Options of ffmpeg for videos whose decoder still holds frames after the last packet."""


def decoded(path: Path, threads: int) -> tuple[int, int, list[str]]:
    """Decode with some threads; return the numbers of different and failed frames, and notes."""
    with open_input(path) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        decoder = Decoder(container, stream, path)
        stamps = {frame.pts for frame in decoder}
        return len(stamps), decoder.failed, decoder.notes(decoder.failed, 0)


def make_delayed(path: Path) -> Path:
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x128:r=25:d=2", *DELAYED[path.name].split(), path)
    return path


@pytest.mark.parametrize("share", [0.7, 0.97, 1])
@pytest.mark.parametrize("name", DELAYED)
def test_the_frames_before_a_cut_do_not_depend_on_threads(
    name: str, share: float, tmp_path: Path
) -> None:
    path = cut(make_delayed(tmp_path / name), share)
    one, *others = [decoded(path, threads)[:2] for threads in (1, 2, 3, 8)]
    assert others == [one] * 3 and not one[1]


@pytest.mark.parametrize("before_the_end", [1, 2, 5])
@pytest.mark.parametrize("name", DELAYED)
def test_frames_beside_a_damaged_packet_do_not_depend_on_threads(
    name: str, before_the_end: int, tmp_path: Path
) -> None:
    path = make_delayed(tmp_path / name)
    with open_input(path) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    damaged = packets[-before_the_end]
    data = path.read_bytes()
    begin = data.index(bytes(damaged)[:24]) if name != "h264.ts" else damaged.pos + 40
    path.write_bytes(data[:begin] + b"\xff" * 24 + data[begin + 24 :])
    one, *others = [decoded(path, threads)[:2] for threads in (1, 2, 3, 8)]
    assert others == [one] * 3 and sum(one) >= 45
