"""Batches: each file is done, skipped or reported, and an interrupted batch is resumed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from support.batch import ARGUMENTS, QUICK, batch, digests, left, night, run
from support.interlaced import combing, woven
from support.media import make_clip, read_tracks, read_video

import streamkind
from streamkind import platform
from streamkind.app.uploads import free_path
from streamkind.batch import journal as journals
from streamkind.batch import work
from streamkind.batch.divide import divide
from streamkind.batch.executors import InProcess, Processes
from streamkind.batch.files import find_jobs, read_list
from streamkind.batch.jobs import JobRunner, Result
from streamkind.batch.journal import Job
from streamkind.batch.lock import Lock
from streamkind.cli import app as commands
from streamkind.cli.app import end_batch
from streamkind.engine.options import Options
from streamkind.errors import InputError, OutputError, UsageError
from streamkind.light.track import Track


def sound_of(path):
    """Return the packets of the first sound stream, as (seconds, bytes)."""
    return next(track.packets for track in read_tracks(path) if track.kind == "audio")


def test_parts_joined_are_the_whole_video(tmp_path, short_parts):
    clip = night(tmp_path / "night.mp4")
    (job,) = find_jobs([clip], tmp_path / "clear", QUICK)
    (result,), _ = run([job])
    assert (result.status, result.frames, result.error) == ("done", 40, "")
    before, after = read_video(clip), read_video(job.output)
    assert after.pts == before.pts and after.durations[-1] == before.durations[-1]
    assert np.mean(after.images) > np.mean(before.images) + 20
    assert sound_of(job.output) == sound_of(clip)
    assert left(tmp_path) == []


def test_finished_outputs_are_skipped_and_outputs_of_other_settings_made_again(tmp_path):
    clip, out = night(tmp_path / "night.mp4", 5), tmp_path / "clear"
    (job,) = find_jobs([clip], out, QUICK)
    assert [r.status for r in run([job])[0]] == ["done"]
    first = job.output.stat().st_mtime_ns
    assert [r.status for r in run([job])[0]] == ["skipped"]
    assert job.output.stat().st_mtime_ns == first
    (other,) = find_jobs([clip], out, Options(preset="ultrafast", ratio=2.0))
    (result,), told = run([other])
    assert result.status == "done" and "or was made with other settings; it is made again" in told
    with other.output.open("r+b") as file:
        file.truncate(100)
    assert [r.status for r in run([other])[0]] == ["done"]
    night(clip, 6)
    (result,), _ = run([other])
    assert (result.status, result.frames) == ("done", 6)


@pytest.mark.parametrize("stem", ["x" * 251, "ä" * 125])
def test_a_name_as_long_as_the_disk_allows_is_done_and_then_skipped(tmp_path, stem):
    jobs = find_jobs([night(tmp_path / f"{stem}.mp4", 3)], tmp_path / "clear", QUICK)
    assert [[r.status for r in run(jobs)[0]] for _ in range(2)] == [["done"], ["skipped"]]


def test_a_file_of_the_users_is_never_replaced(tmp_path):
    clip, out = night(tmp_path / "night.mp4", 3), tmp_path / "clear"
    out.mkdir()
    (out / "night.mp4").write_bytes(b"mine")
    (result,), _ = run(find_jobs([clip], out, QUICK))
    assert result.status == "failed" and "move it away" in result.error
    assert (out / "night.mp4").read_bytes() == b"mine"
    assert left(tmp_path) == []


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Return the folder of a job whose parts are not joined yet, and digests of its result."""
    folder = tmp_path_factory.mktemp("kept")
    clip = night(folder / "night.mp4")
    (job,) = find_jobs([clip], folder / "clear", QUICK)
    job.output.parent.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streamkind.batch.divide.PART_SECONDS", 1.0)
        (reference,) = find_jobs([clip], folder / "reference", QUICK)
        run([reference])
        journal, track = work.prepare(job)
        journal = journal.keep(job, track)
        assert len(journal.starts) == 4
        for index in range(4):
            work.enhance_part(job, journal, index, track)
    return folder, digests(reference.output)


@pytest.fixture
def interrupted(kept, tmp_path):
    """Return a job that was killed after all parts were done and before they were joined."""
    shutil.copy(kept[0] / "night.mp4", tmp_path)
    shutil.copytree(kept[0] / "clear", tmp_path / "clear")
    return find_jobs([tmp_path / "night.mp4"], tmp_path / "clear", QUICK)[0]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "said", "made_again"),
    [
        (lambda job: None, "4 of 4 parts are done", []),
        (lambda job: flip(job.part(1)), "part 1 is damaged", [1]),
        (lambda job: os.truncate(job.part(2), 99), "part 2 is damaged", [2]),
        (lambda job: job.part(3).unlink(), "part 3 is damaged", [3]),
        (lambda job: flip(job.record(0)), "part 0 is damaged", [0]),
        (lambda job: flip(job.folder / "journal.json"), "damaged or was edited", [0, 1, 2, 3]),
        (lambda job: flip(job.track), "ratio track is damaged", [0, 1, 2, 3]),
        (lambda job: job.track.unlink(), "ratio track is damaged", [0, 1, 2, 3]),
    ],
)
def test_damaged_outputs_and_parts_are_made_again_with_a_message(
    tmp_path, short_parts, monkeypatch, kept, interrupted, harm, said, made_again
):
    job = interrupted
    harm(job)
    made = []
    encode = work.encode_part
    monkeypatch.setattr(
        work, "encode_part", lambda *a, **k: (made.append(a[2]), encode(*a, **k))[1]
    )
    (result,), told = run([job])
    assert result.status == "done"
    assert sorted(made) == made_again
    assert said in told
    assert digests(job.output) == kept[1]
    assert left(tmp_path) == []


def change_version(job):
    from streamkind.batch.journal import read, write

    path = job.folder / "journal.json"
    write(path, read(path) | {"version": 0})


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        (change_version, QUICK, "journal is of another version"),
        (lambda job: night(job.input, 30), QUICK, "the input has changed"),
        (lambda job: None, Options(preset="ultrafast", crf=30), "settings, the model or"),
    ],
)
def test_a_job_whose_journal_does_not_fit_starts_again(
    short_parts, interrupted, change, settings, said
):
    job = interrupted
    change(job)
    (result,), told = run([Job(job.input, job.output, settings)])
    assert result.status == "done"
    assert said in told and "the job starts again" in told


def forge(path, **values):
    """Change values in a record of a job, and write it with a digest that matches."""
    journals.write(path, journals.read(path) | values)


FORGED = [
    {"starts": "abc"},
    {"starts": None},
    {"starts": []},
    {"starts": [0, "1", 2, 3]},
    {"starts": [3, 2, 1, 0]},
    {"starts": [0]},
    {"warm": {}},
    {"warm": [0]},
    {"packets": [1, 2]},
    {"packets": 5},
    {"ticks": "90000"},
    {"ticks": 0},
    {"ticks": [1]},
    {"frames": {}},
    {"others": 3},
    {"others": [None]},
    {"still": "no"},
    {"track": 7},
    {"settings": []},
    {"input": 1},
]


@pytest.mark.parametrize("values", FORGED, ids=str)
def test_a_forged_journal_is_not_used(kept, interrupted, values):
    forge(interrupted.folder / "journal.json", **values)
    assert journals.Journal.read(interrupted) == "its journal is damaged or was edited"


@pytest.mark.parametrize("values", [{"starts": 1, "more": 2}, {"more": 2}], ids=str)
def test_a_journal_with_other_fields_is_of_another_version(kept, interrupted, values):
    forge(interrupted.folder / "journal.json", **values)
    assert journals.Journal.read(interrupted) == "its journal is of another version"


@pytest.mark.parametrize(
    "values", [{"frames": "9"}, {"warnings": 3}, {"end_pts": None}, {"sha256": 0}], ids=str
)
def test_a_forged_record_of_a_part_is_not_used(kept, interrupted, values):
    assert isinstance(work.whole_part(interrupted, 1), work.Outcome)
    forge(interrupted.record(1), **values)
    assert work.whole_part(interrupted, 1) == "part 1 is damaged; it is made again"


def test_a_job_with_a_forged_journal_starts_again(short_parts, interrupted):
    forge(interrupted.folder / "journal.json", starts="abc")
    (result,), told = run([interrupted])
    assert result.status == "done" and "damaged or was edited; the job starts again" in told


def test_an_input_that_changes_during_the_work_is_no_result(tmp_path, short_parts, monkeypatch):
    """Check an input that a recorder still writes. The data that it adds must not count as done."""
    clips = [night(tmp_path / f"{name}.mp4") for name in "ab"]
    encode = work.encode_part

    def encode_and_record(job, journal, index, *rest):
        if index == 1 and job.input == clips[0]:
            with clips[0].open("ab") as file:
                file.write(b"more")
        return encode(job, journal, index, *rest)

    monkeypatch.setattr(work, "encode_part", encode_and_record)
    jobs = find_jobs(clips, tmp_path / "clear", QUICK)
    changed, other = run(jobs)[0]
    assert (changed.status, other.status) == ("failed", "done")
    assert "changed while it was enhanced" in changed.error and not jobs[0].output.exists()
    monkeypatch.undo()
    results, told = run(jobs)
    assert [result.status for result in results] == ["done", "skipped"]
    assert "the input has changed; the job starts again" in told
    assert left(tmp_path) == []


def test_folders_in_the_folder_of_a_job_are_removed(tmp_path, interrupted):
    (interrupted.folder / "journal.json").unlink()
    (interrupted.folder / "journal.json").mkdir()
    (interrupted.folder / "more").mkdir()
    (interrupted.folder / "more" / "file").write_bytes(b"x")
    (result,), _ = run([interrupted])
    assert (result.status, result.error) == ("done", "")
    assert left(tmp_path) == []


def test_frames_that_cannot_be_decoded_are_left_out_and_reported(tmp_path, short_parts):
    clip = night(tmp_path / "night.mp4", options={"g": "10"})
    with av.open(str(clip)) as container:
        bad = [(p.pos, p.size) for p in container.demux(video=0) if p.size][10:20]
    data = bytearray(clip.read_bytes())
    for place, size in bad:
        data[place : place + size] = bytes(size)
    clip.write_bytes(data)
    (job,) = find_jobs([clip], tmp_path / "clear", QUICK)
    (result,), _ = run([job])
    assert (result.status, result.error) == ("done", "")
    assert result.frames == len(digests(job.output)) == 30
    assert result.lost == 10 and "could not be decoded" in " ".join(result.warnings)


def test_frames_of_a_failed_job_are_no_progress_of_the_others(tmp_path, monkeypatch):
    night(tmp_path / "a.mp4", 4)
    night(tmp_path / "b.mp4", 40)
    jobs = find_jobs([tmp_path / "a.mp4", tmp_path / "b.mp4"], tmp_path / "clear", QUICK)
    plan = journals.Journal("another input", {}, True, [0], [0], [], 1.0, None)
    monkeypatch.setattr(work, "prepare", lambda job, seen: (plan, None))
    monkeypatch.setattr(work, "enhance_part", lambda *_: work.Outcome(frames=4))
    monkeypatch.setattr(work, "engine_description", lambda job: "")
    told = []
    JobRunner(jobs, progress=lambda p: told.append((p.frames, p.total))).run()
    assert (4, 44) in told and told[-1] == (0, 0)
    assert all(done <= total for done, total in told)


def test_images_are_jobs_too(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(2):
        picture = np.tile(np.linspace(2, 50 + 9 * i, 64)[None, :, None], (48, 1, 3))
        cv2.imwrite(str(tmp_path / "in" / f"{i}.png"), picture)
    options = replace(QUICK, steady=(), deinterlace="off")  # for videos, which it may have too
    jobs = find_jobs([tmp_path / "in"], tmp_path / "out", options, patterns=["*.png"])
    assert [r.status for r in run(jobs)[0]] == ["done", "done"]
    assert cv2.imread(str(tmp_path / "out" / "1.png")).mean() > 60
    assert left(tmp_path) == []
    assert [r.status for r in run(jobs)[0]] == ["skipped", "skipped"]


def test_a_job_is_worked_on_by_one_process(tmp_path):
    (job,) = find_jobs([night(tmp_path / "night.mp4", 3)], tmp_path / "clear", QUICK)
    held = Lock(job)
    (result,), _ = run([job])
    assert result.status == "failed" and "another process" in result.error
    held.release()
    assert run([job])[0][0].status == "done"


def test_a_process_that_is_killed_between_two_tasks_is_told(tmp_path):
    class Killed(Processes):
        def submit(self, fn, /, *args, **kwargs):
            raise BrokenProcessPool("a child process terminated abruptly")

    jobs = find_jobs([night(tmp_path / "night.mp4", 3)], tmp_path / "clear", QUICK)
    with Killed(2) as executor, pytest.raises(OutputError, match="a worker process was killed"):
        run(jobs, executor=executor)


USES_PROCESSES = """
import os, signal, time
from streamkind.batch.executors import Processes
if __name__ == "__main__":
    with Processes(1) as executor:
        worker = executor.submit(os.getpid).result()
        os.kill(worker, signal.SIGINT)  # a terminal sends it to all processes
        print(worker, executor.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_processes_end_with_the_one_that_began_them_and_leave_ctrl_c_to_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(USES_PROCESSES)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, script], **streams) as process:
        workers = process.stdout.readline().split()
        process.kill()
        try:
            process.communicate(timeout=20)  # ends when no process has the pipes any more
        except subprocess.TimeoutExpired:
            os.kill(int(workers[0]), signal.SIGKILL)
            raise
    assert len(workers) == 2 and len({*workers}) == 1


def test_a_job_whose_storage_fails_does_not_end_the_batch(tmp_path, monkeypatch):
    class NoNetworkError(Exception):
        """An error of a library of remote storage, which is no OSError."""

    def is_done(job):
        if job.input.name == "a.mp4":
            raise NoNetworkError("no endpoint")
        return True

    monkeypatch.setattr(Job, "is_done", is_done)
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    results, told = run(find_jobs(paths, tmp_path / "clear", QUICK))
    assert [r.status for r in results] == ["failed", "skipped"] and "no endpoint" in told


def test_two_processes_make_the_same_frames_as_one(tmp_path):
    clip = night(tmp_path / "night.mp4", 48, rate=2)
    alone, shared = (find_jobs([clip], tmp_path / n, QUICK)[0] for n in ("alone", "shared"))
    run([alone])
    with Processes(2) as executor:
        (result,), _ = run([shared], executor=executor, slots=lambda: 2)
    assert (result.status, result.frames) == ("done", 48)
    assert digests(shared.output) == digests(alone.output)


def test_a_video_is_divided_where_decoding_can_begin(tmp_path, short_parts):
    starts, warm, packets, _ = divide(night(tmp_path / "night.mp4"), None)
    assert (
        len(starts) == 4
        and sum(packets) == 40
        and warm[0] == starts[0]
        and all(np.less(warm[1:], starts[1:]))
    )
    stream = tmp_path / "night.h264"  # no time stamps
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "night.mp4", "-c:v", "copy", "-an", stream]
    subprocess.run(command, check=True)
    assert divide(stream, None)[:2] == ([0], [0])
    (job,) = find_jobs([stream], tmp_path / "clear", QUICK)
    (result,), _ = run([job])
    assert (result.status, result.frames, job.output.suffix) == ("done", 40, ".mkv")


def test_parts_begin_at_scene_cuts_and_keyframes(tmp_path, short_parts):
    clip = night(tmp_path / "night.mp4", options={"g": "7", "keyint_min": "7"})
    with av.open(str(clip)) as container:
        pts = sorted(p.pts for p in container.demux(video=0) if p.size)
        ticks = 1 / container.streams.video[0].time_base
    starts, *_ = divide(clip, None)
    assert starts == [pts[i] for i in (0, 7, 14, 28)] or set(starts) <= set(pts[::7])
    time = np.array([float(p / ticks) for p in pts])
    cut = np.isin(np.arange(40), [0, 12, 33])
    starts, *_ = divide(clip, Track(time, time + 1, time, time, cut))
    assert pts[12] in starts and pts[33] in starts


def test_a_video_whose_frames_last_longer_than_a_part_is_divided(tmp_path):
    path = tmp_path / "lapse.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", Fraction(1, 20))  # one frame in 20 seconds
        stream.width, stream.height = 64, 48
        for i in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), i, np.uint8), "rgb24")
            frame.pts, frame.time_base = i, Fraction(20)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    starts, _, packets, ticks = divide(path, None)
    assert starts[:2] == [0, 1] and sum(packets) == 4 and ticks == 0.05


def test_results_are_named_by_a_template(tmp_path):
    for name in ("a/one.mp4", "a/b/two.AVI", "a/three.txt", "a/.hidden.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")

    def names(*inputs, **options):
        jobs = find_jobs([tmp_path / i for i in inputs], tmp_path / "out", QUICK, **options)
        return sorted(str(job.output.relative_to(tmp_path / "out")) for job in jobs)

    assert names("a") == ["b/two.mkv", "one.mp4"]
    assert names("a", patterns=["*.AVI", "thr*"]) == ["b/two.mkv", "three.txt"]
    assert names("a/one.mp4", name="{stem}-{kind}.mkv") == ["one-mp4.mkv"]
    with pytest.raises(UsageError, match=r"would both become.*--name"):
        names("a", name="same.mkv")
    for name in ("{camera}.mkv", "{stem[x]}.mkv"):
        with pytest.raises(UsageError, match="cannot be filled in"):
            names("a", name=name)
    with pytest.raises(InputError, match="no video was found"):
        names("a", patterns=["*.mov"])


def test_a_file_that_is_named_twice_is_one_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.mp4").write_bytes(b"x")
    assert len(find_jobs([".", tmp_path / "one.mp4", "one.mp4"], "clear", QUICK)) == 1


def test_no_result_is_made_in_place_of_its_input(tmp_path):
    (tmp_path / "clear").mkdir()
    (tmp_path / "clear" / "one.mp4").write_bytes(b"the result of a batch")
    with pytest.raises(UsageError, match="input and output are the same file"):
        find_jobs([tmp_path / "clear" / "one.mp4"], tmp_path / "clear", QUICK)


@pytest.mark.parametrize(
    ("system", "two", "is_refused"),
    [
        ("linux", "A.MP4", False),
        ("win32", "A.MP4", True),
        ("darwin", "A.MP4", True),
        ("darwin", "a\u0308.mp4", True),
        ("win32", "a\u0308.mp4", False),
    ],
)
def test_names_that_are_one_on_the_disk_are_told_apart(
    tmp_path, monkeypatch, system, two, is_refused
):
    monkeypatch.setattr(platform.sys, "platform", system)
    monkeypatch.setattr(platform, "WINDOWS", system == "win32")
    one = "ä.mp4" if two.islower() else "a.mp4"
    paths = [tmp_path / "1" / one, tmp_path / "2" / two]
    with pytest.raises(UsageError) if is_refused else contextlib.nullcontext():
        find_jobs(paths, tmp_path / "clear", QUICK)
    first = free_path(tmp_path, "A", "", ".mp4")
    other = free_path(tmp_path, "a", "", ".mp4", {platform.unified(first)})
    assert other.name == ("a.mp4" if system == "linux" else "a (2).mp4")


def test_results_below_an_input_folder_are_no_inputs(tmp_path):
    night(tmp_path / "one.mp4", 3)
    jobs = find_jobs([tmp_path], tmp_path / "clear", QUICK)
    run(jobs)
    assert find_jobs([tmp_path], tmp_path / "clear", QUICK) == jobs
    for out in (tmp_path, tmp_path / "."):
        with pytest.raises(InputError, match=r"below --out.*choose another --out"):
            find_jobs([tmp_path], out, QUICK)


@pytest.mark.parametrize(("top", "out"), [(".", "{}/clear"), ("{}", "clear"), ("{}", "{}/clear")])
def test_results_are_no_inputs_however_the_folders_are_named(tmp_path, monkeypatch, top, out):
    for name in ("one.mp4", "clear/one.mp4", "clear/sub/one.mp4", "clear-too/one.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    jobs = find_jobs([top.format(tmp_path)], out.format(tmp_path), QUICK)
    names = {str(job.input.absolute().relative_to(tmp_path)) for job in jobs}
    assert names == {"one.mp4", "clear-too/one.mp4"}


def test_files_in_hidden_folders_are_not_taken(tmp_path):
    top = tmp_path / ".named"  # a hidden folder that the user names is searched
    left_out = []
    for name in ("one.mp4", ".Trash-1000/files/two.mp4", "sub/.two.mp4.job/00000.nut"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"x")
    jobs = find_jobs([top], tmp_path / "clear", QUICK, left_out=left_out)
    assert [job.input for job in jobs] == [top / "one.mp4"] and left_out == []


@pytest.mark.parametrize(  # PowerShell writes a byte order mark; version 5 writes UTF-16
    ("mark", "coding"),
    [
        (b"", "utf-8"),
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ],
)
def test_a_list_names_inputs(tmp_path, mark, coding):
    path = tmp_path / "list.txt"
    text = "one.mp4\n\n# two.mp4\r\n three four.mp4 \n".encode(coding)
    path.write_bytes(mark + text)
    assert read_list(path) == ["one.mp4", "three four.mp4"]
    with pytest.raises(InputError, match="one path per line"):
        read_list(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x.mp4", "--jobs", "0"], "from 1 up"),
        (["x.mp4", "--jobs", "2", "--cluster", "auto"], "leave --jobs out"),
        (["x.mp4", "--nice", "5", "--cluster", "auto"], "--nice has no effect"),
        (["x.mp4", "--nice", "-5"], "'--nice'"),
        (["x.mp4", "--ratio", "40"], "0.1 to 10"),
        (["x.mp4", "--target", "0"], "above 0"),
        (["x.mp4", "--model", "none"], "unknown model"),
        ([], "no video was found"),
        (["x.mp4", "--cluster", "ray://127.0.0.1:9"], "no Ray cluster at ray://127.0.0.1:9"),
    ],
)
def test_bad_options_are_refused_in_a_line(tmp_path, arguments, said):
    result = batch(*arguments, "--out", tmp_path / "clear")
    assert result.returncode in (1, 2)
    assert said in result.stderr and "Traceback" not in result.stderr


def test_a_report_may_be_in_the_folder_of_the_results(call, tmp_path):
    out = tmp_path / "clear"
    told = call("batch", tmp_path / "none.mp4", "--out", out, "--report", out / "report.json")
    assert told[0] == 1 and "1 failed" in told[1]
    assert json.loads((out / "report.json").read_bytes())["files"][0]["status"] == "failed"


def test_results_are_shown_also_if_their_report_cannot_be_written(tmp_path, capsys):
    (job,) = find_jobs([tmp_path / "a\x1b[31m.mp4"], tmp_path / "clear", QUICK)
    results = [Result(job, "failed", error=f"{job.input}: no such file")]
    with pytest.raises(OutputError):
        end_batch(results, tmp_path / "gone" / "report.json")
    told = capsys.readouterr().out
    assert "1 failed" in told and "\x1b[31m" not in told


def test_a_cluster_gets_absolute_names(call, tmp_path, monkeypatch):
    asked = []

    class Runner(JobRunner):
        def run(self):
            asked.extend(result.job for result in self.results)
            return []

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "open_executor", lambda *_: (InProcess(), lambda: 1))
    monkeypatch.setattr(commands, "JobRunner", Runner)
    call("batch", "a.mp4", "--cluster", "auto")
    (job,) = asked
    assert (job.input, job.output) == (tmp_path / "a.mp4", tmp_path / "clear" / "a.mp4")


def test_a_container_that_cannot_be_joined_is_refused_before_the_work(tmp_path):
    clip = night(tmp_path / "night.mp4", 3)
    (job,) = find_jobs([clip], tmp_path / "clear", QUICK, name="{stem}.avi")
    (result,), _ = run([job])
    assert result.status == "failed" and "choose .mkv or .mp4" in result.error
    assert left(tmp_path) == []


def two_languages(path, clip):
    """Write the clip with sound in two languages, by FFmpeg."""
    command = "ffmpeg -v error -y -i {} -f lavfi -t 1 -i sine=300 -map 0:v -map 1:a -map 1:a"
    words = [str(clip) if w == "{}" else w for w in command.split()]
    tags = [
        "-c:v",
        "copy",
        "-c:a",
        "aac",
        "-metadata:s:a:0",
        "language=eng",
        "-metadata:s:a:1",
        "language=deu",
    ]
    subprocess.run([*words, *tags, str(path)], check=True)


def thirty_clips(folder):
    """Write 27 clips that can be enhanced, and three files that cannot."""
    folder.mkdir()
    for i in range(10):
        night(folder / f"night {i}.mp4", 4 + i)
    for i, size in enumerate([(66, 50), (48, 64), (63, 47)] * 3):
        pix_fmt = "yuv444p" if size[0] % 2 else "yuv420p"
        make_clip(folder / f"odd-{i}.mkv", frames=4, size=size, pix_fmt=pix_fmt)
    make_clip(folder / "turned.mp4", frames=4, rotation=(90, False, False))
    make_clip(folder / 'it\'s "quoted".mp4', frames=4, subtitles="mov_text", audio="aac")
    make_clip(folder / "moon 🌙.mkv", frames=4, subtitles="subrip", chapters=True)
    make_clip(folder / "{braces}.mp4", frames=4)
    make_clip(folder / "-dash.mov", frames=4)
    two_languages(folder / "two.mp4", folder / "night 0.mp4")
    (folder / "below").mkdir()
    make_clip(folder / "below" / "night 0.mp4", frames=4)
    make_clip(folder / "old.avi", frames=4, codec="mpeg4", options={"bf": "0"})
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "broken.mp4").write_bytes((folder / "night 3.mp4").read_bytes()[:900])
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-t", "1", "-i", "sine=300", "-c:a", "aac"]
    subprocess.run([*command, str(folder / "sound.mp4")], check=True)


def test_the_first_video_tells_profile_and_expected_speed(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    clips = [night(tmp_path / f"{name}.mp4", frames=6) for name in "bc"]
    jobs = find_jobs([tmp_path / "a.mp4", *clips], tmp_path / "clear", QUICK)
    results, told = run(jobs)
    assert [r.status for r in results] == ["failed", "done", "done"]
    lines = [line for line in told.splitlines() if " on cpu, " in line]
    assert len(lines) == 1 and re.search(
        r"b\.mp4: balanced: lite on cpu, openvino .*, (bf16|f32)$", lines[0]
    )


def test_of_thirty_files_27_are_done_and_three_reported(tmp_path):
    thirty_clips(tmp_path / "in")
    result = batch(tmp_path / "in", "--out", tmp_path / "out", "--report", tmp_path / "report.txt")
    told = json.loads((tmp_path / "report.txt").read_text())["files"]
    assert result.returncode == 3, result.stderr
    failed = {Path(f["input"]).name: f["error"] for f in told if f["status"] == "failed"}
    assert sorted(failed) == ["broken.mp4", "sound.mp4", "zero.mp4"]
    assert "no video in it, only audio" in failed["sound.mp4"]
    done = [f for f in told if f["status"] == "done"]
    assert len(done) == 27
    for file in done:
        before, after = read_video(Path(file["input"])), read_video(Path(file["output"]))
        assert len(after.images) == len(before.images) == file["frames"]
        assert [p * after.time_base for p in after.pts] == pytest.approx(
            [p * before.time_base for p in before.pts], abs=0.0006
        )
    languages = [t.language for t in read_tracks(tmp_path / "out" / "two.mp4") if t.kind == "audio"]
    assert languages == ["eng", "deu"]
    assert left(tmp_path) == []
    again = batch(tmp_path / "in", "--out", tmp_path / "out")
    assert "0 done, 27 skipped, 3 failed" in again.stdout


@pytest.fixture(scope="module")
def minute(tmp_path_factory):
    """Return a clip of one minute, and digests of the result of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("minute")
    clip = night(folder / "night.mp4", 600)
    assert batch(clip, "--out", folder / "whole").returncode == 0
    return clip, digests(folder / "whole" / "night.mp4")


def killed_at_work(command, out, choose):
    """Start a job, and kill it after some progress; return whether it was still running."""
    folder = find_jobs([out.parent / "night.mp4"], out, QUICK)[0].folder
    parts = len(list(folder.glob("*.nut"))) + choose.randrange(2)
    process = subprocess.Popen([*command, "--out", str(out)])
    while process.poll() is None and len(list(folder.glob("*.nut"))) < parts:
        time.sleep(0.005)
    # The kill may come at the start, in the first pass, in a part, or while parts are joined.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(choose.uniform(0, 1))
    alive = process.poll() is None
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return alive


@pytest.mark.slow
def test_twenty_kills_change_nothing(minute, tmp_path):
    clip, whole = minute
    shutil.copy(clip, tmp_path / "night.mp4")
    command = [sys.executable, "-m", "streamkind", "batch", str(tmp_path / "night.mp4")]
    command += ARGUMENTS
    choose, kills, runs = random.Random(0), 0, 0
    while kills < 20:
        out = tmp_path / str(runs)
        while killed_at_work(command, out, choose):
            kills += 1
            if choose.random() < 0.4:
                break
        assert subprocess.run([*command, "--out", str(out)]).returncode == 0
        assert digests(out / "night.mp4") == whole
        assert sorted(p.name for p in out.iterdir()) == [".night.mp4.streamkind", "night.mp4"]
        runs += 1
    assert runs < 20  # most kills were followed by a resumed run


@pytest.mark.slow
def test_a_full_disk_costs_nothing_that_is_done(minute, tmp_path, monkeypatch):
    clip, whole = minute
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "x", disk]).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        (job,) = find_jobs([clip], disk / "clear", QUICK)
        job.output.parent.mkdir()
        (disk / "ballast").write_bytes(bytes(8 << 20))
        (result,), _ = run([job])
        assert "free some space, and run the same command again" in result.error
        assert left(disk) == [] and not job.output.exists()
        (disk / "ballast").write_bytes(b"")
        journal, track = work.prepare(job)
        work.enhance_part(job, journal.keep(job, track), 0, track)
        monkeypatch.setattr(work, "SPARE_BYTES", -(1 << 30))  # so that the disk itself reports it
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - 20_000))
        (result,), _ = run([job])
        assert result.status == "failed" and "free some space" in result.error
        assert not job.output.exists()
        assert job.part(0).exists() and not any(".partial" in p.name for p in disk.rglob("*"))
        monkeypatch.undo()
        (disk / "ballast").unlink()
        (result,), told = run([job])
        assert result.status == "done" and "resumed, 1 of" in told
        assert digests(job.output) == whole
        assert left(disk) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_storage_of_fsspec_carries_a_job_from_end_to_end(tmp_path, short_parts):
    clip = night(tmp_path / "night.mp4")
    from upath import UPath

    remote = UPath("memory://footage/night.mp4")
    remote.parent.mkdir(parents=True, exist_ok=True)
    remote.write_bytes(clip.read_bytes())
    (job,) = find_jobs(["memory://footage"], "memory://clear", QUICK)
    (result,), _ = run([job])
    assert (result.status, result.error, result.frames) == ("done", "", 40)
    (here,) = find_jobs([clip], tmp_path / "clear", QUICK)
    run([here])
    (tmp_path / "fetched.mp4").write_bytes(job.output.read_bytes())
    assert digests(tmp_path / "fetched.mp4") == digests(here.output)
    assert not job.folder.exists()
    assert run([job])[0][0].status == "skipped"


@pytest.fixture
def s3(monkeypatch):
    """Serve the S3 protocol on loopback."""
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    yield
    server.stop()


def test_a_bucket_carries_a_job_from_end_to_end(tmp_path, short_parts, s3):
    from upath import UPath

    clip = night(tmp_path / "night.mp4")
    UPath("s3://footage").mkdir()
    UPath("s3://footage/in/night.mp4").write_bytes(clip.read_bytes())
    (job,) = find_jobs(["s3://footage/in"], "s3://footage/out", QUICK)
    (result,), _ = run([job])
    assert (result.status, result.error, result.frames) == ("done", "", 40)
    (tmp_path / "fetched.mp4").write_bytes(job.output.read_bytes())
    assert len(digests(tmp_path / "fetched.mp4")) == 40
    streamkind.enhance("s3://footage/in/night.mp4", tmp_path / "one.mp4", preset="ultrafast")
    assert sound_of(tmp_path / "one.mp4") == sound_of(clip)
    assert sorted(p.name for p in job.output.parent.iterdir()) == [
        ".night.mp4.streamkind",
        "night.mp4",
    ]


def test_all_videos_of_a_file_are_enhanced(tmp_path, short_parts):
    """Check a job that was interrupted between the two videos."""
    path = tmp_path / "in.mp4"
    make_clip(path, frames=50, second_video=True, audio="aac")
    (job,) = find_jobs([path], tmp_path / "clear", Options(preset="ultrafast", profile="realtime"))
    job.output.parent.mkdir()
    journal, track = work.prepare(job)
    journal = journal.keep(job, track)
    assert (len(journal.starts), journal.others) == (2, [2])
    for index in (0, 1):
        work.enhance_part(job, journal, index, journal.ratios(index, track))
    (result,), told = run([job])
    assert (result.status, result.frames, result.error) == ("done", 100, "")
    assert "2 of 3 parts are done" in told
    assert not any("copied" in warning for warning in result.warnings)
    with av.open(str(path)) as before, av.open(str(job.output)) as after:
        assert [s.type for s in after.streams] == [s.type for s in before.streams]
    for number in (0, 1):
        levels, times = [], []
        for file in (path, job.output):
            with av.open(str(file)) as container:
                frames = list(container.decode(container.streams.video[number]))
            levels.append(frames[0].to_ndarray(format="gray").mean())
            times.append([frame.time for frame in frames])
        assert times[1] == pytest.approx(times[0], abs=1e-3)
        assert levels[1] > levels[0] + 5
    assert sound_of(job.output) == sound_of(path)


@pytest.mark.parametrize(("mode", "frames"), [("frame", 10), ("field", 20)])
def test_interlaced_files_are_deinterlaced(tmp_path, mode, frames):
    path = woven(tmp_path / "in.mp4")
    options = Options(preset="ultrafast", profile="realtime", ratio=1.0, deinterlace=mode)
    (job,) = find_jobs([path], tmp_path / "clear", options)
    (result,), _ = run([job])
    assert (result.status, result.frames, result.error) == ("done", frames, "")
    assert max(combing(image) for image in read_video(job.output).images[1:-1]) < 2
