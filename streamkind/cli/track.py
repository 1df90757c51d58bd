"""The commands `streamkind track` and `streamkind plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from streamkind.cli import options
from streamkind.cli.show import console, progress_bar, show_progress
from streamkind.engine.options import TRACK
from streamkind.light.track import Track
from streamkind.measure import plots
from streamkind.pipeline import find_track
from streamkind.video.publish import check_file, check_not_input
from streamkind.video.storage import as_path


@options.takes("chosen", options.described(TRACK))
def track_command(
    input: Annotated[str, typer.Argument(help="A video.")],
    output: Annotated[Path, typer.Argument(help="The CSV file: time, ratio, wanted, luma, cut.")],
    *,
    chosen: dict[str, Any],
) -> None:
    """Write the ratios of a video to a CSV file, for `enhance --ratio-track`."""
    check_not_input(output, as_path(input))
    check_file(output)
    with progress_bar() as bar:
        shown = show_progress(bar, as_path(input).name)
        track = find_track(input, progress=shown, **chosen)
    track.write(output)
    console.print(f"{output}: ratios of {len(track.time)} frames", markup=False)


def plot_command(
    track: Annotated[Path, typer.Argument(help="A CSV file from `streamkind track`.")],
    output: Annotated[Path, typer.Argument(help="The picture: .png, .svg or .pdf.")],
) -> None:
    """Draw the ratios of a CSV file: before and after smoothing, luma, scene cuts."""
    plots.draw_track(Track.read(track), output)
