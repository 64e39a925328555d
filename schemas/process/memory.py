"""What this process asks of its two allocators: Python's collector and the C library's heap."""

import ctypes
import gc
import sys
from typing import Final

_M_ARENA_MAX: Final = -8
"""<malloc.h> of glibc, mallopt(3)."""


def share_one_heap() -> None:
    """Have all threads allocate from one heap, where glibc would give each its own; to be called before they start.

    Headers of records are many small pieces, made by one thread and freed by another: with a heap for each thread
    that takes a tenth of all CPU, and memory that is free in one is not to be had in another.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, or ignore it
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)


def collect_rarely() -> None:
    """What is alive now stays; what comes and goes with requests is freed by counting."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
