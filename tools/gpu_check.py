"""One command for a machine with an NVIDIA card: python tools/gpu_check.py [CLIP] [--quick].

Builds TensorRT plans and compares them with the released graphs. Enhances a clip with every backend
that is installed. Measures the time of each stage on the card, at three sizes and four batch sizes,
and compares it with the memory bandwidth and the arithmetic throughput of the card. Writes
docs/gpu-report.md and .json. Without TensorRT, only the stages of PyTorch are measured. Without a
card, the report says so and has no figures.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from streamkind import __version__, enhance
from streamkind.backends.base import BACKENDS, Backend, why_not
from streamkind.backends.cache import Cache
from streamkind.backends.cards import find_cards
from streamkind.backends.choose import open_backend
from streamkind.backends.parity import fixed_frames
from streamkind.errors import StreamkindError
from streamkind.light.exposure import Floats
from streamkind.model.released import find_release

DOCS = Path(__file__).parents[1] / "docs"
SAMPLE = Path(__file__).parents[1] / "samples"
SIZES = ((1280, 720), (1920, 1088), (3840, 2160))
"""Width and height of the frames whose stages are timed."""
BATCHES = (1, 2, 4, 8)
"""Batch sizes with which the stages are timed."""
FLOP_PER_PIXEL = 2 * 266_249
"""Floating-point operations of KinD per pixel: two for each of its 266,249 multiply-adds."""
BYTES_PER_PIXEL = 2858
"""Bytes that KinD reads and writes per pixel in FP16, if every convolution and every pooling reads
its input once and writes its output once."""
HALF = np.array([0.5, 0.5], np.float32)
"""Strength of `steady` in the measurement, for reflectance and illumination."""
Row = dict[str, Any]


def main() -> int:
    """Check the machine, and write the report; return 1 if something failed, else 0."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    samples = sorted(SAMPLE.glob("*.mp4"))
    parser.add_argument("clip", nargs="?", type=Path, default=samples[0] if samples else None)
    parser.add_argument("--quick", action="store_true", help="the smallest size and batch only")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the report goes")
    words = parser.parse_args()
    report = check(words.clip, SIZES[: 1 if words.quick else 3], BATCHES[: 1 if words.quick else 4])
    (words.docs / "gpu-report.json").write_text(json.dumps(report, indent=1) + "\n")
    (words.docs / "gpu-report.md").write_text(markdown(report))
    print(f"wrote {words.docs / 'gpu-report.md'}")
    return 1 if report["failed"] else 0


def check(clip: Path | None, sizes: tuple[tuple[int, int], ...], batches: tuple[int, ...]) -> Row:
    """Measure every backend that can run on this machine; return the report."""
    cards = [f"{card.name}, {card.sm}, driver {card.driver}" for card in find_cards()]
    missing = None if cards else "no NVIDIA card is found here"
    report: Row = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "streamkind": __version__,
        "cards": cards,
        "backends": {name: why_not(name) or missing for name in BACKENDS},
        "failed": [],
    }
    roof = roofline() if report["cards"] else None
    report |= {"roofline": roof, "stages": [], "clips": [], "plans": []}
    for name in usable(report):
        device = next(d for d in ("cuda", "cpu") if d in BACKENDS[name].devices)
        if device == "cuda":
            with failures(report, name):
                stages(name, sizes, batches, report)
        if clip:
            with failures(report, f"{name} on {clip.name}"):
                report["clips"].append(end_to_end(name, device, clip))
    if "tensorrt" in usable(report):
        report["plans"] = list(plans())
    return report


@contextmanager
def failures(report: Row, what: str) -> Iterator[None]:
    """Add an error to the report and continue, because an incomplete report is useful too."""
    try:
        yield
    except Exception as error:  # errors of PyTorch and of drivers too
        told = error if isinstance(error, StreamkindError) else repr(error)
        report["failed"].append(f"{what}: {told}")


def usable(report: Row) -> list[str]:
    """Return the names of the backends that can run here. Without a card there are none."""
    return [name for name, reason in report["backends"].items() if not reason]


def stages(
    name: str, sizes: tuple[tuple[int, int], ...], batches: tuple[int, ...], report: Row
) -> None:
    """Add to the report the time of each stage, including copies of frames to the card and back."""
    with closing(open_backend(name, find_release("kind"), "cuda")) as engine:
        for width, height in sizes:
            frame = fixed_frames(width, height)[0]
            for batch in batches:
                size = f"{width}x{height}"
                row = {"backend": engine.description, "size": size, "batch": batch}
                with failures(report, f"{name} at {size}, {batch} frames at once"):
                    row |= timed_stages(engine, np.stack([frame] * batch), report["roofline"])
                    report["stages"].append(row)


def timed_stages(engine: Backend, pixels: np.ndarray, roof: Row | None = None) -> Row:
    """Time decompose, steady and recompose of one batch; compare with the limits of the card."""
    count, height, width, _ = pixels.shape
    ratios: Floats = np.full(count, 4, np.float32)
    layers = engine.decompose(pixels)
    held = engine.steady(layers, layers, HALF)
    seconds = {
        "decompose": median(lambda: engine.decompose(pixels)),
        "steady": median(lambda: engine.steady(layers, held, HALF)),
        "recompose": median(lambda: engine.recompose(held, ratios)),
    }
    nets = (seconds["decompose"] + seconds["recompose"]) / count
    row = {f"{stage}_ms": round(1000 * s / count, 3) for stage, s in seconds.items()}
    tflops = FLOP_PER_PIXEL * width * height / nets / 1e12
    row |= {"fps": round(count / sum(seconds.values()), 2), "tflops": round(tflops, 2)}
    if roof is None:
        return row
    computing = FLOP_PER_PIXEL / (roof["half_tflops"] * 1e12)
    moving = BYTES_PER_PIXEL / (roof["copy_gb_per_second"] * 1e9)
    least = max(computing, moving) * width * height
    return row | {"roofline_ms": round(1000 * least, 3), "of_roofline": f"{least / nets:.0%}"}


def median(work: Callable[[], object], rounds: int = 9) -> float:
    """Return the median time of some work in seconds, after one run that is not timed."""
    work()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def end_to_end(name: str, device: str, clip: Path) -> Row:
    """Enhance a clip with a backend; return its speed, decoding and encoding included."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        report = enhance(clip, Path(folder) / "clear.mp4", backend=name, device=device)  # type: ignore[arg-type]
        seconds = time.perf_counter() - began
    return {
        "backend": report.engine,
        "clip": clip.name,
        "frames": report.frames,
        "fps": round(report.frames / seconds, 2),
        "busy_seconds": {stage: round(busy, 2) for stage, busy in report.stages.items()},
        "warnings": report.warnings,
    }


def plans() -> Iterator[Row]:
    """Yield a row for each stored TensorRT plan: size, precision, build time and parity."""
    for entry in Cache().entries():
        yield {
            "plan": f"{entry.recipe['model']} {entry.recipe['part']}",
            "size": "x".join(str(side) for side in entry.recipe["size"]),
            "precision": entry.recipe["precision"],
            "build_seconds": entry.seconds,
            "mb": round(entry.size_bytes / 1e6, 1),
            "parity": entry.report.get("parity"),
        }


def roofline() -> Row | None:
    """Measure the card's rates of copying and multiplying by PyTorch; None without PyTorch."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    rates = {"copy_gb_per_second": copy_rate(torch), "half_tflops": matrix_rate(torch)}
    torch.cuda.empty_cache()  # or else TensorRT finds less free memory
    return rates


def copy_rate(torch: Any) -> float:
    """Return the rate of a copy on the card, read plus written, in GB per second."""
    block = torch.empty(1 << 29, dtype=torch.uint8, device="cuda")
    return round(2 * block.numel() / median(lambda: waited(torch, block.clone)) / 1e9, 1)


def matrix_rate(torch: Any) -> float:
    """Return the rate of a product of matrices in half precision, in TFLOP/s."""
    matrix = torch.randn(8192, 8192, dtype=torch.float16, device="cuda")
    return round(2 * 8192**3 / median(lambda: waited(torch, lambda: matrix @ matrix)) / 1e12, 1)


def waited(torch: Any, work: Callable[[], object]) -> None:
    """Start some work on the card, and wait until it is done."""
    work()
    torch.cuda.synchronize()


def markdown(report: Row) -> str:
    """Return the report as Markdown."""
    lines = [
        "# On NVIDIA cards",
        "",
        f"`{report['command']}`, {report['date']}, streamkind {report['streamkind']}, "
        f"{report['machine']}.",
        "",
    ]
    if not report["cards"]:
        lines += ["**No card was at hand**: nothing here was measured on one."]
    lines += [f"- {card}" for card in report["cards"]]
    if roof := report["roofline"]:
        lines += [
            f"- copies {roof['copy_gb_per_second']} GB/s (read and written), multiplies matrices "
            f"in half precision with {roof['half_tflops']} TFLOP/s (PyTorch). roofline_ms is the "
            "least time for decompose and recompose of a frame: that of the operations "
            f"({FLOP_PER_PIXEL} a pixel) or of the memory ({BYTES_PER_PIXEL} bytes a pixel), "
            "whichever is longer"
        ]
    elif report["cards"]:
        lines += ["- no roofline: PyTorch with CUDA is not installed, which measures it"]
    lines += ["", "| backend | here |", "| --- | --- |"]
    lines += [f"| {name} | {reason or 'usable'} |" for name, reason in report["backends"].items()]
    for title, rows in (("Stages", "stages"), ("From file to file", "clips"), ("Plans", "plans")):
        lines += ["", f"## {title}", "", *table(report[rows])] if report[rows] else []
    if report["failed"]:
        lines += ["", "## Failed", "", *(f"- {failure}" for failure in report["failed"])]
    return "\n".join(lines) + "\n"


def table(rows: list[Row]) -> list[str]:
    """Return rows with equal keys as the lines of a Markdown table."""
    names = list(rows[0])
    head = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    return head + ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]


if __name__ == "__main__":
    sys.exit(main())
