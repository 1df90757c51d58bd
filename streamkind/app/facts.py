"""Facts of a file that the page shows before it is enhanced: length, size, luma, thumbnail."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Generic, TypeVar

import av
import cv2
import numpy as np

from streamkind.errors import InputError
from streamkind.live.web.watch import jpeg_of
from streamkind.video.codecs import take_codec
from streamkind.video.demux import PacketReader, main_video, open_input, read_only, seconds_of
from streamkind.video.format import HD
from streamkind.video.frames import Pixels
from streamkind.video.upright import Turns

SAMPLES = 3
"""Number of moments of a file that are decoded."""
THUMBNAIL_WIDTH = 320
"""Width of a thumbnail, in pixels."""
MOST_KEPT = 512
"""Number of files whose facts are cached."""
MOST_TRIED = 200
"""Largest number of packets that are decoded to get one frame."""

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Facts:
    """The known facts of a file."""

    width: int
    height: int
    seconds: float
    """Length in seconds; 0 if the file does not state it."""
    fps: float
    """Frames per second on average; 0 if the file does not state it."""
    frames: int
    """Number of frames, perhaps estimated; 0 if unknown."""
    codec: str
    luma: float
    """Mean luma of some frames, in [0, 1]."""


@dataclass(frozen=True)
class FileLook:
    """Facts and thumbnail of a file."""

    facts: Facts
    thumbnail: bytes
    """Thumbnail as JPEG, at most `THUMBNAIL_WIDTH` wide."""


class LruCache(Generic[Key, Value]):
    """A cache of the values that were used last (LRU). May be used from any thread."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._values: OrderedDict[Key, Future[Value]] = OrderedDict()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """Return the value of a key. If it is not there, call `make`; other threads wait for it."""
        with self._lock:
            known = key in self._values
            value = self._values.setdefault(key, Future())
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        if not known:
            try:
                value.set_result(make())
            except BaseException as exc:
                with self._lock:
                    self._values.pop(key, None)  # the next thread that asks tries again
                value.set_exception(exc)
        return value.result()


FileKey = tuple[str, int, int]
"""Path, time of change in nanoseconds, and size of a file. A changed file has another key."""


def key_of(path: Path) -> FileKey:
    """Return the key of a file. Raises InputError if the file cannot be read."""
    try:
        told = path.stat()
    except OSError as exc:
        raise InputError(
            f"{path.name}: cannot be read ({exc.strerror}); open its folder again"
        ) from exc
    return str(path), told.st_mtime_ns, told.st_size


class FactsCache:
    """A cache of facts and thumbnails. Each file is decoded once. May be used from any thread."""

    def __init__(self) -> None:
        self._known: LruCache[FileKey, FileLook] = LruCache(MOST_KEPT)

    def get(self, path: Path) -> FileLook:
        """Return facts and thumbnail of a file. Raises InputError."""
        return self._known.get(key_of(path), lambda: look_at(path))


def look_at(path: Path) -> FileLook:
    """Decode a few frames of a file. Raises InputError."""
    with open_input(path) as container:
        stream = main_video(container, path)
        read_only(container, [stream])
        stream.thread_type = "AUTO"
        seconds = float(seconds_of(stream, container))
        rate = float(stream.average_rate or 0)
        start = float((stream.start_time or 0) * (stream.time_base or Fraction(0)))
        codec = stream.codec_context.name
        first = frame_near(container, stream, None)
        if first is None:
            raise InputError(
                f"{path.name}: no frame can be decoded; check whether the file is complete"
            )
        turns, small = Turns(), []
        turned = turns(first)  # the rotation is in all keyframes, or only in the first frame
        size = first.width, first.height
        for number in range(SAMPLES if seconds else 1):
            at = start + seconds * (number + 0.5) / SAMPLES
            frame = frame_near(container, stream, at) if seconds else first
            if frame is not None:
                small.append(turns(frame).apply(thumbnail_of(frame)))
        small = small or [turned.apply(thumbnail_of(first))]
        counted = stream.frames
    if turned.transpose:
        size = size[1], size[0]
    luma = float(np.mean([cv2.cvtColor(s, cv2.COLOR_RGB2GRAY).mean() for s in small])) / 255
    frames = counted or round(seconds * rate)
    facts = Facts(*size, seconds, rate, frames, codec, luma)
    return FileLook(facts, jpeg_of(None, small[len(small) // 2], HD, THUMBNAIL_WIDTH))


def frame_near(
    container: av.container.InputContainer, stream: av.VideoStream, at: float | None
) -> av.VideoFrame | None:
    """Return the first frame that can be decoded from the key frame before `at`, in seconds."""
    if at is not None:
        with contextlib.suppress(av.FFmpegError):
            container.seek(round(at * 1_000_000))
    for packet in chain(islice(PacketReader(container, [stream]), MOST_TRIED), [None]):
        if packet is not None and take_codec(packet):
            continue  # it needs another decoder
        with contextlib.suppress(av.FFmpegError):
            for frame in stream.decode(packet):
                return frame
    return None


def thumbnail_of(frame: av.VideoFrame) -> Pixels:
    """Return a small RGB picture of a frame, (h, w, 3)."""
    width = min(THUMBNAIL_WIDTH, frame.width)
    height = max(1, round(frame.height * width / frame.width))
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
    return np.asarray(small.to_ndarray(), np.uint8)
