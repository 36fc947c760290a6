"""The machine's memory: MemAvailable, swap, pressure, the GPU's own. Reads a few small files; what is absent is None."""

from __future__ import annotations

import contextlib
import ctypes
from dataclasses import dataclass
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
PRESSURE = Path("/proc/pressure/memory")
_WANTED = (b"MemTotal", b"MemAvailable", b"SwapTotal", b"SwapFree")


@dataclass(frozen=True)
class SystemMemory:
    """One look at the machine.

    Attributes
    ----------
    available_mb, total_mb, swap_used_mb : float
        As the kernel counts them [MB].
    stalled_some, stalled_full : float or None
        Share of the last 10 s in which some, or all, processes waited for memory [%]; None where the kernel has no PSI.
    """

    available_mb: float
    total_mb: float
    swap_used_mb: float
    stalled_some: float | None = None
    stalled_full: float | None = None


def read_system(meminfo: Path = MEMINFO, pressure: Path = PRESSURE) -> SystemMemory:
    """Look at the machine; OSError where there is no ``/proc``."""
    rows: dict[bytes, float] = {}
    for line in meminfo.read_bytes().splitlines():
        name, _, rest = line.partition(b":")
        if name in _WANTED:
            rows[name] = int(rest.split()[0]) * 1024 / 1e6
            if len(rows) == len(_WANTED):
                break
    stalled: list[float | None] = [None, None]
    with contextlib.suppress(OSError, ValueError, IndexError):
        stalled = [float(line.split()[1].partition(b"=")[2]) for line in pressure.read_bytes().splitlines()]
    some, full = [*stalled, None, None][:2]
    swap = rows.get(b"SwapTotal", 0.0) - rows.get(b"SwapFree", 0.0)
    return SystemMemory(rows[b"MemAvailable"], rows[b"MemTotal"], swap, some, full)


@dataclass(frozen=True)
class GpuMemory:
    """The first GPU's own memory [MB]."""

    total_mb: float
    used_mb: float
    free_mb: float


class _NvmlMemory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class Gpu:
    """NVIDIA's management library, where it is; not on a Jetson: its GPU shares the memory, and MemAvailable is the truth."""

    def __init__(self) -> None:
        self._library: ctypes.CDLL | None = None
        self._device = ctypes.c_void_p()
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL("libnvidia-ml.so.1")
            if library.nvmlInit_v2() == 0 and library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self._device)) == 0:
                self._library = library

    def read(self) -> GpuMemory | None:
        """Return the GPU's memory, None without one of its own."""
        if self._library is None:
            return None
        found = _NvmlMemory()
        if self._library.nvmlDeviceGetMemoryInfo(self._device, ctypes.byref(found)) != 0 or not found.total:
            return None
        return GpuMemory(found.total / 1e6, found.used / 1e6, found.free / 1e6)
