"""The page for files in real Chromium: a night clip is dropped, enhanced and played."""

from __future__ import annotations

import threading
from importlib.resources import files as resources

import numpy as np
import pytest
from selenium.webdriver import Keys
from support.app_at import app_at
from support.app_page import LONG, READY, WIDTH, choose, click, drop, seen, street
from support.batch import digests
from support.browser import CONTRAST, Page, chromium, prefer, resize
from support.console_at import TOKEN, two_cameras
from support.waiting import wait_until

from streamkind.app.settings import Settings
from streamkind.batch.files import find_jobs
from streamkind.batch.jobs import JobRunner

AXE = """
const done = arguments[arguments.length - 1];
axe.run().then((found) => done(found.violations.filter(
  (v) => v.impact === "serious" || v.impact === "critical",
).map((v) => [v.id, v.nodes.map((n) => n.html.slice(0, 120))])));
"""
COUNT_UPLOADS = """
window.most = 0;
let open = 0;
const send = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (body) {
  window.most = Math.max(window.most, ++open);
  this.addEventListener("loadend", () => { open -= 1; });
  send.call(this, body);
};
"""
NOTE_PROGRESS = """
window.shares = [];
new MutationObserver(() => {
  const running = document.querySelector("#queue li[data-state=running] progress");
  if (running) window.shares.push(running.value);
}).observe(
  document.getElementById("queue"),
  { attributes: true, childList: true, subtree: true },
);
"""
"""Appends the progress of the running file, 0 to 1, to `shares` when the queue changes."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return street(tmp_path_factory.mktemp("night") / "street.mp4")


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


@pytest.fixture(scope="module")
def app(tmp_path_factory, clip):
    folder = tmp_path_factory.mktemp("app")
    with app_at(folder, [clip.parent], fleet=two_cameras()) as app:
        app.clear = folder / "clear"
        yield app


def measuring():
    """Return whether the app is measuring the expected time of a file."""
    return any(t.name in ("streamkind-read", "streamkind-write") for t in threading.enumerate())


@pytest.fixture
def page(driver, app):
    driver.delete_all_cookies()
    resize(driver, 1280, 1000)
    prefer(driver, prefers_color_scheme="light")
    driver.get(app.url)
    driver.execute_script("localStorage.clear()")
    driver.get_log("browser")
    page = Page(driver, app)
    wait_until(lambda: page.find("#files").is_displayed())
    yield page
    problems = [m["message"] for m in driver.get_log("browser") if m["level"] == "SEVERE"]
    driver.execute_script("localStorage.clear()")
    driver.get("about:blank")
    for job in app.get("/api/jobs").json()["jobs"]:
        app.ask("DELETE", f"/api/jobs/{job['id']}")
    wait_until(lambda: not measuring(), LONG)
    assert problems == []


def test_a_dropped_file_is_previewed_enhanced_and_played(page, app, clip, tmp_path):
    drop(page, clip, "dropped.mp4")
    wait_until(lambda: seen(page, READY), LONG)
    assert page.text("#name") == "dropped.mp4"
    assert all(told in page.text("#facts") for told in ("160", "90", "0:30"))
    assert page.luma(0.55, 1) > 2 * page.luma(0, 0.45)
    assert (app.clear / "originals" / "dropped.mp4").read_bytes() == clip.read_bytes()

    page.set_range("#ratio", np.log10(1))
    wait_until(lambda: seen(page, READY) and page.luma(0.55, 1) < 1.5 * page.luma(0, 0.45), LONG)
    page.set_range("#ratio", np.log10(5))
    wait_until(lambda: seen(page, READY) and page.luma(0.55, 1) > 2 * page.luma(0, 0.45), LONG)
    assert page.text("#ratio-value") == "5"
    wait_until(lambda: "for the whole file" in page.text("[data-profile=realtime]"), LONG)

    page.driver.execute_script(NOTE_PROGRESS)
    click(page, "#run")
    wait_until(lambda: seen(page, "#queue li[data-state=done]"), LONG)
    assert max(page.driver.execute_script("return window.shares"), default=0) > 0
    wait_until(lambda: page.text("#announce") == "dropped.mp4 is done.")
    settings = Settings(profile="realtime", ratio=app.get("/api/presets").json()["last"]["ratio"])
    (job,) = find_jobs([clip], tmp_path, settings.options())
    JobRunner([job]).run()
    assert digests(app.clear / "dropped-clear.mp4") == digests(job.output)
    playing(page)


def playing(page):
    """Play the result; check that the videos before and after show the same time."""
    page.find("[data-does=play]").click()  # only a click may start a video with sound
    times = "return [...document.querySelectorAll('video')].map((v) => v.currentTime)"
    page.driver.execute_script("document.getElementById('video-after').play()")
    wait_until(lambda: min(page.driver.execute_script(times)) > 0.5, LONG)
    page.driver.execute_script("document.getElementById('video-after').pause()")
    page.driver.execute_script("document.getElementById('video-after').currentTime = 20")
    wait_until(lambda: page.driver.execute_script(times) == [20, 20])
    page.find("#player-close").click()
    assert not page.find("#player").is_displayed()


def test_a_job_is_paused_goes_on_and_is_cancelled(page, app):
    choose(page)
    page.driver.execute_script("document.querySelector('[value=quality]').click()")
    page.find("#run").click()
    click(page, "#queue [data-does=pause]")
    wait_until(lambda: seen(page, "#queue li[data-state=paused]"), LONG)
    click(page, "#queue [data-does=goOn]")
    wait_until(lambda: seen(page, "#queue li[data-state=running]"), LONG)
    click(page, "#queue [data-does=cancel]")
    wait_until(lambda: seen(page, "#idle"), LONG)
    left = [p.name for p in app.clear.iterdir() if "street" in p.name]
    assert left == []


def test_presets_and_last_settings_come_back(page):
    choose(page)
    page.set_range("#target", 0.6)
    page.find("#preset-name").send_keys("My car")
    page.find("#keep").click()
    wait_until(lambda: page.text("#announce") == "The preset My car is saved.")
    page.set_range("#target", 0.3)
    page.driver.refresh()
    choose(page)
    assert page.text("#target-value") == "0.45"
    page.find("#preset").send_keys("My")
    wait_until(lambda: page.text("#target-value") == "0.6")
    page.find("#forget").click()
    wait_until(lambda: page.find("#preset").text.strip() == "Choose …")


def test_a_preset_is_used_and_deleted_whatever_spaces_its_name_has(page):
    choose(page)
    page.set_range("#target", 0.6)
    page.find("#preset-name").send_keys("two  spaces", Keys.ENTER)
    wait_until(lambda: page.text("#announce") == "The preset two  spaces is saved.")
    assert not seen(page, "#queue li")
    page.set_range("#target", 0.3)
    page.driver.execute_script(
        "const s = document.getElementById('preset'); s.selectedIndex = 1;"
        "s.dispatchEvent(new Event('change', { bubbles: true }))"
    )
    wait_until(lambda: page.text("#target-value") == "0.6")
    page.find("#forget").click()
    wait_until(lambda: "two" not in page.text("#preset"))


def test_files_dropped_together_are_sent_in_turn_and_each_refusal_is_reported(page, app, clip):
    names = ["first <b>.mp4", "notes.txt", "more.doc", "second.mp4"]
    page.driver.execute_script(COUNT_UPLOADS)
    assert drop(page, clip, *names) == 4
    wait_until(lambda: seen(page, "#list li[data-place='uploads/second.mp4']"), LONG)
    wait_until(lambda: not seen(page, "#uploads li"), LONG)
    assert page.driver.execute_script("return window.most") == 1
    assert [line.split(":")[0] for line in page.text("#choose-error").splitlines()] == names[1:3]
    assert page.text("#name") == "first _b_.mp4"
    assert page.driver.execute_script("return document.querySelectorAll('#name b').length") == 0
    page.driver.get("about:blank")  # or else the page may ask for a deleted file
    for name in ("first _b_.mp4", "second.mp4"):
        app.ask("DELETE", f"/api/uploads/{name}")
    page.driver.get_log("browser")  # Chromium itself logs the two refusals
    page.driver.get(app.url)


def test_invalid_values_are_refused_in_the_users_language(page, app):
    choose(page)
    page.find("#language option[value=de]").click()
    page.find("#keep").click()
    assert "braucht einen Namen" in page.text("#setting-error")
    page.find("#crf").send_keys("52")
    page.find("#run").click()
    assert "von 0 bis 51" in page.text("#setting-error")
    page.find("#crf").clear()
    page.find("#added").send_keys("/..")
    page.find("#run").click()
    assert "nur Buchstaben" in page.text("#setting-error")
    page.find("#added").clear()
    page.find("#added").send_keys("-größer")
    page.find("#run").click()
    wait_until(lambda: seen(page, "#queue li"))
    assert page.text("#setting-error") == ""
    assert app.get("/api/jobs").json()["jobs"][0]["output"] == "street-größer.mp4"


def test_a_page_goes_on_when_its_command_answers_again(page):
    choose(page)
    line = {"latency": 0, "download_throughput": -1, "upload_throughput": -1}
    page.driver.set_network_conditions(offline=True, **line)
    try:
        click(page, "#moments button:nth-child(3)")
        page.set_range("#time", 29)
        wait_until(lambda: seen(page, "#offline"))
        wait_until(lambda: "did not answer" in page.text("#preview-error"))
    finally:
        page.driver.set_network_conditions(offline=False, **line)
    wait_until(lambda: not seen(page, "#offline"), LONG)
    wait_until(lambda: seen(page, READY) and page.text("#preview-error") == "", LONG)
    page.driver.get_log("browser")


def test_german_is_spoken_and_remembered(page):
    page.find("#language option[value=de]").click()
    said = lambda: page.find("#divider").get_attribute("aria-valuetext")  # noqa: E731
    assert page.text("#queue-title") == "Warteschlange"
    assert page.find("#pick").text == "Dateien wählen …"
    assert said() == "50 % vorher, 50 % nachher"
    page.driver.refresh()
    wait_until(lambda: page.text("#queue-title") == "Warteschlange")
    assert said() == "50 % vorher, 50 % nachher"
    assert page.find("html").get_attribute("lang") == "de"
    assert "undefined" not in page.find("body").text


def test_side_by_side_and_full_size(page):
    choose(page)
    page.find("#divider").send_keys(Keys.HOME)
    assert page.divider() == 0
    page.find("#beside").click()
    wait_until(lambda: page.luma(0.5, 1) > 2 * page.luma(0, 0.5))
    page.find("#full").click()
    wait_until(lambda: page.find("#large").is_displayed(), LONG)
    size = "const c = document.getElementById('large-picture'); return [c.width, c.height]"
    assert page.driver.execute_script(size) == [160, 90]
    page.press(Keys.ESCAPE)
    assert not page.find("#large").is_displayed()


def test_cameras_are_shown_by_the_console(page):
    click(page, "#to-cameras")
    wait_until(lambda: "/cameras" in page.driver.current_url)
    wait_until(lambda: seen(page, "#fleet") and page.text("#engine") == page.fleet.engine, LONG)
    assert "gate" in page.find("#fleet").text
    page.driver.get_log("browser")
    click(page, "#to-files")
    wait_until(lambda: seen(page, "#files"), LONG)


def test_the_page_is_small_and_asks_no_other_host(page, app):
    choose(page)
    told = page.driver.execute_script(
        "return performance.getEntries().filter((e) => e.name.includes('://'))"
        ".map((e) => [e.name, e.transferSize])"
    )
    assert all(name.startswith(app.url) for name, _ in told)
    own = [size for name, size in told if "/api/" not in name]
    assert len(own) > 8
    assert sum(own) < 150_000


def test_everything_has_a_name_and_is_reached_by_keyboard(page):
    choose(page)
    tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"slider", "switch", "button", "link", "radio", "combobox", "textbox", "spinbutton"}
    unnamed = [
        node["role"]["value"]
        for node in tree
        if not node["ignored"]
        and node["role"]["value"] in roles
        and not node.get("name", {}).get("value", "")
    ]
    assert unnamed == []
    page.driver.execute_script("document.querySelector('.skip').focus()")
    reached = []
    while "run" not in reached and len(reached) < 40:
        page.press(Keys.TAB)
        reached.append(
            page.driver.execute_script(
                "const e = document.activeElement; return e.id || e.name || e.textContent.trim()"
            )
        )
    wanted = ["language", "pick", "divider", "beside", "full", "time", "profile", "auto", "target"]
    wanted += ["codec", "crf", "added", "preset", "preset-name", "keep", "run"]
    assert [name for name in reached if name in wanted] == wanted


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_text_is_legible(page, scheme):
    prefer(page.driver, prefers_color_scheme=scheme)
    choose(page)
    page.find("#run").click()
    wait_until(lambda: seen(page, "#queue li"))
    axe = resources("axe_core_python").joinpath("axe.min.js").read_text()
    page.driver.execute_script(axe)
    assert page.driver.execute_async_script(AXE) == []
    found = page.driver.execute_script(CONTRAST)
    assert len(found) > 30
    assert found[0][0] >= 4.5, found[0]


def test_a_phone_needs_no_sideways_scrolling(page):
    resize(page.driver, 360, 740, phone=True)
    choose(page)
    page.find("#run").click()
    wait_until(lambda: seen(page, "#queue li"))
    assert page.driver.execute_script(WIDTH) == [360, 360]
    for css in ("#pick", "#run", "#divider", "#moments button"):
        assert page.find(css).size["height"] >= 40


def test_a_page_with_a_token_asks_for_it(driver, clip, tmp_path):
    driver.delete_all_cookies()
    with app_at(tmp_path, [clip.parent], TOKEN) as app:
        page = Page(driver, app)
        wait_until(lambda: page.find("#login").is_displayed())
        assert not page.find("#files").is_displayed()
        page.find("#token").send_keys("wrong", Keys.ENTER)
        wait_until(lambda: "wrong token" in page.text("#login-error"))
        page.find("#token").clear()
        page.find("#token").send_keys(TOKEN, Keys.ENTER)
        wait_until(lambda: seen(page, "#list .folder"))
        page.find("#logout").click()
        wait_until(lambda: page.find("#login").is_displayed())
        driver.get("about:blank")
        driver.get_log("browser")
