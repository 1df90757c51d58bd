"""The page for files, served on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from streamkind.app.settings import Settings
from streamkind.app.site import serve_app
from streamkind.live.config import ConsoleConfig
from support.console_at import Console

QUICK = {"profile": "realtime", "ratio": 4, "codec": "h264", "crf": None, "added": "-clear"}
"""Settings that need no first pass, with the usual quality."""


@contextmanager
def app_at(
    folder: Path, folders=(), token: str = "", fleet=None, usual: str = "realtime", port: int = 0
) -> Iterator[Console]:
    """Serve the page, usually on a free port; results and settings are kept in `folder`."""
    config = ConsoleConfig(port=port, token=token)
    settings = Settings(profile=usual)
    with (
        mock.patch.dict(os.environ, {"XDG_CONFIG_HOME": str(folder / "config")}),
        serve_app(list(folders), folder / "clear", config, settings, fleet=fleet) as url,
    ):
        yield Console(url, fleet, token)


@contextmanager
def app_command(folder: Path, *folders: Path, port: int = 0):
    """Run the command in a process, and kill it at the end; yield the process and its page."""
    words = [sys.executable, "-m", "streamkind", "app", *folders, "--out", folder / "clear"]
    environment = os.environ | {"XDG_CONFIG_HOME": str(folder)}
    with subprocess.Popen(
        [*map(str, words), "--no-browser", "--port", str(port)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            yield process, Console(process.stderr.readline().split()[0], None)
        finally:
            process.kill()


def peak_of(pid):
    """Return the peak memory of a process, in bytes."""
    (line,) = [x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in x]
    return int(line.split()[1]) * 1024
