"""Makes night video clear.

import streamkind

streamkind.enhance("night.mp4", "clear.mp4")

with streamkind.open_engine() as engine:
    clear = engine.enhance(image)  # uint8 RGB (H, W, 3)
"""

import importlib

TYPE_CHECKING = False  # the module `typing` takes longer to import than all of this
if TYPE_CHECKING:
    from streamkind.engine.engine import Engine
    from streamkind.engine.profiles import open_engine
    from streamkind.errors import EngineError, InputError, OutputError, StreamkindError, UsageError
    from streamkind.light.track import Track
    from streamkind.measure.score import Scores, score
    from streamkind.pipeline import Report, enhance, find_track
    from streamkind.video.frames import ClearFrame, Frame
    from streamkind.video.open import create_video, open_video
del TYPE_CHECKING

__version__ = "0.2.0"

__all__ = [
    "ClearFrame",
    "Engine",
    "EngineError",
    "Frame",
    "InputError",
    "OutputError",
    "Report",
    "Scores",
    "StreamkindError",
    "Track",
    "UsageError",
    "create_video",
    "enhance",
    "find_track",
    "open_engine",
    "open_video",
    "score",
]

_HOMES = {
    "ClearFrame": "streamkind.video.frames",
    "Engine": "streamkind.engine.engine",
    "Frame": "streamkind.video.frames",
    "Report": "streamkind.pipeline",
    "Scores": "streamkind.measure.score",
    "Track": "streamkind.light.track",
    "create_video": "streamkind.video.open",
    "enhance": "streamkind.pipeline",
    "find_track": "streamkind.pipeline",
    "open_engine": "streamkind.engine.profiles",
    "open_video": "streamkind.video.open",
    "score": "streamkind.measure.score",
}
"""Module of each name. All other names are errors."""


def __getattr__(name: str) -> object:
    """Import a name when it is first used, so that the command line obeys Ctrl-C before."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "streamkind.errors")), name)
    globals()[name] = value
    return value
