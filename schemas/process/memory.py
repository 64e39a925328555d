"""Memory of a process that runs for long: the garbage collector, and the heap of the C library."""

import ctypes
import gc
import sys
from typing import Final

_M_ARENA_MAX: Final = -8
"""<malloc.h> of glibc, mallopt(3)."""


def share_one_heap() -> None:
    """Let all threads allocate from one heap, where glibc would give each its own; call it before they start.

    Headers of records are many small objects, allocated by one thread and freed by another: with a heap per thread
    that takes a tenth of all CPU, and memory that is free in one heap is not available in another.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, or ignore it
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)


def collect_only_new_objects() -> None:
    """Collect the garbage of the start, and exclude what is alive now, which stays alive until the end.

    The Kafka clients of the checks, and their threads, are part of that garbage: they stand in reference cycles.
    """
    gc.collect()
    gc.freeze()
