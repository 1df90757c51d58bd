"""Noise and compression of cameras, applied to dark pictures."""

import numpy as np
import pytest

from streamkind.model import degrade
from streamkind.model.augment import Augmentation
from streamkind.model.data import as_recorded, known_color


def picture(level, size=96, seed=0):
    """Return a picture of random levels with the mean `level`, (size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2 * level + 1, (size, size, 3)).astype(np.uint8)


@pytest.mark.parametrize("level, least, most", [(0, 0.1, 1.5), (60, 0.9, 6)])
def test_noise_grows_with_the_light_and_is_of_mean_zero(level, least, most):
    flat = np.full((64, 64, 3), level, np.uint8)
    noisy = [degrade.sensor_noise(flat, np.random.default_rng(s)).astype(float) for s in range(40)]
    spread = np.array([n.std() for n in noisy])
    assert least / 3 < spread.min() and least < spread.mean() < most
    assert abs(np.mean(noisy) - level) < (0.5 if level == 0 else 0.1)


def test_noise_is_the_generators_alone():
    a, b = (degrade.sensor_noise(picture(20), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("codec", ["h264", "hevc"])
def test_coded_video_is_worse_the_higher_the_crf_and_shows_the_last_frame(codec):
    first, last = picture(40, seed=1), picture(40, seed=2)
    errors = [
        np.abs(degrade.coded_as_video([first, last], codec, crf).astype(float) - last).mean()
        for crf in (10, 25, 40)
    ]
    assert errors == sorted(errors) and errors[0] < errors[2] / 1.3
    smooth = np.repeat(np.linspace(0, 60, 96).astype(np.uint8)[:, None], 96, axis=1)
    smooth = np.repeat(smooth[..., None], 3, axis=2)
    filmed = degrade.coded_as_video([smooth, smooth], codec, 22)
    assert filmed.shape == smooth.shape and filmed.dtype == np.uint8
    assert np.abs(filmed.astype(float) - smooth).mean() < 2.5


def test_coded_video_halves_the_resolution_of_colour():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 120
    filmed = degrade.coded_as_video([stripes], "h264", 1).astype(float)
    chroma = [np.ptp(i - i.mean(axis=2, keepdims=True), axis=2).mean() for i in (stripes, filmed)]
    assert chroma[1] < 0.75 * chroma[0]


@pytest.mark.parametrize("size", [16, 48, 64])
def test_patches_of_any_size_that_training_uses_can_be_coded_as_video(size):
    for codec in ("h264", "hevc"):
        assert degrade.coded_as_video([picture(30, size)] * 2, codec, 30).shape == (size, size, 3)


def test_how_often_a_patch_is_coded_as_video_and_noisy():
    low = picture(20, 32)
    for augment, share in ((Augmentation(), 0), (Augmentation(noise=0.3), 0.3)):
        rng = np.random.default_rng(0)
        changed = [
            not np.array_equal(as_recorded(low, low, augment, rng)[0], low) for _ in range(400)
        ]
        assert np.mean(changed) == pytest.approx(share, abs=0.08)
    rng = np.random.default_rng(0)
    filmed = [not np.array_equal(as_recorded(low, low, Augmentation(video=0.5), rng)[0], low)
              for _ in range(60)]  # fmt: skip
    assert 0.25 < np.mean(filmed) < 0.75
    both = as_recorded(low, low, Augmentation(noise=1, video=1), np.random.default_rng(5))[0]
    again = as_recorded(low, low, Augmentation(noise=1, video=1), np.random.default_rng(5))[0]
    np.testing.assert_array_equal(both, again)  # a resumed run gets the same patches


def test_half_of_the_coded_patches_have_chroma_off_by_a_level_at_most():
    always, dark = Augmentation(video=1), np.full((32, 32, 3), 20, np.uint8)
    casts = [
        as_recorded(dark, dark, always, np.random.default_rng(seed))[0]
        .astype(int)
        .mean(axis=(0, 1))
        for seed in range(120)
    ]
    casts = np.array(casts) - np.mean(casts, axis=0)
    assert 0.25 < np.mean(np.ptp(casts, axis=1) > 0.6) < 0.65  # a ninth of the half has a step of 0
    assert np.abs(casts).max() < 3


def test_the_bright_picture_is_gray_where_the_coded_patch_is_near_black():
    high = picture(100)
    luma = (high @ [0.299, 0.587, 0.114])[..., None]
    for level, share in ((0, 0), (2, 0), (5, 1), (20, 1)):
        known = known_color(np.full_like(high, level), high)
        np.testing.assert_allclose(known, luma + share * (high - luma), atol=0.51)
    half = np.full_like(high, 20)
    half[:, :48] = 1
    known = known_color(half, high)
    np.testing.assert_array_equal(known[:, 56:], high[:, 56:])
    assert np.ptp(known[:, :40].astype(int), axis=2).max() <= 1


def test_only_coded_patches_lose_colour():
    dark, high = picture(1), picture(100)
    for augment, same in ((Augmentation(noise=1), True), (Augmentation(video=1), False)):
        _, wanted = as_recorded(dark, high, augment, np.random.default_rng(0))
        assert np.array_equal(wanted, high) is same


def test_half_of_the_coded_patches_near_black_have_no_colour_as_reduced_pictures():
    always, high = Augmentation(video=1), picture(100)
    dark = np.full_like(high, (3, 0, 3))
    lows = [as_recorded(dark, high, always, np.random.default_rng(s))[0] for s in range(80)]
    gray = [np.ptp(low.astype(int), axis=2).max() <= 1 for low in lows]
    assert 0.35 < np.mean(gray) < 0.75  # a chroma error of one level may make a patch gray too
