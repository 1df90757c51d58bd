"""Access to a page of streamkind in Chromium."""

from __future__ import annotations

from loopback.browser import chromium, prefer, resize
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By

__all__ = ["CONTRAST", "Page", "chromium", "prefer", "resize"]

LUMA = """
const canvas = document.getElementById("picture");
const [from, to] = arguments;
const x = Math.round(canvas.width * from), width = Math.round(canvas.width * (to - from));
const data = canvas.getContext("2d").getImageData(x, 0, width, canvas.height).data;
let sum = 0;
for (let i = 0; i < data.length; i += 4) sum += data[i] + data[i + 1] + data[i + 2];
return sum / (data.length / 4) / 3;
"""

CONTRAST = """
const light = (text) => {
  const [r, g, b] = text.match(/[\\d.]+/g).map((v) => {
    const c = Number(v) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const color = getComputedStyle(node).backgroundColor;
    if (!/, 0\\)$/.test(color)) return color;
  }
};
const found = [];
for (const node of document.querySelectorAll("header *, main *")) {
  const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !node.getClientRects().length || node.closest("#stage")) continue;
  const pair = [light(getComputedStyle(node).color), light(ground(node))].sort((a, b) => b - a);
  found.push([(pair[0] + 0.05) / (pair[1] + 0.05), node.outerHTML.slice(0, 80)]);
}
return found.sort((a, b) => a[0] - b[0]);
"""
"""Script that returns the contrast ratio of each visible text and its background, sorted."""


class Page:
    """An open page: reads elements and sends keys, as a user does."""

    def __init__(self, driver, console, place="#/gate"):
        """Open the page at a fragment of its URL: a camera, or "" for the start page."""
        self.driver, self.console, self.fleet = driver, console, console.fleet
        driver.get(console.url + place)

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def text(self, css):
        return self.driver.execute_script(
            "return document.querySelector(arguments[0]).textContent", css
        )

    def luma(self, left, right):
        """Return the mean level, 0 to 255, between two shares, 0 to 1, of the picture's width."""
        return self.driver.execute_script(LUMA, left, right)

    def divider(self):
        return int(self.find("#divider").get_attribute("aria-valuenow"))

    def press(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def set_range(self, css, value):
        """Set the value of a slider, and send the input event that a user's move sends."""
        self.driver.execute_script(
            "const s = document.querySelector(arguments[0]); s.value = arguments[1];"
            "s.dispatchEvent(new Event('input', { bubbles: true }))",
            css,
            value,
        )
