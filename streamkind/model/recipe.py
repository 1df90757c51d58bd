"""The recipe of a training run, read from a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from streamkind.model.augment import Augmentation
from streamkind.model.checkpoint import ARCHITECTURES
from streamkind.model.losses import PRESETS
from streamkind.model.released import find_release
from streamkind.model.stages import STAGES


@dataclass(frozen=True)
class Stage:
    """A stage of training, with its own optimiser."""

    name: str
    """Key of `STAGES`."""
    steps: int
    batch: int
    """Number of pairs of patches in a step, of all processes together."""
    patch: int
    """Rows and columns of a patch, in pixels."""
    learning_rate: float
    """Largest learning rate of the stage."""
    picture: float = 1.0
    """Weight of the loss of the final picture, relative to the losses of its layers."""
    brightness: float = 0.0
    """Weight of the error of the final picture's mean, relative to `picture`. Only for the stage
    `taught`."""
    augment: float = 1.0
    """Factor for the augmentation of the recipe in this stage."""


@dataclass(frozen=True)
class Recipe:
    """A training run, as its TOML file describes it."""

    name: str
    data: str
    stage: tuple[Stage, ...]
    architecture: str = "kind"
    """kind, kindpp, lite or student."""
    start: str = ""
    """A released model, whose weights are the initial ones of all layers that both models have."""
    saturation: float = 1.0
    """Factor for the chroma of the bright pictures of `data`. They are paler than the dark ones."""
    extra: tuple[str, ...] = ()
    """Folders of additional pairs. Their chroma is not changed, and none is held out."""
    seed: int = 0
    preset: str = "default"
    """Weights of the losses: a key of `PRESETS`."""
    held_out: int = 24
    """Number of pairs of `data` that are held out for validation, about."""
    validate_every: int = 1000
    """Number of steps from one validation to the next."""
    validation_pairs: int = 12
    """Number of held-out pairs that a validation uses, about."""
    checkpoint_minutes: float = 3.0
    """Time between two checkpoints, in minutes."""
    gate_after: int = 1000
    """Number of steps from which on a run ends if a validation finds that a network has collapsed.
    """
    ema_decay: float = 0.998
    """Decay of the moving average of the weights, per step."""
    clip_norm: float = 0.5
    """Largest norm of all gradients together. Larger ones are scaled down to it."""
    augment: Augmentation = field(default_factory=Augmentation)


def read_recipe(path: Path, processes: int = 1) -> Recipe:
    """Read a TOML file for a number of processes.

    Raises TypeError for an unknown key, and ValueError or UsageError for an unknown value.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    table["stage"] = tuple(Stage(**s) for s in table["stage"])
    table["extra"] = tuple(table.get("extra", ()))
    table["augment"] = Augmentation(**table.get("augment", {}))
    recipe = Recipe(**table)
    if unknown := {s.name for s in recipe.stage} - STAGES.keys():
        raise ValueError(f"unknown stage {unknown}; choose from {', '.join(STAGES)}")
    if recipe.architecture not in ARCHITECTURES:
        raise ValueError(
            f"unknown architecture '{recipe.architecture}'; choose from {', '.join(ARCHITECTURES)}"
        )
    if recipe.preset not in PRESETS:
        raise ValueError(f"unknown preset '{recipe.preset}'; choose from {', '.join(PRESETS)}")
    if recipe.start:
        find_release(recipe.start)
    check_shares(recipe, processes)
    return recipe


def check_shares(recipe: Recipe, processes: int) -> None:
    """Raise ValueError for a batch that the processes cannot share equally."""
    for stage in recipe.stage:
        if stage.batch % processes:
            raise ValueError(
                f"a batch of {stage.batch}, as stage '{stage.name}' has it, cannot be shared "
                f"equally by {processes} processes; make `batch` a multiple of {processes}, or "
                "start as many processes as divide it"
            )
