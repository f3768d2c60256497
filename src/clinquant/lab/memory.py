"""Keeps freed memory in the process while training, so that a step does not fetch the same pages from the system again."""

from __future__ import annotations

import ctypes
from functools import cache

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Parameters of glibc's mallopt (malloc.h)."""


@cache
def keep_freed_memory() -> bool:
    """Tells glibc to serve large blocks from its heap and to keep it; True where that was understood.

    By default every activation of over 32 MB is mapped anew and unmapped when freed: a step of EfficientNet-Lite0 at 224 px, batch 16,
    took some 100,000 page faults, and under a tenth of that so. Peak memory does not change. Other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(mallopt(parameter, value) for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**26)))
