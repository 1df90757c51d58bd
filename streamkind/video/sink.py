"""Where frames go: a video file with all that its input had, an image, or a folder of images."""

from __future__ import annotations

import contextlib
import errno
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av
from av.container import OutputContainer

from streamkind.errors import OutputError, UsageError
from streamkind.video.color import YuvWriter
from streamkind.video.demux import file_url
from streamkind.video.encoders import (
    EncoderSettings,
    add_encoder,
    choose_pix_fmt,
    find_encoder,
    quality_options,
)
from streamkind.video.frames import Frame
from streamkind.video.images import IMAGE_SUFFIXES, ImageSink, ImageSource
from streamkind.video.mux import PacketTimes, container_options
from streamkind.video.passthrough import Passthrough
from streamkind.video.publish import Staging, check_not_input
from streamkind.video.source import Source, VideoSource
from streamkind.video.timeline import RisingClock

__all__ = ["ImageSink", "Sink", "VideoSink", "open_sink"]

_VARIABLE_FPS = 0x400  # AVFMT_VARIABLE_FPS


class Sink(Protocol):
    """A context manager that takes frames; the result appears when it is left cleanly."""

    @property
    def warnings(self) -> list[str]:
        """What the user should know, such as streams that the output cannot hold."""

    def write(self, frame: Frame) -> None:
        """Take one frame; raises OutputError."""

    def __enter__(self) -> Self:
        """Return the sink, already open."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publish the result under its name; on an exception leave nothing behind."""


def open_sink(
    path: str | Path,
    source: Source,
    *,
    codec: str = "h264",
    crf: int | None = None,
    preset: str | None = None,
    side_by_side: bool = False,
) -> Sink:
    """Open the output for the frames of `source`; everything is checked before this returns.

    With `side_by_side` the frames written are twice as wide as those of the source. Raises
    UsageError for what cannot work, and OutputError for what cannot work here.
    """
    path = Path(path)
    if isinstance(source, ImageSource):
        return ImageSink(path, source)
    return VideoSink(path, source, codec=codec, crf=crf, preset=preset, side_by_side=side_by_side)


class VideoSink:
    """Encodes frames into a container, and copies beside them what the input has."""

    def __init__(
        self,
        path: Path,
        source: Source,
        *,
        codec: str = "h264",
        crf: int | None = None,
        preset: str | None = None,
        side_by_side: bool = False,
    ) -> None:
        """Open encoder and container, write the header."""
        self.path = path
        self.warnings: list[str] = []
        _check_path(path, source)
        self._staging = Staging(path)
        self._passthrough = Passthrough(source) if isinstance(source, VideoSource) else None
        self._container: OutputContainer | None = None
        try:
            self._open(source, codec, crf, preset, width_factor=2 if side_by_side else 1)
        except BaseException:
            self._abort()
            raise

    def _open(
        self, source: Source, codec: str, crf: int | None, preset: str | None, width_factor: int
    ) -> None:
        form = source.format
        encoder = find_encoder(codec)
        options = quality_options(encoder, crf, preset)
        container = self._container = self._open_container(source)
        rate = form.frame_rate or Fraction(25)
        fixed_rate = not container.format.flags & _VARIABLE_FPS
        settings = EncoderSettings(
            codec=encoder,
            width=form.width * width_factor,
            height=form.height,
            # AVI and its like count frames: their clock is the frame rate.
            time_base=1 / rate if fixed_rate else form.time_base,
            rate=rate,
            sample_aspect_ratio=form.sample_aspect_ratio,
            color=form.color,
            b_frames=not fixed_rate,  # such containers store no pts
            options=options,
        )
        pix_fmt = choose_pix_fmt(settings)
        self._time_base = settings.time_base
        self._clock = RisingClock(self._time_base, 1)
        self._times = PacketTimes(self._time_base)
        self._to_yuv = YuvWriter(form.color, pix_fmt)
        self._add_streams(container, source, settings, pix_fmt)
        self._mp4 = container.format.name in ("mp4", "mov")
        try:
            container.start_encoding()
            if self._passthrough is not None:
                self._passthrough.start(container)
        except (av.FFmpegError, ValueError) as exc:
            raise self._failure(exc) from exc

    def _open_container(self, source: Source) -> OutputContainer:
        name = file_url(self._staging.path)
        try:
            kind = av.open(name, "w").format.name  # nothing is written yet
        except (av.FFmpegError, ValueError) as exc:
            raise UsageError(
                f"{self.path}: unknown kind of file; expected a name ending in .mp4, .mkv or .mov"
            ) from exc
        options = container_options(kind, source, self._passthrough)
        return av.open(name, "w", container_options=options, metadata_errors="surrogateescape")

    def _add_streams(
        self,
        container: OutputContainer,
        source: Source,
        settings: EncoderSettings,
        pix_fmt: str,
    ) -> None:
        if self._passthrough is None or not isinstance(source, VideoSource):
            self._stream = add_encoder(container, settings, pix_fmt)
            return
        for stream in self._passthrough.streams:
            if stream.index == source.stream_index:
                self._stream = add_encoder(container, settings, pix_fmt)
                self._stream.metadata.update(self._passthrough.fresh(stream.metadata))
                self._stream.disposition = stream.disposition
            else:
                self._passthrough.add(stream, container)
        self._passthrough.add_tags(container)
        self.warnings += self._passthrough.warnings
        self._passthrough.warnings.clear()

    def __enter__(self) -> Self:
        """Return the sink, already open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publish the file; on an exception remove it."""
        if kind is not None:
            self._abort()
            return
        try:
            self._finish()
        except BaseException:
            self._abort()
            raise
        self._staging.publish()

    def write(self, frame: Frame) -> None:
        """Encode one frame; raises OutputError."""
        yuv = self._to_yuv(frame.data)
        yuv.pts = self._clock(self._rescale(frame.pts, frame.time_base))
        yuv.time_base = self._time_base
        self._times.expect(yuv.pts, self._rescale(frame.duration, frame.time_base))
        self._encode(yuv)

    def _rescale(self, stamp: int, time_base: Fraction) -> int:
        return stamp if time_base == self._time_base else round(stamp * time_base / self._time_base)

    def _encode(self, yuv: av.VideoFrame | None) -> None:
        assert self._container is not None
        try:
            packets = self._stream.encode(yuv)
            for packet in packets:
                self._times.complete(packet)
                if yuv is None and packet is packets[-1] and self._mp4:
                    self._times.stretch(packet)
                self._copy_until((packet.dts or 0) * self._time_base)
                self._container.mux_one(packet)
        except (av.FFmpegError, ValueError) as exc:
            raise self._failure(exc) from exc

    def _copy_until(self, seconds: Fraction | None) -> None:
        if self._passthrough is not None:
            self._passthrough.copy_until(seconds)

    def _finish(self) -> None:
        assert self._container is not None
        self._encode(None)
        try:
            self._copy_until(None)
            self._container.close()
        except (av.FFmpegError, ValueError) as exc:
            raise self._failure(exc) from exc
        if self._passthrough is not None:
            self._passthrough.close()
            self.warnings += self._passthrough.warnings

    def _failure(self, exc: Exception) -> OutputError:
        reason = getattr(exc, "strerror", None) or str(exc)
        full = getattr(exc, "errno", None) in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
        advice = "free some space" if full else "check the disk, or choose another codec or .mkv"
        return OutputError(f"{self.path}: writing failed ({reason}), nothing was kept; {advice}")

    def _abort(self) -> None:
        # Unlinked first: closing writes a trailer, and may move gigabytes to put it in front.
        self._staging.discard()
        if self._container is not None:
            with contextlib.suppress(av.FFmpegError, ValueError):
                self._container.close()
        if self._passthrough is not None:
            self._passthrough.close()
        self._staging.discard()


def _check_path(path: Path, source: Source) -> None:
    check_not_input(path, source.path)
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; expected the name of a file to write")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise UsageError(f"{path}: the input is a video; expected a name such as {path.stem}.mp4")
