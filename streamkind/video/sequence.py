"""Reads animations, TIFFs of several pages, and folders of images as videos."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from PIL import Image, ImageOps

from streamkind.errors import InputError, UsageError
from streamkind.video.demux import check_readable
from streamkind.video.format import VIDEO_SUFFIXES, ColorTags, VideoFormat
from streamkind.video.frames import Frame, Pixels
from streamkind.video.image_data import rgb_of, too_large
from streamkind.video.image_files import IMAGE_SUFFIXES, read_still
from streamkind.video.images import list_images
from streamkind.video.still_tags import pages_of
from streamkind.video.storage import as_path, is_folder
from streamkind.video.timeline import rate_of

USUAL_FPS = 25.0
"""Default rate of a folder of images that becomes a video, in frames per second. Chosen by hand."""
PAGE_SECONDS = 1.0
"""Duration of a page of a TIFF, in seconds: TIFF stores none. Chosen by hand."""
_UNTOLD_SECONDS = 0.1
"""Duration of a frame of an animation that stores none, in seconds: the same as in browsers."""


@dataclass(frozen=True, slots=True)
class _Picture:
    pixels: Pixels
    seconds: Fraction


class SequenceSource:
    """A video of the pictures in one file, or of a folder's images with `fps` frames per second."""

    still = False

    def __init__(
        self,
        path: Path,
        *,
        fps: float | None = None,
        start: float = 0.0,
        duration: float | None = None,
    ) -> None:
        """Read the first picture. Raises InputError, and UsageError for a rate that is invalid."""
        self.path = path
        self.lost = 0
        self.plays = 0
        """Number of times that an animation is played; 0: without end."""
        self.warnings: list[str] = []
        # 2.4 means 12/5, not the float's 2.39999999999999991
        self._start = Fraction(start).limit_denominator(1_000_000)
        length = None if duration is None else Fraction(duration).limit_denominator(1_000_000)
        self._end = math.inf if length is None else self._start + length
        self._taken = False
        if path.is_dir():
            files = list_images(path)
            rate = rate_of(USUAL_FPS if fps is None else fps)
            count, pictures = len(files), self._of_folder(files, 1 / rate)
        else:
            check_readable(path)
            count, pictures = self._look(), self._of_file(None if fps is None else 1 / rate_of(fps))
        self._frames = self._timed(pictures)
        self._first = next(self._frames, None)
        if self._first is None:
            raise InputError(
                f"{path}: no picture from start={start:g} s on can be read; choose an earlier"
                " start, or check the files"
            )
        seconds = self._first.duration * self._first.time_base
        height, width = self._first.data.shape[:2]
        self.format = VideoFormat(
            width=width,
            height=height,
            time_base=self._first.time_base,
            frame_rate=(1 / seconds).limit_denominator(1001) if seconds else None,
            sample_aspect_ratio=Fraction(1),
            color=ColorTags(range=1, matrix=1 if height >= 720 else 6),
            pix_fmt="rgb24",
            frames=count if not start and duration is None else None,
            duration=None,
        )

    def _look(self) -> int:
        """Return the number of pictures. Note how often they are played and what is left out."""
        try:
            with Image.open(self.path) as image:
                # For pages, the sink tells this.
                if image.format != "TIFF" and {"exif", "icc_profile", "xmp"} & image.info.keys():
                    self._note(f"{self.path.name}: its EXIF, XMP and colour profile are left out")
                self.plays = _plays_of(image)
                return len(pages_of(image))
        except Exception as exc:  # for damaged files, decoders raise any exception
            if why := too_large(exc):
                raise InputError(f"{self.path}: its pictures are {why}") from exc
            raise InputError(
                f"{self.path}: cannot be read as an animation ({exc}); copy it again from its"
                " source"
            ) from exc

    def _of_file(self, seconds: Fraction | None) -> Iterator[_Picture]:
        with Image.open(self.path) as image:
            for number in pages_of(image):
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        image.seek(number)
                        image.load()
                        picture = _Picture(self._flat(image), seconds or self._seconds(image))
                except Exception as exc:  # for damaged files, decoders raise any exception
                    self.lost += 1
                    why = too_large(exc) or f"damaged ({exc})"
                    self._note(f"picture {number} of {self.path.name} is {why}")
                    continue
                yield picture

    def _seconds(self, image: Any) -> Fraction:
        if image.format == "TIFF":
            return Fraction(PAGE_SECONDS)
        told = Fraction(image.info.get("duration") or 0).limit_denominator(1000) / 1000
        return told or Fraction(_UNTOLD_SECONDS).limit_denominator(1000)

    def _flat(self, image: Any) -> Pixels:
        upright = ImageOps.exif_transpose(image)
        if upright.has_transparency_data:
            rgba = upright.convert("RGBA")
            if np.asarray(rgba.getchannel("A")).min() < 255:
                self._note(f"{self.path.name}: its transparency is left out; it becomes black")
                black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
                upright = Image.alpha_composite(black, rgba)
        if upright.mode[0] in "IF":
            self._note(f"{self.path.name}: it has more than 8 bits, but is read in 8")
        return rgb_of(upright)

    def _of_folder(self, files: list[Path], seconds: Fraction) -> Iterator[_Picture]:
        for file in files:
            try:
                yield _Picture(read_still(file).rgb, seconds)
            except InputError as exc:
                self.lost += 1
                self.warnings.append(f"skipped {exc}")

    def _note(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def _timed(self, pictures: Iterator[_Picture]) -> Iterator[Frame]:
        at, base = Fraction(0), Fraction(1, 1000)
        origin: Fraction | None = None
        size: tuple[int, int] | None = None
        for picture in pictures:
            ticks = picture.seconds.denominator  # such as those of 1001 / 30000 s
            if base.denominator % ticks and origin is None:
                # Later pictures of an animation may be shown for any number of milliseconds.
                base = Fraction(1, ticks if self.path.is_dir() else math.lcm(1000, ticks))
            begin, at = at, at + picture.seconds
            if at <= self._start:
                continue
            if begin >= self._end:
                return
            origin = begin if origin is None else origin
            height, width = picture.pixels.shape[:2]
            size = size or (width, height)
            pixels = picture.pixels
            if (width, height) != size:
                self._note(f"pictures differ in size; all are scaled to {size[0]}x{size[1]}")
                pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
            pts = int((begin - origin) / base)
            yield Frame(pixels, pts, base, int((at - origin) / base) - pts)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order of time. This can be done once."""
        if self._taken:
            raise UsageError(f"{self.path}: a source can be read once; open it again")
        self._taken = True
        first, self._first = self._first, None
        assert first is not None
        yield first
        yield from self._frames

    def __enter__(self) -> Self:
        """Return the source, already open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the source."""
        self.close()

    def close(self) -> None:
        """Close the source. It may be called twice."""
        self._frames = iter(())


def _plays_of(image: Any) -> int:
    """Return the number of times that an animation is played; 0: without end."""
    loop = image.info.get("loop")
    if image.format != "GIF":
        return int(loop or 0)
    if loop is None:
        return 1
    return 0 if loop == 0 else int(loop) + 1  # a GIF says how often it is repeated


def is_sequence(path: Path) -> bool:
    """Return whether a path that is not a still is read as a sequence, not by FFmpeg."""
    return path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES | {".gif", ".apng"}


def becomes_video(input: str | Path, output: str | Path) -> bool:
    """Return whether the input is a folder of images and the output is named as a video."""
    return Path(output).suffix.lower() in VIDEO_SUFFIXES | {".gif", ".apng"} and (
        is_folder(as_path(input))
    )
