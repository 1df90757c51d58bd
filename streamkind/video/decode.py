"""Decodes packets into frames, and counts the frames that a damaged file has lost."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.codec.codec import Capabilities, UnknownCodecError
from av.container import InputContainer
from av.video.stream import VideoStream

from streamkind.errors import InputError
from streamkind.video.behind import late_note
from streamkind.video.codecs import decoder_of, free_packet, take_codec, without_rest
from streamkind.video.cut_off import is_cut_off
from streamkind.video.demux import PacketReader, announced_frames, tagged_seconds
from streamkind.video.timeline import NothingThereError
from streamkind.video.unreadable import encrypted

_MOST_WAITING = 1000
"""Most packets that are held from a keyframe on while a position is searched. If there are more,
they are decoded."""
_CLOSED = {
    "h264": re.compile(rb"\x00\x00\x01[\x25\x45\x65]"),
    "hevc": re.compile(rb"\x00\x00\x01[\x26\x28]"),
    "mjpeg": re.compile(b""),
    "mpeg2video": re.compile(rb"\x00\x00\x01\xb8...[\x40-\x7f\xc0-\xff]", re.DOTALL),
}
"""Bytes in the packet of a keyframe that begins a closed GOP, by codec: all later packets are then
shown after all earlier ones. IDR (H.264 and H.265, table 7-1) or `closed_gop` (H.262, 6.3.8)."""
_TELL_LENGTH = frozenset({"matroska", "mxf"})
"""FFmpeg's names of formats whose header has the length of a video but not its number of frames."""
_SKIPS = frozenset({"h264", "hevc", "mpeg4"})
"""Codecs with reordered frames, whose decoder can be told to decode nothing of a packet."""
_NEVER_SHOWN = -(1 << 62)
"""Time stamp of a packet of which nothing is to be shown, in any units of time."""


class Decoder:
    """Decodes one stream, skips packets that cannot be decoded, and counts them."""

    def __init__(self, container: InputContainer, stream: VideoStream, path: Path) -> None:
        """Decode `stream` from the present position of the container."""
        self.sent = 0
        """Number of packets given to the decoder."""
        self.failed = 0
        """Number of packets that the decoder refused."""
        self.skipped = 0
        """Number of packets that `count_to` has left out before the first decoded packet."""
        self._container = container
        self._reader = PacketReader(container, [stream])
        self._stream = stream
        self._context = stream.codec_context
        self._codec: str | None = None
        self._names = [stream.codec_context.codec.canonical_name]
        self._path = path
        self._skip_to: int | None = None
        self._closed: re.Pattern[bytes] | None = None
        self._empty = self._next = 0
        self._hidden = self._decoded = self._patched = 0
        self._ended, self._place = False, 0
        self._recent: list[av.Packet[VideoStream]] = []  # one for each thread of the decoder
        self._good: av.Packet[VideoStream] | None = None
        self._key: av.Packet[VideoStream] | None = None

    def __iter__(self) -> Iterator[av.VideoFrame]:
        """Yield frames in order of presentation, as stored: not turned upright."""
        for packet in self._whole():
            if packet.has_sidedata("encryption_info"):  # perhaps not from the beginning
                raise InputError(encrypted(self._path))
            self.sent += 1
            self._place = packet.pos or self._place
            self._count_empty(packet)
            # Samples before the start of an MP4's edit list are only references for other frames.
            self._hidden += packet.is_discard
            codec = take_codec(packet)
            same = codec == self._codec
            yield from self._decode(packet) if same else self._change(packet, codec)
        self._ended = True
        yield from self._finish()

    @property
    def aspect(self) -> Fraction:
        """Present width of a pixel divided by its height; 1 if the video does not state it."""
        return self._context.sample_aspect_ratio or Fraction(1)

    @property
    def counts(self) -> bool:
        """Whether `count_to` is possible: the frames of the codec can be counted by packets."""
        return self._stream.codec_context.name in _CLOSED

    def nothing(self) -> InputError:
        """Return the error for a file of which no frame was decoded."""
        if not self.sent:
            return NothingThereError(
                f"{self._path}: its video has no packets; expected footage. An initialisation"
                " segment needs its media segments behind it; a scrambled broadcast needs its key"
            )
        return InputError(
            f"{self._path}: none of its {self.sent} video packets could be decoded; expected"
            " footage. Copy it again, or test it: ffmpeg -v error -i FILE -f null -"
        )

    def skip_to(self, pts: int) -> None:
        """Skip to `pts`: packets that no frame from there on needs are not decoded."""
        self._skip_to = pts

    def count_to(self, frame: int) -> None:
        """Skip to frame number `frame`, from 0, in a stream without time stamps."""
        self._skip_to, self._closed = frame, _CLOSED[self._stream.codec_context.name]

    def _whole(self) -> Iterator[av.Packet[VideoStream]]:
        """Yield the packets, but not one that the end of the file has cut off."""
        half: av.Packet[VideoStream] | None = None
        for packet in self._packets():
            if half is not None:
                yield half
            half = packet if packet.is_corrupt and self.sent else None
            if half is None:
                yield packet
        if half is not None and not is_cut_off(self._path, self._container.format.name):
            yield half

    def _packets(self) -> Iterator[av.Packet[VideoStream]]:
        waiting: list[av.Packet[VideoStream]] = []
        dropped = 0
        for number, packet in enumerate(self._reader):
            if self._is_before(packet, number):
                if self._can_begin(packet):
                    dropped += len(waiting)
                    waiting.clear()
                    self.skipped = number
                waiting.append(packet)
                if len(waiting) < _MOST_WAITING:
                    continue
                if self._closed is not None:
                    self._skip_to = None  # the number of decoded frames has to be known
            else:
                self._skip_to = None
                waiting.append(packet)
            if dropped:  # the decoder still holds frames from before the dropped packets
                self._context.flush_buffers()
                dropped = 0
            yield from waiting
            waiting.clear()
        yield from waiting

    def _is_before(self, packet: av.Packet[VideoStream], number: int) -> bool:
        """Return whether a packet lies before the position to skip to."""
        if self._skip_to is None:
            return False
        if self._closed is not None:
            # Packets before the first keyframe give no frames, so they cannot be counted.
            return number < self._skip_to if number else self._can_begin(packet)
        stamp = packet.dts if packet.dts is not None else packet.pts
        return stamp is None or stamp < self._skip_to

    def _can_begin(self, packet: av.Packet[VideoStream]) -> bool:
        """Return whether all frames from the position on can be decoded if decoding begins here."""
        if self._closed is not None:
            return packet.is_keyframe and self._closed.search(bytes(packet)) is not None
        stamp = packet.pts if packet.pts is not None else packet.dts
        before = stamp is not None and self._skip_to is not None and stamp <= self._skip_to
        return packet.is_keyframe and before

    def _change(self, packet: av.Packet[VideoStream], codec: str | None) -> list[av.VideoFrame]:
        """Decode the first packet of another codec. Also return the last decoder's held frames."""
        rest = self._finish()
        self._context.flush_buffers()
        self._codec, self._context = codec, self._stream.codec_context
        self._recent, self._good, self._key = [], None, None
        if codec is not None:
            with contextlib.suppress(UnknownCodecError):  # then its packets count as damaged
                self._context = decoder_of(codec)
        name = self._context.codec.canonical_name
        if self.sent == 1:  # FFmpeg has told the codec of a later recording
            self._names = [name]
            return self._decode(packet)
        self._names.append(name)
        return rest + self._decode(without_rest(packet, name))

    def _decode(self, packet: av.Packet[VideoStream] | None) -> list[av.VideoFrame]:
        if packet is not None:
            self._recent = [*self._recent, packet][-max(1, self._context.thread_count) :]
        try:
            frames = self._context.decode(packet)
        except av.FFmpegError:
            self.failed += 1
            return []
        # If all threads are busy, the result belongs to an earlier packet, the first of `_recent`.
        self._good = self._recent[0] if self._recent else None
        self._key = packet if packet is not None and packet.is_keyframe else self._key
        self._decoded += len(frames)
        self._patched += sum(frame.is_corrupt for frame in frames)
        return frames

    def _finish(self) -> list[av.VideoFrame]:
        """Return the frames that the decoder still holds.

        PyAV stops at the first packet that fails then, and loses the frames of all others. So each
        thread of the decoder is first made to return its frame, by a packet that is not shown.
        """
        frames: list[av.VideoFrame] = []
        codec = self._context.codec
        # A keyframe needs no other frame, but would end the reordering of H.264.
        packet = self._good if codec.canonical_name in _SKIPS else self._key
        if packet is not None and codec.capabilities & Capabilities.frame_threads:
            again = free_packet(bytes(packet))
            again.pts = again.dts = _NEVER_SHOWN
            self._context.skip_frame = "ALL"
            for _ in range(self._context.thread_count - 1):
                frames += self._decode(again)
            self._context.skip_frame = "DEFAULT"
        frames += self._decode(None)
        shown = [frame for frame in frames if frame.pts != _NEVER_SHOWN]
        self._decoded -= len(frames) - len(shown)
        return shown

    def _count_empty(self, packet: av.Packet[VideoStream]) -> None:
        """Count the dropped frames of an AVI: it has an empty chunk for each of them."""
        if packet.dts is not None:
            self._empty += max(0, packet.dts - self._next)
            self._next = packet.dts + 1

    def lost(self, *, last_end: Fraction, rate: Fraction) -> int:
        """Return the number of missing frames. The last decoded frame ended at `last_end` s."""
        announced = announced_frames(self._stream, self._container)
        if announced and self._container.format.name == "avi":
            if not is_cut_off(self._path, "avi"):
                announced = min(announced, self._next)  # frames may be dropped at the end, too
            announced -= self._empty
        if announced:
            missing = announced - self._hidden - self._decoded
        else:
            missing = round((self._announced_end(last_end) - last_end) * rate)
            missing = 0 if missing == 1 else missing  # the duration of the last frame is a guess
        if self.failed:  # one failed packet can take several frames with it
            missing = max(missing, self.sent - self._hidden - self._decoded)
        return max(self.failed, missing)

    def _announced_end(self, fallback: Fraction) -> Fraction:
        """Return the end of the video by the header, in seconds, or `fallback` if it has none."""
        kind = self._container.format.name
        cut_off = kind == "flv" and is_cut_off(self._path, kind)
        if not (cut_off or _TELL_LENGTH.intersection(kind.split(","))):
            return fallback
        tagged = tagged_seconds(self._stream)
        if tagged is not None:
            return tagged
        end = Fraction(self._container.duration or 0, 1_000_000)
        # This is the end of the longest stream. Audio may be a little longer than the video.
        return end if end - fallback > 1 else fallback

    def notes(self, lost: int, repaired: int) -> list[str]:
        """Return messages on lost and damaged frames, and on repaired time stamps."""
        notes = []
        if lost:
            total = lost + self._decoded
            notes.append(
                f"{lost} of about {total} frames could not be decoded: the file is damaged"
                " or cut off; all other frames were decoded"
            )
        elif self._ended and is_cut_off(self._path, self._container.format.name):
            notes.append("the file is cut off before its end; all frames before that were decoded")
        if self._reader.bridge is not None and (steps := self._reader.bridge.steps):
            told = ", ".join(f"{step:+.1f} s" for step in steps[:3]) + ", ..." * (len(steps) > 3)
            notes.append(
                f"the time stamps jump {len(steps)} time{'s' * (len(steps) > 1)} ({told}):"
                " recordings were joined, or there are gaps; picture and sound continue without"
            )
        if self._ended:
            known = [stream.id for stream in self._container.streams]
            notes += late_note(self._path, self._container.format.name, self._place, known)
        if changes := len(self._names) - 1:
            notes.append(
                f"the codec changes {changes} time{'s' * (changes > 1)}"
                f" ({', '.join(self._names[:5])}): recordings were joined; about two frames at each"
                " change are lost"
            )
        if self._patched:
            notes.append(f"{self._patched} frames are damaged; the decoder concealed the damage")
        if repaired:
            notes.append(f"{repaired} time stamps were missing or did not rise; they were repaired")
        return notes
