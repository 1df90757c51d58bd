from __future__ import annotations

import errno
import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from support.media import make_clip, number_of, read_tracks, read_video
from support.odd import ffmpeg, make_base

from streamkind.errors import OutputError
from streamkind.video import containers
from streamkind.video.codecs import OneCodec
from streamkind.video.sink import open_sink
from streamkind.video.source import open_source


def copy(path: Path, output: Path, *, codec: str = "h264", **part: float) -> list[str]:
    """Write all frames unchanged; return the sink's warnings."""
    with open_source(path, **part) as source, open_sink(output, source, codec=codec) as sink:
        for frame in source:
            sink.write(frame)
    return sink.warnings


def chapters(path: Path) -> list[tuple[Fraction, Fraction, str]]:
    with av.open(str(path)) as container:
        return [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
            for c in container.chapters()
        ]


def tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        return dict(container.metadata)


EVERYTHING: dict[str, dict[str, Any]] = {
    "a.mp4": {"audio": "aac", "subtitles": "mov_text", "cover": True, "second_video": True},
    "a.mov": {"audio": "pcm_s16le", "subtitles": "mov_text"},
    "a.mkv": {
        "audio": "libopus",
        "subtitles": "subrip",
        "attachment": bytes(range(256)) * 20,
        "second_video": True,
    },
    "aac.mkv": {"audio": "aac", "subtitles": "ass"},
    "a.ts": {"audio": "aac"},
}


@pytest.mark.parametrize("name", EVERYTHING)
def test_all_other_streams_are_copied_packet_for_packet(name: str, tmp_path: Path) -> None:
    path, output = tmp_path / name, tmp_path / f"out_{name}"
    base = Fraction(1, {".mkv": 1000, ".ts": 90_000}.get(path.suffix, 12_800))
    made = dict(EVERYTHING[name])
    if made.get("subtitles") == "ass":
        made["subtitles"] = "subrip"
    make_clip(path, frames=20, time_base=base, **made)
    warnings = copy(path, output)
    before, after = read_tracks(path), read_tracks(output)
    assert len(warnings) == made.get("second_video", 0)  # a second video is copied, and reported
    wanted = ("audio", "subtitles", "cover", "attachment", "second_video")
    assert len(before) == len([key for key in made if key in wanted])
    # FFmpeg shifts the times of MPEG-TS to a later start.
    begin = read_video(output).pts[0] - read_video(path).pts[0] if name == "a.ts" else 0
    for one, two in zip(before, after, strict=True):
        assert [data for _, data in two.packets] == [data for _, data in one.packets]
        stamps = [time and time - begin * base for time, _ in two.packets]
        assert stamps == [time for time, _ in one.packets]
        assert (two.kind, two.codec, two.language) == (one.kind, one.codec, one.language)
        assert (two.title, two.disposition) == (one.title, one.disposition)
    assert any(track.packets for track in after)


def test_the_order_of_streams_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    clip = make_clip(tmp_path / "b.mkv", time_base=Fraction(1, 1000), audio="aac")
    with av.open(str(clip)) as source, av.open(str(path), "w") as output:
        copies = {
            stream.index: output.add_stream_from_template(stream, opaque=True)
            for stream in reversed(source.streams)
        }
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                output.mux(packet)
    copy(path, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["audio", "video"]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_chapters_and_tags_are_copied(name: str, tmp_path: Path) -> None:
    path, output = tmp_path / name, tmp_path / f"out_{name}"
    metadata = {"title": "Nacht", "creation_time": "2024-02-03T04:05:06.000000Z"}
    make_clip(path, time_base=Fraction(1, 1000), chapters=True, metadata=metadata)
    copy(path, output)
    assert chapters(output) == chapters(path)
    assert [title for *_, title in chapters(output)] == ["night", "tunnel"]
    for key in ("title", "creation_time"):
        assert {k.lower(): v for k, v in tags(output).items()}[key] == metadata[key]
    with av.open(str(output)) as container:
        video = container.streams.video[0].metadata
        assert "the road" in (video.get("title"), video.get("name"))


def test_a_phones_own_tags_are_copied(tmp_path: Path) -> None:
    key = "com.apple.quicktime.location.ISO6709"
    path = make_clip(
        tmp_path / "a.mov",
        metadata={key: "+48.1+011.5/", "title": "Nacht"},
        container_options={"movflags": "use_metadata_tags"},
    )
    assert tags(path)[key] == "+48.1+011.5/"
    copy(path, tmp_path / "out.mov")
    assert tags(tmp_path / "out.mov")[key] == "+48.1+011.5/"
    assert tags(tmp_path / "out.mov")["title"] == "Nacht"


@pytest.mark.parametrize(("before", "after"), [("mp4", "mkv"), ("mkv", "mp4"), ("ts", "mp4")])
def test_sound_stays_in_step_in_another_container(before: str, after: str, tmp_path: Path) -> None:
    base = Fraction(1, {"mkv": 1000, "ts": 90_000}.get(before, 12_800))
    path = make_clip(tmp_path / f"a.{before}", time_base=base, audio="aac")
    copy(path, tmp_path / f"out.{after}")
    (one,), (two,) = read_tracks(path), read_tracks(tmp_path / f"out.{after}")
    assert len(one.packets) == len(two.packets) > 10
    video = [read_video(p) for p in (path, tmp_path / f"out.{after}")]
    begin = video[0].pts[0] * base - video[1].pts[0] * video[1].time_base
    assert begin == 0 or before == "ts"
    for (a, _), (b, _) in zip(one.packets, two.packets, strict=True):
        assert abs(a - begin - b) <= Fraction(1, 1000)


@pytest.mark.parametrize("timecode", ["01:02:03:04", "01:02:03;04"])
@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30_000, 1001)])
@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
def test_a_time_code_is_kept_where_it_can_be(
    suffix: str, rate: Fraction, timecode: str, tmp_path: Path
) -> None:
    dropping = ";" in timecode
    if dropping and rate == 25:
        pytest.skip("FFmpeg writes no such file")
    path = make_clip(
        tmp_path / "a.mov",
        rate=rate,
        time_base=Fraction(1, 30_000),
        metadata={"timecode": timecode},
    )
    assert copy(path, tmp_path / f"out.{suffix}") == []
    with av.open(str(tmp_path / f"out.{suffix}")) as container:
        found = {s.metadata.get("timecode") for s in container.streams} | {
            {k.lower(): v for k, v in container.metadata.items()}.get("timecode")
        }
        data = [s for s in container.streams if s.type == "data"]
    assert len(data) == (suffix != "mkv")
    if suffix != "mkv":
        assert timecode in found


@pytest.mark.parametrize("part, kept", [({"duration": 0.2}, True), ({"start": 0.2}, False)])
def test_a_time_code_is_kept_with_the_beginning(
    part: dict[str, float], kept: bool, tmp_path: Path
) -> None:
    path = make_clip(tmp_path / "a.mov", metadata={"timecode": "01:02:03:04"})
    with open_source(path, **part) as source, open_sink(tmp_path / "o.mov", source) as sink:
        for frame in source:
            sink.write(frame)
    with av.open(str(tmp_path / "o.mov")) as container:
        found = {s.metadata.get("timecode") for s in container.streams}
    assert ("01:02:03:04" in found) == kept
    assert [w for w in sink.warnings if "01:02:03:04" in w and "left out" in w] == (
        [] if kept else sink.warnings[:1]
    )


def test_data_of_unknown_kind_is_left_out_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height = 64, 48
        data = output.add_data_stream("klv")
        for number in range(10):
            frame = av.VideoFrame(64, 48, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(video.encode(frame))
            packet = av.Packet(b"\x06\x0e+4" + bytes([number]) * 20)
            packet.stream, packet.time_base = data, Fraction(1, 25)
            packet.pts = packet.dts = number
            output.mux(packet)
        output.mux(video.encode(None))
    kept = copy(path, tmp_path / "out.ts")
    assert kept == []
    assert [len(track.packets) for track in read_tracks(tmp_path / "out.ts")] == [10]
    (warning,) = copy(path, tmp_path / "out.mp4")
    assert "stream #1 (data klv) is left out: the format mp4 cannot hold it" in warning


def test_cover_art_goes_into_matroska(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", cover=True)
    assert copy(path, tmp_path / "out.mkv") == []
    (one,), (two,) = read_tracks(path), read_tracks(tmp_path / "out.mkv")
    assert two.disposition & av.stream.Disposition.attached_pic
    assert [data for _, data in two.packets] == [data for _, data in one.packets]


def test_streams_that_the_container_cannot_hold_are_converted_or_reported(
    tmp_path: Path,
) -> None:
    path = make_clip(
        tmp_path / "a.mkv",
        time_base=Fraction(1, 1000),
        audio="aac",
        subtitles="subrip",
        attachment=b"font",
    )
    warnings = copy(path, tmp_path / "out.mp4")
    kept = read_tracks(tmp_path / "out.mp4")
    assert [track.codec for track in kept] == ["aac", "mov_text"]
    assert len(warnings) == 2
    assert "stream #2 (subtitle srt, fra) is converted to mov_text" in warnings[0]
    assert "attachment font.ttf" in warnings[1] and "is left out" in warnings[1]
    assert len(read_video(tmp_path / "out.mp4").pts) == 10


def test_sound_of_unusable_kind_for_webm(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", audio="aac")
    warnings = copy(path, tmp_path / "out.webm", codec="vp9")
    assert [track.codec for track in read_tracks(tmp_path / "out.webm")] == ["opus"]
    assert "audio aac, deu) is converted to OPUS" in warnings[0]


@pytest.mark.parametrize("kind", ["mkv", "mp4"])
def test_a_subtitle_ends_with_its_part(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.srt").write_text("1\n00:00:00,200 --> 00:00:01,800\nlong\n")
    video = ["-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=2"]
    coded = f"-preset ultrafast -c:s {'mov_text' if kind == 'mp4' else 'subrip'}".split()
    ffmpeg(*video, "-i", tmp_path / "a.srt", *coded, tmp_path / f"a.{kind}")
    copy(tmp_path / f"a.{kind}", tmp_path / f"b.{kind}", duration=1.0)
    with av.open(str(tmp_path / f"b.{kind}")) as container:
        packets = [packet for packet in container.demux(subtitles=0) if len(bytes(packet)) > 2]
        told = [(float(p.pts * p.time_base), float(p.duration * p.time_base)) for p in packets]
    assert told == [(0.2, 0.8)]


def test_stereo_of_a_low_sampling_rate_becomes_mp2(tmp_path: Path) -> None:
    path = make_base(tmp_path / "a.avi", sound="pcm_s16le", seconds=0.5, words="-ar 22050")
    (told,) = copy(path, tmp_path / "out.mpg", codec="mpeg2video")
    assert "is converted to MP2" in told
    with av.open(str(tmp_path / "out.mpg")) as container:
        sound = container.streams.audio[0]
        assert (sound.name, sound.rate, sound.channels) == ("mp2", 22050, 2)
        assert sum(frame.samples for frame in container.decode(sound)) >= 11_025


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_stream_is_left_out_because_the_disk_of_temporary_files_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = make_clip(tmp_path / "in.mp4", frames=3, audio="aac")

    def full(*words: Any) -> Any:
        raise av.error.OSError(code, "made to fail")

    monkeypatch.setattr(containers, "_again", full)
    with pytest.raises(OutputError, match=r"no space in .* set TMPDIR to another disk"):
        copy(path, tmp_path / "out.mp4")
    assert [file.name for file in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("kind", ["mp4", "mkv"])
@pytest.mark.parametrize(("start", "duration"), [(0.4, None), (0.6, 0.5), (0.0, 0.5)])
def test_a_part_has_its_sound_subtitles_and_chapters(
    kind: str, start: float, duration: float | None, tmp_path: Path
) -> None:
    base = Fraction(1, 1000)
    path = make_clip(
        tmp_path / f"a.{kind}",
        frames=50,
        time_base=base,
        audio="aac",
        subtitles="mov_text" if kind == "mp4" else "subrip",
        chapters=True,
    )
    output = tmp_path / f"out.{kind}"
    part = {"start": start} if duration is None else {"start": start, "duration": duration}
    copy(path, output, **part)
    begin = Fraction(start).limit_denominator(1000)
    end = begin + (Fraction(duration).limit_denominator(1000) if duration else 9)
    video = read_video(output)
    assert [number_of(i) for i in video.images] == [
        n for n in range(50) if begin <= Fraction(n, 25) < end
    ]
    assert video.pts[0] == 0
    sound, text = read_tracks(output)
    for kept, whole in zip((sound, text), read_tracks(path), strict=True):
        assert kept.packets
        times = {data: time for time, data in whole.packets if len(data) > 2}
        for time, data in kept.packets:
            if len(data) > 2 and time:  # a subtitle that is cut at the start begins later
                assert abs(times[data] - begin - time) <= Fraction(1, 1000)
                assert 0 <= time < end - begin
    expected = [
        (max(a - begin, Fraction(0)), min(b, end) - begin, title)
        for a, b, title in chapters(path)
        if b > begin and a < end
    ]
    assert chapters(output) == expected


def test_behind_a_part_little_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = make_clip(tmp_path / "a.mkv", frames=500, audio="aac"), []

    def told(codecs: OneCodec, packets: Any, converted: Any) -> Any:
        for packet in packets:
            seen.append(float(packet.dts * packet.time_base))
            yield packet

    monkeypatch.setattr(OneCodec, "of", told)
    copy(path, tmp_path / "out.mkv", duration=1.0)
    (sound,) = read_tracks(tmp_path / "out.mkv")
    assert 0.9 < sound.packets[-1][0] < 1
    assert 3 <= max(seen) < 3.1


def test_sound_with_clock_set_back_does_not_fail(tmp_path: Path) -> None:
    with (tmp_path / "both.ts").open("wb") as both:
        for name, start in [("a.ts", 900_000), ("b.ts", 0)]:
            path = make_clip(
                tmp_path / name,
                time_base=Fraction(1, 90_000),
                pts=[start + 3600 * i for i in range(10)],
                audio="aac" if start == 0 else None,
            )
            both.write(path.read_bytes())
    with (
        open_source(tmp_path / "both.ts") as source,
        open_sink(tmp_path / "out.mp4", source) as sink,
    ):
        for frame in source:
            sink.write(frame)
    after = read_video(tmp_path / "out.mp4")
    assert len(after.pts) == 20
    assert all(b > a for a, b in itertools.pairwise(after.pts))
    assert any("time stamps" in warning for warning in source.warnings)
