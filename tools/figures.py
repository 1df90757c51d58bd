"""Measure every published figure: python tools/figures.py [PART...] [--data ../shared/data].

Measures each PART. Without PART, measures all parts but int8 and soak, which takes about two hours
on two cores. Stores the figures in docs/figures/PART.json, and writes the tables of the pages from
these files. `--write` only writes the pages. `--check` fails if a table of a page differs from
docs/figures, or if figures were measured with other weights. `--out FOLDER` stores the figures in
FOLDER and prints them, and does not change the pages.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from gpu_check import markdown
from parts.pages import forged, renewed
from parts.record import FOLDER, ROOT, read, read_all, stale, stamp, write

from streamkind.backends.process import configure_process

PARTS = {
    "scores": "pairs of stills: PSNR, SSIM, colour, beside methods without training",
    "film": "night clips, and films of known truth: colour, contrast, noise",
    "flicker": "steadiness of clips and rendered scenes",
    "bench": "speed from file to file, of the nets, of smoothing, of a cluster",
    "live": "delay and frames of a live camera",
    "memory": "peak memory of the command",
    "soak": "an hour of cameras with faults: memory, descriptors",
    "fleet": "eight cameras of six sizes for ten minutes",
    "files": "what each container holds",
    "int8": "what INT8 would cost",
}
"""Part -> what it measures. Each part is a module of `parts` with a function `measure`."""
BY_NAME = ("int8", "soak")
"""Parts that run only if they are named. int8 needs another package, and soak takes an hour."""


def measure(part: str, data: Path, folder: Path) -> None:
    """Measure a part, write its figures and plots into a folder, and print its tables."""
    folder.mkdir(parents=True, exist_ok=True)
    found = importlib.import_module(f"parts.{part}").measure(data, folder)
    write(part, stamp(part, found), folder)
    for name, table in read(part, folder).tables.items():
        print(f"\n{part}-{name}\n\n{table.markdown()}", flush=True)


def check(root: Path = ROOT) -> list[str]:
    """Return a message for each page or record that does not agree with the measurements."""
    records = read_all(root / FOLDER.relative_to(ROOT))
    lines = [f"{page}: run `python tools/figures.py --write`" for page in forged(records, root)]
    card, told = (root / "docs" / f"gpu-report.{kind}" for kind in ("json", "md"))
    if card.exists() and markdown(json.loads(card.read_text("utf-8"))) != told.read_text("utf-8"):
        lines.append("docs/gpu-report.md: is not what docs/gpu-report.json says")
    return [*lines, *stale(records, root)]


def main() -> None:
    """Read the command line; check, measure or write the pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--write", action="store_true", help="write the pages, measure nothing")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    args = parser.parse_args()
    if args.check:
        sys.exit("\n".join(check()) or 0)
    configure_process()  # as in `streamkind`: it changes how freed memory is used again
    for part in () if args.write else args.parts or [p for p in PARTS if p not in BY_NAME]:
        measure(part, args.data, args.out)
    if args.out == FOLDER:
        for path, text in renewed(read_all()).items():
            path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
