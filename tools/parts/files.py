"""Measures which kinds of sound and subtitles each container can hold.

Needs Debian's ffmpeg. Each input is written to each container as `streamkind enhance` does, but
without the networks. Then the sound or subtitles of the result are decoded.
"""

from __future__ import annotations

import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path

import av

from parts.record import Measured, Table
from streamkind.errors import StreamkindError
from streamkind.video.containers import codec_of
from streamkind.video.sink import open_sink
from streamkind.video.source import open_source

SECONDS = 1
"""Length of each input, in seconds."""
# fmt: off
SOUNDS = {
    "aac": "aac", "mp3": "libmp3lame", "mp2": "mp2", "ac3": "ac3", "eac3": "eac3",
    "opus": "libopus", "vorbis": "libvorbis", "flac": "flac", "alac": "alac",
    "dts": "dca -strict -2", "truehd": "truehd -strict -2",
    "pcm_s16le": "pcm_s16le", "pcm_s16be": "pcm_s16be",
    "pcm_s24le": "pcm_s24le", "pcm_s32le": "pcm_s32le", "pcm_f32le": "pcm_f32le",
    "pcm_u8": "pcm_u8", "pcm_alaw": "pcm_alaw -ar 8000 -ac 1",
    "pcm_mulaw": "pcm_mulaw -ar 8000 -ac 1", "adpcm_ms": "adpcm_ms",
    "adpcm_ima_wav": "adpcm_ima_wav", "g726": "g726 -ar 8000 -ac 1 -b:a 32k",
    "g722": "g722 -ar 16000 -ac 1", "wmav1": "wmav1 -b:a 64k", "wmav2": "wmav2 -b:a 64k",
}
# fmt: on
"""Kind of sound -> encoder of `ffmpeg`, and its options."""
TEXTS = ("subrip", "ass", "webvtt", "mov_text")
"""Kinds of subtitles: encoders of `ffmpeg`."""
# fmt: off
KINDS = {
    "mp4": "h264", "mov": "h264", "m4v": "h264", "mkv": "h264", "webm": "vp9", "ts": "h264",
    "avi": "h264", "flv": "h264", "wmv": "h264", "mpg": "mpeg2video", "vob": "mpeg2video",
    "mxf": "mpeg2video", "3gp": "h264", "nut": "h264",
}
# fmt: on
"""Suffix of each container -> a video codec that it can hold."""


def ffmpeg(*words: object) -> None:
    """Run ffmpeg. Raises CalledProcessError or TimeoutExpired."""
    command = ["ffmpeg", "-v", "error", "-y", "-nostdin", *map(str, words)]
    subprocess.run(command, check=True, timeout=60)


def make_inputs(folder: Path) -> dict[str, Path]:
    """Make a video with each kind of sound and subtitles; return the files by kind."""
    picture, text = folder / "picture.mkv", folder / "text.srt"
    size = f"testsrc=s=64x48:r=25:d={SECONDS}"
    x264 = ["-c:v", "libx264", "-preset", "ultrafast", "-threads", 1, "-pix_fmt", "yuv420p"]
    ffmpeg("-f", "lavfi", "-i", size, *x264, picture)
    text.write_text("1\n00:00:00,100 --> 00:00:00,500\nnight\n")
    made = {}
    tone = f"sine=440:r=48000:d={SECONDS},aformat=channel_layouts=stereo"
    for name, words in SOUNDS.items():
        made[name] = folder / f"{name}.mkv"
        given = ["-i", picture, "-f", "lavfi", "-i", tone, "-c:v", "copy"]
        ffmpeg(*given, "-c:a", *words.split(), made[name])
    for name in TEXTS:
        made[name] = folder / f"{name}.{'mp4' if name == 'mov_text' else 'mkv'}"
        ffmpeg("-i", picture, "-i", text, "-c:v", "copy", "-c:s", name, made[name])
    return made


def outcome(path: Path, kind: str, folder: Path) -> str:
    """Write a file to a container; return what happened to its sound or subtitles.

    "yes": copied. The name of a codec: converted, with a warning. "-": left out, with a warning.
    Words in capitals are faults. LOST: left out without a warning. BROKEN: of another length. LOUD:
    copied, but with a warning. SILENT: converted without a warning.
    """
    output = folder / f"out.{kind}"
    with open_source(path) as source:
        try:
            with open_sink(output, source, codec=KINDS[kind], crf=30) as sink:
                for frame in source:
                    sink.write(frame)
        except StreamkindError as error:
            return f"failed: {error}"
    before, after = what_is_in(path), what_is_in(output)
    told = [line for line in sink.warnings if "stream #" in line]
    if not after:
        return "-" if len(told) == 1 and "left out" in told[0] else "LOST"
    (codec, length), (codec_before, length_before) = after, before
    if abs(length - length_before) > Fraction(1, 5):
        return f"BROKEN: {float(length):.2f} s of {float(length_before):.2f} s"
    if codec == codec_before or {codec, codec_before} == {"mp2", "mp3"}:
        return "LOUD" if told else "yes"
    return f"{codec}" if len(told) == 1 and "converted" in told[0] else "SILENT"


def what_is_in(path: Path) -> tuple[str, Fraction] | None:
    """Return codec and length of the sound or subtitles of a file; None if it has neither.

    The length is that of the decoded sound in seconds, or the number of decoded subtitles.
    """
    with av.open(str(path)) as container:
        stream = next((s for s in container.streams if s.type in ("audio", "subtitle")), None)
        if stream is None:
            return None
        if stream.type == "audio":
            seconds = sum(
                (Fraction(f.samples, f.sample_rate) for f in container.decode(stream)), Fraction(0)
            )
        else:
            packets = [p for p in container.demux(stream) if p.size > 2]
            seconds = Fraction(sum(bool(stream.codec_context.decode2(p)) for p in packets))
        return codec_of(stream), seconds


def measure(data: Path, folder: Path) -> Measured:
    """Write every kind to every container; return tables of the outcomes."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        inputs = make_inputs(place)
        tables = {
            what: Table(
                {"": ""} | {f".{kind}": "" for kind in KINDS},
                [[n, *(outcome(inputs[n], kind, place) for kind in KINDS)] for n in names],
            )
            for what, names in (("sound", tuple(SOUNDS)), ("subtitles", TEXTS))
        }
    return Measured(tables)
