"""The two ways: pictures stay out of the heaps, also after the first one was freed; or what is freed is kept."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")

SIZE = 640 * 360 * 3
MEASURE = f"""
import ctypes, threading
from vla_bt.memory.allocator import keep_pictures_apart

class Info(ctypes.Structure):
    names = "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names]

libc = ctypes.CDLL("libc.so.6")
libc.mallinfo2.restype = Info
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = libc.free.argtypes = [ctypes.c_size_t]

def measure():
    for _ in range(3):
        libc.free(libc.malloc({SIZE}))
    before = libc.mallinfo2().hblkhd
    picture = libc.malloc({SIZE})
    print(libc.mallinfo2().hblkhd - before)

if APART:
    assert keep_pictures_apart()
measure()
thread = threading.Thread(target=measure)
thread.start()
thread.join()
"""


def test_a_picture_has_pages_of_its_own_whoever_takes_it() -> None:
    if not hasattr(ctypes.CDLL("libc.so.6"), "mallinfo2"):
        pytest.skip("mallinfo2 came with glibc 2.33")
    own = {}
    for apart in (False, True):
        code = MEASURE.replace("APART", str(apart))
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=plain)
        own[apart] = [int(line) for line in done.stdout.split()]
    assert all(bytes_apart >= SIZE for bytes_apart in own[True]), own
    assert own[False][0] == 0, "the C library alone takes it into its heap once one was freed"


def test_freed_memory_is_kept() -> None:
    program = """
import resource, sys
import numpy as np
from vla_bt.memory.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        first, second, third = (np.ones(2_764_800, np.uint8) for _ in range(3))
        del first, second, third
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
keep_freed_memory()
faults()
kept = faults()
print(usual, kept)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    usual, kept = map(int, result.stdout.split())
    if usual < 10_000:
        pytest.skip("this C library keeps freed memory by itself")
    assert kept < usual / 20
