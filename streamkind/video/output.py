"""Writes a container with the enhanced video and the other streams of the input."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av import ContainerFormat
from av.container import OutputContainer
from av.video.stream import VideoStream

from streamkind.errors import OutputError, StreamkindError
from streamkind.video.containers import MP4_LIKE, open_output
from streamkind.video.demux import PacketReader, open_input
from streamkind.video.last_frame import write_last_duration
from streamkind.video.mux import PacketTimes, container_options
from streamkind.video.names import check_name, format_of
from streamkind.video.others import AddVideo, OtherVideo, move
from streamkind.video.passthrough import Passthrough
from streamkind.video.publish import STDOUT, Staging, StdoutStaging, behind_link, is_stdout
from streamkind.video.source import Source, VideoSource
from streamkind.video.spare_copy import SpareCopy

_VARIABLE_FPS = 0x400  # AVFMT_VARIABLE_FPS
_GLOBAL_HEADER = 0x40  # AVFMT_GLOBALHEADER

RESCUE = "matroska"
"""FFmpeg's name of the format that is used if another one fails. Matroska can hold nearly all
codecs."""

Write = av.FFmpegError, ValueError
"""Exceptions of PyAV for a packet, a header or a trailer that cannot be written."""


class OutputFile:
    """A file that appears complete or not at all.

    The caller gives the packets of the main video, and files with other enhanced videos. The other
    streams of the input are copied, except with `alone`.
    """

    def __init__(
        self,
        path: Path,
        source: Source,
        *,
        alone: bool = False,
        others: Collection[int] = (),
        spare: bool = False,
    ) -> None:
        """Open the container under a temporary name. Call `start` next.

        `others` are the indices of the other streams that are enhanced. With `spare`, a second copy
        of the video is written (`spare_copy.py`). It becomes a Matroska file if this one fails.
        """
        self.path = path
        self.warnings: list[str] = []
        check_name(path, source)
        self._staging = StdoutStaging() if is_stdout(path) else Staging(path)
        self._source = source
        self._others: dict[int, OtherVideo] = {}
        self._passthrough: Passthrough | None = None
        if isinstance(source, VideoSource) and not alone:
            self._passthrough = Passthrough(source, others)
        self._container: OutputContainer | None = None
        self._spare: SpareCopy | None = None
        self._broken: Exception | None = None
        try:
            self._container = self._open()
        except BaseException:
            self.abort()
            raise
        if spare and not is_stdout(path) and self.name != RESCUE:
            self._spare = SpareCopy(behind_link(path))
        flags = ContainerFormat(self.name, "w").flags
        self.fixed_rate = not flags & _VARIABLE_FPS
        """Whether the format has a fixed frame rate and no time stamps, as AVI has."""
        self.in_band = not flags & _GLOBAL_HEADER
        """Whether the packets contain the headers of the codec, as in MPEG-TS."""

    def _open(self) -> OutputContainer:
        name = self._staging.url
        self.name = format_of(self.path, name)
        """FFmpeg's name of the format."""
        wide = self._passthrough is not None and self._passthrough.decide(self.name)
        options = container_options(self.name, self._source, self._passthrough)
        if name == STDOUT:
            options["flush_packets"] = "1"
        return open_output(
            name,
            self.name,
            wide=wide,
            container_options=options,
            metadata_errors="surrogateescape",
        )

    def start(
        self, add_video: AddVideo, time_base: Fraction, others: Sequence[OtherVideo] = ()
    ) -> VideoStream:
        """Add the video, with packets in `time_base`, and the other streams; write the header."""
        assert self._container is not None
        self._time_base = time_base
        self._others = {other.index: other for other in others}
        self._times, self._last_seconds = PacketTimes(time_base), Fraction(0)
        try:
            video = self._add_streams(self._container, add_video)
            self._start(self._container)
            if self._spare is not None:
                self._spare.start(video)
        except BaseException:
            self.abort()
            raise
        return video

    def _add_streams(self, container: OutputContainer, add_video: AddVideo) -> VideoStream:
        if self._passthrough is None or not isinstance(self._source, VideoSource):
            return add_video(container)
        added: dict[int, AddVideo] = {index: other.add for index, other in self._others.items()}
        added[self._source.stream_index] = add_video
        videos = {}
        for stream in self._passthrough.streams:
            if stream.index not in added:
                self._passthrough.add(stream, container)
                continue
            video = videos[stream.index] = added[stream.index](container)
            video.metadata.update(self._passthrough.fresh(stream.metadata))
            video.disposition = stream.disposition
        self._passthrough.add_tags(container)
        self.warnings += self._passthrough.warnings
        self._passthrough.warnings.clear()
        return videos[self._source.stream_index]

    def _start(self, container: OutputContainer) -> None:
        try:
            container.start_encoding()
            if self._passthrough is not None:
                self._passthrough.start(container)
        except Write as exc:
            if getattr(exc, "errno", None) not in (errno.EINVAL, errno.EPERM):
                raise self.failure(exc) from exc
            raise OutputError(
                f"{self.path}: the format {self.name} does not take such a video ({_reason(exc)});"
                " choose another codec, or a name ending in .mp4 or .mkv"
            ) from exc

    def expect(self, pts: int, duration: int) -> None:
        """Store the duration of a frame whose packet will follow."""
        self._times.expect(pts, duration)
        self._last_seconds = duration * self._time_base

    def mux(self, packets: Sequence[av.Packet[Any]], *, last: bool = False) -> None:
        """Write packets of the video, and those of other streams up to them. Raises OutputError."""
        for packet in packets:
            self._times.complete(packet)
            if last and packet is packets[-1] and self.name in MP4_LIKE:
                self._times.stretch(packet)
            if self._spare is not None:
                self._spare.put(packet)
            if self._broken is None:
                self._mux(packet)

    def _mux(self, packet: av.Packet[Any]) -> None:
        assert self._container is not None
        try:
            self._copy_until((packet.dts or 0) * self._time_base)
            self._container.mux_one(packet)
        except Write as exc:
            self._break(exc)

    def _break(self, exc: Exception) -> None:
        """Close the failed container, and continue with the spare copy.

        Raises OutputError if there is none.
        """
        gone = _is_full(exc) or getattr(exc, "errno", None) == errno.EPIPE
        if gone or self._spare is None or not self._spare.whole:
            raise self.failure(exc) from exc
        self._broken = exc
        self._close()

    def _copy_until(self, seconds: Fraction | None) -> None:
        for other in self._others.values():
            other.copy_until(seconds)
        if self._passthrough is not None:
            self._passthrough.copy_until(seconds)

    def finish(self) -> None:
        """Write the other streams to their end and the trailer, and publish. Raises OutputError."""
        assert self._container is not None
        try:
            if self._broken is None:
                self._copy_until(None)
                self._container.close()
                if isinstance(self._staging, Staging):
                    write_last_duration(self._staging.path, self.name, self._last_seconds)
        except (OSError, *Write) as exc:
            self._break(exc)
        if self._broken is not None:
            raise self._rescued(self._broken) from self._broken
        if self._passthrough is not None:
            self._passthrough.close()
            self.warnings += self._passthrough.warnings
        if self._spare is not None:
            self._spare.discard()
        self._staging.publish()

    def _rescued(self, exc: Exception) -> OutputError:
        """Make a Matroska file of the spare copy, or publish the copy. Return the error."""
        assert self._spare is not None
        self._spare.finish()
        if not self._spare.whole:
            return self.failure(exc)
        others = [other.again() for other in self._others.values()]
        named = behind_link(self.path)
        path = named.with_name(f"{named.stem}.rescued.mkv")
        try:
            with OutputFile(path, self._source, others=self._others) as file:
                copy_spare(self._spare.path, file, others)
        except (StreamkindError, *Write):
            path = path.with_suffix(self._spare.path.suffix)
            self._spare.publish(path)
        return OutputError(
            f"{self.path}: writing failed ({_reason(exc)}), but nothing is lost:"
            f" the result is in {path.name if named == self.path else path}; choose .mkv next time"
        )

    def abort(self) -> None:
        """Close and remove the file. It may be called twice."""
        self._close()
        if self._spare is not None:
            self._spare.discard()

    def _close(self) -> None:
        # The file is removed first: closing writes a trailer, and may move gigabytes for that.
        self._staging.discard()
        if self._container is not None:
            with contextlib.suppress(*Write):
                self._container.close()
        if self._passthrough is not None:
            self._passthrough.close()
        for other in self._others.values():
            other.close()
        self._staging.discard()

    def failure(self, exc: Exception) -> OutputError:
        """Return an error that explains why something could not be written."""
        if getattr(exc, "errno", None) == errno.EPIPE:
            return OutputError("-: the reader of the output has closed it; keep the reader open")
        full = _is_full(exc)
        advice = "free some space" if full else "check the disk, or choose another codec or .mkv"
        if getattr(exc, "errno", None) == errno.EFBIG:
            advice += ", or write to a disk that takes larger files (FAT32 takes 4 GB)"
        name = "-" if is_stdout(self.path) else self.path
        return OutputError(f"{name}: writing failed ({_reason(exc)}), nothing was kept; {advice}")

    def __enter__(self) -> Self:
        """Return the file, open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file. On an exception, also from finishing, remove it."""
        with ExitStack() as ending:
            ending.callback(self.abort)
            if kind is None:
                self.finish()


def _is_full(exc: Exception) -> bool:
    return getattr(exc, "errno", None) in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def _reason(exc: Exception) -> str:
    return getattr(exc, "strerror", None) or str(exc)


def copy_spare(path: Path, file: OutputFile, others: Sequence[OtherVideo]) -> None:
    """Copy the video from a spare copy into `file`, with the other streams of the input."""
    with open_input(path) as container:
        stream = container.streams.video[0]
        time_base = stream.time_base or Fraction(1, 90_000)
        video = file.start(lambda out: out.add_stream_from_template(stream), time_base, others)
        for packet in PacketReader(container, [stream]):
            move(packet, time_base, 0)
            packet.stream = video
            file.mux([packet])
