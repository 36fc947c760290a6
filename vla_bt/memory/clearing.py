"""Giving memory back to the system, measured; and an allocator that keeps little of what was freed."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

_STATM = Path("/proc/self/statm")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_OWN_PAGES = 256 * 1024
_KEPT_ON_TOP = 1024 * 1024
_ARENAS = 2


def resident_mb() -> float:
    """Return this process's resident memory [MB], 0 where there is no ``/proc``."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE / 1e6
    except OSError:
        return 0.0


def clear_caches() -> bool:
    """Give memory the C allocator holds but doesn't use back to the system; False where there is no glibc.

    ``malloc_trim`` runs beside the interpreter (about 0.2 ms for each MB given back).
    """
    try:
        return bool(ctypes.CDLL("libc.so.6").malloc_trim(0))
    except (OSError, AttributeError):
        return False


def keep_pictures_apart() -> bool:
    """Have blocks as large as a picture live in pages of their own, given back when freed; False where there is no glibc.

    Else the C allocator takes them into its heaps from the first one freed on (mallopt(3), M_MMAP_THRESHOLD is dynamic), where
    small blocks that live longer end up between them: the heaps of each thread grow in steps of a picture. Call it before there
    are threads.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    wishes = ((_M_MMAP_THRESHOLD, _OWN_PAGES), (_M_TRIM_THRESHOLD, _KEPT_ON_TOP), (_M_ARENA_MAX, _ARENAS))
    done = [mallopt(*wish) for wish in wishes]  # each is asked for, whatever became of the one before
    return all(done)


def release() -> float:
    """Collect garbage and give freed memory back; returns by how much this process shrank [MB].

    A collection holds the interpreter: keep it short by ``gc.freeze()`` once everything long-lived is there.
    """
    before = resident_mb()
    gc.collect()
    clear_caches()
    return max(0.0, before - resident_mb())
