"""Cameras and outputs that come and go leave nothing behind."""

from __future__ import annotations

import gc
import io
import os
import signal
import threading
from collections import Counter
from fractions import Fraction

import av
import pytest
from loopback.scripted import ScriptedCamera
from support.live import GainEngine, children, open_things, state, wait_for, wait_for_state

from streamkind.live import sink
from streamkind.live.clock import Backoff
from streamkind.live.config import CameraConfig
from streamkind.live.encoder import Coded, LiveEncoder
from streamkind.live.fleet import LiveFleet
from streamkind.live.sink import Publisher

HEAVY = {
    "InputContainer", "OutputContainer", "VideoStream", "AudioStream", "VideoCodecContext",
    "AudioCodecContext", "BitStreamFilterContext", "Connection", "Template", "Publisher",
    "LiveEncoder", "Deinterlacer", "Reader",
}  # fmt: skip
"""Types that hold memory of FFmpeg, or a process."""


def held():
    """Return counts of live objects, by type, and of threads and file descriptors."""
    gc.collect()
    alive = Counter(type(thing).__name__ for thing in gc.get_objects())
    return {name: alive[name] for name in HEAVY}, open_things()


@pytest.mark.parametrize("ends", ["camera", "outputs"])
def test_nothing_is_left_of_what_was_connected_before(tmp_path, monkeypatch, ends):
    monkeypatch.setattr(Backoff, "next_seconds", lambda self: 0.05)
    to = (str(tmp_path / "rec"), str(tmp_path / "a.m3u8"))
    with ScriptedCamera(sound="L16/44100/2") as camera, LiveFleet(GainEngine) as fleet:
        fleet.put(CameraConfig(name="yard", url=camera.url, to=to, timeout_seconds=60.0))

        def count():
            told = state(fleet)
            return told.reconnects if ends == "camera" else min(s.reconnects for s in told.sinks)

        def again():
            before, frames = count(), state(fleet).frames_out
            if ends == "camera":
                camera.hang_up()
            else:
                for pid in children(os.getpid()):  # the processes behind outputs
                    os.kill(pid, signal.SIGKILL)
            wait_for(lambda: count() > before, "it is not connected again")
            wait_for(lambda: state(fleet).frames_out > frames + 5, "nothing comes")
            wait_for(lambda: all(s.state == "live" for s in state(fleet).sinks), "no output")

        wait_for_state(fleet, "live")
        wait_for(lambda: all(s.state == "live" for s in state(fleet).sinks), "no output")
        again()
        first = held()
        assert first[0]["Connection"] == first[0]["InputContainer"] == 1  # the count finds them
        for _ in range(6):
            again()
        wait_for(lambda: held() == first, f"more than {first}")


STORES = """
import sys
open(__file__ + ".nut", "wb").write(sys.stdin.buffer.read().partition(b"\\n")[2])
"""
"""A process of an output that stores what comes after its order."""
SYNCPOINT = bytes.fromhex("4E4BE4ADEECA4569")
"""Start code in NUT of a point to seek to. FFmpeg keeps all of them in memory while it writes or
reads."""


def test_the_pipe_to_an_output_holds_nothing_that_ffmpeg_would_keep(tmp_path, monkeypatch):
    monkeypatch.setattr(sink, "PUBLISHER", tmp_path / "stores.py")
    sink.PUBLISHER.write_text(STORES)
    encoder = LiveEncoder("h264", (64, 48), Fraction(25), Fraction(1))
    publisher = Publisher({}, [encoder.stream], threading.Event())
    times = [3600 * i for i in range(40)] + [10**12 + 3600 * i for i in range(40)]
    for number, pts in enumerate(times):
        publisher.write(Coded(bytes(50_000), pts, 0, number % 10 == 0, True))
    publisher.finish()
    publisher.close()
    written = (tmp_path / "stores.py.nut").read_bytes()
    assert written.count(SYNCPOINT) == 1
    with av.open(io.BytesIO(written), "r", format="nut") as stored:
        packets = [packet for packet in stored.demux() if packet.size]
    assert [packet.pts for packet in packets] == times
    assert [n for n, packet in enumerate(packets) if packet.is_keyframe] == list(range(0, 80, 10))
