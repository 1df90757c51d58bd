"""The console's wall of cameras, live video and recordings in Chromium."""

from __future__ import annotations

import time
from fractions import Fraction

import av
import numpy as np
import pytest
from loopback.still_fleet import StillFleet
from selenium.webdriver import Keys
from support.browser import Page, chromium, prefer, resize
from support.console_at import TOKEN, console_at, two_cameras
from support.live import free_port
from support.waiting import wait_until as until

from streamkind.live.config import CameraConfig

NAMES = ("c1", "c2", "c10")
VIDEO = "const v = document.querySelector(arguments[0]); return [v.videoWidth, v.currentTime]"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        resize(driver, 1280, 900)
        prefer(driver, prefers_color_scheme="light")
        yield driver
        driver.get("about:blank")


@pytest.fixture
def fleet(tmp_path):
    fleet = StillFleet()
    for name in reversed(NAMES):
        to = (str(tmp_path / name),)
        fleet.put(CameraConfig(name=name, url="rtsp://10.0.0.5/1", to=to))
        fleet.show(name, np.full((90, 160, 3), 30, np.uint8))
    return fleet


def names_on(page):
    return page.driver.execute_script(
        "return [...document.querySelectorAll('#tiles li')].map((item) => item.dataset.name)"
    )


def plays(page, css):
    """Wait until the time of a video element advances; return whether it has a picture."""
    width, before = page.driver.execute_script(VIDEO, css)
    until(lambda: page.driver.execute_script(VIDEO, css)[1] > before)
    return width > 0


def test_the_wall_shows_all_cameras_in_natural_order_and_what_is_lost_in_gray(driver, fleet):
    with console_at(fleet) as console:
        page = Page(driver, console, "")
        until(lambda: names_on(page) == list(NAMES))
        loaded = "return [...document.querySelectorAll('#tiles img')].every((i) => i.naturalWidth)"
        until(lambda: driver.execute_script(loaded))
        assert not page.find("#camera").is_displayed()
        filters = (
            "return [...document.querySelectorAll('#tiles img')]"
            ".map((image) => getComputedStyle(image).filter.includes('grayscale'))"
        )
        assert driver.execute_script(filters) == [False, False, False]
        fleet.change("c2", state="lost", since=time.time())
        until(lambda: driver.execute_script(filters) == [False, True, False])
        assert "No signal" in page.text("#tiles li:nth-child(2)")
        fleet.remove("c1")
        until(lambda: names_on(page) == ["c2", "c10"])
        page.find("#tiles li[data-name=c10] a").send_keys(Keys.ENTER)
        until(lambda: page.find("#camera").is_displayed() and page.text("#name") == "c10")
        assert not page.find("#wall").is_displayed()
        driver.back()
        until(lambda: page.find("#wall").is_displayed())
        driver.get("about:blank")


def test_live_video_plays_and_pictures_are_shown_where_it_cannot(driver, fleet):
    pictures = [np.full((90, 160, 3), level, np.uint8) for level in range(40, 200, 10)]
    with fleet.play("c1", pictures), console_at(fleet) as console:
        page = Page(driver, console, "#/c1")
        until(lambda: "video" in page.find("#stage").get_attribute("class"))
        assert plays(page, "#live")
        assert not page.find("#picture").is_displayed()
        page.find("#mode-compare").click()
        until(lambda: page.find("#divider").is_displayed())
        until(lambda: page.luma(0.55, 1) == pytest.approx(120, abs=3))
        until(lambda: not fleet._viewers["c1"])  # no video is sent while it is not shown
        page.find("#mode-live").click()
        until(lambda: "video" in page.find("#stage").get_attribute("class"))
        driver.execute_script("location.hash = '#/'")
        until(lambda: not fleet._viewers["c1"])
        driver.execute_script(
            "MediaSource.isTypeSupported = () => false; location.hash = '#/c1'",
        )
        until(lambda: not fleet._viewers["c1"] and page.luma(0.55, 1) > 0)
        assert page.find("#divider").is_displayed()
        driver.get("about:blank")


def record(path, pictures):
    """Write a recording in the format of the publisher."""
    path.parent.mkdir(exist_ok=True)
    options = {"movflags": "frag_keyframe+empty_moov"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as output:
        stream = output.add_stream("libx264", Fraction(10), options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        output.mux(stream.encode(None))


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_a_recording_is_found_by_its_day_played_sought_and_downloaded(
    driver, fleet, tmp_path, suffix
):
    pictures = [np.full((90, 160, 3), 40 + i, np.uint8) for i in range(100)]
    record(tmp_path / "c1" / f"20261126-120000Z.{suffix}", pictures)
    record(tmp_path / "c1" / f"20261128-120000Z.{suffix}", pictures)
    with console_at(fleet) as console:
        page = Page(driver, console, "#/c1")
        until(lambda: driver.find_elements("css selector", "#recordings button"))
        assert page.find("#day").get_attribute("value") == "2026-11-28"
        assert "set side_by_side = true" in page.text("#recordings-note")
        link = page.find("#recordings a")
        assert link.get_attribute("download") == f"c1-20261128-120000Z.{suffix}"
        path = link.get_attribute("href").removeprefix(console.url.rstrip("/"))
        assert console.get(path).content[:16]
        page.find("#recordings button").click()
        until(lambda: plays(page, "#replay"))
        driver.execute_script("document.getElementById('replay').currentTime = 7")
        until(lambda: driver.execute_script(VIDEO, "#replay")[1] >= 7)
        driver.execute_script(
            "const day = document.getElementById('day'); day.value = '2026-11-27';"
            "day.dispatchEvent(new Event('change'))"
        )
        until(lambda: page.text("#recordings") == "No recordings on this day")
        driver.execute_script("location.hash = '#/c2'")
        until(lambda: page.text("#recordings") == "No recordings")
        assert not page.find("#replay").is_displayed()
        driver.get("about:blank")


HOLD = """
const real = window.fetch;
window.fetch = (path, ...more) => {
  if (!path.includes("/recordings?")) return real(path, ...more);
  window.fetch = real;
  return new Promise((go) => { window.answer = async () => go(await real(path, ...more)); });
};
"""
"""Script that holds the answer to the next request for a list of recordings."""
ANSWER = """
const told = arguments[0];
(async () => {
  await window.answer();
  for (let i = 0; i < 50; i += 1) await (await fetch("healthz")).json();
  told();
})();
"""
"""Script that lets the answer come, and waits until the page has had it for some time."""


def test_an_answer_that_comes_after_another_day_was_chosen_is_not_shown(driver, fleet, tmp_path):
    picture = [np.full((90, 160, 3), 40, np.uint8)]
    record(tmp_path / "c1" / "20261126-120000Z.mkv", picture)
    record(tmp_path / "c1" / "20261128-120000Z.mkv", picture)
    choose = (
        "const day = document.getElementById('day'); day.value = arguments[0];"
        "day.dispatchEvent(new Event('change'))"
    )
    with console_at(fleet) as console:
        page = Page(driver, console, "#/c1")
        until(lambda: driver.find_elements("css selector", "#recordings button"))
        driver.execute_script(HOLD)
        driver.execute_script(choose, "2026-11-26")
        driver.execute_script(choose, "2026-11-27")
        until(lambda: page.text("#recordings") == "No recordings on this day")
        driver.execute_async_script(ANSWER)
        assert page.text("#recordings") == "No recordings on this day"
        driver.get("about:blank")


def test_a_recording_that_cannot_be_played_is_reported(driver, fleet, tmp_path):
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1" / "20261128-120000Z.mkv").write_bytes(b"no video")
    with console_at(fleet) as console:
        page = Page(driver, console, "#/c1")
        until(lambda: driver.find_elements("css selector", "#recordings button"))
        page.find("#recordings button").click()
        until(lambda: "cannot play it; download it" in page.text("#replay-error"))
        driver.get("about:blank")


def test_the_page_goes_on_after_a_restart_without_asking_for_the_token(driver):
    driver.delete_all_cookies()
    port = free_port()
    with console_at(two_cameras(), TOKEN, port=port) as console:
        page = Page(driver, console)
        until(lambda: page.find("#login").is_displayed())
        page.find("#token").send_keys(TOKEN, Keys.ENTER)
        until(lambda: page.luma(0, 1) > 0)
    until(lambda: page.find("#offline").is_displayed())
    fleet = two_cameras()
    fleet.change("gate", fps=7.5)
    with console_at(fleet, TOKEN, port=port):
        until(lambda: "7.5 fps" in page.text("#cameras"))
        assert not page.find("#offline").is_displayed()
        assert not page.find("#login").is_displayed()
        driver.get("about:blank")
