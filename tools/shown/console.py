"""Takes the screenshots of the console for docs.

Chromium shows the real page with simulated cameras. They show frames of the shipped sample clip,
which the project renders itself, enhanced by the released model.
"""

from __future__ import annotations

import os
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

ROOT = Path(__file__).parents[2]
SETTLE_SECONDS = 8.0
"""Time in seconds until status, pictures, video and transitions of the page are complete."""
FRAMES = {"crossing": 60, "gate": 5, "gate2": 24, "gate10": 45, "ramp": 75, "yard": 90}
"""Name of each camera -> number of its frame in the sample."""
LIVE, LIVE_FRAMES, RATE = "crossing", 16, 8
"""Camera that is opened; number of frames of its video, from its still on; frames per second."""
PICTURES = (
    ("console-wall.png", "", 1280, 860, "light"),
    ("console.png", f"#/{LIVE}", 1280, 1300, "light"),
    ("console-phone.png", f"#/{LIVE}", 360, 900, "dark"),
)
"""Name, URL fragment, width and height in CSS pixels, and colour scheme of each screenshot."""


def decoded() -> list[Pixels]:
    """Return all frames of the sample, (H, W, 3) uint8 RGB each."""
    with av.open(str(ROOT / "samples" / "night_street.mp4")) as clip:
        return [frame.to_ndarray(format="rgb24") for frame in clip.decode(video=0)]


def make_fleet(engine: streamkind.Engine, frames: list[Pixels], folder: Path) -> StillFleet:
    """Return a fleet of six cameras, one of them lost. Each records to a folder in `folder`."""
    made: dict[tuple[int, Ratio], Pixels] = {}

    def relight(pixels: Pixels, ratio: Ratio, target: float) -> Pixels:
        key = (id(pixels), ratio)
        if key not in made:
            made[key] = engine.enhance(pixels, ratio=ratio, target=target)
        return made[key]

    fleet = StillFleet(relight)
    fleet.engine = engine.description
    for name, number in FRAMES.items():
        picture, out = frames[number], f"rtsp://127.0.0.1:8554/{name}"
        to = (out, str(folder / name))
        fleet.put(CameraConfig(name=name, url=f"rtsp://viewer:***@10.0.0.{number}/1", to=to))
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


def record(folder: Path, pictures: list[Pixels]) -> None:
    """Write four files with the dates of recordings of ten minutes. All show the same pictures."""
    folder.mkdir()
    for number in range(4):
        begins = time.time() - 600 * (5 - number)
        path = folder / time.strftime("%Y%m%d-%H%M%SZ.mkv", time.gmtime(begins))
        with av.open(str(path), "w") as output:
            stream = output.add_stream("libx264", RATE)
            stream.height, stream.width, _ = pictures[0].shape
            for picture in pictures:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            output.mux(stream.encode(None))
        os.utime(path, (begins + 600, begins + 600))


def main() -> None:
    """Show each view of the console in its size, and save a screenshot."""
    frames = decoded()
    with (
        streamkind.open_engine(profile="realtime") as engine,
        tempfile.TemporaryDirectory() as folder,
    ):
        fleet = make_fleet(engine, frames, Path(folder))
        first = FRAMES[LIVE]
        shown = frames[first : first + LIVE_FRAMES]
        clear = [
            frame.pixels for frame in engine.stream((i / RATE, p) for i, p in enumerate(shown))
        ]
        record(Path(folder, LIVE), clear)
        with (
            serve_console(fleet, ConsoleConfig(port=0)) as url,
            chromium(Path(folder)) as driver,
            fleet.play(LIVE, clear, RATE),
        ):
            for name, place, width, height, scheme in PICTURES:
                resize(driver, width, height, phone=width < 500)
                prefer(driver, prefers_color_scheme=scheme)
                driver.get("about:blank")
                driver.get(url + place)
                time.sleep(SETTLE_SECONDS)
                driver.save_screenshot(str(ROOT / "docs" / name))
                print(f"docs/{name}: {width}x{height}, {scheme}")
            driver.get("about:blank")
