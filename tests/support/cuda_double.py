"""A test double of the NVIDIA driver, PyCUDA and TensorRT's runtime, for a machine without a card.

It finds calls in the wrong order, and memory that is used before it is allocated or after it is
freed. It cannot show how a real card behaves. Device memory is host memory, which is overwritten
when it is freed. Work on a stream runs as late as possible: when the program waits for the stream.
ONNX Runtime computes the graphs. The real library builds the plans.
"""

import hashlib
import importlib.machinery
import json
import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import numpy as np
import tensorrt_rtx

from streamkind.backends import cuda, parity, plans, tensorrt
from streamkind.backends.cards import Card
from streamkind.backends.precision import graph_in
from support.graphs import session

SCRATCH_PER_FRAME = 1 << 16
BUILT = {}
"""Plan of the real library and session of ONNX Runtime, by the key of the recipe.

They are made once for all tests."""
EXPECTED = {}
"""The results of the released graphs for the fixed frames, by model and size; computed once."""
INSPECTED = json.dumps(
    {
        "Layers": [
            {
                "Name": "node_conv2d + node_leaky_relu",
                "LayerType": "CaskConvolution",
                "Outputs": [{"Name": "a", "Format/Datatype": "Row major linear FP16 format"}],
            },
            {"Name": "kgen", "LayerType": "kgen", "Outputs": [{"Format/Datatype": "BFloat16"}]},
            {"Name": "node_Log_14", "Outputs": [{"Format/Datatype": "Row major linear FP32"}]},
            {"Name": "frames", "Outputs": [{"Name": "frames", "Format/Datatype": "UInt8"}]},
            {"Name": "nothing", "Outputs": []},
        ],
        "Bindings": ["frames", "reflectance"],
    }
)
"""Answer of the engine inspector: JSON in the form that NVIDIA documents."""


class Machine:
    """The state that all doubles share."""

    def __init__(self, *, cards=1, total_bytes=1 << 30):
        self.cards, self.total_bytes = cards, total_bytes
        self.told = []
        self.stack = []
        self.memory = {}
        self.streams = {}
        self.graphs = {}
        self.alive = {"runtime": 0, "engine": 0, "context": 0}
        self.refuse_plans = 0
        self.short_of_memory = 0
        self.falsify = lambda name, array: array
        self.graphs_of_plans = {}

    def tell(self, *what):
        """Record a call and its arguments; check that a context is current."""
        assert self.stack, f"{what[0]} without a current context"
        self.told.append(what)

    def times(self, name):
        return sum(what[0] == name for what in self.told)

    def allocated(self):
        return sum(array.nbytes for array in self.memory.values())

    def array(self, address, nbytes):
        """Return the bytes at an address, which must lie within one living block."""
        for start, block in self.memory.items():
            if start <= address and address + nbytes <= start + block.nbytes:
                return block[address - start : address - start + nbytes]
        raise AssertionError(f"{nbytes} bytes at {address:#x} are not allocated")


def allocate(machine, nbytes):
    if machine.allocated() + nbytes > machine.total_bytes:
        raise machine.driver.MemoryError(f"{nbytes} bytes are not left")
    return Block(machine, nbytes)


class Block:
    def __init__(self, machine, nbytes):
        self._machine = machine
        block = np.full(nbytes + 256, 0xAB, np.uint8)
        self._start = block.ctypes.data + -block.ctypes.data % 256
        machine.memory[self._start] = block[self._start - block.ctypes.data :][:nbytes]

    def __int__(self):
        return self._start

    def __del__(self):
        busy = [s for s in self._machine.streams.values() if s.queue]
        self._machine.told.append(("free", self._start, len(busy)))
        self._machine.memory.pop(self._start)[:] = 0xFF


class Stream:
    def __init__(self, machine):
        machine.tell("stream")
        self._machine, self.queue, self.recording = machine, [], None
        self.handle = id(self)
        machine.streams[self.handle] = self

    def put(self, run):
        (self.queue if self.recording is None else self.recording).append(run)

    def synchronize(self):
        self._machine.tell("wait", self.handle)
        self.run_until(lambda: not self.queue)

    def run_until(self, done):
        while not done():
            self.queue.pop(0)()


class Event:
    def __init__(self, machine):
        self._machine, self._stream, self._reached = machine, None, True

    def record(self, stream):
        self._machine.tell("record", stream.handle)
        self._stream, self._reached = stream, False
        stream.put(self._reach)

    def _reach(self):
        self._reached = True

    def synchronize(self):
        self._machine.tell("collect", self._stream.handle)
        self._stream.run_until(lambda: self._reached)


class Runtime:
    def __init__(self, machine, trt, logger):
        self._machine, self._trt, self._logger = machine, trt, logger
        machine.alive["runtime"] += 1

    def deserialize_cuda_engine(self, data):
        if self._machine.short_of_memory:
            self._machine.short_of_memory -= 1
            self._logger.errors.append("[defaultAllocator.cpp] Error Code 1: (out of memory)")
            return None
        if self._machine.refuse_plans:
            self._machine.refuse_plans -= 1
            return None
        return Engine(self._machine, self._trt, self, data)

    def __del__(self):
        assert not self._machine.alive["engine"] or self._machine.alive["runtime"] > 1
        self._machine.alive["runtime"] -= 1


class Engine:
    def __init__(self, machine, trt, runtime, data):
        self._machine, self._trt, self._runtime = machine, trt, runtime
        machine.alive["engine"] += 1
        self.contexts = 0
        graph = machine.graphs_of_plans[hashlib.sha256(data).hexdigest()]
        self.session, self._size = graph.session, graph.size
        ends = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(ends)
        self._ends = {end.name: end for end in ends}

    def get_tensor_name(self, i):
        return list(self._ends)[i]

    def get_tensor_mode(self, name):
        first = name in [end.name for end in self.session.get_inputs()]
        return self._trt.TensorIOMode.INPUT if first else self._trt.TensorIOMode.OUTPUT

    def _kind_of(self, name):
        return self._ends[name].type

    def get_tensor_dtype(self, name):
        uint8 = "uint8" in self._kind_of(name)
        return self._trt.DataType.UINT8 if uint8 else self._trt.DataType.FLOAT

    def get_tensor_shape(self, name):
        width, height = self._size
        known = {
            "frames": (height, width, 3),
            "curve": (17,),
            "thumbnail": (height // 16, width // 16),
            "strength": (2,),
        } | dict.fromkeys(("exposure", "ratio", "guard"), ())
        layer = (3 if "reflectance" in name else 1, height, width)
        return (-1, *known.get(name, layer))

    def create_runtime_config(self):
        return SimpleNamespace(set_execution_context_allocation_strategy=lambda strategy: None)

    def create_execution_context(self, how):
        return Context(self._machine, self)

    def create_engine_inspector(self):
        return SimpleNamespace(get_engine_information=lambda form: INSPECTED)

    def __del__(self):
        assert not self.contexts, "an engine was freed before its contexts"
        self._machine.told.append(("free engine",))
        self._machine.alive["engine"] -= 1


class Context:
    def __init__(self, machine, engine):
        machine.tell("context")
        self._machine, self._engine = machine, engine
        self._addresses, self._frames, self._scratch = {}, None, 0
        engine.contexts += 1
        machine.alive["context"] += 1

    def set_input_shape(self, name, shape):
        self._frames = shape[0]
        return shape[1:] == self._engine.get_tensor_shape(name)[1:]

    def update_device_memory_size_for_shapes(self):
        """Return the size of the scratch memory that the graph needs, in bytes.

        It differs between graphs, so that for some of them the scratch memory is too small.
        """
        return self._frames * SCRATCH_PER_FRAME * self._engine.num_io_tensors

    def set_device_memory(self, address, nbytes):
        assert nbytes >= self.update_device_memory_size_for_shapes()
        self._scratch = address

    def set_tensor_address(self, name, address):
        assert address % 256 == 0, f"{name} at {address:#x} is not aligned"
        self._addresses[name] = address

    def execute_async_v3(self, handle):
        stream = self._machine.streams[handle]
        addresses, scratch, frames = dict(self._addresses), self._scratch, self._frames
        self._machine.tell("record graph" if stream.recording is not None else "execute", handle)
        stream.put(lambda: self._compute(addresses, scratch, frames))
        return True

    def _compute(self, addresses, scratch, frames):
        self._machine.array(scratch, frames * SCRATCH_PER_FRAME)[:] = 0xCD
        session = self._engine.session
        feed = {end.name: self._view(end.name, addresses, frames) for end in session.get_inputs()}
        names = [end.name for end in session.get_outputs()]
        for name, array in zip(names, session.run(names, feed), strict=True):
            self._view(name, addresses, frames)[...] = self._machine.falsify(name, array)

    def _view(self, name, addresses, frames):
        kind = np.uint8 if "uint8" in self._engine._kind_of(name) else np.float32
        shape = (frames, *self._engine.get_tensor_shape(name)[1:])
        nbytes = int(np.prod(shape)) * np.dtype(kind).itemsize
        return self._machine.array(addresses[name], nbytes).view(kind).reshape(shape)

    def __del__(self):
        self._engine.contexts -= 1
        self._machine.alive["context"] -= 1


class Driver(ModuleType):
    """A double of the module `pycuda.driver`."""

    def __init__(self, machine):
        super().__init__("pycuda.driver")
        self.Error = type("Error", (Exception,), {})
        self.MemoryError = type("MemoryError", (self.Error,), {})
        self._machine = machine
        self.Context = SimpleNamespace(synchronize=lambda: machine.tell("synchronize", 0))
        self.Stream = lambda: Stream(machine)
        self.Event = lambda: Event(machine)
        self.Device = type("Device", (), {"count": lambda: machine.cards})
        self.Device.__init__ = lambda device, index: setattr(device, "index", index)
        self.Device.pci_bus_id = lambda device: f"0000:0{device.index}:00.0"
        self.Device.compute_capability = lambda device: (8, 9)
        self.Device.name = lambda device: f"a double {device.index}"
        self.Device.retain_primary_context = lambda device: SimpleNamespace(
            push=lambda: machine.stack.append(device.index),
            pop=lambda: machine.stack.pop(),
            detach=lambda: machine.told.append(("detach", device.index)),
        )

    def init(self):
        pass

    def get_version(self):
        return 12, 6, 0

    def get_driver_version(self):
        return 13000

    def mem_get_info(self):
        return self._machine.total_bytes - self._machine.allocated(), self._machine.total_bytes

    def pagelocked_empty(self, shape, dtype):
        return np.empty(shape, dtype)

    def memcpy_htod_async(self, address, host, stream):
        self._machine.tell("up", stream.handle)
        target = self._machine.array(address, host.nbytes)
        stream.put(lambda: target.__setitem__(slice(None), host.reshape(-1).view(np.uint8)))

    def memcpy_dtod(self, to, address, nbytes):
        self._machine.array(to, nbytes)[:] = self._machine.array(address, nbytes)

    def memcpy_dtoh_async(self, host, address, stream):
        self._machine.tell("down", stream.handle)
        nbytes = host.nbytes
        stream.put(
            lambda: (
                host.reshape(-1)
                .view(np.uint8)
                .__setitem__(slice(None), self._machine.array(address, nbytes))
            )
        )


class Library:
    """A double of libcuda, with the calls that PyCUDA lacks."""

    def __init__(self, machine):
        self._machine = machine

    def cuStreamBeginCapture_v2(self, stream, mode):  # noqa: N802
        self._machine.streams[stream.value].recording = []
        return 0

    def cuStreamEndCapture(self, stream, graph):  # noqa: N802
        found = self._machine.streams[stream.value]
        self._machine.graphs[len(self._machine.graphs) + 1] = found.recording
        graph._obj.value = len(self._machine.graphs)
        found.recording = None
        return 0

    def cuGraphInstantiateWithFlags(self, target, graph, flags):  # noqa: N802
        if self._machine.short_of_memory:
            self._machine.short_of_memory -= 1
            return 2
        target._obj.value = graph.value
        return 0

    def cuGraphDestroy(self, graph):  # noqa: N802
        return 0

    def cuGraphLaunch(self, executable, stream):  # noqa: N802
        self._machine.tell("launch", stream.value)
        for run in self._machine.graphs[executable.value]:
            self._machine.streams[stream.value].put(run)
        return 0

    def cuGraphExecDestroy(self, executable):  # noqa: N802
        self._machine.tell("free graph")
        self._machine.graphs[executable.value] = None
        return 0


class Trt:
    """The real library with a double of its runtime.

    `records_itself` says whether the library can record CUDA graphs by itself.
    """

    def __init__(self, machine, *, records_itself):
        self._hidden = () if records_itself else ("CudaGraphStrategy",)
        self.Runtime = lambda logger: Runtime(machine, self, logger)
        self.ILogger = tensorrt_rtx.ILogger

    def __getattr__(self, name):
        if name in self._hidden:
            raise AttributeError(name)
        return getattr(tensorrt_rtx, name)


def install(monkeypatch, machine, *, records_itself=False):
    """Replace PyCUDA, libcuda, the list of cards and the runtime of TensorRT with doubles."""
    machine.driver = Driver(machine)
    tools = ModuleType("pycuda.tools")
    pool = SimpleNamespace(
        allocate=lambda nbytes: allocate(machine, nbytes),
        free_held=lambda: None,
        stop_holding=lambda: machine.told.append(("stop holding",)),
    )
    tools.DeviceMemoryPool = lambda: pool
    whole = ModuleType("pycuda")
    whole.__spec__ = importlib.machinery.ModuleSpec("pycuda", None)
    found = {"pycuda": whole, "pycuda.driver": machine.driver, "pycuda.tools": tools}
    for name, module in found.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(cuda, "_library", lambda: Library(machine))
    cards = [Card("sm_89", f"double {i}", "1.0", True, f"00000000:0{i}:00.0") for i in range(9)]
    monkeypatch.setattr(cuda, "find_cards", lambda: cards)
    monkeypatch.setattr("streamkind.backends.cards.find_cards", lambda: cards)
    monkeypatch.setattr(plans, "choose_library", lambda card: "tensorrt_rtx")
    trt = Trt(machine, records_itself=records_itself)
    real_load, real_build = plans.load, plans.build
    monkeypatch.setattr(tensorrt.plans, "load", lambda library: trt)

    def build(recipe, graph, tell=lambda share: None, where=nullcontext):
        if recipe.key not in BUILT:
            with monkeypatch.context() as patch:
                patch.setattr(plans, "load", real_load)
                plan = real_build(recipe, graph, tell)
            onnx = graph_in(graph.read(), recipe.precision, recipe.frames)
            BUILT[recipe.key] = plan, session(onnx)
        plan, computes = BUILT[recipe.key]
        with where():
            machine.tell("build on", machine.stack[-1])
        machine.told.append(("build", recipe.part, recipe.precision))
        machine.graphs_of_plans[hashlib.sha256(plan.data).hexdigest()] = SimpleNamespace(
            session=computes, size=recipe.size
        )
        return plan

    monkeypatch.setattr(tensorrt.plans, "build", build)
    expected = parity.expected

    def expected_once(release, frames):
        key = release.name, np.shape(frames)
        if key not in EXPECTED:
            EXPECTED[key] = expected(release, frames)
        return EXPECTED[key]

    monkeypatch.setattr(parity, "expected", expected_once)
