"""The page for files, really listening on loopback."""

from __future__ import annotations

import os
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
    folder: Path, folders=(), token: str = "", fleet=None, usual: str = "realtime"
) -> Iterator[Console]:
    """Serve the page on a free port; results and settings are kept in `folder`."""
    config = ConsoleConfig(port=0, token=token)
    settings = Settings(profile=usual)
    with (
        mock.patch.dict(os.environ, {"XDG_CONFIG_HOME": str(folder / "config")}),
        serve_app(list(folders), folder / "clear", config, settings, fleet=fleet) as url,
    ):
        yield Console(url, fleet, token)
