"""Settings of the whole process: commands change them, the library does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from PIL import Image
from support.machines import put_nvidia_smi
from support.media import make_clip

from streamkind.backends.process import MOST_PIXELS

REPORT = """
import ctypes, json, os
from PIL import Image
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in names]
libc.mallinfo2.restype = Info
libc.free(libc.malloc(30 << 20))  # glibc's own threshold is 30 MiB from now on
mapped = libc.mallinfo2().hblks
libc.malloc(20 << 20)
large = libc.mallinfo2().hblks > mapped
libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
def top():
    return libc.mallinfo2().keepcost, libc.sbrk(0)
before = top()
while top() == before:  # the first blocks may fill holes of the heap
    block = libc.malloc(4 << 20)
libc.free(block)
print(json.dumps({
    "returns_large": large,
    "keeps_small": libc.mallinfo2().keepcost >= 4 << 20,
    "environ": {name: os.environ.get(name) for name in ("SVT_LOG", "CUDA_DEVICE_ORDER")},
    "pixels": Image.MAX_IMAGE_PIXELS,
}))
"""
LIBRARY = """
import streamkind
from streamkind.backends.cards import find_cards, first_card
with streamkind.open_engine("student", backend="openvino", profile="realtime") as engine:
    pass
streamkind.enhance({clip!r}, {out!r}, profile="realtime", backend="openvino", codec="av1")
assert find_cards() == [first_card()]
"""
COMMAND = """
import sys
from streamkind.cli import main
sys.argv = ["streamkind", "--version"]
try:
    main()
except SystemExit as leave:
    assert leave.code == 0
"""
WORKER = f"""
from streamkind.batch.executors import Processes
with Processes(1) as processes:
    processes.submit(exec, {REPORT!r}, dict()).result()
"""
LEFT = {
    "returns_large": False,
    "keeps_small": True,
    "environ": {"SVT_LOG": None, "CUDA_DEVICE_ORDER": None},
    "pixels": Image.MAX_IMAGE_PIXELS,
}
SET = {
    "returns_large": True,
    "keeps_small": True,
    "environ": {"SVT_LOG": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
    "pixels": MOST_PIXELS,
}


def told_by(program, **variables):
    """Run a program that prints `REPORT` at its end; return the report."""
    kept = {k: v for k, v in os.environ.items() if k not in SET["environ"]}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, env=kept | variables, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_users_program_stays_as_it_is(tmp_path, monkeypatch):
    put_nvidia_smi(monkeypatch, tmp_path)
    clip = make_clip(tmp_path / "in.mp4", frames=2)
    library = LIBRARY.format(clip=str(clip), out=str(tmp_path / "out.mp4"))
    assert told_by(library + REPORT) == LEFT


@pytest.mark.parametrize("program", [COMMAND + REPORT, WORKER], ids=["command", "worker"])
def test_a_process_of_our_own_is_set(program):
    assert told_by(program) == SET


def test_settings_of_the_user_are_kept():
    told = told_by(COMMAND + REPORT, SVT_LOG="3", CUDA_DEVICE_ORDER="FASTEST_FIRST")
    assert told["environ"] == {"SVT_LOG": "3", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
