"""What a container's memory limit leaves: cgroup v2 and v1, every level up to the root. Reads files only, changes nothing."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
_NO_LIMIT = 1 << 60  # v1 writes a number near 2**63 for "no limit"


def cgroup_available(root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Return how many bytes this process's groups may still take, or None when no limit is set.

    Page cache that the kernel can drop at once (``inactive_file``) counts as available, as it does in MemAvailable.
    """
    try:
        lines = membership.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    left: list[int] = []
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")
        if not controllers:
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = base / path.lstrip("/")
        # Inside a container the path may be the host's, which isn't there: then the root of what we see is our group.
        if ".." in group.parts or not group.is_dir():
            group = base
        while True:
            found = _left(group, *names)
            left += [] if found is None else [found]
            if group == base:
                break
            group = group.parent
    return min(left, default=None)


def _left(group: Path, limit_name: str, usage_name: str, cache_name: str) -> int | None:
    limit, usage = _number(group / limit_name), _number(group / usage_name)
    if limit is None or usage is None or limit >= _NO_LIMIT:
        return None
    return max(0, limit - max(0, usage - _cache(group / "memory.stat", cache_name)))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # absent, or the word "max"
        return None


def _cache(path: Path, name: str) -> int:
    try:
        rows = (line.split() for line in path.read_text(encoding="ascii").splitlines())
        return next((int(row[1]) for row in rows if len(row) == 2 and row[0] == name), 0)
    except (OSError, ValueError):
        return 0
