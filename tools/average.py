"""Average finished runs of one recipe: python tools/average.py runs/a runs/b --out runs/NAME.

Runs from one start that differ in `name` and `order` alone end around a place that is better than
where either ends. Writes the mean of their nets and its scores on held-out pairs into runs/NAME/,
for tools/export.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from streamkind.model import checkpoint
from streamkind.model.data import load_pairs, split
from streamkind.model.kind import KinD
from streamkind.model.validation import (
    chosen_of,
    gate_numbers,
    protocol_scores,
    relit,
    restoration_gate,
)

State = dict[str, Any]


def mean_of(nets: list[State]) -> State:
    """Mean of each weight; a count, which has no fraction, is the first one's."""
    first, *_ = nets
    return {
        name: sum(n[name] for n in nets) / len(nets) if value.is_floating_point() else value
        for name, value in first.items()
    }


def average(states: list[State], name: str) -> State:
    """Return the checkpoint of a run that ends in the mean; ValueError if they do not fit."""
    recipes = [s["recipe"] | {"name": name, "order": 0} for s in states]
    last = len(recipes[0]["stage"]) - 1
    end = (last, recipes[0]["stage"][last]["steps"])
    places = [(s["stage"], s["step"]) for s in states]
    if any(r != recipes[0] for r in recipes) or set(places) != {end}:
        raise ValueError(
            f"the runs differ in more than name and order, or are not all at their end: they stand "
            f"at (stage, step) {places}, the end is {end}; finish them by tools/train.py --resume"
        )
    nets = mean_of([s["ema"] for s in states])
    return {"recipe": recipes[0], "stage": end[0], "step": end[1], "model": nets, "ema": nets}


def examine(kind: KinD, recipe: State) -> dict[str, float]:
    """Score nets as a run of this recipe is scored."""
    _, held_out = split(load_pairs(Path(recipe["data"])), recipe["held_out"], recipe["seed"])
    pairs = chosen_of(held_out, recipe["validation_pairs"])
    rows = [(relit(kind, pair), pair) for pair in pairs]
    return gate_numbers(kind, pairs) | protocol_scores(rows) | restoration_gate(kind, pairs)


def main() -> None:
    """Read the command line, average, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="folders that tools/train.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run to be made")
    args = parser.parse_args()
    try:
        state = average([checkpoint.load(r / "checkpoint.pt") for r in args.runs], args.out.name)
    except ValueError as exc:
        sys.exit(str(exc))
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoint.save(args.out / "checkpoint.pt", state)
    scores = examine(checkpoint.load_kind(args.out / "checkpoint.pt"), state["recipe"])
    steps = sum(stage["steps"] for stage in state["recipe"]["stage"])
    (args.out / "scores.jsonl").write_text(json.dumps({"step": steps, **scores}) + "\n")
    print(*(f"{name}={value:.3f}" for name, value in scores.items()))


if __name__ == "__main__":
    main()
