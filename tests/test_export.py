"""Export of a trained model: its files, loading them, and models that are refused."""

import hashlib
import json
import re
import sys

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, numpy_helper
from support.tools import load_tool
from support.training import RECIPE, STAGE, train

from streamkind.backends.base import BACKENDS
from streamkind.engine.profiles import open_engine
from streamkind.light.exposure import RATIOS
from streamkind.model import checkpoint
from streamkind.model.graphs import Decompose, Recompose, four_times
from streamkind.model.kind import KinD
from streamkind.model.released import PARTS

export = load_tool("export")
WITH_WEIGHTS = ("decompose", "recompose")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a run of the student, which is traced fast, with random weights.

    Biases are random too, because the export merges equal ones.
    """
    folder = tmp_path_factory.mktemp("run")
    (folder / "tiny.toml").write_text(
        'architecture = "student"'
        + RECIPE.format(preset="paper", data="nowhere", minutes=1.0, gate_after=1)
        + STAGE.format(name="joint", steps=7, rate=1e-4)
    )
    run = train.Run(train.read_recipe(folder / "tiny.toml"), folder, torch.device("cpu"))
    with torch.no_grad():
        for parameter in run.ema.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(-0.2, 0.2)
    run.step = 7
    run.save()
    scores = [{"step": 5, "blind/psnr": 9.0}, {"step": 7, "blind/psnr": 12.34567}]
    (folder / "scores.jsonl").write_text("".join(json.dumps(s) + "\n" for s in scores))
    return folder


def release(monkeypatch, run, engines):
    """Run the export tool as its command line does."""
    monkeypatch.setattr(
        sys, "argv", ["export.py", str(run), "--engines", str(engines), "--pairs", "0"]
    )
    export.main()


@pytest.fixture(scope="module")
def traced():
    """Return a dict for traced graphs by their outputs. They are stored, as tracing takes long."""
    return {}


@pytest.fixture(scope="module")
def engines(run, traced, tmp_path_factory):
    """Export the model into a folder whose engine.json has another model; return the folder."""
    folder = tmp_path_factory.mktemp("engines")
    (folder / "engine.json").write_text('{"models": {"old": {"file": "old.onnx"}}}')
    to_onnx = export.to_onnx

    def trace_and_keep(graph, example, inputs, outputs):
        model = to_onnx(graph, example, inputs, outputs)
        traced[tuple(outputs)] = model.SerializeToString()
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "to_onnx", trace_and_keep)
        release(patch, run, folder)
    table = json.loads((folder / "engine.json").read_text())
    assert table["models"].pop("old") == {"file": "old.onnx"}
    (folder / "engine.json").write_text(json.dumps(table))
    return folder


@pytest.fixture(scope="module")
def entry(engines):
    """Return the entry of the model in engine.json."""
    return json.loads((engines / "engine.json").read_text())["models"]["tiny"]


@pytest.fixture(scope="module")
def nets(run):
    """Return the networks of the run, with weights rounded to float16."""
    kind = checkpoint.load_kind(run / "checkpoint.pt").requires_grad_(False)
    for parameter in kind.parameters():
        parameter.copy_(parameter.half().float())
    return kind


def test_three_graphs_and_a_table_are_written(engines):
    assert sorted(p.name for p in engines.iterdir()) == [
        "engine.json",
        "tiny-decompose.onnx",
        "tiny-recompose.onnx",
        "tiny-steady.onnx",
    ]


@pytest.mark.parametrize("part", PARTS)
def test_the_table_has_file_and_digest(engines, entry, part):
    assert entry[part]["file"] == f"tiny-{part}.onnx"
    data = (engines / entry[part]["file"]).read_bytes()
    assert entry[part]["sha256"] == hashlib.sha256(data).hexdigest()


def test_the_table_says_how_the_model_was_trained_and_how_good_it_is(run, entry):
    assert entry["parameters"] == {
        "decomposition": 34_772,
        "restoration": 167_276,
        "adjustment": 337,
        "exposure": 113_282,
    }
    assert entry["training"]["recipe"]["preset"] == "paper"
    assert (entry["training"]["stage"], entry["training"]["step"]) == (0, 7)
    assert re.fullmatch("([0-9a-f]{40})?", entry["training"]["commit"])
    recipe = json.dumps(entry["training"]["recipe"], sort_keys=True).encode()
    assert entry["training"]["recipe_sha256"] == hashlib.sha256(recipe).hexdigest()
    assert entry["scores"] == {"step": 7, "blind/psnr": 12.3457}  # the last line of scores
    assert entry["ranges"]["ratio"] == f"{RATIOS[0]:g} to {RATIOS[-1]:g}"


def test_data_have_one_digest_by_names_and_contents(tmp_path):
    digests = set()
    for names in (("a", "b"), ("b", "a"), ("a", "c")):
        folder = tmp_path / "-".join(names)
        (folder / "low").mkdir(parents=True)
        for name, content in zip(names, "xy", strict=True):
            (folder / "low" / name).write_text(content)
        digests.add(export.digest_of_files(folder))
        assert export.digest_of_files(folder) in digests
    assert len(digests) == 3


def test_the_table_describes_inputs_and_outputs(entry):
    decompose, steady, recompose = (entry[part] for part in PARTS)
    assert list(decompose["inputs"]) == list(recompose["outputs"]) == ["frames"]
    assert list(decompose["outputs"]) == list(export.DECOMPOSE_OUTPUTS)
    assert list(recompose["inputs"]) == ["reflectance", "illumination", "ratio"]
    assert list(steady["inputs"])[2:] == ["before_reflectance", "before_illumination", "strength"]
    assert list(steady["outputs"]) == ["held_reflectance", "held_illumination"]
    frames = decompose["inputs"]["frames"]
    assert frames["type"] == recompose["outputs"]["frames"]["type"] == "uint8"
    assert len(frames["shape"]) == 4 and frames["shape"][3] == 3
    assert all(isinstance(side, str) for side in frames["shape"][:3])  # N, H and W are variable
    assert decompose["outputs"]["curve"]["shape"][1] == len(RATIOS)


@pytest.mark.parametrize("part", WITH_WEIGHTS)
def test_weights_are_stored_as_fp16_and_computed_with_as_fp32(engines, nets, part):
    model = onnx.load(engines / f"tiny-{part}.onnx")
    assert [o.version for o in model.opset_import if not o.domain] == [export.OPSET]
    stored = {i.name: i for i in model.graph.initializer}
    kernels = {
        name: value
        for name, value in nets.state_dict().items()
        if value.dim() > 1 and name.startswith(("adj", "dec" if part == "decompose" else "res"))
    }
    for name, value in kernels.items():
        half = stored[f"{name}.half"]
        assert half.data_type == TensorProto.FLOAT16
        np.testing.assert_array_equal(numpy_helper.to_array(half).astype(np.float32), value)
    casts = {n.output[0]: n.attribute[0].i for n in model.graph.node if n.op_type == "Cast"}
    assert all(casts[name] == TensorProto.FLOAT for name in kernels)


@pytest.mark.parametrize("part", PARTS)
def test_a_graph_contains_no_data_of_the_machine_that_made_it(engines, part):
    data = (engines / f"tiny-{part}.onnx").read_bytes()
    for secret in (b"/work", b"/home", b".py", b"site-packages"):
        assert secret not in data


@pytest.mark.parametrize("backend", [n for n, b in BACKENDS.items() if "cpu" in b.devices])
@pytest.mark.parametrize("count, height, width", [(1, 48, 64), (3, 32, 80)])
def test_the_release_loads_and_computes_what_the_nets_do(
    engines, nets, backend, count, height, width
):
    shape = (count, height, width, 3)
    frames = np.random.default_rng(0).integers(0, 120, shape, np.uint8)
    values = np.linspace(0.5, 8, count, dtype=np.float32)
    reflectance, illumination, curve, _, exposure = Decompose(nets)(torch.from_numpy(frames))
    wanted = Recompose(nets)(reflectance, illumination, torch.from_numpy(values)).numpy()
    with open_engine("tiny", backend=backend, device="cpu", engines=engines) as kind:
        layers = kind.decompose(frames)
        got = kind.recompose(layers, values)
    np.testing.assert_allclose(layers.statistics.curve, curve.numpy(), atol=0.01)
    np.testing.assert_allclose(layers.statistics.exposure, exposure.numpy(), rtol=0.02)
    assert np.abs(got.astype(float) - wanted).mean() < 1
    assert wanted.std() > 1  # otherwise the comparison would say little


@pytest.fixture
def traced_before(monkeypatch, engines, traced):
    """Make the tool take stored graphs instead of tracing them."""
    monkeypatch.setattr(
        export, "to_onnx", lambda g, e, i, outputs: onnx.load_from_string(traced[tuple(outputs)])
    )


@pytest.mark.parametrize(
    "part, bias, by",
    [
        ("decompose", "decomposition.out.0.bias", 0.1),
        ("decompose", "decomposition.enter.0.bias", 0.1),
        ("recompose", "restoration.out.0.bias", 0.1),
        ("decompose", "decomposition.out.0.bias", float("nan")),
    ],
)
def test_a_graph_that_differs_from_pytorch_is_refused(
    monkeypatch, traced_before, run, tmp_path, part, bias, by
):
    store_half = export.store_half

    def store_spoiled(model):
        model = store_half(model)
        for initializer in model.graph.initializer:
            if initializer.name == bias:
                array = numpy_helper.to_array(initializer) + np.float32(by)
                initializer.CopyFrom(numpy_helper.from_array(array, bias))
        return model

    monkeypatch.setattr(export, "store_half", store_spoiled)
    with pytest.raises(SystemExit) as stop:
        release(monkeypatch, run, tmp_path / "engines")
    assert f"refused: {part} differs by " in str(stop.value)  # a message: exit code 1
    assert "allowed 0.001" in str(stop.value)
    assert not list(tmp_path.rglob("*.*"))


def test_a_small_difference_is_allowed(monkeypatch, traced_before, run, engines, tmp_path):
    release(monkeypatch, run, tmp_path)
    for name in (f"tiny-{part}.onnx" for part in PARTS):
        assert (tmp_path / name).read_bytes() == (engines / name).read_bytes()  # reproducible


def test_a_folder_without_a_run(monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        release(monkeypatch, tmp_path, tmp_path / "engines")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (12, 16)])
def test_stillness_is_enlarged_bilinearly(size):
    x = torch.rand(2, 1, *size)
    wanted = F.interpolate(x, scale_factor=4.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(four_times(x), wanted)


def test_a_share_of_the_model_released_before_is_kept():
    kind, before = KinD(), KinD()
    apart = {n: p.detach() - dict(before.named_parameters())[n] for n, p in kind.named_parameters()}
    export.keep(kind, before, 0.25)
    was = dict(before.named_parameters())
    for name, parameter in kind.named_parameters():
        torch.testing.assert_close(parameter.detach(), (was[name] + 0.75 * apart[name]).detach())


@pytest.mark.slow
def test_the_papers_nets_are_exported_as_the_small_ones():
    nets = KinD().eval().requires_grad_(False)
    models = export.export(export.round_to_half(nets))  # raises SystemExit if one differs too much
    assert list(models) == list(PARTS)
