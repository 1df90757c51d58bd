"""A process of its own for each output: takes NUT from stdin, hands it on packet for packet.

FFmpeg connects, and ends, without letting Python run meanwhile, and has no time limit for it: in
the process of the cameras one server that hangs would stop them all. This one can be killed. The
first line of stdin says where to, as JSON, so that no password is in the arguments. It is run as
a file, and imports nothing but PyAV, to be small.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

RECORDING = re.compile(r"\d{8}-\d{6}Z?\.(mkv|mp4)")
LOOK_SECONDS = 5.0


def main() -> None:
    """Publish until stdin ends; on failure say why on stdout and leave with 1."""
    # Ctrl-C and systemd reach this process too, but it is to end after what is under way.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    av.logging.set_level(None)
    order = json.loads(read_line(0))
    try:
        publish(order)
    except (av.FFmpegError, OSError, ValueError) as exc:
        tell("error " + (getattr(exc, "strerror", None) or str(exc)))
        sys.exit(1)


def read_line(file: int) -> bytes:
    """Read up to a line's end and not one byte more: the rest is FFmpeg's."""
    line = b""
    while (byte := os.read(file, 1)) not in (b"", b"\n"):
        line += byte
    return line


def tell(text: str) -> None:
    """Say something to the parent."""
    os.write(1, " ".join(text.split()).encode() + b"\n")


def publish(order: dict[str, Any]) -> None:
    """Copy all packets to where the order says."""
    if order["folder"]:
        Path(order["folder"]).mkdir(parents=True, exist_ok=True)
    if order["format"] == "hls":
        forget_parts(Path(order["url"]))
    fast = {"probesize": "32", "analyzeduration": "0", "fpsprobesize": "0"}
    with (
        av.open("pipe:0", "r", format="nut", container_options=fast) as source,
        av.open(
            order["url"], "w", format=order["format"], container_options=order["options"]
        ) as output,
    ):
        copies = copies_of(source, output, order["holds"])
        output.start_encoding()
        tell("live")
        packet: Any
        looked, first = -LOOK_SECONDS, None
        for packet in source.demux():
            if packet.size and packet.stream_index in copies:
                if order["most_seconds"]:
                    first = packet.pts * packet.time_base if first is None else first
                    begin_at(packet, first)
                    if packet.pts * packet.time_base > order["most_seconds"]:
                        return tell("error begun anew, as its time stamps would end")
                packet.stream = copies[packet.stream_index]
                output.mux_one(packet)
            if order["keep"] and time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                clean(Path(order["folder"]), order["keep"])


def begin_at(packet: Any, seconds: Fraction) -> None:
    """Count a packet's time from `seconds`."""
    packet.pts -= round(seconds / packet.time_base)
    packet.dts = packet.pts  # there are no B-frames


def forget_parts(playlist: Path) -> None:
    """Delete what an earlier process has left: FFmpeg deletes only the parts that it wrote itself.

    Those that the playlist names stay for who reads them now, until the next start.
    """
    named = playlist.read_text(encoding="utf-8") if playlist.exists() else ""
    for part in playlist.parent.glob("*.ts"):
        ours = re.fullmatch(re.escape(playlist.stem) + r"\d+", part.stem)
        if ours and part.name not in named:
            part.unlink(missing_ok=True)


def copies_of(source: Any, output: Any, holds: list[str] | None) -> dict[int, Any]:
    """Add to the output what it can hold; return its streams by their number in the source.

    `holds` names sound that comes out again. FFmpeg's MP4 would not begin with other sound, and
    MPEG-TS hide it as data.
    """
    copies = {}
    for stream in source.streams:
        try:
            if stream.type == "audio" and (name := codec_of(stream)) not in (holds or {name}):
                raise ValueError(f"it cannot hold {name}; have the camera send AAC")
            copies[stream.index] = output.add_stream_from_template(stream, opaque=True)
        except ValueError as exc:
            if stream.type == "video":
                raise
            tell(f"error the sound is left out: {exc}")
    return copies


def codec_of(stream: Any) -> str:
    """Return FFmpeg's name of a stream's codec."""
    context = stream.codec_context
    return context.codec.canonical_name if context else "unknown"


def clean(folder: Path, keep: float) -> None:
    """Delete the oldest recordings until they take at most `keep` bytes; the newest stays."""
    files = sorted(f for f in folder.iterdir() if RECORDING.fullmatch(f.name))
    sizes = [f.stat().st_size for f in files]
    total = sum(sizes)
    for file, size in list(zip(files, sizes, strict=True))[:-1]:
        if total <= keep:
            return
        file.unlink()
        total -= size


if __name__ == "__main__":
    main()
