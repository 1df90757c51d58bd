"""What the process behind an output is told to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamkind.live.config import CameraConfig
from streamkind.live.secrets import resolve
from streamkind.video.containers import SOUND

# Sound may end while the picture goes on: wait no longer for it than this, in microseconds.
INTERLEAVE = {"max_interleave_delta": "200000", "flush_packets": "1"}
MOST_SECONDS = 20 * 86400.0
"""RTMP counts 31 bits of milliseconds, 24 days: a connection begins anew before."""


def order(url: str, config: CameraConfig) -> dict[str, Any]:
    """Say what a publisher is to do."""
    url = resolve(url)
    scheme = url.partition(":")[0] if "://" in url else ""
    options = dict(INTERLEAVE)
    folder, kind, keep = "", "", 0.0
    if scheme in ("rtsp", "rtsps"):
        kind, options["rtsp_transport"] = "rtsp", "tcp"
    elif scheme in ("rtmp", "rtmps"):
        kind = "flv"
        options["flvflags"] = "no_duration_filesize"
    elif scheme == "udp":
        kind = "mpegts"
        url += ("&" if "?" in url else "?") + "pkt_size=1316"
    elif url.endswith(".m3u8"):
        kind, folder = "hls", str(Path(url).parent)
        options |= {"hls_time": "2", "hls_list_size": "6", "hls_flags": "delete_segments"}
        options["hls_start_number_source"] = "epoch"  # never the name of an older segment
    else:
        kind, folder, keep = "segment", url, config.keep_gb * 1e9
        url = f"{folder}/%Y%m%d-%H%M%SZ.{config.recording}"
        options |= {"strftime": "1", "reset_timestamps": "1"}
        options["segment_time"] = f"{config.segment_seconds:g}"
        options["segment_format"] = {"mkv": "matroska", "mp4": "mp4"}[config.recording]
        # Whole up to its last fragment or cluster, whatever happens.
        written = "flush_packets=1"
        if config.recording == "mp4":
            written += ":movflags=+frag_keyframe+empty_moov"
        options["segment_format_options"] = written
    inner = {"hls": "mpegts"}.get(kind, options.get("segment_format", kind))
    # RTMP takes G.711 too, at the rates that FFmpeg itself checks.
    holds = None if kind == "flv" else SOUND.get(inner)
    return {
        "holds": None if holds is None else sorted(holds),
        "url": url,
        "format": kind,
        "options": options,
        "folder": folder,
        "keep": keep,
        "most_seconds": MOST_SECONDS if kind == "flv" else 0.0,
    }
