"""Writes a second copy of the encoded video, which is used if the output's container fails."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from streamkind.platform import replace
from streamkind.video.publish import Staging

SPARE_SUFFIX = ".nut"
"""Ending of the spare copy. NUT holds every time base and the output of every encoder."""
KEPT_FREE = 1 << 30
"""Free space on the disk below which there is no spare copy, in bytes."""


class SpareCopy:
    """The packets of a video, in a hidden NUT file beside the output.

    If the disk is nearly full, the file is removed, and `whole` becomes False.
    """

    def __init__(self, final: Path) -> None:
        """Choose a name. Call `start` next."""
        self.whole = False
        """Whether the file has all packets so far."""
        self._staging = Staging(final.with_suffix(SPARE_SUFFIX))
        self._container: OutputContainer | None = None

    @property
    def path(self) -> Path:
        """The hidden file."""
        return self._staging.path

    def start(self, video: VideoStream) -> None:
        """Begin the file for a stream whose container has its header already."""
        with contextlib.suppress(av.FFmpegError, ValueError, OSError):
            if shutil.disk_usage(self.path.parent).free < KEPT_FREE:
                return
            options = {"avoid_negative_ts": "disabled"}
            self._container = av.open(
                self._staging.url, "w", format="nut", container_options=options
            )
            self._stream = self._container.add_stream_from_template(video, opaque=True)
            self._stream.time_base = video.time_base
            self._container.start_encoding()
            self.whole = True

    def put(self, packet: av.Packet[Any]) -> None:
        """Write a packet to the file. The packet is not changed."""
        if not self.whole or self._container is None:
            return
        try:
            if shutil.disk_usage(self.path.parent).free < KEPT_FREE:
                raise OSError("the disk is nearly full")
            copy = av.Packet(bytes(packet))
            copy.stream, copy.time_base = self._stream, packet.time_base
            copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
            copy.is_keyframe = packet.is_keyframe
            self._container.mux_one(copy)
        except (av.FFmpegError, ValueError, OSError):
            self.discard()

    def finish(self) -> None:
        """End the file, so that it can be read."""
        if self._container is not None:
            container, self._container = self._container, None
            try:
                container.close()
            except (av.FFmpegError, ValueError):
                self.discard()

    def publish(self, path: Path) -> None:
        """Give the file a name. Raises OSError."""
        replace(self.path, path)

    def discard(self) -> None:
        """Remove the file. It may be called twice."""
        self.whole = False
        self._staging.discard()
        with contextlib.suppress(av.FFmpegError, ValueError):
            self.finish()
        self._staging.discard()
