"""Converts audio and subtitles to codecs that a container holds."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Protocol, cast

import av
from av.container import OutputContainer

from streamkind.video.containers import LAYOUTS, MANY_CHANNELS, MXF_RATE

_BITS_PER_CHANNEL = 96_000
"""Bit rate of converted audio, in bits per second and channel. It is more than AAC needs."""
_SLOW_MP2, _MOST_BITS = 32_000, 160_000
"""Sampling rate, in Hz, below which MP2 has another table of bit rates (ISO 13818-3, 2.4.2.3), and
the largest one of that table, in bits per second."""


class Converter(Protocol):
    """Converts packets of an input stream to packets of an output stream."""

    stream: Any
    """The output stream."""
    failed: int
    """Number of packets that could not be decoded."""

    def __call__(self, packet: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
        """Convert a packet; None is the end."""


class SoundConverter:
    """Decodes audio and encodes it again, with the same time stamps."""

    def __init__(self, stream: Any, encoder: str, output: OutputContainer) -> None:
        """Add a stream to the output, which has no header yet."""
        self.failed = 0
        self._source: Any = stream.codec_context
        codec: Any = av.Codec(encoder, "w")
        rates = [MXF_RATE] if output.format.name == "mxf" else codec.audio_rates
        rate = _nearest(self._source.sample_rate, rates)
        self.stream = cast(Any, output.add_stream(encoder, rate=rate))
        self._context = self.stream.codec_context
        channels = self._source.channels
        several = encoder in MANY_CHANNELS and channels in LAYOUTS
        self._context.layout = LAYOUTS[channels if several else min(channels, 2)]
        if codec.audio_formats:
            self._context.format = codec.audio_formats[0]
        if not encoder.startswith("pcm"):
            bits = _BITS_PER_CHANNEL * self._context.channels
            slow = encoder == "mp2" and rate < _SLOW_MP2
            self._context.bit_rate = min(bits, _MOST_BITS) if slow else bits
        self._resampler: Any = None
        self._told: Any = None

    def __call__(self, packet: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
        """Convert a packet; None is the end."""
        try:
            frames = self._source.decode(packet)
        except av.FFmpegError:
            self.failed += 1
            return
        for frame in frames:
            yield from self._encode(self._resample(frame))
        if packet is None:
            yield from self._encode(self._rest())
            yield from self._context.encode(None)

    def _resample(self, frame: av.AudioFrame) -> list[av.AudioFrame]:
        told = frame.format.name, frame.layout.name, frame.sample_rate, frame.time_base
        made: list[av.AudioFrame] = []
        if told != self._told:  # also within a stream: broadcasts change from stereo to 5.1
            made, self._told = self._rest(), told
            self._resampler = av.AudioResampler(
                format=self._context.format,
                layout=self._context.layout,
                rate=self._context.sample_rate,
                frame_size=self._context.frame_size or None,
            )
        return made + list(self._resampler.resample(frame))

    def _rest(self) -> list[av.AudioFrame]:
        """Return what the resampler still holds."""
        if self._resampler is None:
            return []
        return [frame for frame in self._resampler.resample(None) if frame is not None]

    def _encode(self, frames: list[av.AudioFrame]) -> Iterator[av.Packet[Any]]:
        tick = Fraction(1, self._context.sample_rate)  # the encoder expects the same one throughout
        for frame in frames:
            if frame.pts is not None:
                frame.pts = round(frame.pts * (frame.time_base or tick) / tick)
                frame.time_base = tick
            yield from self._context.encode(frame)


class TextConverter:
    """Decodes text subtitles and encodes them in another text format."""

    def __init__(self, stream: Any, encoder: str, output: OutputContainer) -> None:
        """Add a stream to the output, which has no header yet."""
        self.failed = 0
        self._source: Any = stream.codec_context
        self._source.open(strict=False)
        self._context = cast(Any, av.CodecContext.create(encoder, "w"))
        self._context.subtitle_header = self._source.subtitle_header
        self._context.time_base = stream.time_base
        self.stream: Any = output.add_mux_stream(encoder, time_base=stream.time_base)

    def __call__(self, packet: av.Packet[Any] | None) -> Iterator[av.Packet[Any]]:
        """Convert a packet; None is the end."""
        if packet is None:
            return
        try:
            shown = self._source.decode2(packet)
            text = None if shown is None else self._context.encode_subtitle(shown)
        except av.FFmpegError:
            self.failed += 1
            return
        if text is None or not text.size:
            return  # an empty subtitle marks a gap
        text.time_base = packet.time_base
        text.pts, text.dts, text.duration = packet.pts, packet.dts, packet.duration
        yield text


def converter(stream: Any, encoder: str, output: OutputContainer) -> Converter:
    """Open the converter for a stream of audio or subtitles."""
    if stream.type == "audio":
        return SoundConverter(stream, encoder, output)
    return TextConverter(stream, encoder, output)


def _nearest(rate: int, rates: list[int] | None) -> int:
    """Return the lowest sample rate of an encoder that is at least `rate`, or else its highest."""
    if not rates:
        return rate
    return min((r for r in rates if r >= rate), default=max(rates))
