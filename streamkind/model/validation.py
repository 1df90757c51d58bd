"""Scores a picture against the true one, and checks decompositions.

Pictures are RGB uint8 (H, W, 3). The measures are scikit-image's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2gray, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from streamkind.light.exposure import STILL_TARGET, Statistics, auto_ratio
from streamkind.model.data import Pair, to_tensor
from streamkind.model.degrade import Image
from streamkind.model.graphs import Decompose, Recompose
from streamkind.model.kind import KinD, illumination_ratio
from streamkind.model.processes import autocast
from streamkind.model.released import pad


@dataclass(frozen=True)
class PairScores:
    """One picture, or the mean of many, against the truth."""

    psnr: float
    """PSNR over RGB, in dB."""
    ssim: float
    """SSIM over RGB, with a Gaussian window of sigma 1.5."""
    ssim_gray: float
    """SSIM of the gray pictures, with the same window."""
    ciede2000: float
    """Mean colour difference CIEDE2000; lower is better."""
    chroma_ratio: float
    """Mean Lab chroma of the picture over the truth's; 1 is right, 0 is gray."""


def score(image: Image, truth: Image) -> PairScores:
    """Compare a picture with the true one."""
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    lab, true_lab = rgb2lab(image), rgb2lab(truth)
    gray, true_gray = rgb2gray(image), rgb2gray(truth)
    return PairScores(
        psnr=float(peak_signal_noise_ratio(truth, image, data_range=255)),
        ssim=float(structural_similarity(truth, image, channel_axis=2, data_range=255, **window)),
        ssim_gray=float(structural_similarity(true_gray, gray, data_range=1, **window)),
        ciede2000=float(deltaE_ciede2000(true_lab, lab).mean()),
        chroma_ratio=chroma(lab) / max(chroma(true_lab), 1e-6),
    )


def chroma(lab: NDArray[Any]) -> float:
    """Return the mean distance from gray in CIELAB, (H, W, 3)."""
    return float(np.hypot(lab[..., 1], lab[..., 2]).mean())


def mean_matched(image: Image, truth: Image) -> Image:
    """Scale a picture to the mean gray of the truth, as other projects do ("GT-mean")."""
    gain = rgb2gray(truth).mean() / max(rgb2gray(image).mean(), 1e-6)
    return np.clip(image * gain + 0.5, 0, 255).astype(np.uint8)


def mean_scores(scores: Sequence[PairScores]) -> PairScores:
    """Return the mean of each measure."""
    columns = zip(*(vars(s).values() for s in scores), strict=True)
    return PairScores(*(float(np.mean(c)) for c in columns))


@torch.no_grad()
def relit(kind: KinD, pair: Pair) -> tuple[Image, Image]:
    """Enhance a dark picture with the ratio from the truth, and with the automatic ratio."""
    decompose, recompose = Decompose(kind).to(device(kind)), Recompose(kind)
    height, width = pair.low.shape[:2]
    low, high = (torch.from_numpy(pad(i[None])).to(device(kind)) for i in (pair.low, pair.high))
    with autocast(device(kind)):
        reflectance, illumination, *told = decompose(low)
        true = illumination_ratio(illumination.float(), decompose(high)[1].float())
        statistics = Statistics.of(*(t.float().cpu().numpy() for t in told))
        chosen = auto_ratio(statistics, STILL_TARGET, still=True)
        blind = torch.from_numpy(chosen).to(low.device)
        images = [recompose(reflectance, illumination, r)[0].cpu().numpy() for r in (true, blind)]
    images = [i[:height, :width] for i in images]
    return images[0], images[1]


def protocol_scores(rows: Sequence[tuple[tuple[Image, Image], Pair]]) -> dict[str, float]:
    """Return the scores of pictures of `relit` by three protocols, such as {"blind/psnr": ...}."""
    found: dict[str, float] = {}
    protocols = {
        "true_ratio": [score(images[0], p.high) for images, p in rows],
        "blind": [score(images[1], p.high) for images, p in rows],
        "mean_matched": [score(mean_matched(images[0], p.high), p.high) for images, p in rows],
    }
    for name, scores in protocols.items():
        found |= {f"{name}/{m}": v for m, v in vars(mean_scores(scores)).items()}
    return found


GATES = {
    "mean_l_low": (0.0, 0.2),
    "mean_l_high": (0.3, 1.0),
    "std_r_low": (0.1, 1.0),
    "std_r_high": (0.1, 1.0),
    "r_distance": (0.0, 0.12),
    "reconstruction_low": (0.0, 0.03),
    "reconstruction_high": (0.0, 0.03),
}
"""Ranges of a correct decomposition of LOL, chosen by hand. Outside of them, illumination or
reflectance has become nearly constant."""
RESTORATION_GATES = {"std_restored": (0.1, 1.0), "true_ratio/chroma_ratio": (0.3, 2.0)}
"""The same for the restored reflectance. A white or gray one would score well on pale scenes."""


@torch.no_grad()
def gate_numbers(kind: KinD, pairs: Sequence[Pair]) -> dict[str, float]:
    """Measure a decomposition: mean L, spread of R, |R_low - R_high| and |R L - I|."""
    rows = []
    for pair in pairs:
        low, high = (to_tensor(pad(i[None])).to(device(kind)) for i in (pair.low, pair.high))
        with autocast(low.device):
            (r_low, l_low), (r_high, l_high) = map(kind.decomposition, (low, high))
        height, width = pair.low.shape[:2]
        layers = low, high, r_low, l_low, r_high, l_high
        low, high, r_low, l_low, r_high, l_high = (x.float()[..., :height, :width] for x in layers)
        rows.append(
            [
                l_low.mean(),
                l_high.mean(),
                r_low.std(),
                r_high.std(),
                (r_low - r_high).abs().mean(),
                (r_low * l_low - low).abs().mean(),
                (r_high * l_high - high).abs().mean(),
            ]
        )
    means = torch.tensor(rows).mean(dim=0).tolist()
    return dict(zip(GATES, means, strict=True))


@torch.no_grad()
def restoration_gate(kind: KinD, pairs: Sequence[Pair]) -> dict[str, float]:
    """Measure the spread of the restored reflectance."""
    spreads = []
    for pair in pairs:
        low = to_tensor(pad(pair.low[None])).to(device(kind))
        with autocast(low.device):
            spreads.append(float(kind.restoration(*kind.decomposition(low)).float().std()))
    return {"std_restored": sum(spreads) / len(spreads)}


def failed_gates(numbers: Mapping[str, float]) -> list[str]:
    """Return a message for each number that lies outside its range."""
    return [
        f"{name} is {numbers[name]:.3f}, expected {low:g} to {high:g}"
        for name, (low, high) in (GATES | RESTORATION_GATES).items()
        if name in numbers and not low <= numbers[name] <= high
    ]


def device(kind: KinD) -> torch.device:
    """Return the device of the networks."""
    return next(kind.parameters()).device
