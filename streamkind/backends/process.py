"""Settings of a whole process. Only streamkind's own processes make them, not user programs."""

from __future__ import annotations

import contextlib
import ctypes
import os

from PIL import Image

VARIABLES = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # cards count in nvidia-smi's order, not the fastest first
    "SVT_LOG": "1",  # SVT-AV1 prints to stderr by itself: errors only
}
"""Environment variables for libraries in this process. Values that the user has set stay."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of parameters in malloc.h of glibc."""
LARGE_BYTES = 8 << 20
"""Size in bytes from which on freed arrays are returned to the system, such as the layers of a 720p
frame. Otherwise glibc keeps them: 200 MB at 1080p."""
KEPT_BYTES = 4 * LARGE_BYTES
"""Freed memory, in bytes, that a thread keeps for its next frame: all smaller arrays of one frame.
Without this parameter glibc would keep only 128 KiB as soon as another one is set."""
MOST_PIXELS = 1 << 27
"""Half of the size in pixels from which on Pillow refuses a picture: a damaged file may claim any
size. Pillow's own limit would refuse photos of 200 megapixels, which telephones take."""


def settle() -> None:
    """Make all settings for this process."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    with contextlib.suppress(OSError, AttributeError):  # another system's library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
