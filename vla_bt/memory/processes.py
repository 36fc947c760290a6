"""The application's processes on this machine, and what each of them holds: RSS, and USS and PSS as often as they may cost.

Promises: only processes of the same runtime directory count; nothing but ``/proc`` is read, and only of this user's processes.
RSS is cheap. USS and PSS make the kernel walk the page tables, so one process is looked at in turn, and the next one only after
:data:`REST` times as long as that took.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
LOOK_PERIOD_S = 5.0
"""Time between two looks for new processes [s]."""

CLOSER_PERIOD_S = 1.0
REST = 300.0
"""So the closer looks take at most a third of a per cent of one CPU."""

MODULES = {
    "vla_bt.ros.tree_node": "tree",
    "vla_bt.policy.worker": "policy",
    "vla_bt.ros.camera_bridge": "bridge",
    "vla_bt.ros.gate_node": "gate",
    "vla_bt.ros.sim_node": "sim",
    "vla_bt.ros.camera_node": "camera",
}
VERBS = {"dashboard": "dashboard", "run": "tree", "sim": "sim", "camera": "camera"}
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Closer(NamedTuple):
    """A closer look at one process.

    Attributes
    ----------
    uss_mb, pss_mb : float
        As usual [MB].
    written_mb : float
        USS without pages of files as they are on the disk, and with what is swapped out [MB]. Only this can leak; whether a
        library's pages count as USS depends on who else uses it.
    """

    uss_mb: float
    pss_mb: float
    written_mb: float


@dataclass(frozen=True)
class ProcessMemory:
    """What one process holds [MB]; None until looked at closer, see :class:`Closer`, and ``then_rss_mb`` its RSS at that time."""

    pid: int
    rss_mb: float
    uss_mb: float | None = None
    pss_mb: float | None = None
    written_mb: float | None = None
    then_rss_mb: float | None = None

    @property
    def own_mb(self) -> float:
        """What would be free without it now: USS where known, and what RSS has changed by since that was looked at [MB]."""
        if self.uss_mb is None:
            return self.rss_mb
        return self.uss_mb if self.then_rss_mb is None else max(0.0, self.uss_mb + self.rss_mb - self.then_rss_mb)


def role_of(arguments: list[str]) -> str:
    """Return what a command line is of the application, empty if nothing."""
    if "-m" in arguments[:-1]:
        module = arguments[arguments.index("-m") + 1]
        if module in MODULES:
            return MODULES[module]
        if module.startswith("vla_bt.dashboard") or module == "vla_bt.ros.dashboard_node":
            return "dashboard"
        rest = arguments[arguments.index("-m") + 2 :] if module.startswith("vla_bt.cli") else []
        return VERBS.get(rest[0], "") if rest else ""
    for index, word in enumerate(arguments[:2]):
        if os.path.basename(word) == "vla-bt":
            return VERBS.get(arguments[index + 1], "") if len(arguments) > index + 1 else ""
    return ""


def directory_of(environment: Mapping[str, str], arguments: list[str]) -> str:
    """Return the runtime directory a process works in; see :func:`vla_bt.wire.runtime_directory`."""
    if "--runtime-dir" in arguments[:-1]:
        return arguments[arguments.index("--runtime-dir") + 1]
    given = environment.get("VLA_BT_RUNTIME_DIR")
    return given or f"/dev/shm/vla_bt-{os.getuid()}-{environment.get('ROS_DOMAIN_ID') or '0'}"


def find(directory: str, proc: Path = PROC) -> dict[str, int]:
    """Return role -> process id of those that work in ``directory``."""
    found: dict[str, int] = {}
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            arguments = _strings(entry / "cmdline")
            role = role_of(arguments)
            if (
                role
                and directory_of(dict(item.partition("=")[::2] for item in _strings(entry / "environ")), arguments) == directory
            ):
                found[role] = int(entry.name)
    return found


def _strings(path: Path) -> list[str]:
    return path.read_bytes().decode("utf-8", "replace").rstrip("\0").split("\0")


def rss_mb(pid: int, proc: Path = PROC) -> float:
    """Return a process's resident memory [MB]."""
    return int((proc / str(pid) / "statm").read_bytes().split()[1]) * _PAGE / 1e6


def cpu_s(pid: int, proc: Path = PROC) -> float:
    """Return the processor time a process has taken so far [s]."""
    fields = (proc / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def closer(pid: int, proc: Path = PROC) -> Closer:
    """Look closer at a process."""
    rows: dict[bytes, int] = {}
    for line in (proc / str(pid) / "smaps_rollup").read_bytes().splitlines()[1:]:
        name, kilobytes, *_ = line.split()
        rows[name] = int(kilobytes) * 1024
    written = rows.get(b"Private_Dirty:", 0) + rows.get(b"Private_Hugetlb:", 0)
    uss = written + rows.get(b"Private_Clean:", 0)
    return Closer(uss / 1e6, rows.get(b"Pss:", 0) / 1e6, (written + rows.get(b"Swap:", 0)) / 1e6)


class ProcessWatch:
    """Watches the application's processes. Used from one thread.

    Parameters
    ----------
    own_role : str
        What this process is; empty if it isn't one of them.
    directory : str
        The runtime directory; empty watches this process alone.
    """

    def __init__(
        self, own_role: str, directory: str = "", clock: Callable[[], float] = time.monotonic, proc: Path = PROC
    ) -> None:
        self._own = {own_role: os.getpid()} if own_role else {}
        self._directory, self._clock, self._proc = directory, clock, proc
        self._pids: dict[str, int] = {}
        self._known: dict[str, ProcessMemory] = {}
        self._turn: list[str] = []
        self._look_s = self._closer_s = -1e9

    def extra(self, role: str, pid: int) -> None:
        """Watch a process that isn't found by its command line."""
        self._own[role] = pid

    def read(self) -> dict[str, ProcessMemory]:
        """Return role -> memory of those that live now."""
        now_s = self._clock()
        if now_s - self._look_s >= LOOK_PERIOD_S or any(not (self._proc / str(pid)).exists() for pid in self._pids.values()):
            self._look_s = now_s
            self._pids = {**(find(self._directory, self._proc) if self._directory else {}), **self._own}
        known: dict[str, ProcessMemory] = {}
        for role, pid in self._pids.items():
            with contextlib.suppress(OSError, IndexError):
                rss = rss_mb(pid, self._proc)
                before = self._known.get(role)
                same = before is not None and before.pid == pid
                known[role] = replace(before, rss_mb=rss) if before is not None and same else ProcessMemory(pid, rss)
        self._known = known
        if now_s >= self._closer_s and known:
            self._look_closer(now_s)
        return dict(self._known)

    def _look_closer(self, now_s: float) -> None:
        self._turn = [role for role in self._turn if role in self._known] or list(self._known)
        role = self._turn.pop(0)
        began_s = time.thread_time()
        with contextlib.suppress(OSError):
            known = self._known[role]
            self._known[role] = replace(known, **closer(known.pid, self._proc)._asdict(), then_rss_mb=known.rss_mb)
        self._closer_s = now_s + max(CLOSER_PERIOD_S, REST * (time.thread_time() - began_s))
