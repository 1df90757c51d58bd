"""The log: it never ends or blocks the program, even if nobody reads it."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import replace

import av
import pytest
from support.live import LIMIT_SECONDS, command, free_port, read_pts, wait_for
from support.media import make_clip

from streamkind.cli.log import DEPTH, DroppingHandler, JsonLine, TextLine, logging_to_stderr
from streamkind.cli.state_log import QUIET_SECONDS, StateLog
from streamkind.live.status import CameraStatus, SinkStatus

log = logging.getLogger("streamkind.live")


def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return writer, None


def full_disk():
    return os.open("/dev/full", os.O_WRONLY), None


def stuck_reader():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, bytes(4096))
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    return writer, reader


def closed_terminal():
    master, slave = os.openpty()
    os.close(master)
    return slave, None


def slow_and_not_blocking():
    writer, reader = stuck_reader()
    os.set_blocking(writer, False)
    return writer, reader


BROKEN = [closed_pipe, full_disk, stuck_reader, closed_terminal, slow_and_not_blocking]


def listening(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("stderr", BROKEN)
def test_a_log_that_cannot_be_written_stops_nothing(stderr):
    writer, reader = stderr()
    handler = DroppingHandler(writer)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    for i in range(3 * DEPTH):
        logger.warning("line %d", i)
    handler.close()
    for end in (writer, reader):
        if end is not None:
            os.close(end)
    wait_for(lambda: "streamkind-log" not in str(threading.enumerate()), "the thread stays")


@pytest.mark.parametrize(
    "stderr",
    [
        stuck_reader,
        *(
            pytest.param(s, marks=pytest.mark.slow)
            for s in (closed_pipe, full_disk, closed_terminal)
        ),
    ],
)
def test_serve_goes_on_and_obeys_sigterm_whatever_becomes_of_its_log(stderr, tmp_path):
    path, port = tmp_path / "cameras.toml", free_port()
    clip = make_clip(tmp_path / "clip.mp4", frames=3, rate=4)

    def write(name):
        path.write_text(
            f"[console]\nport = {port}\n[camera.{name}]\nurl = 'file:{clip}'\n"
            f"to = '{tmp_path / name}'\nmax_delay = 60\n"
        )

    def recorded(name):
        found = list((tmp_path / name).glob("*.mkv"))
        with suppress(av.FFmpegError):
            return found and len(read_pts(found[0])) >= 1

    write("one")
    writer, reader = stderr()
    process = command("serve", str(path), stdout=None, stderr=writer)
    os.close(writer)
    try:
        wait_for(lambda: recorded("one"), "nothing is recorded")
        write("two")  # the reload is logged too
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: recorded("two"), "it was not read again")
        assert listening(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        if reader is not None:
            os.close(reader)
    assert len(read_pts(next((tmp_path / "two").iterdir()))) >= 1


def test_lost_lines_of_the_log_are_counted():
    reader, writer = os.pipe()
    handler = DroppingHandler(writer)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    handler._lost = 7
    logger.warning("now")
    handler.close()
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert lines.read() == "log: 7 lines were lost\nnow\n"


@pytest.mark.parametrize("form", [TextLine, JsonLine])
def test_a_line_is_one_line_and_tells_no_secret(form):
    message = "rtsp://u:sesame@h/1:\n refused"
    record = logging.LogRecord("streamkind.live", logging.WARNING, "", 0, message, (), None)
    record.camera = "yard"
    line = form().format(record)
    assert "sesame" not in line and "\n" not in line and "refused" in line
    if form is JsonLine:
        told = json.loads(line)
        assert (told["level"], told["camera"]) == ("warning", "yard")
        assert told["time"].endswith("Z") and told["logger"] == "streamkind.live"


def test_levels_and_threads_that_die_are_logged(capfd):
    with logging_to_stderr("warning", "text"):
        log.info("not this")
        log.warning("but this")
        thread = threading.Thread(target=lambda: 1 / 0, name="worker")
        thread.start()
        thread.join()
    said = capfd.readouterr().err
    assert said.splitlines() == [
        "but this",
        "thread worker: ZeroDivisionError: division by zero",
    ]


@pytest.mark.parametrize("words", [["--log-level", "loud"], ["--log-format", "xml"]])
def test_unknown_levels_and_formats_are_refused(call, words, tmp_path):
    code, _, said = call("stream", "rtsp://h/1", "--to", tmp_path, *words)
    assert code == 2 and f"'{words[1]}' is not one of" in said


DEAD = CameraStatus("yard", "lost", True, "rtsp://h/1", sinks=(SinkStatus("udp://h:1", "lost"),))


@pytest.mark.parametrize("errors", [["no route"], ["no route", "timed out"]])
def test_a_camera_that_stays_dead_is_reported_once_a_minute(errors, caplog):
    now, seconds = [0.0], 600
    news = StateLog(lambda: now[0])
    with caplog.at_level("INFO", "streamkind"):
        for second in range(seconds):
            now[0] = float(second)
            error = errors[second % len(errors)]
            sinks = (replace(DEAD.sinks[0], error=f"sink: {error}"),)
            news([replace(DEAD, error=error, error_time=1.0 + second, sinks=sinks)])
    told = [r.message for r in caplog.records]
    camera = [line for line in told if "sink" not in line and "frames out" not in line]
    sink = [line for line in told if "sink: " in line]
    assert len(camera) == seconds / QUIET_SECONDS
    assert len(sink) == seconds / QUIET_SECONDS


def test_outputs_whose_urls_look_equal_are_not_mixed_up(caplog):
    live, lost = SinkStatus("rtmp://h/x?key=***", "live"), SinkStatus("rtmp://h/x?key=***", "lost")
    news = StateLog(lambda: 0.0)
    with caplog.at_level("INFO", "streamkind"):
        for _ in range(5):
            news([replace(DEAD, state="live", sinks=(live, lost))])
    assert "key" not in caplog.text


def test_a_camera_that_came_back_is_told_of_at_once_when_it_fails_again(caplog):
    news = StateLog(lambda: 0.0)
    with caplog.at_level("INFO", "streamkind"):
        news([replace(DEAD, error="first", error_time=1.0)])
        news([replace(DEAD, state="live", error="first", error_time=1.0)])
        news([replace(DEAD, error="second", error_time=2.0)])
    assert "second" in caplog.text
