"""Settings of a whole process. Only streamkind's own processes make them, not user programs."""

from __future__ import annotations

import contextlib
import ctypes
import os

VARIABLES = {
    "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # cards count in nvidia-smi's order, not the fastest first
    "SVT_LOG": "1",  # SVT-AV1 prints to stderr by itself: errors only
}
"""Environment variables for libraries in this process. Values that the user has set stay."""
M_MMAP_THRESHOLD = -3
"""Number of the parameter in malloc.h of glibc."""
LARGE_BYTES = 8 << 20
"""Arrays from this size on go back to the system when they are freed, so layers of a 720p frame do.

Else glibc comes to keep them, and the holes between: 200 MB at 1080p.
"""


def settle() -> None:
    """Make all settings for this process."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    with contextlib.suppress(OSError, AttributeError):  # another system's library
        ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
