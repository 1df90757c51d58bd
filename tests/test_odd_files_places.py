"""Outputs and inputs that are links, pipes or unsupported pictures, or have odd names."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.media import make_clip
from support.odd import ffmpeg, pass_through

from streamkind.batch import jobs
from streamkind.cli.show import printable, progress_bar, show_report
from streamkind.errors import InputError, UsageError
from streamkind.pipeline import Report
from streamkind.video.sink import open_sink
from streamkind.video.source import open_source


def gray(path: Path) -> Path:
    Image.fromarray(np.full((8, 8, 3), 40, np.uint8)).save(path)
    return path


def test_an_output_that_is_a_link_stays_one(clip: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "clear.mp4"
    link.symlink_to(elsewhere / "real.mp4")
    for _ in range(2):  # at first, the target of the link does not exist
        pass_through(clip, link)
        assert link.is_symlink()
        assert [path.name for path in elsewhere.iterdir()] == ["real.mp4"]
    assert not list(tmp_path.glob(".*partial*"))


def test_a_pipe_is_not_replaced(clip: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "clear.mp4"
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="a pipe or a device"):
        pass_through(clip, pipe)
    assert pipe.is_fifo()


@pytest.mark.parametrize("suffix", [".psd", ".jxl", ".EXR", ".qoi"])
def test_pictures_of_other_kinds_are_refused_with_a_way_out(suffix: str, tmp_path: Path) -> None:
    photo = tmp_path / f"photo{suffix}"
    photo.write_bytes(b"8BPS" * 100)
    with pytest.raises(InputError, match=f"ffmpeg -i photo{suffix} photo.png"):
        open_source(photo)
    with pytest.raises(InputError, match="of a kind that is not read"):
        open_source(tmp_path)  # a folder of such pictures


def test_pictures_that_are_left_out_of_a_folder_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    gray(folder / "a.png")
    for name in ("b.psd", "c.CR2", "notes.txt", ".hidden.psd"):
        (folder / name).write_bytes(b"8BPS")
    with open_source(folder) as source, open_sink(tmp_path / "out", source) as sink:
        for frame in source:
            sink.write(frame)
    assert [note for note in source.warnings if "left out" in note] == [
        "left out, as pictures of these kinds are not read: b.psd, c.CR2"
    ]


@pytest.mark.parametrize("suffix", ["flv", "ts", "mkv", "avi"])
def test_a_file_that_is_moved_meanwhile_is_read_to_its_end(suffix: str, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "in.mp4", codec="libx264")
    ffmpeg("-i", path, "-c", "copy", tmp_path / f"in.{suffix}")
    with open_source(tmp_path / f"in.{suffix}") as source:
        (tmp_path / f"in.{suffix}").rename(tmp_path / "moved")
        assert len(list(source)) == 10


def test_a_folder_that_is_gone_is_told_in_words(call, clip: Path, tmp_path: Path, monkeypatch):
    def gone(*_):
        raise FileNotFoundError(2, "No such file or directory", "/gone/clip")

    monkeypatch.setattr(jobs.work, "prepare", gone)
    code, out, err = call("batch", clip, "--out", tmp_path / "out", "--backend", "openvino")
    assert code == 1
    assert "/gone/clip: No such file or directory; check" in " ".join((out + err).split())
    assert "FileNotFoundError" not in out + err


def test_a_name_with_colons_and_brackets_is_printed_as_it_is(capsys) -> None:
    show_report(Report(None, ""), Path("cam:x:on:100: [night].mp4"))
    assert "cam:x:on:100: [night].mp4" in capsys.readouterr().err
    bar = progress_bar()
    bar.add_task("cam:x: [night].mp4", told="")
    assert str(bar.columns[0].render(bar.tasks[0])) == "cam:x: [night].mp4"


def test_a_name_with_line_breaks_is_printed_in_one_line(capsys) -> None:
    show_report(Report(None, ""), Path("new\nline\x1b[31m.mp4"))
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "new\\nline\\x1b[31m.mp4" in told
    assert printable("Cámara 1 \N{WOMAN}\N{ZERO WIDTH JOINER}") == (
        "Cámara 1 \N{WOMAN}\N{ZERO WIDTH JOINER}"
    )
