"""What a container's memory limit leaves, and a confined group of our own: cgroup v2 and v1.

Promises: reading looks at every level up to the root and changes nothing; a group made here is told apart by its name, holds only
processes that were put into it by pid, and is removed by :meth:`Group.close`, which leaves everything as it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from pathlib import Path
from typing import NamedTuple

from vla_bt.settings import SettingsError

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
MOVES = 20
"""So often a group is looked at again for processes that were started while it was being emptied."""

_NO_LIMIT = 1 << 60  # v1 writes a number near 2**63 for "no limit"
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


class Confinement(NamedTuple):
    """The nearest limit this process lives under.

    Attributes
    ----------
    version : int
        1 or 2.
    limit, usage, available : int
        Of that group [bytes]; page cache that the kernel can drop at once counts as available, as it does in MemAvailable.
    """

    version: int
    limit: int
    usage: int
    available: int


def confinement(root: Path = ROOT, membership: Path = MEMBERSHIP) -> Confinement | None:
    """Return the level that leaves least, or None when no limit is set."""
    found: list[Confinement] = []
    for version, base, group in _groups(root, membership):
        names = _V2 if version == 2 else _V1
        while True:
            found += _limited(version, group, *names)
            if group == base:
                break
            group = group.parent
    return min(found, key=lambda one: one.available, default=None)


def cgroup_available(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Return how many bytes this process's groups may still take, or None when no limit is set."""
    found = confinement(root, membership)
    return None if found is None else found.available


def oom_kills(root: Path = ROOT, membership: Path = MEMBERSHIP, vmstat: Path = Path("/proc/vmstat")) -> int | None:
    """Count the processes of this one's group that the kernel has killed for want of memory, wherever the limit was.

    Only a difference means something. Without memory cgroups it counts the whole machine's; None where the kernel doesn't count.
    """
    counts: list[int] = []
    for version, _, group in _groups(root, membership):
        with contextlib.suppress(OSError):
            name = "memory.events" if version == 2 else "memory.oom_control"
            counts += _rows((group / name).read_text(encoding="ascii"), "oom_kill")
    if not counts:
        with contextlib.suppress(OSError):
            counts += _rows(vmstat.read_text(encoding="ascii"), "oom_kill")
    return sum(counts) if counts else None


def _groups(root: Path, membership: Path) -> list[tuple[int, Path, Path]]:
    """Return (version, hierarchy's root, group) of every memory hierarchy this process is in."""
    try:
        lines = membership.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    groups: list[tuple[int, Path, Path]] = []
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        if not controllers:
            version, base = 2, root
        elif "memory" in controllers.split(","):
            version, base = 1, root / "memory"
        else:
            continue
        group = base / path.lstrip("/")
        # Inside a container the path may be the host's, which isn't there: then the root of what we see is our group.
        if ".." in group.parts or not group.is_dir():
            group = base
        groups.append((version, base, group))
    return groups


def _limited(version: int, group: Path, limit_name: str, usage_name: str, cache_name: str) -> list[Confinement]:
    limit, usage = _number(group / limit_name), _number(group / usage_name)
    if limit is None or usage is None or limit >= _NO_LIMIT:
        return []
    try:
        cache = sum(_rows((group / "memory.stat").read_text(encoding="ascii"), cache_name))
    except (OSError, ValueError):
        cache = 0
    return [Confinement(version, limit, usage, max(0, limit - max(0, usage - cache)))]


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # absent, or the word "max"
        return None


def _rows(text: str, name: str) -> list[int]:
    """Return the first row ``name NUMBER``, if any."""
    rows = (line.split() for line in text.splitlines())
    return [int(row[1]) for row in rows if len(row) == 2 and row[0] == name and row[1].isdigit()][:1]


class Files:
    """The few things that are done to a group's files; a test brings a kernel of its own."""

    def read(self, path: Path) -> str:
        """Return a file's text."""
        return path.read_text(encoding="ascii")

    def write(self, path: Path, text: str) -> None:
        """Write to a file."""
        path.write_text(text, encoding="ascii")

    def make(self, path: Path) -> None:
        """Make a group."""
        path.mkdir()

    def remove(self, path: Path) -> None:
        """Remove an empty group."""
        path.rmdir()


class Group:
    """A memory-limited group under the one this process is in.

    With v2 a group other than the very root may hold processes or share out memory among groups, not both. Where it holds
    processes they move into a group beside the new one, and back again when it is closed.

    Parameters
    ----------
    name : str
        Of its directory.
    limit : int
        Most memory of all its processes together, swap included where the kernel counts it [bytes].

    Raises
    ------
    SettingsError
        Where neither version lets us make one, with why.
    """

    def __init__(
        self, name: str, limit: int, root: Path = ROOT, membership: Path = MEMBERSHIP, files: Files | None = None
    ) -> None:
        self._files = files or Files()
        self._others: Path | None = None  # where those are that had to make room
        reasons: list[str] = []
        for version, _, group in _groups(root, membership):
            self.version, self.path, self.limit = version, group / name, limit
            try:
                if version == 2:
                    self._open_v2(group)
                else:
                    self._open_v1()
            except (OSError, ValueError) as error:
                self.close(patience=1)
                reasons.append(f"cgroup v{version} at {group}: {getattr(error, 'strerror', None) or error}")
                continue
            return
        raise SettingsError(
            "no writable memory cgroup, neither v2 nor v1, so no limit can be set here ("
            + ("; ".join(reasons) or "none is mounted")
            + "); run as root, in a container started with a writable /sys/fs/cgroup, or as 'systemd-run --user --scope -p "
            "Delegate=yes vla-bt memory stress ...'"
        )

    def _open_v2(self, group: Path) -> None:
        files, sharing = self._files, group / "cgroup.subtree_control"
        if "memory" not in files.read(group / "cgroup.controllers").split():
            raise ValueError("no memory controller")
        if "memory" not in files.read(sharing).split():
            try:
                files.write(sharing, "+memory")
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                self._make_room(group)
                files.write(sharing, "+memory")
        files.make(self.path)
        files.write(self.path / "memory.max", str(self.limit))
        with contextlib.suppress(OSError):
            files.write(self.path / "memory.swap.max", "0")

    def _make_room(self, group: Path) -> None:
        """Move every process of a group into one beside the group to come."""
        others = group / f"{self.path.name}-others"
        self._files.make(others)
        self._others = others
        self._move(group, others)

    def _move(self, source: Path, target: Path) -> None:
        """Move all processes, those included that start meanwhile; OSError where one can't be moved."""
        for _ in range(MOVES):
            pids = self._files.read(source / "cgroup.procs").split()
            if not pids:
                return
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    self._files.write(target / "cgroup.procs", pid)

    def _open_v1(self) -> None:
        files = self._files
        files.make(self.path)
        files.write(self.path / "memory.limit_in_bytes", str(self.limit))
        with contextlib.suppress(OSError):  # without swap accounting
            files.write(self.path / "memory.memsw.limit_in_bytes", str(self.limit))

    def enter(self, pid: int = 0) -> None:
        """Put a process in; 0 is the caller itself, with what it starts from now on."""
        self._files.write(self.path / "cgroup.procs", str(pid or os.getpid()))

    def leave(self, pid: int = 0) -> None:
        """Put a process where the others are."""
        self._files.write((self._others or self.path.parent) / "cgroup.procs", str(pid or os.getpid()))

    def usage(self) -> int:
        """Return what its processes take, without droppable page cache [bytes]."""
        names = _V2 if self.version == 2 else _V1
        found = _limited(self.version, self.path, *names)
        return self.limit - found[0].available if found else 0

    def kills(self) -> int:
        """Return how many of its processes the kernel has killed for want of memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return sum(_rows(self._files.read(self.path / name), "oom_kill"))

    def members(self) -> list[int]:
        """Return the ids of the processes in it."""
        return [int(pid) for pid in self._files.read(self.path / "cgroup.procs").split()]

    def close(self, patience: int = 50) -> None:
        """Remove it; whoever is still in it, and whoever had to make room, is put back. What is left dying may take a moment."""
        self._remove(self.path, self._others or self.path.parent, patience)
        if self._others is not None:
            with contextlib.suppress(OSError):
                self._files.write(self.path.parent / "cgroup.subtree_control", "-memory")
            self._remove(self._others, self.path.parent, patience)
            self._others = None

    def _remove(self, group: Path, target: Path, patience: int) -> None:
        for attempt in range(patience):
            if attempt:
                time.sleep(0.1)
            with contextlib.suppress(OSError):
                self._move(group, target)
            try:
                self._files.remove(group)
                return
            except FileNotFoundError:
                return
            except OSError:
                continue
