"""Damaged files: errors are those of streamkind, nothing hangs, no file is left behind."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.media import make_clip, picture

from streamkind.errors import StreamkindError
from streamkind.video.sink import open_sink
from streamkind.video.source import open_source

KINDS = ("mp4", "mkv", "ts", "avi", "flv", "jpg", "png", "webp", "tif", "gif")
STILLS = ("jpg", "png", "tif")
PER_KIND = 100


def whole(folder: Path, kind: str) -> bytes:
    path = folder / f"whole.{kind}"
    if kind in STILLS:
        noise = np.random.default_rng(0).integers(0, 90, (48, 64, 3), np.uint8)
        exif = Image.Exif()
        exif[0x0112], exif[0x0132] = 6, "2026:11:28 21:00:00"
        Image.fromarray(noise).save(path, exif=exif)
    elif kind in ("webp", "gif"):
        images = [Image.fromarray(picture(4 * n)) for n in range(4)]
        images[0].save(path, save_all=True, append_images=images[1:], duration=40)
    else:
        make_clip(folder / "clip.mp4", audio="aac")
        words = ["-i", folder / "clip.mp4", "-c", "copy", path]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True)
    return path.read_bytes()


def mutated(data: bytes, seed: int) -> bytes:
    """Change bytes, cut the end off, cut a piece out, or swap two pieces, by `seed`."""
    dice = random.Random(seed)
    change = bytearray(data)
    how = seed % 4
    if how == 0:
        for _ in range(dice.choice((1, 5, 50))):
            change[dice.randrange(len(change))] = dice.randrange(256)
    elif how == 1:
        del change[dice.randrange(len(change)) :]
    elif how == 2:
        begin = dice.randrange(len(change))
        del change[begin : begin + dice.randrange(1, 400)]
    else:
        first, second = (dice.randrange(len(change)) for _ in range(2))
        size = dice.randrange(1, 200)
        change[first : first + size], change[second : second + size] = (
            change[second : second + size],
            change[first : first + size],
        )
    return bytes(change)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", KINDS)
def test_errors_of_damaged_files_are_one_line(tmp_path, kind):
    data, output = whole(tmp_path, kind), tmp_path / "out" / "out.mkv"
    output = output.with_suffix(".png") if kind in STILLS else output
    output.parent.mkdir()
    refused = 0
    for seed in range(PER_KIND):
        path = tmp_path / f"in.{kind}"
        path.write_bytes(mutated(data, seed))
        try:
            with open_source(path) as source, open_sink(output, source) as sink:
                for frame in source:
                    sink.write(frame)
        except StreamkindError as error:
            refused += 1
            assert str(error) and "\n" not in str(error)
            assert list(output.parent.iterdir()) == []
        else:
            assert [p.name for p in output.parent.iterdir()] == [output.name]
            output.unlink()
    assert refused  # otherwise no file was damaged enough
