"""Explains why FFmpeg cannot open a file."""

from __future__ import annotations

from pathlib import Path

from streamkind.video.pipe_input import PipeInput

_LARGEST_INDEX = 1 << 26
"""Most bytes of an MP4's index that are read to find out why the file cannot be opened."""
_WTV = bytes.fromhex("B7D800203749DA11A64E0007E95EAD8D")
"""GUID with which a WTV (Windows Recorded TV) begins."""


def why_unreadable(path: Path, exc: Exception) -> str:
    """Return the message for a file that FFmpeg cannot open."""
    # A pipe, which has NUT or Y4M, cannot seek.
    index = None if isinstance(path, PipeInput) else _mp4_index(path)
    if index is not None and b"sinf" in index:
        return encrypted(path)
    if index == b"":
        return (
            f"{path}: the MP4 has no usable index (moov), so its recording was probably cut off;"
            " expected a finished file. Copy it again, or rebuild it with a tool such as untrunc"
        )
    if _begins_with(path, _WTV):
        return (
            f"{path}: a WTV that is damaged or cut off: its index, at its end, cannot be read;"
            " expected a whole file. Copy it again from its source"
        )
    reason = getattr(exc, "strerror", None) or str(exc)
    return f"{path}: not a video that FFmpeg can open ({reason}); expected e.g. MP4, MKV, AVI, TS"


def _begins_with(path: Path, begin: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(begin)) == begin


def _mp4_index(path: Path) -> bytes | None:
    """Return the index (moov) of an MP4, b"" if it has none, or None if the file is no MP4."""
    with path.open("rb") as file:
        begin, size = 0, path.stat().st_size
        while begin + 8 <= size:
            file.seek(begin)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if begin == 0 and kind != b"ftyp":
                return None
            if kind == b"moov":
                return file.read(min(length, _LARGEST_INDEX))
            length = int.from_bytes(head[8:], "big") if length == 1 else length
            begin += length if length >= 8 else size
    return b"" if begin else None


def encrypted(path: Path) -> str:
    """Return the message for an encrypted file."""
    return f"{path}: the video is encrypted (DRM); expected an unencrypted file; decrypt it first"
