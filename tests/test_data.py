"""Pairs of pictures, and the batches that are cut from them."""

import functools
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from streamkind.model import augment as augmentation
from streamkind.model import data
from streamkind.model.augment import Augmentation, Change
from streamkind.model.data import Pair

PLAIN = Augmentation()
ALL = Augmentation(
    exposure_stops=1, white_balance=0.2, jpeg=0.5, identity=0.2, flat=0.2, lamps=0.5, blackout=0.5
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def picture(seed, height=40, width=56):
    """Return a scene that depends on the seed: smooth blobs in colour, with some texture."""
    rng = np.random.default_rng(seed)
    blobs = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (width, height))
    return np.clip(blobs + rng.normal(0, 4, blobs.shape), 0, 255).astype(np.uint8)


def darker(image, gain=0.2):
    return (image * gain).astype(np.uint8)


def pairs(count):
    return [Pair(str(i), darker(picture(i)), picture(i)) for i in range(count)]


def numbered(count, size=24):
    """Return flat pairs. In pair `i`, the dark picture has the value `i`, the bright 100 + `i`."""
    flat = [np.full((size, size, 3), 100 + i, np.uint8) for i in range(count)]
    return [Pair(str(i), high - 100, high) for i, high in enumerate(flat)]


def write(root, **files):
    """Write root/low/NAME and root/high/NAME; return `root`."""
    for folder, images in files.items():
        (root / folder).mkdir(parents=True)
        for name, image in images.items():
            assert cv2.imwrite(str(root / folder / name), image[..., ::-1])
    return root


def test_pale_bright_pictures_get_their_colour_back_and_nothing_else_changes(tmp_path):
    image = picture(1) // 3 + 80  # so that no channel is clipped
    root = write(tmp_path, low={"a.png": darker(image)}, high={"a.png": image})
    (plain,), (vivid,) = data.load_pairs(root), data.load_pairs(root, 1.5)
    np.testing.assert_array_equal(vivid.low, plain.low)
    luma, luma_after = (i.high @ [0.299, 0.587, 0.114] for i in (plain, vivid))
    np.testing.assert_allclose(luma_after, luma, atol=0.51)
    np.testing.assert_allclose(
        vivid.high - luma_after[..., None], 1.5 * (plain.high - luma[..., None]), atol=1.1
    )


def test_pictures_are_paired_by_stem_not_by_place_or_suffix(tmp_path):
    a, b = picture(1), picture(2)
    low = {"7.png": darker(a), "10.bmp": darker(b)}
    high = {"10.png": b, "7.bmp": a}
    (tmp_path / "notes.txt").write_text("not a picture")
    found = data.load_pairs(write(tmp_path, low=low, high=high))
    assert [p.stem for p in found] == ["10", "7"]
    for pair, image in zip(found, (b, a), strict=True):
        np.testing.assert_array_equal(pair.high, image)  # RGB, as written
        np.testing.assert_array_equal(pair.low, darker(image))


def test_pictures_without_a_partner_are_named_and_dropped(tmp_path):
    low = {"1.png": picture(1), "extra.png": picture(2)}
    high = {"1.png": picture(1), "79.png": picture(3), "735.png": picture(4)}
    write(tmp_path, low=low, high=high)
    with pytest.warns(UserWarning, match=r"no partner for 735, 79, extra; dropped"):
        found = data.load_pairs(tmp_path)
    assert [p.stem for p in found] == ["1"]


def test_a_pair_of_two_sizes_is_named(tmp_path):
    low = {"1.png": picture(1), "2.png": picture(2, 40, 48)}
    high = {"1.png": picture(1), "2.png": picture(2)}
    write(tmp_path, low=low, high=high)
    with pytest.raises(
        ValueError, match=r"pair 2 differs in size, \(40, 48, 3\) and \(40, 56, 3\)"
    ):
        data.load_pairs(tmp_path)


def test_a_missing_folder_says_what_is_expected(tmp_path):
    write(tmp_path, low={"1.png": picture(1)})
    with pytest.raises(FileNotFoundError, match=r"high is not a folder; expected pairs"):
        data.load_pairs(tmp_path)


@pytest.mark.parametrize("content", [b"no picture", b""])
def test_a_broken_file_is_named(tmp_path, content):
    write(tmp_path, low={"1.png": picture(1)}, high={})
    (tmp_path / "high" / "1.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"1\.png is not an image"):
        data.load_pairs(tmp_path)


@pytest.mark.parametrize("count, batch", [(7, 3), (8, 4), (5, 5), (10, 1)])
@pytest.mark.parametrize("epoch", [0, 3])
def test_an_epoch_takes_every_pair_at_most_once_and_only_full_batches(count, batch, epoch):
    steps = count // batch
    taken = [data.batch_indices(count, batch, epoch * steps + i, seed=0) for i in range(steps)]
    assert {len(t) for t in taken} == {batch}
    flat = np.concatenate(taken).tolist()
    assert len(set(flat)) == len(flat) == steps * batch
    assert set(flat) <= set(range(count))


def test_epochs_and_seeds_differ_in_order_and_in_who_is_left_out():
    def epoch(n, seed=0):
        return np.concatenate([data.batch_indices(7, 3, 2 * n + i, seed) for i in (0, 1)]).tolist()

    assert len({tuple(epoch(n)) for n in range(20)}) > 15
    assert set().union(*(epoch(n) for n in range(20))) == set(range(7))
    assert epoch(0, seed=0) != epoch(0, seed=1)


def test_too_few_pairs_for_a_batch():
    with pytest.raises(ValueError, match="3 pairs do not fill one batch of 4"):
        data.batch_indices(3, 4, 0, seed=0)


def batch(which, step, seed=0, augment=ALL, size=4, patch=16):
    return data.make_batch(which, step=step, batch=size, patch=patch, seed=seed, augment=augment)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_a_batch_depends_on_seed_and_step_alone():
    some = pairs(9)
    first = {step: batch(some, step) for step in (0, 1, 5)}
    np.random.default_rng().random(3)
    torch.manual_seed(7)
    again = {step: batch(some, step) for step in (5, 0, 1)}
    assert all(same(first[step], again[step]) for step in first)
    assert not same(first[0], first[1])
    assert not same(first[0], batch(some, 0, seed=1))


def check_batches_made_ahead(workers):
    some, state = pairs(9), torch.get_rng_state()
    found = data.prefetched(functools.partial(batch, some), range(3, 8), workers)
    assert all(same(made, batch(some, step)) for step, made in zip(range(3, 8), found, strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_prefetched_batches_are_those_of_their_steps():
    check_batches_made_ahead(0)


def test_worker_processes_prefetch_the_same_batches():
    # In a process of its own. The process of the tests has threads and signal handlers of other
    # tests, and worker processes that are forked from it can make it crash.
    code = "import test_data; test_data.check_batches_made_ahead(2)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent, timeout=120)


def test_a_batch_on_another_device_is_as_it_was():
    made = batch(pairs(5), 0).to(torch.device("meta"))
    assert made.low.shape == (4, 3, 16, 16)
    assert {t.device.type for t in vars(made).values()} == {"meta"}


def test_shapes_and_ranges_of_a_batch():
    made = batch(pairs(5), 0)
    assert made.low.shape == made.high.shape == (4, 3, 16, 16)
    assert made.low_small.shape == made.high_small.shape == (4, 3, 80, 120)
    for tensor in vars(made).values():
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous(memory_format=torch.channels_last)
        assert 0 <= float(tensor.min()) <= float(tensor.max()) <= 1


def test_patches_and_small_pictures_of_a_batch_are_of_the_same_pair():
    made = batch(numbered(6), 3, augment=PLAIN)
    number = (made.high * 255).round() - 100
    assert sorted(set(number[:, 0, 0, 0].tolist())) == sorted(
        data.batch_indices(6, 4, 3, seed=0).tolist()
    )
    for tensor, offset in ((made.low, 100), (made.low_small, 100), (made.high_small, 0)):
        torch.testing.assert_close(
            (tensor * 255).round()[:, 0, :16, :16] + offset - 100, number[:, 0]
        )


def test_crop_and_turn_are_the_same_for_dark_and_bright():
    ramp = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)
    high = np.stack([ramp // 256, ramp % 256, ramp % 7], axis=2).astype(np.uint8)
    pair = Pair("ramp", high ^ 255, high)
    seen = set()
    for seed in range(200):
        low, bright = data.crop(pair, 12, np.random.default_rng(seed))
        assert bright.shape == (12, 12, 3) and bright.flags.c_contiguous
        np.testing.assert_array_equal(low ^ 255, bright)
        values = bright[..., 0].astype(int) * 256 + bright[..., 1]
        seen.add((values[0, 1] - values[0, 0], values[1, 0] - values[0, 0]))
    assert seen == {(a, b) for x in (1, -1) for y in (30, -30) for a, b in ((x, y), (y, x))}


def test_crops_reach_every_corner():
    pair = numbered(1, size=14)[0]
    pair.high[0, 0], pair.high[-1, -1] = 0, 1
    crops = [data.crop(pair, 12, np.random.default_rng(s))[1] for s in range(80)]
    assert any((c == 0).any() for c in crops) and any((c == 1).any() for c in crops)


def test_copies_of_a_scene_are_one_group():
    a, b, c = (picture(i) for i in range(3))
    images = [a, b, darker(a, 0.5), c, darker(b, 0.3), cv2.GaussianBlur(a, (5, 5), 1)]
    assert data.scenes(images) == [[0, 2, 5], [1, 4], [3]]


def test_flat_pictures_are_scenes_of_their_own():
    black = np.zeros((40, 56, 3), np.uint8)
    assert data.scenes([black, picture(0), black]) == [[0], [1], [2]]


@pytest.mark.parametrize("held_out", [0, 2, 6])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_split_never_divides_a_scene(held_out, seed):
    images = [(f"{scene}-{copy}", darker(picture(scene), 1 - copy / 4))
              for scene in range(8) for copy in range(2)]  # fmt: skip
    all_pairs = [Pair(stem, darker(image), image) for stem, image in images]
    train, held = data.split(all_pairs, held_out, seed)
    assert sorted(p.stem for p in train + held) == sorted(stem for stem, _ in images)
    assert not {p.stem[0] for p in train} & {p.stem[0] for p in held}
    assert held_out <= len(held) <= held_out + 1
    again = data.split(all_pairs, held_out, seed)
    assert [p.stem for p in again[1]] == [p.stem for p in held]


def test_a_scene_that_is_most_of_the_data_is_trained_on():
    large = [Pair(f"big{i}", picture(0), darker(picture(0), 1 - i / 20)) for i in range(10)]
    train, held = data.split([*large, *pairs(5)[1:]], 4, seed=0)
    assert sorted(p.stem for p in held) == ["1", "2", "3", "4"]
    assert len(train) == 10


LOW, HIGH = darker(picture(3)), picture(3)
NOTHING = {
    "flat": None, "color": None, "identity": False, "darkened": None, "exposure": None,
    "quality": None,
}  # fmt: skip


SWAP = np.eye(3)[[2, 1, 0]]
LIGHT = (HIGH @ np.array([0.299, 0.587, 0.114], np.float32) / 255)[..., None]


def scaled(image, gains):
    return np.clip(np.floor(image * np.array(gains) + 0.5), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "change, low, high",
    [
        ({}, LOW, HIGH),
        ({"flat": 0}, LOW * 0, HIGH * 0),
        ({"flat": 255, "identity": True}, LOW * 0 + 255, HIGH * 0 + 255),
        ({"identity": True, "exposure": 0.5, "quality": 40}, HIGH, HIGH),
        ({"darkened": (1.0, 1.0)}, HIGH, HIGH),
        ({"darkened": (0.6, 1.0)}, scaled(HIGH, 0.6), HIGH),
        ({"darkened": (1.0, 2.0)}, scaled(HIGH, LIGHT), HIGH),
        ({"darkened": (1.0, 1.0), "exposure": 0.5}, scaled(HIGH, 0.5), HIGH),
        ({"exposure": 2.0}, scaled(LOW, 2), HIGH),
        ({"exposure": 0.5}, scaled(LOW, 0.5), HIGH),
        (
            {"color": np.diag([1.5, 1, 0.5])},
            scaled(LOW, (1.5, 1, 0.5)),
            scaled(HIGH, (1.5, 1, 0.5)),
        ),
        ({"color": SWAP}, LOW[..., ::-1], HIGH[..., ::-1]),
        ({"color": SWAP, "identity": True}, HIGH[..., ::-1], HIGH[..., ::-1]),
    ],
    ids=[
        "none",
        "black",
        "white",
        "identity",
        "as bright",
        "in less light",
        "by gamma",
        "darkened twice",
        "brighter",
        "darker",
        "white-balance",
        "swapped",
        "swapped identity",
    ],
)
def test_each_change_of_a_pair_gives_the_expected_pixels(change, low, high):
    got = Change(**NOTHING | change)(LOW, HIGH)
    np.testing.assert_array_equal(got[0], low)
    np.testing.assert_array_equal(got[1], high)


def test_compression_spoils_the_dark_picture_alone_and_keeps_its_colours():
    low, high = Change(**NOTHING | {"quality": 40})(HIGH, HIGH)
    np.testing.assert_array_equal(high, HIGH)
    assert 0.5 < np.abs(low.astype(int) - HIGH).mean() < 12
    assert np.abs(low.mean(axis=(0, 1)) - HIGH.mean(axis=(0, 1))).max() < 3


def test_a_change_is_the_same_for_a_patch_and_for_the_whole_picture():
    augment = Augmentation(exposure_stops=1, white_balance=0.3, saturation_stops=1, channels=0.5)
    grays = numbered(4)
    for step in range(20):
        made = batch(grays, step, augment=augment)
        for patch, whole in ((made.low, made.low_small), (made.high, made.high_small)):
            torch.testing.assert_close(patch.mean(dim=(2, 3)), whole.mean(dim=(2, 3)))


def drawn(augment, count=4000):
    rng = np.random.default_rng(0)
    return [augmentation.draw(augment, rng) for _ in range(count)]


def test_without_augmentation_pictures_stay_as_they_are():
    for change in drawn(PLAIN, 50):
        low, high = change(LOW, HIGH)
        np.testing.assert_array_equal(low, LOW)
        np.testing.assert_array_equal(high, HIGH)


@pytest.mark.parametrize(
    "augment, happened, share",
    [
        (Augmentation(flat=0.4), lambda c: c.flat is not None, 0.4),
        (Augmentation(flat=0.6), lambda c: c.flat == 0, 0.2),
        (Augmentation(flat=0.6), lambda c: c.flat == 255, 0.2),
        (Augmentation(flat=0.6), lambda c: c.flat not in (None, 0, 255), 0.2),
        (Augmentation(identity=0.3), lambda c: c.identity, 0.3),
        (Augmentation(darkened=0.3), lambda c: c.darkened is not None, 0.3),
        (Augmentation(jpeg=0.2), lambda c: c.quality is not None, 0.2),
        (Augmentation(white_balance=0.1), lambda c: c.color is not None, 1 / 3),
        (Augmentation(saturation_stops=1), lambda c: c.color is not None, 1 / 2),
        (Augmentation(channels=0.6), lambda c: c.color is not None, 0.5),  # one order of six is RGB
        (Augmentation(gray=0.3), lambda c: c.color is not None, 0.3),
        (Augmentation(exposure_stops=1), lambda c: c.exposure is not None, 1 / 2),
        (PLAIN, lambda c: c.flat is not None or c.identity or c.quality is not None, 0),
    ],
    ids=[
        "flat",
        "black",
        "white",
        "gray",
        "identity",
        "darkened",
        "jpeg",
        "white-balance",
        "saturation",
        "channels",
        "all colour",
        "exposure",
        "none",
    ],
)
def test_how_often_a_change_happens(augment, happened, share):
    assert np.mean([happened(c) for c in drawn(augment)]) == pytest.approx(share, abs=0.03)


def test_a_gray_picture_has_no_colour_and_keeps_its_luma():
    (change,) = drawn(Augmentation(gray=1, channels=0.5, saturation_stops=1), 1)
    low, high = change(LOW, HIGH)
    for gray, image in ((low, LOW), (high, HIGH)):
        luma = image @ [0.299, 0.587, 0.114]
        np.testing.assert_allclose(gray, luma[..., None].repeat(3, axis=2), atol=0.51)


def test_the_strength_of_each_change_is_within_its_range():
    changes = drawn(Augmentation(exposure_stops=1.5, white_balance=0.2, jpeg=1, darkened=1))
    stops = np.log2([c.exposure for c in changes if c.exposure])
    reds, greens, blues = np.array([np.diag(c.color) for c in changes if c.color is not None]).T
    gains, gammas = np.array([c.darkened for c in changes]).T
    ranges = ((stops, 0, 1.5), (reds, 1, 0.2), (blues, 1, 0.2), (gains, 0.75, 0.25))
    for values, middle, far in (*ranges, (gammas, 3.25, 1.75)):
        assert middle - far <= values.min() < middle - 0.95 * far
        assert middle + 0.95 * far < values.max() <= middle + far
    assert set(greens) == {1.0}
    assert {c.quality for c in changes} == set(range(40, 96))


def test_of_two_places_the_more_colourful_one_is_taken():
    plain, vivid = numbered(1, size=40)[0].high, picture(4, 40, 40)
    image = np.hstack([plain, vivid])
    half = Pair("half", darker(image), image)

    def colourful(share):
        rng, augment = np.random.default_rng(0), Augmentation(colorful=share)
        crops = [data.one_sample(half, 16, augment, rng) for _ in range(1000)]
        for low, high, *_ in crops:
            np.testing.assert_array_equal(low, darker(high))
        return np.mean([data.chroma(high) > 5 for _, high, *_ in crops])

    assert colourful(0) == pytest.approx(0.65, abs=0.1)
    assert colourful(1) > colourful(0) + 0.15


def test_more_or_less_colour_leaves_luma_and_goes_both_ways():
    luma = np.array([0.299, 0.587, 0.114])
    colors = [c.color for c in drawn(Augmentation(saturation_stops=1)) if c.color is not None]
    shares = []
    for color in colors:
        np.testing.assert_allclose(luma @ color, luma)
        np.testing.assert_allclose(color.sum(axis=1), 1)  # gray stays gray
        red = color @ [1, 0, 0]
        shares.append(red[0] - red[1])
    assert 0.5 <= min(shares) < 0.55 and 1.9 < max(shares) <= 2


def test_channels_take_every_order_alike():
    colors = [c.color for c in drawn(Augmentation(channels=1)) if c.color is not None]
    orders, counts = np.unique([c.argmax(axis=1) for c in colors], axis=0, return_counts=True)
    assert len(orders) == 5 and counts.min() > 0.8 * counts.mean()


@pytest.mark.parametrize("augment", [Augmentation(lamps=1), Augmentation(blackout=1)])
def test_shapes_are_drawn_into_both_patches(augment):
    drawn_on = tinted = 0
    for seed in range(30):
        low, high = np.full((32, 32, 3), 20, np.uint8), np.full((32, 32, 3), 90, np.uint8)
        after = augmentation.draw_on(low.copy(), high.copy(), augment, np.random.default_rng(seed))
        lit, brighter = (
            np.subtract(a, b, dtype=int) for a, b in zip(after, (low, high), strict=True)
        )
        if augment.blackout:
            np.testing.assert_array_equal(lit != 0, brighter != 0)
            assert set(np.unique(after[1])) <= {0, 90}
            assert set(np.unique(after[0])) <= {*range(9), 20}
            tinted += bool((np.ptp(after[0], axis=2) > 0).any())
        else:
            assert lit.min() >= 0 and brighter.min() >= 0
            assert not (brighter[lit > 80] <= 0).any()
        drawn_on += bool(lit.any())
    assert drawn_on > 20
    assert 5 < tinted < 20 if augment.blackout else not tinted


def test_near_black_is_like_that_of_decoded_video():
    rng = np.random.default_rng(0)
    for _ in range(50):
        picture = augmentation.near_black(20, 36, rng).astype(int)
        assert picture.shape == (20, 36, 3) and picture.max() <= 7
        for block in (picture[:16, :16], picture[16:, 32:]):
            assert (block == block[0, 0]).all()


def test_nothing_is_drawn_into_the_pair_itself():
    some = numbered(2, size=16)  # a patch is then the whole picture
    for step in range(30):
        batch(some, step, size=2, augment=Augmentation(lamps=1, blackout=1))
    for pair, fresh in zip(some, numbered(2, size=16), strict=True):
        np.testing.assert_array_equal(pair.low, fresh.low)
        np.testing.assert_array_equal(pair.high, fresh.high)
