"""Measures the speed of each stage alone, of all stages from file to file, and of other
networks."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np

from streamkind.backends.base import BackendName
from streamkind.engine.engine import Engine
from streamkind.engine.profiles import PROFILES, Profile, ProfileName, fast_preset, open_engine
from streamkind.engine.stream import Stream
from streamkind.errors import UsageError
from streamkind.measure.bench_nets import Nets, named, quality
from streamkind.measure.bench_nets import baselines as kind_by_others
from streamkind.model.released import MULTIPLE
from streamkind.pipeline import Report, needs_two_passes, run
from streamkind.video.format import ColorTags
from streamkind.video.frames import Frame, Pixels, batched
from streamkind.video.sink import Sink, open_sink
from streamkind.video.source import Source, open_source
from streamkind.video.threads import ReadAhead, WriteBehind

RATE = 30
"""Frame rate of the clips that are encoded here, in frames per second."""
FLOOR = "decode + encode"
"""Name of the measurement of a run that only decodes and encodes."""
NETS = "nets"
"""Name of the measurement of all stages between decoder and encoder."""
FILE_TO_FILE = "file to file"
"""Name of the measurement of a whole run."""
TAGS = ColorTags(1)
"""Colour tags of the clip that is encoded for the measurement."""


@dataclass
class Times:
    """Seconds per frame of each thing measured, one value per round."""

    rounds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def take(self, name: str, frames: int, work: Callable[[], object]) -> None:
        """Measure work on a number of frames."""
        began = time.perf_counter()
        work()
        self.rounds[name].append((time.perf_counter() - began) / frames)

    def seconds(self, name: str) -> tuple[float, float, float]:
        """Return median, smallest and largest seconds per frame."""
        seconds = self.rounds[name]
        return statistics.median(seconds), min(seconds), max(seconds)

    def fps(self, name: str) -> tuple[float, float, float]:
        """Return median, smallest and largest frames per second."""
        rates = [1 / seconds for seconds in self.rounds[name]]
        return statistics.median(rates), min(rates), max(rates)

    def share(self, name: str, of: str) -> tuple[float, float, float]:
        """Return median, smallest and largest speed of `name` over that of `of` in one round."""
        pairs = zip(self.rounds[name], self.rounds[of], strict=True)
        shares = [other / own for own, other in pairs]
        return statistics.median(shares), min(shares), max(shares)


@dataclass
class Bench:
    """The measurements at one size."""

    size: tuple[int, int]
    preset: str
    """Preset of x264."""
    profiles: dict[str, Times] = field(default_factory=dict)
    """For each profile: its stages alone, from file to file, and without networks."""
    nets: Times = field(default_factory=Times)
    """For each network: a whole picture, without decoding and encoding."""
    engines: dict[str, str] = field(default_factory=dict)
    """Description of the engine that ran, by profile."""
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Width and height of the network's input in a profile, padding included."""
    missing: dict[str, str] = field(default_factory=dict)
    """Baselines that were not measured, and why."""
    quality: dict[str, dict[str, float]] = field(default_factory=dict)
    """PSNR in dB, and SSIM, of profiles and networks, if pairs are given."""


def bench(
    size: tuple[int, int],
    clip: Path | None = None,
    *,
    frames: int = 24,
    rounds: int = 3,
    profiles: Sequence[ProfileName] = ("quality", "balanced", "realtime"),
    backends: Sequence[BackendName] = ("auto",),
    device: str = "auto",
    preset: str | None = None,
    others: Sequence[Path] = (),
    baselines: bool = True,
    pairs: Path | None = None,
    told: Callable[[str], None] = lambda text: None,
) -> Bench:
    """Measure everything in turns, so that other work on the machine affects all equally.

    Each profile is measured on each of `backends`. `preset` is the preset of x264 for all profiles,
    by default that of `realtime` at this size. `others` are ONNX networks from picture to picture.
    `baselines` are ONNX Runtime and PyTorch in float32 on the graphs of `quality`. `pairs` is a
    folder with low/ and high/, on which profiles and `others` are scored with automatic ratios.
    Raises UsageError and EngineError.
    """
    check_size(size)
    preset = preset or fast_preset(*size)
    found = Bench(size, preset)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        scaled = Path(folder, "clip.mp4")
        make_clip(scaled, size, frames, clip)
        engines: dict[str, tuple[Engine, Profile]] = {}
        for backend, profile in itertools.product(backends, profiles):
            name = profile if len(backends) == 1 else f"{profile}, {backend}"
            opening = open_engine(backend=backend, profile=profile, device=device)
            engine = stack.enter_context(opening)
            engines[name] = engine, PROFILES[profile]
            found.profiles[name], found.engines[name] = Times(), engine.description
            found.seen[name] = engine.seen_size(*size)
        nets = kind_by_others() if baselines else Nets()
        found.missing, enhancers = nets.missing, named(others)
        nets.found |= enhancers
        dark = read(scaled, PROFILES["quality"], 1)
        for i in range(rounds + 1):  # the first round compiles, and is not counted
            told(f"{size[0]}x{size[1]}: round {i} of {rounds}")
            for name, (engine, chosen) in engines.items():
                times = found.profiles[name] if i else Times()
                measure(times, engine, chosen, scaled, frames if i else 2, preset)
            for name, net in nets.found.items():
                (found.nets if i else Times()).take(name, 1, partial(net, dark[0]))
        if pairs is not None:
            told("scores")
            enhancers |= {name: engine.enhance for name, (engine, _) in engines.items()}
            found.quality = {name: quality(e, pairs) for name, e in enhancers.items()}
    return found


def measure(
    times: Times, engine: Engine, profile: Profile, clip: Path, frames: int, preset: str
) -> None:
    """Measure one round of a profile: each stage, from file to file, and without networks."""
    times.take("decode", frames, lambda: read(clip, profile, frames))
    pixels = read(clip, profile, frames)
    clear = enhance_frames(times, engine, pixels)
    times.take("encode", frames, lambda: encode(clip, profile, frames, preset, clear))
    times.take(FILE_TO_FILE, frames, lambda: whole(engine, clip, profile, frames, preset))
    times.take(FLOOR, frames, lambda: passed(clip, profile, frames, preset, clear))


def enhance_frames(times: Times, engine: Engine, pixels: list[Pixels]) -> list[Pixels]:
    """Run frames through the engine, stage by stage."""
    stream = Stream(engine, color=TAGS)
    clear = [stream(picture[None], [i / RATE])[0][0] for i, picture in enumerate(pixels)]
    for name, seconds in stream.seconds.items():
        times.rounds[name].append(seconds / len(pixels))
    times.rounds[NETS].append(sum(stream.seconds.values()) / len(pixels))
    return clear


def read(clip: Path, profile: Profile, frames: int) -> list[Pixels]:
    """Decode the first frames in the pixel format of a profile."""
    with open_source(clip, duration=frames / RATE, pix_fmt=profile.pix_fmt) as source:
        return [frame.data for frame in source]


@contextmanager
def opened(clip: Path, profile: Profile, frames: int, preset: str) -> Iterator[tuple[Source, Sink]]:
    """Open the first frames of a clip, and a file to write."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_source(clip, duration=frames / RATE, pix_fmt=profile.pix_fmt) as source,
        open_sink(Path(folder, "out.mp4"), source, preset=preset) as sink,
    ):
        yield source, sink


def encode(clip: Path, profile: Profile, frames: int, preset: str, clear: list[Pixels]) -> None:
    """Encode pictures at the rate of a clip."""
    with opened(clip, profile, frames, preset) as (_, sink):
        for i, pixels in enumerate(clear):
            sink.write(Frame(pixels, i, Fraction(1, RATE), 1))


def passed(clip: Path, profile: Profile, frames: int, preset: str, clear: list[Pixels]) -> None:
    """Decode a clip and encode its enhanced frames: the speed limit without the networks."""
    with (
        opened(clip, profile, frames, preset) as (source, sink),
        ReadAhead(source) as ahead,
        WriteBehind(sink) as output,
    ):
        for batch, pixels in zip(batched(ahead, 1), clear, strict=False):
            output.put(batch.replace(pixels[None]))


def whole(engine: Engine, clip: Path, profile: Profile, frames: int, preset: str) -> None:
    """Enhance a file in one pass, after reading the key frames as `enhance` does."""
    needs_two_passes(clip, profile)
    with opened(clip, profile, frames, preset) as (source, sink):
        report = Report(frames, engine.description)
        run(source, Stream(engine, color=TAGS), sink, report)


def make_clip(path: Path, size: tuple[int, int], frames: int, clip: Path | None = None) -> None:
    """Encode the first frames of a clip at a size, or a dark texture that moves, at CRF 23."""
    count = 0
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", RATE, pix_fmt="yuv420p")
        stream.width, stream.height = size
        stream.options = {"preset": "veryfast"}
        pictures = texture(size) if clip is None else scaled_frames(clip, size)
        for count, picture in zip(range(1, frames + 1), pictures, strict=False):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = count - 1, Fraction(1, RATE)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    if count < frames:
        raise UsageError(
            f"{clip} has {count} frames, a round takes {frames}; give a longer clip or --frames"
        )


def texture(size: tuple[int, int]) -> Iterator[Pixels]:
    """Yield dark blocks that move sideways, with noise."""
    width, height = size
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 60, (height // 8 + 40, width // 8 + 200), dtype=np.uint8)
    scene = scene.repeat(8, axis=0).repeat(8, axis=1)
    for x in itertools.cycle(range(0, 800, 4)):
        view = scene[:height, x : x + width, None] + rng.integers(0, 8, (height, width, 3))
        yield view.astype(np.uint8)


def scaled_frames(clip: Path, size: tuple[int, int]) -> Iterator[Pixels]:
    """Yield the pictures of a clip at a size."""
    with open_source(clip) as source:
        for frame in source:
            yield np.asarray(cv2.resize(frame.data, size, interpolation=cv2.INTER_AREA), np.uint8)


def check_size(size: tuple[int, int]) -> None:
    """Raise UsageError for a size that cannot be encoded."""
    if any(side < MULTIPLE or side % 2 for side in size):
        raise UsageError(f"size {size[0]}x{size[1]}: expected even numbers from {MULTIPLE} up")
