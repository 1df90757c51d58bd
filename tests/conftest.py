"""Fixtures and options that all tests share."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from support.compiled import graphs_compiled_once
from support.media import make_clip

from streamkind import cli
from streamkind.batch import divide
from streamkind.platform import schedulings

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 reads it once per process; the command sets it
DEBIAN = re.compile(
    r'"(ffmpeg|ffprobe|openssl|prometheus)"|\b(camera_server|record_server|chromium)\b'
)
"""Matches files of tests that run Debian's programs: names of programs, or of their helpers."""
LONG = re.compile(
    "test_(app_queue|backends|bench|cache|carry|cluster|data|evaluate|export|gpu_check|half|"
    "kept|kind|lite|live_leaks|odd_files_.*|openvino|ov_devices|pipeline|plans|platform|"
    "process|python_api|scenes|score|single|sizes|sparse|steady|student|tensorrt|"
    "torch_on_card|train|train_ddp)"
)
"""Files of tests that train, export, build plans or run the networks. Each takes at least five
seconds of processor time. Without them, `make quick` takes less than two minutes on two cores."""


LIVE_LIMITS = (
    "fleet.STOP_SECONDS",
    "fleet.HALT_SECONDS",
    "sink.STUCK_SECONDS",
    "sink.CONNECT_SECONDS",
    "sink.REASON_SECONDS",
)
"""Limits, in seconds, after which live outputs are ended or started again."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of `make quick`."""
    parser.addoption("--quick", action="store_true", help="leave out files of long tests")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out long tests with --quick before their files are imported, which also takes long."""
    if not config.getoption("quick") or collection_path.suffix != ".py":
        return None
    long = LONG.fullmatch(collection_path.stem)
    return bool(long or DEBIAN.search(collection_path.read_text())) or None


@pytest.fixture(autouse=True, scope="session")
def compiled_once() -> Iterator[None]:
    with graphs_compiled_once():
        yield


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    before = threading.enumerate()  # includes the threads of module fixtures
    yield
    left = [t for t in threading.enumerate() if t.name.startswith("streamkind-")]
    left = [t for t in left if t not in before]
    for thread in left:
        thread.join(60)  # it may be about to end, such as the reader of a killed process
    assert not [t.name for t in left if t.is_alive()]


@pytest.fixture(autouse=True)
def scheduling_kept() -> Iterator[None]:
    """Check that a test does not change the scheduling of its thread.

    Processes that later tests start, such as Chromium, would inherit a real-time priority.
    """
    own = threading.get_native_id()
    before = schedulings().get(own)
    yield
    assert schedulings().get(own) == before


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give outputs of live cameras a minute to start, to write and to end, for a busy machine."""
    for limit in LIVE_LIMITS:
        monkeypatch.setattr(f"streamkind.live.{limit}", 60.0)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Write a clip of ten frames, 64x48, 25 frames per second, BT.601; return its path."""
    return make_clip(tmp_path / "clip.mp4")


@pytest.fixture
def short_parts(monkeypatch):
    """Let a batch divide videos into parts of one second, so that a short clip has several."""
    monkeypatch.setattr(divide, "PART_SECONDS", 1.0)


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command line in this process; return exit code, stdout and stderr."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    handlers = [signal.getsignal(number) for number in numbers]

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["streamkind", *map(str, words)])
        with pytest.raises(SystemExit) as leave:
            cli.run()
        return leave.value.code, *capsys.readouterr()

    with mock.patch.dict(os.environ):  # the command sets variables of its process
        yield run
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
