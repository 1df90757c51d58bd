"""What cameras.toml says: cameras, where each goes, and how the console listens."""

from __future__ import annotations

from dataclasses import dataclass

from streamkind.engine import Ratio
from streamkind.exposure import DEFAULT_TARGET


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """One camera, as a table `[camera.NAME]` of the TOML or a body of the API says it."""

    name: str
    """Letters, digits, - and _; at most 64."""
    url: str
    """With a scheme of a camera; `${VARIABLE}` in it is taken from the environment, `${file:PATH}`
    from a file."""
    to: tuple[str, ...] = ()
    """Where the picture goes: URLs, or folders for recordings."""
    required: bool = True
    """`/readyz` waits for it."""
    ratio: Ratio = "auto"
    target: float = DEFAULT_TARGET
    max_delay: float = 0.5
    """Seconds from decoded to handed on; older frames are dropped."""
    timeout: float = 5.0
    """Seconds without a frame after which a camera is lost."""


@dataclass(frozen=True, kw_only=True)
class ConsoleConfig:
    """How the console listens: the table `[console]`."""

    host: str = "127.0.0.1"
    port: int = 8780
    token: str = ""
    """`${VARIABLE}` and `${file:PATH}` as in a camera's URL; needed for any other host."""
