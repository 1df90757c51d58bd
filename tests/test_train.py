"""Training on a small generated data set: it learns, stops, and resumes exactly."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support.training import RECIPE, STAGE, train
from support.waiting import wait_until

from streamkind.errors import UsageError
from streamkind.model import checkpoint, processes
from streamkind.model.checkpoint import load_released
from streamkind.model.data import Pair, TrainingBatch
from streamkind.model.kind import KinD
from streamkind.model.losses import PRESETS
from streamkind.model.released import find_release
from streamkind.model.stages import STAGES, matching_ratio
from streamkind.model.student import Student
from streamkind.model.validation import GATES, PairScores, failed_gates

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with twelve pairs of dark and bright pictures, 96x64."""
    folder = tmp_path_factory.mktemp("data")
    for seed in range(12):
        rng = np.random.default_rng(seed)
        blobs = cv2.resize(rng.integers(0, 256, (8, 12, 3), np.uint8), (96, 64))
        high = np.clip(blobs + rng.normal(0, 10, blobs.shape), 0, 255)
        low = np.clip(high * rng.uniform(0.08, 0.2) + rng.normal(0, 2, high.shape), 0, 255)
        for name, image in (("low", low), ("high", high)):
            (folder / name).mkdir(exist_ok=True)
            cv2.imwrite(str(folder / name / f"{seed}.png"), image.astype(np.uint8))
    return folder


@pytest.fixture
def recipe(data, tmp_path):
    """Return a function that writes a recipe of stages (name, steps), and returns its path."""

    def write(*stages, rate=1e-3, preset="default", minutes=100.0, gate_after=10**6, more=""):
        text = RECIPE.format(preset=preset, data=data, minutes=minutes, gate_after=gate_after)
        for name, steps in stages:
            text += STAGE.format(name=name, steps=steps, rate=rate)
        path = tmp_path / "tiny.toml"
        path.write_text(more + text)
        return path

    return write


@pytest.fixture
def runs(tmp_path):
    """Return a folder for runs. It is deleted afterwards, because checkpoints are large."""
    yield tmp_path / "runs"
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)


def start(monkeypatch, recipe, runs, *options):
    """Run the tool as its command line does; return the run's folder."""
    arguments = ["train.py", str(recipe), "--runs", str(runs), "--device", "cpu", *options]
    monkeypatch.setattr(sys, "argv", arguments)
    train.main()
    return runs / "tiny"


def tensors(state, path=""):
    """Flatten a checkpoint: return its values by path, such as /ema/x."""
    if isinstance(state, dict):
        return {k: v for key in state for k, v in tensors(state[key], f"{path}/{key}").items()}
    return {path: state}


def assert_same(first, second):
    a, b = tensors(checkpoint.load(first)), tensors(checkpoint.load(second))
    assert a.keys() == b.keys()
    for name, value in a.items():
        same = torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else value == b[name]
        assert same, name


def test_batches_are_made_where_the_system_has_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS and Windows
    stage = SimpleNamespace(name="layers", steps=0, batch=1, patch=16, augment=True)
    recipe = SimpleNamespace(stage=[stage], augment=True)
    where = {"device": torch.device("cpu"), "share": processes.ALONE}
    run = SimpleNamespace(recipe=recipe, stage=0, step=0, seed=0, **where)
    assert list(train.batches(run, [])) == []


def test_extra_pairs_are_trained_on_and_never_held_out(monkeypatch, recipe, runs, data):
    seen = []
    monkeypatch.setattr(train, "train", lambda run, pairs, held_out: seen.append((pairs, held_out)))
    start(monkeypatch, recipe(("decomposition", 1)), runs)
    start(monkeypatch, recipe(("decomposition", 1), more=f'extra = ["{data}"]\n'), runs)
    (plain, held), (more, held_too) = seen
    assert [p.stem for p in held] == [p.stem for p in held_too]
    assert len(more) == len(plain) + 12


STRETCHES = [
    (name, 2) for name in ("decomposition", "layers", "joint", "picture", "whole", "exposure")
]


def whole_recipe(data, folder):
    """Write a recipe of all stages; return its path."""
    text = RECIPE.format(preset="default", data=data, minutes=100.0, gate_after=10**6)
    stages = "".join(STAGE.format(name=n, steps=s, rate=1e-3) for n, s in STRETCHES)
    (folder / "tiny.toml").write_text(text + stages)
    return folder / "tiny.toml"


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    """Run all stages without a stop; return the folder of the run."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        yield start(patch, whole_recipe(data, folder), folder / "runs")
    shutil.rmtree(folder)


def test_a_run_leaves_checkpoint_scores_curves_and_pictures(uninterrupted):
    state = checkpoint.load(uninterrupted / "checkpoint.pt")
    assert (state["stage"], state["step"]) == (len(STRETCHES) - 1, 2)
    assert state["recipe"]["name"] == "tiny"
    lines = [json.loads(s) for s in (uninterrupted / "scores.jsonl").read_text().splitlines()]
    assert [s["step"] for s in lines] == [2, 4, 6, 8, 10, 12]  # at the end of each stage
    assert lines[0].keys() == {"step", *GATES}
    protocols = ("true_ratio", "blind", "mean_matched")
    measures = {f"{p}/{m}" for p in protocols for m in PairScores.__annotations__}
    assert lines[2].keys() == {"step", *GATES, "std_restored", *measures}
    assert all(np.isfinite(list(s.values())).all() for s in lines)
    assert len(list(uninterrupted.glob("events.*"))) == 1
    sheet = cv2.imread(str(uninterrupted / "sample-000006.jpg"))
    assert sheet.shape == (2 * 64, 4 * 96, 3)
    assert not list(uninterrupted.glob("*.partial"))
    assert isinstance(checkpoint.load_kind(uninterrupted / "checkpoint.pt"), KinD)


KILLED_AFTER = (1, 2, 3, 4, 5, 7, 9, 11)
"""Steps after which a run is killed. Steps 2 and 4 are the last of a stage."""


@pytest.fixture(scope="module")
def killed(data, tmp_path_factory):
    """Return a folder with the checkpoints of a run that is killed after each of KILLED_AFTER."""
    folder = tmp_path_factory.mktemp("killed")
    train_step = train.train_step

    def save_and_move(run, source):
        terms = train_step(run, source)
        if run.total_step in KILLED_AFTER:
            run.save()
            (left := folder / f"{run.total_step}" / "tiny").mkdir(parents=True)
            (run.folder / "checkpoint.pt").rename(left / "checkpoint.pt")
        return terms

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "train_step", save_and_move)
        start(patch, whole_recipe(data, folder), folder / "runs")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("steps", KILLED_AFTER)
def test_a_run_that_was_killed_goes_on_bit_for_bit(
    recipe, monkeypatch, killed, uninterrupted, steps
):
    runs = killed / str(steps)
    kept = checkpoint.load(runs / "tiny" / "checkpoint.pt")
    assert sum(s for _, s in STRETCHES[: kept["stage"]]) + kept["step"] == steps
    folder = start(monkeypatch, recipe(*STRETCHES), runs, "--resume")
    assert_same(folder / "checkpoint.pt", uninterrupted / "checkpoint.pt")
    shutil.rmtree(runs)


def test_a_run_does_not_replace_an_older_checkpoint(recipe, runs, monkeypatch):
    folder = start(monkeypatch, recipe(("decomposition", 1)), runs)
    before = (folder / "checkpoint.pt").read_bytes()
    with pytest.raises(FileExistsError, match=r"exists; continue it with --resume, or move it"):
        start(monkeypatch, recipe(("decomposition", 2)), runs)
    assert (folder / "checkpoint.pt").read_bytes() == before


def test_a_finished_run_stays_as_it_is_when_resumed(recipe, tmp_path, runs, monkeypatch):
    path = recipe(("decomposition", 2))
    folder = start(monkeypatch, path, runs)
    before = tmp_path / "before.pt"
    before.write_bytes((folder / "checkpoint.pt").read_bytes())
    start(monkeypatch, path, runs, "--resume")
    assert_same(folder / "checkpoint.pt", before)


def test_a_killed_process_leaves_a_whole_checkpoint(recipe, runs):
    path = recipe(("decomposition", 5000), minutes=0.0)
    command = [sys.executable, ROOT / "tools" / "train.py", path, "--runs", runs, "--device", "cpu"]
    process = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL
    )
    file = runs / "tiny" / "checkpoint.pt"
    wait_until(lambda: file.exists() or process.poll() is not None, 120)
    time.sleep(0.3)  # so that a later step runs, or its checkpoint is being written
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    state = checkpoint.load(file)
    assert state["stage"] == 0
    assert 1 <= state["step"] < 5000


def test_a_save_that_fails_leaves_the_last_checkpoint(tmp_path):
    file = tmp_path / "checkpoint.pt"
    checkpoint.save(file, {"step": 1})
    with pytest.raises(Exception, match="pickle"):
        checkpoint.save(file, {"step": 2, "not to be saved": lambda: None})
    assert checkpoint.load(file) == {"step": 1}


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda t: "sed = 1\n" + t, TypeError, "'sed'"),
        (lambda t: t.replace("jpeg =", "jpg ="), TypeError, "'jpg'"),
        (lambda t: t.replace("patch =", "crop ="), TypeError, "'crop'"),
        (lambda t: t.replace('"decomposition"', '"decompose"'), ValueError, "unknown stage.*'dec"),
        (lambda t: t.replace('"default"', '"papers"'), ValueError, "unknown preset 'papers'"),
        (lambda t: 'architecture = "kid"\n' + t, ValueError, "unknown architecture 'kid'; choose"),
        (lambda t: 'start = "none"\n' + t, UsageError, "unknown model 'none'; released here: kind"),
        (lambda t: t.replace("name =", "name"), ValueError, "Expected '='"),
    ],
    ids=["key", "augment", "stage-key", "stage-name", "preset", "kind", "start", "syntax"],
)
def test_a_recipe_with_a_mistake_is_refused(recipe, runs, monkeypatch, change, error, message):
    path = recipe(("decomposition", 1))
    path.write_text(change(path.read_text()))
    with pytest.raises(error, match=message):
        start(monkeypatch, path, runs)
    assert not runs.exists()


@pytest.mark.parametrize(
    "name, stages",
    [
        ("kind", STAGES.keys() - {"distil", "taught"}),
        ("kindpp", {"layers", "whole", "picture"}),
        ("lite", {"taught"}),
        ("student", {"distil"}),
    ],
    ids=["kind", "kindpp", "lite", "student"],
)
def test_the_recipe_of_a_released_model_is_read(name, stages):
    recipe = train.read_recipe(ROOT / "tools" / f"{name}.toml")
    assert recipe.name == recipe.architecture == name
    assert {s.name for s in recipe.stage} == stages
    assert recipe.preset in PRESETS
    assert recipe.augment.flat > 0


def test_resuming_without_a_checkpoint_says_so(recipe, runs, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*; start the run without --re"):
        start(monkeypatch, recipe(("decomposition", 1)), runs, "--resume")


def test_resuming_with_another_recipe_is_refused(recipe, runs, monkeypatch):
    folder = start(monkeypatch, recipe(("decomposition", 1)), runs)
    before = (folder / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match="was written by another recipe; give the recipe back"):
        start(monkeypatch, recipe(("decomposition", 1), rate=2e-3), runs, "--resume")
    assert (folder / "checkpoint.pt").read_bytes() == before


def test_a_collapsed_decomposition_stops_the_run(recipe, runs, monkeypatch):
    path = recipe(("decomposition", 2), ("layers", 2), gate_after=1, rate=0.0)  # learns nothing
    with pytest.raises(SystemExit) as stop:
        start(monkeypatch, path, runs)
    message = str(stop.value)
    assert "stopped at step 2: the nets have collapsed" in message
    assert "mean_l_low is 0." in message and "expected 0 to 0.2" in message
    # Collapsed networks are not saved, so a resumed run stops at the same gate.
    assert not (runs / "tiny" / "checkpoint.pt").exists()


SOUND = {name: (low + high) / 2 for name, (low, high) in GATES.items()}


@pytest.mark.parametrize("name", GATES)
def test_each_gate_names_its_number(name):
    assert failed_gates(SOUND) == []
    low, high = GATES[name]
    for value in (low - 0.01, high + 0.01, float("nan")):
        (failure,) = failed_gates(SOUND | {name: value})
        assert failure == f"{name} is {value:.3f}, expected {low:g} to {high:g}"


def test_pictures_of_any_size_are_validated(tmp_path):
    rng = np.random.default_rng(0)
    pairs = [
        Pair(str(side), *rng.integers(0, 99, (2, side, 90 - side, 3), np.uint8))
        for side in (38, 51)
    ]
    stages = SimpleNamespace(stage=[SimpleNamespace(name="joint")])
    run = SimpleNamespace(ema=Student().eval(), recipe=stages, stage=0)
    run.folder, run.total_step = tmp_path, 7
    found = train.validate(run, pairs, SimpleNamespace(add_scalar=lambda *told: None))
    assert np.isfinite(list(found.values())).all()
    assert cv2.imread(str(tmp_path / "sample-000007.jpg")).shape == (38, 4 * 52, 3)


def test_the_scores_of_a_resumed_run_are_drawn_once_and_in_order(tmp_path, monkeypatch):
    curves = pytest.importorskip("curves")
    names = [name for panel in curves.SHOWN.values() for name in panel]
    steps = (1, 2, 3, 2, 3, 4)  # the run went on from a checkpoint of step 1
    lines = [{"step": s, **dict.fromkeys(names, i)} for i, s in enumerate(steps)]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(curves, "losses", lambda run: {"loss": [(1, 0.5), (2, 0.4)]})
    curves.draw(tmp_path, tmp_path / "curves.png")
    (line, *_) = curves.plt.gcf().axes[1].lines
    curves.plt.close("all")
    assert np.array(line.get_data()).tolist() == [[1, 2, 3, 4], [0, 3, 4, 5]]


def run_of(recipe, tmp_path, *stages):
    """Return a run that has not begun, and its training pairs."""
    settings = train.read_recipe(recipe(*stages))
    pairs, _ = train.load_split(Path(settings.data), settings.saturation, 2, settings.seed)
    return train.Run(settings, tmp_path, torch.device("cpu")), pairs


@pytest.mark.parametrize(
    "stage, learns",
    [
        ("decomposition", {"decomposition"}),
        ("layers", {"restoration", "adjustment"}),
        ("joint", {"decomposition", "restoration", "adjustment"}),
        ("picture", {"restoration"}),
        ("whole", {"decomposition", "restoration"}),
        ("exposure", {"exposure"}),
    ],
)
def test_a_stage_changes_its_own_nets_and_no_others(recipe, tmp_path, stage, learns):
    run, pairs = run_of(recipe, tmp_path, (stage, 1))
    before = {name: value.clone() for name, value in run.kind.state_dict().items()}
    terms = train.train_step(run, train.batches(run, pairs))
    assert run.step == 1
    assert all(torch.isfinite(value) and value >= 0 for value in terms.values())
    after, average = run.kind.state_dict(), run.ema.state_dict()
    changed = {n for n in before if not torch.equal(before[n], after[n])}
    assert {n.partition(".")[0] for n in changed} == learns
    assert {n for n in before if not torch.equal(before[n], average[n])} == changed
    nets = {n for n in before if n.partition(".")[0] in learns}
    assert len(changed) > 0.9 * len(nets)


def test_a_step_whose_gradient_is_no_number_changes_nothing(recipe, tmp_path, monkeypatch):
    run, pairs = run_of(recipe, tmp_path, ("joint", 2))
    source, loss = train.batches(run, pairs), run.loss
    before = {name: value.clone() for name, value in run.kind.state_dict().items()}
    bad = lambda *a: {n: value * float("nan") for n, value in loss(*a).items()}  # noqa: E731
    monkeypatch.setattr(run, "loss", bad)
    train.train_step(run, source)
    assert all(torch.equal(before[n], value) for n, value in run.kind.state_dict().items())
    monkeypatch.setattr(run, "loss", loss)
    train.train_step(run, source)
    changed = (not torch.equal(before[n], v) for n, v in run.kind.state_dict().items())
    assert run.step == 2 and any(changed)


@pytest.mark.parametrize(
    "device, units, fast",
    [
        ("cpu", {"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ("cpu", {"avx512_bf16": True}, True),
        ("cpu", {"amx_bf16": True}, True),
        ("cpu", {"bf16": True}, True),
        ("cuda", {}, True),
    ],
)
def test_bf16_is_taken_where_it_is_no_emulation(monkeypatch, device, units, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    found = []
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype, enabled: found.append(enabled))
    processes.autocast(torch.device(device))
    assert found == [fast]


def test_the_picture_may_count_more_than_its_layers(recipe, tmp_path):
    once, thrice = (
        recipe(("joint", 1)).read_text() + f"picture = {picture}\n" for picture in (1.0, 3.0)
    )
    found = []
    for text in (once, thrice):
        (tmp_path / "tiny.toml").write_text(text)
        settings = train.read_recipe(tmp_path / "tiny.toml")
        pairs = train.load_pairs(Path(settings.data))
        run = train.Run(settings, tmp_path, torch.device("cpu"))
        found.append(train.train_step(run, train.batches(run, pairs)))
    of_picture = {"picture", "picture_chroma", "saturation"}
    for name, value in found[0].items():
        times = 3 if name in of_picture else 1
        assert float(found[1][name]) == pytest.approx(times * float(value), rel=1e-4)


def test_a_stage_may_keep_a_share_of_the_augmentation(recipe, tmp_path, monkeypatch):
    (tmp_path / "mild.toml").write_text(recipe(("joint", 1)).read_text() + "augment = 0.5\n")
    settings = train.read_recipe(tmp_path / "mild.toml")
    seen = []
    make_batch = train.make_batch
    monkeypatch.setattr(
        train, "make_batch", lambda *a, **k: seen.append(k["augment"]) or make_batch(*a, **k)
    )
    pairs = train.load_pairs(Path(settings.data))
    run = train.Run(settings, tmp_path, torch.device("cpu"))
    train.train_step(run, train.batches(run, pairs))
    assert vars(seen[0]) == {n: v / 2 for n, v in vars(settings.augment).items()}
    assert settings.augment.flat == 0.1


def test_the_matching_ratio_gives_the_brightness_of_the_truth():
    kind = load_released(find_release("kind"))  # its adjustment rises with the ratio
    low = F.avg_pool2d(torch.rand(3, 3, 80, 120) * 0.2, 3, 1, 1)
    for ratio in (0.5, 2.0, 9.0):  # the truth is made by the networks at a ratio
        with torch.no_grad():
            reflectance, light = kind.decomposition(low)
            high = reflectance * kind.adjustment(light, torch.full((3,), ratio))
            found = matching_ratio(kind, TrainingBatch(low, high, low, high))
        assert found.tolist() == pytest.approx([ratio] * 3, rel=0.1)


def test_kindpp_begins_with_the_released_kind_and_learns_to_restore(recipe, tmp_path):
    more = 'architecture = "kindpp"\nstart = "kind"\n'
    settings = train.read_recipe(recipe(("layers", 2), more=more, preset="kindpp"))
    run = train.Run(settings, tmp_path, torch.device("cpu"))
    released = checkpoint.load_released(find_release("kind")).state_dict()
    begun = run.kind.state_dict()
    for name in released.keys() & begun.keys():
        if not name.startswith("restoration."):
            assert torch.equal(released[name], begun[name]), name
    begun = {name: value.clone() for name, value in begun.items()}
    train.train_step(run, train.batches(run, train.load_pairs(Path(settings.data))))
    after, average = run.kind.state_dict(), run.ema.state_dict()
    changed = {n for n in begun if not torch.equal(begun[n], after[n])}
    assert {n.partition(".")[0] for n in changed} == {"restoration", "adjustment"}
    norms = {n for n in changed if n.endswith("running_var")}
    assert len(norms) == 12  # three scales of four modules
    assert all(torch.equal(after[n], average[n]) for n in norms)


def test_the_loss_falls(recipe, tmp_path):
    run, pairs = run_of(recipe, tmp_path, ("decomposition", 60))
    source = train.batches(run, pairs)
    totals = [float(sum(train.train_step(run, source).values())) for _ in range(60)]
    assert np.mean(totals[-10:]) < 0.8 * np.mean(totals[:10])


def test_learning_rate_rises_then_falls_to_two_percent():
    stage = train.Stage("joint", 330, 4, 96, 1e-3)
    rates = [train.learning_rate(stage, step) for step in range(331)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[10] == pytest.approx(1e-3)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[330] == pytest.approx(2e-5)


def test_too_few_pairs_for_a_batch(recipe, runs, monkeypatch):
    path = recipe(("decomposition", 1))
    path.write_text(path.read_text().replace("batch = 2", "batch = 20"))
    with pytest.raises(ValueError, match="10 pairs do not fill one batch of 20"):
        start(monkeypatch, path, runs)
