"""Actions that tests perform on the page for files in the browser."""

from __future__ import annotations

import base64
from pathlib import Path

import av
import cv2

from support.media import make_clip
from support.waiting import wait_until

NIGHT = Path(__file__).parents[2] / "samples" / "night_street.mp4"
LONG = 120.0
"""Longest wait for one event, in seconds. A busy machine enhances a small clip in less time."""
READY = "#stage[data-ready=fine]"
WIDTH = "return [document.documentElement.scrollWidth, innerWidth]"
DROP = """
const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0));
const data = new DataTransfer();
for (const name of [arguments[0]].flat()) {
  data.items.add(new File([bytes], name, { type: "video/mp4" }));
}
for (const kind of ["dragover", "drop"]) {
  const event = new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: data });
  document.getElementById("drop").dispatchEvent(event);
}
return document.querySelectorAll("#uploads li").length;
"""


def street(path: Path) -> Path:
    """Write 30 seconds of the shipped sample at 160x90 and 4 frames a second; return the path."""
    with av.open(str(NIGHT)) as video:
        images = [
            cv2.resize(f.to_ndarray(format="rgb24"), (160, 90), interpolation=cv2.INTER_AREA)
            for f in video.decode(video=0)
        ]
    images = [images[i % 96] for i in range(120)]
    times = [3200 * i for i in range(120)]
    return make_clip(path, images=images, size=(160, 90), rate=4, pts=times)


def drop(page, clip, *names):
    """Drop copies of a clip on the page; return the number of listed uploads."""
    data = base64.b64encode(clip.read_bytes()).decode()
    return page.driver.execute_script(DROP, names, data)


def seen(page, css):
    return page.driver.execute_script(
        "return !!document.querySelector(arguments[0])?.getClientRects().length", css
    )


def click(page, css):
    """Wait for an element, and click it by script, as the page may replace it at any time."""
    wait_until(lambda: seen(page, css), LONG)
    page.driver.execute_script("document.querySelector(arguments[0]).click()", css)


def choose(page, name="street.mp4"):
    """Open the folder, choose a clip, and wait for its preview."""
    click(page, "#list .folder")
    # Until the preview is ready, the page may still show another file.
    click(page, f"#list li[data-place$='/{name}'] button")
    wait_until(lambda: page.text("#name") == name and seen(page, READY), LONG)
