"""PyTorch's networks on a card, tested on torch's `meta` device, which has no data."""

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from streamkind.backends import torch as backend
from streamkind.model.released import find_release

META = torch.device("meta")


class OnCard(TorchDispatchMode):
    """Fails if an operation gets a tensor on the host, which no kernel on a card can read."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, out)):
            if isinstance(tensor, torch.Tensor):
                assert tensor.device == META, f"{func} meets a tensor on {tensor.device}"
        return out


class NoCopies(TorchFunctionMode):
    """Fails if a tensor is made on the host, because a CUDA graph cannot record its copy."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func not in {torch.tensor, torch.as_tensor, torch.from_numpy}, f"{func} copies"
        return func(*args, **(kwargs or {}))


class Watched:
    """Replaces `Recorded`: runs the network within `OnCard` and `NoCopies`."""

    def __init__(self, net, *, half=True):
        self.net = net

    def __call__(self, *inputs):
        with OnCard(), NoCopies(), torch.inference_mode():
            return self.net(*inputs)


@pytest.fixture
def engine(monkeypatch):
    """Return a backend whose card is META."""
    monkeypatch.setattr(backend, "Recorded", Watched)
    monkeypatch.setattr(backend, "_device", lambda name: META)
    return backend.TorchBackend(find_release("kind"), device="cuda")


def test_a_frame_goes_through_all_nets_without_a_tensor_of_the_host(engine):
    frames = torch.empty(2, 48, 64, 3, dtype=torch.uint8, device=META)
    reflectance, illumination, *told = engine._decompose(frames)
    assert [t.shape[0] for t in told] == [2, 2, 2]
    strength = torch.empty(1, 2, device=META)
    held = engine._steady(reflectance, illumination, reflectance, illumination, strength)
    relit = engine._recompose(*held, torch.empty(2, device=META))
    assert (relit.shape, relit.dtype) == ((2, 48, 64, 3), torch.uint8)


@pytest.mark.parametrize("part", ["_decompose", "_recompose"])
def test_weights_left_on_the_host_are_found(engine, part):
    engine.__dict__[part].net.to_empty(device="cpu")
    maps = [torch.empty(1, n, 16, 16, device=META) for n in (3, 1)]
    frames = torch.empty(1, 16, 16, 3, dtype=torch.uint8, device=META)
    inputs = (frames,) if part == "_decompose" else (*maps, torch.empty(1, device=META))
    with pytest.raises((AssertionError, RuntimeError, ValueError)):
        engine.__dict__[part](*inputs)


def test_a_copy_from_the_host_is_found(engine):
    engine._steady.net = lambda x: x + torch.tensor(np.ones(3), device=META)
    with pytest.raises(AssertionError, match="copies"):
        engine._steady(torch.empty(3, device=META))


def test_apples_graphics_get_no_graphs_of_cuda(monkeypatch):
    def no_graphs(net, *, half=True):
        raise AssertionError("a CUDA graph for a device that is not NVIDIA's")

    monkeypatch.setattr(backend, "Recorded", no_graphs)
    monkeypatch.setattr(backend, "_device", lambda name: torch.device("mps"))
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *args, **kwargs: self)
    engine = backend.TorchBackend(find_release("lite"), device="mps")
    assert "mps" in engine.description and "f32" in engine.description
    monkeypatch.setattr(engine, "_device", torch.device("cpu"))
    layers = engine.decompose(np.full((1, 32, 48, 3), 20, np.uint8))
    layers = engine.steady(layers, layers, np.ones(2, np.float32))
    relit = engine.recompose(layers, np.full(1, 3.0, np.float32))
    assert relit.shape == (1, 32, 48, 3)
