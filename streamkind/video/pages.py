"""Writes the pages of a TIFF."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from PIL import Image, TiffImagePlugin

from streamkind.errors import OutputError
from streamkind.video.frames import Frame
from streamkind.video.publish import Staging, check_not_input
from streamkind.video.sequence import SequenceSource

PAGED_SUFFIXES = frozenset({".tif", ".tiff"})
"""Endings of files that have pages."""


class PagesSink:
    """Writes each frame as a page of 8-bit RGB, without loss."""

    def __init__(self, path: Path, source: SequenceSource) -> None:
        """Prepare a temporary file beside the final path. Raises OutputError and UsageError."""
        self.path = path
        self.warnings = [f"{path.name}: pages are written in RGB of 8 bits; tags are left out"]
        check_not_input(path, source.path)
        self._staging = Staging(path)
        self._file: Any = None

    def write(self, frame: Frame) -> None:
        """Write one page. Raises OutputError."""
        with self._explained():
            if self._file is None:
                self._file = TiffImagePlugin.AppendingTiffWriter(str(self._staging.path), new=True)
            Image.fromarray(frame.data).save(self._file, "TIFF", compression="tiff_adobe_deflate")
            self._file.newFrame()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise OutputError for the errors of writing."""
        try:
            yield
        except struct.error as exc:
            raise OutputError(
                f"{self.path}: writing failed, as a TIFF holds 4 GB; choose a name ending in .mkv"
            ) from exc
        except (OSError, RuntimeError) as exc:
            reason = getattr(exc, "strerror", None) or exc
            raise OutputError(f"{self.path}: writing failed ({reason}); free some space") from exc

    def __enter__(self) -> Self:
        """Return the sink."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publish the file. On an exception, or if no page was written, remove it."""
        try:
            if kind is None and self._file is not None:
                with self._explained():
                    self._file.close()
                self._staging.publish()
        finally:
            if self._file is not None:
                self._file.f.close()
            self._staging.discard()
