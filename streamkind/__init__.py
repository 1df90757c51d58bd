"""Makes night video clear.

import streamkind

streamkind.enhance("night.mp4", "clear.mp4")

with streamkind.open_engine() as engine:
    clear = engine.enhance(image)  # uint8 RGB (H, W, 3)
"""

import importlib
import typing

if typing.TYPE_CHECKING:
    from streamkind.engine.engine import Engine
    from streamkind.engine.profiles import open_engine
    from streamkind.errors import EngineError, InputError, OutputError, StreamkindError, UsageError
    from streamkind.pipeline import Report, enhance
    from streamkind.video.frames import Frame

__version__ = "0.1.0"

__all__ = [
    "Engine",
    "EngineError",
    "Frame",
    "InputError",
    "OutputError",
    "Report",
    "StreamkindError",
    "UsageError",
    "enhance",
    "open_engine",
]

_HOMES = {
    "Engine": "streamkind.engine.engine",
    "Frame": "streamkind.video.frames",
    "Report": "streamkind.pipeline",
    "enhance": "streamkind.pipeline",
    "open_engine": "streamkind.engine.profiles",
}
"""Where names are defined; errors are in a module of their own."""


def __getattr__(name: str) -> object:
    """Import a name when it is first asked for: the command line answers Ctrl-C before that."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "streamkind.errors")), name)
    globals()[name] = value
    return value
