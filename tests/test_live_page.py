"""The console's page in real Chromium: pictures, announcements, pointer and keyboard."""

from __future__ import annotations

import time

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By
from support.browser import CONTRAST, Page, chromium, prefer, resize
from support.console_at import TOKEN, console_at, two_cameras
from support.waiting import wait_until

from streamkind.live.status import SinkStatus


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture
def page(driver):
    driver.delete_all_cookies()
    resize(driver, 1280, 900)
    prefer(driver, prefers_color_scheme="light")
    fleet = two_cameras()
    fleet.show("gate", np.full((180, 320, 3), 30, np.uint8))
    with console_at(fleet) as console:
        driver.get_log("browser")
        page = Page(driver, console)
        wait_until(lambda: page.luma(0.6, 1) > 0)
        yield page
        problems = [m["message"] for m in driver.get_log("browser") if m["level"] == "SEVERE"]
        driver.get("about:blank")  # or else the page would log errors about its console
    assert problems == []


def test_the_preview_shows_before_and_after(page):
    assert page.luma(0, 0.45) == pytest.approx(30, abs=3)
    wait_until(lambda: page.luma(0.55, 1) == pytest.approx(120, abs=3))
    assert page.text("#engine") == page.fleet.engine
    assert page.text("#name") == "gate"


@pytest.mark.parametrize("ratio", [0.5, 1.0, 6.0])
def test_the_ratio_slider_changes_the_brightness(page, ratio):
    page.set_range("#ratio", np.log10(ratio))
    wait_until(lambda: abs(page.luma(0.55, 1) - 30 * ratio) < 4)
    assert page.fleet.configs()["gate"].ratio == pytest.approx(ratio, rel=0.02)
    assert not page.find("#auto").is_selected()
    assert page.luma(0, 0.45) == pytest.approx(30, abs=3)
    page.find("#auto").click()
    wait_until(lambda: page.fleet.configs()["gate"].ratio == "auto")
    wait_until(lambda: abs(page.luma(0.55, 1) - 120) < 4)


def test_the_ratio_slider_is_logarithmic_and_moved_by_keys(page):
    page.find("#ratio").send_keys(Keys.HOME)
    wait_until(lambda: page.fleet.configs()["gate"].ratio == pytest.approx(0.1))
    page.find("#ratio").send_keys(Keys.END)
    wait_until(lambda: page.fleet.configs()["gate"].ratio == pytest.approx(10))
    assert page.find("#ratio").get_attribute("aria-valuetext") == "10"
    page.set_range("#ratio", 0)
    wait_until(lambda: page.fleet.configs()["gate"].ratio == pytest.approx(1))


def test_an_automatic_ratio_may_be_higher_than_the_slider(page):
    page.fleet.change("gate", ratio=14.9)
    wait_until(lambda: page.text("#ratio-value") == "auto, 15")
    assert page.find("#ratio").get_attribute("aria-valuetext") == "automatic, 15"


def test_the_target_acts_at_once(page):
    page.set_range("#target", 0.6)
    wait_until(lambda: page.fleet.configs()["gate"].target == pytest.approx(0.6))
    assert page.text("#target-value") == "0.60"


def test_a_refused_change_is_reported_and_taken_back(page):
    page.driver.execute_script("document.getElementById('target').min = 0")
    page.set_range("#target", 0)
    wait_until(lambda: "greater than 0" in page.text("#setting-error"))
    wait_until(lambda: page.text("#target-value") == "0.45")
    page.driver.get_log("browser")  # Chromium itself logs the 422


def test_a_lost_camera_is_seen_and_announced(page):
    assert page.text("#announce") == ""
    page.fleet.change("gate", state="lost", since=time.time(), error="no frame for 5 s")
    wait_until(lambda: page.find("#veil").is_displayed())
    assert page.text("#veil").startswith("No signal since ")
    assert page.text("#state") == "No signal"
    assert "lost" in page.find("#stage").get_attribute("class")
    assert page.text("#announce") == "Camera gate has no signal."
    assert page.find("#announce").get_attribute("aria-live") == "assertive"
    assert "no frame for 5 s" in page.text("#errors")
    page.fleet.change("gate", state="live")
    wait_until(lambda: not page.find("#veil").is_displayed())
    assert page.text("#announce") == "Camera gate is live."


def test_what_happened_on_another_day_is_shown_with_its_date(page):
    before = time.time() - 40 * 86400
    page.fleet.change("gate", state="lost", since=before, error="no frame", error_time=before)
    wait_until(lambda: page.find("#veil").is_displayed())
    date = page.driver.execute_script(
        "return new Date(1000 * arguments[0]).toLocaleDateString()", before
    )
    assert page.text("#veil").startswith(f"No signal since {date} ")
    assert page.text("#errors").startswith(f"{date} ")
    assert f"since {date} " in page.text("#cameras")


def test_the_hour_after_midnight_is_0(page):
    told = page.driver.execute_async_script(
        "const told = arguments[0]; import('/fleet.js')"
        ".then((fleet) => told(fleet.clock(new Date(2026, 0, 1, 0, 0, 1) / 1000)))"
    )
    assert told == "00:00:01"


def test_figures_outputs_and_errors_are_shown(page):
    sink = SinkStatus("rtsp://10.0.0.9/out", "lost", 7, 3, error="refused by the server")
    page.fleet.change(
        "gate", fps=24.8, delay_seconds=0.12, frames_in=12345, dropped=6, sinks=(sink,)
    )
    wait_until(lambda: "24.8" in page.text("#figures"))
    for told in ("120 ms", "12,345", "Dropped6"):
        assert told in page.text("#figures")
    assert "lost, 7 frames, 3 not written" in page.text("#sinks")
    assert "refused by the server" in page.text("#errors")
    assert "24.8 fps · 120 ms" in page.text("#cameras")


def test_texts_of_cameras_are_no_html(page):
    page.fleet.change("gate", error="<img src=x onerror=alert(1)>")
    wait_until(lambda: "<img" in page.text("#errors"))
    assert page.driver.find_elements(By.CSS_SELECTOR, "#errors img") == []


def test_the_divider_is_moved_by_keys(page):
    page.find("#divider").send_keys(Keys.ARROW_RIGHT)
    assert page.divider() == 52
    page.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.PAGE_UP)
    assert page.divider() == 58
    page.press(Keys.HOME)
    assert page.divider() == 0
    wait_until(lambda: page.luma(0, 0.2) == pytest.approx(120, abs=3))
    page.press(Keys.END)
    assert page.divider() == 100
    wait_until(lambda: page.luma(0.8, 1) == pytest.approx(30, abs=3))
    assert page.find("#divider").get_attribute("aria-valuetext") == "100 % before, 0 % after"


def test_the_divider_is_dragged_by_the_pointer(page):
    stage = page.find("#stage")
    drag = ActionChains(page.driver).move_to_element(page.find("#divider")).click_and_hold()
    drag.move_by_offset(-stage.size["width"] // 4, 10).release().perform()
    assert abs(page.divider() - 25) <= 1
    wait_until(lambda: page.luma(0.3, 0.45) == pytest.approx(120, abs=3))
    ActionChains(page.driver).move_to_element(stage).perform()  # no button is pressed
    assert abs(page.divider() - 25) <= 1


def test_cameras_are_chosen_come_and_go(page):
    page.find("#cameras li[data-name=yard] button").click()
    wait_until(lambda: page.text("#name") == "yard")
    wait_until(lambda: page.luma(0, 1) == 0)  # it has no picture, and gate's is gone
    page.fleet.remove("yard")
    wait_until(lambda: page.find("#wall").is_displayed())
    assert not page.find("#camera").is_displayed()
    page.fleet.remove("gate")
    wait_until(lambda: page.find("#empty").is_displayed())
    assert not page.find("#camera").is_displayed()
    page.driver.get("about:blank")  # the last request for a picture may be logged as 404
    page.driver.get_log("browser")


def test_everything_is_reached_by_keyboard_in_order_with_a_visible_focus(page):
    page.driver.execute_script("document.activeElement.blur()")
    seen = []
    for _ in range(12):
        page.press(Keys.TAB)
        seen.append(
            page.driver.execute_script(
                "const e = document.activeElement, s = getComputedStyle(e),"
                " knob = getComputedStyle(e, '::after').boxShadow;"
                "return [e.id || e.className || e.textContent.trim(),"
                " s.outlineStyle !== 'none' || knob.includes('6px')]"
            )
        )
    assert [name for name, _ in seen][:2] == ["skip", "API"]
    assert seen[2][0] == "All cameras"
    keys = ["mode-live", "mode-compare", "divider", "ratio", "auto", "target"]
    assert [name for name, _ in seen][5:11] == keys
    assert all(visible for _, visible in seen[:11])


def test_every_control_has_a_name(page):
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"slider", "switch", "button", "link", "checkbox", "image", "img", "textbox"}
    controls = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"] and node["role"]["value"] in roles
    ]
    assert len([role for role, _ in controls if role == "slider"]) == 3
    assert [role for role, name in controls if not name] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_light_and_dark(page, scheme):
    prefer(page.driver, prefers_color_scheme=scheme)
    for state in ("live", "lost", "connecting"):
        page.fleet.change("gate", state=state)
        wait_until(lambda state=state: page.find("#state").get_attribute("data-state") == state)
        found = page.driver.execute_script(CONTRAST)
        assert len(found) > 20
        assert found[0][0] >= 4.5, found[0]


def test_a_phone_needs_no_sideways_scrolling(page):
    resize(page.driver, 360, 740, phone=True)
    long = "rtsp://a-very-long-name-of-a-server.example.net:8554/" + "a" * 200
    page.fleet.change("gate", url=long, error=long, sinks=(SinkStatus(long, "live"),))
    wait_until(lambda: "a" * 200 in page.text("#errors"))
    width = "return [document.documentElement.scrollWidth, innerWidth]"
    assert page.driver.execute_script(width) == [360, 360]
    for css in ("#cameras button", "#divider"):
        assert page.find(css).size["height"] >= 40
    page.driver.get(page.console.url + "api.html")
    wait_until(lambda: "PATCH /api/cameras/{name}" in page.text("#paths"))
    assert page.driver.execute_script(width) == [360, 360]


def test_less_motion_is_respected(page):
    motion = "return getComputedStyle(document.getElementById('picture')).transitionDuration"
    assert page.driver.execute_script(motion) == "0.3s"
    prefer(page.driver, prefers_reduced_motion="reduce")
    assert page.driver.execute_script(motion) == "0s"


def test_a_console_with_a_token_asks_for_it(driver):
    driver.delete_all_cookies()
    with console_at(two_cameras(), TOKEN) as console:
        page = Page(driver, console)
        wait_until(lambda: page.find("#login").is_displayed())
        assert not page.find("#fleet").is_displayed()
        page.find("#token").send_keys("wrong", Keys.ENTER)
        wait_until(lambda: "wrong token" in page.text("#login-error"))
        page.find("#token").clear()
        page.find("#token").send_keys(TOKEN, Keys.ENTER)
        wait_until(lambda: page.find("#fleet").is_displayed())
        wait_until(lambda: page.luma(0, 1) > 0)
        assert TOKEN not in driver.execute_script("return document.cookie + location.href")
        page.find("#logout").click()
        wait_until(lambda: page.find("#login").is_displayed())
        assert console.get("/api/cameras").status_code == 200
        driver.get_log("browser")


def test_a_login_at_a_console_that_is_gone_is_reported(driver):
    driver.delete_all_cookies()
    with console_at(two_cameras(), TOKEN) as console:
        page = Page(driver, console)
        wait_until(lambda: page.find("#login").is_displayed())
    page.find("#token").send_keys(TOKEN, Keys.ENTER)
    wait_until(lambda: "does not answer" in page.text("#login-error"))
    driver.get("about:blank")
    driver.get_log("browser")


def test_a_console_that_is_gone_is_reported(driver):
    with console_at(two_cameras()) as console:
        page = Page(driver, console)
        wait_until(lambda: page.find("#fleet").is_displayed())
    wait_until(lambda: page.find("#offline").is_displayed())
    driver.get("about:blank")
    driver.get_log("browser")
