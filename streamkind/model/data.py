"""Pairs of dark and bright pictures, and the batches cut from them.

A batch depends only on seed, step and share, so a resumed run gets the same batches.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from streamkind.light.exposure import smooth_step
from streamkind.model.augment import (
    LUMA,
    Augmentation,
    chroma_step,
    draw,
    draw_on,
    saturation_matrix,
)
from streamkind.model.degrade import QUALITIES, Image, coded_as_video, recolor, sensor_noise
from streamkind.model.processes import ALONE, Share
from streamkind.video.color import UNSURE

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
"""Endings of the files of a folder that are read as training pictures."""


@dataclass(frozen=True)
class Pair:
    """One scene twice, RGB uint8 (H, W, 3)."""

    stem: str
    low: Image
    high: Image


def image_files(folder: Path) -> dict[str, Path]:
    """Map file stem to file for every image in a folder."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not a folder; expected pairs of images in its subfolders low/ and high/"
        )
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES}


def match_stems(root: Path) -> list[tuple[str, Path, Path]]:
    """Pair the files of root/low and root/high by stem; leave out others, with a warning.

    The lists that come with LOL pair some files wrongly, so they are not used.
    """
    low, high = image_files(root / "low"), image_files(root / "high")
    if alone := sorted(low.keys() ^ high.keys()):
        warnings.warn(f"{root}: no partner for {', '.join(alone)}; dropped", stacklevel=2)
    return [(stem, low[stem], high[stem]) for stem in sorted(low.keys() & high.keys())]


def load_pairs(root: Path, saturation: float = 1.0) -> list[Pair]:
    """Read all pairs under root/low and root/high into memory.

    The chroma of the bright pictures is multiplied by `saturation`.
    """
    color = None if saturation == 1 else saturation_matrix(saturation)
    pairs = [
        Pair(stem, read(low), read(high) if color is None else recolor(read(high), color))
        for stem, low, high in match_stems(root)
    ]
    for pair in pairs:
        if pair.low.shape != pair.high.shape:
            raise ValueError(
                f"{root}: pair {pair.stem} differs in size, {pair.low.shape} and {pair.high.shape}"
            )
    return pairs


def read(path: Path) -> Image:
    """Read an image as RGB uint8 (H, W, 3)."""
    data = np.fromfile(path, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if image is None:
        raise ValueError(f"{path} is not an image that OpenCV can read")
    return np.asarray(image, np.uint8)


def scenes(images: Sequence[Image], threshold: float = 0.9) -> list[list[int]]:
    """Group pictures of one scene: those whose thumbnails correlate above `threshold`."""
    grays = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    small = [cv2.resize(gray, (16, 12), interpolation=cv2.INTER_AREA) for gray in grays]
    thumbs = np.stack(small).reshape(len(images), -1).astype(np.float64)
    thumbs -= thumbs.mean(axis=1, keepdims=True)
    thumbs /= np.linalg.norm(thumbs, axis=1, keepdims=True) + 1e-9
    alike = thumbs @ thumbs.T > threshold
    group = np.arange(len(images))
    for i, j in zip(*np.nonzero(np.triu(alike, 1)), strict=True):
        group[group == group[j]] = group[i]
    return [list(np.flatnonzero(group == g)) for g in dict.fromkeys(group.tolist())]


def split(pairs: Sequence[Pair], held_out: int, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Hold out about `held_out` pairs for validation, whole scenes at a time."""
    groups = scenes([p.high for p in pairs])
    chosen: set[int] = set()
    for g in np.random.default_rng(seed).permutation(len(groups)):
        if len(chosen) >= held_out:
            break
        if len(groups[g]) <= max(2, held_out // 4):  # a large scene would fill the held-out set
            chosen.update(groups[g])
    train = [p for i, p in enumerate(pairs) if i not in chosen]
    return train, [p for i, p in enumerate(pairs) if i in chosen]


def load_split(
    root: Path, saturation: float, held_out: int, seed: int
) -> tuple[list[Pair], list[Pair]]:
    """Read the `data` of a recipe: the pairs it trains on, and those it holds out."""
    return split(load_pairs(root, saturation), held_out, seed)


def batch_indices(count: int, batch: int, step: int, seed: int) -> NDArray[np.intp]:
    """Return the indices of the pairs of a batch. Each pair occurs once per epoch.

    An incomplete batch at the end of an epoch is dropped.
    """
    if count < batch:
        raise ValueError(f"{count} pairs do not fill one batch of {batch}; lower `batch`")
    epoch, place = divmod(step, count // batch)
    order = np.random.default_rng([seed, 0, epoch]).permutation(count)
    return order[place * batch : (place + 1) * batch]


@dataclass(frozen=True)
class TrainingBatch:
    """Patches of a step, and the whole pictures that they were cut from, reduced."""

    low: Tensor
    """(N, 3, patch, patch) float in [0, 1], channels last in memory; so are the others."""
    high: Tensor
    low_small: Tensor
    """(N, 3, 80, 120). The ratio is that of the whole picture, as it is in use."""
    high_small: Tensor

    def pin_memory(self) -> Self:
        """Return the batch in pinned memory, from which a GPU can copy."""
        return type(self)(*(t.pin_memory() for t in vars(self).values()))

    def to(self, device: torch.device) -> Self:
        """Return the batch on a device."""
        return type(self)(*(t.to(device, non_blocking=True) for t in vars(self).values()))


def make_batch(
    pairs: Sequence[Pair],
    *,
    step: int,
    batch: int,
    patch: int,
    seed: int,
    augment: Augmentation,
    share: Share = ALONE,
) -> TrainingBatch:
    """Cut and degrade the patches of a step: the share of `batch` of this process."""
    rng = share.random(seed, 1, step)
    own = share.of(batch_indices(len(pairs), batch, step, seed))
    columns = zip(*(one_sample(pairs[i], patch, augment, rng) for i in own), strict=True)
    return TrainingBatch(*(to_tensor(np.stack(images)) for images in columns))


@dataclass(frozen=True)
class Steps(Dataset[TrainingBatch]):
    """The batches of a stage, by step."""

    make: Callable[..., TrainingBatch]

    def __getitem__(self, step: int) -> TrainingBatch:
        """Make the batch of a step."""
        return self.make(step=step)


def prefetched(
    make: Callable[..., TrainingBatch], steps: range, workers: int
) -> Iterator[TrainingBatch]:
    """Yield `make(step=...)` for each step, made in advance by `workers` processes; 0: this one."""
    loader = DataLoader(
        Steps(make),
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,  # workers share the pictures in memory
        worker_init_fn=one_thread,
        generator=torch.Generator(),  # so that the loader does not change the global random state
        pin_memory=workers > 0 and torch.cuda.is_available(),
    )
    return iter(loader)


def one_thread(_worker: int) -> None:
    """Limit a worker process to one thread, because there is a worker for each core."""
    cv2.setNumThreads(0)


def one_sample(
    pair: Pair, patch: int, augment: Augmentation, rng: np.random.Generator
) -> tuple[Image, Image, Image, Image]:
    """Return dark and bright patch, dark and bright whole picture, all degraded in the same way."""
    change = draw(augment, rng)
    place = crop(pair, patch, rng)
    if rng.random() < augment.colorful:
        place = max(place, crop(pair, patch, rng), key=lambda images: chroma(images[1]))
    low, high = change(*draw_on(*place, augment, rng))
    low, high = as_recorded(low, high, augment, rng)
    return low, high, *change(small(pair.low), small(pair.high))


def as_recorded(
    low: Image, high: Image, a: Augmentation, rng: np.random.Generator
) -> tuple[Image, Image]:
    """Degrade a dark patch as a camera does.

    Also remove colour from the bright patch where the dark patch has lost it.
    """
    noise, video, hevc = rng.random(3) < (a.noise, a.video, 1 / 4)
    crf = int(rng.integers(*QUALITIES))
    frames = [sensor_noise(low, rng) if noise else low for _ in range(2)]
    if not video:
        return frames[1], high
    low = coded_as_video(frames, "hevc" if hevc else "h264", crf)
    # Chroma of one level over a large dark area comes from the codec, not from the scene.
    if rng.random() < 1 / 2:
        low = np.asarray((low + chroma_step(rng)).round().clip(0, 255), np.uint8)
    high = known_color(low, high)
    return (known_color(low, low) if rng.random() < 1 / 2 else low), high  # as `Reduced` does


def known_color(low: Image, high: Image) -> Image:
    """Remove the colour of `high` where the degraded patch `low` is too dark to have colour."""
    luma = np.asarray(cv2.blur(low @ LUMA.astype(np.float32), (8, 8)), np.float32)
    gray = (high @ LUMA.astype(np.float32))[..., None]
    known = gray + smooth_step(luma, *UNSURE)[..., None] * (high - gray)
    return np.asarray(known.round().clip(0, 255), np.uint8)


def small(image: Image) -> Image:
    """Return the whole picture, reduced to 120x80."""
    return np.asarray(cv2.resize(image, (120, 80), interpolation=cv2.INTER_AREA), np.uint8)


def to_tensor(images: Image) -> Tensor:
    """Convert (N, H, W, 3) uint8 to (N, 3, H, W) float in [0, 1], channels last in memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def crop(pair: Pair, patch: int, rng: np.random.Generator) -> tuple[Image, Image]:
    """Cut the same place from both pictures, turned and mirrored in the same of eight ways."""
    height, width = pair.low.shape[:2]
    if patch > min(height, width):
        raise ValueError(f"pair {pair.stem} is {width}x{height}, smaller than a patch of {patch}")
    y, x = rng.integers(height - patch + 1), rng.integers(width - patch + 1)
    turns, mirror = rng.integers(4), rng.integers(2)
    low, high = (
        np.rot90(i[y : y + patch, x : x + patch], int(turns))[:, :: -1 if mirror else 1]
        for i in (pair.low, pair.high)
    )
    return low.copy(), high.copy()  # the patches are changed later, but the pair is used again


def chroma(image: Image) -> float:
    """Return how colourful a picture is: the mean distance of its channels from their mean."""
    return float(np.abs(image - image.mean(axis=2, keepdims=True)).mean())
