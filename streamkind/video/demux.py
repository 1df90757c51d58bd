"""Opens containers and reads their packets. Explains FFmpeg's errors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from streamkind.errors import InputError, UsageError
from streamkind.video.bridge import Bridge, may_step
from streamkind.video.codecs import Codecs, mark_codec
from streamkind.video.fragments import readable
from streamkind.video.pipe_input import PipeInput
from streamkind.video.storage import is_local, open_remote
from streamkind.video.unreadable import encrypted, why_unreadable

RAW_SUFFIXES = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mos"}
    | {".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw"}
    | {".x3f"}
)
"""Endings of raw photos. FFmpeg reads none of them, or only a small preview."""
PICTURE_SUFFIXES = frozenset(
    {".cin", ".dds", ".dpx", ".exr", ".fits", ".hdr", ".icns", ".ico", ".j2c", ".j2k", ".jls"}
    | {".jpc", ".jxl", ".jxr", ".pam", ".pbm", ".pcx", ".pfm", ".psb", ".psd", ".qoi", ".ras"}
    | {".sgi", ".xbm", ".xcf", ".xpm"}
)
"""Endings of pictures that are not read. FFmpeg would open some of them as videos of one frame."""
_GIVE_UP_AFTER = 32
"""Number of read errors in a row after which reading ends. Good packets may follow fewer errors."""

_MARKS = ("epg", "scte_35")
"""FFmpeg's names of data in broadcasts that is never copied. It may begin before the video. Then
its start does not count as the start of the file."""
_PRIMING_SECONDS = Fraction(1, 10)
"""Longest time before 0 at which audio may begin, in seconds. Such samples come from the start of
its encoder (priming), and players skip them."""
_SAME = Fraction(2, 10**6)
"""Difference of equal times, in seconds: FFmpeg rounds the start of a file to microseconds."""
_OPTIONS = {"correct_ts_overflow": "0", "merge_pmt_versions": "1"}
"""Options of FFmpeg. By default, FFmpeg treats every step back as a wrap of MPEG's clock. The first
option turns that off, because `Bridge` distinguishes steps from wraps. With the second one, streams
of MPEG-TS stay the same if their PID changes. Without it they would be new streams, which PyAV
ignores."""

_THOROUGH = {"probesize": "1000000000", "analyzeduration": "3600000000"}
"""Number of bytes and of microseconds that FFmpeg may read to identify each stream, because audio
may begin late."""

_LOOKED_AT = 1000
"""Number of packets at the beginning of a file that are read to decide on its streams."""
_LOOKED_AT_IN_PIPE = 60
"""The same for an input that comes through a pipe. They are about one second of video and audio."""
_KEPT = 8
"""Number of packets of each stream that are kept to decide on it."""


def open_input(
    path: Path, *, hwaccel: HWAccel | None = None, thorough: bool = False
) -> InputContainer:
    """Open a container for reading. Raises InputError with the reason if that fails.

    Decoding is in software if `hwaccel` finds no device. With `thorough`, FFmpeg reads as much as
    it needs to identify every stream.
    """
    options = _OPTIONS | _THOROUGH if thorough else _OPTIONS
    check_readable(path)
    try:
        # surrogateescape keeps the bytes of metadata in an unknown encoding.
        name = readable(path) if is_local(path) else open_remote(path)
        if hwaccel is not None:
            with contextlib.suppress(av.FFmpegError):
                return av.open(
                    name,
                    "r",
                    metadata_errors="surrogateescape",
                    container_options=options,
                    hwaccel=hwaccel,
                )
        return av.open(name, "r", metadata_errors="surrogateescape", container_options=options)
    except (av.FFmpegError, ValueError) as exc:
        raise InputError(why_unreadable(path, exc)) from exc


def check_readable(path: Path) -> None:
    """Raise InputError unless `path` is a regular, non-empty file that may be read."""
    if path.suffix.lower() in RAW_SUFFIXES:
        raise InputError(
            f"{path}: a raw photo ({path.suffix}); expected a developed one. Make a TIFF of 16 bits"
            " or a JPEG of it with a raw converter, such as darktable"
        )
    if path.suffix.lower() in PICTURE_SUFFIXES:
        raise InputError(
            f"{path}: a picture of a kind that is not read ({path.suffix}); expected e.g. PNG, TIFF"
            f" or JPEG. Convert it first: ffmpeg -i {path.name} {path.stem}.png"
        )
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file; check the path")
        if not path.is_file():
            raise InputError(f"{path}: not a regular file; expected a video or an image")
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{path}: the file is empty; copy it again from its source")
    except OSError as exc:
        raise InputError(
            f"{path}: cannot be read ({exc.strerror}); check its permissions and its disk"
        ) from exc


def is_picture(stream: Any) -> bool:
    """Return whether a video stream is cover art or thumbnails of chapters."""
    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def main_video(container: InputContainer, path: Path, wanted: int | None = None) -> VideoStream:
    """Return the video stream to enhance: number `wanted`, or the default one. Never cover art.

    Raises InputError if there is no video, and UsageError if `wanted` is no video.
    """
    videos = [stream for stream in container.streams.video if not is_picture(stream)]
    if not videos:
        named = ("cover art" if is_picture(s) else s.type for s in container.streams)
        kinds = ", ".join(sorted(set(named))) or "an empty index"
        raise InputError(f"{path}: no video in it, only {kinds}; expected footage")
    stream = next((s for s in videos if s.disposition & Disposition.default), videos[0])
    if wanted is not None:
        known = {s.index: s for s in videos}
        if wanted not in known:
            told = ", ".join(map(str, known))
            raise UsageError(f"video-stream={wanted}: {path} has video in {told}; choose one")
        stream = known[wanted]
    # FFmpeg keeps the codec tag of an encrypted MP4 track, and tells the key of a Matroska track.
    context = stream.codec_context
    drm = context is not None and context.codec_tag in ("encv", "drmi")
    if drm or "enc_key_id" in stream.metadata:
        raise InputError(encrypted(path))
    if stream.codec_context is None:
        raise InputError(
            f"{path}: no decoder for its video; convert it first: ffmpeg -i IN -crf 16 OUT.mp4"
        )
    return stream


def tagged_seconds(stream: VideoStream) -> Fraction | None:
    """Return the end of a Matroska stream by its tag DURATION, in seconds; None without the tag."""
    tag = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    if tag is None:
        return None
    hours, minutes, seconds = tag.groups()
    return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)


def seconds_of(stream: VideoStream, container: InputContainer) -> Fraction:
    """Return the length of a video by its header, in seconds; 0 if the header does not have it."""
    if stream.duration:
        return stream.duration * (stream.time_base or Fraction(1, 90_000))
    return tagged_seconds(stream) or Fraction(container.duration or 0, 1_000_000)


def announced_frames(stream: VideoStream, container: InputContainer) -> int:
    """Return the number of frames by the header; 0 if the header does not have it.

    Of an MP4 with an edit list, FFmpeg reads only the frames in the list and their references.
    """
    if container.format.name == "dv":  # FFmpeg gives its ticks as the number of frames
        return 0
    if "mp4" in container.format.name:
        return min(stream.frames, len(stream.index_entries))
    return stream.frames


def origin_of(container: InputContainer) -> Fraction:
    """Return the time that becomes 0 in the output, in seconds: the same as in `ffmpeg -c copy`."""
    told = Fraction(container.start_time or 0, 1_000_000)
    kept: list[Fraction] = []
    dropped: list[Fraction] = []
    for stream in container.streams:
        if stream.start_time and stream.time_base:
            start = stream.start_time * stream.time_base
            name = getattr(stream, "name", "")  # PyAV has none for a type that FFmpeg does not know
            (dropped if name in _MARKS else kept).append(start)
    if may_step(container) and kept and any(abs(start - told) <= _SAME for start in dropped):
        told = min(kept)
    start = min([told, *kept, *dropped], key=lambda t: (abs(t - told) > _SAME, t == told))
    return Fraction(0) if -_PRIMING_SECONDS <= start < 0 else start


def read_only(container: InputContainer, wanted: Sequence[Any]) -> None:
    """Let the demuxer skip all other streams, except those that `Bridge` needs to find steps."""
    indices = {stream.index for stream in wanted}
    stepping = may_step(container)
    for stream in container.streams:
        clocked = stepping and stream.type in ("video", "audio") and not is_picture(stream)
        if stream.index not in indices and not clocked:
            stream.discard = Discard.all


class PacketReader:
    """Reads the packets of a file, and continues after errors in a damaged file."""

    def __init__(self, container: InputContainer, streams: Sequence[Any]) -> None:
        """Read the packets of `streams` in the order of the file."""
        self.errors = 0
        self.bridge = Bridge() if may_step(container) else None
        """Gets all packets of the streams that are not discarded. None if the clock cannot step."""
        self._codecs = Codecs() if self.bridge is not None else None
        self._container = container
        self._streams = streams
        self._wanted = {stream.index for stream in streams}

    def __iter__(self) -> Iterator[av.Packet[Any]]:
        """Yield packets. After `_GIVE_UP_AFTER` errors in a row, reading ends."""
        if self.bridge is None:
            yield from self._read(self._streams)
            return
        for packet in self._read([s for s in self._container.streams if s.discard != Discard.all]):
            yield from self._of(self.bridge.feed(packet))
        yield from self._of(self.bridge.finish())

    def _of(self, packets: Sequence[av.Packet[Any]]) -> list[av.Packet[Any]]:
        return [packet for packet in packets if packet.stream_index in self._wanted]

    def _read(self, streams: Sequence[Any]) -> Iterator[av.Packet[Any]]:
        in_a_row = 0
        while in_a_row < _GIVE_UP_AFTER:
            try:
                for packet in self._container.demux(*streams):
                    in_a_row = 0
                    if packet.size:  # at the end, PyAV returns an empty packet for each stream
                        if self._codecs and (codec := self._codecs(packet.stream)):
                            mark_codec(packet, codec)
                        yield packet
                return
            except (av.FFmpegError, IndexError):  # IndexError: a stream that was not announced
                self.errors += 1
                in_a_row += 1


def first_packets(path: Path) -> dict[int, list[av.Packet[Any]]]:
    """Return the first packets of each stream of a file, by the index of the stream."""
    found: dict[int, list[av.Packet[Any]]] = {}
    most = _LOOKED_AT_IN_PIPE if isinstance(path, PipeInput) else _LOOKED_AT
    with open_input(path) as container:
        for packet in islice(PacketReader(container, list(container.streams)), most):
            kept = found.setdefault(packet.stream_index, [])
            if len(kept) < _KEPT:
                kept.append(packet)
    return found
