"""Reads the frames of a video file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import InputContainer

from streamkind.errors import UsageError
from streamkind.video.behind import joined_note
from streamkind.video.bridge import may_step
from streamkind.video.color import read_tags
from streamkind.video.deinterlace import Deinterlace
from streamkind.video.demux import (
    announced_frames,
    main_video,
    open_input,
    origin_of,
    read_only,
    seconds_of,
)
from streamkind.video.format import VideoFormat
from streamkind.video.frames import ChoosePixFmt, Frame, rgb24
from streamkind.video.hardware import open_hwaccel, software_note
from streamkind.video.pictures import Pictures
from streamkind.video.remarks import layer_note, layers, other_videos, remarks
from streamkind.video.side_data import has_rpu
from streamkind.video.timeline import Cut, cut_of, nothing_from, shortened
from streamkind.video.tonemap import SDR, is_hdr
from streamkind.video.upright import UprightReader, read_orientation


class VideoSource:
    """The frames of one video stream of a file, read by FFmpeg: `Frame` objects, upright."""

    still = False

    def __init__(
        self,
        path: Path,
        *,
        start: float = 0.0,
        duration: float | None = None,
        part: tuple[int | None, int | None] | None = None,
        pix_fmt: ChoosePixFmt = rgb24,
        hwaccel: str = "none",
        deinterlace: Deinterlace = "frame",
        fps: float | None = None,
        video_stream: int | None = None,
        like: VideoSource | None = None,
    ) -> None:
        """Open the file and decode its first frame.

        `part` is a range of pts, without its end. None in it means the beginning or the end of the
        file. Frames of a part keep their time stamps. If `like` is given, it is another video of
        the same file, and this source gets the same cut and origin.
        """
        self.path = path
        self._is_part = part is not None
        self.warnings: list[str] = []
        self.cut: Cut | None = None
        """The part that is delivered, on the file's own clock; None for the whole file."""
        self.place: int | None = None
        """Byte of the file from which the part is read; None if it was not found this way."""
        self.indexed = True
        """Whether the part is found by an index of the file."""
        self.start_pts = 0
        """The first time stamp in the file."""
        self.origin = Fraction(0)
        """The time that becomes 0 in the output, in seconds on the file's own clock."""
        self.others: list[int] = []
        """Stream indices of the file's other videos, without cover art."""
        self.left_out: list[int] = []
        """Stream indices of other videos that are neither enhanced nor copied."""
        self.dolby = False
        """Whether the video has metadata of Dolby Vision."""
        self._lost: int | None = None
        self._taken, self._wanted = False, video_stream
        self._pix_fmt, self._hwaccel, self._deinterlace = pix_fmt, hwaccel, deinterlace
        self._fps = fps
        self._accel, note = open_hwaccel(hwaccel)
        self.warnings += [note] if note else []
        self._container: InputContainer | None = open_input(path, hwaccel=self._accel)
        try:
            self._open(self._container, start, duration, part, like)
        except BaseException:
            self.close()
            raise

    def _open(
        self,
        container: InputContainer,
        start: float,
        duration: float | None,
        part: tuple[int | None, int | None] | None,
        like: VideoSource | None,
    ) -> None:
        self._stream = main_video(container, self.path, self._wanted)
        self.stream_index = self._stream.index
        self._time_base = self._stream.time_base or Fraction(1, 90_000)
        self.origin = origin_of(container)
        self._pictures = Pictures(
            container, self._stream, self.path, fps=self._fps, deinterlace=self._deinterlace
        )
        read_only(container, [self._stream])
        self._stream.thread_type = "AUTO"
        decoded = self._pictures.start()
        first = next(decoded, None)
        self.warnings += software_note(self._accel, self._stream.codec_context)
        if first is None:
            raise self._pictures.decoder.nothing()
        self._rate = self._pictures.deinterlacer.rate(self._pictures.clock.rate)
        self.format = self._describe(first, container)
        self._read = UprightReader(first, self.format, self._pix_fmt(self.format))
        self._shape = self._pictures.decoder.aspect
        self.start_pts = first.pts or 0
        if container.start_time is None:  # as in a Matroska file of a few frames
            self.origin = max(Fraction(0), self.start_pts * self._time_base)
        raws = chain([first], decoded)
        cut = cut_of(self.start_pts, self._time_base, start, duration)
        if like is not None:
            cut, self.origin = like.cut, like.origin
        if part is not None:
            self._frames = self._part(raws, *part)
        elif cut is not None:
            self._frames = self._cut(container, raws, cut)
        else:
            self._frames = self._deliver(raws)

    def __enter__(self) -> Self:
        """Return the source, already open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file. It may be called twice."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames in order of time. This can be done once."""
        if self._taken:
            raise UsageError(f"{self.path}: a source can be read once; open it again")
        self._taken = True
        return self._frames

    def open_other(self, index: int, pix_fmt: ChoosePixFmt | None = None) -> VideoSource:
        """Open stream `index` of the same file, with the same part and options."""
        return VideoSource(
            self.path,
            pix_fmt=pix_fmt or self._pix_fmt,
            hwaccel=self._hwaccel,
            deinterlace=self._deinterlace,
            fps=self._fps,
            video_stream=index,
            like=self,
        )

    def leave_out(self, index: int) -> None:
        """Move stream `index` from `others` to `left_out`: it is neither enhanced nor copied."""
        self.others.remove(index)
        self.left_out.append(index)

    @property
    def lost(self) -> int:
        """Number of frames that could not be decoded. At the end, missing frames are included."""
        return self._pictures.decoder.failed if self._lost is None else self._lost

    def _describe(self, first: av.VideoFrame, container: InputContainer) -> VideoFormat:
        tags = read_tags(first, self.warnings)
        self.warnings += remarks(first, self._stream, container, tags, self.path)
        self.warnings += joined_note(self.path, container.format.name)
        self.others = other_videos(container, self._stream)
        for index in layers(container, self._stream):
            self.leave_out(index)
            self.warnings.append(layer_note(index))
        self.dolby = has_rpu(first)
        width, height = first.width, first.height
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        if read_orientation(first).transpose:
            width, height, aspect = height, width, 1 / aspect
        seconds = seconds_of(self._stream, container)
        guess = round(seconds * self._rate) if seconds and self._rate else None
        announced = announced_frames(self._stream, container)
        return VideoFormat(
            width=width,
            height=height,
            time_base=self._time_base,
            frame_rate=self._rate,
            sample_aspect_ratio=aspect,
            color=SDR if is_hdr(tags) else tags,
            pix_fmt=first.format.name,
            frames=guess if self._deinterlace == "field" else announced or guess,
            duration=float(seconds) if seconds else None,
        )

    def _deliver(
        self,
        decoded: Iterator[av.VideoFrame],
        begin: int | None = None,
        end: Fraction | None = None,
        shift: int = 0,
    ) -> Iterator[Frame]:
        """Yield frames from `begin` (pts) to before `end` (seconds). Subtract `shift` from pts."""
        last_end, clock, decoder = Fraction(0), self._pictures.clock, self._pictures.decoder
        shapes = {self._shape: None}
        for raw in decoded:
            pts, duration = clock(raw)
            if begin is not None and pts < begin:
                self._read.look_at(raw)
                continue
            if end is not None and pts * self._time_base >= end:
                break
            last_end = (pts + duration) * self._time_base
            shapes[decoder.aspect] = None
            yield Frame(self._read(raw), pts - shift, self._time_base, duration)
        self.warnings += [*self._read.notes, *self._pictures.deinterlacer.notes]
        if len(shapes) > 1:
            told = ", ".join(f"{shape.numerator}:{shape.denominator}" for shape in shapes)
            self.warnings.append(
                f"the shape of the pixels changes (SAR {told}); the output has that of the first"
                " frame, so the others look stretched"
            )
        if begin is None and end is None:
            rate = self._rate or Fraction(25)
            self._lost = decoder.lost(last_end=last_end, rate=rate)
        if not self._is_part:  # for a part, packets around it are decoded too
            self.warnings += decoder.notes(self.lost, clock.repaired)

    def _cut(
        self, container: InputContainer, raws: Iterator[av.VideoFrame], cut: Cut
    ) -> Iterator[Frame]:
        """Return the frames of a part. Their times count from its beginning."""
        self.cut, self.origin = cut, cut.start
        shift = round(cut.start / self._time_base)
        start = float(cut.start - self.start_pts * self._time_base)
        duration = None if cut.end is None else float(cut.end - cut.start)
        length = self.format.duration
        frame = None
        if length is None or may_step(container) or start < length + 1:
            raws = self._pictures.seek(raws, shift, origin=self.start_pts, indexed=False)
            self.place, self.indexed = self._pictures.place, self._pictures.indexed
            frames = self._deliver(raws, shift, cut.end, shift)
            frame = next(frames, None)
        if frame is None:
            raise nothing_from(self.path, max(start, 0.0), length, duration)
        self.format = shortened(self.format, start, duration, self._rate)
        return chain([frame], frames)

    def _part(
        self,
        raws: Iterator[av.VideoFrame],
        begin: int | None,
        end: int | None,
    ) -> Iterator[Frame]:
        self.format = replace(self.format, frames=None)
        if begin is not None:
            raws = self._pictures.seek(raws, begin, origin=self.start_pts, indexed=True)
        return self._deliver(raws, begin, None if end is None else end * self._time_base)
