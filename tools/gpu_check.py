"""One command for a machine with an NVIDIA card: python tools/gpu_check.py [CLIP] [--quick].

Builds TensorRT plans and compares them with the released graphs, makes a clip clear by every
backend that runs on the card, times each stage at three sizes and four batches, and puts that
beside what the card itself copies and multiplies. Writes docs/gpu-report.md and .json.
Without TensorRT it is PyTorch alone; without a card the report says so and has no figures.
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
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from streamkind import __version__, enhance
from streamkind.backends.base import BACKENDS, Engine, open_backend, why_not
from streamkind.backends.cache import Cache
from streamkind.backends.cards import find_cards
from streamkind.backends.parity import fixed_frames
from streamkind.backends.released import find_release
from streamkind.errors import StreamkindError
from streamkind.exposure import Floats

DOCS = Path(__file__).parents[1] / "docs"
SAMPLE = Path(__file__).parents[1] / "samples"
SIZES = ((1280, 720), (1920, 1088), (3840, 2160))
BATCHES = (1, 2, 4, 8)
FLOP_PER_PIXEL = 2 * 266_249
"""Of KinD: two for each multiply-add."""
HALF = np.array([0.5, 0.5], np.float32)
Row = dict[str, Any]


def main() -> int:
    """Check, and write the report; 1 when something failed."""
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
    """Measure all that this machine can."""
    cards = [f"{card.name}, {card.sm}, driver {card.driver}" for card in find_cards()]
    missing = None if cards else "no NVIDIA card is found here"
    report: Row = {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
        "machine": f"{platform.platform()}, Python {platform.python_version()}",
        "streamkind": __version__,
        "cards": cards,
        "backends": {
            name: why_not(name) or missing for name, b in BACKENDS.items() if "cuda" in b.devices
        },
        "failed": [],
    }
    report["roofline"] = roofline() if report["cards"] else None
    report |= {"stages": [], "clips": [], "plans": []}
    for name in usable(report):
        for work, rows in (
            (lambda name=name: stages(name, sizes, batches), report["stages"]),
            (lambda name=name: [end_to_end(name, clip)] if clip else [], report["clips"]),
        ):
            try:
                rows.extend(work())
            except StreamkindError as error:
                report["failed"].append(f"{name}: {error}")
    if "tensorrt" in usable(report):
        report["plans"] = list(plans())
    return report


def usable(report: Row) -> list[str]:
    """Backends that can run on a card here."""
    return [name for name, reason in report["backends"].items() if not reason]


def stages(
    name: str, sizes: tuple[tuple[int, int], ...], batches: tuple[int, ...]
) -> Iterator[Row]:
    """Milliseconds per frame of each stage, frames going up and coming down included."""
    with closing(open_backend(name, find_release("kind"), "cuda")) as engine:
        for width, height in sizes:
            frame = fixed_frames(width, height)[0]
            for batch in batches:
                yield {
                    "backend": engine.description,
                    "size": f"{width}x{height}",
                    "batch": batch,
                } | timed_stages(engine, np.stack([frame] * batch))


def timed_stages(engine: Engine, pixels: np.ndarray) -> Row:
    """Time decompose, steady and recompose of one batch."""
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
    return row | {"fps": round(count / sum(seconds.values()), 2), "tflops": round(tflops, 2)}


def median(work: Callable[[], object], rounds: int = 9) -> float:
    """Seconds of a piece of work that was done before: the median."""
    work()
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def end_to_end(name: str, clip: Path) -> Row:
    """Make a clip clear, decode and encode included."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        report = enhance(clip, Path(folder) / "clear.mp4", backend=name, device="cuda")  # type: ignore[arg-type]
        seconds = time.perf_counter() - began
    return {
        "backend": report.engine,
        "clip": clip.name,
        "frames": report.frames,
        "fps": round(report.frames / seconds, 2),
        "warnings": report.warnings,
    }


def plans() -> Iterator[Row]:
    """Plans that are kept, with what was found about them."""
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
    """What the card copies and multiplies at most, by PyTorch."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    block = torch.empty(1 << 29, dtype=torch.uint8, device="cuda")
    matrix = torch.randn(8192, 8192, dtype=torch.float16, device="cuda")

    def waited(work: Callable[[], object]) -> Callable[[], None]:
        return lambda: (work(), torch.cuda.synchronize())[1]  # type: ignore[no-any-return]

    copied = median(waited(block.clone))
    multiplied = median(waited(lambda: matrix @ matrix))
    return {
        "copy_gb_per_second": round(2 * block.numel() / copied / 1e9, 1),
        "half_tflops": round(2 * 8192**3 / multiplied / 1e12, 1),
    }


def markdown(report: Row) -> str:
    """Tell it to people."""
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
            f"in half precision with {roof['half_tflops']} TFLOP/s (PyTorch)"
        ]
    lines += ["", "| backend | here |", "| --- | --- |"]
    lines += [f"| {name} | {reason or 'usable'} |" for name, reason in report["backends"].items()]
    for title, rows in (("Stages", "stages"), ("From file to file", "clips"), ("Plans", "plans")):
        lines += ["", f"## {title}", "", *table(report[rows])] if report[rows] else []
    if report["failed"]:
        lines += ["", "## Failed", "", *(f"- {failure}" for failure in report["failed"])]
    return "\n".join(lines) + "\n"


def table(rows: list[Row]) -> list[str]:
    """Rows of one kind as a table."""
    names = list(rows[0])
    head = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    return head + ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows]


if __name__ == "__main__":
    sys.exit(main())
