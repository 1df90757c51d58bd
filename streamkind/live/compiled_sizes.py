"""Compiles the networks for new picture sizes in a second thread, while frames are enhanced."""

from __future__ import annotations

import contextlib
import threading

from streamkind.engine.engine import Engine
from streamkind.video.format import HD
from streamkind.video.frames import Pixels


class CompiledSizes:
    """The picture sizes that an engine is compiled for. Use it from the engine's thread only.

    One size is compiled at a time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: set[tuple[int, ...]] = set()
        self._other: Engine | None = None
        self._shape: tuple[int, ...] = ()
        self._thread: threading.Thread | None = None

    def has(self, pixels: Pixels) -> bool:
        """Return whether the engine is ready for frames like `pixels`; else begin to compile."""
        if self._thread is not None and not self._thread.is_alive():
            self._adopt()
        if pixels.shape in self._known:
            return True
        if self._thread is None and not self._begins(pixels):
            self._known.add(pixels.shape)
            return True
        return False

    def learn(self, shape: tuple[int, ...]) -> None:
        """Note that the engine is compiled for this shape: it has enhanced such a frame."""
        self._known.add(shape)

    def close(self) -> None:
        """Wait for the thread, which cannot be interrupted."""
        if self._thread is not None:
            self._adopt()

    def _begins(self, pixels: Pixels) -> bool:
        """Begin to compile. Return False if only the engine's own thread can do it."""
        try:
            other, frames = self._engine.for_compiling(), pixels[None].copy()
        except Exception:  # as without memory; a frame of this size will raise it again
            return False
        if other is None:
            return False

        def run() -> None:
            # The engine will raise the same error for a frame of this size, which is reported.
            with contextlib.suppress(Exception):
                other.compile_for(frames, HD, skip=self._engine.max_batch == 1)

        thread = threading.Thread(target=run, name="streamkind-compile", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads
            other.close()
            return False
        self._thread, self._other, self._shape = thread, other, pixels.shape
        return True

    def _adopt(self) -> None:
        assert self._thread is not None and self._other is not None
        self._thread.join()
        self._engine.take_compiled(self._other)
        self._other.close()
        self._known.add(self._shape)
        self._thread = self._other = None
