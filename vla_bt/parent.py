"""A child process that ends with its parent, whatever that died of."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1

_prctl = ctypes.CDLL(None).prctl
"""Looked up now: in a child forked from a process with threads, the loader's lock may be held by a thread that is gone."""


def die_with_parent() -> None:
    """Let the kernel end this process when its parent ends: for between fork and exec, or as the initialiser of a pool."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
