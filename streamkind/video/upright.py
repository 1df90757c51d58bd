"""Reads frames upright and at one size, also if rotation, size or colour tags change in a video."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np

from streamkind.video.color import Reader, YuvWriter, read_tags
from streamkind.video.format import ColorTags, VideoFormat
from streamkind.video.frames import DEEP, Pixels, PixFmt
from streamkind.video.side_data import display_matrix
from streamkind.video.tonemap import tone_note


@dataclass(frozen=True, slots=True)
class Orientation:
    """How stored pixels are turned upright: one of the eight orientations of a display matrix."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def apply(self, pixels: Pixels) -> Pixels:
        """Return upright pixels, in contiguous memory."""
        if self.transpose:
            pixels = pixels.transpose(1, 0, 2)
        pixels = pixels[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        return np.ascontiguousarray(pixels)


def read_orientation(frame: av.VideoFrame) -> Orientation:
    """Read the orientation of a frame."""
    return _orientation_of(display_matrix(frame))


def _orientation_of(data: bytes | None) -> Orientation:
    """Convert a display matrix, x' = a x + c y, y' = b x + d y; None is upright."""
    if data is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transpose=True, flip_x=c < 0, flip_y=b < 0)
    return Orientation(flip_x=a < 0, flip_y=d < 0)


class Turns:
    """Gives each frame of a video its orientation. H.264 and HEVC state it only in keyframes."""

    def __init__(self) -> None:
        """Begin with upright frames."""
        self.last = Orientation()
        """The orientation of the last frame."""

    def __call__(self, frame: av.VideoFrame) -> Orientation:
        """Return the orientation of the next frame."""
        data = display_matrix(frame)
        if frame.key_frame or data is not None:
            self.last = _orientation_of(data)
        return self.last


_Looks = tuple[tuple[int, int], Orientation, ColorTags]
"""Size of a frame as stored, its orientation and its colour tags."""


def _looks(raw: av.VideoFrame, turn: Orientation) -> _Looks:
    return (raw.width, raw.height), turn, read_tags(raw, [])


class UprightReader:
    """Reads frames as pixels of one format. Use it from one thread only."""

    def __init__(self, first: av.VideoFrame, form: VideoFormat, pix_fmt: PixFmt) -> None:
        """Deliver upright frames of the size of `form`. YUV gets the tags `form.color`.

        `first` is the first frame of the video. If it must be turned, all frames are RGB.
        """
        self.notes: list[str] = []
        """Messages on what changes within the video."""
        self._form = form
        self._turns = Turns()
        self._rgb: PixFmt = DEEP["rgb24"] if pix_fmt in DEEP.values() else "rgb24"
        self._pix_fmt = pix_fmt if self.look_at(first) == Orientation() else self._rgb
        self._planes = YuvWriter(form.color, pix_fmt)
        self._seen = _looks(first, self._turns.last)
        self._read = self._reader(*self._seen[1:])

    def look_at(self, raw: av.VideoFrame) -> Orientation:
        """Return the orientation of the next frame. Call it for frames that are not read, too."""
        return self._turns(raw)

    def __call__(self, raw: av.VideoFrame) -> Pixels:
        """Return the pixels of a frame. The caller may keep the array."""
        turn = self.look_at(raw)
        if (looks := _looks(raw, turn)) != self._seen:
            self._change(looks)
        pixels = self._read(raw)
        if turn == Orientation():
            return pixels
        upright = turn.apply(pixels)  # only RGB can be turned
        if self._pix_fmt == self._rgb:
            return upright
        return np.ascontiguousarray(self._planes(upright).to_ndarray())

    def _change(self, looks: _Looks) -> None:
        """Make a reader for frames that differ from those before. Add a message about it."""
        (size, turn, tags), before = looks, self._seen
        known = {"size": size != before[0], "rotation": turn != before[1]}
        if changed := " and ".join(name for name, differs in known.items() if differs):
            self._note(
                f"the picture's {changed} changes; all frames are turned upright and scaled to"
                f" {self._form.width}x{self._form.height}"
            )
        if tags != before[2]:
            self._note("the colour tags change; all frames are converted to those of the first")
            for note in tone_note(tags):
                self._note(note)
        self._seen = looks
        self._read = self._reader(turn, tags)

    def _reader(self, turn: Orientation, tags: ColorTags) -> Reader:
        size = self._form.width, self._form.height
        pix_fmt = self._pix_fmt if turn == Orientation() else self._rgb
        width, height = size[::-1] if turn.transpose else size
        return Reader(tags, width, height, pix_fmt, made=self._form.color)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
