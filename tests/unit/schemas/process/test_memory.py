"""The heap that all threads share."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, threading
from schemas.process.memory import share_one_heap
{first}
def hold():
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc(1000)
    gate.wait()
gate = threading.Event()
threads = [threading.Thread(target=hold) for _ in range(4)]
for each in threads: each.start()
ctypes.CDLL(None).malloc_stats()
gate.set()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc here")
@pytest.mark.parametrize(("first", "heaps"), [("share_one_heap()", 1), ("", 5)])
def test_all_threads_share_one_heap(first: str, heaps: int) -> None:
    program = PROGRAM.format(first=first)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert heaps == done.stderr.count("Arena")
