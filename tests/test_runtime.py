"""The runtime does not import torch, and its API is as documented."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import streamkind

PACKAGE = Path(streamkind.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TRAINING = {"torch", "onnx", "onnxruntime", "onnxscript", "skimage", "tensorboard"}
"""Packages of the extras `train` and `test`, which a user does not have."""
OWN_EXTRA = {
    "measure/score.py": {"skimage"},
    "backends/onnx_graph.py": {"onnx"},
    "backends/precision.py": {"onnx"},
    "engine/single.py": {"onnx"},
    "measure/bench_nets.py": {"onnxruntime"},
}
"""Packages that a file may import, because the extra for its feature contains them.

These extras are `export`, `score`, `tensorrt`, `tensorrt-rtx` and `train`."""

ENHANCE = """
import numpy, streamkind
with streamkind.open_engine(backend="openvino") as engine:
    engine.enhance(numpy.zeros((16, 16, 3), numpy.uint8))
"""


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize(
    "code",
    ["import streamkind.pipeline, streamkind.cli", ENHANCE],
    ids=["import", "enhance"],
)
def test_the_runtime_never_imports_torch(code):
    code += "\nimport sys\nprint(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    assert "numpy" in modules
    assert not modules & (TRAINING | {"tensorrt", "tensorrt_rtx"})


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_training_and_the_torch_backend_name_torch(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    if name_of(path).partition("/")[0] != "model" and name_of(path) != "backends/torch.py":
        assert not imported & TRAINING - OWN_EXTRA.get(name_of(path), set())


def test_the_api_is_what_it_says_it_is():
    for name in streamkind.__all__:
        getattr(streamkind, name)  # imports it
    public = {
        name
        for name, value in vars(streamkind).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert set(streamkind.__all__) == public
    assert streamkind.__all__ == sorted(streamkind.__all__)
    assert all(getattr(streamkind, name).__doc__ for name in public)
