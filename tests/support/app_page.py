"""Actions of the tests of the page for files in the browser."""

from __future__ import annotations

import base64
from pathlib import Path

import av
import cv2

from support.media import make_clip
from support.waiting import wait_until

NIGHT = Path(__file__).parents[2] / "samples" / "night_street.mp4"
LONG = 120.0
"""Seconds within which a small clip is done on a busy machine."""
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
    """Make thirty seconds of the shipped night, small: 160x90 at 4 frames a second."""
    with av.open(str(NIGHT)) as video:
        images = [
            cv2.resize(f.to_ndarray(format="rgb24"), (160, 90), interpolation=cv2.INTER_AREA)
            for f in video.decode(video=0)
        ]
    images = [images[i % 96] for i in range(120)]
    times = [3200 * i for i in range(120)]
    return make_clip(path, images=images, size=(160, 90), rate=4, pts=times)


def drop(page, clip, *names):
    """Drop copies of a clip on the page; return the number of files that are to be sent."""
    data = base64.b64encode(clip.read_bytes()).decode()
    return page.driver.execute_script(DROP, names, data)


def seen(page, css):
    return page.driver.execute_script(
        "return !!document.querySelector(arguments[0])?.getClientRects().length", css
    )


def click(page, css):
    """Wait for an element, and click it. The page may replace it meanwhile."""
    wait_until(lambda: seen(page, css), LONG)
    page.driver.execute_script("document.querySelector(arguments[0]).click()", css)


def choose(page, name="street.mp4"):
    """Take a clip from the folder, and wait for its preview."""
    click(page, "#list .folder")
    # Before the folder is listed, and until the preview comes, another file may be shown.
    click(page, f"#list li[data-place$='/{name}'] button")
    wait_until(lambda: page.text("#name") == name and seen(page, READY), LONG)
