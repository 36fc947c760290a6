"""How the C library's allocator treats blocks as large as a picture: two opposite ways, a process chooses one.

Promises: nothing happens where there is no glibc (mallopt(3) is its own), and False says so.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_LARGEST_BLOCK = 64 << 20
_OWN_PAGES = 256 << 10
_KEPT_ON_TOP = 1 << 20
_ARENAS = 2


def keep_freed_memory() -> bool:
    """Keep freed blocks, for processes that handle raw pictures all the time.

    By default each 2.8 MB buffer goes back to the kernel and comes anew, zeroed page by page: receiving a 720p picture costs
    6.4 ms of CPU that way and 2.0 ms with this.
    """
    return _set((_M_MMAP_THRESHOLD, _LARGEST_BLOCK // 2), (_M_TRIM_THRESHOLD, _LARGEST_BLOCK))


def keep_pictures_apart() -> bool:
    """Have pictures live in pages of their own, given back when freed, for a process that copies few and must not grow.

    Else the allocator takes them into its heaps from the first one freed on (M_MMAP_THRESHOLD is dynamic), where small blocks
    that live longer end up between them: the heaps of each thread grow in steps of a picture. The price is that of a page zeroed
    anew, see :func:`keep_freed_memory`. Call it before the process starts threads of its own.
    """
    return _set((_M_MMAP_THRESHOLD, _OWN_PAGES), (_M_TRIM_THRESHOLD, _KEPT_ON_TOP), (_M_ARENA_MAX, _ARENAS))


def _set(*options: tuple[int, int]) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    done = [mallopt(*option) for option in options]  # each is asked for, whatever became of the one before
    return all(done)
