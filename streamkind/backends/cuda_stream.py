"""Runs one batch on a card: upload, graph and download on one CUDA stream."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamkind.backends.cuda import CallGraph, Gpu, Memory
from streamkind.backends.inspector import Inspection, read_inspector
from streamkind.errors import EngineError

GRAPHS_KEPT = 32
"""Largest number of recorded CUDA graphs of a stream. Addresses repeat, so few are needed."""
Array = NDArray[Any]


class PlanRefusedError(EngineError):
    """TensorRT refuses a plan, for example one that another version has built."""


class Program:
    """A plan that is loaded on the card.

    `inputs` and `outputs` are its tensors by name, each with the shape of one frame and the dtype.
    """

    def __init__(self, trt: Any, logger: Any, gpu: Gpu, plan: bytes) -> None:
        self._trt, self._gpu = trt, gpu
        logger.errors.clear()
        self._runtime = trt.Runtime(logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            told = "; ".join(logger.errors)
            if re.search("out ?of ?memory", told, re.IGNORECASE):  # the plan itself may be valid
                raise gpu.cuda.MemoryError(told)
            raise PlanRefusedError(f"TensorRT refuses the plan: {told}")
        self.records_itself = hasattr(trt, "CudaGraphStrategy")
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        ends: dict[Any, dict[str, tuple[tuple[int, ...], Any]]] = {}
        for name in names:
            shape = tuple(self._engine.get_tensor_shape(name))[1:]
            kind = np.dtype(trt.nptype(self._engine.get_tensor_dtype(name)))
            ends.setdefault(self._engine.get_tensor_mode(name), {})[name] = shape, kind
        self.inputs = ends[trt.TensorIOMode.INPUT]
        self.outputs = ends[trt.TensorIOMode.OUTPUT]

    def inspect(self) -> Inspection:
        """Return the types of the layers, as TensorRT's engine inspector reports them."""
        inspector = self._engine.create_engine_inspector()
        told = inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)
        return read_inspector(told)

    def context(self, frames: int) -> Any:
        """Return a new execution context for a number of frames, without scratch memory."""
        context = self._engine.create_execution_context(self._context_config())
        if context is None:
            raise self._gpu.cuda.MemoryError("TensorRT gives no execution context")
        for name, (shape, _) in self.inputs.items():
            if not context.set_input_shape(name, (frames, *shape)):
                raise EngineError(f"TensorRT refuses {frames} frames of {name}, {shape}")
        return context

    def _context_config(self) -> Any:
        """Return the settings of a context: the caller gives its scratch memory.

        TensorRT for RTX also records its calls itself.
        """
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self.records_itself:
            config = self._engine.create_runtime_config()
            config.set_execution_context_allocation_strategy(strategy)
            config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            return config
        return strategy

    def close(self) -> None:
        """Free the plan and then the runtime. All contexts must be freed before."""
        self._engine = None
        self._runtime = None


@dataclass
class Buffer:
    """Pinned host memory, and memory of the same size on the card."""

    host: Array
    device: Memory


class CudaStream:
    """A CUDA stream with buffers, contexts and one scratch memory for a batch.

    The calls on a stream run one after the other, so all contexts can use the same scratch memory.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._stream = gpu.cuda.Stream()
        self._done = gpu.cuda.Event()
        self._buffers: dict[tuple[str, Any], Buffer] = {}
        self._contexts: dict[tuple[Program, int], Any] = {}
        self._scratch: Memory | None = None
        self._graphs: OrderedDict[Any, CallGraph] = OrderedDict()
        self._warm: set[tuple[Program, int]] = set()
        self._busy = False
        self._waiting: list[tuple[Array, Array]] = []

    def start(
        self,
        program: Program,
        frames: slice,
        up: Mapping[str, Array],
        kept: Mapping[str, Memory],
        down: Mapping[str, Array],
    ) -> None:
        """Enqueue the frames `frames` of a batch: upload `up`, run the graph, download into `down`.

        `kept` are inputs and outputs that stay on the card. The results of the previous call are
        collected first.
        """
        self.collect()
        self._busy = True
        count = frames.stop - frames.start
        tensors = {name: memory[frames] for name, memory in kept.items()}
        for name, array in up.items():
            buffer = self._buffer(name, array[frames])
            np.copyto(buffer.host, array[frames])
            self._gpu.cuda.memcpy_htod_async(buffer.device.address, buffer.host, self._stream)
            tensors[name] = buffer.device
        results = {name: self._buffer(name, array[frames]) for name, array in down.items()}
        tensors |= {name: buffer.device for name, buffer in results.items()}
        self.enqueue(program, count, tensors)
        for name, buffer in results.items():
            self._gpu.cuda.memcpy_dtoh_async(buffer.host, buffer.device.address, self._stream)
            self._waiting.append((down[name][frames], buffer.host))
        self._done.record(self._stream)

    def enqueue(self, program: Program, frames: int, tensors: Mapping[str, Memory]) -> None:
        """Enqueue a graph. Its calls are recorded, and launched by one call from then on."""
        key = (program, frames, *(tensors[name].address for name in sorted(tensors)))
        if key in self._graphs:
            self._graphs.move_to_end(key)
            self._graphs[key].launch()
            return
        context = self._context(program, frames)
        for name, memory in tensors.items():
            context.set_tensor_address(name, memory.address)
        if program.records_itself or (program, frames) not in self._warm:
            self._execute(context)
            self._warm.add((program, frames))
            return
        graph = CallGraph(self._stream, lambda: self._execute(context))
        self._graphs[key] = graph
        graph.launch()
        if len(self._graphs) > GRAPHS_KEPT:
            self._stream.synchronize()
            self._graphs.popitem(last=False)[1].close()

    def collect(self) -> None:
        """Wait for the batch, and copy its results to their arrays."""
        if self._busy:
            self._done.synchronize()
        self._busy = False
        for target, pinned in self._waiting:
            np.copyto(target, pinned)
        self._waiting.clear()

    def wait(self) -> None:
        """Wait for the stream and drop the results, after an error or before memory is freed."""
        self._waiting.clear()
        self._busy = False
        self._stream.synchronize()

    def close(self) -> None:
        """Free all memory, and the stream last. It may be called twice."""
        if self._stream is None:
            return
        try:
            self.wait()
            self._forget_graphs()
        finally:  # plans can be freed only after their contexts
            self._contexts.clear()
            self._warm.clear()
            self._buffers.clear()
            self._scratch = self._done = self._stream = None

    def _execute(self, context: Any) -> None:
        if not context.execute_async_v3(self._stream.handle):
            raise EngineError("TensorRT could not start the graph; run nvidia-smi to see why")

    def _context(self, program: Program, frames: int) -> Any:
        """Return the context for a number of frames; each has its own, so recordings stay valid."""
        if (program, frames) not in self._contexts:
            context = program.context(frames)
            size = max(int(context.update_device_memory_size_for_shapes()), 256)
            if self._scratch is None or self._scratch.nbytes < size:
                self._grow(size)
            self._lend(context)
            self._contexts[program, frames] = context
        return self._contexts[program, frames]

    def _grow(self, size: int) -> None:
        self._stream.synchronize()
        self._forget_graphs()  # they have the old address in them
        self._scratch = None
        self._scratch = self._gpu.memory((size,), np.uint8)
        for context in self._contexts.values():
            self._lend(context)

    def _lend(self, context: Any) -> None:
        assert self._scratch is not None
        context.set_device_memory(self._scratch.address, self._scratch.nbytes)

    def _forget_graphs(self) -> None:
        for graph in self._graphs.values():
            graph.close()
        self._graphs.clear()

    def _buffer(self, name: str, like: Array) -> Buffer:
        """Return memory for an array. The address stays the same while the size does."""
        key = name, like.dtype  # frames are uploaded as one of two types
        found = self._buffers.get(key)
        if found is None or found.host.shape[1:] != like.shape[1:] or len(found.host) < len(like):
            self._stream.synchronize()
            self._buffers.pop(key, None)
            host = self._gpu.cuda.pagelocked_empty(like.shape, like.dtype)
            found = Buffer(host, self._gpu.memory(like.shape, like.dtype))
            self._buffers[key] = found
        if len(found.host) == len(like):
            return found
        return Buffer(found.host[: len(like)], found.device[: len(like)])
