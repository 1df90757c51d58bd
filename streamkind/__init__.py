"""Makes night video clear.

import streamkind

streamkind.enhance("night.mp4", "clear.mp4")

with streamkind.open_engine() as engine:
    clear = engine.enhance(image)  # uint8 RGB (H, W, 3)
"""

from streamkind.engine.engine import KinD
from streamkind.engine.profiles import open_engine
from streamkind.errors import EngineError, InputError, OutputError, StreamkindError, UsageError
from streamkind.pipeline import Report, enhance
from streamkind.video.frames import Frame

__version__ = "0.1.0"

__all__ = [
    "EngineError",
    "Frame",
    "InputError",
    "KinD",
    "OutputError",
    "Report",
    "StreamkindError",
    "UsageError",
    "enhance",
    "open_engine",
]
