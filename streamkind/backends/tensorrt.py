"""The backend for TensorRT on NVIDIA cards: `tensorrt`, or else `tensorrt_rtx`.

Frames are uploaded and downloaded as uint8. Reflectance and illumination stay on the card. A batch
is divided into pieces that are processed at the same time, each by its own `CudaStream`.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TypeVar

import numpy as np

from streamkind.backends import parity, plans
from streamkind.backends.base import Layers
from streamkind.backends.build_progress import BuildLog
from streamkind.backends.cache import Cache
from streamkind.backends.cuda import Gpu, Memory
from streamkind.backends.cuda_stream import Array, CudaStream, PlanRefusedError, Program
from streamkind.backends.plans import MOST, Plan, PlanRecipe, usual_batch
from streamkind.backends.precision import FRAME_TYPES, FrameType, Precision
from streamkind.errors import EngineError
from streamkind.light.exposure import Floats, Statistics
from streamkind.model.released import PARTS, Release
from streamkind.video.frames import Levels, Pixels

STREAMS = 3
"""Number of pieces at the same time: one is uploaded, one is computed and one is downloaded."""
T = TypeVar("T")
log = logging.getLogger("streamkind.engines")


class TensorRTBackend:
    """The backend for one NVIDIA card. Missing plans are built at the first frame."""

    max_batch = MOST

    def __init__(
        self,
        release: Release,
        *,
        device: str = "auto",
        precision: Precision = "fp16",
        batch: tuple[int, int, int] | None = None,
    ) -> None:
        """Take `auto`, `cuda` or `cuda:1`. Raises UsageError and EngineError.

        `batch` is the least, usual and largest batch of the plans. The default is `usual_batch`.
        """
        self._release, self._precision, self._batch = release, precision, batch
        for part in PARTS:
            getattr(release, part).read()  # raises EngineError if a file is missing or damaged
        self._cache = Cache()
        self._programs: dict[PlanRecipe, Program] = {}
        self._most = batch[2] if batch else MOST
        self._gpu = Gpu(device)
        with ExitStack() as on_error:
            on_error.callback(self._gpu.close)
            self._library = plans.choose_library(self._gpu.card)
            self._trt = plans.load(self._library)
            with self._gpu.current():
                self._streams = [CudaStream(self._gpu) for _ in range(STREAMS)]
            on_error.pop_all()
        self.description = (
            f"{release.name} on {self._gpu.card.name} ({self._gpu.name}), "
            f"{self._library} {self._trt.__version__}, {precision}"
        )

    def decompose(self, pixels: Levels) -> Layers:
        """Split (N, H, W, 3) RGB, uint8 or float32 levels, into layers on the card."""
        layers, fine = self._guarded(lambda precision: self._decompose(pixels, precision))
        if not fine:
            raise _nan(self._release.name, "decompose")
        return layers

    def steady(self, layers: Layers, before: Layers, strength: Floats) -> Layers:
        """Filter the layers over time where nothing moves, frame by frame."""
        share = np.array([strength], np.float32)

        def hold() -> Layers:
            count, _, height, width = layers.reflectance.shape
            program = self._program("steady", (width, height), self._precision)
            now = layers.reflectance, layers.illumination
            out = [self._gpu.memory(m.shape, m.dtype) for m in now]
            last = before.reflectance[-1:], before.illumination[-1:]
            for i in range(count):
                one = slice(i, i + 1)
                held = [m[one] for m in out]
                tensors = dict(zip(_STEADY, [*(m[one] for m in now), *last, *held], strict=True))
                self._streams[0].start(program, slice(0, 1), {"strength": share}, tensors, {})
                last = held[0], held[1]
            return replace(layers, reflectance=out[0], illumination=out[1])

        return self._within_memory(hold)

    def recompose(self, layers: Layers, ratios: Floats) -> Pixels:
        """Relight layers by N ratios: (N, H, W, 3) uint8 RGB. The caller may keep the result."""
        frames, fine = self._guarded(lambda precision: self._recompose(layers, ratios, precision))
        if not fine:
            raise _nan(self._release.name, "recompose")
        return frames

    def join(self, parts: Sequence[Memory]) -> Memory:
        """Copy layers of one size, (N, C, H, W) each, into one batch on the card."""
        return self._within_memory(lambda: self._gpu.join(parts))

    def close(self) -> None:
        """Free contexts and plans, and release the card. It may be called twice."""
        if not self._streams:
            return
        parts: list[CudaStream | Program] = [*self._streams, *self._programs.values()]
        for part in parts:
            with suppress(*self._gpu.faults), self._gpu.current():
                part.close()
        self._streams, self._programs = [], {}
        self._gpu.close()

    def prepare(self, width: int, height: int) -> None:
        """Build and check the missing plans for frames of a size, multiples of 16."""
        size = width, height
        for frames in FRAME_TYPES:
            take = functools.partial(self._program, "decompose", size, self._precision, frames)
            self._within_memory(take)
        self._within_memory(lambda: self._program("steady", size, self._precision))

    def _decompose(self, pixels: Levels, precision: Precision) -> tuple[Layers, bool]:
        count, height, width, _ = pixels.shape
        frames: FrameType = "float32" if pixels.dtype == np.float32 else "uint8"
        program = self._program("decompose", (width, height), precision, frames)
        layers = {
            name: self._gpu.memory((count, channels, height, width), np.float32)
            for name, channels in (("reflectance", 3), ("illumination", 1))
        }
        told = self._run(program, count, {"frames": pixels}, layers)
        numbers = [told[name] for name in ("curve", "thumbnail", "exposure")]
        fine = all(bool(np.isfinite(array).all()) for array in numbers)
        split = layers["reflectance"], layers["illumination"]
        return Layers(*split, Statistics.of(*numbers), pixels), fine

    def _recompose(
        self, layers: Layers, ratios: Floats, precision: Precision
    ) -> tuple[Pixels, bool]:
        count, _, height, width = layers.reflectance.shape
        program = self._program("recompose", (width, height), precision)
        kept = {"reflectance": layers.reflectance, "illumination": layers.illumination}
        ratio = np.ascontiguousarray(ratios, np.float32)
        told = self._run(program, count, {"ratio": ratio}, kept)
        return told["frames"], bool(np.isfinite(told["guard"]).all())

    def _guarded(self, work: Callable[[Precision], tuple[T, bool]]) -> tuple[T, bool]:
        """Run a batch. If half precision gives values that are not finite, run it in float32."""
        result, fine = self._within_memory(lambda: work(self._precision))
        if not fine and self._precision != "fp32":
            log.warning(
                "values are not finite in %s; the batch runs again in fp32", self._precision
            )
            result, fine = self._within_memory(lambda: work("fp32"))
        return result, fine

    def _within_memory(self, work: Callable[[], T]) -> T:
        """Call `work`. If the memory of the card is too small, use fewer frames at once."""
        with self._gpu.current():
            while True:
                try:
                    try:
                        return work()
                    finally:
                        for stream in self._streams:  # before its memory is used for other arrays
                            stream.wait()
                except self._gpu.cuda.MemoryError as exc:
                    problem = str(exc)  # the exception itself would keep memory in use
                except self._gpu.cuda.Error as exc:
                    told = f"{self._gpu.card.name} failed: {exc}; run nvidia-smi to see why"
                    raise EngineError(told) from exc
                self._shrink(problem)

    def _shrink(self, problem: str) -> None:
        last = self._most == 1 and len(self._streams) == 1
        for stream in self._streams:
            stream.close()
        self._gpu.release_unused()
        streams, free = len(self._streams) if self._most > 1 else 1, self._gpu.free_mib()
        self._most = max(self._most // 2, 1)
        self._streams = [CudaStream(self._gpu) for _ in range(streams)]
        if last:
            raise EngineError(
                f"{self._gpu.card.name} has too little memory for a single frame: "
                f"{free} MiB are free ({problem}). Close other programs on "
                "the card, or use --profile balanced or a smaller picture"
            )
        log.warning("the card has too little memory; using %d frames at once", self._most)

    def _run(
        self, program: Program, count: int, up: Mapping[str, Array], kept: Mapping[str, Memory]
    ) -> dict[str, Array]:
        """Run a batch piece by piece; return the outputs that are not kept on the card."""
        down = {
            name: np.empty((count, *shape), kind)
            for name, (shape, kind) in program.outputs.items()
            if name not in kept
        }
        height, width = next(iter(kept.values())).shape[2:]
        size = min(usual_batch(width, height)[2], self._most)
        for i, first in enumerate(range(0, count, size)):
            piece = slice(first, min(first + size, count))
            self._streams[i % len(self._streams)].start(program, piece, up, kept, down)
        for stream in self._streams:
            stream.collect()
        return down

    def _recipe(
        self, part: str, size: tuple[int, int], precision: Precision, frames: FrameType
    ) -> PlanRecipe:
        return plans.write_recipe(
            self._release,
            part,
            card=self._gpu.card,
            library=self._library,
            size=size,
            batch=self._batch or usual_batch(*size),
            precision=precision,
            frames=frames,
        )

    def _program(
        self, part: str, size: tuple[int, int], precision: Precision, frames: FrameType = "uint8"
    ) -> Program:
        """Return a program on the card. Those of a size are built and checked together."""
        recipe = self._recipe(part, size, precision, frames)
        if recipe not in self._programs:
            pair = ("steady",) if part == "steady" else ("decompose", "recompose")
            recipes = [self._recipe(name, size, precision, frames) for name in pair]
            new = {r: self._take(r) for r in recipes if r not in self._programs}
            self._programs |= {r: program for r, (program, _) in new.items()}
            if part != "steady" and any("parity" not in plan.report for _, plan in new.values()):
                self._check(recipes)
        return self._programs[recipe]

    def _take(self, recipe: PlanRecipe) -> tuple[Program, Plan]:
        """Take a plan from the cache. If TensorRT refuses it, build it again, once."""
        graph = getattr(self._release, recipe.part)
        logger = plans.logger_of(self._library)

        def build() -> tuple[Plan, float]:
            began = time.monotonic()
            plan = plans.build(recipe, graph, BuildLog(recipe), self._gpu.current)
            return plan, time.monotonic() - began

        plan = self._cache.take(recipe, build, log.warning)
        try:
            program = Program(self._trt, logger, self._gpu, plan.data)
        except PlanRefusedError as reason:
            log.warning("%s: %s; building", recipe, reason)
            self._cache.forget(recipe.key)
            plan = self._cache.take(recipe, build, log.warning)
            program = Program(self._trt, logger, self._gpu, plan.data)
        if "inspected" not in plan.report:
            self._cache.note(recipe.key, {"inspected": program.inspect()})
        return program, plan

    def _check(self, recipes: list[PlanRecipe]) -> None:
        """Compare new plans with the released graphs, and remove those that differ too much."""
        first = recipes[0]

        def relight(frame: Pixels, ratio: float) -> Pixels:
            layers, _ = self._decompose(frame[None].astype(first.frames), first.precision)
            frames, _ = self._recompose(layers, np.array([ratio], np.float32), first.precision)
            one: Pixels = frames[0]
            return one

        log.warning("%s and recompose: comparing with the released graphs", first)
        try:
            found = parity.check(self._release, first.size, relight)
        except BaseException as error:  # a plan is not used if the comparison did not end
            for recipe in recipes:
                self._programs.pop(recipe)
                if isinstance(error, parity.ParityError):
                    self._cache.forget(recipe.key)
            raise
        for recipe in recipes:
            self._cache.note(recipe.key, {"parity": {"mean": found.mean, "most": found.most}})


_STEADY = (
    *("reflectance", "illumination", "before_reflectance", "before_illumination"),
    *("held_reflectance", "held_illumination"),
)
"""Names of the inputs and outputs of the steady graph, in their order."""


def _nan(model: str, part: str) -> EngineError:
    return EngineError(
        f"{model} {part} gives values that are not finite, also in fp32; use --backend openvino,"
        " and report the card and the driver"
    )
