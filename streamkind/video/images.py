"""Reads and writes images: one file, or a folder of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from streamkind.errors import InputError, OutputError, UsageError
from streamkind.video.demux import PICTURE_SUFFIXES, RAW_SUFFIXES, check_readable
from streamkind.video.format import VIDEO_SUFFIXES, ColorTags, VideoFormat
from streamkind.video.frames import Frame
from streamkind.video.image_data import Still
from streamkind.video.image_files import IMAGE_SUFFIXES, is_animated, read_still, write_still
from streamkind.video.publish import Staging, check_not_input
from streamkind.video.storage import as_path, is_folder, natural

__all__ = ["IMAGE_SUFFIXES", "ImageSink", "ImageSource", "is_still"]


def is_still(path: str | Path) -> bool:
    """Return whether a path is an image or a folder of images, not a video or an animation."""
    path = as_path(path)
    named = path.suffix.lower() in IMAGE_SUFFIXES
    return is_folder(path) or (named and not is_animated(path))


class ImageSource:
    """One image, or the images of a folder in order of name. `pts` is the index of the file."""

    still = True

    def __init__(self, path: Path, *, start: float = 0.0, duration: float | None = None) -> None:
        """List the files and read the first one that can be read."""
        if start or duration is not None:
            raise UsageError(
                f"{path}: start and duration are for videos, and this is a still; leave them out"
            )
        self.path = path
        self.lost = 0
        self.warnings: list[str] = []
        self.files = list_images(path)
        left = [file.name for file in unread(path.iterdir())] if path.is_dir() else []
        if left:
            self.warnings.append(
                f"left out, as pictures of these kinds are not read: {', '.join(sorted(left))}"
            )
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
        """Close the source."""

    def close(self) -> None:
        """Do nothing, as no file is open."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield the images. Those that cannot be read are skipped and counted."""
        if self._taken:
            raise UsageError(f"{self.path}: a source can be read once; open it again")
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
                still = read_still(self.files[pts])
                self.warnings += still.notes
                return Frame(still.rgb, pts, Fraction(1), 1, still)
            except InputError as exc:
                if self.path.is_file():
                    raise
                self.lost += 1
                self.warnings.append(f"skipped {exc}")
        return None


def unread(files: Iterable[Path]) -> list[Path]:
    """Return those of some files that are pictures of kinds that are not read."""
    kinds = RAW_SUFFIXES | PICTURE_SUFFIXES
    return [f for f in files if f.suffix.lower() in kinds and not f.name.startswith(".")]


def list_images(path: Path) -> list[Path]:
    """Return a file, or the images of a folder in natural order: 2 before 10. Raises InputError."""
    if not path.is_dir():
        check_readable(path)
        return [path]
    try:
        # macOS writes files with names such as ._IMG.jpg that are not images.
        present = [file for file in path.iterdir() if not file.name.startswith(".")]
    except OSError as exc:
        raise InputError(f"{path}: cannot be listed ({exc.strerror}); check permissions") from exc
    present.sort(key=lambda file: natural(file.name))
    files = [file for file in present if file.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        if any(file.suffix.lower() in VIDEO_SUFFIXES for file in present):
            raise InputError(
                f"{path}: a folder of videos; expected images."
                f" Use: streamkind batch {path} --out FOLDER"
            )
        for file in unread(present):
            check_readable(file)
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"{path}: no images in this folder; expected files ending in {suffixes}")
    return files


class ImageSink:
    """Writes one image, or a folder of images that are named as their inputs."""

    def __init__(self, path: Path, source: ImageSource) -> None:
        """Check that the result can be written, and prepare a temporary place beside it."""
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
        """Publish the result. On an exception, remove it."""
        if kind is not None:
            self._staging.discard()
        else:
            self._staging.publish()

    def write(self, frame: Frame) -> None:
        """Write one image, named as its input."""
        name = self._files[frame.pts].name
        target = self._staging.path / name if self._folder else self._staging.path
        named = Path(name) if self._folder else self.path
        data, notes = write_still(named, frame.data, frame.still or Still(frame.data))
        self.warnings += notes
        try:
            with target.open("wb") as file:
                file.write(data)
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
