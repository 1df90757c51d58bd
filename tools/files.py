"""Put every kind of sound, subtitles and data into every container: python tools/files.py.

Needs Debian's ffmpeg. Each input is passed through as `streamkind enhance` does, without the nets;
then all that is in the result is decoded. Writes docs/files.md, or with --check compares.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av

from streamkind.errors import StreamkindError
from streamkind.video.containers import codec_of
from streamkind.video.sink import open_sink
from streamkind.video.source import open_source

PAGE = Path(__file__).parents[1] / "docs" / "files.md"
SECONDS = 1
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
"""How `ffmpeg` makes each kind."""
TEXTS = ("subrip", "ass", "webvtt", "mov_text")
# fmt: off
KINDS = {
    "mp4": "h264", "mov": "h264", "m4v": "h264", "mkv": "h264", "webm": "vp9", "ts": "h264",
    "avi": "h264", "flv": "h264", "wmv": "h264", "mpg": "mpeg2video", "vob": "mpeg2video",
    "mxf": "mpeg2video", "3gp": "h264", "nut": "h264",
}
# fmt: on
"""Endings of outputs, and a codec of the picture that each holds."""


def ffmpeg(*words: object) -> None:
    """Run ffmpeg, or raise."""
    command = ["ffmpeg", "-v", "error", "-y", "-nostdin", *map(str, words)]
    subprocess.run(command, check=True, timeout=60)


def make_inputs(folder: Path) -> dict[str, Path]:
    """Make a file for each kind of sound and subtitles, with a picture."""
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
    """Pass a file through into a container, and say what became of its second stream."""
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
    """The codec of a file's sound or subtitles, and how long what can be decoded of it is."""
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


def table(names: tuple[str, ...], inputs: dict[str, Path], kinds: list[str], folder: Path) -> str:
    """Return a table in Markdown: a row an input, a column a container."""
    lines = ["| | " + " | ".join(f".{kind}" for kind in kinds) + " |"]
    lines.append("| --- |" + " --- |" * len(kinds))
    for name in names:
        cells = [outcome(inputs[name], kind, folder) for kind in kinds]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


HEAD = """# Files

Inputs are all files that FFmpeg reads. What becomes of each stream is decided before the work
starts. A line says so for each stream that is not copied.

`python tools/files.py` made the tables below: it writes each kind, decodes the result and compares.
"yes" means copied packet for packet. A name is the codec to which a stream is converted. "-" means
left out.
"""
TAIL = """
The picture is always encoded again. In all containers:

| | |
| --- | --- |
| the clock | begins at 0; picture and sound are moved by the same time |
| steps of the clock (joined recordings, gaps) | bridged in MPEG-TS and MPEG-PS; a line says so |
| raw .h264, .h265 and the like | run at the rate that they tell, or at `--fps` |
| chapters | copied |
| tags | copied, without those that are true of the old file only |
| attachments | copied into Matroska, else left out; a line says so |
| cover art | copied |
| time codes | copied into MP4 and QuickTime; into others the tag alone |
| GoPro's `gpmd` | copied into MP4 and QuickTime, else left out; a line says so |
| KLV | copied into MPEG-TS, else left out; a line says so |
| other records of cameras (`camm`, `mett`, boxes such as `gps `) | left out; a line says so |
| playlists (.m3u8, .mpd) as outputs | refused |

If a file has chapters, sound that PyAV does not admit into Matroska (G.711, ADPCM, WMA) becomes PCM
there.
"""


def page() -> str:
    """Return the whole page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs, kinds = make_inputs(folder), list(KINDS)
        sound = table(tuple(SOUNDS), inputs, kinds, folder)
        text = table(TEXTS, inputs, kinds, folder)
    return f"{HEAD}\n## Sound\n\n{sound}\n\n## Subtitles\n\n{text}\n\n## The rest\n{TAIL}"


def main() -> None:
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare docs/files.md, write nothing")
    told = page()
    if not parser.parse_args().check:
        PAGE.write_text(told)
    elif PAGE.read_text() != told:
        sys.exit("docs/files.md is not what happens: run tools/files.py")


if __name__ == "__main__":
    main()
