"""Builds plans: released graphs that TensorRT compiles for one card, picture size and precision.

Both libraries have the same functions. `tensorrt` builds plans only on the card on which they will
run. `tensorrt_rtx` builds plans for any RTX card, also on a machine without one.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import platform
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any, Literal

from streamkind.backends.build_progress import run_watched
from streamkind.backends.cards import Card
from streamkind.backends.inspector import Inspection, examine
from streamkind.backends.precision import FrameType, Precision, graph_in, read_precision
from streamkind.errors import EngineError, UsageError
from streamkind.model.released import Graph, Release, padded

SCHEMA = 2
"""Version of this code. It is raised when the same recipe gives another plan than before."""
LibraryName = Literal["tensorrt", "tensorrt_rtx"]
LIBRARIES: tuple[LibraryName, ...] = ("tensorrt", "tensorrt_rtx")
EXTRAS = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}  # extras of pip, by library
LEVEL = 3
"""Effort of the search for faster kernels, 0 to 5: TensorRT's default."""
WORKSPACE_MIB = 0
"""Largest scratch memory of a plan, in MiB; 0: the limit of the library."""
PIECE_PIXELS = 2 * 1920 * 1088
"""Number of pixels that go to the card at once: four frames of 1280x720, or two of 1080p. More are
not faster, and need more memory."""
MOST = 8
"""Largest number of frames that go to the card at once."""

Tell = Callable[[float], None]


@dataclass(frozen=True)
class PlanRecipe:
    """Everything that a plan depends on. Equal recipes share one plan."""

    model: str
    part: str
    graph: str
    """sha256 of the released ONNX file."""
    library: LibraryName
    version: str
    """Full version of the library."""
    cuda: str
    driver: str
    gpu: str
    """Name of the card; `any` if the plan works on all cards of its `sm`."""
    sm: str
    """Compute capability, such as `sm_89`."""
    os: str
    precision: Precision
    size: tuple[int, int]
    """Width and height, multiples of 16."""
    batch: tuple[int, int, int]
    """Smallest, usual and largest batch, in frames."""
    frames: FrameType = "uint8"
    """Type of the frames that decompose takes."""
    level: int = LEVEL
    workspace_mib: int = WORKSPACE_MIB
    schema: int = SCHEMA

    @property
    def key(self) -> str:
        """Key of the plan in the cache: 32 hex digits."""
        told = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:32]

    def __str__(self) -> str:
        """Return a short text."""
        width, height = self.size
        frames = ":".join(str(n) for n in self.batch)
        part = self.part if self.frames == "uint8" else f"{self.part} of {self.frames}"
        return f"{self.model} {part} {width}x{height} {self.precision} batch {frames} {self.sm}"


@dataclass(frozen=True)
class Plan:
    """A plan, and the facts that were found when it was built."""

    data: bytes
    report: Inspection


def write_recipe(
    release: Release,
    part: str,
    *,
    card: Card,
    library: LibraryName,
    size: tuple[int, int],
    batch: tuple[int, int, int] = (1, 1, 1),
    precision: Precision = "fp16",
    frames: FrameType = "uint8",
) -> PlanRecipe:
    """Return the recipe for one graph. Sides are rounded up to multiples of 16.

    `frames` applies to decompose only, because the other graphs have no frames as input. The batch
    of `steady` is 1, because each frame needs the result of the one before. Raises UsageError and
    EngineError.
    """
    _check(size, batch, precision)
    trt = load(library)
    if library == "tensorrt" and not card.present:
        raise EngineError(
            f"tensorrt builds plans for {card.sm} only on such a card, and this machine has none;"
            f" TensorRT for RTX builds without a card: {install('tensorrt_rtx')}"
        )
    rtx = library == "tensorrt_rtx"  # its plans are finished on the card, for any driver and name
    return PlanRecipe(
        model=release.name,
        part=part,
        graph=getattr(release, part).sha256,
        library=library,
        version=trt.__version__,
        cuda=_cuda(library),
        driver="any" if rtx else card.driver,
        gpu="any" if rtx else card.name,
        sm=card.sm,
        os=f"{platform.system()} {platform.machine()}".lower(),
        precision=precision,
        size=(padded(size[0]), padded(size[1])),
        batch=(1, 1, 1) if part == "steady" else batch,
        frames=frames if part == "decompose" else "uint8",
    )


def usual_batch(width: int, height: int) -> tuple[int, int, int]:
    """Return the smallest, usual and largest batch that plans of a size are built for."""
    most = min(max(PIECE_PIXELS // (width * height), 1), MOST)
    return 1, min(4, most), most


def _check(size: tuple[int, int], batch: tuple[int, int, int], precision: str) -> None:
    if not all(16 <= side <= 16384 for side in size):
        raise UsageError(
            f"size {size[0]}x{size[1]}: expected a width and a height from 16 to 16384 pixels"
        )
    if not 1 == batch[0] <= batch[1] <= batch[2] <= 64:
        told = ":".join(map(str, batch))
        raise UsageError(
            f"batch {told}: expected 1:usual:most, rising up to 64; a last batch may have 1 frame"
        )
    read_precision(precision)


def install(library: str) -> str:
    """Return how to install a library."""
    return f"pip install 'streamkind[{EXTRAS[library]}]'"


def load(library: LibraryName) -> Any:
    """Import TensorRT. Raises EngineError when it or `onnx` cannot be imported."""
    try:
        importlib.import_module("onnx")
        return importlib.import_module(library)
    except (ImportError, OSError) as exc:
        raise EngineError(f"{library} cannot be used: {exc}; {install(library)}") from exc


def choose_library(card: Card) -> LibraryName:
    """Return TensorRT if it is installed and a card is here, else TensorRT for RTX."""
    installed = [name for name in LIBRARIES if importlib.util.find_spec(name) is not None]
    if not card.present:
        return "tensorrt_rtx"
    return installed[0] if installed else "tensorrt"


@functools.cache
def _cuda(library: str) -> str:
    """Return the CUDA version that the library's package is for, such as `cu13`, or `system`."""
    names = (d.metadata["Name"] or "" for d in importlib.metadata.distributions())
    found = (re.fullmatch(rf"{library}[-_](cu\d+)", name) for name in names)
    return next((match[1] for match in found if match), None) or _toolkit()


def _toolkit() -> str:
    """Return the CUDA version that PyCUDA was compiled with, for a TensorRT of the system."""
    try:
        version = importlib.import_module("pycuda.driver").get_version()
    except (ImportError, OSError):
        return "system"
    return ".".join(str(number) for number in version)


def build(
    recipe: PlanRecipe,
    graph: Graph,
    tell: Tell = lambda share: None,
    where: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Plan:
    """Build a plan. `tell` is called with the finished share, 0 to 1. Raises EngineError.

    The building thread enters `where()`, which makes a card current. Without it, CUDA would use the
    first card.
    """
    if graph.sha256 != recipe.graph:
        raise EngineError(
            f"{graph.path} is not the graph of the recipe {recipe}; make a new recipe"
        )
    trt = load(recipe.library)
    logger = logger_of(recipe.library)
    logger.errors.clear()

    def run(monitor: Any) -> tuple[Any, Inspection]:
        with where():
            return _build(trt, recipe, graph, monitor)

    data, report = run_watched(trt, run, tell)
    if data is None:
        raise EngineError(
            f"TensorRT {trt.__version__} cannot build {recipe}: {'; '.join(logger.errors)}; "
            "try a smaller size or batch"
        )
    return Plan(bytes(data), report)


def _build(trt: Any, recipe: PlanRecipe, graph: Graph, monitor: Any) -> tuple[Any, Inspection]:
    """Return the plan, None if it cannot be built, and what TensorRT read. Raises EngineError."""
    logger = logger_of(recipe.library)
    builder = trt.Builder(logger)
    network = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph_in(graph.read(), recipe.precision, recipe.frames)):
        errors = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors))
        raise EngineError(f"TensorRT {trt.__version__} refuses {graph.path.name}: {errors}")
    config = builder.create_builder_config()
    _configure(trt, config, recipe)
    config.add_optimization_profile(_profile(builder, network, recipe))
    config.progress_monitor = monitor
    report = examine(network)
    return builder.build_serialized_network(network, config), report


@functools.cache
def logger_of(library: LibraryName) -> Any:
    """Return the logger of this process. TensorRT uses the first logger for all objects."""
    trt = load(library)

    class Logger(trt.ILogger):  # type: ignore[misc,name-defined]  # known at run time only
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.append(message)

    return Logger()


def _strongly_typed(trt: Any) -> int:
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _configure(trt: Any, config: Any, recipe: PlanRecipe) -> None:
    config.builder_optimization_level = recipe.level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # types, for the inspector
    if recipe.workspace_mib:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, recipe.workspace_mib << 20)
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default: float32 would not be float32
    if recipe.library == "tensorrt_rtx":
        known = trt.ComputeCapability.__members__
        name = recipe.sm.replace("sm_", "SM")
        if name not in known:
            possible = ", ".join(n.replace("SM", "sm_") for n in known if n.startswith("SM"))
            raise EngineError(
                f"TensorRT for RTX {recipe.version} does not know {recipe.sm}; "
                f"it knows {possible}; for this card use TensorRT: {install('tensorrt')}"
            )
        config.num_compute_capabilities = 1
        config.set_compute_capability(known[name], 0)


def _profile(builder: Any, network: Any, recipe: PlanRecipe) -> Any:
    """Return a profile of fixed height and width and a variable number of frames."""
    profile = builder.create_optimization_profile()
    width, height = recipe.size
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        frame = list(tensor.shape)[1:]
        if len(frame) == 3:
            frame = [height, width, 3] if frame[-1] == 3 else [frame[0], height, width]
        tensor.shape = (-1, *frame)
        profile.set_shape(tensor.name, *((n, *frame) for n in recipe.batch))
    return profile
