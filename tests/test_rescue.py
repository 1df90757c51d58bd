"""If writing a container fails, the encoded video is kept in another container."""

from __future__ import annotations

import errno
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from support.media import make_clip, number_of, read_tracks, read_video

from streamkind.errors import OutputError
from streamkind.video import output as output_module
from streamkind.video import spare_copy
from streamkind.video.sink import open_sink
from streamkind.video.source import open_source


class Failing:
    """A container that fails after a number of packets, or at its trailer if there are fewer."""

    def __init__(self, real: Any, packets: int, code: int) -> None:
        self.real, self.left, self.code = real, packets, code

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def mux_one(self, packet: Any) -> None:
        self.left -= 1
        if self.left < 0:
            raise av.error.OSError(self.code, "made to fail")
        self.real.mux_one(packet)

    def close(self) -> None:
        self.real.close()
        if self.left >= 0:
            self.left = -1
            raise av.error.OSError(self.code, "made to fail")


def copy(path: Path, output: Path) -> list[str]:
    """Write all frames unchanged, and expect an error; return it, and the names of output files."""
    with (
        pytest.raises(OutputError) as caught,
        open_source(path) as source,
        open_sink(output, source, preset="ultrafast") as sink,
    ):
        for frame in source:
            sink.write(frame)
    return [str(caught.value), *sorted(file.name for file in output.parent.iterdir())]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch):
    """Return a function that lets the first `times` containers that are opened for writing fail."""

    def prepare(packets: int, code: int = errno.EINVAL, times: int = 1) -> None:
        real, opened = output_module.open_output, []

        def open_output(*words: Any, **options: Any) -> Any:
            opened.append(real(*words, **options))
            failing = len(opened) <= times
            return Failing(opened[-1], packets, code) if failing else opened[-1]

        monkeypatch.setattr(output_module, "open_output", open_output)

    return prepare


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return make_clip(tmp_path / "in" / "a.mp4", frames=40, audio="aac", subtitles="mov_text")


@pytest.mark.parametrize("packets", [0, 1, 30, 10_000], ids=["first", "second", "middle", "end"])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "avi", "ts", "flv"])
def test_all_work_is_in_a_matroska_file(
    clip: Path, tmp_path: Path, fail: Any, suffix: str, packets: int
) -> None:
    (folder := tmp_path / "out").mkdir()
    fail(packets)
    error, *files = copy(clip, folder / f"b.{suffix}")
    assert files == ["b.rescued.mkv"]
    assert "nothing is lost: the result is in b.rescued.mkv" in error
    found, wanted = read_video(folder / "b.rescued.mkv"), read_video(clip)
    assert [number_of(i) for i in found.images] == [number_of(i) for i in wanted.images]
    late = Fraction(1, 25) if suffix == "avi" else 0  # times of AVI may be late by a frame
    for one, two in zip(found.pts, wanted.pts, strict=True):
        shift = one * found.time_base - two * wanted.time_base
        assert abs(shift) <= Fraction(1, 1000) + late
    with open_source(clip) as source, open_sink(tmp_path / "c.mkv", source) as sink:
        for frame in source:
            sink.write(frame)
    tracks, usual = read_tracks(folder / "b.rescued.mkv"), read_tracks(tmp_path / "c.mkv")
    assert [t.packets for t in tracks] == [t.packets for t in usual]


def test_both_cameras_of_a_file_are_kept(tmp_path: Path, fail: Any) -> None:
    from streamkind.video.videos_of_file import VideosOfFile

    (folder := tmp_path / "out").mkdir()
    path = make_clip(tmp_path / "a.mp4", frames=20, second_video=True, audio="aac")
    fail(10_000)
    with (
        pytest.raises(OutputError, match="nothing is lost"),
        open_source(path) as source,
        VideosOfFile(source, lambda: source) as videos,
        videos.write(folder / "b.mp4", preset="ultrafast") as sink,
    ):
        for video, out in videos.each(sink):
            for frame in video:
                out.write(frame)
    assert [file.name for file in folder.iterdir()] == ["b.rescued.mkv"]
    with av.open(str(folder / "b.rescued.mkv")) as container:
        assert [s.type for s in container.streams] == ["video", "audio", "video"]
        count = [0] * 3
        for packet in container.demux():
            count[packet.stream_index] += bool(packet.size)
    assert (count[0], count[2]) == (20, 20)


@pytest.mark.parametrize("packets", [30, 10_000], ids=["middle", "end"])
def test_without_matroska_the_video_alone_is_kept(
    clip: Path, tmp_path: Path, fail: Any, packets: int
) -> None:
    (folder := tmp_path / "out").mkdir()
    fail(packets, times=2)
    error, *files = copy(clip, folder / "b.mp4")
    assert files == ["b.rescued.nut"] and "the result is in b.rescued.nut" in error
    assert len(read_video(folder / "b.rescued.nut").images) == 40


@pytest.mark.parametrize("packets", [30, 10_000])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing(
    clip: Path, tmp_path: Path, fail: Any, code: int, packets: int
) -> None:
    (folder := tmp_path / "out").mkdir()
    fail(packets, code)
    error, *files = copy(clip, folder / "b.mp4")
    assert files == [] and "nothing was kept; free some space" in error


def test_nothing_is_written_beside_a_link(clip: Path, tmp_path: Path, fail: Any) -> None:
    (folder := tmp_path / "out").mkdir()
    (links := tmp_path / "links").mkdir()
    (links / "a.mp4").symlink_to(folder / "b.mp4")
    fail(30)
    with (
        pytest.raises(OutputError, match=f"the result is in {folder / 'b.rescued.mkv'}"),
        open_source(clip) as source,
        open_sink(links / "a.mp4", source, preset="ultrafast") as sink,
    ):
        for frame in source:
            assert [file.name for file in links.iterdir()] == ["a.mp4"]
            sink.write(frame)
    assert [file.name for file in folder.iterdir()] == ["b.rescued.mkv"]


def test_a_file_that_is_too_large_for_its_disk_is_told(
    clip: Path, tmp_path: Path, fail: Any
) -> None:
    (folder := tmp_path / "out").mkdir()
    fail(30, errno.EFBIG)
    error, *files = copy(clip, folder / "b.mp4")
    assert files == [] and "write to a disk that takes larger files" in error


def test_a_disk_that_gets_full_costs_the_spare_copy_only(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := tmp_path / "out").mkdir()
    seen: list[int] = []

    def usage(path: Path) -> Any:
        seen.append(sum(file.suffix == ".nut" for file in path.iterdir()))
        return shutil._ntuple_diskusage(0, 0, 2 * spare_copy.KEPT_FREE if len(seen) < 10 else 1)

    monkeypatch.setattr(spare_copy.shutil, "disk_usage", usage)
    with open_source(clip) as source, open_sink(folder / "b.mp4", source) as sink:
        for frame in source:
            sink.write(frame)
    assert seen == [0] + [1] * 9
    assert [file.name for file in folder.iterdir()] == ["b.mp4"]
    assert len(read_video(folder / "b.mp4").images) == 40


def test_nothing_is_left_beside_a_result(clip: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "out").mkdir()
    with open_source(clip) as source, open_sink(folder / "b.mp4", source) as sink:
        for frame in source:
            sink.write(frame)
    assert [file.name for file in folder.iterdir()] == ["b.mp4"]


@pytest.mark.parametrize(
    "rate, timecode, kept",
    [
        (25, "00:00:01:00", True),
        (240, "00:00:01:00", True),
        (480, "00:00:01:00", False),
        (960, "00:00:01:00", False),
        (25, "garbage", False),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mxf"])
def test_a_time_code_that_would_end_the_work_is_left_out(
    tmp_path: Path, rate: int, timecode: str, kept: bool, suffix: str
) -> None:
    path, output = tmp_path / "a.mkv", tmp_path / f"out.{suffix}"
    pts = [round(1000 * n / rate) for n in range(10)]
    words = {"frames": 10, "rate": rate, "metadata": {"timecode": timecode}}
    made = make_clip(path, time_base=Fraction(1, 1000), pts=pts, **words)
    if suffix == "mxf" and rate != 25:
        pytest.skip("MXF has no such rates")
    codec = "mpeg2video" if suffix == "mxf" else "h264"
    with open_source(made) as source, open_sink(output, source, codec=codec) as sink:
        for frame in source:
            sink.write(frame)
    with av.open(str(output)) as container:
        told = {s.metadata.get("timecode") for s in container.streams}
        told |= {container.metadata.get("timecode")}
    assert any((code or "").startswith(timecode) for code in told) == kept
