"""The command `streamkind app`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from streamkind.cli.live import LOOK_SECONDS, Signals, open_fleet
from streamkind.cli.log import logging_to_stderr
from streamkind.cli.show import console
from streamkind.cli.state_log import StateLog
from streamkind.engine.profiles import choose_profile
from streamkind.errors import UsageError
from streamkind.live.config import ConsoleConfig, read_config
from streamkind.live.fleet import LiveFleet
from streamkind.live.secrets import has_secret
from streamkind.platform import open_browser


def app_command(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders whose videos the page shows.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for results and for dropped files.")] = Path(
        "clear"
    ),
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others than 127.0.0.1 need --token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on. 0: any free port.")
    ] = 8781,
    token: Annotated[
        str, typer.Option(help="Token for access: '${file:PATH}' or '${VARIABLE}'.")
    ] = "",
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    cameras: Annotated[
        Path | None, typer.Option(help="cameras.toml, to run live cameras too; see docs/live.md.")
    ] = None,
) -> None:
    """Open a page in the browser: choose files, preview, enhance and play them.

    To continue interrupted work, start the command again with the same --out.
    """
    try:
        from streamkind.app.settings import Settings  # type: ignore[import-untyped,unused-ignore]
        from streamkind.app.site import serve_app  # type: ignore[import-untyped,unused-ignore]
    except ModuleNotFoundError as exc:
        raise UsageError(f"the page needs '{exc.name}': pip install 'streamkind[live]'") from exc
    if token and not has_secret(token):
        raise UsageError(
            "--token: other users of this machine can see the arguments of a command; write the "
            "token to a file and give '${file:PATH}', or give '${VARIABLE}'"
        )
    usual = Settings.model_validate({"profile": choose_profile("auto", "auto", "auto")})
    config = ConsoleConfig(host=host, port=port, token=token)
    with Signals(reloads=False) as signals, ExitStack() as stack:
        fleet = stack.enter_context(fleet_of(cameras)) if cameras else None
        page = serve_app(folders or [], out, config, usual, fleet=fleet)
        url = stack.enter_context(page)
        console.print(f"{url} shows the page; results: {out}; Ctrl-C ends", markup=False)
        if browser and not open_browser(url):
            console.print("no browser was found; open this address in a browser")
        show = StateLog()
        while not signals.stop_within(LOOK_SECONDS):
            if fleet is not None:
                show(fleet.look())
        if fleet is not None:
            fleet.stop()  # while the page ends
    sys.stderr.flush()
    # A usual exit would wait for the threads of pools. A preview that is under way may take a
    # minute.
    os._exit(0)


@contextmanager
def fleet_of(settings: Path) -> Iterator[LiveFleet]:
    """Run the cameras of cameras.toml within a `with` block."""
    cameras, _ = read_config(settings)
    with logging_to_stderr("info", "text"), open_fleet() as fleet:
        for camera in cameras.values():
            fleet.put(camera)
        yield fleet
