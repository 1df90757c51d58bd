"""The browsers that show the live video of a camera. The encoder never waits for them."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import av

from streamkind.errors import UsageError
from streamkind.live.encoder import Coded
from streamkind.live.fragments import Fragment, FragmentMuxer

DEPTH = 64
"""Largest number of fragments that wait for a viewer: about those of a few seconds."""
MOST_VIEWERS = 32
"""Largest number of viewers of one camera."""


class Viewer:
    """A queue of fragments for one browser. Any thread may add and take."""

    def __init__(self, wake: Callable[[], None], forget: Callable[[Viewer], None]) -> None:
        """Create an empty queue.

        The encoder's thread calls `wake` when there is data to take. `leave` calls `forget`, which
        removes the viewer from the camera's viewers.
        """
        self._wake = wake
        self._forget = forget
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._mime = ""
        self._begun = self._closed = False

    @property
    def mime(self) -> str:
        """Media type of the video; empty before the first fragment."""
        with self._lock:
            return self._mime

    @property
    def closed(self) -> bool:
        """Whether the video has ended."""
        with self._lock:
            return self._closed

    def take(self) -> list[bytes]:
        """Return the waiting data: first ftyp and moov, then fragments from a keyframe on."""
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
            return waiting

    def leave(self) -> None:
        """End the viewer. It may be called twice."""
        self._forget(self)

    def offer(self, muxer: FragmentMuxer, fragment: Fragment) -> bool:
        """Add a fragment. Return False if the queue is full; then drop all until a keyframe."""
        with self._lock:
            if not self._begun and not fragment.key:
                return True
            kept = len(self._waiting) < DEPTH
            if kept:
                if not self._mime:
                    self._mime = muxer.mime
                    self._waiting.append(muxer.init)
                self._waiting.append(fragment.data)
            else:
                # If ftyp and moov have not been taken yet, they stay first.
                first = self._waiting[0]
                self._waiting.clear()
                if first is muxer.init:
                    self._waiting.append(first)
            self._begun = kept
        self._tell()
        return kept

    def close(self) -> None:
        """Mark the video as ended."""
        with self._lock:
            self._closed = True
        self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # its event loop has ended
            self._wake()


class Viewers:
    """All viewers of one camera. Without a viewer, nothing is muxed."""

    def __init__(self) -> None:
        self.wants_key = threading.Event()
        """Set when a viewer needs a keyframe to begin with."""
        self._lock = threading.Lock()
        self._viewers: tuple[Viewer, ...] = ()
        self._closed = False
        self._begins = False
        """Whether the first viewer has come: the next packet begins a new MP4."""
        self._muxer: FragmentMuxer | None = None
        """Used only by the encoder's thread."""

    def __bool__(self) -> bool:
        """Return whether there is a viewer."""
        return bool(self._now())

    def add(self, wake: Callable[[], None]) -> Viewer:
        """Return a new viewer. Raises UsageError if there are too many."""
        viewer = Viewer(wake, self._remove)
        with self._lock:
            if len(self._viewers) >= MOST_VIEWERS:
                raise UsageError(
                    f"this camera has {MOST_VIEWERS} viewers, the largest number; close one first"
                )
            if not self._closed:
                self._begins = self._begins or not self._viewers
                self._viewers += (viewer,)
                self.wants_key.set()
                return viewer
        viewer.close()
        return viewer

    def _remove(self, viewer: Viewer) -> None:
        with self._lock:
            self._viewers = tuple(known for known in self._viewers if known is not viewer)

    def offer(self, packets: Iterable[Coded], stream: Any) -> str:
        """Pass on packets that were encoded for `stream`. The encoder's thread calls this.

        Returns "", or why the viewers cannot be served. Then the video has ended for them.
        """
        with self._lock:
            viewers, begins, self._begins = self._viewers, self._begins, False
        if begins or not viewers:
            self._close_muxer()
        if not viewers:
            return ""
        try:
            self._mux(packets, stream, viewers)
        except (ValueError, av.FFmpegError) as exc:  # as for a codec that MP4 cannot hold
            self._end()
            return str(exc)
        return ""

    def _mux(self, packets: Iterable[Coded], stream: Any, viewers: tuple[Viewer, ...]) -> None:
        muxer = self._muxer = self._muxer or FragmentMuxer(stream)
        for packet in packets:
            fragment = muxer(packet) if packet.video else None
            kept = [viewer.offer(muxer, fragment) for viewer in viewers] if fragment else []
            if not all(kept):
                self.wants_key.set()

    def close(self) -> None:
        """Mark the video as ended for all viewers. The encoder's thread calls this at its end."""
        with self._lock:
            self._closed = True
        self._end()

    def _end(self) -> None:
        with self._lock:
            viewers, self._viewers = self._viewers, ()
        for viewer in viewers:
            viewer.close()
        self._close_muxer()

    def _now(self) -> tuple[Viewer, ...]:
        with self._lock:
            return self._viewers

    def _close_muxer(self) -> None:
        if self._muxer is not None:
            self._muxer.close()
            self._muxer = None
