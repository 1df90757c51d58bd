"""Copies everything that is not enhanced: audio, subtitles, data, chapters and tags.

The input is opened a second time, and read only as far as the video is written. So memory does not
grow with the length of the file.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator
from fractions import Fraction
from itertools import islice
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.stream import Discard

from streamkind.video.boxes import private_boxes
from streamkind.video.bridge import may_step, shift
from streamkind.video.codecs import OneCodec
from streamkind.video.containers import MP4_LIKE, Decision, admits, decide
from streamkind.video.convert import Converter, converter
from streamkind.video.demux import PacketReader, first_packets, is_picture, open_input, read_only
from streamkind.video.remarks import copied_note
from streamkind.video.source import VideoSource
from streamkind.video.tags import chapter_of_part, describe, tags_of_part
from streamkind.video.timeline import RisingClock

REFUSED = av.error.InvalidDataError, av.error.ArgumentError, av.error.PatchWelcomeError
"""FFmpeg's errors for damaged packets. A full or broken disk gives other errors."""
_SEEK_MARGIN_SECONDS = 2
"""Time to seek to before the start, in seconds: packets of audio may be earlier in the file."""
_END_MARGIN_SECONDS = 2
"""Time after the end of a part to which each stream is read, in seconds: other streams may be later
in the file."""
_PICTURE_TYPES = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}
"""File ending and media type of an attached picture, by its codec."""


class Passthrough:
    """Copies the packets of all streams that are not enhanced."""

    def __init__(self, source: VideoSource, others: Collection[int] = ()) -> None:
        """Open the input of `source` a second time. `others` are enhanced too, so not copied."""
        self.warnings: list[str] = []
        self._path, self._kind = source.path, ""
        self._cut, self._origin, self._place = source.cut, source.origin, source.place
        self._indexed = source.indexed
        self._rate, begin = source.format.frame_rate, source.start_pts * source.format.time_base
        self._late = source.cut is not None and source.cut.start > begin
        self._input: InputContainer = open_input(source.path)
        if any(s.type == "audio" and not _described(s) for s in self._input.streams):
            self._input.close()  # FFmpeg must read more, as audio begins late
            self._input = open_input(source.path, thorough=True)
        self._main = source.stream_index
        self._enhanced = {source.stream_index, *others, *source.left_out}
        self._decisions: dict[int, Decision] = {}
        self._output: OutputContainer | None = None
        self._copies: dict[int, Any] = {}
        self._converters: dict[int, Converter] = {}
        self._clocks: dict[int, RisingClock] = {}
        self._running: set[int] = set()
        self._over: set[int] = set()
        self._refused: Counter[int] = Counter()
        self._one_codec = OneCodec()
        self._mp4 = False
        self._waiting: av.Packet[Any] | None = None
        self._packets: Iterator[av.Packet[Any]] = iter(())

    @property
    def streams(self) -> list[Any]:
        """All streams of the input in order, with the enhanced ones."""
        return list(self._input.streams)

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the file that are true of the output."""
        return self.fresh(self._input.metadata)

    def fresh(self, metadata: dict[str, str]) -> dict[str, str]:
        """Return the tags that are true of the part that is delivered."""
        tags, notes = tags_of_part(metadata, self._rate or 0, late=self._late)
        self.warnings += [note for note in notes if note not in self.warnings]
        return tags

    def decide(self, kind: str) -> bool:
        """Decide which streams are copied, converted and left out in FFmpeg's format `kind`.

        Return whether the container must be opened with `wide` (see `open_output`).
        """
        self._kind = kind
        packets = first_packets(self._path)
        chapters = bool(self._input.chapters())
        for stream in self._input.streams:
            if stream.index in self._enhanced or self._is_rewritten(stream, kind):
                continue
            # Opening with `wide` loses chapters.
            decision = decide(stream, kind, packets.get(stream.index, []), whole=not chapters)
            self._decisions[stream.index] = decision
            if decision.fate != "copied":
                told = f"stream #{stream.index} ({describe(stream)}) is {decision.fate}"
                self.warnings.append(f"{told}{' ' if decision.encoder else ': '}{decision.why}")
        if boxes := private_boxes(self._path):
            names = ", ".join(f"'{name}'" for name in boxes)
            self.warnings.append(
                f"private records of the camera in the file ({names}) are left out; keep the input"
            )
        copied = [s for s in self._input.streams if self._fate(s) == "copied"]
        if videos := [s.index for s in copied if s.type == "video" and not is_picture(s)]:
            self.warnings.append(copied_note(self._main, videos))
        return kind == "matroska" and any(not admits(s, kind) for s in copied)

    def _is_rewritten(self, stream: Any, kind: str) -> bool:
        if stream.discard == Discard.all and getattr(stream, "name", None) is not None:
            return True  # the track with the chapters of an MP4: `add_tags` writes the chapters
        if stream.type == "data" and "timecode" in stream.metadata:
            return True  # a track of time codes: FFmpeg writes it from the tag of the video
        return is_picture(stream) and kind == "matroska"

    def _fate(self, stream: Any) -> str:
        decision = self._decisions.get(stream.index)
        return "" if decision is None else decision.fate

    def add(self, stream: Any, output: OutputContainer) -> None:
        """Add a stream of the input to `output`, as `decide` has decided."""
        if is_picture(stream) and self._kind == "matroska":
            self._attach_picture(stream, output)
            return
        decision = self._decisions.get(stream.index)
        if decision is None or decision.fate == "left out":
            return
        if decision.fate == "converted":
            made = converter(stream, decision.encoder, output)
            self._converters[stream.index], copy = made, made.stream
        else:
            copy = output.add_stream_from_template(stream, opaque=True)
        copy.metadata.update(self.fresh(stream.metadata))
        copy.disposition = stream.disposition
        self._copies[stream.index] = copy

    def _attach_picture(self, stream: Any, output: OutputContainer) -> None:
        """Add cover art as an attachment, as Matroska requires."""
        ending, mime = _PICTURE_TYPES.get(stream.codec_context.name, ("", ""))
        # Cover art comes before all other packets.
        packet = next(iter(PacketReader(self._input, [stream])), None)
        if not mime or packet is None:
            self.warnings.append(f"stream #{stream.index} (cover art) is left out: unknown type")
            return
        name = stream.metadata.get("filename", f"cover.{ending}")
        output.add_attachment(name, stream.metadata.get("mimetype", mime), bytes(packet))

    def add_tags(self, output: OutputContainer) -> None:
        """Copy chapters and the metadata of the file."""
        output.metadata.update(self.tags)
        end = None if self._cut is None else self._cut.end
        moved = [chapter_of_part(c, self._origin, end) for c in self._input.chapters()]
        if chapters := [chapter for chapter in moved if chapter is not None]:
            output.set_chapters(chapters)

    def start(self, output: OutputContainer) -> None:
        """Write cover art, and prepare to copy packets. The header has been written before."""
        self._output = output
        self._mp4 = self._kind in MP4_LIKE
        copied = [s for s in self._input.streams if s.index in self._copies]
        pictures = [s for s in copied if is_picture(s)]
        for packet in islice(PacketReader(self._input, pictures), len(pictures)):
            self._mux(packet)
        moving = [s for s in copied if not is_picture(s) and s.type != "attachment"]
        if not moving:
            return
        read_only(self._input, moving)
        if self._place is not None:
            self._input.seek(self._place, unsupported_byte_offset=True)
        # If the clock may step, the file is read from its beginning, as in `VideoSource`.
        elif self._cut is not None and self._indexed and not may_step(self._input):
            target = int((self._cut.start - _SEEK_MARGIN_SECONDS) * 1_000_000)
            # AVI and FLV give no more packets after seeking to before their start.
            if target > (self._input.start_time or 0):
                with contextlib.suppress(av.FFmpegError):  # then packets before it are dropped
                    self._input.seek(target)
        self._regular = {s.index for s in moving if s.type in ("audio", "video")}
        self._packets = self._one_codec.of(PacketReader(self._input, moving), self._converters)

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copy the packets before `seconds` of the output's timeline; all the rest for None."""
        while True:
            if self._waiting is None:
                self._waiting = self._next_packet()
            packet = self._waiting
            if packet is None:
                self._finish()
                return
            if seconds is not None and (packet.dts or 0) * packet.time_base > seconds:
                return
            self._waiting = None
            self._mux(packet)

    def _next_packet(self) -> av.Packet[Any] | None:
        for packet in self._packets:
            # FFmpeg's MP4 muxer writes the empty packets between subtitles itself.
            gap = self._mp4 and packet.stream.type == "subtitle" and bytes(packet) == b"\0\0"
            if not gap and self._keep(packet):
                self._retime(packet)
                return packet
            if self._over and self._over >= self._regular:
                self._packets = iter(())  # nothing of the part follows
                break
        return None

    def _keep(self, packet: av.Packet[Any]) -> bool:
        """Return whether a packet belongs to the delivered part, and move it to its timeline."""
        base, index = packet.time_base, packet.stream_index
        begin = round(self._origin / base)
        if self._cut is None:
            shift(packet, -begin)
            return True
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            return False
        if self._cut.end is not None and stamp * base >= self._cut.end:
            if stamp * base >= self._cut.end + _END_MARGIN_SECONDS:
                self._over.add(index)
            return False
        if stamp < begin:
            # A subtitle that begins before the cut and is shown after it is kept.
            if packet.stream.type != "subtitle" or stamp + (packet.duration or 0) <= begin:
                return False
            packet.duration = stamp + (packet.duration or 0) - begin
            packet.pts = packet.dts = stamp = begin
        if self._cut.end is not None and packet.stream.type == "subtitle":
            packet.duration = min(packet.duration or 0, round(self._cut.end / base) - stamp)
        if packet.stream.type == "video" and index not in self._running:
            if not packet.is_keyframe:
                return False
            self._running.add(index)
        shift(packet, -begin)
        return True

    def _retime(self, packet: av.Packet[Any]) -> None:
        """Make dts rise, as muxers require. Time stamps that rise already are not changed."""
        index = packet.stream_index
        if index not in self._clocks:
            self._clocks[index] = RisingClock(packet.time_base, packet.duration or 1)
        least = 0 if packet.stream.type in ("subtitle", "data") else 1
        if packet.dts is None:
            packet.dts = self._guess_dts(packet)
        stamp = self._clocks[index](packet.dts, least=least)
        moved = 0 if packet.dts is None else stamp - packet.dts
        if abs(moved) * packet.time_base < 1:
            moved = 0  # one wrong dts does not change pts; a clock that was set back changes both
        packet.pts = stamp if packet.pts is None else max(stamp, packet.pts + moved)
        packet.dts = stamp

    def _guess_dts(self, packet: av.Packet[Any]) -> int | None:
        """Guess a dts for a packet of Matroska, which stores none. FFmpeg's guess begins late."""
        delay = getattr(packet.stream, "has_b_frames", 0)
        if not delay or packet.pts is None:
            return packet.pts
        step = packet.duration or 1
        last = self._clocks[packet.stream_index].last
        return packet.pts - delay * step if last is None else last + step

    def _mux(self, packet: av.Packet[Any]) -> None:
        index = packet.stream_index
        made = self._converters.get(index)
        for result in [packet] if made is None else made(packet):
            self._write(result, index)

    def _finish(self) -> None:
        """Write the packets that the converters still hold."""
        for index, made in self._converters.items():
            for result in made(None):
                self._write(result, index)
            self._refused[index] += made.failed
        self._converters.clear()

    def _write(self, packet: av.Packet[Any], index: int) -> None:
        assert self._output is not None
        packet.stream = self._copies[index]
        try:
            self._output.mux_one(packet)
        except REFUSED:
            self._refused[index] += 1

    def close(self) -> None:
        """Close the input. It may be called twice."""
        self._packets = iter(())
        self._input.close()
        for index, count in (+self._refused).items():
            self.warnings.append(f"{count} packets of stream #{index} could not be written")
        self._refused.clear()
        self.warnings += self._one_codec.notes(self._kind)


def _described(stream: Any) -> bool:
    return stream.codec_context is None or stream.codec_context.sample_rate > 0
