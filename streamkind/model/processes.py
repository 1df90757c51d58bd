"""Training in several processes, as torchrun starts them.

Each process takes an equal share of every batch. DistributedDataParallel averages their gradients.
A loss is a mean over its batch, so it does not depend on the number of processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Scalar = TypeVar("Scalar", bound=np.generic)
BF16_UNITS = "avx512_bf16", "amx_bf16", "bf16"
"""Instruction sets that multiply in bf16, as PyTorch names them."""
VALIDATION_TIMEOUT = timedelta(hours=1)  # longest wait for the first process to validate


@dataclass(frozen=True)
class Share:
    """The part of every batch that this process takes."""

    rank: int = 0
    count: int = 1
    """Number of processes that share a batch."""

    @classmethod
    def of_environment(cls) -> Share:
        """Return the share by torchrun's environment; without torchrun, the whole batch."""
        if not {"RANK", "WORLD_SIZE"} <= os.environ.keys():
            return ALONE
        return cls(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))

    @property
    def first(self) -> bool:
        """Whether this process is the one that prints, validates and writes."""
        return self.rank == 0

    def of(self, whole: NDArray[Scalar]) -> NDArray[Scalar]:
        """Return this process's part of an array that is equal in all processes."""
        size = len(whole) // self.count
        return whole[self.rank * size : (self.rank + 1) * size]

    def random(self, *seed: int) -> np.random.Generator:
        """Return a generator for this process. That of the first process is the one for `ALONE`."""
        return np.random.default_rng([*seed, self.rank] if self.rank else seed)


ALONE = Share()


def autocast(device: torch.device) -> torch.autocast:
    """Return a context that computes in bf16, unless the processor has no instructions for it.

    PyTorch then emulates bf16, which is 15 times slower than float32 on a CPU with AVX2.
    """
    fast = device.type != "cpu" or any(map(torch.cpu.get_capabilities().get, BF16_UNITS))
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


class SharedRandom:
    """Draws random numbers for a whole batch, and returns those of this process."""

    def __init__(self, share: Share, seed: Sequence[int]) -> None:
        self.share, self.generator = share, np.random.default_rng(seed)

    def random(self, count: int) -> NDArray[np.float64]:
        """Draw `count` numbers from 0 to 1 for each process; return this one's."""
        return self.share.of(self.generator.random(count * self.share.count))

    def uniform(self, low: float, high: float, count: int) -> NDArray[np.float64]:
        """Draw `count` numbers from `low` to `high` for each process; return this one's."""
        return self.share.of(self.generator.uniform(low, high, count * self.share.count))


def own_device(name: str) -> torch.device:
    """Return the device of this name; of several GPUs, each process of torchrun gets its own."""
    device, local = torch.device(name), os.environ.get("LOCAL_RANK")
    if device.type != "cuda" or device.index is not None or local is None:
        return device
    if int(local) >= (count := torch.cuda.device_count()):
        raise ValueError(
            f"process {local}, counted from 0, needs a GPU of its own; this machine has {count}: "
            "start no more processes on it than that, or give --device cpu"
        )
    torch.cuda.set_device(int(local))
    return torch.device("cuda", int(local))


@contextmanager
def joined(share: Share, device: torch.device) -> Iterator[None]:
    """Connect to the other processes, if there are any, within a `with` block."""
    if share.count == 1:
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=VALIDATION_TIMEOUT)
    try:
        yield
    except SystemExit:  # all processes raise it
        dist.destroy_process_group()
        raise
    # No `finally`: a process that fails must end without waiting here. torchrun then ends the
    # others.
    dist.destroy_process_group()


def averaging(module: nn.Module) -> nn.Module:
    """Wrap a module whose forward is the loss; its gradients are averaged over all processes."""
    return DistributedDataParallel(module) if dist.is_initialized() else module


def mean_of_all(x: Tensor) -> Tensor:
    """Return the mean of a value over all processes, without gradients."""
    if not dist.is_initialized():
        return x.detach()
    total = x.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def broadcast_from_first(word: str | None) -> str | None:
    """Return the value of the first process in all processes. They wait for each other here."""
    if not dist.is_initialized():
        return word
    said = [word]
    dist.broadcast_object_list(said, src=0)
    return said[0]
