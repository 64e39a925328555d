"""Memory of a process that runs for long: the garbage collector, and the heap of the C library."""

import ctypes
import gc
import sys
from typing import Final

_M_ARENA_MAX: Final = -8
"""<malloc.h> of glibc, mallopt(3)."""

_THRESHOLDS: Final = (100_000, 50, 100)
"""New objects, and collections of them, before a collection: one of 100,000 objects stops a thread for 50 ms.

The objects of a request are freed by reference counting.
"""


def share_one_heap() -> None:
    """Let all threads allocate from one heap, where glibc would give each its own; call it before they start.

    Headers of records are many small objects, allocated by one thread and freed by another: with a heap per thread
    that takes a tenth of all CPU, and memory that is free in one heap is not available in another.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, or ignore it
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)


def keep_imports() -> None:
    """Exclude what is alive now from all collections; call it when all is imported, before anything else is made.

    Modules stay until the end, so no search of them ever finds anything.
    """
    gc.freeze()


def collect_only_new_objects() -> None:
    """Collect the garbage of the start, exclude what is alive now, and collect less rarely than during the start.

    Objects of foreign clients may be part of that garbage, with their threads.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
