"""The console with real cameras, end to end: page, API and readiness."""

from __future__ import annotations

import pytest
from support.browser import Page, chromium
from support.console_at import console_at
from support.live import (
    GainEngine,
    camera_server,
    config,
    moving_picture,
    published,
    record_server,
    state,
    wait_for,
    wait_for_state,
)
from support.waiting import wait_until

from streamkind.live.fleet import LiveFleet


@pytest.fixture
def yard(tmp_path):
    """Run a camera that sends random noise, the pattern `snow`."""
    with camera_server(tmp_path, moving_picture(pattern="snow")) as camera:
        yield camera


def test_the_page_follows_a_real_camera(yard, tmp_path):
    with chromium(tmp_path) as driver, LiveFleet(GainEngine) as fleet, console_at(fleet) as console:
        fleet.put(config(yard, ratio=1.0))
        page = Page(driver, console, "#/yard")
        wait_until(lambda: page.text("#state") == "Live")
        page.find("#mode-compare").click()  # pictures before and after, not live video
        wait_until(lambda: page.luma(0.55, 1) > 20)
        before = page.luma(0, 0.45)
        assert page.luma(0.55, 1) == pytest.approx(before, rel=0.1)
        page.set_range("#ratio", 0.5)  # the slider is logarithmic: 10^0.5 is 3.16
        wait_until(lambda: page.luma(0.55, 1) > 1.3 * page.luma(0, 0.45))  # lit places gain less
        assert page.luma(0, 0.45) == pytest.approx(before, rel=0.1)
        assert state(fleet).ratio == pytest.approx(3.16, rel=0.02)
        assert console.get("/readyz").status_code == 200
        yard.kill()
        wait_until(lambda: page.text("#state") == "No signal")
        wait_until(lambda: page.text("#announce") == "Camera yard has no signal.")
        assert page.find("#veil").is_displayed() and page.text("#errors") != "None"
        assert console.get("/readyz").status_code == 503
        yard.start()
        wait_until(lambda: page.text("#state") == "Live")
        assert console.get("/readyz").status_code == 200
        driver.get("about:blank")


def test_cameras_come_and_go_by_the_api_while_others_go_on(yard, tmp_path):
    url = f"rtsp://127.0.0.1:{yard.port}/1"
    with record_server(tmp_path) as server, LiveFleet(GainEngine) as fleet:
        fleet.put(config(yard, str(tmp_path / "rec")))
        wait_for_state(fleet, "live")
        with console_at(fleet) as console:
            settings = {"url": url, "to": [published(server)], "ratio": 1.0}
            assert console.ask("PUT", "/api/cameras/gate", json=settings).status_code == 201
            wait_for_state(fleet, "live", "gate")
            wait_for(lambda: state(fleet, "gate").sinks[0].state == "live", "not published")
            light = {"ratio": 0.5}
            assert console.ask("PATCH", "/api/cameras/gate", json=light).status_code == 200
            wait_for(lambda: state(fleet, "gate").ratio == 0.5, "the ratio did not act")
            assert state(fleet).ratio != 0.5
            settings = {"url": url, "to": []}
            assert console.ask("PUT", "/api/cameras/gate", json=settings).status_code == 200
            wait_for(lambda: server.told("closed"), "it is published still")
            wait_for_state(fleet, "live", "gate")
            assert console.ask("DELETE", "/api/cameras/gate").status_code == 204
            names = [camera["name"] for camera in console.get("/api/cameras").json()["cameras"]]
            assert names == ["yard"]
        told = state(fleet)
        assert (told.state, told.reconnects, told.sinks[0].reconnects) == ("live", 0, 0)
    assert len(list((tmp_path / "rec").iterdir())) == 1
