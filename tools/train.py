"""Train KinD from one TOML file: python tools/train.py tools/kind.toml [--resume].

On several GPUs: torchrun --nproc-per-node 2 tools/train.py tools/kind.toml. The processes share
each batch. Writes into runs/NAME/: checkpoint.pt every few minutes, TensorBoard curves, sample
pictures, and scores.jsonl with one line for each validation.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import functools
import json
import math
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from streamkind.model import checkpoint
from streamkind.model.data import (
    Pair,
    TrainingBatch,
    load_pairs,
    load_split,
    make_batch,
    prefetched,
)
from streamkind.model.distillation import distillation_batches, make_pool
from streamkind.model.kind import KinD
from streamkind.model.losses import PRESETS
from streamkind.model.processes import (
    ALONE,
    Share,
    autocast,
    averaging,
    broadcast_from_first,
    joined,
    mean_of_all,
    own_device,
)
from streamkind.model.recipe import Recipe, Stage, read_recipe
from streamkind.model.released import find_release
from streamkind.model.stages import StageLoss
from streamkind.model.validation import (
    failed_gates,
    gate_numbers,
    protocol_scores,
    relit,
    restoration_gate,
)
from streamkind.platform import cores


class Run:
    """Networks, their running average (EMA), the optimiser, and the present stage and step."""

    def __init__(
        self, recipe: Recipe, folder: Path, device: torch.device, share: Share = ALONE
    ) -> None:
        torch.manual_seed(recipe.seed)  # equal initial weights in all processes
        self.recipe, self.folder, self.device, self.share = recipe, folder, device, share
        self.kind = new_nets(recipe).to(device, memory_format=torch.channels_last)
        self.ema = copy.deepcopy(self.kind).requires_grad_(False).eval()
        self.stage, self.step = 0, 0
        self.begin_stage()

    @property
    def total_step(self) -> int:
        """Number of steps since the first stage began."""
        return sum(s.steps for s in self.recipe.stage[: self.stage]) + self.step

    @property
    def seed(self) -> int:
        """Seed of the current stage."""
        return self.recipe.seed + 1000 * self.stage

    def begin_stage(self) -> None:
        """Make the optimiser and the loss of the stage, and fix networks that it does not train."""
        stage, weights = self.recipe.stage[self.stage], PRESETS[self.recipe.preset]
        layers = [self.kind.decomposition, self.kind.restoration, self.kind.adjustment]
        nets = {
            "decomposition": [self.kind.decomposition],
            "layers": [self.kind.restoration, self.kind.adjustment],
            "picture": [self.kind.restoration],
            "whole": [self.kind.decomposition, self.kind.restoration],
            "exposure": [self.kind.exposure],
        }.get(stage.name, layers)
        if stage.name == "exposure":
            self.kind.exposure.look.begin_as(self.kind.decomposition)
        self.kind.requires_grad_(False)
        parameters = [p for net in nets for p in net.requires_grad_().parameters()]
        self.optimiser = torch.optim.Adam(parameters, lr=0.0, fused=True)
        parts = self.kind, stage.name, weights, self.share, stage.picture, stage.brightness
        self.loss = averaging(StageLoss(*parts))

    def save(self) -> None:
        """Write the checkpoint."""
        checkpoint.save(
            self.folder / "checkpoint.pt",
            {
                "recipe": dataclasses.asdict(self.recipe),
                "commit": checkpoint.source_commit(),
                "stage": self.stage,
                "step": self.step,
                "model": self.kind.state_dict(),
                "ema": self.ema.state_dict(),
                "optimiser": self.optimiser.state_dict(),
            },
        )

    def resume(self) -> None:
        """Load the checkpoint. Raises ValueError if it was written with another recipe."""
        state = checkpoint.load(self.folder / "checkpoint.pt")
        if state["recipe"] != dataclasses.asdict(self.recipe):
            raise ValueError(
                f"{self.folder}/checkpoint.pt was written by another recipe; "
                "give the recipe back its values, or another name to start a new run"
            )
        self.stage, self.step = state["stage"], state["step"]
        self.begin_stage()
        self.kind.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])


def new_nets(recipe: Recipe) -> KinD:
    """Return networks with random weights, or with those of a released model where it has them."""
    kind = checkpoint.ARCHITECTURES[recipe.architecture]()
    if recipe.start:
        kind.load_state_dict(checkpoint.released_weights(kind, find_release(recipe.start)))
    return kind


def learning_rate(stage: Stage, step: int) -> float:
    """Return the learning rate of a step.

    It rises linearly over the first 3 % of the stage. Then it falls like a cosine, to 2 %.
    """
    warm = max(1, stage.steps // 33)
    if step < warm:
        return stage.learning_rate * (step + 1) / warm
    fall = (1 + math.cos(math.pi * (step - warm) / max(1, stage.steps - warm))) / 2
    return stage.learning_rate * (0.02 + 0.98 * fall)


def batches(run: Run, pairs: list[Pair]) -> Iterator[TrainingBatch]:
    """Return an iterator over the remaining batches of the stage.

    For a GPU, several worker processes make the batches, because one process is too slow.
    """
    stage, steps = run.recipe.stage[run.stage], range(run.step, run.recipe.stage[run.stage].steps)
    workers = max(1, cores() // run.share.count - 1) if run.device.type == "cuda" else 0
    size: dict[str, Any] = {"batch": stage.batch, "patch": stage.patch}
    both: dict[str, Any] = {"seed": run.seed, "share": run.share}
    augment = run.recipe.augment * stage.augment
    if stage.name == "taught":
        pool = functools.partial(make_pool, pairs, augment=augment, **both)
        pools = functools.partial(prefetched, pool, workers=workers)
        return distillation_batches(pools, steps, device=run.device, **size, **both)
    of_stage = functools.partial(make_batch, pairs, augment=augment, **size, **both)
    return prefetched(of_stage, steps, workers)


def train_step(run: Run, source: Iterator[TrainingBatch]) -> dict[str, Tensor]:
    """Train one step; return the loss terms of this process's share of the batch."""
    recipe, stage = run.recipe, run.recipe.stage[run.stage]
    batch = next(source).to(run.device)
    with autocast(run.device):
        terms = run.loss(batch, run.step, run.seed)
    for group in run.optimiser.param_groups:
        group["lr"] = learning_rate(stage, run.step)
    run.optimiser.zero_grad()
    sum(terms.values()).backward()
    # One step that is too large can drive the output of restoration to 1, without colour. Then the
    # gradient of its sigmoid is 0, and it does not recover.
    trained = [p for group in run.optimiser.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
    if norm.isfinite():  # or else every weight would become NaN
        run.optimiser.step()
    run.step += 1
    update_average(run)
    return {name: value.detach() for name, value in terms.items()}


@torch.no_grad()
def update_average(run: Run) -> None:
    """Update the running average of the weights (EMA).

    Its decay is smaller at the start of a stage, so that older weights lose their influence fast.
    """
    decay = min(run.recipe.ema_decay, (1 + run.step) / (10 + run.step))
    for average, parameter in zip(run.ema.parameters(), run.kind.parameters(), strict=True):
        average.lerp_(parameter, 1 - decay)
    for average, buffer in zip(run.ema.buffers(), run.kind.buffers(), strict=True):
        average.copy_(buffer)  # statistics of batch normalisation, which are averages already


def validate(run: Run, pairs: list[Pair], writer: SummaryWriter) -> dict[str, float]:
    """Score the averaged networks on held-out pairs; write the scores and a picture of samples."""
    found = gate_numbers(run.ema, pairs)
    if run.recipe.stage[run.stage].name != "decomposition":
        rows = [(relit(run.ema, p), p) for p in pairs]
        found |= protocol_scores(rows)
        found |= restoration_gate(run.ema, pairs)
        alike = [(images, p) for images, p in rows if p.low.shape == pairs[0].low.shape]
        sheet = np.vstack([np.hstack([p.low, *images, p.high]) for images, p in alike[:4]])
        cv2.imwrite(str(run.folder / f"sample-{run.total_step:06d}.jpg"), sheet[..., ::-1])
    for name, value in found.items():
        writer.add_scalar(f"validation/{name}", value, run.total_step)
    with (run.folder / "scores.jsonl").open("a") as file:
        file.write(json.dumps({"step": run.total_step, **found}) + "\n")
    return found


def collapse(run: Run, numbers: dict[str, float]) -> str | None:
    """Return why the run must stop, or None. Networks that have collapsed do not recover."""
    if run.total_step < run.recipe.gate_after or not (failed := failed_gates(numbers)):
        return None
    return (
        f"stopped at step {run.total_step}: the nets have collapsed: {'; '.join(failed)}. For the "
        "decomposition raise `prior` or `cross` of the preset, or lower `similarity`; for the "
        "restoration lower the stage's learning_rate."
    )


def examine(run: Run, pairs: list[Pair], writer: SummaryWriter | None) -> None:
    """Validate in the first process; end all processes if the networks have collapsed."""
    failure = None
    if writer:
        numbers = validate(run, pairs, writer)
        print(run.total_step, *(f"{k}={v:.3f}" for k, v in numbers.items()), flush=True)
        failure = collapse(run, numbers)
    if failure := broadcast_from_first(failure):
        # The other processes end with exit code 0. For an error in one of them, torchrun would kill
        # the first process before it prints the message.
        sys.exit(failure if run.share.first else 0)


def log(run: Run, terms: dict[str, Tensor], writer: SummaryWriter | None) -> None:
    """Write the loss terms of the whole batch to TensorBoard."""
    means = mean_of_all(torch.stack([*terms.values()])).tolist()
    if writer:
        for name, value in zip(terms, means, strict=True):
            writer.add_scalar(f"loss/{name}", value, run.total_step)


def train(run: Run, pairs: list[Pair], held_out: list[Pair]) -> None:
    """Train all stages of the recipe. Only the first process shows progress and writes files."""
    recipe, first = run.recipe, run.share.first
    chosen = held_out[:: max(1, len(held_out) // recipe.validation_pairs)]
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    saved = time.monotonic()
    with (
        SummaryWriter(str(run.folder)) if first else nullcontext() as writer,
        Progress(*columns, disable=not first) as progress,
    ):
        while run.stage < len(recipe.stage):
            stage = recipe.stage[run.stage]
            task = progress.add_task(stage.name, total=stage.steps, completed=run.step)
            source = batches(run, pairs)
            while run.step < stage.steps:
                terms = train_step(run, source)
                progress.update(task, completed=run.step)
                if run.step % 50 == 0:
                    log(run, terms, writer)
                if run.step % recipe.validate_every == 0 or run.step == stage.steps:
                    examine(run, chosen, writer)
                if first and time.monotonic() - saved > 60 * recipe.checkpoint_minutes:
                    run.save()
                    saved = time.monotonic()
            run.stage, run.step = run.stage + 1, 0
            if run.stage < len(recipe.stage):
                run.begin_stage()
    run.stage, run.step = len(recipe.stage) - 1, recipe.stage[-1].steps
    if first:
        run.save()


def main() -> None:
    """Read the command line, and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True  # all batches of a stage have one size
    share = Share.of_environment()
    recipe, device = read_recipe(args.recipe, share.count), own_device(args.device)
    folder = args.runs / recipe.name
    if share.first:
        folder.mkdir(parents=True, exist_ok=True)
    else:
        warnings.simplefilter("ignore")  # the first process shows them
    with joined(share, device):
        run = Run(recipe, folder, device, share)
        if args.resume:
            run.resume()
        elif (folder / "checkpoint.pt").exists():
            raise FileExistsError(
                f"{folder}/checkpoint.pt exists; continue it with --resume, or move it, or give "
                "another --runs"
            )
        pairs, held_out = load_split(
            Path(recipe.data), recipe.saturation, recipe.held_out, recipe.seed
        )
        pairs += [pair for folder in recipe.extra for pair in load_pairs(Path(folder))]
        train(run, pairs, held_out)


if __name__ == "__main__":
    main()
