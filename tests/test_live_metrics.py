"""Metrics, checked with Prometheus' parser, its linter and a real server; the dashboard."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.console_at import TOKEN, console_at, two_cameras
from support.live import free_port
from support.waiting import wait_until

from streamkind import __version__
from streamkind.live.status import SinkStatus

DOCS = Path(__file__).parents[1] / "docs"
SINK = "rtsp://10.0.0.9/out"


def busy_cameras():
    fleet = two_cameras()
    fleet.change(
        "gate",
        frames_in=100,
        frames_out=90,
        dropped=8,
        damaged=2,
        queue=3,
        reconnects=4,
        ratio=5.5,
        stages={"decode": 1.5, "recompose": 2.5},
        ages=(0.02, 0.06, 0.06, 9.0),
        age_count=4,
        sinks=(SinkStatus(SINK, "live", 80, 10, 1), SinkStatus(SINK, "live", 80, 10, 1)),
    )
    fleet.change("yard", state="lost")
    return fleet


def samples(text):
    """Return the value of every sample by its name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def told():
    """Return the metrics of busy cameras."""
    with console_at(busy_cameras()) as console:
        return samples(console.get("/metrics").text)


GATE = ("camera", "gate")


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("streamkind_frames_in_total", [GATE], 100),
        ("streamkind_frames_out_total", [GATE], 90),
        ("streamkind_frames_dropped_total", [GATE], 8),
        ("streamkind_frames_damaged_total", [GATE], 2),
        ("streamkind_reconnects_total", [GATE], 4),
        ("streamkind_queue_frames", [GATE], 3),
        ("streamkind_ratio", [GATE], 5.5),
        ("streamkind_stage_seconds_total", [GATE, ("stage", "decode")], 1.5),
        ("streamkind_camera_up", [GATE, ("required", "true")], 1),
        ("streamkind_camera_up", [("camera", "yard"), ("required", "false")], 0),
        ("streamkind_sink_up", [GATE, ("sink", SINK)], 1),
        ("streamkind_sink_frames_total", [GATE, ("sink", SINK)], 80),
        ("streamkind_sink_dropped_total", [GATE, ("sink", SINK)], 10),
        ("streamkind_sink_reconnects_total", [GATE, ("sink", SINK)], 1),
        ("streamkind_frame_age_seconds_bucket", [GATE, ("le", "0.025")], 1),
        ("streamkind_frame_age_seconds_bucket", [GATE, ("le", "0.1")], 3),
        ("streamkind_frame_age_seconds_bucket", [GATE, ("le", "5.0")], 3),
        ("streamkind_frame_age_seconds_bucket", [GATE, ("le", "+Inf")], 4),
        ("streamkind_frame_age_seconds_count", [GATE], 4),
        ("streamkind_frame_age_seconds_sum", [GATE], 9.14),
    ],
)
def test_a_figure_is_reported(told, name, labels, value):
    assert told[name, *labels] == pytest.approx(value)


def test_the_engine_is_told_with_its_precision():
    with console_at(busy_cameras()) as console:
        told = samples(console.get("/metrics").text)
        engine = ("engine", console.fleet.engine)
    about = ("streamkind_engine_info", engine, ("precision", "bf16"), ("version", __version__))
    assert told[about] == 1


@pytest.mark.parametrize("states", [("lost", "live"), ("live", "lost")])
def test_one_of_two_outputs_that_look_the_same_may_be_lost(states):
    fleet = two_cameras()
    fleet.change("gate", sinks=tuple(SinkStatus(f"{SINK}?key={s}", s) for s in states))
    with console_at(fleet) as console:
        told = samples(console.get("/metrics").text)
    assert told["streamkind_sink_up", GATE, ("sink", f"{SINK}?key=***")] == 0


def count_of_ages(console):
    return samples(console.get("/metrics").text)["streamkind_frame_age_seconds_count", GATE]


def test_ages_are_counted_once_whoever_looks():
    with console_at(busy_cameras()) as console:
        console.get("/api/cameras")  # this request takes the ages
        console.get("/readyz")
        assert count_of_ages(console) == 4
        console.fleet.change("gate", ages=(0.1,), age_count=5)
        assert count_of_ages(console) == count_of_ages(console) == 5
        console.fleet.change("gate", ages=(0.1, 0.1), age_count=2)  # a new camera of the same name
        assert count_of_ages(console) == 2


def test_promtool_finds_nothing_to_mend():
    with console_at(busy_cameras()) as console:
        text = console.get("/metrics").text
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@contextmanager
def prometheus(folder, console):
    """Run a real Prometheus that scrapes a console every second with a token from a file."""
    (folder / "token").write_text(console.token)
    job = {
        "job_name": "streamkind",
        "authorization": {"credentials_file": str(folder / "token")},
        "static_configs": [{"targets": [console.url.split("/")[2]]}],
    }
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    where = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml"]
    command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address={where}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        try:
            yield f"http://{where}/api/v1/query"
        finally:
            server.terminate()
            server.wait(60)


def ask(url, query):
    """Return the results of a query; an empty list while the server does not respond."""
    try:
        answer = requests.get(url, params={"query": query}, timeout=30)
    except requests.RequestException:
        return []
    return answer.json()["data"]["result"] if answer.ok else []


def dashboard_queries():
    text = (DOCS / "live-grafana.json").read_text()
    panels = json.loads(text)["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def test_a_real_prometheus_scrapes_with_the_token_and_answers_the_dashboard(tmp_path):
    fleet = busy_cameras()
    with console_at(fleet, TOKEN) as console, prometheus(tmp_path, console) as url:
        query = 'streamkind_frames_in_total{camera="gate"}'
        wait_until(lambda: ask(url, query))
        assert ask(url, query)[0]["value"][1] == "100"
        assert ask(url, "up")[0]["value"][1] == "1"
        for number in range(3):
            fleet.change("gate", frames_in=200 + number, ages=(0.1,), age_count=5 + number)
            wait_until(lambda value=200 + number: ask(url, f"{query} == {value}"))
        for query in dashboard_queries():
            filled = query.replace("$camera", ".*").replace("$__rate_interval", "1m")
            wait_until(lambda filled=filled: ask(url, filled), what=query)


def test_the_dashboard_names_only_metrics_that_exist():
    with console_at(busy_cameras()) as console:
        told = {name for name, *_ in samples(console.get("/metrics").text)}
    named = {
        name for q in dashboard_queries() for name in re.findall(r"\b(?:streamkind|process)_\w+", q)
    }
    assert len(named) > 8
    assert named <= told


def test_compose_and_prometheus_examples_are_yaml():
    services = yaml.safe_load((DOCS / "compose.yaml").read_text())["services"]
    assert services["mediamtx"]["image"].startswith("bluenviron/mediamtx:")
    assert services["streamkind"]["command"][0] == "serve"  # the entry point is `streamkind`
    assert 'ENTRYPOINT ["streamkind"]' in (DOCS / "docker" / "cpu.Dockerfile").read_text()
