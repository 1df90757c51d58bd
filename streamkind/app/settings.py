"""The settings of a file, and the presets that store them."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from streamkind.engine.options import Options
from streamkind.errors import StreamkindError, UsageError
from streamkind.light.exposure import DEFAULT_TARGET
from streamkind.live.config import STRICT, Manual, Target
from streamkind.video.quality import most_crf
from streamkind.video.storage import write_whole

log = logging.getLogger("streamkind.app")

ProfileChoice = Literal["realtime", "balanced", "quality"]
CodecChoice = Literal["h264", "hevc", "av1"]
MOST_PRESETS = 100
"""Largest number of presets."""
PresetName = Annotated[str, Field(pattern=r"^[^\s./\x00-\x1f\x7f][^/\x00-\x1f\x7f]{0,39}$")]
"""Name of a preset, as the user sees it. It is a part of a URL, so it has no slash."""


class Settings(BaseModel):
    """How a file is enhanced, and how its result is named."""

    model_config = STRICT

    profile: ProfileChoice = "balanced"
    ratio: Manual | Literal["auto"] = "auto"
    target: Target = DEFAULT_TARGET
    codec: CodecChoice = "h264"
    crf: Annotated[int, Field(ge=0)] | None = None
    """Quality on the encoder's own scale. A lower number gives better quality and a larger file."""
    added: Annotated[str, Field(pattern=r"^[\w ()+-]{0,40}$")] = "-clear"
    """Text that is added to the name of the file, for the name of the result."""

    @model_validator(mode="after")
    def check_crf(self) -> Settings:
        """Raise ValueError for a CRF that the encoder does not have."""
        if self.crf is not None and self.crf > (most := most_crf(self.codec)):
            raise ValueError(f"crf is {self.crf}, expected 0 to {most} for {self.codec}")
        return self

    def options(self) -> Options:
        """Return the options of a batch."""
        return Options(
            profile=self.profile,
            ratio=self.ratio,
            target=self.target,
            codec=self.codec,
            crf=self.crf,
        )


class KeptSettings(BaseModel):
    """The presets and the last settings, as they are stored."""

    model_config = STRICT

    last: Settings = Settings()
    """The settings that were used last."""
    presets: dict[PresetName, Settings] = {}


class Presets:
    """Presets and last settings, in a file. May be used from any thread."""

    def __init__(self, path: Path, usual: Settings) -> None:
        """Read a file, if it exists. A damaged file is ignored, and replaced at the next change."""
        self._path, self._lock = path, threading.Lock()
        self._kept = KeptSettings(last=usual)
        self._kept = self._read()

    def get(self) -> KeptSettings:
        """Return the presets and the last settings."""
        return self._kept

    def put(self, name: str, settings: Settings) -> None:
        """Store settings under a name. Raises UsageError and OutputError."""
        with self._lock:
            presets = self._read().presets | {name: settings}
            if len(presets) > MOST_PRESETS:
                raise UsageError(f"there are {MOST_PRESETS} presets; delete one first")
            self._keep(presets=presets)

    def delete(self, name: str) -> None:
        """Delete a preset. Raises KeyError and OutputError."""
        with self._lock:
            presets = dict(self._read().presets)
            del presets[name]
            self._keep(presets=presets)

    def use(self, settings: Settings) -> None:
        """Store settings as the last ones. If that fails, log a warning and continue."""
        with self._lock:
            if settings == self._kept.last:
                return
            try:
                self._keep(last=settings)
            except (StreamkindError, OSError) as exc:
                self._kept = self._kept.model_copy(update={"last": settings})
                log.warning("the last settings are not stored: %s", exc)

    def _read(self) -> KeptSettings:
        """Return what the file has, because another page may have changed it."""
        with contextlib.suppress(OSError, ValidationError):
            return KeptSettings.model_validate_json(self._path.read_bytes())
        return self._kept

    def _keep(self, **changes: Any) -> None:
        kept = self._read().model_copy(update=changes)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(kept.model_dump(), indent=1, ensure_ascii=False)
        write_whole(self._path, text.encode())
        self._kept = kept
