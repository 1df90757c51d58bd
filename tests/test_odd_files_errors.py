"""Errors and interruptions: one line, no file left behind, and no host is contacted."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.media import make_clip, read_video
from support.odd import make_base, pass_through, times
from support.waiting import wait_until

from streamkind.cli import interrupt
from streamkind.errors import InputError
from streamkind.video.demux import PacketReader, first_packets
from streamkind.video.source import open_source

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}
INFO = "encryption_info"
"""PyAV's name of the side data of an encrypted packet."""
KEY = "76a6c65c5ea762046bd749a2e632ccbb"


def ffmpeg(*words: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, words)], check=True)


def exif(orientation: int) -> bytes:
    """Return an APP1 segment of a JPEG with an orientation only."""
    entry = b"\x12\x01\x03\x00\x01\x00\x00\x00" + bytes([orientation, 0, 0, 0])
    body = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body


def jpeg(orientation: int, level: int = 40) -> bytes:
    data = cv2.imencode(".jpg", np.full((48, 64, 3), level, np.uint8))[1].tobytes()
    return data[:2] + exif(orientation) + data[2:]


@pytest.mark.parametrize("orientation, size", [(1, (64, 48)), (6, (48, 64)), (7, (48, 64))])
def test_frames_with_exif_are_enhanced_and_stand_upright(call, tmp_path, orientation, size):
    (tmp_path / "in.mjpeg").write_bytes(b"".join(jpeg(orientation) for _ in range(5)))
    ffmpeg("-i", tmp_path / "in.mjpeg", "-c", "copy", tmp_path / "in.avi")
    code, _, err = call("enhance", tmp_path / "in.avi", tmp_path / "out.mp4", "--ratio", "3")
    assert code == 0, err
    video = read_video(tmp_path / "out.mp4")
    assert (video.size, len(video.images)) == (size, 5)


def encrypted(path: Path, scheme: bytes) -> Path:
    make_clip(path.with_name("clear.mp4"), frames=3)
    words = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", KEY, "-encryption_kid", KEY]
    ffmpeg("-i", path.with_name("clear.mp4"), "-c", "copy", *words, path)
    path.write_bytes(path.read_bytes().replace(b"cenc", scheme))
    return path


@pytest.mark.parametrize("scheme", [b"cenc", b"cbcs"])
def test_an_encrypted_file_is_called_encrypted(call, tmp_path, scheme):
    code, _, err = call("enhance", encrypted(tmp_path / "e.mp4", scheme), tmp_path / "out.mp4")
    assert code == 1
    assert re.fullmatch(r"streamkind: [^\n]*encrypted[^\n]*\n", err)


def element(name: int, content: bytes) -> bytes:
    """Return an element of Matroska with less than 127 bytes of content."""
    return name.to_bytes(2 if name > 0xFF else 1) + bytes([0x80 | len(content)]) + content


def test_an_encrypted_webm_is_called_encrypted(call, tmp_path):
    title, path = b"x" * 90, tmp_path / "in.webm"
    words = ["-c:v", "libvpx", "-metadata:s:v", f"title={title.decode()}"]
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:d=0.2", *words, path)
    key = element(0x47E1, b"\5") + element(0x47E2, bytes(16))  # AES, and the id of the key
    coding = element(0x5033, b"\1") + element(0x5035, key)
    told = element(0x6D80, element(0x6240, coding))
    name = element(0x536E, title)
    data = path.read_bytes()
    assert data.count(name) == 1
    path.write_bytes(data.replace(name, told + element(0xEC, bytes(len(name) - len(told) - 2))))
    code, _, err = call("enhance", path, tmp_path / "out.mp4")
    assert code == 1 and "encrypted" in err and err.count("\n") == 1


def test_a_file_that_is_encrypted_after_its_beginning_is_called_encrypted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check a simulated stream whose first seconds are clear. No tool here writes such a file."""
    mark = first_packets(encrypted(tmp_path / "e.mp4", b"cenc"))[0][0].get_sidedata(INFO)
    clip, read = make_clip(tmp_path / "clip.mp4", frames=9), PacketReader._read

    def marked(reader: PacketReader, streams: Any) -> Iterator[Any]:
        for number, packet in enumerate(read(reader, streams)):
            if number > 4:
                packet.set_sidedata(mark)
            yield packet

    monkeypatch.setattr(PacketReader, "_read", marked)
    with pytest.raises(InputError, match="encrypted"), open_source(clip) as source:
        list(source)


HEADERS = {
    "several blocks with CRC": (1, 0xFE, 6, 0x03),
    "a profile that is none": (2, 0x3F, 2, 0x3C),
    "no channels": (2, 0xFE, 3, 0x00),
}
"""Damage to an ADTS header: index of a byte and its mask, index of a byte and bits to set in it."""


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("damage", HEADERS.values(), ids=HEADERS)
def test_sound_of_damaged_packets_goes_on_after_them(tmp_path, damage, suffix):
    data = bytearray(make_base(tmp_path / "in.ts").read_bytes())
    headers = [m.start() for m in re.finditer(rb"\xff\xf1[\x4c\x50]\x80", bytes(data))]
    hit = headers[len(headers) // 2]
    masked, mask, filled, bits = damage
    data[hit + masked] &= mask
    data[hit + filled] |= bits
    (tmp_path / "damaged.ts").write_bytes(data)
    pass_through(tmp_path / "damaged.ts", tmp_path / f"out.{suffix}")
    assert len(times(tmp_path / f"out.{suffix}", "v")) == 50
    assert len(times(tmp_path / f"out.{suffix}", "a")) > 0.8 * len(times(tmp_path / "in.ts", "a"))


REFUSED = {
    "a camera": (["rtsp://user:geheim@camera/1", "out.mp4"], 2, "streamkind stream"),
    "a name of sound": (["in.mp4", "out.mp3"], 2, "hold no video"),
    "an unknown preset": (["in.mp4", "out.mp4", "--preset", "nope"], 2, "ultrafast, .*placebo"),
    "no time": (["in.mp4", "out.mp4", "--start", "1:75"], 2, "HH:MM:SS"),
    "behind the end": (["in.mp4", "out.mp4", "--start", "00:01:01.5"], 1, "61.5 s on"),
    "a raw photo": (["a.NEF", "out.jpg"], 1, "raw photo [^\n]*TIFF"),
    "raw photos in a folder": (["raws", "out"], 1, "raw photo [^\n]*TIFF"),
    "a header without segments": (["init.mp4", "out.mp4"], 1, "its video has no packets"),
    "videos in a folder": (["videos", "out"], 1, "streamkind batch"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_impossible_inputs_end_in_one_line_with_advice(call, monkeypatch, tmp_path, case):
    words, wanted, says = REFUSED[case]
    make_clip(tmp_path / "in.mp4", frames=2)
    (tmp_path / "videos").mkdir()
    shutil.copy(tmp_path / "in.mp4", tmp_path / "videos")
    (tmp_path / "raws").mkdir()
    for name in ("a.NEF", "raws/b.dng"):
        (tmp_path / name).write_bytes(b"II*\0")
    init = tmp_path / "init.mp4"
    ffmpeg("-i", tmp_path / "in.mp4", "-c", "copy", "-movflags", "empty_moov+frag_keyframe", init)
    init.write_bytes(init.read_bytes().partition(b"moof")[0][:-4])
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    code, out, err = call("enhance", *words)
    assert (code, out) == (wanted, "")
    assert re.fullmatch(rf"streamkind: [^\n]*{says}[^\n]*\n", err)
    assert "geheim" not in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("start", ["0.2", "00:00:00.2"])
def test_a_time_is_seconds_or_a_clock(call, clip, tmp_path, start):
    words = "--ratio", "3", "--start", start
    assert call("enhance", clip, tmp_path / "out.mp4", *words)[0] == 0
    assert len(read_video(tmp_path / "out.mp4").images) == 5


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["engines"], ["enhance", "-h"]])
def test_help_is_asked_for_in_every_way(call, words):
    code, out, err = call(*words)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) > 5


def test_a_name_that_is_not_utf8_is_kept(clip):
    folder = os.fsencode(clip.parent)
    os.rename(clip, folder + b"/in\xff.mp4")
    command = [sys.executable, "-m", "streamkind", "enhance", b"in\xff.mp4", b"out\xfe.mp4"]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(folder)) == [b"in\xff.mp4", b"out\xfe.mp4"]


@pytest.mark.parametrize("debug", [False, True])
def test_an_exception_of_a_library_ends_in_one_line(call, clip, tmp_path, monkeypatch, debug):
    def broken(*words, **options):
        raise AttributeError("a library\nis broken")

    monkeypatch.setattr("av.open", broken)
    monkeypatch.setenv("STREAMKIND_DEBUG", str(int(debug)))
    code, out, err = call("enhance", clip, tmp_path / "out.mp4")
    assert (code, out) == (1, "")
    assert re.fullmatch(r"streamkind: [^\n]*a library is broken[^\n]*", err.splitlines()[-1])
    assert ("Traceback" in err) == (len(err.splitlines()) > 1) == debug


INTERRUPT = """
import os, signal, sys, time
class Importer:
    def find_spec(name, path, target=None):
        if name == {module!r}:
            try:
                os.kill(os.getpid(), signal.{number})
                time.sleep(0)
            except BaseException as error:
                if {turned}:  # as the beginning of a compiled module does
                    raise ImportError("initialization failed") from error
                raise
sys.meta_path.insert(0, Importer)
from streamkind.cli import main
sys.argv[1:] = ["enhance", "clip.mp4", "out.mp4"]
main()
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize(
    ("module", "turned"),
    [
        ("streamkind.platform", False),
        ("numpy", False),
        ("av", False),
        ("typer", True),
        ("openvino", False),
        ("openvino", True),
    ],
)
def test_a_signal_at_the_beginning_is_one_line(clip, module, turned, number):
    code = INTERRUPT.format(module=module, number=number, turned=turned)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=clip.parent,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in (1, 2, 15)],
    )
    assert done.returncode == 130, done.stderr
    assert re.fullmatch(r"streamkind: interrupted[^\n]*\n", done.stderr)
    assert [path.name for path in clip.parent.iterdir()] == ["clip.mp4"]


LEAVE = """
import atexit, os, signal, sys, threading
from streamkind import cli
from streamkind.cli import app

class Held:
    def __del__(self):
        os.write(1, b"destroyed ")

def command(**_):
    global held
    held = Held()
    atexit.register(lambda: os.write(1, b"cleaned "))
    atexit.register(lambda: [os.kill(os.getpid(), number) for number in (1, 2, 15)])
    if {runs}:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    print("told", end=" ")
    raise {error}

app.app = command
cli.main()
"""
"""Program whose command ends, holds an object with a destructor, and gets signals at its end."""


@pytest.mark.parametrize(
    ("error", "code"), [("SystemExit", 0), ("SystemExit(3)", 3), ("KeyboardInterrupt", 130)]
)
@pytest.mark.parametrize("runs", [False, True])
def test_what_libraries_hold_is_not_destroyed_at_the_end(tmp_path, runs, error, code):
    done = subprocess.run(
        [sys.executable, "-c", LEAVE.format(runs=runs, error=error)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: [signal.signal(n, signal.SIG_DFL) for n in (1, 2, 15)],
    )
    assert done.returncode == code, done.stderr
    assert sorted(done.stdout.split()) == ["cleaned", "told"]
    assert len(done.stderr.splitlines()) == (code == 130)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file without room")
def test_what_cannot_be_printed_at_the_end_is_reported():
    code = "from streamkind import cli; cli.run = lambda: exit(print('told')); cli.main()"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode != 0
    assert b"No space left" in done.stderr


def test_signals_that_come_together_end_a_command_once(monkeypatch):
    clock = iter([10.0, 10.5, 11.9, 12.1])
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: next(clock))
    stop = interrupt.InterruptHandler()
    with pytest.raises(KeyboardInterrupt):
        stop(signal.SIGHUP, None)
    stop(signal.SIGTERM, None)
    stop(signal.SIGHUP, None)
    with pytest.raises(KeyboardInterrupt):  # the command has not ended within two seconds
        stop(signal.SIGTERM, None)


TURNED = """
import signal
from streamkind.cli import app
from streamkind.errors import UsageError

def command(**_):
    try:
        signal.raise_signal(signal.SIGTERM)
    except KeyboardInterrupt:
        raise {error} from None

app.app = command
app.main()
"""


@pytest.mark.parametrize("error", ["ImportError('initialization failed')", "UsageError('no')"])
def test_an_error_caused_by_ctrl_c_counts_as_ctrl_c(error):
    code = TURNED.format(error=error)
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 130
    assert done.stderr.startswith("streamkind: interrupted")


def test_what_was_not_published_is_removed_at_the_end_of_the_program(tmp_path):
    code = """
from pathlib import Path
from streamkind.video.publish import Staging
kept, left, folder = (Staging(Path(name)) for name in ("kept.mp4", "left.mp4", "frames"))
kept.path.write_bytes(b"1")
left.path.write_bytes(b"2")
folder.make_folder()
(folder.path / "1.png").write_bytes(b"3")
kept.publish()
raise KeyboardInterrupt
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.mp4"]


@pytest.mark.parametrize("ignored", [False, True])
def test_the_end_of_a_terminal_leaves_no_half_file_unless_nohup_runs(tmp_path, ignored):
    make_clip(tmp_path / "in.mp4", frames=200 if not ignored else 10)
    process = subprocess.Popen(
        [sys.executable, "-m", "streamkind", "enhance", "in.mp4", "out.mp4", "--ratio", "3"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(
            signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL
        ),
    )
    # A second file appears: the output under a temporary name.
    wait_until(lambda: len(list(tmp_path.iterdir())) >= 2)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=120)
    assert process.returncode == (0 if ignored else 130)
    assert b"Traceback" not in err
    left = ["in.mp4", "out.mp4"] if ignored else ["in.mp4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left


def test_batch_takes_what_recorders_write_and_tells_what_it_leaves(call, tmp_path):
    (tmp_path / "in").mkdir()
    make_clip(
        tmp_path / "in" / "a.h265",
        codec="libx265",
        frames=3,
        options={"x265-params": "log-level=none"},
    )
    make_clip(tmp_path / "in" / "b.264", frames=3)
    make_clip(tmp_path / "c.ts", frames=12, size=(160, 96))
    (tmp_path / "c.ts").rename(tmp_path / "in" / "c.m2t")
    make_clip(tmp_path / "d.mp4", frames=3)
    (tmp_path / "d.mp4").rename(tmp_path / "in" / "d.LRV")
    (tmp_path / "in" / "notes.txt").write_text("no video")
    (tmp_path / "in" / ".hidden").write_text("no video")
    (tmp_path / "in" / "gone.mp4").symlink_to("nothing")
    (tmp_path / "in" / "folder").symlink_to(tmp_path)
    words = "--out", tmp_path / "out", "--ratio", "3"
    code, _, err = call("batch", tmp_path / "in", *words)
    assert code == 0, err
    assert sorted(p.name for p in (tmp_path / "out").glob("[!.]*")) == [f"{n}.mkv" for n in "abcd"]
    assert re.search(
        r"^left out, [^\n]*folder, [^\n]*gone\.mp4, [^\n]*notes\.txt$", err, re.MULTILINE
    )
    assert ".hidden" not in err


def test_no_host_is_looked_up_or_contacted(clip):
    """Check also that only a cache is left in the home folder of the user."""
    home = clip.parent / "home"
    home.mkdir()
    trace = clip.parent / "trace"
    strace = ["strace", "-f", "-e", "trace=network", "-o", trace]
    enhance = [sys.executable, "-m", "streamkind", "enhance", clip, clip.parent / "out.mp4"]
    environment = {k: v for k, v in ENVIRONMENT.items() if k != "CI"} | {"HOME": str(home)}
    if shutil.which("strace") is None or subprocess.run([*strace, "true"]).returncode:
        pytest.skip("strace is not there, or may not trace here")
    assert subprocess.run([*strace, *enhance], env=environment).returncode == 0
    calls = trace.read_text()
    assert "exited with 0" in calls
    assert not re.findall(r".*AF_INET.*", calls)
    assert sorted(path.name for path in home.iterdir()) in ([], [".cache"])
