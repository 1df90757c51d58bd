"""Outputs of frames: a video with the other streams of its input, an image, or a folder of them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import av

from streamkind.errors import OutputError, UsageError
from streamkind.video.color import YuvWriter
from streamkind.video.encoders import (
    PART_THREADS,
    EncoderSettings,
    add_encoder,
    choose_pix_fmt,
    coded_color,
    find_encoder,
    quality_options,
)
from streamkind.video.frames import Frame
from streamkind.video.hardware import nvenc
from streamkind.video.images import ImageSink, ImageSource
from streamkind.video.output import OutputFile, Write
from streamkind.video.rgb_writer import RGB_FORMATS, RgbWriter
from streamkind.video.source import Source, VideoFormat, VideoSource
from streamkind.video.timeline import RisingClock

__all__ = ["ImageSink", "Sink", "VideoSink", "open_sink"]


class Sink(Protocol):
    """A context manager that takes frames. The result appears when it ends without an exception."""

    @property
    def warnings(self) -> list[str]:
        """What the user should know, such as streams that the output cannot hold."""

    def write(self, frame: Frame) -> None:
        """Write one frame. Raises OutputError."""

    def __enter__(self) -> Self:
        """Return the sink, already open."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publish the result under its name. On an exception, remove it."""


def open_sink(
    path: str | Path,
    source: Source,
    *,
    codec: str = "h264",
    crf: int | None = None,
    preset: str | None = None,
    side_by_side: bool = False,
    hardware: bool = False,
) -> Sink:
    """Open the output for the frames of `source`. All options are checked before it returns.

    With `side_by_side`, the frames to write are twice as wide as those of the source. With
    `hardware`, an NVIDIA card encodes if it can. Raises UsageError for options that cannot work,
    and OutputError for what cannot work on this machine.
    """
    path = Path(path)
    if isinstance(source, ImageSource):
        return ImageSink(path, source)
    return VideoSink(
        path,
        source,
        codec=codec,
        crf=crf,
        preset=preset,
        side_by_side=side_by_side,
        hardware=hardware,
    )


class VideoSink:
    """Encodes frames into a container, and copies the other streams of the input."""

    def __init__(
        self,
        path: Path,
        source: Source,
        *,
        codec: str = "h264",
        crf: int | None = None,
        preset: str | None = None,
        side_by_side: bool = False,
        part: bool = False,
        hardware: bool = False,
    ) -> None:
        """Open encoder and container, and write the header.

        With `part`, the file has the video alone, to be joined with other parts. Its times begin at
        the first frame of the whole source. Its encoder has a fixed number of threads, because the
        result of x264 depends on that number.
        """
        self.path = path
        self.end_pts = 0
        """End of the last frame so far, in its own time base."""
        self._file = OutputFile(path, source, alone=part)
        names = [name for name in (nvenc(codec) if hardware else None, codec) if name]
        try:
            settings, pix_fmt = self._choose(
                names,
                lambda name: encoder_settings(
                    source.format,
                    codec=name,
                    crf=crf,
                    preset=preset,
                    width_factor=2 if side_by_side else 1,
                    fixed_rate=self._file.fixed_rate,
                    threads=PART_THREADS if part else 0,
                ),
            )
        except BaseException:
            self._file.abort()
            raise
        self._time_base = settings.time_base
        self._clock = RisingClock(self._time_base, 1)
        self._origin = _origin(source, part)
        writer = RgbWriter if settings.codec.name in RGB_FORMATS else YuvWriter
        self._to_yuv = writer(settings.color, pix_fmt, planes=source.format.color)
        self._stream = self._file.start(
            lambda container: add_encoder(container, settings, pix_fmt), settings.time_base
        )

    @property
    def warnings(self) -> list[str]:
        """What the user should know, such as streams that the output cannot hold."""
        return self._file.warnings

    def __enter__(self) -> Self:
        """Return the sink, already open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publish the file. On an exception, remove it."""
        try:
            if kind is None:
                self._encode(None)
        except BaseException:
            self._file.abort()
            raise
        self._file.__exit__(kind, error, trace)

    def write(self, frame: Frame) -> None:
        """Encode one frame. Raises OutputError."""
        yuv = self._to_yuv(frame.data)
        yuv.pts = self._clock(self._rescale(frame.pts - self._origin, frame.time_base))
        yuv.time_base = self._time_base
        self._file.expect(yuv.pts, self._rescale(frame.duration, frame.time_base))
        self.end_pts = frame.pts + frame.duration
        self._encode(yuv)

    def _choose(
        self, names: list[str], settings_of: Callable[[str], EncoderSettings]
    ) -> tuple[EncoderSettings, str]:
        """Return the settings of the first encoder that opens, and warn of those that do not."""
        for name in names[:-1]:
            try:
                settings = settings_of(name)
                return settings, choose_pix_fmt(settings)
            except (OutputError, UsageError):
                self._file.warnings.append(f"encoded in software: {name} cannot be used here")
        settings = settings_of(names[-1])
        return settings, choose_pix_fmt(settings)

    def _rescale(self, stamp: int, time_base: Fraction) -> int:
        return stamp if time_base == self._time_base else round(stamp * time_base / self._time_base)

    def _encode(self, yuv: av.VideoFrame | None) -> None:
        try:
            packets = self._stream.encode(yuv)
        except Write as exc:
            raise self._file.failure(exc) from exc
        self._file.mux(packets, last=yuv is None)


def _origin(source: Source, part: bool) -> int:
    """Return the pts that becomes 0 in the output."""
    if not isinstance(source, VideoSource):
        return 0
    if part:
        return source.start_pts
    # The frames of a cut have been moved already.
    return 0 if source.cut is not None else round(source.origin / source.format.time_base)


def encoder_settings(
    form: VideoFormat,
    *,
    codec: str,
    crf: int | None,
    preset: str | None,
    width_factor: int = 1,
    fixed_rate: bool = False,
    threads: int = 0,
) -> EncoderSettings:
    """Return the settings of the encoder for pictures of a format. Raises UsageError."""
    encoder = find_encoder(codec)
    rate = form.frame_rate or Fraction(25)
    return EncoderSettings(
        codec=encoder,
        width=form.width * width_factor,
        height=form.height,
        # AVI and its like count frames: their clock is the frame rate.
        time_base=1 / rate if fixed_rate else form.time_base,
        rate=rate,
        sample_aspect_ratio=form.sample_aspect_ratio,
        color=coded_color(encoder, form.color),
        b_frames=not fixed_rate,  # such containers store no pts
        threads=threads,
        options=quality_options(encoder, crf, preset),
    )
