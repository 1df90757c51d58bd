"""The queue of the page: results equal the command's; jobs are paused, ordered and resumed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi import HTTPException
from support.app_at import QUICK, app_at, app_command
from support.batch import digests, night
from support.media import make_clip, picture
from support.waiting import wait_until

from streamkind import platform
from streamkind.app import queue as queues
from streamkind.app.entries import JobProgress, QueueEntry, as_answer, load, save
from streamkind.app.queue import QUEUE, Queue
from streamkind.app.queue_routes import JobChange, Jobs
from streamkind.app.settings import Settings
from streamkind.app.work import ProgressWriter
from streamkind.batch.files import find_jobs
from streamkind.batch.jobs import JobRunner
from streamkind.errors import OutputError, UsageError
from streamkind.video.format import ColorTags

LONG = 120.0
"""Longest wait for one event, in seconds. A busy machine enhances a small clip in less time."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Return a folder of clips: short, of three parts, not readable, and not dark."""
    folder = tmp_path_factory.mktemp("nights")
    night(folder / "short.mp4", 8)
    night(folder / "long.mp4", 300)
    (folder / "broken.mp4").write_bytes(b"no video")
    make_clip(folder / "other.mkv", images=[picture(i) for i in range(4)], frames=4)
    return folder


@pytest.fixture
def app(clips, tmp_path):
    with app_at(tmp_path, [clips]) as app:
        app.clear = tmp_path / "clear"
        yield app


def add(app, name, **change):
    answer = app.ask("POST", "/api/jobs", json={"path": f"1/{name}", "settings": QUICK | change})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def job(app, key):
    return next(j for j in app.get("/api/jobs").json()["jobs"] if j["id"] == key)


def wait_for(app, key, state):
    wait_until(lambda: job(app, key)["state"] == state, LONG)
    return job(app, key)


def files(folder):
    """Return the names of files in the folder of results, without the queue's own files."""
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith(".streamkind-app"))


def made_by_command(clip, out, **change):
    """Enhance a clip by a batch with the same settings; return the path of the result."""
    (one,) = find_jobs([clip], out, Settings(**{**QUICK, **change}).options())
    (result,) = JobRunner([one]).run()
    assert result.status == "done"
    return one.output


@pytest.mark.parametrize("change", [{}, {"ratio": "auto", "target": 0.3}])
def test_a_result_is_that_of_the_command_and_can_be_played(app, clips, tmp_path, change):
    key = add(app, "short.mp4", **change)
    told = wait_for(app, key, "done")
    assert (told["output"], told["error"], told["warnings"]) == ("short-clear.mp4", "", [])
    assert told["progress"]["frames"] == told["progress"]["total"] == 8
    result = app.clear / "short-clear.mp4"
    assert digests(result) == digests(made_by_command(clips / "short.mp4", tmp_path, **change))
    whole = app.get(f"/api/jobs/{key}/result")
    assert whole.content == result.read_bytes()
    assert whole.headers["Content-Type"] == "video/mp4"
    part = app.get(f"/api/jobs/{key}/result", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, result.read_bytes()[10:20])
    saved = app.get(f"/api/jobs/{key}/result", params={"save": True})
    assert "short-clear.mp4" in saved.headers["Content-Disposition"]
    original = app.get(f"/api/jobs/{key}/original")
    assert original.content == (clips / "short.mp4").read_bytes()
    now = app.get(f"/api/jobs/{key}/now.jpg")
    both = cv2.imdecode(np.frombuffer(now.content, np.uint8), cv2.IMREAD_COLOR)
    before, after = (half.mean() for half in np.hsplit(both.astype(float), 2))
    assert after > before + 10
    assert app.ask("DELETE", f"/api/jobs/{key}").status_code == 204
    assert result.exists()


def test_every_result_gets_a_name_of_its_own(app):
    (app.clear / "short-clear (2).mp4").write_bytes(b"mine")
    keys = [add(app, "short.mp4") for _ in range(2)] + [add(app, "other.mkv", added="")]
    names = [job(app, key)["output"] for key in keys]
    assert names == ["short-clear.mp4", "short-clear (3).mp4", "other.mkv"]
    for key in keys:
        app.ask("DELETE", f"/api/jobs/{key}")
    assert (app.clear / "short-clear (2).mp4").read_bytes() == b"mine"


def test_a_failure_says_what_to_do_and_can_be_tried_again(app):
    key = add(app, "broken.mp4")
    assert "not a video that FFmpeg can open" in wait_for(app, key, "failed")["error"]
    assert app.get(f"/api/jobs/{key}/result").status_code == 404
    assert app.ask("PATCH", f"/api/jobs/{key}", json={"state": "waiting"}).status_code == 200
    wait_for(app, key, "failed")
    app.ask("DELETE", f"/api/jobs/{key}")
    assert files(app.clear) == []


def test_pause_order_and_cancel(app):
    first, second, third = (add(app, "long.mp4") for _ in range(3))
    wait_until(lambda: job(app, first)["progress"]["frames"] > 0, LONG)
    app.ask("PATCH", f"/api/jobs/{first}", json={"state": "paused"})
    app.ask("PATCH", f"/api/jobs/{second}", json={"state": "paused"})
    app.ask("PATCH", f"/api/jobs/{third}", json={"place": 0})
    order = [j["id"] for j in app.get("/api/jobs").json()["jobs"]]
    assert order == [third, first, second]
    wait_until(lambda: job(app, third)["state"] == "running", LONG)
    assert job(app, first)["state"] == job(app, second)["state"] == "paused"
    app.ask("PATCH", f"/api/jobs/{second}", json={"state": "waiting"})
    assert app.ask("DELETE", f"/api/jobs/{third}").status_code == 204
    wait_until(lambda: job(app, second)["state"] == "running", LONG)
    for key in (first, second):
        assert app.ask("DELETE", f"/api/jobs/{key}").status_code == 204
    assert files(app.clear) == []
    assert app.get("/api/jobs").json()["jobs"] == []
    assert app.ask("DELETE", f"/api/jobs/{first}").status_code == 404


def test_a_result_that_is_complete_when_a_job_is_cancelled_goes_and_a_done_one_stays(
    clips, tmp_path
):
    with contextlib.closing(Queue(tmp_path)) as queue:
        path, settings = clips / "short.mp4", Settings.model_validate(QUICK)
        paused = queue.add(path, "1/short.mp4", settings)
        queue.set_state(paused.id, "paused")  # as if its process had just ended
        JobRunner([paused.job()]).run()
        done = queue.add(path, "1/short.mp4", settings)
        wait_until(lambda: done.state == "done", LONG)
        queue._running = done  # as before the next turn of the queue's thread
        for entry in (paused, done):
            queue.remove(entry.id)
        queue._running = None
        assert [Path(e.output).exists() for e in (paused, done)] == [False, True]


def test_an_uploaded_file_is_not_deleted_while_the_queue_needs_it(app, clips):
    data = (clips / "long.mp4").read_bytes()
    raw = {"Content-Type": "application/octet-stream"}
    assert app.ask("PUT", "/api/uploads/x.mp4", data=data, headers=raw).status_code == 201
    told = app.ask("POST", "/api/jobs", json={"path": "uploads/x.mp4", "settings": QUICK})
    refused = app.ask("DELETE", "/api/uploads/x.mp4")
    assert (refused.status_code, "remove its entry" in refused.json()["detail"]) == (422, True)
    assert app.ask("DELETE", f"/api/jobs/{told.json()['id']}").status_code == 204
    assert app.ask("DELETE", "/api/uploads/x.mp4").status_code == 204


def test_an_original_is_played_whatever_the_order_of_the_folders_is_next_time(clips, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "broken.mp4").write_bytes(b"another file of the same name")

    def original(folders, key):
        with app_at(tmp_path, folders) as app:
            return app.get(f"/api/jobs/{key}/original")

    with app_at(tmp_path, [clips, other]) as app:
        key = add(app, "broken.mp4")
    assert original([other, clips], key).content == (clips / "broken.mp4").read_bytes()
    assert original([other], key).status_code == 404


def test_the_folder_of_a_result_is_shown(app, tmp_path, monkeypatch):
    key = add(app, "short.mp4")
    wait_for(app, key, "done")
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = app.ask("POST", f"/api/jobs/{key}/show")
    assert refused.status_code == 422
    assert "no file manager" in refused.json()["detail"]
    opener = tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/shown\n')
    opener.chmod(0o755)
    assert app.ask("POST", f"/api/jobs/{key}/show").status_code == 204
    assert (tmp_path / "shown").read_text().strip() == str(app.clear)
    opener.write_text("#!/bin/sh\nexit 4\n")
    refused = app.ask("POST", f"/api/jobs/{key}/show")
    assert refused.status_code == 422
    assert "xdg-open ended with code 4" in refused.json()["detail"]


def test_a_file_manager_that_runs_on_is_left_running(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "SHOW_SECONDS", 0.1)
    opener, fifo = tmp_path / "xdg-open", tmp_path / "fifo"
    os.mkfifo(fifo)
    opener.write_text(f"#!/bin/sh\nread word < {fifo}\necho $word > {tmp_path}/went-on\n")
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    platform.show_in_folder(tmp_path / "clear.mp4")
    fifo.write_text("on\n")
    wait_until((tmp_path / "went-on").exists, what="the file manager did not go on")


def test_a_folder_of_results_that_is_removed_stops_neither_page_nor_queue(clips, tmp_path):
    with app_at(tmp_path, [clips]) as app:
        clear, gone = tmp_path / "clear", tmp_path / "gone"
        clear.rename(gone)
        listed = app.get("/api/jobs")
        assert (listed.status_code, listed.json()["free_bytes"]) == (200, 0)
        refused = app.ask("POST", "/api/jobs", json={"path": "1/short.mp4", "settings": QUICK})
        assert refused.status_code == 422 and "no folder" in refused.json()["detail"]
        gone.rename(clear)
        assert app.get("/api/jobs").json()["jobs"] == []
        key = add(app, "long.mp4")
        wait_until(lambda: job(app, key)["progress"]["frames"] > 0, LONG)
        clear.rename(gone)
        assert wait_for(app, key, "failed")["error"]
        gone.rename(clear)
        wait_for(app, add(app, "short.mp4"), "done")


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode")
@pytest.mark.parametrize("where", ["a folder", "--out"])
def test_a_folder_whose_name_is_not_utf8_is_refused(tmp_path, where):
    odd = tmp_path / os.fsdecode(b"bad\xff")
    odd.mkdir()
    folders, out = ([odd], tmp_path) if where == "a folder" else ([], odd)
    with pytest.raises(UsageError, match="UTF-8; rename"), app_at(out, folders):
        pass


def test_two_pages_do_not_share_a_folder(app, tmp_path):
    command = [sys.executable, "-m", "streamkind", "app", "--out", app.clear, "--port", "0"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert told.returncode == 2
    assert "another `streamkind app` uses it" in told.stderr


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupted_job_is_resumed_at_the_next_start(clips, tmp_path, number):
    with app_command(tmp_path, clips) as (process, app):
        key = add(app, "long.mp4")
        wait_until(lambda: job(app, key)["progress"]["frames"] > 110, LONG)
        process.send_signal(number)
        process.wait(LONG)
    assert list((tmp_path / "clear").glob(".*.job/00000.json"))
    seen = []

    def done():
        told = job(app, key)
        seen.append(told["progress"]["frames"])
        return told["state"] == "done"

    with app_command(tmp_path, clips) as (_, app):
        wait_until(done, LONG)
    assert seen[-1] == 300
    assert min(filter(None, seen)) >= 100  # the first part, 100 frames, is not made again
    result = tmp_path / "clear" / "long-clear.mp4"
    assert digests(result) == digests(made_by_command(clips / "long.mp4", tmp_path))
    assert list((tmp_path / "clear").glob(".*.job*")) == []


@pytest.mark.parametrize("added", ["-clear", "ö" * 40])
def test_a_result_of_a_long_name_gets_a_name_that_every_disk_takes(tmp_path, added):
    folder = tmp_path / "nights"
    folder.mkdir()
    path = night(folder / f"{'ä' * 120}.mp4", 8)
    settings = Settings.model_validate(QUICK | {"added": added})
    with contextlib.closing(Queue(tmp_path / "clear")) as queue:
        entries = [queue.add(path, "1/x", settings) for _ in range(2)]
        wait_until(lambda: all(entry.state == "done" for entry in entries), LONG)
    names = [Path(entry.output).name for entry in entries]
    assert [name[-len(added) - 8 :].lstrip("ä") for name in names] == [
        f"{added}.mp4",
        f"{added} (2).mp4",
    ]
    assert all(len(name.encode()) <= 200 for name in names)


def test_no_entry_gets_the_name_of_one_whose_files_are_still_removed(clips, tmp_path, monkeypatch):
    other, remove = [], QueueEntry.remove_result
    with contextlib.closing(Queue(tmp_path)) as queue, ThreadPoolExecutor(1) as pool:

        def add():
            entry = queue.add(clips / "short.mp4", "1/short.mp4", Settings.model_validate(QUICK))
            queue.set_state(entry.id, "paused")
            return entry

        def slow(entry):
            other.append(pool.submit(add))
            wait(other, 1)
            remove(entry)
            assert not other[0].done()

        first = add()
        monkeypatch.setattr(QueueEntry, "remove_result", slow)
        queue.remove(first.id)
        assert other[0].result(LONG).output == first.output


def test_a_process_that_cannot_be_ended_fails_no_request(tmp_path, monkeypatch):
    ended = threading.Event()

    class Stuck(contextlib.AbstractContextManager):
        """A process that waits for a disk, so that its end is delayed."""

        returncode = -9
        kill = lambda self: None  # noqa: E731

        def wait(self, seconds):
            raise subprocess.TimeoutExpired("work", seconds)

        @property
        def stdout(self):
            ended.wait()
            return iter(())

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(queues, "start", lambda entry, picture: Stuck())
    queue = Queue(tmp_path)
    try:
        entry = queue.add(tmp_path / "a.mp4", "1/a.mp4", Settings())
        wait_until(lambda: entry.state == "running")
        assert queue.set_state(entry.id, "paused").state == "paused"
        assert [e.state for e in load(tmp_path / QUEUE)] == ["paused"]
        queue.remove(entry.id)
        assert load(tmp_path / QUEUE) == []
    finally:
        ended.set()
        queue.close()


def paused(queue, tmp_path):
    """Add a file to a queue, and pause it before its process is started."""
    with queue._changed:
        return queue.set_state(queue.add(tmp_path / "a.mp4", "1/a.mp4", Settings()).id, "paused")


def test_removing_an_entry_frees_a_full_disk(tmp_path, monkeypatch):
    with contextlib.closing(Queue(tmp_path)) as queue:
        entry = paused(queue, tmp_path)
        part = entry.job().part(0)
        part.parent.mkdir()
        part.write_bytes(b"much")

        def save(path, entries):
            if part.exists():
                raise OutputError("no space left on device")
            saved.append(list(entries))

        saved = []
        monkeypatch.setattr(queues, "save", save)
        queue.remove(entry.id)
        assert saved == [[]] and not part.parent.exists()


@pytest.mark.parametrize("act", ["remove", "change"])
def test_an_entry_that_is_removed_twice_at_once_is_not_found(tmp_path, act):
    with contextlib.closing(Queue(tmp_path)) as queue, ThreadPoolExecutor(1) as pool:
        jobs = Jobs(queue, None, None)
        entry = paused(queue, tmp_path)
        with queue._changed:
            more = [JobChange(state="waiting")] if act == "change" else []
            late = pool.submit(getattr(jobs, act), entry.id, *more)
            wait([late], 0.2)  # it has found the entry, and waits for the queue
            jobs.remove(entry.id)
        with pytest.raises(HTTPException, match="404"):
            late.result(LONG)


def test_frames_of_done_and_paused_files_are_known_after_a_restart(tmp_path):
    entries = [
        QueueEntry(
            state,
            "a.mp4",
            "1/a.mp4",
            "a.mp4",
            state,
            Settings(),
            state,
            progress=JobProgress(3, 4, 5),
        )
        for state in ("done", "paused")
    ]
    save(tmp_path / QUEUE, entries)
    with contextlib.closing(Queue(tmp_path)) as queue:
        assert [as_answer(e)["progress"]["frames"] for e in queue.list()] == [3, 3]
    told = json.loads((tmp_path / QUEUE).read_bytes())
    for job in told["jobs"]:
        del job["progress"]  # as version 0.2.0 stored it
    (tmp_path / QUEUE).write_text(json.dumps(told))
    assert [e.progress for e in load(tmp_path / QUEUE)] == [JobProgress(), JobProgress()]


def test_a_job_does_not_depend_on_the_picture_of_its_present_frame(tmp_path):
    (tmp_path / "full").write_text("no folder, as if the disk were full")
    for folder in ("full", "cleaned"):
        writer = ProgressWriter(tmp_path / folder / "now.jpg")
        writer.look(*np.zeros((2, 48, 64, 3), np.uint8), ColorTags())
    assert (tmp_path / "cleaned" / "now.jpg").exists()


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ("exit 3", "failed"),
        (
            r"""printf '\377\n{"status":1,"error":"","frames":3,"warnings":[],"seconds":1}\n'""",
            "done",
        ),
    ],
    ids=["ends before it reads", "a library writes no UTF-8"],
)
def test_no_process_stops_the_queue(tmp_path, monkeypatch, script, state):
    class Ended(subprocess.Popen):
        """A process that has ended before its job is written."""

        def __init__(self, words, **options):
            super().__init__(["sh", "-c", script], **options)
            self.wait()

    monkeypatch.setattr(queues.subprocess, "Popen", Ended)
    queue = Queue(tmp_path)
    try:
        for name in ("a.mp4", "b.mp4"):
            entry = queue.add(tmp_path / name, f"1/{name}", Settings())
            wait_until(lambda entry=entry: entry.state == state)
    finally:
        queue.close()
