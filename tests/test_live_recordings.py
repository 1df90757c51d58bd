"""Recordings in the console: listed by camera and time, sent whole or in ranges."""

from __future__ import annotations

import calendar
import http.client
import os
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from loopback.still_fleet import StillFleet
from support.console_at import TOKEN, console_at

from streamkind.live import recordings
from streamkind.live.config import CameraConfig
from streamkind.live.recordings import begin_of, recordings_of

DATA = bytes(range(256)) * 1000
NAMES = ("20261127-230000Z.mkv", "20261128-001000Z.mkv", "20261128-001000Z-2.mp4")
PAST = time.time() - 86400.0


def unix(*moment: int) -> float:
    return float(calendar.timegm((*moment, 0, 0, 0)))


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "yard"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(DATA)
        os.utime(folder / name, (PAST, PAST))
    for other in ("secret.txt", "20261128-001000Z.mkv.part", "x20261128-001000Z.mkv"):
        (folder / other).write_bytes(b"secret")
    (tmp_path / NAMES[0]).write_bytes(b"of another folder")
    (tmp_path / "key.mkv").write_bytes(b"secret")
    (folder / "20261128-020000Z.mkv").symlink_to(tmp_path / "key.mkv")
    (folder / "20261128-030000Z.mkv").mkdir()
    return folder


@pytest.fixture
def console(folder):
    fleet = StillFleet()
    outputs = ("rtsp://10.0.0.6/x", str(folder.parent / "a.m3u8"), str(folder))
    fleet.put(CameraConfig(name="yard", url="rtsp://10.0.0.5/1", to=outputs))
    fleet.put(CameraConfig(name="gate", url="rtsp://10.0.0.7/1"))
    with console_at(fleet) as console:
        yield console


def names(answer):
    return [recording["name"] for recording in answer.json()["recordings"]]


def test_recordings_are_listed_by_camera_in_order_of_time(console):
    answer = console.get("/api/cameras/yard/recordings")
    assert names(answer) == [NAMES[0], NAMES[2], NAMES[1]]
    first = answer.json()["recordings"][0]
    assert first["begins"] == unix(2026, 11, 27, 23, 0)
    assert first["ends"] == pytest.approx(PAST, abs=1)
    assert (first["bytes"], first["writing"]) == (len(DATA), False)
    assert answer.json()["span"] == [unix(2026, 11, 27, 23, 0), unix(2026, 11, 28, 0, 10)]
    none = console.get("/api/cameras/gate/recordings").json()
    assert none == {"span": None, "recordings": [], "side_by_side": False}


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        ((2026, 11, 28, 0, 0), (2026, 11, 29, 0, 0), 2),
        ((2026, 11, 27, 0, 0), (2026, 11, 28, 0, 0), 1),
        ((2026, 11, 28, 0, 10), (2026, 11, 28, 0, 11), 2),
        ((2026, 11, 27, 0, 0), (2026, 11, 28, 0, 10), 1),
        ((2026, 11, 26, 0, 0), (2026, 11, 27, 0, 0), 0),
    ],
)
def test_recordings_of_a_day_are_those_that_begin_in_it(console, since, until, count):
    asked = {"since": unix(*since), "until": unix(*until)}
    answer = console.get("/api/cameras/yard/recordings", params=asked)
    assert len(names(answer)) == count
    assert len(answer.json()["span"]) == 2  # of all recordings of the camera


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("20261128-180000Z.mkv", unix(2026, 11, 28, 18, 0)),
        ("20261128-180000Z-12.mp4", unix(2026, 11, 28, 18, 0)),
        ("20261128-180000.mkv", time.mktime((2026, 11, 28, 18, 0, 0, 0, 0, -1))),
        ("20269999-180000Z.mkv", 0.0),
    ],
)
def test_the_beginning_is_in_the_name(name, moment):
    assert begin_of(name) == moment


def test_a_recording_that_grows_is_told_so_and_one_that_went_is_not_told(folder):
    config = CameraConfig(name="yard", url="rtsp://x/1", to=(str(folder), str(folder / "none")))
    os.utime(folder / NAMES[1])
    os.utime(folder / NAMES[2], (time.time() + 3600.0,) * 2)  # by a clock that was wrong
    told = {r.name: r.writing for r in recordings_of(config, time.time())}
    assert told == {NAMES[0]: False, NAMES[1]: True, NAMES[2]: False}


@pytest.mark.parametrize(
    ("headers", "code", "expected"),
    [
        ({}, 200, DATA),
        ({"Range": "bytes=0-"}, 206, DATA),
        ({"Range": "bytes=100-199"}, 206, DATA[100:200]),
        ({"Range": "bytes=-10"}, 206, DATA[-10:]),
        ({"Range": f"bytes={len(DATA) - 5}-{len(DATA) + 99}"}, 206, DATA[-5:]),
        ({"Range": f"bytes={len(DATA)}-"}, 416, None),
        ({"Range": "bytes=9-2"}, 400, None),
    ],
)
@pytest.mark.parametrize("grows", [False, True])
def test_a_recording_is_sent_whole_or_in_parts(console, folder, headers, code, expected, grows):
    if grows:
        os.utime(folder / NAMES[0])
    answer = console.get(f"/api/cameras/yard/recordings/{NAMES[0]}", headers=headers)
    assert answer.status_code == code
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if expected is not None:
        assert answer.content == expected
        assert answer.headers["Content-Type"] == "video/x-matroska"
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert int(answer.headers["Content-Length"]) == len(expected)


def test_the_type_is_that_of_the_container(console):
    answer = console.get(f"/api/cameras/yard/recordings/{NAMES[2]}")
    assert answer.headers["Content-Type"] == "video/mp4"


def test_a_recording_that_grows_while_it_is_sent_keeps_the_announced_length(
    console, folder, monkeypatch
):
    large = folder / "20261128-040000Z.mkv"
    large.write_bytes(b"0" * (8 << 20))
    answer = console.get(f"/api/cameras/yard/recordings/{large.name}", stream=True)
    with large.open("ab") as file:
        file.write(b"1" * (1 << 20))
    assert answer.content == b"0" * (8 << 20)


@pytest.mark.parametrize(
    "file",
    [
        "secret.txt",
        "20261128-001000Z.mkv.part",
        "x20261128-001000Z.mkv",
        "20261128-020000Z.mkv",  # a link to a file of another folder
        "20261128-030000Z.mkv",  # a folder
        "20261128-050000Z.mkv",  # does not exist
        "..",
        "../" + NAMES[0],
        "..%2f" + NAMES[0],
        "%2e%2e%2f" + NAMES[0],
        "..%5c" + NAMES[0],
        "%2fetc%2fpasswd",
        NAMES[0] + "%00",
        NAMES[0] + "%0a",
    ],
)
def test_nothing_but_recordings_of_that_camera_is_sent(console, file):
    place = urlsplit(console.url)
    with closing(http.client.HTTPConnection(place.hostname, place.port, timeout=60)) as client:
        client.request("GET", f"/api/cameras/yard/recordings/{file}")  # sends dots as they are
        answer = client.getresponse()
        told = answer.read()
    assert answer.status in (404, 422)
    assert b"detail" in told


def test_a_recording_that_is_deleted_while_it_is_asked_for_is_not_found(console, monkeypatch):
    def find(config, name):
        path = recordings.find_recording(config, name)
        path.unlink()
        return path

    monkeypatch.setattr("streamkind.live.web.recordings.find_recording", find)
    answer = console.get(f"/api/cameras/yard/recordings/{NAMES[0]}")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith(f"no recording '{NAMES[0]}'")


def test_recordings_of_another_camera_are_not_sent(console):
    assert console.get(f"/api/cameras/gate/recordings/{NAMES[0]}").status_code == 404
    assert console.get("/api/cameras/nobody/recordings").status_code == 404


def test_recordings_need_the_token(folder):
    fleet = StillFleet()
    fleet.put(CameraConfig(name="yard", url="rtsp://10.0.0.5/1", to=(str(folder),)))
    with console_at(fleet, TOKEN) as console:
        path = f"/api/cameras/yard/recordings/{NAMES[0]}"
        assert console.get(path).content == DATA
        console.token = ""
        assert console.get(path).status_code == 401
        logged = console.ask("POST", "/api/session", json={"token": TOKEN}).cookies.get_dict()
        assert console.get(path, cookies=logged).content == DATA


def test_a_folder_may_be_named_by_a_variable(folder, monkeypatch):
    config = CameraConfig(name="yard", url="rtsp://x/1", to=("${YARD_FOLDER}",))
    assert recordings_of(config, 0.0) == []
    monkeypatch.setenv("YARD_FOLDER", str(folder))
    assert len(recordings_of(config, time.time())) == 3
    assert recordings.find_recording(config, NAMES[0]) == Path(folder / NAMES[0])
