"""The score: figures are compared with values found by hand, and bad input is refused."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.media import make_clip

import streamkind.measure.score
from streamkind.cli import app as cli
from streamkind.errors import InputError, UsageError
from streamkind.measure.flow import Flow, SeenFrame, luma, reliable
from streamkind.measure.score import GAIN, INPUT, OUTPUT, ROWS, UNSMOOTHED, flicker, response, score

SIZE = (160, 96)


def texture(seed=0, size=SIZE, low=40, high=200):
    """Return a picture of smooth blobs and fine grain, in colour."""
    rng = np.random.default_rng(seed)
    blobs = cv2.resize(rng.uniform(low, high, (8, 12, 3)).astype(np.float32), size)
    grain = cv2.GaussianBlur(rng.normal(0, 60, (size[1], size[0], 3)).astype(np.float32), (0, 0), 1)
    return np.clip(blobs + grain, 0, 255).astype(np.uint8)


def clip(path, images):
    """Write frames without loss; return the path."""
    height, width = images[0].shape[:2]
    make_clip(
        path,
        frames=len(images),
        size=(width, height),
        images=images,
        codec="ffv1",
        pix_fmt="bgr0",
        color=None,
    )
    return path


def scored(tmp_path, dark, clear, **options):
    files = {"dark": dark, "clear": clear, "own": options.pop("own", clear)}
    if "true" in options:
        files["true"] = options.pop("true")
        options["reference"] = tmp_path / "true.mkv"
    for name, images in files.items():
        clip(tmp_path / f"{name}.mkv", images)
    return score(
        tmp_path / "dark.mkv", tmp_path / "clear.mkv", unsmoothed=tmp_path / "own.mkv", **options
    )


def test_flicker_is_the_deviation_of_the_high_passed_log():
    t = np.arange(1500)
    wave = 0.05 * np.sin(2 * np.pi * t / 3)  # a period of three frames: the mean of fifteen is zero
    found = flicker(list(0.4 * np.exp(wave)), [])
    assert found == pytest.approx(0.05 / np.sqrt(2), rel=0.02)
    slow = flicker(list(0.4 * np.exp(0.05 * np.sin(2 * np.pi * t / 300))), [])
    assert slow < 0.001


def test_flicker_does_not_see_a_cut():
    levels = [0.1] * 40 + [0.4] * 40
    assert flicker(levels, [40]) == pytest.approx(0, abs=1e-12)
    assert flicker(levels, []) > 0.1


@pytest.mark.parametrize("frames", [0, 1, 7, 20])
def test_response_counts_frames_until_a_tenth_of_the_step_is_left(frames):
    dark = [0.05] * 50 + [0.4] * 60  # a tunnel's end: three stops
    settled, away = 0.4, 0.4 * 2 ** (0.11 * 3)
    luma = [settled] * 50 + [away] * frames + [settled] * (60 - frames)
    assert response(dark, luma) == frames
    assert response([0.1] * 100, [0.4] * 100) is None


def test_luma_is_bt601():
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    np.testing.assert_allclose(luma(pixels)[0], [0.299, 0.587, 0.114, 1], atol=1e-6)


def shifted(image, by):
    return np.roll(image, by, axis=1)


def error(flow, before, after):
    return flow.error(SeenFrame.of(before).small, SeenFrame.of(after).small)


def test_a_flow_takes_motion_out_of_the_error():
    before = texture()
    after = shifted(before, 3)
    flow = Flow.between(luma(before), luma(after))
    still = Flow.between(luma(before), luma(before))
    assert error(still, before, before) < 1e-7
    assert error(still, before, after) > 0.003
    assert error(flow, before, after) < 0.1 * error(still, before, after)
    assert flow.visible.mean() > 0.6


def test_an_error_of_one_level_is_the_sum_over_channels():
    before = np.full((48, 64, 3), 100, np.uint8)
    flow = Flow.between(luma(before), luma(before))
    after = before + np.array([10, 0, 20], np.uint8)
    wanted = (10 / 255) ** 2 + (20 / 255) ** 2
    assert error(flow, before, after) == pytest.approx(wanted, rel=1e-4)


def test_the_mask_is_0_where_flows_disagree_and_at_edges_of_motion():
    forward, backward = (np.zeros((20, 40, 2), np.float32) for _ in range(2))
    forward[..., 0], backward[..., 0] = 2, -2
    assert reliable(forward, backward)[5:-5, 5:-5].all()
    assert not reliable(forward, backward)[:, 38:].any()  # flows out of the picture
    backward[8:12, 10:20, 0] = -1  # there the flow back differs
    mask = reliable(forward, backward)
    assert not mask[9:11, 10:16].any() and mask[9:11, 24:34].all()
    backward[..., 0] = -2
    forward[:, 20:, 0] = 6
    backward[:, 20:, 0] = -6
    mask = reliable(forward, backward)
    assert not mask[:, 20].any() and mask[5:15, 5:15].all()


def test_a_frozen_result_has_no_flicker_and_no_error(tmp_path):
    dark = [np.uint8(texture() * gain) for gain in (0.2, 0.22, 0.2, 0.19)]
    figures = scored(tmp_path, dark, [texture()] * 4).figures(OUTPUT)
    assert figures["flicker"] == figures["mabd"] == 0
    assert figures["e_warp"] < 1e-4
    assert figures["excess_flicker"] < 0
    assert figures["log_luma_deviation"] == 0


def test_mabd_luma_and_clipping_by_hand(tmp_path):
    dark = [np.full((96, 160, 3), 20, np.uint8)] * 3
    clear = [np.full((96, 160, 3), level, np.uint8) for level in (100, 110, 120)]
    for frame in clear:
        frame[:24], frame[24:36] = 255, 0
    figures = scored(tmp_path, dark, clear).figures(OUTPUT)
    assert figures["clipped_white"] == pytest.approx(24 / 96)
    assert figures["clipped_black"] == pytest.approx(12 / 96)
    assert figures["mabd"] == pytest.approx(10 / 255 * 60 / 96, rel=1e-4)
    assert figures["luma"] == pytest.approx((110 * 60 + 255 * 24) / 96 / 255, rel=1e-4)


def test_a_sharper_result_is_sharper_at_any_brightness(tmp_path):
    image = texture()
    blurred = cv2.GaussianBlur(image, (0, 0), 2)
    dark = [image // 4] * 2
    scores = scored(tmp_path, dark, [image] * 2, own=[blurred] * 2)
    sharpness = {name: scores.figures(name)["sharpness"] for name in ROWS}
    assert sharpness[UNSMOOTHED] < 0.7 * sharpness[OUTPUT]
    assert sharpness[INPUT] == pytest.approx(sharpness[OUTPUT], rel=0.05)


def test_constant_gain_has_the_luma_of_the_result_and_the_flicker_of_the_input(tmp_path):
    dark = [np.uint8(texture(high=120) * gain) for gain in (0.2, 0.25, 0.2, 0.22, 0.2)]
    scores = scored(tmp_path, dark, [np.uint8(texture(high=120))] * 5)
    gain, own, out = (scores.figures(name) for name in (GAIN, INPUT, OUTPUT))
    assert gain["luma"] == pytest.approx(out["luma"], rel=0.02)
    assert gain["flicker"] == pytest.approx(own["flicker"], rel=0.05)
    ratio = gain["e_warp_gain_normalised"] / own["e_warp_gain_normalised"]
    assert ratio == pytest.approx(1, rel=0.1)


def test_a_cut_is_left_out_and_counted(tmp_path):
    clear = [texture(0)] * 4 + [texture(9)] * 4
    dark = [image // 5 for image in clear]
    scores = scored(tmp_path, dark, clear)
    assert scores.cuts == [4]
    figures = scores.figures(OUTPUT)
    assert figures["mabd"] == figures["e_warp"] == 0
    assert figures["flicker"] == pytest.approx(0, abs=1e-9)
    assert scores.as_json()["series"][OUTPUT]["mabd"][3] is None
    alone = scored(tmp_path, dark[3:5], clear[3:5]).as_json()  # all is left out
    assert alone["figures"][OUTPUT]["mabd"] is None
    json.dumps(alone, allow_nan=False)


def test_a_reference_adds_psnr_ssim_and_the_error_of_mabd(tmp_path):
    true = [texture()] * 3
    clear = [texture(), np.uint8(np.clip(texture() + 10.0, 0, 255)), texture()]
    scores = scored(tmp_path, [t // 5 for t in true], clear, true=true)
    figures = scores.figures(OUTPUT)
    assert figures["psnr_least"] == pytest.approx(20 * np.log10(255 / 10), abs=0.1)
    assert scores.rows[OUTPUT].ssim[0] == pytest.approx(1)
    assert 0.8 < figures["ssim_least"] < 1
    assert figures["mabd_error"] == pytest.approx((10 / 255) ** 2, rel=0.02)
    assert scores.figures(GAIN)["psnr"] < 40


def test_without_a_video_for_it_the_model_is_run_without_smoothing(tmp_path, monkeypatch):
    asked = []

    def model(input, output, **options):
        asked.append(options)
        clip(output, [texture()] * 3)

    monkeypatch.setattr(streamkind.measure.score, "enhance", model)
    clip(tmp_path / "dark.mkv", [texture() // 5] * 3)
    clip(tmp_path / "clear.mkv", [texture()] * 3)
    scores = score(tmp_path / "dark.mkv", tmp_path / "clear.mkv")
    assert asked[0]["steady"] == ()
    assert scores.figures(UNSMOOTHED)["luma"] == pytest.approx(scores.figures(OUTPUT)["luma"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clear.mkv", "dark.mkv"]


@pytest.mark.parametrize(
    "frames, size, says",
    [
        (2, SIZE, r"clear\.mkv ends after 2 frames and another video goes on"),
        (4, SIZE, r"dark\.mkv ends after 3 frames and another video goes on"),
        (3, (320, 96), r"clear\.mkv is 320x96, the input 160x96; .*--side-by-side"),
    ],
)
def test_videos_that_differ_are_named(tmp_path, frames, size, says):
    clip(tmp_path / "dark.mkv", [texture() // 5] * 3)
    clip(tmp_path / "clear.mkv", [texture(size=size)] * frames)
    with pytest.raises(InputError, match=says):
        score(tmp_path / "dark.mkv", tmp_path / "clear.mkv", unsmoothed=tmp_path / "clear.mkv")


def test_one_frame_is_no_video(tmp_path):
    for name in ("dark", "clear"):
        clip(tmp_path / f"{name}.mkv", [texture()])
    with pytest.raises(InputError, match=r"dark\.mkv has 1 frames; a score needs two"):
        score(tmp_path / "dark.mkv", tmp_path / "clear.mkv")


def test_a_reference_without_scikit_image(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'streamkind\[score\]'"):
        score("a.mkv", "b.mkv", reference="c.mkv")


def test_the_command_prints_every_row_and_writes_json_and_plot(call, tmp_path):
    for name, images in (("dark", [texture() // 5] * 3), ("clear", [texture()] * 3)):
        clip(tmp_path / f"{name}.mkv", images)
    code, out, err = call(
        "score", tmp_path / "dark.mkv", tmp_path / "clear.mkv",
        "--unsmoothed", tmp_path / "clear.mkv",
        "--json", tmp_path / "s.json", "--plot", tmp_path / "s.png",
    )  # fmt: skip
    assert (code, err) == (0, "")
    for word in (
        *ROWS,
        "excess_flicker",
        "e_warp_gain_normalised",
        "3 frames, 0 scene cuts",
        "DIS",
    ):
        assert word in out
    told = json.loads((tmp_path / "s.json").read_text())
    assert set(told["figures"]) == set(ROWS) and told["frames"] == 3
    assert len(told["series"][OUTPUT]["luma"]) == 3
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("option", "file", "says"),
    [
        ("--json", "none/s.json", "no folder"),
        ("--json", "folder.png", "is a folder"),
        ("--plot", "s.mp4", "cannot write 'mp4'"),
        ("--plot", "folder.png", "is a folder"),
    ],
)
def test_files_that_cannot_be_written_are_refused_before_the_work(
    call, tmp_path, monkeypatch, option, file, says
):
    monkeypatch.chdir(tmp_path)
    Path("folder.png").mkdir()
    monkeypatch.setattr(cli, "score", None)  # it is not called
    code, out, err = call("score", "dark.mkv", "clear.mkv", option, file)
    assert code in (1, 2) and out == "" and says in err and err.count("\n") == 1


def test_the_command_refuses_what_is_missing(call, tmp_path):
    clip(tmp_path / "dark.mkv", [texture()] * 2)
    code, out, err = call("score", tmp_path / "dark.mkv", tmp_path / "none.mkv")
    assert (code, out) == (1, "")
    assert err.startswith("streamkind: ") and "none.mkv" in err and err.count("\n") == 1
