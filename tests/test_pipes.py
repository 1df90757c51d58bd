"""The name `-` for standard input and standard output, as in FFmpeg."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.media import make_clip, number_of, read_tracks, read_video

from streamkind.video.pipe_input import PipeInput

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}


def piped(words: list[str], data: bytes) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "streamkind", "enhance", *words, "--ratio", "1"]
    return subprocess.run(command, input=data, capture_output=True, env=ENVIRONMENT)


@pytest.mark.parametrize(("kind", "format"), [("nut", "nut"), ("y4m", "yuv4mpegpipe")])
def test_video_goes_through_pipes(tmp_path, kind, format):
    make_clip(tmp_path / "in.mp4", audio="aac" if kind == "nut" else None)
    words = ["-i", str(tmp_path / "in.mp4"), "-f", format]
    words += ["-c", "copy"] if kind == "nut" else []
    sent = subprocess.run(["ffmpeg", "-v", "error", *words, "-"], capture_output=True, check=True)
    done = piped(["-", "-"], sent.stdout)
    assert done.returncode == 0, done.stderr
    (tmp_path / f"out.{kind}").write_bytes(done.stdout)
    video = read_video(tmp_path / f"out.{kind}")
    assert [number_of(image) for image in video.images] == list(range(10))
    begin = video.pts[0] * video.time_base
    assert float(video.pts[-1] * video.time_base - begin) == pytest.approx(0.36)
    sounds = [track.codec for track in read_tracks(tmp_path / f"out.{kind}")]
    assert sounds == (["aac"] if kind == "nut" else [])


@pytest.mark.parametrize(("kind", "format"), [("nut", "nut"), ("y4m", "yuv4mpegpipe")])
def test_frames_come_out_while_the_input_still_comes(tmp_path, kind, format):
    make_clip(tmp_path / "in.mp4", frames=100, audio="aac" if kind == "nut" else None)
    words = ["-i", str(tmp_path / "in.mp4"), "-f", format]
    words += ["-c", "copy", "-flush_packets", "1"] if kind == "nut" else []
    sent = subprocess.run(["ffmpeg", "-v", "error", *words, "-"], capture_output=True, check=True)
    words = ["enhance", "-", "-", "--profile", "realtime", "--preset", "ultrafast"]
    words = words if kind == "nut" else words[:-2]
    with subprocess.Popen(
        [sys.executable, "-m", "streamkind", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env=ENVIRONMENT,
    ) as process:
        seen = threading.Event()

        def send() -> None:
            most = len(sent.stdout) * 9 // 10
            process.stdin.write(sent.stdout[:most])
            if seen.wait(120):
                process.stdin.write(sent.stdout[most:])
            process.stdin.close()

        sender = threading.Thread(target=send)
        sender.start()
        early = process.stdout.read(1)  # waits for the first byte; the input is still open
        was_open = sender.is_alive()
        seen.set()
        with (tmp_path / f"out.{kind}").open("wb") as file:
            file.write(early)
            shutil.copyfileobj(process.stdout, file)
        sender.join()
        told = process.stderr.read()
    assert process.returncode == 0, told
    assert early and was_open
    assert len(read_video(tmp_path / f"out.{kind}").images) == 100
    sounds = [len(track.packets) for track in read_tracks(tmp_path / f"out.{kind}")]
    assert sounds == [len(t.packets) for t in read_tracks(tmp_path / "in.mp4")]


def test_a_file_is_sent_and_a_reader_that_closes_is_reported(tmp_path):
    path = make_clip(tmp_path / "in.mp4", frames=100, size=(320, 240))
    command = [sys.executable, "-m", "streamkind", "enhance", str(path), "-", "--ratio", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        process.stdout.close()
        told = process.stderr.read()
    assert process.returncode == 1
    assert b"the reader of the output has closed it" in told


def test_a_pipe_into_a_file(tmp_path):
    data = make_clip(tmp_path / "in.mkv").read_bytes()
    assert piped(["-", str(tmp_path / "out.mp4")], data).returncode == 0
    assert len(read_video(tmp_path / "out.mp4").images) == 10


DAMAGED = [b"YUV4MPEG2 W64\n" * 100, b"nut/multimedia container\0" * 100]
"""Beginnings of formats that are read while they arrive, and then no video."""


@pytest.mark.parametrize("data", [b"", b"no video" * 100, *DAMAGED])
def test_an_input_that_is_no_video_ends_in_one_line(data):
    done = piped(["-", "-"], data)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"streamkind: ") and done.stderr.count(b"\n") == 1
    assert b"streamkind: -: " in done.stderr  # not the name of a hidden file


def test_a_terminal_gets_no_video(tmp_path):
    clip = make_clip(tmp_path / "in.mp4")
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "streamkind", "enhance", str(clip), "-"]
    with open(ours, "rb", buffering=0), open(theirs, "wb", buffering=0) as terminal:
        done = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, env=ENVIRONMENT)
    assert done.returncode == 1
    assert b"standard output is a terminal; expected a pipe or a file" in done.stderr


@pytest.mark.parametrize("words, told", [("- out.mp4 <&-", "-: nothing"), ("{} - >&-", "-: stand")])
def test_a_closed_input_or_output_is_told_in_words(tmp_path, words, told):
    command = f"{sys.executable} -m streamkind enhance {words}".format(
        make_clip(tmp_path / "a.mp4")
    )
    done = subprocess.run(
        command, shell=True, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 1 and done.stderr.startswith(f"streamkind: {told}")


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    code = "import os; from streamkind.cli.early import hold_closed_streams as hold; hold()"
    code += f"; os.write(os.open({str(tmp_path / 'a')!r}, os.O_RDWR | os.O_CREAT), b'x')"
    code += "; os.system('echo told >&2'); os.write(2, b'told')"
    done = subprocess.run(f'{sys.executable} -c "{code}" <&- 2>&-', shell=True, env=ENVIRONMENT)
    assert (done.returncode, (tmp_path / "a").read_bytes()) == (0, b"x")


def test_two_videos_go_to_standard_output_from_any_folder(tmp_path):
    words = ["-f", "lavfi", "-i", "testsrc=size=64x48:duration=0.2", "-map", "0", "-map", "0"]
    subprocess.run(["ffmpeg", "-v", "error", *words, tmp_path / "in.mkv"], check=True)
    command = [sys.executable, "-m", "streamkind", "enhance", str(tmp_path / "in.mkv"), "-"]
    folder = "/proc" if Path("/proc").is_dir() else "/"  # not writable, even for root
    done = subprocess.run(
        [*command, "--ratio", "1"], cwd=folder, capture_output=True, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "out.nut").write_bytes(done.stdout)
    assert [track.codec for track in read_tracks(tmp_path / "out.nut")] == ["h264"]


def test_a_reader_that_waits_for_the_pipe_ends_when_the_command_is_interrupted(tmp_path):
    stopped, waits = threading.Event(), threading.Event()

    def interrupted() -> bool:
        waits.set()
        return stopped.is_set()

    ours, theirs = os.pipe()
    os.write(theirs, b"begin")
    with open(ours, "rb") as pipe, open(theirs, "wb"):
        kept = PipeInput(pipe, tmp_path, ".nut", interrupted)
        found = []

        def read() -> None:
            with kept.open() as data:
                found.extend(iter(data.read, b""))

        reader = threading.Thread(target=read)
        reader.start()
        waits.wait(30)
        stopped.set()
        reader.join(30)
        alive = reader.is_alive()
    assert (found, alive) == ([b"begin"], False)
    kept.close()


@pytest.mark.skipif(sys.platform == "win32", reason="has no limits of resources")
def test_a_disk_that_gets_full_is_not_the_end_of_the_input(tmp_path):
    script = """if True:
        import pathlib, resource, sys
        from streamkind.video.pipe_input import PipeInput

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        reader = PipeInput(open("/dev/zero", "rb"), pathlib.Path(sys.argv[1]), ".nut").open()
        while reader.read():
            pass
    """
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert "InputError: -: no space in" in done.stderr
