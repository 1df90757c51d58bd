"""Figures of night clips: each responds to its fault, and not to an unchanged picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamkind.measure.night import NAMES, figures, picture_of_rgb, summary


def night():
    """Return a night picture: dark noisy ground with a texture, a lit sign, black rows below."""
    rng = np.random.default_rng(0)
    luma = np.full((240, 320), 14.0) + rng.normal(0, 1.5, (240, 320))
    luma[20:80, 20:140] += rng.choice([-9, 9], (15, 30)).repeat(4, 0).repeat(4, 1)
    luma[40:140, 180:300] = 130 + cv2.GaussianBlur(rng.normal(0, 120, (100, 120)), (0, 0), 2)
    luma[200:] = 0
    return np.clip(luma, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def lifted(rgb, gain=4.0):
    """Return the correct result: only dark pixels are raised."""
    x = rgb.astype(np.float32)
    lit = np.clip((cv2.blur(x, (15, 15)) - 40) / 60, 0, 1)
    return np.clip(x * (gain + (1 - gain) * lit), 0, 255).astype(np.uint8)


def purple(rgb):
    made = lifted(rgb).astype(int)
    made[100:160, :100] += (25, -20, 25)
    return np.clip(made, 0, 255).astype(np.uint8)


def washed(rgb):
    return (255 * (rgb / 255.0) ** 0.4).astype(np.uint8)


def blurred(rgb):
    return cv2.GaussianBlur(lifted(rgb), (0, 0), 4)


def gridded(rgb):
    made = lifted(rgb).astype(int)
    rows, columns = np.indices(made.shape[:2]) // 8
    made += ((rows + columns) % 2 * 6)[..., None]
    return np.clip(made, 0, 255).astype(np.uint8)


def striped(rgb):
    made = lifted(rgb).astype(int)
    made[:4] += (20, 0, -20)
    return np.clip(made, 0, 255).astype(np.uint8)


def clipped(rgb):
    return np.where(rgb > 120, 255, lifted(rgb)).astype(np.uint8)


@pytest.mark.parametrize(
    "fault, name, worse",
    [
        (purple, "patch", 1),
        (washed, "lit_contrast", -1),
        (washed, "lit_lift", 1),
        (clipped, "new_clip", 1),
        (blurred, "dark_detail", -1),
        (gridded, "blocks", 1),
        (striped, "edge_strip", 1),
    ],
)
def test_each_fault_shows_in_its_figure(fault, name, worse):
    before = picture_of_rgb(night())
    good = figures(before, picture_of_rgb(lifted(night())))[name]
    bad = figures(before, picture_of_rgb(fault(night())))[name]
    assert worse * (bad - good) > 0.02 + 0.2 * abs(good)


def test_a_frame_left_alone_counts_as_unchanged():
    same = picture_of_rgb(night())
    found = figures(same, same)
    assert set(found) <= set(NAMES)
    assert found["dark_lift"] == pytest.approx(1) and found["lit_lift"] == pytest.approx(0)
    means = summary([found, found])
    assert means["unchanged"] == 2 and "lit_contrast" not in means


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="sizes differ"):
        figures(picture_of_rgb(night()), picture_of_rgb(night()[:200]))
