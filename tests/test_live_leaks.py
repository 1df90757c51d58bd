"""Cameras and outputs that come and go leave nothing behind."""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter

import pytest
from loopback.scripted import ScriptedCamera
from support.live import GainEngine, children, open_things, state, wait_for, wait_for_state

from streamkind.live.clock import Backoff
from streamkind.live.config import CameraConfig
from streamkind.live.fleet import LiveFleet

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
