"""Makes the order for the process of an output (`publish.py`): destination, format and options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamkind.live.config import CameraConfig
from streamkind.live.secrets import resolve
from streamkind.video.containers import SOUND

# `max_interleave_delta`: how long, in microseconds, a muxer waits for sound that has ended.
INTERLEAVE = {"max_interleave_delta": "200000", "flush_packets": "1"}
# Options of FFmpeg's muxer for HLS.
HLS = {
    # A keyframe begins a new segment if the present one has at least this length, in seconds. It
    # is less than `HLS_KEY_SECONDS`, because viewers cause additional keyframes.
    "hls_time": "0.5",
    "hls_list_size": "12",
    # Number of segments that stay on the disk after they have left the playlist, for slow readers.
    "hls_delete_threshold": "10",
    # omit_endlist: at an end mark players would stop, but the playlist continues after a restart.
    # temp_file: segments and playlist appear under their names when they are complete.
    "hls_flags": "delete_segments+append_list+omit_endlist+discont_start+temp_file",
    "hls_start_number_source": "epoch",  # so that no segment has the name of an older one
}
MOST_SECONDS = 20 * 86400.0
"""Longest connection by RTMP, in seconds. Its time stamps have 31 bits and count milliseconds, so
they overflow after 24 days."""


def order(url: str, config: CameraConfig) -> dict[str, Any]:
    """Return the order for the publisher of an output, which is sent to it as JSON.

    Raises UsageError for a secret in `url` that does not exist.
    """
    url = resolve(url)
    scheme = url.partition(":")[0] if "://" in url else ""
    if not scheme:
        url = str(Path(url).absolute())  # FFmpeg takes `yard:1/x.mkv` for a protocol
    options = dict(INTERLEAVE)
    folder, kind = "", ""
    recorded = False
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
        options |= HLS
    else:
        kind, folder, recorded = {"mkv": "matroska", "mp4": "mp4"}[config.recording], url, True
    # RTMP also takes G.711, for which FFmpeg itself checks the sample rate.
    holds = None if kind == "flv" else SOUND.get("mpegts" if kind == "hls" else kind)
    container = kind
    if recorded:
        # The segment muxer is used, with one file, because it allows codecs of sound that PyAV
        # refuses for the muxer of Matroska.
        options |= {"segment_time": "31536000", "segment_format": kind, "strftime": "1"}
        # After a crash, the file can be played up to its last fragment or cluster.
        whole = ":movflags=+frag_keyframe+empty_moov" if kind == "mp4" else ""
        options["segment_format_options"] = f"flush_packets=1{whole}"
        kind = "segment"
    return {
        "holds": None if holds is None else sorted(holds),
        "url": url,
        "format": kind,
        "container": container,
        "options": options,
        "folder": folder,
        "suffix": config.recording,
        "segment_seconds": config.segment_seconds if recorded else 0.0,
        "keep": config.keep_gb * 1e9,
        "keep_days": config.keep_days,
        "keep_free": config.keep_free_gb * 1e9,
        "most_seconds": MOST_SECONDS if kind == "flv" else 0.0,
    }
