"""The console's API: its responses, and the requests that it refuses."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from support.console_at import PASSWORD, TOKEN, console_at, two_cameras
from support.waiting import wait_until

from streamkind.errors import UsageError
from streamkind.light.exposure import DEFAULT_TARGET
from streamkind.live.config import CameraConfig, CameraSettings, ConsoleConfig
from streamkind.live.status import SinkStatus
from streamkind.live.web import app, guard, server
from streamkind.live.web.server import serve_console
from streamkind.live.web.watch import PREVIEW_SECONDS, PREVIEW_WIDTH

JSON = {"Content-Type": "application/json"}
GOOD = {"url": "rtsp://10.0.0.8/1", "to": ["rtsp://10.0.0.9/out"], "ratio": 3}


@pytest.fixture
def console():
    with console_at(two_cameras()) as console:
        yield console


@pytest.fixture
def closed():
    """Serve a console that requires a token."""
    with console_at(two_cameras(), TOKEN) as console:
        yield console


# Responses


def test_all_cameras_are_listed(console):
    told = console.get("/api/cameras").json()
    assert told["engine"] == console.fleet.engine
    assert [c["name"] for c in told["cameras"]] == ["gate", "yard"]
    assert told["cameras"][0]["state"] == "live"
    assert "ages" not in told["cameras"][0]


def test_one_camera_comes_with_its_settings(console):
    told = console.get("/api/cameras/gate").json()
    assert told["status"]["name"] == told["settings"]["name"] == "gate"
    assert "ages" not in told["status"]
    assert told["settings"]["url"] == "rtsp://user:***@10.0.0.5/1"
    assert told["settings"]["to"] == ["rtsp://a:***@10.0.0.6/x"]


def test_a_camera_is_added_changed_and_removed(console):
    added = console.ask("PUT", "/api/cameras/door", json=GOOD)
    assert added.status_code == 201
    assert console.fleet.configs()["door"] == CameraConfig(
        name="door", url=GOOD["url"], to=tuple(GOOD["to"]), ratio=3
    )
    changed = console.ask("PUT", "/api/cameras/door", json={**GOOD, "ratio": "auto"})
    assert changed.status_code == 200
    assert changed.json()["ratio"] == console.fleet.configs()["door"].ratio == "auto"
    assert console.ask("DELETE", "/api/cameras/door").status_code == 204
    assert list(console.fleet.configs()) == ["gate", "yard"]


def test_limits_are_taken_without_their_unit_and_told_with_it(console):
    body = {**GOOD, "timeout": 9.0, "max_delay": 3.0}
    told = console.ask("PUT", "/api/cameras/door", json=body).json()
    assert (told["timeout_seconds"], told["max_delay_seconds"]) == (9.0, 3.0)
    assert not {"timeout", "max_delay"} & set(told)
    config = console.fleet.configs()["door"]
    assert (config.timeout_seconds, config.max_delay_seconds) == (9.0, 3.0)


@pytest.mark.parametrize(
    ("light", "ratio", "target"),
    [
        ({"ratio": 2.5}, 2.5, DEFAULT_TARGET),
        ({"target": 0.6}, "auto", 0.6),
        ({"ratio": 7, "target": 0.2}, 7, 0.2),
        ({}, "auto", DEFAULT_TARGET),
    ],
)
def test_light_is_changed_at_once(console, light, ratio, target):
    answer = console.ask("PATCH", "/api/cameras/gate", json=light)
    assert answer.status_code == 200
    config = console.fleet.configs()["gate"]
    assert (config.ratio, config.target) == (ratio, target)
    assert PASSWORD not in answer.text


def test_the_api_describes_the_settings_of_the_toml_and_their_limits(console):
    known = console.get("/openapi.json").json()["components"]["schemas"]["CameraSettings"]
    fields = CameraSettings.model_fields
    assert set(known["properties"]) == set(fields) == set(CameraConfig.model_fields) - {"name"}
    for name, field in known["properties"].items():
        assert field["description"] == fields[name].description
    assert known["properties"]["max_delay_seconds"]["minimum"] == 0.05


def decode(answer):
    both = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    return np.hsplit(both.astype(int), 2)


def test_a_preview_shows_before_and_after(console):
    answer = console.get("/api/cameras/gate/preview.jpg")
    assert answer.headers["Content-Type"] == "image/jpeg"
    before, after = decode(answer)
    assert before.shape == (48, 64, 3)
    assert abs(before[:, 40:56] - 40).max() < 12
    assert abs(after[:, 40:56] - 160).max() < 12
    assert before[:, :24, 0].mean() > before[:, :24, 2].mean() + 10  # RGB, not BGR


def test_a_preview_is_encoded_when_it_changes_and_not_too_often(console, monkeypatch):
    now = 1000.0
    clock = SimpleNamespace(monotonic=lambda: now, time=time.time)
    monkeypatch.setattr(app, "time", clock)
    first = console.get("/api/cameras/gate/preview.jpg")
    console.fleet.set("gate", ratio=1.0)
    soon = console.get("/api/cameras/gate/preview.jpg")
    assert soon.headers["ETag"] == first.headers["ETag"]
    same = console.get(
        "/api/cameras/gate/preview.jpg", headers={"If-None-Match": soon.headers["ETag"]}
    )
    assert (same.status_code, same.content) == (304, b"")
    now += PREVIEW_SECONDS
    _, after = decode(console.get("/api/cameras/gate/preview.jpg"))
    assert abs(after[:, 40:56] - 40).max() < 12


def test_a_wide_preview_is_scaled_down(console):
    console.fleet.show("gate", np.full((200, 3 * PREVIEW_WIDTH, 3), 30, np.uint8))
    before, _ = decode(console.get("/api/cameras/gate/preview.jpg"))
    assert before.shape == (67, PREVIEW_WIDTH, 3)


def test_a_camera_without_a_frame_has_no_preview(console):
    assert console.get("/api/cameras/yard/preview.jpg").status_code == 204


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ({}, 200),
        ({"yard": "lost"}, 200),  # not required
        ({"gate": "lost"}, 503),
        ({"gate": "connecting"}, 503),
        ({"gate": "refused"}, 503),
        ({"gate": "stopped"}, 503),
    ],
)
def test_ready_means_every_required_camera_delivers(console, states, code):
    for name, state in states.items():
        console.fleet.change(name, state=state)
    answer = console.get("/readyz")
    assert answer.status_code == code
    assert answer.json() == {"ready": code == 200, "required": 1, "live": int(code == 200)}
    assert console.get("/healthz").status_code == 200
    console.fleet.change("gate", state="live")
    assert console.get("/readyz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_told_by_head_too(console, path):
    whole, head = console.get(path), console.ask("HEAD", path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["Content-Length"] == whole.headers["Content-Length"]


def test_no_camera_is_ready(console):
    for name in ("gate", "yard"):
        console.fleet.remove(name)
    assert console.get("/readyz").status_code == 200


def test_the_api_page_and_the_openapi_need_no_other_host(console):
    for path in ("/", "/api.html", "/console.js", "/console.css", "/api.js", "/icon.svg"):
        answer = console.get(path)
        assert answer.status_code == 200
        text = answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, path
    assert "/api/cameras/{name}" in console.get("/openapi.json").json()["paths"]


# Refused requests


WRONG = [
    ({"url": "file:///etc/passwd"}, "expected rtsp:"),
    ({"url": "/etc/passwd"}, "expected rtsp:"),
    ({"url": "concat:a|b"}, "expected rtsp:"),
    ({"url": "rtsp://x/1", "to": ["/tmp/out"]}, "expected rtsp:"),
    ({"url": "rtsp://x/1", "to": ["file:///tmp/out.mkv"]}, "expected rtsp:"),
    ({"url": "rtsp://u:${HOME}@x/1"}, "cameras.toml"),
    ({"url": "rtsp://u:${file:/etc/passwd}@x/1"}, "cameras.toml"),
    ({"url": "rtsp://user:***@10.0.0.5/1"}, "***"),
    ({"url": "rtsp://x/1", "to": ["rtsp://a:***@x/2"]}, "***"),
    ({"url": "rtsp://x/1", "ratio": 11}, "less than or equal to 10"),
    ({"url": "rtsp://x/1", "ratio": "bright"}, "auto"),
    ({"url": "rtsp://x/1", "target": 0}, "greater than 0"),
    ({"url": "rtsp://x/1", "codec": "nonsense"}, "nonsense"),
    ({"url": "rtsp://x/1", "shell": "rm"}, "shell"),
    ({}, "url"),
]


@pytest.mark.parametrize(("body", "told"), WRONG, ids=lambda value: str(value)[:40])
def test_wrong_settings_are_refused_and_nothing_changes(console, body, told):
    before = console.fleet.configs()
    answer = console.ask("PUT", "/api/cameras/gate", json=body)
    assert answer.status_code == 422
    assert told in answer.json()["detail"]
    assert console.fleet.configs() == before


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/api/cameras/none", None, 404),
        ("GET", "/api/cameras/none/preview.jpg", None, 404),
        ("PATCH", "/api/cameras/none", {"ratio": 2}, 404),
        ("DELETE", "/api/cameras/none", None, 404),
        ("GET", "/api/cameras/a%20b", None, 422),
        ("PATCH", "/api/cameras/gate", {"ratio": 0.01}, 422),
        ("PATCH", "/api/cameras/gate", {"ratio": True}, 422),
        ("PATCH", "/api/cameras/gate", {"target": 2}, 422),
        ("POST", "/api/cameras", {}, 405),
        ("GET", "/../app.py", None, 404),
        ("GET", "/..%2fapp.py", None, 404),
    ],
)
def test_unknown_cameras_and_settings_that_do_not_fit_are_refused(
    console, method, path, body, code
):
    answer = console.ask(method, path, json=body)
    assert answer.status_code == code
    assert answer.json()["detail"]


BROKEN = [b'{"ratio": NaN}', b'{"ratio": 1e999}', b"{", b"[" * 20_000, b"\xff", b'"\\ud800"']


@pytest.mark.parametrize("data", BROKEN, ids=lambda data: str(data[:10]))
def test_broken_json_is_refused(console, data):
    answer = console.ask("PATCH", "/api/cameras/gate", data=data, headers=JSON)
    assert answer.status_code in (400, 422)


PROTECTED = [
    ("GET", "/api/cameras"),
    ("GET", "/api/cameras/gate"),
    ("GET", "/api/cameras/gate/preview.jpg"),
    ("GET", "/api/cameras/gate/tile.jpg"),
    ("GET", "/api/cameras/gate/recordings"),
    ("PUT", "/api/cameras/gate"),
    ("PATCH", "/api/cameras/gate"),
    ("DELETE", "/api/cameras/gate"),
    ("GET", "/metrics"),
    ("GET", "/api/cameras/gate/recordings/20261128-180000Z.mkv"),
]
OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("POST", "/api/session"),
    ("DELETE", "/api/session"),
}


def test_every_route_is_known_to_be_open_or_protected(closed):
    paths = closed.get("/openapi.json").json()["paths"]
    named = {p: p.format(name="gate", file="20261128-180000Z.mkv") for p in paths}
    told = {(m.upper(), named[p]) for p, known in paths.items() for m in known}
    assert told == {*PROTECTED, *OPEN}


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_without_the_token_nothing_is_told_or_done(closed, method, path):
    for given in (None, "", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "\xe4"):
        bearer = {} if given is None else {"Authorization": f"Bearer {given}".encode("latin-1")}
        stranger = replace(closed, token="")
        answer = stranger.ask(method, path, headers={**JSON, **bearer}, data="{}")
        assert answer.status_code == 401, given
        assert "gate" not in answer.text
    assert list(closed.fleet.configs()) == ["gate", "yard"]


def test_with_the_token_all_is_open(closed):
    for method, path in PROTECTED[:-2]:
        assert closed.ask(method, path, json=GOOD if method == "PUT" else {}).status_code < 300
    assert closed.get("/metrics").status_code == 200


def test_a_browser_logs_in_and_out(closed):
    closed.token = ""
    wrong = closed.ask("POST", "/api/session", json={"token": TOKEN + "x"})
    assert (wrong.status_code, wrong.cookies.get_dict()) == (401, {})
    right = closed.ask("POST", "/api/session", json={"token": TOKEN})
    assert right.status_code == 204
    cookie = right.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie
    known = right.cookies.get_dict()
    assert closed.get("/api/cameras", cookies=known).status_code == 200
    for forged in (
        "",
        "x",
        "9" * 12 + "." + known["streamkind"].partition(".")[2],
        TOKEN,
        "\xe4.b",
    ):
        sent = {"Cookie": f"streamkind={forged}".encode("latin-1")}
        assert closed.get("/api/cameras", headers=sent).status_code == 401
    out = closed.ask("DELETE", "/api/session", cookies=known)
    assert 'streamkind=""' in out.headers["Set-Cookie"]
    assert "Max-Age=0" in out.headers["Set-Cookie"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8780"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost:8780"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "[::1]:8780"}, 200),
    ],
)
def test_without_a_token_dns_rebinding_is_refused(console, headers, code):
    assert console.get("/api/cameras", headers=headers).status_code == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "text/plain"}, 422),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 422),
        ({}, 422),
        ({**JSON, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**JSON, "Sec-Fetch-Site": "same-site"}, 403),
        ({**JSON, "Sec-Fetch-Site": "same-origin"}, 200),
        ({**JSON, "Origin": "http://evil.example"}, 403),
        ({**JSON, "Origin": "null"}, 403),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_another_sites_page_changes_nothing(console, headers, code):
    answer = console.ask("PATCH", "/api/cameras/gate", data=b'{"ratio": 9}', headers=headers)
    assert answer.status_code == code
    assert (console.fleet.configs()["gate"].ratio == 9) == (code == 200)


def test_answers_have_no_cors_headers(console):
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PATCH"}
    for method in ("OPTIONS", "GET"):
        answer = console.ask(method, "/api/cameras/gate", headers=asked)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("chunked", [False, True])
def test_large_bodies_are_refused(console, chunked):
    large = json.dumps({"url": "rtsp://x/" + "a" * 100_000}).encode()
    data = iter([large[:50_000], large[50_000:]]) if chunked else large
    answer = console.ask("PUT", "/api/cameras/gate", data=data, headers=JSON)
    assert answer.status_code == 413


def test_a_body_that_arrives_too_slowly_is_refused(console, monkeypatch):
    monkeypatch.setattr(guard, "BODY_SECONDS", 2.0)
    where = urlsplit(console.url)
    with socket.create_connection((where.hostname, where.port), 60) as sock:
        sock.sendall(b"PATCH /api/cameras/gate HTTP/1.1\r\nHost: localhost\r\n")
        sock.sendall(b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
        sock.settimeout(0.5)
        answer = b""
        for _ in range(240):  # each byte comes soon after the one before
            with suppress(ConnectionError):  # the response has been sent
                sock.sendall(b" ")
            with suppress(TimeoutError):
                answer += sock.recv(1000)
                break
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_body_that_has_come_is_taken_however_late_it_is_read(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(guard, "time", SimpleNamespace(monotonic=lambda: clock[0]))

    async def receive():
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def late():
        read = guard.limited(receive, 100)
        clock[0] = guard.BODY_SECONDS + 1  # as if the machine had been busy
        return await read()

    assert asyncio.run(late())["body"] == b"x"


def test_large_headers_are_refused(console):
    where = urlsplit(console.url)
    with socket.create_connection((where.hostname, where.port), 60) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000)
        assert sock.recv(100).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("path", ["/", "/api/cameras", "/nothing", "/metrics", "/openapi.json"])
def test_every_answer_has_security_headers(closed, path):
    headers = closed.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert "server" not in headers


# Passwords are hidden


def test_no_password_in_any_answer(console, caplog):
    secret = f"rtsp://user:{PASSWORD}@10.0.0.5/1"
    sink = SinkStatus(f"rtsp://a:{PASSWORD}@x/1", "lost", error=f"{secret}: refused")
    console.fleet.change("gate", error=f"cannot open {secret}", sinks=(sink,))
    answers = [console.get(path) for path in ("/api/cameras", "/api/cameras/gate", "/metrics")]
    bad = {"url": f"ftp://user:{PASSWORD}@x/1", "to": [f"gopher://u:{PASSWORD}@x"]}
    answers.append(console.ask("PUT", "/api/cameras/gate", json=bad))
    answers.append(console.ask("PUT", "/api/cameras/gate", json={"url": {"a": secret}}))
    answers.append(console.ask("PUT", "/api/cameras/gate", json={"url": "x" * 3000 + secret}))
    for answer in answers:
        assert answer.status_code in (200, 422)
        assert PASSWORD not in answer.text
    assert "user:***@10.0.0.5" in answers[0].text
    assert PASSWORD not in caplog.text


def test_an_internal_error_is_500_without_traceback_and_password(console, caplog):
    def fail(name):
        raise RuntimeError(f"rtsp://user:{PASSWORD}@10.0.0.5/1")

    console.fleet.preview = fail
    with caplog.at_level(logging.DEBUG):
        answer = console.get("/api/cameras/gate/preview.jpg")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
    wait_until(lambda: "RuntimeError" in caplog.text)  # it is logged after the response
    assert "RuntimeError: rtsp://user:***@10.0.0.5/1" in caplog.text
    assert PASSWORD not in caplog.text


# Address, port and shutdown


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "camera-server"])
def test_any_other_address_needs_a_token(host):
    with (
        pytest.raises(UsageError, match=r"needs a token.*--token.*openssl rand"),
        serve_console(two_cameras(), ConsoleConfig(host=host, port=0)),
    ):
        pass


def test_a_short_token_is_refused_without_telling_it():
    config = ConsoleConfig(token="abc123", port=0)
    with pytest.raises(UsageError, match="has 6 characters") as told, serve_console(None, config):
        pass
    assert "abc123" not in str(told.value)


def test_the_token_may_come_from_a_file(tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    with console_at(two_cameras(), f"${{file:{tmp_path / 'token'}}}", host="0.0.0.0") as console:
        where = urlsplit(console.url)
        for token, code in ((TOKEN, 200), ("x" * 16, 401)):
            connection = http.client.HTTPConnection("127.0.0.1", where.port, timeout=60)
            headers = {"Authorization": f"Bearer {token}", "Host": "cameras.lan"}
            connection.request("GET", "/api/cameras", headers=headers)
            assert connection.getresponse().status == code
            connection.close()


def test_a_port_in_use_is_reported(console):
    config = ConsoleConfig(port=urlsplit(console.url).port)
    with (
        pytest.raises(UsageError, match=r"cannot listen.*--port"),
        serve_console(console.fleet, config),
    ):
        pass


@pytest.mark.parametrize("host", ["127.0.0..1", "no-such-host.invalid"])
def test_an_address_that_is_none_is_reported(console, host):
    config = ConsoleConfig(host=host, token=TOKEN)
    with (
        pytest.raises(UsageError, match=f"cannot listen on {host}:"),
        serve_console(console.fleet, config),
    ):
        pass


def test_an_ipv6_address_keeps_its_interface(monkeypatch):
    """Check that a link-local address is used with its number of the interface, as it must be."""
    opened = []
    monkeypatch.setattr(server.socket, "create_server", lambda address, **_: opened.append(address))
    name = socket.if_indextoname(1)
    server.listen(ConsoleConfig(host=f"fe80::1%{name}", port=8780))
    assert opened == [("fe80::1", 8780, 0, 1)]


def test_the_console_ends_while_a_client_is_connected_and_leaves_nothing():
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    with console_at(two_cameras()) as console:
        where = urlsplit(console.url)
        idle = socket.create_connection((where.hostname, where.port))
        idle.sendall(b"POST /api/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n")
        idle.sendall(b"Content-Type: application/json\r\n\r\n")
        assert console.get("/api/cameras").status_code == 200
    idle.close()
    wait_until(lambda: (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((where.hostname, where.port))


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: local"])
def test_a_connection_without_a_request_is_closed(sent, monkeypatch):
    monkeypatch.setattr(server, "FIRST_SECONDS", 0.1)
    with console_at(two_cameras()) as console:
        where = urlsplit(console.url)
        with socket.create_connection((where.hostname, where.port), timeout=60) as idle:
            idle.sendall(sent)
            assert idle.recv(1) == b""


def test_two_consoles_one_after_the_other_take_the_same_port():
    with console_at(two_cameras()) as console:
        port = urlsplit(console.url).port
        assert console.get("/healthz").status_code == 200
    with serve_console(two_cameras(), ConsoleConfig(port=port)) as url:
        assert urlsplit(url).port == port
