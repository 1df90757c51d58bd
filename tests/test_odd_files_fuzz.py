"""Videos damaged at random: no traceback, no crash, no hang, nothing left behind."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from support.odd import ffmpeg, make_base

FORMATS = {
    "a.mp4": "", "b.mov": "-c:a pcm_s16le", "c.mkv": "-c:a libopus", "d.ts": "-bf 2",
    "e.avi": "-c:v mjpeg -pix_fmt yuvj420p -c:a pcm_mulaw -ar 8000", "f.flv": "-ar 44100",
    "g.mpg": "-c:v mpeg2video -c:a mp2", "h.wmv": "-c:v wmv2 -c:a wmav2 -b:a 64k",
    "i.webm": "-c:v libvpx -b:v 50k -c:a libvorbis", "j.h264": "",
}  # fmt: skip
PER_FORMAT = 100
WORKER = """
import signal, sys
from pathlib import Path
from streamkind.errors import StreamkindError
from streamkind.video.sink import open_sink
from streamkind.video.source import open_source

def late(*_):
    raise TimeoutError("20 s are over")

signal.signal(signal.SIGALRM, late)
for line in sys.stdin:
    path, output = line.split()
    print("begin", path, flush=True)
    signal.alarm(20)
    try:
        with open_source(path) as source, open_sink(output, source, preset="ultrafast") as sink:
            for frame in source:
                sink.write(frame)
        told = "done"
    except StreamkindError as error:
        told = "told in more than a line" if "\\n" in str(error).strip() else "told"
        if "the result is in " in str(error):
            name = str(error).partition("the result is in ")[2].partition(";")[0]
            Path(output).with_name(name).unlink()
    except BaseException as error:
        told = f"{type(error).__name__}: {error!r}"
    signal.alarm(0)
    Path(output).unlink(missing_ok=True)
    print("end", told, flush=True)
"""


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return the data with some bytes flipped, replaced, swapped, repeated, zeroed or cut off."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 3, 20])):
        place, other = rng.randrange(len(changed)), rng.randrange(len(changed))
        size = rng.choice([1, 4, 64, 2000])
        match rng.randrange(6):
            case 0:
                changed[place] ^= 1 << rng.randrange(8)
            case 1:
                changed[place : place + size] = rng.randbytes(len(changed[place : place + size]))
            case 2:
                one, two = changed[place : place + size], changed[other : other + size]
                changed[place : place + size], changed[other : other + size] = two, one
            case 3:
                changed[place:place] = changed[other : other + size]
            case 4:
                changed[place : place + size] = bytes(len(changed[place : place + size]))
            case 5:
                changed = changed[: max(1, place)] if rng.random() < 0.3 else changed
    return bytes(changed)


def damaged(folder: Path, per_format: int) -> list[Path]:
    """Write damaged files of all formats; return their paths."""
    made = []
    for name, words in FORMATS.items():
        base = folder / f"base-{name}"
        if name == "j.h264":
            ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=0.4", "-c:v", "libx264", base)
        else:
            make_base(base, seconds=0.4, words=words)
        data = base.read_bytes()
        for number in range(per_format):
            path = folder / f"{number}-{name}"
            path.write_bytes(mutate(data, random.Random(f"{number}{name}")))
            made.append(path)
    return made


def check_damaged(folder: Path, per_format: int) -> None:
    paths, out = damaged(folder, per_format), folder / "out"
    out.mkdir()
    outputs = [out / f"{path.name}.{('mp4', 'mkv')[i % 2]}" for i, path in enumerate(paths)]
    orders = "".join(f"{one} {two}\n" for one, two in zip(paths, outputs, strict=True))
    done = subprocess.run(
        [sys.executable, "-c", WORKER], input=orders, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"crashed at {lines[-1:]}: {done.stderr[-2000:]}"
    ends = [line.removeprefix("end ") for line in lines if line.startswith("end")]
    wrong = [(p.name, e) for p, e in zip(paths, ends, strict=True) if e not in ("done", "told")]
    assert not wrong
    assert ends.count("done") > len(ends) / 4 and "told" in ends
    assert "Traceback" not in done.stderr
    assert list(out.iterdir()) == []


def test_some_damaged_videos(tmp_path: Path) -> None:
    check_damaged(tmp_path, 2)


@pytest.mark.slow
def test_a_thousand_damaged_videos(tmp_path: Path) -> None:
    check_damaged(tmp_path, PER_FORMAT)


@pytest.mark.slow
def test_the_command_line_ends_with_0_to_2(tmp_path: Path, call) -> None:
    before = set()
    for path in damaged(tmp_path, 1):
        output = tmp_path / f"out-{path.name}.mkv"
        before = set(tmp_path.iterdir()) - {output}
        code, _, err = call("enhance", path, output, "--profile", "realtime")
        assert code in (0, 1, 2) and "Traceback" not in err
        assert set(tmp_path.iterdir()) - {output} == before
        assert output.exists() == (code == 0)
