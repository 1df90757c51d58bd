"""The pipes of a publishing process: with `select`, and with threads as on Windows."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from streamkind.live import pipes as pipes_module
from streamkind.live.pipes import ProcessPipes, SelectedPipes, ThreadedPipes, open_pipes

COUNT = """
import sys
sys.stdin.buffer.read(1)
sys.stdout.write("first\\n")
sys.stdout.flush()
sys.stdout.write(f"{1 + len(sys.stdin.buffer.read())}\\n")
"""
"""Program that reads a byte, prints a line, reads to the end and prints the number of bytes."""
Start = Callable[[str], tuple[ProcessPipes, subprocess.Popen[bytes]]]


@pytest.fixture(params=[SelectedPipes, ThreadedPipes])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    begun = []

    def run(code: str) -> tuple[ProcessPipes, subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        begun.append((request.param(process.stdin.fileno(), process.stdout.fileno()), process))
        return begun[-1]

    yield run
    for pipes, process in begun:
        process.kill()
        process.wait()
        pipes.close()
        pipes.finish(10)
        process.stdin.close()
        process.stdout.close()


def heard(pipes: ProcessPipes, lines: int) -> bytes:
    """Read until there are `lines` lines, for at most a minute; return the bytes."""
    found, until = b"", time.monotonic() + 60
    while found.count(b"\n") < lines and time.monotonic() < until:
        found += pipes.read()
        time.sleep(0.01)
    return found


@pytest.mark.parametrize(("windows", "kind"), [(False, SelectedPipes), (True, ThreadedPipes)])
def test_windows_has_threads_whatever_functions_its_python_has(windows, kind, monkeypatch):
    monkeypatch.setattr(pipes_module, "WINDOWS", windows, raising=False)
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        pipes = open_pipes(process.stdin.fileno(), process.stdout.fileno())
        pipes.close()
        assert pipes.finish(60)
        process.stdin.close()
    assert isinstance(pipes, kind)


def test_all_bytes_arrive(start):
    pipes, process = start(COUNT)
    assert pipes.read() == b""
    rest = memoryview(bytes(1_000_000))
    while rest:
        rest = rest[pipes.write(rest, 1) :]
    assert pipes.finish(60)
    process.stdin.close()
    assert heard(pipes, 2).split() == [b"first", b"1000000"]


def test_a_process_that_reads_nothing_is_reported(start):
    pipes, _ = start("import time; time.sleep(600)")
    data, taken = memoryview(bytes(1 << 16)), 1
    for _ in range(100):  # until the pipe is full
        taken = pipes.write(data, 0.1)
        if not taken:
            break
    assert taken == 0
    assert pipes.read() == b""


def test_a_process_that_has_ended_is_an_error(start):
    pipes, process = start("")
    process.wait()
    with pytest.raises(OSError):
        for _ in range(1000):
            pipes.write(memoryview(b"x"), 0.1)
            time.sleep(0.01)


def test_a_process_of_many_cameras_writes_to_full_pipes():
    """Check that a full pipe may have a descriptor above 1023, the last one of `select`."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, limits[1]), limits[1]))
    out, into = os.pipe()
    high = fcntl.fcntl(into, fcntl.F_DUPFD_CLOEXEC, 1024)
    try:
        pipes = SelectedPipes(high, out)
        written = 0
        while taken := pipes.write(memoryview(bytes(1 << 16)), 0.01):
            written += taken
        assert len(pipes.read()) == written > 0
    finally:
        for file in (out, into, high):
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
