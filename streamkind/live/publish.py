"""The process behind one output: reads NUT from stdin and copies each packet to the output.

FFmpeg blocks Python while it connects and while it closes an output, without a time limit. In the
process of the cameras, one server that hangs would stop all cameras. This process can be killed.
The first line of stdin is the order (`order.py`) as JSON, so that no password is in the arguments.
This file is run as a script. It imports only PyAV and the standard library, to need little memory.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import shutil
import signal
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

RECORDING = re.compile(r"\d{8}-\d{6}Z?(-\d+)?\.(mkv|mp4)")
MODE = 0o640  # of recordings: the group may read them, others may not
REFUSED = av.error.InvalidDataError, av.error.ArgumentError, av.error.PatchWelcomeError  # damaged
WRITE = 2  # FFmpeg's AVIO_FLAG_WRITE
LOOK_SECONDS = 5.0  # seconds between two checks of the folder of recordings


def main() -> None:
    """Publish until stdin ends. On failure write the reason to stdout and exit with code 1."""
    # Ctrl-C and systemd also signal this process, which must first write all received packets.
    for name in {"SIGINT", "SIGTERM", "SIGBREAK"} & set(dir(signal)):  # SIGBREAK: Windows
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    av.logging.set_level(None)
    try:
        publish(json.loads(read_line(0)))
    except Exception as exc:  # the parent reports the reason
        tell("failed " + (getattr(exc, "strerror", None) or str(exc) or type(exc).__name__))
        sys.exit(1)


def read_line(file: int) -> bytes:
    """Read up to the end of a line and not one byte more: FFmpeg reads the rest."""
    line = b""
    while (byte := os.read(file, 1)) not in (b"", b"\n"):
        line += byte
    return line


def tell(text: str) -> None:
    """Write one line to the parent."""
    os.write(1, " ".join(text.split()).encode() + b"\n")


def publish(order: dict[str, Any]) -> None:
    """Copy all packets to the output of the order."""
    if order["folder"]:
        Path(order["folder"]).mkdir(parents=True, exist_ok=True)
    if order["format"] == "hls":
        forget_segments(Path(order["url"]))
    fast = {"probesize": "32", "analyzeduration": "0", "fpsprobesize": "0"}
    with av.open("pipe:0", "r", format="nut", container_options=fast) as source:
        kind = Recordings if order["segment_seconds"] else Destination
        with (Hls if order["format"] == "hls" else kind)(order, source) as output:
            tell("live")
            for packet in source.demux():
                if packet.size and packet.stream_index in output.copies:
                    output.write(packet)


class Destination(contextlib.AbstractContextManager["Destination"]):
    """An output that gets all packets in one stream, such as a server."""

    io_open: Any = None  # function that opens files in place of FFmpeg; None if FFmpeg opens them
    refused = False  # whether the muxer has refused a packet of sound

    def __init__(self, order: dict[str, Any], source: Any) -> None:
        self.order, self.source = order, source
        self.first: Fraction | None = None  # time of the first packet, in seconds
        self.open(order["url"])

    def __exit__(self, *_: object) -> None:
        """Finish the output."""
        self.output.close()

    def open(self, url: str) -> None:
        """Open `url` with the streams that its format can hold."""
        how = {"container_options": self.order["options"], "io_open": self.io_open}
        self.output: Any = av.open(url, "w", format=self.order["format"], **how)
        self.copies = copies_of(self.source, self.output, self.order)
        self.output.start_encoding()

    def write(self, packet: Any) -> None:
        """Write a packet. Raises ValueError shortly before the time stamps of RTMP overflow."""
        if most := self.order["most_seconds"]:
            self.first = packet.pts * packet.time_base if self.first is None else self.first
            begin_at(packet, self.first)
            if packet.pts * packet.time_base > most:
                raise ValueError("RTMP's time stamps would overflow; the output is opened again")
        self.mux(packet)

    def mux(self, packet: Any) -> None:
        """Write a packet to its stream. Sound is left out if FFmpeg finds it damaged."""
        stream = packet.stream = self.copies[packet.stream_index]
        try:
            self.output.mux_one(packet)
        except REFUSED:
            if stream.type == "video":
                raise
            if not self.refused:
                tell("error some packets of sound are damaged; they are left out")
            self.refused = True


class Hls(Destination):
    """HLS. FFmpeg would list segments that it could not write, so it writes through `HlsFile`."""

    failed: OSError | None = None  # why writing failed; nothing is listed after that
    size = 0  # bytes of the newest file

    def __exit__(self, *_: object) -> None:
        """Finish the last segment. Without packets there is none, and nothing is listed."""
        with contextlib.nullcontext() if self.size or self.failed else contextlib.suppress(OSError):
            super().__exit__()

    def io_open(self, url: str, flags: int, options: dict[str, str]) -> Any:
        """Open a segment or the playlist. FFmpeg opens the playlist to list a finished segment."""
        if not flags & WRITE:  # the existing playlist, which is continued
            return open(url, "rb") if Path(url).exists() else io.BytesIO()
        if self.failed or (".m3u8" in Path(url).suffixes and not self.size):
            raise self.failed or OSError("a segment without packets is not listed")
        self.size = 0
        return HlsFile(url, self)


class HlsFile(io.FileIO):
    """A segment or playlist. It counts the bytes written, and stores why writing failed."""

    def __init__(self, url: str, hls: Hls) -> None:
        super().__init__(url, "w")
        self._hls = hls

    def write(self, data: Any) -> int:
        """Write all data. Raises OSError."""
        done = 0
        try:
            while done < len(data):
                done += super().write(data[done:])
        except OSError as exc:
            told = f"{Path(str(self.name)).stem}: {exc.strerror}; check the space on the disk"
            self._hls.failed = OSError(exc.errno, told)
            raise self._hls.failed from exc
        self._hls.size += done
        return done


class Recordings(Destination):
    """Recordings in a folder. Each begins at a keyframe with time 0; none is ever overwritten."""

    def __init__(self, order: dict[str, Any], source: Any) -> None:
        self._looked = time.monotonic()
        self._clean(order, None)
        super().__init__(order, source)

    def __exit__(self, *_: object) -> None:
        """Finish the last file. Remove it if it is empty, as on a full disk."""
        try:
            super().__exit__()
        finally:
            self._leave_no_empty_file()

    def _leave_no_empty_file(self) -> None:
        if self._path.exists() and not self._path.stat().st_size:
            self._path.unlink(missing_ok=True)

    def open(self, url: str) -> None:
        """Begin a new file in the folder `url`."""
        self._path = new_file(Path(url), self.order["suffix"])
        self.first = None
        try:
            super().open(str(self._path).replace("%", "%%"))  # a name, not a pattern
        except BaseException:
            self._leave_no_empty_file()
            raise

    def write(self, packet: Any) -> None:
        """Write a packet. A keyframe after `segment_seconds` begins the next file."""
        seconds = packet.pts * packet.time_base
        key = packet.stream.type == "video" and packet.is_keyframe
        if self.first is not None and key and seconds - self.first >= self.order["segment_seconds"]:
            self.output.close()
            self.open(self.order["url"])
        self.first = seconds if self.first is None else self.first
        begin_at(packet, self.first)
        if packet.pts >= 0:  # sound may come from before the keyframe
            self.mux(packet)
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            if not self._path.exists():
                raise OSError(f"{self._path.name} was deleted or moved; a new file is begun")
            self._clean(self.order, self._path)

    @staticmethod
    def _clean(order: dict[str, Any], path: Path | None) -> None:
        try:
            folder, keep = Path(order["folder"]), order["keep"]
            clean(folder, keep, days=order["keep_days"], free=order["keep_free"], writing=path)
        except OSError as exc:  # recording continues even if old files cannot be deleted
            tell(f"error old recordings cannot be deleted: {exc.strerror or exc}")


def new_file(folder: Path, suffix: str) -> Path:
    """Create an empty file named by the present second, with a number if the name is taken."""
    name = time.strftime("%Y%m%d-%H%M%SZ", time.gmtime())
    for number in itertools.count(1):
        path = folder / f"{name}{f'-{number}' if number > 1 else ''}.{suffix}"
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, MODE))
            break
    return path


def begin_at(packet: Any, seconds: Fraction) -> None:
    """Change the time stamps of a packet so that `seconds` is 0."""
    packet.pts -= round(seconds / packet.time_base)
    packet.dts = packet.pts  # there are no B-frames


def forget_segments(playlist: Path) -> None:
    """Delete the segments of an earlier process. FFmpeg deletes only those that it wrote itself.

    Segments in the playlist stay until the next start, because viewers may be reading them. Their
    numbers are Unix times, of ten digits: `x11796118230.ts` belongs to `x1.m3u8`, not to `x.m3u8`.
    """
    named = playlist.read_bytes().decode(errors="replace") if playlist.exists() else ""
    for segment in playlist.parent.glob("*.ts*"):
        ours = re.fullmatch(re.escape(playlist.stem) + r"\d{10}\.ts(\.tmp)?", segment.name)
        if ours and segment.name not in named:
            segment.unlink(missing_ok=True)


def copies_of(source: Any, output: Any, order: dict[str, Any]) -> dict[int, Any]:
    """Add the streams that the output can hold; return them by their index in the source.

    `holds` in the order names the codecs of sound that players can read. With other codecs,
    FFmpeg's muxer of MP4 would not start, and that of MPEG-TS would store the sound as data.
    """
    copies = {}
    holds, container = order["holds"], order["container"]
    for stream in source.streams:
        try:
            context = stream.codec_context
            name = context.codec.canonical_name if context else "unknown"
            if stream.type == "audio" and name not in (holds or {name}):
                raise ValueError(f"{container} cannot hold {name}; have the camera send AAC")
            copies[stream.index] = output.add_stream_from_template(stream, opaque=True)
        except ValueError as exc:
            if stream.type == "video":
                raise
            tell(f"error the sound is left out: {exc}")
    return copies


def clean(
    folder: Path, keep: float, *, days: float = 0.0, free: float = 0.0, writing: Path | None = None
) -> None:
    """Delete the oldest recordings, but never the newest one nor the one that is being written.

    `keep` is their largest total size in bytes, `days` their largest age, and `free` the number of
    bytes that they leave free on the disk; 0 is no limit. The age counts from the last write. A
    time in the future (of a wrong clock) counts as the oldest. Raises OSError at the end.
    """
    now = time.time()
    found = [(f, f.lstat()) for f in folder.iterdir() if RECORDING.fullmatch(f.name)]
    files = sorted(found, key=lambda file: (file[1].st_mtime <= now + 1, file[1].st_mtime))
    total = sum(told.st_size for _, told in files)
    left = shutil.disk_usage(folder).free
    failed: OSError | None = None
    for file, told in files[:-1]:
        old = 0 < days * 86400 < now - told.st_mtime
        if file == writing or not (old or 0 < keep < total or left < free):
            continue
        try:
            file.unlink(missing_ok=True)
        except OSError as exc:
            failed = exc
        else:
            total -= told.st_size
            left += getattr(told, "st_blocks", 0) * 512 or told.st_size  # Windows tells no blocks
    if failed:
        raise failed


if __name__ == "__main__":
    main()
