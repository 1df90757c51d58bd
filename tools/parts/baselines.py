"""Methods without training, with which KinD is compared.

Their input and output is RGB uint8, (H, W, 3). Histogram equalisation and CLAHE are those of
OpenCV. The Retinex methods and LIME are implemented here.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from streamkind.model.degrade import Image

Plane = NDArray[np.float64]
Method = Callable[[Image], Image]
SCALES = (15, 80, 250)
"""Standard deviations of the Gaussian surround of MSR, in pixels, as published."""


def to_bytes(image: NDArray[np.float64]) -> Image:
    """Convert values in [0, 1] to 8 bits."""
    return np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)


def on_luma(image: Image, change: Callable[[Image], Image]) -> Image:
    """Apply a function to the luma of a picture, and keep its chroma."""
    ycrcb = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    ycrcb[..., 0] = change(ycrcb[..., 0])
    return np.asarray(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2RGB), np.uint8)


def clahe(image: Image) -> Image:
    """Equalise the histogram, adaptive and contrast-limited, with settings of OpenCV's example."""
    return on_luma(image, cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply)


def log_reflectance(image: Image, scales: tuple[int, ...]) -> Plane:
    """Return the log of a picture minus the mean log of its blurred versions, (H, W, 3)."""
    light = image.astype(np.float64) + 1
    surrounds = [np.log(cv2.GaussianBlur(light, (0, 0), sigma)) for sigma in scales]
    return np.asarray(np.log(light) - np.mean(surrounds, axis=0), np.float64)


def stretch(values: Plane) -> Image:
    """Scale each channel so that its 1st and 99th percentiles become 0 and 255."""
    low, high = np.percentile(values, (1, 99), axis=(0, 1))
    return to_bytes((values - low) / (high - low + 1e-6))


def msrcr(image: Image) -> Image:
    """Enhance by multi-scale Retinex with colour restoration (Jobson et al. 1997)."""
    light = image.astype(np.float64) + 1
    share = 46 * (np.log(125 * light) - np.log(light.sum(axis=2, keepdims=True)))
    return stretch(log_reflectance(image, SCALES) * share)


def lime(image: Image, alpha: float = 0.15, gamma: float = 0.8) -> Image:
    """Enhance by LIME (Guo et al. 2017), with its fast solver.

    The illumination is the largest channel, smoothed except at its edges (weights of strategy III),
    to the power `gamma`.
    """
    picture = image.astype(np.float64) / 255
    first = picture.max(axis=2)
    light = smooth_light(first, alpha).clip(1e-3, 1)
    return to_bytes(picture / light[..., None] ** gamma)


def smooth_light(first: Plane, alpha: float, window: int = 5, floor: float = 1e-3) -> Plane:
    """Solve (1 + sum_d D_d' W_d D_d) t = first for the illumination t, both (H, W)."""
    system = sparse.identity(first.size, format="csc")
    for axis in (0, 1):
        step = np.diff(first, axis=axis, append=np.take(first, [-1], axis=axis))
        smooth = cv2.GaussianBlur(step, (window, window), 2.0)
        weight = alpha / ((abs(smooth) + floor) * (abs(step) + floor))
        jump = first.shape[1] if axis == 0 else 1
        # The last row or column has no neighbour.
        weight[(-1, slice(None)) if axis == 0 else (slice(None), -1)] = 0
        ahead = sparse.diags([-np.ones(first.size), np.ones(first.size - jump)], [0, jump])
        system = system + ahead.T @ sparse.diags(weight.ravel() * floor) @ ahead
    return np.asarray(spsolve(system.tocsc(), first.ravel()).reshape(first.shape), np.float64)


def lime_bm3d(image: Image, sigma: float = 0.06) -> Image:
    """Enhance by LIME, then denoise the luma by BM3D (package bm3d)."""
    import bm3d

    def denoise(luma: Image) -> Image:
        return to_bytes(np.asarray(bm3d.bm3d(luma / 255.0, sigma)).squeeze())

    return on_luma(lime(image), denoise)


GAMMA = to_bytes((np.arange(256) / 255) ** 0.4)
"""Output level of `gamma 0.4` for each input level."""
METHODS: dict[str, Method] = {
    "input itself": lambda image: image,
    "gamma 0.4": lambda image: GAMMA[image],
    "histogram equalisation": lambda image: on_luma(image, cv2.equalizeHist),
    "CLAHE": clahe,
    "SSR": lambda image: stretch(log_reflectance(image, SCALES[1:2])),
    "MSR": lambda image: stretch(log_reflectance(image, SCALES)),
    "MSRCR": msrcr,
    "LIME": lime,
    "LIME + BM3D": lime_bm3d,
}
"""Methods, by the names that tables show."""
