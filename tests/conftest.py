"""What all tests share."""

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

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 reads it once in a process; the command sets it
DEBIAN = re.compile(
    r'"(ffmpeg|ffprobe|openssl|prometheus)"|\b(camera_server|record_server|chromium)\b'
)
"""Names, in a file of tests, of programs that Debian brings, or of what starts them."""
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
    """Leave out files with --quick before they are imported, which takes long itself."""
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
    before = threading.enumerate()  # with those of fixtures of the whole file
    yield
    left = [t for t in threading.enumerate() if t.name.startswith("streamkind-")]
    left = [t for t in left if t not in before]
    for thread in left:
        thread.join(60)  # one may be about to end, as the reader of a process that was killed is
    assert not [t.name for t in left if t.is_alive()]


@pytest.fixture(autouse=True)
def scheduling_kept() -> Iterator[None]:
    """Every later process of this worker, Chromium too, would get a real-time priority as well."""
    own = threading.get_native_id()
    before = schedulings().get(own)
    yield
    assert schedulings().get(own) == before


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs of live cameras get a minute to start, to write and to end, as on a busy machine."""
    for limit in LIVE_LIMITS:
        monkeypatch.setattr(f"streamkind.live.{limit}", 60.0)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten frames, 64x48, 25 a second, BT.601."""
    return make_clip(tmp_path / "clip.mp4")


@pytest.fixture
def short_parts(monkeypatch):
    """Parts of a second, so that a batch divides four seconds into some."""
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
