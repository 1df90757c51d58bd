"""Opens the URL of a camera with FFmpeg's options for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel

from streamkind.live.access_units import SYNTAX
from streamkind.live.config import Transport
from streamkind.video.storage import file_url

_NETWORK = "rtp,rtsp,rtsps,rtmp,rtmps,http,https,httpproxy,hls,tcp,tls,udp,crypto,data"
"""FFmpeg's protocols that a camera's URL, or a playlist from it, may use. None reads files."""
_OPTIONS = {"analyzeduration": "1000000", "fpsprobesize": "0", "merge_pmt_versions": "1"}
"""FFmpeg's options: one second, in microseconds, to find the streams; no wait for the frame rate;
and streams of MPEG-TS that stay the same if their PID changes. PyAV ignores new streams, so without
the last option it would return no more packets."""
_WHOLE = ("mjpeg", "pcm_", "adpcm_", "g72", "aac", "opus")
"""Beginnings of FFmpeg's names of the codecs whose frames FFmpeg returns whole from RTP without its
parsers."""


def is_file(url: str) -> bool:
    """Return whether a camera's URL names a file."""
    return url.startswith("file:")


def open_camera(
    url: str, timeout_seconds: float, transport: Transport, accel: HWAccel | None
) -> Any:
    """Open the container of a camera or of a file, which loops. Raises FFmpegError and ValueError.

    RTSP is opened without FFmpeg's parsers if all of its streams can be read so.
    """
    scheme, _, rest = url.partition(":")
    options, kind = dict(_OPTIONS), None
    if scheme == "file":
        return av.open(file_url(Path(rest.removeprefix("//"))), hwaccel=accel)
    if scheme == "v4l2":
        name = rest.removeprefix("//")
        return av.open(name, format="v4l2", timeout=timeout_seconds, hwaccel=accel)
    is_rtsp = scheme in ("rtsp", "rtsps")
    if is_rtsp:
        # By default FFmpeg tries UDP before TCP.
        words = {"auto": "tcp+udp"}.get(transport, transport)
        options |= {"rtsp_transport": words, "allowed_media_types": "video+audio"}
        options |= {"rtsp_flags": "prefer_tcp"} if transport == "auto" else {}
    if scheme == "udp":
        kind = "mpegts"
    # A playlist of another machine must not be able to name files of this machine.
    options["protocol_whitelist"] = _NETWORK
    connect = partial(av.open, url, format=kind, timeout=timeout_seconds, hwaccel=accel)
    if is_rtsp:
        container = connect(container_options=options | {"fflags": "+noparse"})
        if _needs_no_parser(container):
            return container
        container.close()
    return connect(container_options=options)


def _needs_no_parser(container: Any) -> bool:
    """Return whether FFmpeg knows all streams, and all packets are whole or can be joined."""
    contexts = [s.codec_context for s in (*container.streams.video, *container.streams.audio)]
    return all(c and c.name.startswith(_WHOLE + tuple(SYNTAX)) for c in contexts) and all(
        c.width for c in contexts if c.type == "video"
    )
