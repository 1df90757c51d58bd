"""The API of the page for files: its answers, and the requests that it refuses."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlsplit

import cv2
import numpy as np
import pytest
from support.app_at import QUICK, app_at, peak_of
from support.console_at import TOKEN
from support.media import make_clip, scene
from support.waiting import wait_until

from streamkind.app import estimate, library, preview, site, uploads
from streamkind.app.facts import Facts, LruCache
from streamkind.app.settings import Presets, Settings
from streamkind.backends.openvino import OpenVINOBackend
from streamkind.errors import InputError, UsageError
from streamkind.live.web import guard
from streamkind.video.encoders import find_encoder
from streamkind.video.format import VIDEO_SUFFIXES
from streamkind.video.quality import quality_options

JSON = {"Content-Type": "application/json"}
RAW = {"Content-Type": "application/octet-stream"}


def dark_clip(path, frames=12):
    images = [np.roll(scene(128, 96), i, axis=1) for i in range(frames)]
    return make_clip(path, images=images, frames=frames, size=(128, 96), rate=4)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Write a folder with videos, and with files that must not be shown; return it."""
    top = tmp_path_factory.mktemp("machine")
    nights, secret = top / "nights", top / "secret"
    for folder in (nights / "trip", nights / ".hidden", secret):
        folder.mkdir(parents=True)
    dark_clip(nights / "night.mp4")
    for copy in (nights / "trip" / "Night 2.MP4", nights / ".hidden" / "a.mp4", secret / "b.mp4"):
        copy.write_bytes((nights / "night.mp4").read_bytes())
    (nights / "notes.txt").write_text("no video")
    (nights / "broken.mp4").write_bytes(b"no video either")
    (nights / "inside.mp4").symlink_to(nights / "night.mp4")
    (nights / "outside.mp4").symlink_to(secret / "b.mp4")
    (nights / "outside").symlink_to(secret)
    (nights / "up").symlink_to("..")
    (nights / "loop.mp4").symlink_to("loop.mp4")
    (nights / "zero.mp4").symlink_to("/dev/zero")
    os.mkfifo(nights / "pipe.mp4")
    return top


@pytest.fixture(scope="module")
def app(tree, tmp_path_factory):
    with app_at(tmp_path_factory.mktemp("app"), [tree / "nights"]) as app:
        yield app


def names(listing):
    told = listing.json()
    return [f["name"] for f in told["folders"]], [f["name"] for f in told["files"]]


# Listings, facts, previews and estimates


@pytest.mark.parametrize(
    ("path", "folders", "files"),
    [
        ("", ["nights"], []),
        ("1", ["trip"], ["broken.mp4", "inside.mp4", "night.mp4"]),
        ("1/trip", [], ["Night 2.MP4"]),
    ],
)
def test_folders_show_their_videos_and_nothing_else(app, path, folders, files):
    assert names(app.get("/api/files", params={"path": path})) == (folders, files)


@pytest.mark.parametrize("path", ["1/night.mp4", "1/trip/Night 2.MP4", "1/inside.mp4"])
def test_facts_and_thumbnail_of_a_video(app, path):
    facts = app.get("/api/files/facts", params={"path": path}).json()
    assert (facts["width"], facts["height"], facts["frames"]) == (128, 96, 12)
    assert facts["seconds"] == pytest.approx(3, abs=0.1)
    assert facts["luma"] == pytest.approx(scene(128, 96).mean() / 255, abs=0.02)
    answer = app.get("/api/files/thumbnail.jpg", params={"path": path})
    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (96, 128, 3)


def halves(answer):
    assert answer.status_code == 200, answer.text
    both = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    return [half.mean() for half in np.hsplit(both.astype(float), 2)]


@pytest.mark.parametrize("asked", [{}, {"fine": "true", "profile": "realtime"}])
def test_a_preview_is_brighter_and_follows_ratio_and_target(app, asked):
    show = {"path": "1/night.mp4", "at": 1.5, **asked}
    means = []
    for light in ({"ratio": 1}, {"ratio": 2}, {"ratio": 8}, {"target": 0.2}, {"target": 0.6}):
        answer = app.get("/api/files/preview.jpg", params=show | light)
        before, after = halves(answer)
        means.append(after)
        assert before == pytest.approx(scene(128, 96).mean(), abs=4)
        ratio = float(answer.headers["X-Ratio"])
        assert ratio == light["ratio"] if "ratio" in light else ratio > 1.5
    assert means[0] < means[1] - 5 < means[2] - 20
    assert means[3] < means[4] - 5


def test_another_ratio_decodes_nothing_and_runs_recompose_only(tree, monkeypatch):
    """Count the calls, because their time depends on the machine."""
    opened, split = [], []

    class Counted(preview.VideoSource):
        def __init__(self, *words, **more):
            opened.append(more)
            super().__init__(*words, **more)

    class CountedStream(preview.Stream):
        def decompose(self, *words):
            split.append(words)
            return super().decompose(*words)

    monkeypatch.setattr(preview, "VideoSource", Counted)
    monkeypatch.setattr(preview, "Stream", CountedStream)
    previews = preview.FilePreviews()
    path = tree / "nights" / "night.mp4"

    def work(at, ratio, target, fine):
        opened.clear(), split.clear()
        wanted = preview.PreviewRequest(path, at, "realtime", ratio, target, 960)
        assert previews.show(wanted, fine=fine, gone=threading.Event()).result(60).jpeg
        return len(opened), len(split)

    try:
        for fine, frames in ((False, 1), (True, 4)):
            assert work(1.5, "auto", 0.4, fine) == (1, frames)
            assert work(2.5, "auto", 0.4, fine) == (1, frames)
            for ratio, target in ((2.0, 0.4), (5.0, 0.4), ("auto", 0.2), ("auto", 0.6)):
                assert work(1.5, ratio, target, fine) == (0, 0)
    finally:
        previews.close()


def test_nothing_is_compiled_for_the_first_file_of_the_usual_size(tmp_path, monkeypatch):
    made, compile_ = [], OpenVINOBackend._compile
    monkeypatch.setattr(
        OpenVINOBackend, "_compile", lambda self, *key: made.append(key) or compile_(self, *key)
    )
    clip = make_clip(tmp_path / "a.mp4", frames=2, size=preview.USUAL)
    previews = preview.FilePreviews()
    try:
        previews.warm()
        previews.warm()
        previews._fast.submit(int).result(60)
        warmed = len(made)
        wanted = preview.PreviewRequest(clip, 0.0, "realtime", 4.0, 0.4, 960)
        assert previews.show(wanted, fine=False, gone=threading.Event()).result(60).jpeg
        assert 0 < len(made) == warmed
    finally:
        previews.close()


def test_a_preview_that_nobody_waits_for_ends_after_the_present_frame(tree, monkeypatch):
    gone, split = threading.Event(), []

    class LeftStream(preview.Stream):
        def decompose(self, *words):
            split.append(words)
            gone.set()
            return super().decompose(*words)

    monkeypatch.setattr(preview, "Stream", LeftStream)
    wanted = preview.PreviewRequest(tree / "nights" / "night.mp4", 1.5, "realtime", 4.0, 0.4, 960)
    previews = preview.FilePreviews()
    try:
        with pytest.raises(InputError, match="nobody waits"):
            previews.show(wanted, fine=True, gone=gone).result(60)
        assert len(split) == 1
    finally:
        previews.close()


def test_a_measurement_ends_when_the_browser_goes_away(own, tree, monkeypatch):
    seen = []

    def measure(path, facts, settings, gone, where):
        seen.append(gone)
        gone.wait(60)
        return 1.0

    monkeypatch.setattr(estimate, "measure", measure)
    assert put(own, "a.mp4", (tree / "nights" / "night.mp4").read_bytes()).status_code == 201
    where = urlsplit(own.url)
    with socket.create_connection((where.hostname, where.port), 60) as sock:
        sock.sendall(b"GET /api/files/estimate?path=uploads/a.mp4 HTTP/1.1\r\n")
        sock.sendall(b"Host: localhost\r\n\r\n")
        wait_until(lambda: seen)
        assert not seen[0].is_set()
    wait_until(lambda: seen[0].is_set())


def test_a_page_that_ends_in_a_measurement_is_silent_and_leaves_nothing(
    tree, tmp_path, monkeypatch, caplog
):
    seen, held = [], threading.Event()

    def measure(path, facts, settings, gone, where):
        (Path(where) / "part.mkv").write_bytes(b"x")
        seen.append(Path(where))
        held.wait(60)

    monkeypatch.setattr(estimate, "measure", measure)
    monkeypatch.setattr(preview, "STOP_SECONDS", 0.1)
    with app_at(tmp_path, [tree / "nights"]) as app:
        where = urlsplit(app.url)
        sock = socket.create_connection((where.hostname, where.port), 60)
        sock.sendall(b"GET /api/files/estimate?path=1/night.mp4 HTTP/1.1\r\n")
        sock.sendall(b"Host: localhost\r\n\r\n")
        wait_until(lambda: seen)
    sock.close()
    told = [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"]
    assert (told, seen[0].exists()) == ([], False)
    held.set()


def test_a_measurement_makes_its_folder_again_that_the_system_has_cleaned(tree, monkeypatch):
    monkeypatch.setattr(estimate, "time_enhancing", lambda job, start, gone: 0.5)
    facts = Facts(64, 48, 2.0, 10.0, 20, "h264", 0.1)
    estimates = estimate.Estimates()
    try:
        Path(estimates._folder.name).rmdir()
        settings = Settings(ratio=2.0)
        path = tree / "nights" / "night.mp4"
        assert estimates.get(path, facts, settings, threading.Event()).seconds == 10
    finally:
        estimates.close()


def test_closing_waits_for_no_frame_in_the_network(monkeypatch):
    monkeypatch.setattr(preview, "STOP_SECONDS", 0.1)
    previews, hold = preview.FilePreviews(), threading.Event()
    under_way, later = previews.run(hold.wait, 60), previews.run(int)
    wait_until(under_way.running)
    previews.close()
    assert not under_way.done() and later.cancelled()
    hold.set()


def test_a_value_that_two_threads_request_at_once_is_made_once():
    recent, begun, made, going = LruCache(2), [], [], threading.Event()

    def make():
        made.append(7)
        going.wait(120)
        return 7

    def ask(_):
        begun.append(1)
        return recent.get("a", make)

    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(ask, range(2))
        wait_until(lambda: made and len(begun) == 2)
        going.set()
        assert list(answers) == made * 2 == [7, 7]


def test_a_failed_value_is_made_again_and_old_values_are_dropped():
    recent = LruCache(2)
    with pytest.raises(ZeroDivisionError):
        recent.get("a", lambda: 1 // 0)
    assert [recent.get("a", make) for make in (lambda: 1, lambda: 2)] == [1, 1]
    assert [recent.get(key, lambda: 3) for key in "bc"] == [3, 3]
    assert recent.get("a", lambda: 4) == 4


def test_the_expected_time_is_measured(app):
    asked = {"path": "1/night.mp4", "profile": "realtime", "ratio": 4}
    told = app.ask("GET", "/api/files/estimate", params=asked).json()
    assert told["profile"] == "realtime"
    assert told["seconds"] * told["fps"] == pytest.approx(12, abs=0.5)


@pytest.mark.parametrize(
    ("range_", "code", "part"),
    [
        (None, 200, slice(None)),
        ("bytes=0-99", 206, slice(0, 100)),
        ("bytes=100-", 206, slice(100, None)),
        ("bytes=-50", 206, slice(-50, None)),
        ("bytes=999999999-", 416, None),
    ],
)
def test_a_video_is_played_in_parts(app, tree, range_, code, part):
    headers = {"Range": range_} if range_ else {}
    answer = app.get("/api/files/content", params={"path": "1/night.mp4"}, headers=headers)
    assert answer.status_code == code
    if part is not None:
        assert answer.content == (tree / "nights" / "night.mp4").read_bytes()[part]
        assert answer.headers["Content-Type"] == "video/mp4"


def test_files_that_cannot_be_read_are_listed_with_a_reason(app):
    for path in ("facts", "thumbnail.jpg", "preview.jpg", "estimate"):
        answer = app.get(f"/api/files/{path}", params={"path": "1/broken.mp4"})
        assert answer.status_code == 422
        assert "broken.mp4" in answer.json()["detail"]


def test_a_folder_is_in_natural_order_and_says_that_it_has_more(tmp_path, monkeypatch):
    for name in ("b10.mp4", "B2.mp4", "a.mp4", "b1.mp4", "trip 9/x", "trip 10/x"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    known = library.Library([tmp_path], tmp_path / "none")
    whole = known.list("1")
    assert [file.name for file in whole.files] == ["a.mp4", "b1.mp4", "B2.mp4", "b10.mp4"]
    assert [folder.name for folder in whole.folders] == ["trip 9", "trip 10"]
    monkeypatch.setattr(library, "MOST_LISTED", 6)
    assert known.list("1") == whole and not whole.more
    monkeypatch.setattr(library, "MOST_LISTED", 3)
    part = known.list("1")
    assert part.more and part.files == whole.files[:3]


# Refused requests


OUTSIDE = [
    "1/../secret/b.mp4",
    "1/../../etc/passwd",
    "../secret/b.mp4",
    "1/./night.mp4",
    "1//night.mp4",
    "1/",
    "/etc/passwd",
    "1//etc/passwd",
    "1/%2e%2e/secret/b.mp4",
    "1/..\\secret\\b.mp4",
    "1/.hidden/a.mp4",
    "1/.hidden",
    "1/outside.mp4",
    "1/outside/b.mp4",
    "1/outside",
    "1/up/secret/b.mp4",
    "1/up",
    "1/loop.mp4",
    "1/zero.mp4",
    "1/pipe.mp4",
    "1/notes.txt",
    "1/none.mp4",
    "1/night.mp4/x",
    "1/night.mp4\0",
    "1/" + "a" * 300,
    "2/night.mp4",
    "0/night.mp4",
    "-1/night.mp4",
    "uploads/../night.mp4",
    "nights/night.mp4",
    "dev/zero",
]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: repr(path)[:30])
def test_nothing_outside_the_folders_is_listed_or_opened(app, path):
    told = set()
    for end in ("facts", "thumbnail.jpg", "content", "preview.jpg", "estimate"):
        answer = app.get(f"/api/files/{end}", params={"path": path})
        assert answer.status_code == 404, end
        told.add(answer.json()["detail"])
    answer = app.ask("POST", "/api/jobs", json={"path": path, "settings": QUICK})
    assert answer.status_code == 404
    assert told | {answer.json()["detail"]} == {
        f"{path}: not a video or folder that this page shows; GET /api/files lists them"
    }
    assert app.get("/api/jobs").json()["jobs"] == []


@pytest.mark.parametrize("path", [p for p in OUTSIDE if p not in ("1/notes.txt", "1/pipe.mp4")])
def test_no_folder_outside_is_listed(app, path):
    assert app.get("/api/files", params={"path": path}).status_code == 404


CHANGES = [
    ("PUT", "/api/uploads/a.mp4"),
    ("DELETE", "/api/uploads/a.mp4"),
    ("POST", "/api/jobs"),
    ("PATCH", "/api/jobs/0123456789abcdef"),
    ("DELETE", "/api/jobs/0123456789abcdef"),
    ("POST", "/api/jobs/0123456789abcdef/show"),
    ("PUT", "/api/presets/mine"),
    ("DELETE", "/api/presets/mine"),
]
READS = [
    ("GET", "/api/files"),
    ("GET", "/api/files/facts?path=1/night.mp4"),
    ("GET", "/api/files/thumbnail.jpg?path=1/night.mp4"),
    ("GET", "/api/files/content?path=1/night.mp4"),
    ("GET", "/api/files/preview.jpg?path=1/night.mp4"),
    ("GET", "/api/files/estimate?path=1/night.mp4"),
    ("GET", "/api/jobs"),
    ("GET", "/api/jobs/0123456789abcdef/now.jpg"),
    ("GET", "/api/jobs/0123456789abcdef/result"),
    ("GET", "/api/jobs/0123456789abcdef/original"),
    ("GET", "/api/presets"),
]
OPEN = {("GET", "/api/about"), ("POST", "/api/session"), ("DELETE", "/api/session")}


@pytest.mark.parametrize(("method", "path"), CHANGES + READS)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_is_refused(app, method, path, site):
    answer = app.ask(method, path, data=b"{}", headers={**JSON, "Sec-Fetch-Site": site})
    assert answer.status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", ""])
def test_dns_rebinding_is_refused(app, host):
    assert app.get("/api/files", headers={"Host": host}).status_code == 421


def test_every_route_needs_the_token_or_is_known_to_be_open(tree, tmp_path):
    with app_at(tmp_path, [tree / "nights"], TOKEN) as closed:
        paths = closed.get("/openapi.json").json()["paths"]
        told = {(method.upper(), path) for path, known in paths.items() for method in known}
        shown = {
            (m, p.partition("?")[0].replace("0123456789abcdef", "{id}").replace("a.mp4", "{name}"))
            for m, p in CHANGES + READS
        }
        assert told == OPEN | {(m, p.replace("mine", "{name}")) for m, p in shown}
        stranger = replace(closed, token="")
        for method, path in CHANGES + READS:
            answer = stranger.ask(method, path, data=b"{}", headers=JSON)
            assert answer.status_code == 401, path
        assert stranger.get("/api/about").status_code == 200
        assert names(closed.get("/api/files")) == (["nights"], [])


# Dropped files


@pytest.fixture
def own(tmp_path):
    """Serve a page for one test; its attribute `folder` is the folder of uploads."""
    with app_at(tmp_path) as app:
        app.folder = tmp_path / "clear" / "originals"
        yield app


def put(app, name, data, **options):
    return app.ask("PUT", f"/api/uploads/{name}", data=data, headers=RAW, **options)


def test_dropped_files_are_kept_whole_and_none_is_replaced(own):
    data = os.urandom(3_000_001)
    for name, body in (("a b.mp4", data), ("a b (2).mp4", data[:7]), ("ü.MKV", iter([data, data]))):
        answer = put(own, "a b.mp4" if "(2)" in name else name, body)
        assert answer.status_code == 201, answer.text
        assert answer.json()["name"] == name
        assert answer.json()["place"] == f"uploads/{name}"
    assert (own.folder / "a b.mp4").read_bytes() == data
    assert (own.folder / "a b (2).mp4").read_bytes() == data[:7]
    assert (own.folder / "ü.MKV").read_bytes() == data + data
    assert names(own.get("/api/files?path=uploads"))[1] == ["a b (2).mp4", "a b.mp4", "ü.MKV"]
    assert own.ask("DELETE", "/api/uploads/a b.mp4").status_code == 204
    assert names(own.get("/api/files?path=uploads"))[1] == ["a b (2).mp4", "ü.MKV"]


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.txt", b"x", 422),
        ("a", b"x", 422),
        (".mp4", b"x", 422),
        (".a.mp4", b"x", 422),
        ("..%5ca.mp4", b"x", 422),
        ("a" * 252 + ".mp4", b"x", 422),
        ("a.mp4", b"", 422),
        ("..%2fa.mp4", b"x", 404),
        ("%2fetc%2fa.mp4", b"x", 404),
    ],
)
def test_invalid_names_and_bodies_are_refused(app, name, data, code):
    answer = put(app, name, data)
    assert answer.status_code == code
    assert answer.json()["detail"]
    assert names(app.get("/api/files?path=uploads")) == ([], [])


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("Nacht über Köln 🌃.mp4", "Nacht über Köln 🌃.mp4"),
        ('<b>"Who?" 12:30|\\*.mp4', "_b__Who__ 12_30___.mp4"),
        ("a\n\0\u200d.MOV", "a___.MOV"),
        ("C:a.mp4", "C_a.mp4"),
        ("ä" * 120 + ".mp4", "ä" * 98 + ".mp4"),
    ],
)
def test_every_name_of_a_video_is_taken(name, stored):
    assert uploads.stored_name(name) == stored


def test_a_name_that_other_systems_do_not_have_is_stored_as_one_that_they_have(own):
    answer = put(own, "a%22%0ab.mp4", b"x")
    assert (answer.status_code, answer.json()["name"]) == (201, "a__b.mp4")
    assert [path.name for path in own.folder.iterdir()] == ["a__b.mp4"]


def test_a_file_that_is_too_large_or_finds_no_space_is_refused(own, monkeypatch):
    where = urlsplit(own.url)
    with socket.create_connection((where.hostname, where.port), 60) as sock:
        sock.sendall(b"PUT /api/uploads/a.mp4 HTTP/1.1\r\nHost: localhost\r\n")
        sock.sendall(b"Content-Length: %d\r\n\r\n" % (uploads.MOST_BYTES + 1))
        assert sock.recv(100).startswith(b"HTTP/1.1 413")
    monkeypatch.setattr(uploads, "SPARE_BYTES", 1 << 60)
    answer = put(own, "a.mp4", b"x")
    assert answer.status_code == 507
    assert "free some space" in answer.json()["detail"]
    assert list(own.folder.iterdir()) == []


LIMITED = """
import asyncio, pathlib, resource, sys
from streamkind.app import uploads
from streamkind.errors import OutputError

async def body():
    yield bytes(2 * uploads.BLOCK)

resource.setrlimit(resource.RLIMIT_FSIZE, (3 * uploads.BLOCK // 2,) * 2)
try:
    asyncio.run(uploads.receive(pathlib.Path(sys.argv[1]), "a.mp4", body(), 0))
except OutputError as exc:
    print(exc)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="it has no limit of a file's size")
def test_a_file_that_the_disk_takes_only_in_part_is_refused(tmp_path):
    """The limit is set in another process, because this one writes other files at any time."""
    process = [sys.executable, "-c", LIMITED, str(tmp_path)]
    done = subprocess.run(process, capture_output=True, text=True, check=True)
    assert "cannot be written (File too large)" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_browser_offers_all_files_that_are_taken():
    page = (Path(site.OWN_PAGE) / "files.html").read_text(encoding="utf-8")
    offered = re.search('accept="([^"]*)"', page)[1].split(",")
    assert [kind.strip() for kind in offered] == ["video/*", *sorted(VIDEO_SUFFIXES)]


def test_a_file_whose_browser_goes_away_leaves_nothing(own):
    where = urlsplit(own.url)
    with socket.create_connection((where.hostname, where.port), 60) as sock:
        sock.sendall(b"PUT /api/uploads/a.mp4 HTTP/1.1\r\nHost: localhost\r\n")
        sock.sendall(b"Content-Length: 9000000\r\n\r\n" + bytes(3_000_000))
        wait_until(lambda: [p for p in own.folder.glob(".*") if p.stat().st_size > 1_000_000])
    wait_until(lambda: list(own.folder.iterdir()) == [])


@pytest.mark.parametrize(("most", "answer"), [(60.0, b"201"), (0.5, b"408")])
def test_an_upload_may_pause_but_not_for_ever(own, monkeypatch, most, answer):
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.1)
    monkeypatch.setattr(guard, "PART_SECONDS", most)
    where = urlsplit(own.url)
    with socket.create_connection((where.hostname, where.port), 60) as sock:
        sock.sendall(b"PUT /api/uploads/a.mp4 HTTP/1.1\r\nHost: localhost\r\n")
        sock.sendall(b"Content-Length: 2000\r\n\r\n" + bytes(1000))
        if answer == b"201":
            time.sleep(1)  # ten times as long as a small body may take
            sock.sendall(bytes(1000))
        assert sock.recv(100).split()[1] == answer
    stored = ["a.mp4"] if answer == b"201" else []
    wait_until(lambda: [path.name for path in own.folder.iterdir()] == stored)


@pytest.mark.slow
def test_a_file_of_2_gb_takes_no_memory(tmp_path):
    command = [sys.executable, "-m", "streamkind", "app", "--no-browser", "--port", "0"]
    environment = os.environ | {"XDG_CONFIG_HOME": str(tmp_path)}
    options = {"cwd": tmp_path, "env": environment, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **options) as process:
        url = process.stderr.readline().split()[0]
        where = urlsplit(url)
        time.sleep(5)  # meanwhile the page opens its engine
        before = peak_of(process.pid)
        with socket.create_connection((where.hostname, where.port), 60) as sock:
            sock.sendall(b"PUT /api/uploads/a.mp4 HTTP/1.1\r\nHost: localhost\r\n")
            sock.sendall(b"Content-Length: 2000000000\r\n\r\n")
            for _ in range(2000):
                sock.sendall(bytes(1_000_000))
            assert sock.recv(100).startswith(b"HTTP/1.1 201")
        assert peak_of(process.pid) - before < 100e6
        process.terminate()
    assert (tmp_path / "clear" / "originals" / "a.mp4").stat().st_size == 2_000_000_000


# Presets


def test_presets_and_last_settings_are_there_next_time(tree, tmp_path):
    mine = {"profile": "quality", "ratio": 3.5, "target": 0.4, "codec": "av1", "crf": 40}
    kept = {**mine, "added": " bright"}
    with app_at(tmp_path, [tree / "nights"]) as app:
        assert app.get("/api/presets").json()["presets"] == {}
        assert app.ask("PUT", "/api/presets/My car", json=kept).status_code == 204
        for name in ("other", "Zweit: 50 % (½) 🚗", '"<b>?#'):
            assert app.ask("PUT", f"/api/presets/{quote(name)}", json=QUICK).status_code == 204
            assert name in app.get("/api/presets").json()["presets"]
        for name in ("Zweit: 50 % (½) 🚗", '"<b>?#'):
            assert app.ask("DELETE", f"/api/presets/{quote(name)}").status_code == 204
        assert app.ask("DELETE", "/api/presets/other").status_code == 204
        assert app.ask("DELETE", "/api/presets/other").status_code == 404
        job = app.ask("POST", "/api/jobs", json={"path": "1/broken.mp4", "settings": QUICK})
        assert job.status_code == 201
    with app_at(tmp_path) as app:
        told = app.get("/api/presets").json()
        assert told["presets"] == {"My car": kept}
        assert told["last"]["ratio"] == 4
    (tmp_path / "config" / "streamkind" / "app.json").write_text("{")
    with app_at(tmp_path, usual="quality") as app:
        told = app.get("/api/presets").json()
        assert (told["presets"], told["last"]["profile"]) == ({}, "quality")


def test_a_job_is_added_once_if_its_settings_cannot_be_stored(tree, tmp_path):
    (tmp_path / "config").write_text("no folder")
    with app_at(tmp_path, [tree / "nights"]) as app:
        new = {"path": "1/broken.mp4", "settings": QUICK}
        assert app.ask("POST", "/api/jobs", json=new).status_code == 201
        assert len(app.get("/api/jobs").json()["jobs"]) == 1
        assert app.get("/api/presets").json()["last"]["ratio"] == 4
        refused = app.ask("PUT", "/api/presets/My car", json=QUICK)
        assert (refused.status_code, app.get("/api/presets").json()["presets"]) == (422, {})


def test_two_pages_keep_the_presets_of_each_other(tmp_path):
    one, other = (Presets(tmp_path / "app.json", Settings()) for _ in range(2))
    one.put("car", Settings(crf=20))
    other.put("garden", Settings())
    other.use(Settings(crf=30))
    one.delete("car")
    assert list(Presets(tmp_path / "app.json", Settings()).get().presets) == ["garden"]
    assert one.get().last.crf == 30


@pytest.mark.parametrize("codec", ["h264", "hevc", "av1"])
def test_the_page_knows_the_crf_of_each_encoder(app, codec):
    most = app.get("/api/about").json()["most_crf"][codec]
    for crf, code in ((most, 200), (most + 1, 422)):
        answer = app.ask("PUT", "/api/presets/x", json=QUICK | {"codec": codec, "crf": crf})
        assert (answer.status_code // 100, code) in ((2, 200), (4, 422))
    app.ask("DELETE", "/api/presets/x")
    encoder = find_encoder(codec)
    assert quality_options(encoder, most, None)
    with pytest.raises(UsageError, match=f"0 .best. to {most} "):
        quality_options(encoder, most + 1, None)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a%2fb", {}),
        ("../x", {}),
        ("%20", {}),
        ("..%2f", {}),
        (".x", {}),
        ("a%0a", {}),
        ("x" * 41, {}),
        ("x", {"ratio": 11}),
        ("x", {"target": 0}),
        ("x", {"codec": "nonsense"}),
        ("x", {"profile": "auto"}),
        ("x", {"crf": 52}),
        ("x", {"crf": -1}),
        ("x", {"added": "/../x"}),
        ("x", {"added": "{stem}"}),
        ("x", {"shell": "rm"}),
    ],
)
def test_invalid_presets_are_refused(app, name, change):
    answer = app.ask("PUT", f"/api/presets/{name}", json=QUICK | change)
    assert answer.status_code in (404, 405, 422)
    assert app.get("/api/presets").json()["presets"] == {}
