"""Batches on a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
from support.batch import ARGUMENTS, QUICK, batch, digests, left, night, run
from support.waiting import wait_until

from streamkind.batch.cluster import Cluster
from streamkind.batch.files import find_jobs
from streamkind.errors import EngineError

RAY = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats"]
NODE = ["--num-cpus", "1", "--min-worker-port", "0", "--max-worker-port", "0"]


def start(*arguments):
    return subprocess.Popen(
        [*RAY, *NODE, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def stop(process):
    """End a node and all its workers."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def cluster(monkeypatch):
    """Start a cluster of two nodes with one core each; a test may kill the second."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    nodes = [start("--head", "--port", str(port), "--include-dashboard=false")]
    try:
        wait_until(lambda: answers(port), 60, "no head node")
        nodes.append(start("--address", address))
        monkeypatch.setenv("RAY_ADDRESS", address)
        wait_until(lambda: cores(address) == 2, 60, "no second node")
        yield nodes
    finally:
        for node in reversed(nodes):
            if node.poll() is None:
                stop(node)


def cores(address):
    code = f"import ray; ray.init({address!r}, log_to_driver=False); print(ray.cluster_resources())"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    return eval(told.stdout)["CPU"] if told.returncode == 0 else 0


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Return a clip of one minute, and the digests of its frames as one process enhances them."""
    folder = tmp_path_factory.mktemp("clip")
    path = night(folder / "night.mp4", 600)
    (job,) = find_jobs([path], folder / "alone", QUICK)
    run([job])
    return path, digests(job.output)


def workers():
    """Return the ids of processes that run a task of Ray now."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_call"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["nothing", "a worker", "a node"])
def test_a_cluster_makes_the_same_frames_whatever_it_loses(cluster, clip, tmp_path, lost):
    path, whole = clip
    out = tmp_path / "clear"
    words = [sys.executable, "-m", "streamkind", "batch", path, "--out", out, *ARGUMENTS]
    process = subprocess.Popen([*map(str, words), "--cluster", "auto"])
    parts = lambda: list(out.rglob("*.nut"))  # noqa: E731
    if lost != "nothing":
        wait_until(lambda: parts() and workers(), 60, "no part")
        if lost == "a worker":
            os.kill(workers()[0], signal.SIGKILL)
        else:
            os.killpg(cluster[1].pid, signal.SIGKILL)
    assert process.wait(200) == 0
    assert digests(out / "night.mp4") == whole
    assert left(out) == []


@pytest.mark.slow
def test_a_failure_on_a_cluster_is_reported_in_one_line(cluster, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    result = batch(tmp_path / "broken.mp4", "--out", tmp_path / "clear", "--cluster", "auto")
    assert result.returncode == 1
    assert "failed: " in result.stderr and "not a video that FFmpeg can open" in result.stderr
    assert "Traceback" not in result.stderr + result.stdout


class Elsewhere(Executor):
    """An executor that hides the folder of the results, as if tasks ran on another machine."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        out = fn.args[0].output.parent
        away = out.rename(out.with_name("away"))
        try:
            future.set_result(fn())
        except Exception as error:
            future.set_exception(error)
        finally:
            away.rename(out)
        return future


def test_parts_made_where_the_results_are_not_seen_are_sent_back(tmp_path, short_parts):
    path = night(tmp_path / "night.mp4")
    there, here = (find_jobs([path], tmp_path / name, QUICK)[0] for name in ("there", "here"))
    (result,), _ = run([there], executor=Elsewhere())
    assert (result.status, result.frames) == ("done", 40)
    run([here])
    assert digests(there.output) == digests(here.output)
    assert left(tmp_path) == []


def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path):
    began = time.monotonic()
    result = batch("x.mp4", "--out", tmp_path, "--cluster", "ray://127.0.0.1:9")
    assert result.returncode == 1 and "start one with `ray start --head`" in result.stderr
    assert time.monotonic() - began < 60  # Ray itself would try for minutes


@pytest.mark.parametrize("host", ["a..b", "a" * 70])
def test_an_address_that_is_no_name_is_told(host):
    with pytest.raises(EngineError, match=r"no Ray cluster at ray://a.*check the address"):
        Cluster(f"ray://{host}:10001")
