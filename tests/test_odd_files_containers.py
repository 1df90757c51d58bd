"""Streams that each container can hold: they are copied, converted, or reported in advance."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from parts import files
from support.media import make_clip, read_tracks
from support.odd import ffmpeg, make_base, pass_through, probe, times
from support.tools import ROOT

from streamkind.errors import OutputError, UsageError
from streamkind.video.boxes import private_boxes

PAGE = (ROOT / "docs" / "files.md").read_text()
OFTEN = ("mp4", "mkv")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return files.make_inputs(tmp_path_factory.mktemp("inputs"))


def row(name: str) -> dict[str, str]:
    """Return what docs/files.md says about a kind of sound or subtitles, by container."""
    lines = [line for line in PAGE.splitlines() if line.startswith(f"| {name} |")]
    return dict(zip(files.KINDS, lines[0].strip("| ").split(" | ")[1:], strict=True))


@pytest.mark.parametrize(
    "kind",
    [k if k in OFTEN else pytest.param(k, marks=pytest.mark.slow) for k in files.KINDS],
)
def test_the_page_says_what_happens(kind: str, inputs: dict[str, Path], tmp_path: Path) -> None:
    found = {name: files.outcome(path, kind, tmp_path) for name, path in inputs.items()}
    assert found == {name: row(name)[kind] for name in inputs}
    assert all(word == "-" or word.islower() for word in found.values())
    assert all(found[name] != "-" for name in files.SOUNDS)


def test_all_sound_goes_into_matroska_as_it_is(inputs: dict[str, Path]) -> None:
    assert {row(name)["mkv"] for name in files.SOUNDS} == {"yes"}


def sound_of(path: Path) -> list[str]:
    return [s["codec_name"] for s in probe(path)["streams"] if s["codec_type"] == "audio"]


def test_converted_sound_stays_in_step(tmp_path: Path) -> None:
    """Check that a click at 1.0 s stays 1.0 s after the first picture."""
    click = "aevalsrc='lt(abs(t-1),0.005)*0.9|lt(abs(t-1),0.005)*0.9:s=48000:d=2'"
    path = tmp_path / "a.mkv"
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=2", "-f", "lavfi", "-i", click,
           "-c:v", "libx264", "-c:a", "pcm_s16le", path)  # fmt: skip
    for suffix in ("mp4", "webm", "ts"):
        output = tmp_path / f"out.{suffix}"
        pass_through(path, output, codec="vp9" if suffix == "webm" else "h264", preset=None)
        with av.open(str(output)) as container:
            frames = [
                (float(f.pts * f.time_base), f.to_ndarray()) for f in container.decode(audio=0)
            ]
        start, loudest = max(frames, key=lambda frame: np.abs(frame[1]).max())
        place = np.abs(loudest[0]).argmax() / 48_000
        begin = times(output, "v")[0]
        assert start + place - begin == pytest.approx(1, abs=0.015)


@pytest.mark.parametrize(
    "words, suffix, channels",
    [
        ("pcm_s16be -ac 2 -ar 32000", "mkv", 2),
        ("pcm_s24le -ac 6 -ar 96000", "mp4", 6),
        ("pcm_s16le -ac 3", "mp4", 3),
        ("pcm_s16le -ac 8", "webm", 2),
        ("pcm_s16le -ac 8", "mp4", 8),
        ("pcm_u8 -ac 1 -ar 11025", "ts", 1),
        ("pcm_s16le -ac 1 -ar 4000", "mp4", 1),
    ],
)
def test_sound_of_any_rate_and_channels(
    words: str, suffix: str, channels: int, tmp_path: Path
) -> None:
    path, output = tmp_path / "a.mov", tmp_path / f"out.{suffix}"
    make_base(path, seconds=1, words=f"-c:a {words}")
    _, warnings = pass_through(
        path, output, codec="vp9" if suffix == "webm" else "h264", preset=None
    )
    with av.open(str(output)) as container:
        sound = container.streams.audio[0]
        length = sum(frame.samples for frame in container.decode(sound)) / sound.sample_rate
        assert (sound.channels, length) == (channels, pytest.approx(1, abs=0.15))
    assert len(warnings) == (suffix != "mkv")
    assert all((" in stereo" in warning) == (suffix == "webm") for warning in warnings)


def test_amr_of_a_phone_becomes_aac_in_mp4(tmp_path: Path) -> None:
    path = tmp_path / "a.3gp"
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height = 64, 48
        sound = output.add_stream("libopencore_amrnb", rate=8000)
        sound.codec_context.layout, sound.codec_context.bit_rate = "mono", 12_200
        for number in range(25):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(video.encode(frame))
        for number in range(50):
            piece = av.AudioFrame.from_ndarray(np.zeros((1, 160), np.int16), "s16", "mono")
            piece.sample_rate, piece.pts = 8000, 160 * number
            output.mux(sound.encode(piece))
        output.mux(video.encode(None))
        output.mux(sound.encode(None))
    _, warnings = pass_through(path, tmp_path / "out.mp4")
    assert sound_of(tmp_path / "out.mp4") == ["aac"]
    assert len(warnings) == 1 and "amr" in warnings[0] and "converted to AAC" in warnings[0]
    assert pass_through(path, tmp_path / "out.3gp")[1] == []


def test_sound_that_begins_late_is_copied(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base.mp4", seconds=1)
    long = make_base(tmp_path / "long.mp4", seconds=12)
    path = tmp_path / "a.ts"
    ffmpeg("-i", long, "-itsoffset", 10, "-i", base, "-map", "0:v", "-map", "1:a", "-c", "copy",
           path)  # fmt: skip
    assert pass_through(path, tmp_path / "out.mp4")[1] == []
    assert sound_of(tmp_path / "out.mp4") == ["aac"]
    lead = times(tmp_path / "out.mp4", "a")[0] - times(tmp_path / "out.mp4", "v")[0]
    assert lead == pytest.approx(10, abs=0.1)


@pytest.mark.parametrize("before, after", [("mp4", "mkv"), ("mkv", "mp4"), ("mkv", "webm")])
def test_converted_subtitles_say_the_same_at_the_same_time(
    before: str, after: str, tmp_path: Path
) -> None:
    text, path = tmp_path / "a.srt", tmp_path / f"a.{before}"
    text.write_text(
        "1\n00:00:00,100 --> 00:00:00,900\n<i>Nacht</i>\nund Nebel\n\n"
        "2\n00:00:01,000 --> 00:00:01,500\né 夜\n"
    )
    codec = {"mp4": "mov_text", "mkv": "subrip"}[before]
    base = make_base(tmp_path / "base.mkv")
    ffmpeg("-i", base, "-i", text, "-map", 0, "-map", 1, "-c", "copy", "-c:s", codec, path)
    output, back = tmp_path / f"out.{after}", tmp_path / "back.srt"
    pass_through(path, output, codec="vp9" if after == "webm" else "h264", preset=None)
    ffmpeg("-i", output, back)
    told = back.read_text()
    shown = [time for time in times(output, "s") if time]  # MP4 also has packets for gaps
    assert min(abs(time - 0.1) for time in shown) < 0.01
    assert min(abs(time - 1.0) for time in shown) < 0.01
    assert "Nacht" in told and "und Nebel" in told and "<i>" in told and "é 夜" in told


def test_subtitles_that_ffmpeg_does_not_know_are_reported(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mkv", time_base=Fraction(1, 1000), subtitles="subrip")
    path.write_bytes(path.read_bytes().replace(b"S_TEXT/UTF8", b"S_TEXT/UTFX"))
    for suffix in ("mp4", "mkv"):
        _, (warning,) = pass_through(path, tmp_path / f"out.{suffix}")
        assert "stream #1" in warning and "left out" in warning and "does not know" in warning


def camera_data(path: Path, mark: bytes) -> Path:
    """Write an MP4 with a data track whose four-character code is `mark`."""
    clip = make_clip(path.with_name("clip.mp4"))
    with av.open(str(clip)) as source, av.open(str(path), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0], opaque=True)
        data = output.add_mux_stream("bin_data", time_base=Fraction(1, 1000))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                output.mux(packet)
        for number in range(4):
            packet = av.Packet(b"DEVC" + bytes(20))
            packet.stream, packet.time_base = data, Fraction(1, 1000)
            packet.pts = packet.dts = 100 * number
            packet.duration = 100
            output.mux(packet)
    written = path.read_bytes().replace(b"gpmd", mark)
    if mark == b"fdsc":  # the packets of this track have no durations, so FFmpeg skips it
        at = written.rindex(b"stts") + 16
        written = written[:at] + bytes(4) + written[at + 4 :]
    path.write_bytes(written)
    return path


@pytest.mark.parametrize(
    "mark, suffix, kept",
    [(b"gpmd", "mp4", 4), (b"gpmd", "mov", 4), (b"gpmd", "mkv", 0), (b"camm", "mp4", 0),
     (b"fdsc", "mp4", 0),
     (b"mett", "mp4", 0), (b"mett", "ts", 0)],
)  # fmt: skip
def test_private_data_of_a_camera_is_copied_or_reported(
    mark: bytes, suffix: str, kept: int, tmp_path: Path
) -> None:
    path, output = camera_data(tmp_path / "a.mp4", mark), tmp_path / f"out.{suffix}"
    _, warnings = pass_through(path, output)
    assert sum(len(track.packets) for track in read_tracks(output)) == kept
    assert len(warnings) == (kept == 0)
    assert kept or ("stream #1 (data" in warnings[0] and "keep the input" in warnings[0])


def box(name: bytes, content: bytes) -> bytes:
    return (8 + len(content)).to_bytes(4, "big") + name + content


GOOGLE_SPHERICAL = bytes.fromhex("ffcc8263f8554a938814587a02521fdd")
"""UUID of the MP4 box of spherical metadata, version 1, by Google."""


def spherical(path: Path, stereo: str) -> Path:
    """Mark the video of an MP4 as spherical, as a 360-degree camera does."""
    fields = {"Spherical": "true", "Stitched": "true", "ProjectionType": "equirectangular"}
    fields |= {"StitchingSoftware": "none", "StereoMode": stereo}
    told = "".join(f"<GSpherical:{k}>{v}</GSpherical:{k}>" for k, v in fields.items())
    added = box(b"uuid", GOOGLE_SPHERICAL + f"<rdf:SphericalVideo>{told}".encode())
    data = bytearray(path.read_bytes())
    moov, trak = data.rindex(b"moov") - 4, data.rindex(b"trak") - 4
    end = trak + int.from_bytes(data[trak : trak + 4], "big")
    for place in (moov, trak):
        size = int.from_bytes(data[place : place + 4], "big") + len(added)
        data[place : place + 4] = size.to_bytes(4, "big")
    data[end:end] = added
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "stereo, words", [("mono", ["spherical"]), ("top-bottom", ["spherical", "stereoscopic"])]
)
def test_marks_of_spherical_and_stereoscopic_cameras_are_reported(
    stereo: str, words: list[str], tmp_path: Path
) -> None:
    path = spherical(make_base(tmp_path / "a.mp4", seconds=0.4, words="-an"), stereo)
    warnings, _ = pass_through(path, tmp_path / "out.mp4")
    told = [line for line in warnings if "not marked" in line]
    assert len(told) == len(words) and all(w in line for w, line in zip(words, told, strict=True))


@pytest.mark.parametrize(
    "tail, names",
    [
        (box(b"free", box(b"gps ", b"[1]$GPRMC,,,,,,,,,,,,*4B" * 9) + box(b"3gf ", bytes(99))),
         ["gps ", "3gf "]),
        (box(b"gps ", bytes(64)), ["gps "]),
        (box(b"free", bytes(5000)), []),
        (box(b"free", b"created by a camera of no name, on a day" * 9), []),
        (box(b"free", b""), []),
        (b"\xff" * 100, []),
        (b"\0\0\0\1gps \xff\xff\xff\xff\xff\xff\xff\xff", []),
    ],
)  # fmt: skip
def test_boxes_beside_the_streams_are_reported(tail: bytes, names: list[str], clip: Path) -> None:
    with clip.open("ab") as file:
        file.write(tail)
    assert private_boxes(clip) == names
    _, warnings = pass_through(clip, clip.with_name("out.mp4"))
    assert len(warnings) == bool(names)
    assert all(f"'{name}'" in warnings[0] for name in names)


@pytest.mark.parametrize("suffix", ["m3u8", "mpd"])
def test_playlists_are_refused_and_leave_nothing(suffix: str, clip: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(
        UsageError, match=r"consists of many files; expected a name ending in \.mp4"
    ):
        pass_through(clip, tmp_path / f"out.{suffix}")
    assert sorted(tmp_path.iterdir()) == before
    assert not Path("<none>").exists()


def test_chapters_stay_beside_sound_of_cctv(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mov", audio="pcm_alaw", chapters=True)
    _, (warning,) = pass_through(path, tmp_path / "out.mkv")
    assert sound_of(tmp_path / "out.mkv") == ["pcm_s16le"] and "to PCM" in warning
    assert len(probe(tmp_path / "out.mkv")["chapters"]) == 2


@pytest.mark.parametrize("name", ["100%d %%.mkv", "夜 : a'b.mkv"])
def test_any_name_goes_with_sound_of_cctv(name: str, tmp_path: Path) -> None:
    path = make_base(tmp_path / "a.avi", sound="pcm_mulaw", words="-ar 8000 -ac 1")
    assert pass_through(path, tmp_path / name)[1] == []
    assert sound_of(tmp_path / name) == ["pcm_mulaw"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["a.avi", name])


def test_a_second_sound_that_flv_cannot_hold_is_reported(tmp_path: Path) -> None:
    base, path = make_base(tmp_path / "base.mp4"), tmp_path / "a.mkv"
    ffmpeg("-i", base, "-map", "0:v", "-map", "0:a", "-map", "0:a", "-c", "copy", path)
    _, (warning,) = pass_through(path, tmp_path / "out.flv")
    assert "stream #2 (audio aac) is left out" in warning
    assert sound_of(tmp_path / "out.flv") == ["aac"]


@pytest.mark.parametrize(
    "name, words", [("a.avi", "-c:a pcm_mulaw -ar 8000 -ac 1"), ("a.wmv", "-c:a wmav2 -b:a 64k")]
)
def test_batch_keeps_the_sound(name: str, words: str, tmp_path: Path, call) -> None:
    (tmp_path / "in").mkdir()
    make_base(tmp_path / "in" / name, seconds=0.4, words=words)
    code, _, err = call(
        "batch", tmp_path / "in", "--out", tmp_path / "out", "--profile", "realtime"
    )
    assert code == 0, err
    assert sound_of(tmp_path / "out" / "a.mkv") == [words.split()[1]]
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", tmp_path / "out" / "a.mkv", "-f", "null", "-"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr


@pytest.mark.parametrize("suffix", ["f4v", "ismv", "m4a"])
def test_relatives_of_mp4_keep_the_sound(suffix: str, tmp_path: Path) -> None:
    clip, output = make_base(tmp_path / "in.mp4"), tmp_path / f"out.{suffix}"
    assert pass_through(clip, output)[1] == []
    assert sound_of(output) == ["aac"]
    assert len(times(output, "a")) == len(times(clip, "a"))


@pytest.mark.parametrize("sound, kept", [("ac3", "ac3"), ("mp2", "mp2"), ("aac", "mp2")])
def test_recorded_television_keeps_the_sound(sound: str, kept: str, tmp_path: Path) -> None:
    clip, output = make_base(tmp_path / "in.ts", sound=sound), tmp_path / "out.wtv"
    warnings = pass_through(clip, output)[1]
    assert [("converted to MP2" in line) for line in warnings] == [True] * (sound != kept)
    assert sound_of(output) == [kept]
    again = tmp_path / "again.mkv"
    pass_through(output, again)
    assert len(times(again, "v")) == 50 and sound_of(again) == [kept]
    assert abs(times(again, "a")[-1] - times(again, "v")[-1]) < 0.1


def test_pcm_of_broadcasts_is_copied_into_a_transport_stream(tmp_path: Path) -> None:
    path = make_base(tmp_path / "in.ts", sound="s302m")
    assert pass_through(path, tmp_path / "out.ts")[1] == []
    assert sound_of(tmp_path / "out.ts") == ["s302m"]
    for suffix in ("mp4", "mkv"):  # Matroska cannot hold it either, so it is not recommended
        (told,) = pass_through(path, tmp_path / f"out.{suffix}")[1]
        assert "converted" in told and "keeps it as it is" not in told


@pytest.mark.parametrize("suffix", ["ogg", "swf", "gxf", "psp"])
def test_a_format_that_refuses_the_video_does_not_blame_the_disk(
    suffix: str, clip: Path, tmp_path: Path
) -> None:
    output = tmp_path / f"out.{suffix}"
    with pytest.raises(OutputError, match=r"the format \w+ does not take .*\.mp4 or \.mkv"):
        pass_through(clip, output)
    assert list(tmp_path.glob(".out*")) == [] and not output.exists()
