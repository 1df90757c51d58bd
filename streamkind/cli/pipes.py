"""Handles `-` as a name: footage from standard input, and to standard output."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamkind.errors import InputError, OutputError

PIPE = "-"
_BLOCK = 1 << 20
_Y4M = b"YUV4MPEG2 "
"""First bytes by which such a stream is recognised. FFmpeg needs a name to recognise it."""


@contextmanager
def named(input: str, output: Path) -> Iterator[tuple[str, Path]]:
    """Give names of files for a `-`, and afterwards send what was written to standard output.

    All of the input is read first: a video is looked at twice. The output is NUT, or Y4M for Y4M.
    Raises InputError and OutputError.
    """
    if PIPE not in (input, str(output)):
        yield input, output
        return
    with tempfile.TemporaryDirectory(prefix="streamkind-") as folder:
        suffix = ".nut"
        if input == PIPE:
            source = _receive(Path(folder, "input"))
            input, suffix = str(source), source.suffix or suffix
        target = Path(folder, f"output{suffix}") if str(output) == PIPE else output
        yield input, target
        if target != output:
            _send(target)


def _receive(path: Path) -> Path:
    if sys.stdin.isatty():
        raise InputError("-: nothing is piped in; expected e.g. ffmpeg -i x.mp4 -f nut - | ...")
    begin = sys.stdin.buffer.read(_BLOCK)
    path = path.with_suffix(".y4m") if begin.startswith(_Y4M) else path
    try:
        with path.open("wb") as file:
            file.write(begin)
            shutil.copyfileobj(sys.stdin.buffer, file, _BLOCK)
    except OSError as exc:
        raise InputError(
            f"-: no room for it at {path.parent} ({exc.strerror}); set TMPDIR"
        ) from exc
    return path


def _send(path: Path) -> None:
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer, _BLOCK)
        sys.stdout.buffer.flush()
    except BrokenPipeError as exc:
        sys.stdout = None
        raise OutputError("-: nobody reads the output any more; keep the reader open") from exc
    except OSError as exc:
        raise OutputError(f"-: cannot be written ({exc.strerror})") from exc
