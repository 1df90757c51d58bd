"""Compiled graphs for small pictures, shared by all engines in the process of the tests."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from streamkind.backends.openvino import OpenVINOBackend
from streamkind.backends.ov import openvino as ov
from streamkind.backends.processor import threads
from streamkind.model.released import PARTS, Release

MOST = 32
"""Number of compiled graphs that are kept. One takes 2 to 50 MB."""
SMALL = 4 * 96 * 128 * 3
"""Largest number of values in the first input of a graph that is kept: four frames of 128x96."""
CORE = ov.Core
"""The real class of OpenVINO; some tests replace `ov.Core` with a double."""


@contextmanager
def graphs_compiled_once() -> Iterator[None]:
    """Let engines on the CPU reuse graphs that earlier engines have compiled.

    Compiling takes half a second per engine. The results are the same.
    """
    begin, compile_ = OpenVINOBackend.__init__, OpenVINOBackend._compile
    kept: OrderedDict[Any, Any] = OrderedDict()

    def begin_and_note(self: Any, release: Release, **how: Any) -> None:
        begin(self, release, **how)
        self.digests = [getattr(release, part).sha256 for part in PARTS]

    def compile_once(self: Any, part: str, shapes: Any, kind: Any = np.float32) -> Any:
        real = type(self._core) is CORE and self._device == "CPU"
        if not real or not hasattr(self, "digests") or math.prod(shapes[0]) > SMALL:
            return compile_(self, part, shapes, kind)
        options = self._options, self._device_options, self._small, threads()
        key = part, shapes, np.dtype(kind).str, str(self.digests), str(options)
        compiled = kept.pop(key, None) or compile_(self, part, shapes, kind).get_compiled_model()
        kept[key] = compiled
        if len(kept) > MOST:
            kept.popitem(last=False)
        return compiled.create_infer_request()

    with mock.patch.multiple(OpenVINOBackend, __init__=begin_and_note, _compile=compile_once):
        yield
