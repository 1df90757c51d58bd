"""Take docs/console.png and docs/console-phone.png: python tools/console_pictures.py.

Chromium shows the real page; its cameras stand still, and show frames of the shipped sample clip,
which the project renders itself, made clear by the released model.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import av
from loopback.browser import chromium, prefer, resize
from loopback.still_fleet import StillFleet

import streamkind
from streamkind.light.exposure import DEFAULT_TARGET, Ratio, auto_ratio
from streamkind.live.config import CameraConfig, ConsoleConfig
from streamkind.live.status import SinkStatus
from streamkind.live.web.server import serve_console
from streamkind.video.frames import Pixels

ROOT = Path(__file__).parents[1]

FRAMES = {"crossing": 60, "gate": 5, "yard": 90}
PICTURES = (("console.png", 1280, 1000, "light"), ("console-phone.png", 360, 900, "dark"))


def frames() -> dict[str, Pixels]:
    """Take some frames of the sample."""
    with av.open(str(ROOT / "samples" / "night_street.mp4")) as clip:
        decoded = [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]
    return {name: decoded[number] for name, number in FRAMES.items()}


def make_fleet(engine: streamkind.Engine) -> StillFleet:
    """Three cameras, of which one is lost."""
    made: dict[tuple[int, Ratio], Pixels] = {}

    def relight(pixels: Pixels, ratio: Ratio, target: float) -> Pixels:
        key = (id(pixels), ratio)
        if key not in made:
            made[key] = engine.enhance(pixels, ratio=ratio, target=target)
        return made[key]

    fleet = StillFleet(relight)
    fleet.engine = engine.description
    for name, picture in frames().items():
        out = f"rtsp://127.0.0.1:8554/{name}"
        fleet.put(CameraConfig(name=name, url=f"rtsp://viewer:***@10.0.0.{len(name)}/1", to=(out,)))
        fleet.show(name, picture)
        relight(picture, "auto", DEFAULT_TARGET)
        ratio = float(auto_ratio(engine.decompose(picture[None]).statistics)[0])
        sinks = (SinkStatus(out, "live", 86_210), SinkStatus(f"recordings/{name}", "live", 86_210))
        figures = {"frames_in": 86_412, "frames_out": 86_210, "dropped": 202, "ratio": ratio}
        fleet.change(name, fps=23.9, delay_seconds=0.184, queue=1, sinks=sinks, **figures)
    now = time.time()
    fleet.change(
        "yard", state="lost", since=now - 95, error="no frame for 5 s", error_time=now - 95
    )
    return fleet


def main() -> None:
    """Show each size, and save it."""
    with (
        streamkind.open_engine() as engine,
        tempfile.TemporaryDirectory() as folder,
        serve_console(make_fleet(engine), ConsoleConfig(port=0)) as url,
        chromium(Path(folder)) as driver,
    ):
        for name, width, height, scheme in PICTURES:
            resize(driver, width, height, phone=width < 500)
            prefer(driver, prefers_color_scheme=scheme)
            driver.get(url)
            time.sleep(4)  # the first looks, pictures, and what fades in
            driver.save_screenshot(str(ROOT / "docs" / name))
            print(f"docs/{name}: {width}x{height}, {scheme}")


if __name__ == "__main__":
    main()
