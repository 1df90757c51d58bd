"""An NVIDIA card by PyCUDA: its context, its memory, and recorded calls (CUDA graphs)."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamkind.backends.cards import Card, find_cards
from streamkind.errors import EngineError, UsageError


@dataclass(frozen=True, slots=True)
class Memory:
    """An array on the card, in C order. Its memory is freed with its last slice."""

    owner: Any
    address: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, frames: slice) -> Memory:
        """Return a range of frames, along the first axis, without a copy."""
        first, last, _ = frames.indices(self.shape[0])
        start = self.address + first * (self.nbytes // self.shape[0])
        return Memory(self.owner, start, (last - first, *self.shape[1:]), self.dtype)

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return a copy on the host. The card's context must be current, and its streams idle."""
        array = np.empty(self.shape, self.dtype)
        _driver().memcpy_dtoh(array, self.address)
        return array


class Gpu:
    """One card. Its context is current inside `current()` only, so that any thread can use it.

    Memory comes from a pool that does not know which stream uses it. So wait for the streams that
    use an array before it is freed.
    """

    def __init__(self, device: str) -> None:
        """Take `auto`, `cuda` or `cuda:1`. Raises UsageError and EngineError."""
        index = _index(device)
        self.cuda = _driver()
        self.faults = self.cuda.Error, EngineError
        """What closing ignores: after some errors, such as a lost card, every call fails."""
        try:
            self.cuda.init()
            found = self.cuda.Device.count()
        except self.cuda.Error as exc:
            raise EngineError(
                f"the NVIDIA driver does not answer: {exc}; run nvidia-smi to see why"
            ) from exc
        if index >= found:
            raise EngineError(
                f"device '{device}' does not exist: CUDA finds {found} NVIDIA cards, counted from"
                " cuda:0"
            )
        there = self.cuda.Device(index)
        self.card = _card(self.cuda, there)
        self.name = f"cuda:{index}"
        try:
            self._context: Any = there.retain_primary_context()
            with self.current():
                self._pool = importlib.import_module("pycuda.tools").DeviceMemoryPool()
        except self.cuda.Error as exc:
            raise EngineError(
                f"{self.card.name} cannot be used: {exc}; run nvidia-smi to see what else uses it"
            ) from exc

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the card's context current within a `with` block."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def memory(self, shape: tuple[int, ...], dtype: Any) -> Memory:
        """Return an array that is not initialised. Raises the driver's MemoryError."""
        kind = np.dtype(dtype)
        block = self._pool.allocate(int(np.prod(shape)) * kind.itemsize)
        return Memory(block, int(block), shape, kind)

    def join(self, parts: Sequence[Memory]) -> Memory:
        """Concatenate arrays along the first axis, and wait until it is done."""
        count = sum(part.shape[0] for part in parts)
        whole = self.memory((count, *parts[0].shape[1:]), parts[0].dtype)
        address = whole.address
        for part in parts:
            self.cuda.memcpy_dtod(address, part.address, part.nbytes)
            address += part.nbytes
        self.cuda.Context.synchronize()  # such a copy may return before it is done
        return whole

    def free_mib(self) -> int:
        """Return the free memory of the card, in MiB."""
        return int(self.cuda.mem_get_info()[0]) >> 20

    def release_unused(self) -> None:
        """Return the unused memory of the pool to the card."""
        self._pool.free_held()

    def close(self) -> None:
        """Release the card. It may be called twice."""
        if self._context is None:
            return
        with suppress(*self.faults):
            with self.current():
                self._pool.stop_holding()
            self._context.detach()
        self._context = None


class CallGraph:
    """A CUDA graph: calls on a stream that are recorded once, and then launched by one call.

    PyCUDA does not have CUDA graphs, so the functions of the driver are called directly.
    """

    def __init__(self, stream: Any, record: Callable[[], None]) -> None:
        """Record what `record` puts on the stream; nothing runs. Raises EngineError."""
        self._stream = ctypes.c_void_p(stream.handle)
        self._executable = ctypes.c_void_p()
        graph = ctypes.c_void_p()
        _call_driver("cuStreamBeginCapture_v2", self._stream, _THREAD_LOCAL)
        try:
            record()
        finally:
            _call_driver("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        try:
            target = ctypes.byref(self._executable)
            _call_driver("cuGraphInstantiateWithFlags", target, graph, ctypes.c_ulonglong(0))
        finally:
            _call_driver("cuGraphDestroy", graph)

    def launch(self) -> None:
        """Put the calls on the stream."""
        _call_driver("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        """Free the graph. The stream must be idle."""
        _call_driver("cuGraphExecDestroy", self._executable)


_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: calls of other threads do not affect the recording."""
_OUT_OF_MEMORY = 2
"""CUDA_ERROR_OUT_OF_MEMORY: the card has too little free memory."""


def _call_driver(name: str, *arguments: Any) -> None:
    """Call a function of the driver. Raises its MemoryError, or EngineError for other errors."""
    error = getattr(_library(), name)(*arguments)
    if error == _OUT_OF_MEMORY:
        raise _driver().MemoryError(f"{name}: out of memory")
    if error:
        raise EngineError(
            f"the NVIDIA driver refuses {name} with error {error}; run nvidia-smi to see why"
        )


def _library() -> Any:
    return ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")


def _driver() -> Any:
    try:
        return importlib.import_module("pycuda.driver")
    except (ImportError, OSError) as exc:
        raise EngineError(
            f"PyCUDA cannot be used: {exc}; pip install 'streamkind[tensorrt]' compiles it with "
            "the CUDA toolkit that CUDA_ROOT names"
        ) from exc


def _index(device: str) -> int:
    match = re.fullmatch(r"auto|cuda(?::(\d+))?", device)
    if match is None:
        raise UsageError(f"backend 'tensorrt' runs on cuda or cuda:N, got device '{device}'")
    return int(match[1] or 0)


def _card(cuda: Any, device: Any) -> Card:
    """Return the card as nvidia-smi describes it, or as CUDA does (on a Jetson)."""
    place = device.pci_bus_id().lower()
    told = [card for card in find_cards() if card.place.endswith(place)]
    sm = "sm_{}{}".format(*device.compute_capability())
    if told:
        return told[0]
    driver = f"for CUDA {cuda.get_driver_version()}"
    return Card(sm, device.name(), driver, present=True, place=place)
