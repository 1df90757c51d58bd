"""Runs Debian's Chromium without a window, by Selenium."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"


@contextmanager
def chromium(folder: Path) -> Iterator[webdriver.Chrome]:
    """Run headless Chromium with its profile in `folder`. It keeps console messages."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.add_argument("--headless=new")
    options.add_argument("--no-sandbox")  # Chromium has none for root
    options.add_argument("--disable-dev-shm-usage")
    options.add_argument("--disable-gpu")
    options.add_argument("--hide-scrollbars")
    options.add_argument(f"--user-data-dir={folder}/chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def resize(driver: webdriver.Chrome, width: int, height: int, *, phone: bool = False) -> None:
    """Set the size of the page in CSS pixels. A real window cannot be as narrow as a phone.

    A phone has two device pixels per CSS pixel.
    """
    metrics = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**metrics, "mobile": phone})


def prefer(driver: webdriver.Chrome, **features: str) -> None:
    """Set CSS media features, such as prefers_color_scheme="dark"."""
    told = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": told})
