"""What an output knows of the streams of its camera: frame rate, pixel aspect and sound."""

from __future__ import annotations

import threading
from fractions import Fraction

from streamkind.live.encoder import Template

FALLBACK_RATE = Fraction(25)
"""Frames per second for the encoder if the camera states no plausible rate."""


class OutputStreams:
    """Frame rate, pixel aspect and sound of the streams that outputs are opened with.

    Outputs are opened once, but a camera may send other streams after a reconnect. The camera's
    thread sets the values, and the encoder's thread reads them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rate, self._aspect = FALLBACK_RATE, Fraction(1)
        self._sound: Template | None = None
        self._given = self._fits = False

    def connected(self, rate: Fraction | None, aspect: Fraction, sound: Template | None) -> None:
        """Set frame rate, pixel aspect and sound of a new connection."""
        with self._lock:
            self._rate, self._aspect = rate or self._rate, aspect
            if not self._given:
                self._sound = sound
            # An output cannot change its kind of sound. If the camera does, its sound is left out.
            self._fits = bool(sound and self._sound and sound.key == self._sound.key)

    def fix(self) -> tuple[Fraction, Fraction, Template | None]:
        """Return frame rate, pixel aspect and sound. The kind of sound does not change any more."""
        with self._lock:
            self._given = True
            return self._rate, self._aspect, self._sound

    @property
    def carries_sound(self) -> bool:
        """Whether the outputs were opened with the kind of sound that the camera sends now."""
        with self._lock:
            return self._given and self._fits
