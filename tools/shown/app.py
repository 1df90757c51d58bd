"""Takes the screenshots docs/app.png, app-dark.png and app-phone.png.

Chromium shows the real page with the shipped sample clip, which the project renders itself.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import requests
from loopback.browser import chromium, prefer, resize
from loopback.servers import wait_for
from selenium.webdriver.common.by import By

from streamkind.app.settings import Settings
from streamkind.app.site import serve_app
from streamkind.live.config import ConsoleConfig

ROOT = Path(__file__).parents[2]
PICTURES = (
    ("app.png", 1280, 1560, "light"),
    ("app-dark.png", 1280, 1560, "dark"),
    ("app-phone.png", 360, 1100, "light"),
)
"""Name, width and height in CSS pixels, and colour scheme of each screenshot."""
SECONDS = 900.0
"""Longest wait for previews, measurements and one run, in seconds. It is for a slow machine."""


def fill_queue(url: str) -> None:
    """Enhance the sample, and add two paused jobs to the queue."""
    settings = Settings(profile="realtime").model_dump()
    for state in (None, "paused", "paused"):
        body = {"path": "1/night_street.mp4", "settings": settings}
        job = requests.post(f"{url}api/jobs", json=body, timeout=60).json()
        if state:
            requests.patch(f"{url}api/jobs/{job['id']}", json={"state": state}, timeout=60)
    queue = f"{url}api/jobs"

    def is_done() -> bool:
        told = requests.get(queue, timeout=60).json()["jobs"][0]["state"]
        return bool(told == "done")

    wait_for(is_done, "the queue is not done", SECONDS)


def main() -> None:
    """Show the page in each size, and save a screenshot."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serve_app(
            [ROOT / "samples"], Path(folder, "clear"), ConsoleConfig(port=0), Settings()
        ) as url,
        chromium(Path(folder)) as driver,
    ):
        fill_queue(url)

        def is_shown(css: str) -> bool:
            found = driver.find_elements(By.CSS_SELECTOR, css)
            return bool(found) and found[0].is_displayed()

        def measured() -> bool:
            told = driver.find_elements(By.CSS_SELECTOR, "#profiles .quiet")
            return bool(told) and all("whole file" in line.text for line in told)

        for name, width, height, scheme in PICTURES:
            resize(driver, width, height, phone=width < 500)
            prefer(driver, prefers_color_scheme=scheme)
            driver.get(url)
            for css in ("#list .folder", "#list li[data-place] button"):
                wait_for(lambda css=css: is_shown(css), f"no {css}", SECONDS)
                driver.find_element(By.CSS_SELECTOR, css).click()
            wait_for(lambda: is_shown("#stage[data-ready=fine]"), "no preview", SECONDS)
            wait_for(measured, "no expected times", SECONDS)
            driver.save_screenshot(str(ROOT / "docs" / name))
            print(f"docs/{name}: {width}x{height}, {scheme}")
