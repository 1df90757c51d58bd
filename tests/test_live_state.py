"""The state that the threads of a camera share: its lock, its events and its snapshots."""

from __future__ import annotations

import threading
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from support.live import GainBackend, GainEngine, state, wait_for
from support.media import make_clip

from streamkind.engine.engine import Engine
from streamkind.live import shared
from streamkind.live.camera import Camera
from streamkind.live.config import CameraConfig
from streamkind.live.fleet import LiveFleet
from streamkind.live.output_streams import FALLBACK_RATE, OutputStreams
from streamkind.live.shared import SharedEngine
from streamkind.live.state import CameraState, OutputState
from streamkind.live.status import Preview


def camera_of(**more):
    return CameraConfig(
        **{"name": "yard", "url": "rtsp://host/1", "max_delay_seconds": 2.0, **more}
    )


CONFIG = camera_of()
PIXELS = np.zeros((2, 2, 3), np.uint8)
NOW = 1000.0
"""A simulated time of `time.monotonic`, in seconds."""


def told(camera, *, take_ages=False):
    return camera.snapshot(dropped=0, queue=0, sinks=(), take_ages=take_ages)


PREVIEW = Preview(PIXELS, lambda: PIXELS, 0.0)
CAMERA = {
    "config": lambda c: c.config,
    "configure": lambda c: c.configure(CONFIG),
    "packet_decoded": lambda c: c.packet_decoded(1, 0.1),
    "picture_came": lambda c: c.picture_came((2, 2)),
    "failed": lambda c: c.failed("broken"),
    "lost": lambda c: c.lost("gone"),
    "stopped": lambda c: c.stopped(),
    "engine_took": lambda c: c.engine_took(1.0),
    "enhanced": lambda c: c.enhanced(PREVIEW, 2.0, {"steady": 1.0}, NOW),
    "encoded": lambda c: c.encoded(0.1),
    "handed_on": lambda c: c.handed_on(NOW),
    "left": lambda c: c.left(0.1),
    "frames_in": lambda c: c.frames_in,
    "frames_out": lambda c: c.frames_out,
    "last_handed_on": lambda c: c.last_handed_on,
    "preview": lambda c: c.preview,
    "all_late": lambda c: c.all_late,
    "no_signal_since": lambda c: c.no_signal_since(NOW),
    "snapshot": told,
}
OUTPUT = {
    "is_live": lambda o: o.is_live,
    "connected": lambda o: o.connected(),
    "handed_over": lambda o: o.handed_over(1),
    "publisher_ended": lambda o: o.publisher_ended(),
    "dropped": lambda o: o.dropped(1),
    "failed": lambda o: o.failed("broken"),
    "ended": lambda o: o.ended(for_good=False),
    "snapshot": lambda o: o.snapshot(),
}
STREAMS = {
    "connected": lambda p: p.connected(None, Fraction(1), None),
    "fix": lambda s: s.fix(),
    "carries_sound": lambda p: p.carries_sound,
}
ALL = [
    (kind, given, name, call)
    for kind, given, calls in (
        (CameraState, (CONFIG,), CAMERA),
        (OutputState, ("rtsp://host/1",), OUTPUT),
        (OutputStreams, (), STREAMS),
    )
    for name, call in calls.items()
]
NAMES = [f"{kind.__name__}-{name}" for kind, _, name, _ in ALL]


def watched(kind):
    """Return a subclass of a state in which access to a field without the lock is an error."""

    class Watched(kind):
        ready = False

        def __getattribute__(self, name):
            value = super().__getattribute__(name)
            if name.startswith("_") and not callable(value) and name not in ("_lock", "__dict__"):
                assert self._lock.locked(), f"{name} is read without the lock"
            return value

        def __setattr__(self, name, value):
            assert not self.ready or self._lock.locked(), f"{name} is written without the lock"
            super().__setattr__(name, value)

    return Watched


@pytest.mark.parametrize(("kind", "given", "name", "call"), ALL, ids=NAMES)
def test_no_field_is_accessed_without_the_lock(kind, given, name, call):
    one = watched(kind)(*given)
    object.__setattr__(one, "ready", True)
    call(one)
    assert not one._lock.locked()


def test_every_method_is_looked_at():
    for kind in (CameraState, OutputState, OutputStreams):
        public = {name for name in vars(kind) if not name.startswith("_")}
        assert public == {name for of, _, name, _ in ALL if of is kind}


@pytest.mark.parametrize(
    ("events", "state", "frames", "reconnects"),
    [
        ("", "connecting", 0, 0),
        ("l", "connecting", 0, 0),  # it was never connected
        ("r", "refused", 0, 0),
        ("io", "live", 1, 0),
        ("ioio", "live", 2, 0),
        ("i", "connecting", 1, 0),  # no frame has come out yet
        ("iol", "lost", 1, 0),
        ("ior", "refused", 1, 0),
        ("iolio", "live", 2, 1),
        ("lrlio", "live", 1, 0),
        ("iolliolio", "live", 3, 2),
        ("ios", "stopped", 1, 0),
        ("sil", "stopped", 1, 0),  # it stays stopped
    ],
)
def test_events_of_a_camera_set_its_state(events, state, frames, reconnects, monkeypatch):
    monkeypatch.setattr("streamkind.live.state.time.monotonic", lambda: NOW)
    camera = CameraState(CONFIG)
    for event in events:
        {
            "i": lambda: camera.picture_came((640, 480)),
            "o": lambda: camera.handed_on(NOW),
            "l": lambda: camera.lost("gone"),
            "r": lambda: camera.lost("wrong password", refused=True),
            "s": camera.stopped,
        }[event]()
    now = told(camera)
    assert (now.state, now.frames_in, now.reconnects) == (state, frames, reconnects)
    lost = "l" in events or "r" in events
    assert bool(now.error) == lost
    assert bool(camera.no_signal_since(NOW)) == (state in ("lost", "refused") or "o" not in events)


@pytest.mark.parametrize(("later", "shown"), [(1.0, "live"), (9.0, "lost")])
def test_a_live_camera_is_lost_while_nothing_comes_out(later, shown, monkeypatch):
    monkeypatch.setattr("streamkind.live.state.time.monotonic", lambda: NOW + later)
    camera = CameraState(CONFIG)
    camera.picture_came((640, 480))
    camera.handed_on(NOW)
    assert told(camera).state == shown
    assert (camera.no_signal_since(NOW + later) > 0) == (shown == "lost")


def test_ages_are_taken_once_and_sums_stay():
    camera = CameraState(CONFIG)
    for age in (1.0, 2.0):
        camera.left(age)
    assert told(camera).ages == told(camera, take_ages=True).ages == (1.0, 2.0)
    now = told(camera)
    assert (now.ages, now.age_count, now.age_sum, now.delay_seconds) == ((), 2, 3.0, 2.0)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ("pp", ("connecting", 0, 0, 0)),
        ("ppe", ("lost", 0, 2, 0)),  # there was no connection, so both are dropped
        ("ppcp", ("live", 3, 0, 0)),
        ("pcped", ("lost", 2, 1, 0)),
        ("cpecp", ("live", 2, 0, 1)),
        ("cpeppecp", ("live", 2, 2, 1)),
        ("cps", ("stopped", 1, 0, 0)),
    ],
)
def test_events_of_an_output_set_its_state(events, expected):
    output = OutputState("rtsp://user:sesame@host/1")
    for event in events:
        if event == "p":
            output.handed_over(1)
        elif event == "c":
            output.connected()
        elif event == "d":
            output.dropped(1)
        else:
            output.publisher_ended()
            output.ended(for_good=event == "s")
    now = output.snapshot()
    assert (now.state, now.frames, now.dropped, now.reconnects) == expected
    assert "sesame" not in now.url


def test_whether_a_camera_is_too_old_is_asked_without_changing_it():
    engine = SharedEngine(GainEngine)
    try:
        camera = Camera(CONFIG, engine)
        before = told(camera.state)
        assert camera.oldest(0.0, 9.0) < camera.oldest(0.5, 9.0) < camera.oldest(100.0, 9.0)
        assert camera.oldest(0.0, 9.0) < camera.oldest(0.0, 0.2) < camera.oldest(0.0, 0.06)
        file = Camera(camera_of(url="file:/a.mp4"), engine)
        assert file.oldest(0.0, 0.06) < camera.oldest(0.0, 1.9)  # the load does not affect files
        assert not camera.state.all_late and told(camera.state) == before
        camera.took(2.5)
        assert camera.state.all_late
        camera.oldest(0.0, 0.2)
        assert camera.state.all_late
        camera.change(camera_of(max_delay_seconds=3.0))
        assert not camera.state.all_late
    finally:
        engine.stop()
        engine._thread.join()


def test_settings_from_two_threads_at_once_both_count():
    with LiveFleet(GainEngine) as fleet:
        fleet.put(camera_of(url="rtsp://127.0.0.1:9/1"))
        done = threading.Event()

        def set_target():
            fleet.set("yard", target=0.5)
            done.set()

        with fleet._lock:  # as if another thread read the settings and wrote them back
            thread = threading.Thread(target=set_target)
            thread.start()
            assert not done.wait(0.3)
            camera = fleet._cameras["yard"]
            camera.change(camera.config.model_copy(update={"ratio": 3.0}))
        thread.join()
        now = fleet.configs()["yard"]
    assert (now.ratio, now.target) == (3.0, 0.5)


class Numbered(GainBackend):
    """A backend with a number. All with a number below `last` fail, also when they are closed."""

    def __init__(self, number, last, log):
        super().__init__()
        self.number, self.last, self.log = number, last, log
        self.description = f"number {number}"
        log.append(f"open {number}")

    def decompose(self, pixels):
        if self.number < self.last:
            raise RuntimeError("lost the device")
        return super().decompose(pixels)

    def close(self):
        self.log.append(f"close {self.number}")
        if self.number < self.last:
            raise RuntimeError("the device does not answer")


@pytest.mark.parametrize("last", [1, 3])
def test_a_lost_engine_that_cannot_be_closed_gives_way_to_another(tmp_path, monkeypatch, last):
    monkeypatch.setattr(shared, "PAUSE_SECONDS", 0.0)
    log: list[str] = []
    clip = make_clip(tmp_path / "clip.mp4", frames=60, size=(160, 128), rate=10)
    with LiveFleet(
        lambda: Engine(Numbered(sum(s.startswith("open") for s in log), last, log))
    ) as fleet:
        assert "number 0" in fleet.engine
        fleet.put(CameraConfig(name="yard", url=f"file:{clip}", max_delay_seconds=60.0))
        wait_for(lambda: state(fleet).frames_out > 0, "no engine is opened anew")
        assert f"number {last}" in fleet.engine
    steps = [f"{what} {i}" for i in range(last + 1) for what in ("open", "close")]
    assert log == steps


TALK = SimpleNamespace(key="aac 8000")
MUSIC = SimpleNamespace(key="aac 48000")


@pytest.mark.parametrize(
    ("before", "after", "expected", "carries"),
    [
        ([TALK], None, TALK, True),
        ([None], None, None, False),
        ([TALK, MUSIC], None, MUSIC, True),  # no output is open yet
        ([TALK], MUSIC, TALK, False),  # the outputs were opened with the other
        ([None], TALK, None, False),
        ([], TALK, None, False),  # the encoder was opened before the camera
    ],
)
def test_sound_is_written_only_to_outputs_that_were_opened_with_it(
    before, after, expected, carries
):
    streams = OutputStreams()
    for sound in before:
        streams.connected(Fraction(10), Fraction(1), sound)
        assert not streams.carries_sound  # there is no output yet
    rate, _, sound = streams.fix()
    assert (rate, sound) == (Fraction(10) if before else FALLBACK_RATE, expected)
    if after:
        streams.connected(None, Fraction(1), after)
    assert streams.carries_sound == carries
