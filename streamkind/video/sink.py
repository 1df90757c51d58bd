"""Writes frames to a video with the other streams of its input, an image or a folder of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Protocol, Self

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from streamkind.errors import OutputError, UsageError
from streamkind.video.color import YuvWriter
from streamkind.video.encoders import (
    PART_THREADS,
    EncoderSettings,
    add_encoder,
    choose_pix_fmt,
    coded_color,
    find_encoder,
)
from streamkind.video.format import is_deep
from streamkind.video.frames import Frame
from streamkind.video.hardware import nvenc
from streamkind.video.images import ImageSink, ImageSource
from streamkind.video.others import PART_SUFFIX, OtherVideo, Part
from streamkind.video.output import OutputFile, Write
from streamkind.video.pages import PAGED_SUFFIXES, PagesSink
from streamkind.video.publish import behind_link, is_stdout
from streamkind.video.quality import quality_options
from streamkind.video.rgb_writer import RGB_FORMATS, RgbWriter
from streamkind.video.sequence import SequenceSource
from streamkind.video.source import Source, VideoFormat, VideoSource
from streamkind.video.timeline import RisingClock

__all__ = ["ImageSink", "Sink", "VideoSink", "open_sink"]


class Sink(Protocol):
    """A context manager that writes frames. Its result appears if it ends without an exception."""

    @property
    def warnings(self) -> list[str]:
        """Messages for the user, such as on streams that the output cannot hold."""

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
    others: Sequence[VideoSource] = (),
    codec: str = "h264",
    crf: int | None = None,
    preset: str | None = None,
    side_by_side: bool = False,
    hardware: bool = False,
) -> Sink:
    """Open the output for the frames of `source`. All options are checked before it returns.

    With `side_by_side`, the frames to write are twice as wide as those of the source. With
    `hardware`, an NVIDIA card encodes if it can. `others` are other videos of the same file, which
    are written before `source` (see `VideoSink`). Raises UsageError for options that cannot work,
    and OutputError for what cannot work on this machine.
    """
    path = Path(path)
    if isinstance(source, ImageSource):
        return ImageSink(path, source)
    if isinstance(source, SequenceSource) and path.suffix.lower() in PAGED_SUFFIXES:
        return PagesSink(path, source)
    return VideoSink(
        path,
        source,
        codec=codec,
        crf=crf,
        preset=preset,
        side_by_side=side_by_side,
        hardware=hardware,
        others=others,
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
        beside: OutputFile | None = None,
        others: Sequence[VideoSource] = (),
    ) -> None:
        """Open encoder and container, and write the header.

        With `part`, the file has only this video, and will be joined with other parts. Its times
        count from the first frame of the whole source. Its encoder has a fixed number of threads,
        because the result of x264 depends on it. `beside` is the file into which a part is copied.

        `others` are other videos of the same file. Each has a sink in `parts`, which must end
        before the first frame is written here.
        """
        self.path = path
        self.end_pts = 0
        """End of the last frame so far, in its own time base."""
        self.frames = 0
        """Number of frames so far."""
        self.parts: list[VideoSink] = []
        """The sinks of `others`, in their order."""
        self._folder: TemporaryDirectory[str] | None = None
        numbers = [s.stream_index for s in others]
        self._file = OutputFile(path, source, alone=part, others=numbers, spare=not part)
        names = [name for name in (nvenc(codec) if hardware else None, codec) if name]
        told: dict[str, Any] = {"crf": crf, "preset": preset}

        def settings_of(name: str) -> EncoderSettings:
            return encoder_settings(
                source.format,
                codec=name,
                width_factor=2 if side_by_side else 1,
                fixed_rate=(beside or self._file).fixed_rate,
                in_band=(beside or self._file).in_band,
                threads=PART_THREADS if part else 0,
                **told,
            )

        with ExitStack() as undo:
            undo.callback(self._abort)
            self._settings, self._pix_fmt = self._choose(names, settings_of)
            told |= {"codec": codec, "side_by_side": side_by_side, "hardware": hardware}
            self._open_parts(others, told)
            copied = [one.as_other(video) for one, video in zip(self.parts, others, strict=True)]
            self._time_base = self._settings.time_base
            self._stream = self._file.start(self._add_encoder, self._time_base, copied)
            undo.pop_all()
        self._clock = RisingClock(self._time_base, 1)
        self._origin = _origin(source, part)
        writer = RgbWriter if self._settings.codec.name in RGB_FORMATS else YuvWriter
        self._to_yuv = writer(self._settings.color, self._pix_fmt, planes=source.format.color)

    def _open_parts(self, others: Sequence[VideoSource], told: dict[str, Any]) -> None:
        """Open a sink for each other video, in a hidden folder, beside the output if possible."""
        if not others:
            return
        beside = None if is_stdout(self.path) else behind_link(self.path).parent
        self._folder = TemporaryDirectory(prefix=".streamkind-", dir=beside)
        for source in others:
            path = Path(self._folder.name, f"{source.stream_index}{PART_SUFFIX}")
            self.parts.append(VideoSink(path, source, part=True, beside=self._file, **told))

    def as_other(self, source: VideoSource) -> OtherVideo:
        """Return this part for copying beside another video, once it is written."""
        settings = self._settings
        return OtherVideo(
            source,
            self._add_encoder,
            settings.time_base,
            lambda: Part(self.path, self.frames, self.end_pts),
        )

    def _add_encoder(self, container: OutputContainer) -> VideoStream:
        return add_encoder(container, self._settings, self._pix_fmt)

    @property
    def warnings(self) -> list[str]:
        """Messages for the user, such as on streams that the output cannot hold."""
        return [*self._file.warnings, *depth_note(self._settings, self._pix_fmt)]

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
        with ExitStack() as ending:
            ending.callback(self._abort)
            if kind is None:
                self._encode(None)
                self._file.finish()

    def _abort(self) -> None:
        """Remove all temporary files."""
        for part in self.parts:
            part._abort()
        self._file.abort()
        if self._folder is not None:
            self._folder.cleanup()

    def write(self, frame: Frame) -> None:
        """Encode one frame. Raises OutputError."""
        yuv = self._to_yuv(frame.data)
        begin = round(self._origin / frame.time_base)  # frames of callers have any time base
        yuv.pts = self._clock(self._rescale(frame.pts - begin, frame.time_base))
        yuv.time_base = self._time_base
        self._file.expect(yuv.pts, self._rescale(frame.duration, frame.time_base))
        self.end_pts = frame.pts + frame.duration
        self.frames += 1
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


def _origin(source: Source, part: bool) -> Fraction:
    """Return the time that becomes 0 in the output, in seconds."""
    if not isinstance(source, VideoSource) or source.cut is not None:
        return Fraction(0)  # the frames of a cut have been moved already
    return source.start_pts * source.format.time_base if part else source.origin


def depth_note(settings: EncoderSettings, pix_fmt: str) -> list[str]:
    """Return one message if fewer bits are written than the input has; else none."""
    if not settings.deep or is_deep(pix_fmt):
        return []
    name = settings.codec.canonical_name
    return [f"the input has more than 8 bits, but {name} is written in 8; hevc or av1 keeps 10"]


def encoder_settings(
    form: VideoFormat,
    *,
    codec: str,
    crf: int | None,
    preset: str | None,
    width_factor: int = 1,
    fixed_rate: bool = False,
    in_band: bool = False,
    threads: int = 0,
) -> EncoderSettings:
    """Return the settings of the encoder for pictures of a format. Raises UsageError."""
    encoder = find_encoder(codec)
    rate = form.frame_rate or Fraction(25)
    return EncoderSettings(
        codec=encoder,
        width=form.width * width_factor,
        height=form.height,
        # AVI and similar formats have a fixed frame rate, which gives the time base.
        time_base=1 / rate if fixed_rate else form.time_base,
        rate=rate,
        sample_aspect_ratio=form.sample_aspect_ratio,
        color=coded_color(encoder, form.color),
        deep=form.deep,
        b_frames=not fixed_rate,  # such containers store no pts
        in_band=in_band,
        threads=threads,
        options=quality_options(encoder, crf, preset),
    )
