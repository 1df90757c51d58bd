"""Handles the name `-`: video from standard input and to standard output."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import cast

from streamkind.cli.interrupt import interrupted
from streamkind.errors import InputError, OutputError, StreamkindError
from streamkind.video.pipe_input import PipeInput
from streamkind.video.publish import STDOUT

PIPE = "-"
"""Name of standard input and of standard output on the command line."""
_STREAMED = {b"YUV4MPEG2 ": ".y4m", b"nut/multimedia container": ".nut"}
"""Endings of the formats that are enhanced while they arrive, by their first bytes."""


@contextmanager
def named(input: str, output: Path) -> Iterator[tuple[str | Path, Path]]:
    """Yield the input to read and the output to write. `-` stands for standard input and output.

    From standard input, NUT and Y4M are read while they arrive. Other formats are received
    completely first. The output is NUT, or Y4M if the input is Y4M. Raises InputError if standard
    input is a terminal or closed, and OutputError if standard output is one.
    """
    if PIPE not in (input, str(output)):
        yield input, output
        return
    if str(output) == PIPE and sys.stdout is None:
        raise OutputError("-: standard output is closed; expected a pipe or a file")
    if str(output) == PIPE and sys.stdout.isatty():
        raise OutputError(
            "-: standard output is a terminal; expected a pipe or a file, such as ... - | ffplay -"
        )
    with tempfile.TemporaryDirectory(prefix="streamkind-") as folder:
        if input != PIPE:
            yield input, Path(f"{STDOUT}.nut")
            return
        with closing(_receive(Path(folder))) as pipe_input:
            suffix = pipe_input.suffix or ".nut"
            target = Path(f"{STDOUT}{suffix}") if str(output) == PIPE else output
            if pipe_input.suffix:
                yield cast(Path, pipe_input), target
                return
            path = pipe_input.receive()
            try:
                yield path, target
            except StreamkindError as error:
                raise type(error)(str(error).replace(str(path), PIPE)) from error


def _receive(folder: Path) -> PipeInput:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("-: nothing is piped in; expected e.g. ffmpeg -i x.mp4 -f nut - | ...")
    pipe = cast(BufferedReader, sys.stdin.buffer)
    begin = pipe.peek(max(map(len, _STREAMED)))
    kinds = [suffix for first, suffix in _STREAMED.items() if begin.startswith(first)]
    return PipeInput(pipe, folder, kinds[0] if kinds else "", interrupted)
