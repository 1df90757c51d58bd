"""How a live 720p camera of 25 fps is held: python tools/live_realtime.py [--minutes 10].

A GStreamer server on this machine plays the camera, streamkind enhances it in the profile realtime
and publishes to a second server: all of it on the same cores. Prints frames and delay by minute.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from loopback.servers import (
    camera_server,
    config,
    moving_picture,
    published,
    record_server,
    wait_for_state,
)

from streamkind.cli.doctor import cpu
from streamkind.cli.live import open_fleet


def main() -> None:
    """Run, and print a line a minute."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--profile", default="realtime")
    args = parser.parse_args()
    print(f"{datetime.date.today()}, {cpu().value}; load {os.getloadavg()[0]:.1f}; {sys.argv[1:]}")
    with (
        tempfile.TemporaryDirectory() as folder,
        camera_server(Path(folder), moving_picture(1280, 720, 25)) as camera,
        record_server(Path(folder)) as server,
        open_fleet(args.profile) as fleet,
    ):
        fleet.put(config(camera, published(server)))
        wait_for_state(fleet, "live", 60)
        time.sleep(5)
        fleet.status()
        for minute in range(1, max(1, round(args.minutes)) + 1):
            before, began = fleet.look()[0], time.monotonic()
            time.sleep(min(60.0, 60 * args.minutes))
            (now,) = fleet.status()
            seconds = time.monotonic() - began
            came, out = now.frames_in - before.frames_in, now.frames_out - before.frames_out
            ages = 1e3 * np.array(now.ages or [0])
            print(
                f"minute {minute}: in {came / seconds:.1f} fps, out {out / seconds:.1f} fps, "
                f"dropped {now.dropped - before.dropped}, delay median {np.median(ages):.0f} ms, "
                f"99 % {np.percentile(ages, 99):.0f} ms, most {ages.max():.0f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
