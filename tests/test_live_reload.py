"""Settings that change while cameras run, by the file and by the API."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time

import pytest
from loopback.still_fleet import StillFleet
from support.console_at import TOKEN, console_at, two_cameras
from support.live import GainEngine, wait_for

from streamkind.cli import live
from streamkind.cli.live import merged, reload
from streamkind.errors import UsageError
from streamkind.live.camera import Camera
from streamkind.live.config import CameraConfig, ConsoleConfig, check_outputs, read_config
from streamkind.live.fleet import LiveFleet
from streamkind.live.status import SinkStatus
from streamkind.live.web import guard
from streamkind.platform import RELOAD
from streamkind.video.storage import natural

ONE = "[camera.one]\nurl = 'rtsp://h/1'\nto = 'rec/one'\n"
TWO = "[camera.two]\nurl = 'rtsp://h/2'\nto = 'rec/two'\n"


@pytest.fixture
def served(tmp_path):
    """Return a fleet that has read cameras.toml, and a function that rewrites and reloads it."""
    path = tmp_path / "cameras.toml"
    fleet = StillFleet()
    console = ConsoleConfig()
    path.write_text(ONE + TWO)
    known, _ = read_config(path)
    for config in known.values():
        fleet.put(config)

    def write(text):
        nonlocal known
        path.write_text(text)
        known = reload(fleet, path, known, console)
        return fleet.configs()

    return fleet, write


@pytest.mark.parametrize("text", ["", "\n# nothing\n", "[console]\nport = 1\n"])
def test_a_file_without_cameras_stops_none_unless_it_says_so(served, text, caplog):
    _, write = served
    assert set(write(text)) == {"one", "two"}
    assert "empty table [camera]" in caplog.text
    assert set(write(ONE)) == {"one"}  # a camera that the file no longer has is removed
    assert set(write(text)) == {"one"}
    assert write(text + "[camera]\n") == {}
    assert set(write(TWO)) == {"two"}


def test_a_file_with_too_many_cameras_changes_nothing(served, monkeypatch, caplog):
    _, write = served
    monkeypatch.setattr("streamkind.live.fleet.MOST_CAMERAS", 2)
    more = "".join(f"[camera.c{n}]\nurl = 'rtsp://h/{n}'\n" for n in range(2))
    assert set(write(ONE + more)) == {"one", "two"}
    assert "at most 2 cameras" in caplog.text


def test_changes_by_the_api_stay_until_the_file_changes_them(served):
    fleet, write = served
    fleet.set("one", ratio=3.0)
    fleet.put(fleet.configs()["two"].model_copy(update={"timeout_seconds": 9.0}))
    fleet.put(CameraConfig(name="added", url="rtsp://h/3"))
    after = write(ONE + "target = 0.5\n" + TWO + "max_delay_seconds = 2\n")
    assert (after["one"].ratio, after["one"].target) == (3.0, 0.5)
    assert (after["two"].timeout_seconds, after["two"].max_delay_seconds) == (9.0, 2)
    assert "added" in after
    assert write(ONE + "ratio = 2\n" + TWO)["one"].ratio == 2
    fleet.remove("two")
    assert set(write(ONE + "ratio = 4\n" + TWO)) == {"one", "added"}


def test_a_camera_may_be_removed_by_the_api_during_a_reload(served, monkeypatch):
    fleet, write = served
    before = fleet.configs()
    monkeypatch.setattr(fleet, "configs", lambda: before)  # the settings before the removal
    fleet.remove("two")
    write(ONE)
    monkeypatch.undo()
    assert set(fleet.configs()) == {"one"}


def test_a_camera_without_a_thread_is_reported_and_stops_no_later_change(monkeypatch):
    started = []

    def start(camera):
        if camera.config.name == "one":
            raise RuntimeError("can't start new thread")
        started.append(camera.config.name)

    monkeypatch.setattr(Camera, "start", start)
    with LiveFleet(GainEngine) as fleet:
        for name in ("one", "two"):
            fleet.put(CameraConfig(name=name, url="rtsp://127.0.0.1:1/1"))
        wait_for(lambda: started == ["two"], "the second camera was not started")
        errors = {camera.name: camera.error for camera in fleet.look()}
    assert "can't start new thread" in errors["one"]
    assert not errors["two"]


@pytest.mark.parametrize("command", ["serve", "stream"])
def test_the_console_is_loaded_before_cameras_run(command, call, monkeypatch, tmp_path):
    """Check the order. While cameras run, the imports take long, and they delay signals."""
    (tmp_path / "cameras.toml").write_text(ONE)
    monkeypatch.setitem(sys.modules, "streamkind.live.web.server", None)
    monkeypatch.setattr(live, "open_fleet", lambda **_: pytest.fail("cameras run already"))
    words = {"serve": [tmp_path / "cameras.toml"], "stream": ["a.mp4", "--to", tmp_path]}[command]
    code, _, err = call(command, *words, "--console")
    assert code == 2
    assert "the console needs" in err


def test_a_change_while_the_engine_is_opened_is_read(call, monkeypatch, tmp_path):
    path, fleet, looks = tmp_path / "cameras.toml", StillFleet(), []
    path.write_text(ONE)
    fleet.look, fleet.stop = fleet.status, lambda: None

    def opened(**_):
        path.write_text(ONE + TWO)
        return contextlib.nullcontext(fleet)

    monkeypatch.setattr(live, "open_fleet", opened)
    monkeypatch.setattr(
        live.Signals, "stop_within", lambda self, seconds: looks.append(seconds) or len(looks) > 5
    )
    assert call("serve", path, "--no-console")[0] == 0
    assert set(fleet.configs()) == {"one", "two"}


def test_settings_are_merged_key_by_key():
    def camera(**more):
        return CameraConfig(name="a", url="rtsp://h/1", **more)

    before, running, now = camera(), camera(ratio=2.0, codec="hevc"), camera(codec="av1")
    assert merged(now, before, running) == camera(ratio=2.0, codec="av1")
    assert merged(now, None, running) == merged(now, before, None) == now


def test_outputs_may_be_exchanged_in_one_step_but_never_shared(served, caplog):
    fleet, write = served
    swapped = ONE.replace("rec/one", "rec/two") + TWO.replace("rec/two", "rec/one")
    after = write(swapped)
    assert [after[n].to for n in ("one", "two")] == [("rec/two",), ("rec/one",)]
    fleet.put(CameraConfig(name="added", url="rtsp://h/3", to=("rtsp://s/x",)))
    assert write(swapped + "[camera.three]\nurl='rtsp://h/4'\nto='rtsp://s:554/x/'\n") == {
        **after, "added": fleet.configs()["added"]
    }  # fmt: skip
    assert "is one of camera" in caplog.text


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("rtsp://h/x", "rtsp://h/x/", True),
        ("rtsp://h/x", "RTSP://u:p@H:554/x?a=1", True),
        ("rtmp://h/x", "rtmp://h:1935/x", True),
        ("rec/a", "./rec//a/", True),
        ("rtsp://h/x", "rtsp://h/y", False),
        ("udp://h:1", "udp://h:2", False),
        ("rec/a", "rec/b", False),
    ],
)
def test_the_api_refuses_an_output_of_another_camera(one, other, same):
    cameras = {n: CameraConfig(name=n, url="rtsp://h/1", to=(to,))
               for n, to in (("a", one), ("b", other))}  # fmt: skip
    if not same:
        check_outputs(cameras)
    else:
        with pytest.raises(UsageError, match="is one of camera 'a' already"):
            check_outputs(cameras)
    if "://" not in one:
        return
    with console_at(two_cameras()) as console:
        body = {"url": "rtsp://h/1", "to": [one]}
        assert console.ask("PUT", "/api/cameras/a", json=body).status_code == 201
        answer = console.ask("PUT", "/api/cameras/b", json={**body, "to": [other]})
        assert answer.status_code == (422 if same else 201)
        assert console.ask("PUT", "/api/cameras/a", json=body).status_code == 200  # its own output


def test_names_are_in_natural_order():
    names = ["c10", "c2", "c1b", "c1", "a", "c-3", "10", "9", "c02"]
    assert sorted(names, key=natural) == ["9", "10", "a", "c1", "c1b", "c02", "c2", "c10", "c-3"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sinks": (SinkStatus("udp://h:1", "live"),)}, 200),
        ({"sinks": (SinkStatus("udp://h:1", "live"), SinkStatus("udp://h:2", "lost"))}, 503),
        ({"sinks": (SinkStatus("udp://h:1", "connecting"),)}, 503),
        ({"sinks": (SinkStatus("udp://h:1", "lost"),), "required_outputs": False}, 200),
        ({"sinks": (SinkStatus("udp://h:1", "lost"),), "required": False}, 200),
    ],
)
def test_readiness_knows_of_outputs(change, code):
    with console_at(two_cameras()) as console:
        console.fleet.change("gate", **change)
        answer = console.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (code, code == 200)


def test_wrong_tokens_are_counted_logged_and_slowed(monkeypatch, caplog):
    monkeypatch.setattr(guard, "SLOW_SECONDS", 0.3)
    took = []
    with console_at(two_cameras(), TOKEN) as console:
        for i in range(8):
            began = time.monotonic()
            if i % 2:
                answer = console.ask("POST", "/api/session", json={"token": "wrong"})
            else:
                answer = console.get("/api/cameras", headers={"Authorization": "Bearer wrong"})
            took.append(time.monotonic() - began)
            assert answer.status_code == 401
        console.token = ""
        assert console.get("/api/cameras").status_code == 401  # without a token, nothing is counted
        console.token = TOKEN
        metrics = console.get("/metrics").text
    assert "streamkind_console_wrong_tokens_total 8.0" in metrics
    assert min(took[guard.FREE_TRIES :]) >= 0.3
    lines = [r.message for r in caplog.records if "wrong token from 127.0.0.1" in r.message]
    assert len(lines) == 1


def test_a_browser_stays_logged_in_when_the_process_is_started_again():
    codes = []
    for token in (TOKEN, TOKEN, TOKEN + "changed"):
        with console_at(two_cameras(), token) as console:
            console.token = ""
            if not codes:
                known = console.ask("POST", "/api/session", json={"token": token}).cookies
            codes.append(console.get("/api/cameras", cookies=known.get_dict()).status_code)
    assert codes == [200, 200, 401]


HEARD = """
import itertools, signal, sys
from streamkind.cli.live import Signals
from streamkind.platform import RELOAD, STOP

number = signal.{name}
signal.alarm(120)  # ends this process where the handler waits for a lock
for line in itertools.count(1):
    seen = []

    def trace(frame, event, _):
        if event == "line":
            seen.append(frame.f_lineno)
            if len(seen) == line:
                signal.raise_signal(number)
        return trace

    with Signals() as signals:
        sys.settrace(trace)
        signals.stop_within(0.01)
        sys.settrace(None)
        if len(seen) < line:
            break
        stops = signals.stop_within(0.0)
    assert (stops, signals.reload) == (number in STOP, number in RELOAD), line
assert line > 1
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_is_heard_at_every_line_of_the_wait_for_it(name):
    """Check also lines of the standard library, which holds locks at some of them."""
    code = HEARD.format(name=name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)


HANGUP = """
import signal
from streamkind.cli.live import Signals

signal.signal(signal.SIGHUP, signal.{before})
with Signals(reloads={reloads}) as signals:
    signal.raise_signal(signal.SIGHUP)
    assert (signals.stop_within(0.0), signals.reload) == {found}
"""


@pytest.mark.skipif(not RELOAD, reason="Windows has no SIGHUP")
@pytest.mark.parametrize(
    ("before", "reloads", "found"),
    [
        ("SIG_DFL", True, (False, True)),
        ("SIG_DFL", False, (True, False)),  # the end of the terminal ends `app`
        ("SIG_IGN", True, (False, True)),
        ("SIG_IGN", False, (False, False)),  # after nohup
    ],
)
def test_a_hangup_stops_what_has_nothing_to_reload(before, reloads, found):
    code = HANGUP.format(before=before, reloads=reloads, found=found)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)


TOGETHER = """
import signal
from streamkind.cli.live import Signals
from streamkind.platform import RELOAD

with Signals() as signals:
    for number in [*RELOAD, *RELOAD, *([signal.SIGTERM] if {stops} else [])]:
        signal.raise_signal(number)
    assert signals.stop_within(60.0) is {stops}
    assert signals.reload
    signals.reload = False
    assert signals.stop_within(0.0) is {stops}
    assert not signals.reload
"""


@pytest.mark.parametrize("code", [TOGETHER.format(stops=False), TOGETHER.format(stops=True)])
def test_signals_that_come_together_all_count(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
