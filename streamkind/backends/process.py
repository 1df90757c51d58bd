"""Settings that affect a whole process. Only streamkind's commands use them, not the Python API."""

from __future__ import annotations

import contextlib
import ctypes
import os

from PIL import Image

VARIABLES = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # cards count in nvidia-smi's order, not the fastest first
    "SVT_LOG": "1",  # SVT-AV1 prints to stderr; 1: errors only
}
"""Environment variables for libraries. Values that the user has set are not changed."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of parameters in malloc.h of glibc."""
LARGE_BYTES = 8 << 20
"""Size in bytes from which on a freed array, such as the layers of a 720p frame, is returned to the
system. Otherwise glibc would keep 200 MB at 1080p."""
KEPT_BYTES = 4 * LARGE_BYTES
"""Freed memory, in bytes, that a thread keeps for its next frame. It is enough for all smaller
arrays of one frame. Without it, glibc would keep only 128 KiB, because another parameter is set."""
MOST_PIXELS = 1 << 27
"""Half of the number of pixels from which on Pillow refuses a picture. A limit is needed, because a
damaged file may state any size. Pillow's own limit would refuse photos of 200 megapixels, which
telephones take."""


def configure_process() -> None:
    """Make all settings for this process."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    with contextlib.suppress(OSError, AttributeError):  # another system's library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
