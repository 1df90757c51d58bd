"""Chooses and opens the encoder of the enhanced video."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.codec.context import Flags
from av.codec.hwaccel import HWAccel
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from streamkind.errors import OutputError, UsageError
from streamkind.platform import keeps_scheduling
from streamkind.video.format import HD, ColorMatrix, ColorRange, ColorTags
from streamkind.video.hardware import AUTO_HW, find_hardware_encoder
from streamkind.video.quality import quality_options
from streamkind.video.rgb_writer import RGB_FORMATS

log = logging.getLogger("streamkind.video")

_ENCODERS = {  # default encoders, by the name of the codec
    "h264": "libx264",
    "hevc": "libx265",
    "h265": "libx265",
    "av1": "libsvtav1",
    "vp9": "libvpx-vp9",
    "webp": "libwebp_anim",
    "gif": "gif",
    "apng": "apng",
}
_CODECS_OF = {
    **dict.fromkeys((".webm", ".ivf"), "vp9"),
    **dict.fromkeys((".avif", ".obu"), "av1"),
    **dict.fromkeys((".h265", ".265", ".hevc"), "hevc"),
    **dict.fromkeys((".png", ".apng"), "apng"),
    **dict.fromkeys((".mpg", ".mpeg", ".m2v", ".vob"), "mpeg2video"),
    **dict.fromkeys((".mjpeg", ".mjpg"), "mjpeg"),
    **{".y4m": "wrapped_avframe", ".gif": "gif", ".webp": "webp"},
    **{".ogv": "libtheora", ".mxf": "mpeg2video"},
}
"""Default codecs or encoders, by the ending of files that cannot hold H.264."""
_TRY_THESE = "h264, hevc, av1, vp9, or an FFmpeg encoder such as h264_nvenc"
PART_THREADS = 4
"""Number of threads that encode a part. It is fixed, because the output of x264 and x265 depends on
it, and the parts of a video may be encoded on different machines."""
_PIX_FMTS = ("yuv420p", "nv12", "yuvj420p", "yuv422p", "yuv444p", "yuvj444p")
"""Pixel formats of the encoder, in the order in which they are tried."""
_DEEP_PIX_FMTS = ("yuv420p10le", "p010le", "yuv422p10le", "yuv444p10le")
"""Pixel formats that are tried first if the input has more than 8 bits."""
_SHALLOW = ("h264",)
"""Codecs that are always written in 8 bits: few devices play H.264 in 10 bits."""


@dataclass(frozen=True, slots=True)
class EncoderSettings:
    """The settings of an encoder, which are fixed before the first frame."""

    codec: Codec
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    sample_aspect_ratio: Fraction
    color: ColorTags
    deep: bool = False
    """Whether to encode more than 8 bits if the encoder can."""
    b_frames: bool = True
    in_band: bool = False
    """Whether headers are repeated in the packets, although the container stores them once."""
    threads: int = 0
    """Number of threads; 0 lets the encoder choose."""
    thread_type: str = "AUTO"
    """FFmpeg's thread_type. With "SLICE", threads do not delay frames."""
    options: dict[str, str] = field(default_factory=dict)

    def apply(self, context: VideoCodecContext, pix_fmt: str) -> None:
        """Set up a context that is not open yet."""
        context.width, context.height = self.width, self.height
        context.pix_fmt = pix_fmt
        context.time_base = self.time_base
        context.framerate = self.rate
        context.sample_aspect_ratio = self.sample_aspect_ratio
        context.color_range = self.color.range
        context.colorspace = self.color.matrix
        context.color_primaries = self.color.primaries
        context.color_trc = self.color.transfer
        if not self.b_frames:
            context.max_b_frames = 0
        if self.in_band:
            context.flags &= ~Flags.global_header
        context.thread_type = self.thread_type
        context.thread_count = self.threads
        context.options = dict(self.options)
        if self.codec.name == "libx264" and _has_avx512():
            # With AVX-512, x264 sometimes makes other packets of the same frames. Then a resumed
            # job would differ from one that was not interrupted. AVX2 takes the same time.
            context.options["x264-params"] = "asm=avx2"
        if self.threads and self.codec.name == "libx265":
            context.options["x265-params"] += f":frame-threads={self.threads}"


@functools.cache
def _has_avx512() -> bool:
    """Return whether the processor has AVX-512. OpenCV marks missing features with a "?"."""
    features = cv2.getCPUFeaturesLine().split()
    return any("AVX512" in name and not name.endswith("?") for name in features)


def usual_codec(output: str | Path, told: str) -> str:
    """Return the codec that the user names, or for `auto` the default of the output's format."""
    return _CODECS_OF.get(Path(str(output)).suffix.lower(), "h264") if told == "auto" else told


def find_encoder(name: str) -> Codec:
    """Find an encoder by its short name or FFmpeg's name. Raises UsageError."""
    if asked := AUTO_HW.fullmatch(name):
        name = _on_hardware((asked[1] or "h264").lower())
    try:
        codec = Codec(_ENCODERS.get(name.lower(), name), "w")
    except UnknownCodecError as exc:
        raise UsageError(
            f"codec {name!r}: no such video encoder; try {_TRY_THESE}, and a name ending in .mkv"
        ) from exc
    if codec.type != "video":
        raise UsageError(f"codec {name!r}: encodes {codec.type}, not video; try {_TRY_THESE}")
    return codec


@functools.cache
def _on_hardware(kind: str) -> str:
    """Return a hardware encoder for a codec, or the codec itself if none opens. Log which, once."""
    found, failed = find_hardware_encoder(kind, av.codecs_available, _opens)
    if found:
        log.warning("encoded on hardware: %s", found)
        return found
    tried = ", ".join(failed) or f"FFmpeg has none for {kind}"
    log.warning("encoded in software: no hardware encoder can be used here (%s)", tried)
    return kind


def _opens(name: str) -> bool:
    """Return whether an encoder opens, at a size and with a quality that files usually have."""
    codec = Codec(name, "w")
    settings = EncoderSettings(
        codec=codec,
        width=256,
        height=256,
        time_base=Fraction(1, 25),
        rate=Fraction(25),
        sample_aspect_ratio=Fraction(1),
        color=HD,
        options=quality_options(codec, None, None),
    )
    try:
        choose_pix_fmt(settings)
    except OutputError:
        return False
    return True


def coded_color(codec: Codec, color: ColorTags) -> ColorTags:
    """Return the tags to encode in. Motion JPEG has no tags: it is always full-range BT.601."""
    if codec.name != "mjpeg":
        return color
    return replace(color, matrix=ColorMatrix.BT601, range=ColorRange.FULL)


def choose_pix_fmt(settings: EncoderSettings) -> str:
    """Return a pixel format that the encoder opens with. Raises OutputError if there is none.

    yuv420p plays on all devices. H.264 and HEVC cannot have an odd size in 4:2:0, because they crop
    in pairs of pixels. For odd sizes, yuv422p (even widths) or yuv444p is chosen instead. VP9 and
    AV1 can have odd sizes in 4:2:0.
    """
    known = {form.name for form in settings.codec.video_formats or []}
    deep = settings.deep and settings.codec.canonical_name not in _SHALLOW
    order = (*(n for n in _DEEP_PIX_FMTS if deep and n in known), *_PIX_FMTS)
    names = [n for n in order if not known or n in known] or sorted(known)[:1] or ["yuv420p"]
    failure: Exception | None = None
    if settings.codec.name in RGB_FORMATS:
        names = [RGB_FORMATS[settings.codec.name]]
    for name in ["nv12"] if known and _hardware(settings.codec) else names:
        context = av.CodecContext.create(
            settings.codec.name, "w", hwaccel=_hardware(settings.codec)
        )
        assert isinstance(context, VideoCodecContext)
        settings.apply(context, name)
        try:
            with keeps_scheduling():
                context.open()
        except (av.FFmpegError, ValueError, RuntimeError, NotImplementedError) as exc:
            failure = failure or exc
        else:
            return name
    raise OutputError(_why_not_open(settings, failure)) from failure


def _why_not_open(settings: EncoderSettings, failure: Exception | None) -> str:
    reason = getattr(failure, "strerror", None) or str(failure)
    asked = ", ".join(f"{key}={value}" for key, value in settings.options.items())
    return (
        f"encoder {settings.codec.name} cannot be opened here for"
        f" {settings.width}x{settings.height} at {float(settings.rate):.4g} frames a second with"
        f" {asked} ({reason}); check crf and preset, and for a hardware encoder its device and"
        f" driver, or try codec h264 and a name ending in .mkv"
    )


def _hardware(codec: Codec) -> HWAccel | None:
    # VAAPI accepts only frames in the device's memory. NVENC, QSV and others upload frames.
    if not codec.name.endswith("_vaapi"):
        return None
    return HWAccel("vaapi")


def add_encoder(container: OutputContainer, settings: EncoderSettings, pix_fmt: str) -> VideoStream:
    """Add the video stream to a container, and open its encoder. Raises UsageError."""
    try:
        stream = container.add_stream(
            settings.codec.name, rate=settings.rate, hwaccel=_hardware(settings.codec)
        )
    except ValueError as exc:
        raise UsageError(
            f"codec {settings.codec.name}: the format {container.format.name} cannot hold it;"
            f" try codec {container.default_video_codec}"
        ) from exc
    assert isinstance(stream, VideoStream)
    settings.apply(stream.codec_context, pix_fmt)
    stream.time_base = settings.time_base
    if settings.codec.canonical_name == "hevc" and container.format.name in ("mp4", "mov"):
        stream.codec_context.codec_tag = "hvc1"  # Apple's players accept no other tag
    try:
        with keeps_scheduling():
            stream.codec_context.open()
    except av.FFmpegError as exc:
        raise OutputError(_why_not_open(settings, exc)) from exc
    return stream
