"""The public `Engine`: a released model on a device, for pictures and for any number of videos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import NoReturn, Self

import numpy as np

from streamkind.backends.base import Backend, CompilesInAdvance, Layers
from streamkind.engine.checks import check_pixels, check_ratio, check_target
from streamkind.engine.reduced import Reduced, carried_pix_fmt, reduced_size
from streamkind.engine.skipping import Skipping
from streamkind.engine.steady import STEADY, SteadyNames, check_steady
from streamkind.engine.stream import Stream, choose_ratio, clear_frames
from streamkind.engine.whole import Filmed, View, Whole
from streamkind.errors import UsageError
from streamkind.light.exposure import (
    DEFAULT_TARGET,
    STILL_TARGET,
    FixedRatio,
    Floats,
    OwnRatio,
    Ratio,
)
from streamkind.light.track import Track
from streamkind.model.released import padded
from streamkind.video.format import ColorTags
from streamkind.video.frames import ClearFrame, Frame, Pixels, PixFmt


class Engine:
    """A released model on a device: a context manager, which frees the device at its end.

    It stores nothing of any video, so several videos can take turns on one engine. Use an engine
    and the streams over it from one thread only. `open_engine` returns one.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        area: int | None = None,
        whole: int | None = None,
        every: int = 1,
        profile: str = "",
    ) -> None:
        """Use a backend, which `close` closes.

        Pictures of more than `whole` pixels are reduced to at most `area` pixels for the network.
        Without `area`, no picture is reduced. The network runs on at least one of `every`
        consecutive frames of a video. `profile` is the name of the profile, for the log.
        """
        self._whole = Whole(backend)
        self._area, self._most_whole, self._every = area, whole or area or 0, every
        self._filmed = Filmed(self._whole)
        self._view = self.view(film=False)
        self._backend, self._profile = backend, profile

    @property
    def max_batch(self) -> int:
        """Largest useful batch, in frames."""
        return self._whole.max_batch

    @property
    def description(self) -> str:
        """Profile, model, device and precision, for the log."""
        told = self._backend.description
        return f"{self._profile}: {told}" if self._profile else told

    def enhance(
        self, image: Pixels, *, ratio: Ratio = "auto", target: float = STILL_TARGET
    ) -> Pixels:
        """Enhance one still: (H, W, 3) uint8 RGB in and out. The result has memory of its own.

        `ratio` is how much the illumination is raised, 0.1 to 10; 1 changes nothing. "auto" brings
        dark pictures to a mean luma of `target` on average, in (0, 1]. Raises UsageError,
        EngineError, and ValueError for an image of another shape or type.
        """
        check_pixels(image)
        check_ratio(ratio)
        check_target(target)
        layers = self.decompose(image[None])
        choose = OwnRatio(target) if ratio == "auto" else FixedRatio(float(ratio))
        clear: Pixels = self.recompose(layers, choose(layers.statistics, [0.0]))[0]
        return clear

    def stream(
        self,
        frames: Iterable[Frame | tuple[float, Pixels]],
        *,
        ratio: Ratio = "auto",
        target: float = DEFAULT_TARGET,
        steady: SteadyNames = STEADY,
        ratio_track: Track | None = None,
        color: ColorTags | None = None,
    ) -> Iterator[ClearFrame]:
        """Enhance the frames of one video one by one, with a ratio that is steady over time.

        `frames` are `Frame` objects, or pairs of a time in seconds and a picture, (H, W, 3) uint8
        RGB, in order of time. Each one yields one frame with `pixels`, `ratio` and the time of the
        input. Memory does not grow with the number of frames. Several streams may take turns on one
        engine.

        `ratio`, `target` and `steady` are those of `streamkind.enhance`; `ratio_track` comes from
        `find_track`. `color` says how yuv420p frames are coded. The call raises UsageError, the
        iteration EngineError and ValueError.
        """
        check_ratio(ratio)
        check_target(target)
        check_steady(steady)
        if not isinstance(ratio_track, Track | None):
            raise UsageError(
                f"ratio_track must be a Track, got {ratio_track!r}; make one with find_track(), or"
                " read a CSV with Track.read()"
            )
        if ratio_track is not None and ratio != "auto":
            raise UsageError("a ratio track and a fixed ratio exclude each other; give one of them")
        choose = choose_ratio(ratio, target=target, track=ratio_track, steady=steady)
        return clear_frames(Stream(self, choose, steady=steady, color=color), frames)

    def decompose(self, pixels: Pixels) -> Layers:
        """Split frames, (N, H, W, 3) uint8 RGB of any size, into layers, with statistics."""
        return self._view.decompose(pixels)

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Filter the layers of N consecutive frames over time; see `Backend.steady`."""
        return self._view.steady(layers, before, strength)

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """Relight the layers of N frames by N ratios, at the size of the input.

        Returns (N, H, W, 3) uint8 RGB, which the caller may keep.
        """
        return self._view.recompose(layers, ratios)

    def view(
        self, color: ColorTags | None = None, *, skip: bool = False, film: bool = True
    ) -> View:
        """Return the view of one video, which gives its frames, whole or reduced, to the network.

        `color` says how pictures that are not RGB are coded. `skip` allows the network to skip
        frames if the profile does; the frames must then come in order. Without `film` the pictures
        are stills: each is relit by one ratio for the whole picture.
        """
        whole = self._filmed if film else self._whole
        if self._area is None:
            return whole
        carries = film and self._every > 1
        reduced = Reduced(whole, self._area, color, most_whole=self._most_whole, carries=carries)
        return Skipping(reduced, self._every) if skip and self._every > 1 else reduced

    def pix_fmt(self, width: int, height: int) -> PixFmt:
        """Return the best pixel format for frames of this size that are given to a stream."""
        return carried_pix_fmt(width, height, self._area, self._most_whole, self._every)

    def seen_size(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height of the network's input for a picture, with padding."""
        if self._area is not None:
            reduced = reduced_size(width, height, self._area, self._most_whole)
            width, height = reduced or (width, height)
        return padded(width), padded(height)

    def for_compiling(self) -> Engine | None:
        """Return a second engine on the same device, which another thread may use to compile.

        When that thread has ended, give the engine to `take_compiled`. Returns None if the backend
        cannot do this.
        """
        if not isinstance(self._backend, CompilesInAdvance):
            return None
        other = self._backend.for_compiling()
        return Engine(other, area=self._area, whole=self._most_whole, every=self._every)

    def take_compiled(self, other: Engine) -> None:
        """Take over the networks that an engine of `for_compiling` has compiled."""
        if isinstance(self._backend, CompilesInAdvance):
            self._backend.take_compiled(other._backend)

    def compile_for(self, pixels: Pixels, color: ColorTags, *, skip: bool) -> None:
        """Compile all that a stream over this engine needs for frames like `pixels`, (N, ...)."""
        view = self.view(color, skip=skip)
        layers = view.decompose(pixels)
        held = view.steady(layers, layers, np.full(2, 0.5, np.float32))
        view.recompose(held, np.full(len(pixels), 2.0, np.float32))

    def close(self) -> None:
        """Free the device. It may be called twice; any other use after it raises EngineError."""
        self._whole.close()

    def __reduce__(self) -> NoReturn:
        """Raise TypeError, because the memory of a device cannot be copied or pickled."""
        raise TypeError(
            "an engine cannot be copied or sent to another process; call open_engine() there"
        )

    def __enter__(self) -> Self:
        """Return the engine, which is open already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the device."""
        self.close()
