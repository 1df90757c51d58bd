"""The page for files in Chromium: two browsers at once, a killed command, use by keyboard."""

from __future__ import annotations

import contextlib
import shutil
import socket
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Keys
from support.app_at import QUICK, app_at, app_command, peak_of
from support.app_page import LONG, WIDTH, choose, click, drop, seen, street
from support.browser import Page, chromium, resize
from support.waiting import wait_until

LINE = {"offline": False, "latency": 0, "download_throughput": -1}
STATES = """
return [...document.querySelectorAll("#queue li")].map(
  (item) => [item.querySelector(".who").textContent, item.dataset.state],
);
"""
HELD = """
const held = document.activeElement;
return [held.closest("li")?.querySelector(".who, .folder")?.textContent, held.dataset.does ?? ""];
"""
TIMES = "return [...document.querySelectorAll('#profiles .quiet')].map((e) => e.textContent)"


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Return a folder with one clip."""
    folder = tmp_path_factory.mktemp("nights")
    street(folder / "street.mp4")
    return folder


@pytest.fixture(scope="module")
def drivers(tmp_path_factory):
    """Start two browsers, each with its own profile."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(chromium(tmp_path_factory.mktemp("browser"))) for _ in range(2)]


@pytest.fixture
def driver(drivers):
    yield drivers[0]
    drivers[0].set_network_conditions(**LINE, upload_throughput=-1)
    drivers[0].get("about:blank")


def opened(driver, app):
    """Open the page, and wait until it lists the folder."""
    resize(driver, 1280, 1000)
    page = Page(driver, app, "")
    wait_until(lambda: seen(page, "#list .folder"), LONG)
    return page


def waiting(app, count, path="1/street.mp4"):
    """Add `count` jobs, and pause them, so that they stay in the queue."""
    for _ in range(count):
        body = {"path": path, "settings": QUICK}
        key = app.ask("POST", "/api/jobs", json=body).json()["id"]
        app.ask("PATCH", f"/api/jobs/{key}", json={"state": "paused"})


def states(page):
    return page.driver.execute_script(STATES)


def press(page, css, key=Keys.ENTER):
    """Focus an element, and press a key, as a user without a mouse does."""
    page.driver.execute_script("document.querySelector(arguments[0]).focus()", css)
    page.press(key)


def test_two_browsers_show_the_same_queue_presets_and_dropped_files(drivers, nights, tmp_path):
    with app_at(tmp_path, [nights]) as app:
        waiting(app, 2)
        here, there = (opened(driver, app) for driver in drivers)
        wait_until(
            lambda: (
                states(there)
                == [["street-clear.mp4", "paused"], ["street-clear (2).mp4", "paused"]]
            ),
            LONG,
        )
        click(here, "#queue li:last-child [data-does=up]")
        wait_until(lambda: states(there)[0] == ["street-clear (2).mp4", "paused"], LONG)
        click(there, "#queue li:first-child [data-does=cancel]")
        wait_until(lambda: states(here) == states(there) == [["street-clear.mp4", "paused"]], LONG)
        click(there, "#queue [data-does=goOn]")
        wait_until(lambda: states(here) == [["street-clear.mp4", "done"]], LONG)

        drop(here, nights / "street.mp4", "twice.mp4", "twice.mp4")
        both = "#list li[data-place='uploads/twice (2).mp4']"
        wait_until(lambda: seen(there, both) and seen(here, both), LONG)
        click(there, f"{both} button")
        wait_until(lambda: seen(there, "#chosen"), LONG)
        there.find("#preset-name").send_keys('My "car" 🚗')
        click(there, "#keep")
        wait_until(lambda: 'My "car" 🚗' in here.text("#preset"), LONG)
        click(here, f"{both} [data-does=delete]")
        wait_until(lambda: not seen(there, both) and not seen(there, "#chosen"), LONG)
        click(here, "#list li[data-place='uploads/twice.mp4'] button")
        wait_until(lambda: seen(here, "#chosen"), LONG)
        here.find("#preset").send_keys("My")
        click(here, "#forget")
        wait_until(lambda: "car" not in there.text("#preset"), LONG)
        for driver in drivers:
            driver.get("about:blank")


def test_the_keyboard_keeps_its_place_when_a_list_changes(driver, nights, tmp_path):
    two = tmp_path / "two"
    two.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(nights / "street.mp4", two / name)
    with app_at(tmp_path, [nights, two]) as app:
        waiting(app, 3)
        page = opened(driver, app)
        first, second, third = (f"street-clear{n}.mp4" for n in ("", " (2)", " (3)"))
        wait_until(lambda: len(states(page)) == 3, LONG)

        def held(item, button):
            wait_until(lambda: driver.execute_script(HELD) == [item, button], LONG, f"{item} held")

        press(page, "#queue li:nth-child(3) [data-does=up]")
        wait_until(lambda: states(page)[1][0] == third, LONG)
        held(third, "up")
        page.press(Keys.ENTER)
        wait_until(lambda: states(page)[0][0] == third, LONG)
        held(third, "goOn")  # the first job has no button to move it up
        press(page, "#queue li:nth-child(2) [data-does=cancel]")
        wait_until(lambda: len(states(page)) == 2, LONG)
        held(second, "goOn")
        press(page, "#queue li:nth-child(2) [data-does=cancel]")
        held(third, "goOn")
        press(page, "#queue li [data-does=cancel]")
        wait_until(lambda: states(page) == [], LONG)
        assert driver.switch_to.active_element.get_attribute("id") == "queue-title"
        assert first not in page.text("#queue")

        drop(page, nights / "street.mp4", "a.mp4", "b.mp4")
        wait_until(lambda: seen(page, "#list li[data-place='uploads/b.mp4']"), LONG)
        press(page, "#list li[data-place='uploads/a.mp4'] [data-does=delete]")
        wait_until(lambda: not seen(page, "#list li[data-place='uploads/a.mp4']"), LONG)
        held("b.mp4", "")
        press(page, "#list li:nth-child(2) .folder")
        held("a.mp4", "")  # the first file of the folder, not the second
        press(page, "#where button")
        wait_until(lambda: seen(page, "#list .folder"), LONG)
        held(f"{nights.name} /", "")


def test_a_killed_command_that_is_started_again_finds_the_page_as_it_was(driver, nights, tmp_path):
    originals = tmp_path / "clear" / "originals"
    line = LINE | {"upload_throughput": 10_000}  # the upload takes 45 seconds
    with app_command(tmp_path, nights) as (process, app):
        page = opened(driver, app)
        choose(page)
        driver.set_network_conditions(**line)
        drop(page, nights / "street.mp4", "late.mp4")
        wait_until(lambda: list(originals.glob(".late*")), LONG)
        click(page, "#moments button:nth-child(3)")
        page.driver.execute_script("document.querySelector('[value=quality]').click()")
        process.kill()
        process.wait()
    wait_until(lambda: seen(page, "#offline"), LONG)
    wait_until(lambda: "late.mp4: streamkind did not answer" in page.text("#choose-error"), LONG)
    assert not seen(page, "#uploads li")
    assert list(originals.glob(".late*"))  # the killed command could not remove it
    for button, error in (("#run", "#setting-error"), ("#where button", "#choose-error")):
        click(page, button)
        wait_until(lambda error=error: "streamkind did not answer" in page.text(error), LONG)
    click(page, "#list li[data-place] button")
    wait_until(lambda: "streamkind did not answer" in page.text("#hint"), LONG)
    with app_command(tmp_path, nights, port=urlsplit(app.url).port):
        wait_until(lambda: not seen(page, "#offline"), LONG)
        wait_until(lambda: seen(page, "#chosen") and page.text("#name") == "street.mp4", LONG)
        assert list(originals.iterdir()) == []
        wait_until(lambda: "for the whole file" in driver.execute_script(TIMES)[2], LONG)
        click(page, "#run")
        wait_until(lambda: states(page), LONG)


def test_a_page_begins_again_if_the_command_has_other_folders(driver, nights, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(nights / "street.mp4", other / "street.mp4")
    with app_at(tmp_path, [nights]) as app:
        page = opened(driver, app)
        choose(page)
    wait_until(lambda: seen(page, "#offline"), LONG)
    with app_at(tmp_path, [other, nights], port=urlsplit(app.url).port):
        wait_until(lambda: not seen(page, "#offline"), LONG)
        wait_until(
            lambda: (
                len(
                    page.driver.execute_script(
                        "return [...document.querySelectorAll('#list .folder')]"
                    )
                )
                == 2
            ),
            LONG,
        )
        assert not seen(page, "#chosen")  # 1/street.mp4 is another file now
        driver.get("about:blank")


def test_a_folder_that_is_gone_does_not_change_the_path_of_the_next_one(driver, tmp_path):
    folders = [tmp_path / name for name in ("gone", "there")]
    for folder in folders:
        folder.mkdir()
    with app_at(tmp_path, folders) as app:
        page = opened(driver, app)
        folders[0].rmdir()
        click(page, "#list li:nth-child(1) .folder")
        wait_until(lambda: "does not exist any more" in page.text("#choose-error"), LONG)
        click(page, "#list li:nth-child(2) .folder")
        wait_until(lambda: seen(page, "#where button"), LONG)
        assert page.text("#where") == "Foldersthere"


def test_folders_and_queue_are_shown_if_that_of_dropped_files_cannot_be_read(
    driver, nights, tmp_path
):
    (tmp_path / "clear").mkdir()
    (tmp_path / "clear" / "originals").write_text("no folder")
    with app_at(tmp_path, [nights]) as app:
        page = opened(driver, app)
        waiting(app, 1)
        wait_until(lambda: states(page), LONG)


def test_an_answer_that_is_no_json_ends_an_upload(driver, nights, tmp_path):
    with app_at(tmp_path, [nights]) as app, contextlib.ExitStack() as stack:
        page = opened(driver, app)
        where = urlsplit(app.url)
        for _ in range(200):  # the server's limit; then it answers 503 as text
            stack.enter_context(socket.create_connection((where.hostname, where.port), 10))
        wait_until(lambda: seen(page, "#offline"), LONG)
        drop(page, nights / "street.mp4", "a.mp4")
        wait_until(lambda: "a.mp4: 503" in page.text("#choose-error"), LONG)
        wait_until(lambda: not seen(page, "#uploads li"), LONG)


def test_an_upload_takes_the_place_of_no_file_that_was_chosen_meanwhile(driver, nights, tmp_path):
    with app_at(tmp_path, [nights]) as app:
        page = opened(driver, app)
        driver.set_network_conditions(**LINE, upload_throughput=100_000)
        drop(page, nights / "street.mp4", "late.mp4")
        choose(page)
        driver.set_network_conditions(**LINE, upload_throughput=-1)
        wait_until(lambda: page.text("#announce") == "late.mp4 is uploaded.", LONG)
        wait_until(lambda: not seen(page, "#uploads li"), LONG)
        assert page.text("#name") == "street.mp4"


@pytest.mark.parametrize("language", ["en", "de"])
def test_a_long_name_fits_a_phone_in_every_place(driver, nights, tmp_path, language):
    long, broken = f"{'x' * 246}.mp4", f"{'y' * 246}.mp4"
    folder = tmp_path / ("z" * 200)
    folder.mkdir()
    shutil.copy(nights / "street.mp4", folder / long)
    (folder / broken).write_bytes(b"no video")
    with app_at(tmp_path, [folder]) as app:
        page = opened(driver, app)
        resize(driver, 360, 740, phone=True)
        page.find(f"#language option[value={language}]").click()
        app.ask("POST", "/api/jobs", json={"path": f"1/{broken}", "settings": QUICK})
        waiting(app, 1, f"1/{long}")
        choose(page, long)
        page.find("#preset-name").send_keys("/")
        click(page, "#keep")
        click(page, f"#list li[data-place$='{broken}'] button")
        wait_until(lambda: broken in page.text("#hint"), LONG)
        drop(page, nights / "street.mp4", f"{'n' * 200}.txt")
        wait_until(lambda: "nnn" in page.text("#choose-error"), LONG)
        assert not page.find(f"#list li[data-place$='{broken}'] img").get_attribute("src")
        assert "undefined" not in page.find("body").text
        wait_until(lambda: [s for _, s in states(page)] == ["failed", "paused"], LONG)
        assert driver.execute_script(WIDTH) == [360, 360]
        click(page, f"#list li[data-place$='{long}'] button")
        wait_until(lambda: seen(page, "#chosen") and page.text("#name") == long, LONG)
        shutil.rmtree(folder)
        click(page, "#run")
        told = {"en": "does not exist any more", "de": "gibt es nicht mehr"}[language]
        wait_until(lambda: told in page.text("#setting-error"), LONG)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_slow_file_of_2_gb_takes_no_memory_and_the_page_stays_usable(driver, nights, tmp_path):
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(2_000_000_000)  # a sparse file, which takes no space
    with app_command(tmp_path, nights) as (process, app):
        page = opened(driver, app)
        choose(page)  # opens both engines
        wait_until(lambda: "for the whole file" in driver.execute_script(TIMES)[2], LONG)
        before = peak_of(process.pid)
        driver.set_network_conditions(**LINE, upload_throughput=60_000_000)
        page.find("#picked").send_keys(str(large))
        wait_until(lambda: "large.mp4: 1" in page.text("#uploads"), LONG)
        waiting(app, 1)
        wait_until(lambda: states(page), LONG)
        wait_until(lambda: page.text("#announce") == "large.mp4 is uploaded.", 2 * LONG)
        assert peak_of(process.pid) - before < 100e6
    assert (tmp_path / "clear" / "originals" / "large.mp4").stat().st_size == 2_000_000_000
