"""Training in two processes of torchrun gives the same run as training in one."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from streamkind.model import checkpoint
from streamkind.model.augment import Augmentation
from streamkind.model.data import load_pairs, make_batch
from streamkind.model.kind import KinD
from streamkind.model.processes import ALONE, Share, SharedRandom, own_device

TOOLS = Path(__file__).parents[1] / "tools"
RECIPE = """
name = "tiny"
data = "{data}"
held_out = 2
validate_every = 100
validation_pairs = 2
checkpoint_minutes = 100.0
gate_after = {gate_after}

[augment]
{augment}
"""
STAGE = """
[[stage]]
name = "{name}"
steps = {steps}
batch = 2
patch = 32
learning_rate = {rate}
"""
STAGES = {"decomposition": 2, "layers": 1, "joint": 1}

# Training in full precision. There, the mean of two halves differs from that of the whole only in
# the last bits.
EXACT = """
import contextlib, sys, torch
sys.path.insert(0, {tools!r})
import train
torch.autocast = lambda *args, **options: contextlib.nullcontext()
{change}
train.main()
"""
# The second process dies after the first step. The first process saves a checkpoint before that.
DIES = """
train_step = train.train_step
def step_and_die(run, source):
    terms = train_step(run, source)
    if run.total_step == 1:
        if run.share.first:
            run.save()
        torch.distributed.barrier()
        if not run.share.first:
            raise RuntimeError("this process dies")
    return terms
train.train_step = step_and_die
"""


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Write twelve pairs of the size of one patch; return their folder.

    They look the same if they are turned or mirrored, so that every crop is the whole picture.
    """
    folder = tmp_path_factory.mktemp("data")
    for seed in range(12):
        rng = np.random.default_rng(seed)
        blobs = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (32, 32))
        blobs = blobs + rng.integers(-30, 31, blobs.shape)  # whole numbers: sums are exact
        high = np.mean([np.rot90(m, k) for m in (blobs, blobs[:, ::-1]) for k in range(4)], axis=0)
        high = 255 * (high - high.min()) / np.ptp(high)
        gray = high.mean(axis=2, keepdims=True)
        high = np.round(gray + (high - gray) * rng.uniform(0, 1))  # they differ in saturation
        for name, image in (("low", high * rng.uniform(0.08, 0.2)), ("high", high)):
            (folder / name).mkdir(exist_ok=True)
            cv2.imwrite(str(folder / name / f"{seed}.png"), image.astype(np.uint8))
    return folder


def write_recipe(folder, data, stages, *, rate=1e-3, gate_after=10**6, augment=""):
    """Write a recipe; return its path."""
    text = RECIPE.format(data=data, gate_after=gate_after, augment=augment)
    for name, steps in stages.items():
        text += STAGE.format(name=name, steps=steps, rate=rate)
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


@pytest.fixture
def folder(tmp_path):
    """Return a folder for runs. It is deleted afterwards, because checkpoints are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def exact(folder, change=""):
    """Write a script that trains in full precision, with the code `change`; return its path."""
    path = folder / "exact.py"
    path.write_text(EXACT.format(tools=str(TOOLS), change=change))
    return path


def torchrun(recipe, runs, *options, program=TOOLS / "train.py"):
    """Train in two processes; return status, output and errors."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", program, recipe, "--runs", runs, "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with subprocess.Popen(
        [*map(str, command), *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=120)
        except BaseException:
            process.terminate()  # torchrun then ends its processes; a kill would orphan them
            raise
    return process.returncode, output, errors


def alone(monkeypatch, recipe, runs):
    """Train in this process."""
    monkeypatch.syspath_prepend(TOOLS)
    import train

    arguments = ["train.py", str(recipe), "--runs", str(runs), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", arguments)
    train.main()


def joined(tensors):
    """Return many tensors as one vector."""
    return torch.cat([t.flatten() for t in tensors])


def momenta(state):
    """Return the running means of all gradients as one vector."""
    return joined(s["exp_avg"] for s in state["optimiser"]["state"].values())


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    """Train in two processes; return what they print, and the folder of the run."""
    folder = tmp_path_factory.mktemp("whole")
    recipe = write_recipe(folder, data, STAGES)
    status, output, errors = torchrun(recipe, folder / "runs", program=exact(folder))
    assert status == 0, errors
    assert "destroy_process_group" not in errors
    yield output, folder / "runs" / "tiny"
    shutil.rmtree(folder)


def test_two_processes_learn_what_one_does(data, folder, monkeypatch, uninterrupted):
    monkeypatch.setattr(torch, "autocast", lambda *args, **options: contextlib.nullcontext())
    alone(monkeypatch, write_recipe(folder, data, STAGES), folder)
    two, one = (checkpoint.load(f / "checkpoint.pt") for f in (uninterrupted[1], folder / "tiny"))
    torch.manual_seed(0)
    start = joined(KinD().state_dict().values())
    for nets in ("model", "ema"):
        ours, theirs = (joined(state[nets].values()) for state in (two, one))
        # Where a gradient is nearly zero, Adam amplifies its last bits.
        assert (ours - theirs).norm() < 1e-2 * (theirs - start).norm() > 0
    ours, theirs = momenta(two), momenta(one)
    assert (ours - theirs).norm() < 5e-4 * theirs.norm() > 0


def test_only_the_first_process_prints_and_writes(uninterrupted):
    output, run = uninterrupted
    numbers = [line.split()[0] for line in output.splitlines() if "mean_l_low=" in line]
    assert numbers == ["2", "3", "4"]  # at the end of each stage
    assert output.count("joint") == 1  # progress
    names = ["checkpoint.pt", "sample-000003.jpg", "sample-000004.jpg", "scores.jsonl"]
    left = sorted(p.name for p in run.iterdir())
    assert [n for n in left if not n.startswith("events.")] == names
    assert len(left) == len(names) + 1
    steps = [json.loads(s)["step"] for s in (run / "scores.jsonl").read_text().splitlines()]
    assert steps == [2, 3, 4]


@pytest.mark.slow
def test_a_process_that_dies_ends_the_run_and_it_goes_on_bit_for_bit(data, folder, uninterrupted):
    recipe = write_recipe(folder, data, STAGES)
    status, _, errors = torchrun(recipe, folder, program=exact(folder, DIES))
    assert status != 0
    assert "this process dies" in errors and "ChildFailedError" in errors
    kept = checkpoint.load(folder / "tiny" / "checkpoint.pt")
    assert (kept["stage"], kept["step"]) == (0, 1)
    status, _, errors = torchrun(recipe, folder, "--resume", program=exact(folder))
    assert status == 0, errors
    ours, theirs = (
        checkpoint.load(f / "checkpoint.pt") for f in (folder / "tiny", uninterrupted[1])
    )
    assert (ours["stage"], ours["step"]) == (theirs["stage"], theirs["step"]) == (2, 1)
    for kind in ("model", "ema"):
        for name, value in ours[kind].items():
            assert torch.equal(value, theirs[kind][name]), name
    assert torch.equal(momenta(ours), momenta(theirs))


def test_a_collapsed_decomposition_stops_both_processes(data, folder):
    stages = {"decomposition": 1, "layers": 1}
    augment = "exposure_stops = 1.0\njpeg = 0.2\nlamps = 0.3"
    recipe = write_recipe(folder, data, stages, rate=0.0, gate_after=1, augment=augment)
    status, output, errors = torchrun(recipe, folder)
    assert status != 0
    assert errors.count("stopped at step 1: the nets have collapsed") == 1
    assert re.search(r"Root Cause.*rank +: 0", errors, re.DOTALL)  # it has printed the reason
    assert "layers" not in output
    assert not (folder / "tiny" / "checkpoint.pt").exists()


def test_a_batch_that_cannot_be_shared_equally_is_refused(data, folder, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    message = (
        "a batch of 2, as stage 'layers' has it, cannot be shared equally by 3 processes; make"
    )
    recipe = write_recipe(folder, data, {"layers": 1})
    with pytest.raises(ValueError, match=message):
        alone(monkeypatch, recipe, folder / "runs")
    assert not (folder / "runs").exists()


def test_a_gpu_for_each_process(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", str(torch.cuda.device_count()))
    with pytest.raises(ValueError, match=r"needs a GPU of its own.* or give --device cpu"):
        own_device("cuda")
    assert own_device("cpu") == torch.device("cpu")


SHARES = [Share(rank, 3) for rank in range(3)]


def test_every_pair_of_a_batch_falls_to_one_process(data):
    pairs = load_pairs(data)

    def batch(share):
        made = make_batch(
            pairs, step=5, batch=6, patch=32, seed=1, augment=Augmentation(), share=share
        )
        return [t.numpy() for t in vars(made).values()]

    whole, parts = batch(ALONE), [batch(share) for share in SHARES]
    for i, tensor in enumerate(whole):
        assert np.array_equal(np.concatenate([part[i] for part in parts]), tensor)


def test_processes_draw_differently_and_the_first_as_one_alone():
    draws = [share.random(1, 2, 3).random() for share in (ALONE, *SHARES)]
    assert draws[0] == draws[1] == np.random.default_rng([1, 2, 3]).random()
    assert len(set(draws)) == 3
    assert draws == [share.random(1, 2, 3).random() for share in (ALONE, *SHARES)]


@pytest.mark.parametrize("draw", [lambda r, n: r.random(n), lambda r, n: r.uniform(2, 3, n)])
def test_shared_random_numbers_are_those_of_one_process(draw):
    parts = [draw(SharedRandom(share, [1, 2]), 4) for share in SHARES]
    assert np.array_equal(np.concatenate(parts), draw(SharedRandom(ALONE, [1, 2]), 12))
    assert np.array_equal(np.concatenate(parts), draw(np.random.default_rng([1, 2]), 12))
