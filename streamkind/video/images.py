"""Images in, images out: one file, or a folder of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from streamkind.errors import InputError, OutputError, UsageError
from streamkind.video.demux import check_readable
from streamkind.video.format import VIDEO_SUFFIXES, ColorTags, VideoFormat
from streamkind.video.frames import Frame, Pixels
from streamkind.video.publish import Staging, check_not_input
from streamkind.video.storage import as_path

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
_QUALITY = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
}


def is_still(path: str | Path) -> bool:
    """Tell images and folders of them from videos, by their name."""
    path = as_path(path)
    return path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES


def read_image(path: Path) -> Pixels:
    """Read an image upright (EXIF) as 8-bit RGB; raises InputError."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as exc:
        raise InputError(f"{path}: cannot be read ({exc.strerror}); check permissions") from exc
    try:
        # IMREAD_COLOR applies the EXIF orientation, drops alpha and makes 8 bits of 16.
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error as exc:
        raise InputError(f"{path}: image refused by OpenCV ({exc.err}); convert it") from exc
    if image is None:
        raise InputError(f"{path}: not an image that OpenCV can read; expected e.g. PNG or JPEG")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


class ImageSource:
    """One image, or the images of a folder in order of name; `pts` is the number of the file."""

    still = True

    def __init__(self, path: Path) -> None:
        """List the files and read the first good one."""
        self.path = path
        self.lost = 0
        self.warnings: list[str] = []
        self.files = _list_images(path)
        self._taken = False
        self._first = self._read_from(0)
        if self._first is None:
            raise InputError(
                f"{path}: none of its {len(self.files)} images can be read; expected PNG, JPEG, ..."
            )
        height, width = self._first.data.shape[:2]
        self.format = VideoFormat(
            width=width,
            height=height,
            time_base=Fraction(1),
            frame_rate=None,
            sample_aspect_ratio=Fraction(1),
            color=ColorTags(),
            pix_fmt="rgb24",
            frames=len(self.files),
            duration=None,
        )

    def __enter__(self) -> Self:
        """Return the source, already open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""

    def close(self) -> None:
        """Nothing is held open."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images; those that cannot be read are skipped and counted."""
        if self._taken:
            raise RuntimeError(f"{self.path}: a source can be read once; open it again")
        self._taken = True
        return self._images()

    def _images(self) -> Iterator[Frame]:
        frame, self._first = self._first, None
        while frame is not None:
            yield frame
            frame = self._read_from(frame.pts + 1)

    def _read_from(self, number: int) -> Frame | None:
        for pts in range(number, len(self.files)):
            try:
                return Frame(read_image(self.files[pts]), pts, Fraction(1), 1)
            except InputError as exc:
                if self.path.is_file():
                    raise
                self.lost += 1
                self.warnings.append(f"skipped {exc}")
        return None


def _list_images(path: Path) -> list[Path]:
    if not path.is_dir():
        check_readable(path)
        return [path]
    try:
        # A leading dot: macOS leaves ._IMG.jpg files that are no images.
        present = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    except OSError as exc:
        raise InputError(f"{path}: cannot be listed ({exc.strerror}); check permissions") from exc
    files = [file for file in present if file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        if any(file.suffix.lower() in VIDEO_SUFFIXES for file in present):
            raise InputError(
                f"{path}: a folder of videos; expected images."
                f" Use: streamkind batch {path} --out FOLDER"
            )
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"{path}: no images in this folder; expected files ending in {suffixes}")
    return files


class ImageSink:
    """Writes one image, or a folder of images with the names that they had."""

    def __init__(self, path: Path, source: ImageSource) -> None:
        """Check that the result can be written, and stage it beside its final place."""
        self.path = path
        self.warnings: list[str] = []
        self._folder = source.path.is_dir()
        self._files = source.files
        _check_output(path, source)
        self._staging = Staging(path)
        if self._folder:
            self._staging.make_folder()

    def __enter__(self) -> Self:
        """Return the sink, already open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publish the result; on an exception remove it."""
        if kind is not None:
            self._staging.discard()
        else:
            self._staging.publish()

    def write(self, frame: Frame) -> None:
        """Write one image under the name of the file that it came from."""
        name = self._files[frame.pts].name
        target = self._staging.path / name if self._folder else self._staging.path
        suffix = target.suffix.lower()
        bgr = cv2.cvtColor(frame.data, cv2.COLOR_RGB2BGR)
        try:
            done, data = cv2.imencode(suffix, bgr, _QUALITY.get(suffix, []))
        except cv2.error as exc:
            raise OutputError(f"{name}: OpenCV cannot write it ({exc.err}); try .png") from exc
        if not done:
            raise OutputError(f"{name}: OpenCV cannot write {suffix} files here; try .png")
        try:
            with target.open("wb") as file:
                file.write(data.tobytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise OutputError(
                f"{self.path}: writing failed ({exc.strerror}); free some space, or write elsewhere"
            ) from exc


def _check_output(path: Path, source: ImageSource) -> None:
    check_not_input(path, source.path)
    if source.path.is_dir():
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path}: exists already; expected a new or an empty folder")
    elif path.suffix.lower() not in IMAGE_SUFFIXES:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise UsageError(f"{path}: the input is an image; expected a name ending in {suffixes}")
