"""The measured paleness of bright pictures, and its correction by a recipe."""

import cv2
import numpy as np
import pytest
from parts import paleness

from streamkind.model.augment import saturation_matrix
from streamkind.model.data import Pair
from streamkind.model.degrade import recolor, sensor_noise


def pair(share, *, gain=0.25, cast=1.0, seed=0):
    """Return a pair: a bright scene with `share` of its saturation, and the dark one with all."""
    rng = np.random.default_rng(seed)
    scene = cv2.resize(rng.integers(100, 200, (6, 8, 3), np.uint8), (192, 128))
    low = sensor_noise(recolor(scene, gain * np.diag([cast, 1, 1])), rng)
    return Pair(str(seed), low, recolor(scene, saturation_matrix(share)))


@pytest.mark.parametrize("share", [0.5, 0.625, 1.0])
@pytest.mark.parametrize("cast", [1.0, 1.2])
def test_a_bright_picture_is_found_as_pale_as_it_is(share, cast):
    assert paleness.paleness(pair(share, cast=cast)) == pytest.approx(1 / share, rel=0.1)


def test_dark_and_clipped_pixels_are_not_measured():
    dark, white = pair(0.5, gain=0.05), pair(0.5)
    assert paleness.paleness(dark) is None
    assert paleness.paleness(Pair("white", white.low, np.full_like(white.high, 255))) is None


def test_a_saturation_by_the_measured_number_removes_the_paleness():
    pale = pair(0.625)
    found = paleness.paleness(pale)
    mended = Pair("a", pale.low, recolor(pale.high, saturation_matrix(found)))
    assert paleness.paleness(mended) == pytest.approx(1, abs=0.05)
