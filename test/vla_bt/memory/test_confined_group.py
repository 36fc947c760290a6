"""A group made here has the kernel's limit, counts its kills, and is gone afterwards; without one there is a clear line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vla_bt.memory.cgroup import Group, oom_kills
from vla_bt.settings import SettingsError

LIMIT = 256 << 20
PROGRAM = """
import sys
from pathlib import Path
group = Path(sys.argv[1])
(group / "cgroup.procs").write_text("0")
from vla_bt.memory.cgroup import confinement, oom_kills
from vla_bt.memory.monitor import MemoryMonitor
from vla_bt.settings import TreeSettings
reading = MemoryMonitor(TreeSettings()).sample()
print(confinement().limit, reading.confined, round(reading.available_mb), oom_kills(), flush=True)
held = bytearray(b"1") * int(sys.argv[2])
print("survived", flush=True)
"""


@pytest.fixture
def group() -> Iterator[Group]:
    try:
        made = Group(f"vla_bt-test-{os.getpid()}", LIMIT)
    except SettingsError as error:
        pytest.skip(str(error))
    yield made
    made.close()
    assert not made.path.exists()


def run(group: Group, size: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROGRAM, str(group.path), str(size)], capture_output=True, text=True, timeout=60)


def test_a_process_inside_sees_the_limit_and_stays_under_it(group: Group) -> None:
    done = run(group, 50 << 20)
    limit, confined, available_mb, kills = done.stdout.split()[:4]
    assert (int(limit), confined, kills) == (LIMIT, "True", "0")
    assert 20 < int(available_mb) < LIMIT / 1e6
    assert "survived" in done.stdout
    assert group.kills() == 0


def test_beyond_the_limit_the_kernel_kills_and_counts(group: Group) -> None:
    done = run(group, 2 * LIMIT)
    assert done.returncode == -9
    assert "survived" not in done.stdout
    assert group.kills() == 1


def test_who_is_still_inside_is_put_back(group: Group) -> None:
    child = subprocess.Popen(["sleep", "30"])
    try:
        group.enter(child.pid)
        assert str(child.pid) in (group.path / "cgroup.procs").read_text().split()
        group.close()
        assert not group.path.exists()
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_without_a_writable_cgroup_there_is_one_line(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("4:memory:/\n0::/\n")
    with pytest.raises(SettingsError, match=r"no writable memory cgroup, neither v2 nor v1.*run as root"):
        Group("x", LIMIT, tmp_path / "absent", membership)
    membership.write_text("")
    with pytest.raises(SettingsError, match="none is mounted"):
        Group("x", LIMIT, tmp_path, membership)


def test_v2_without_its_memory_controller_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    membership = tmp_path / "membership"
    membership.write_text("0::/\n")
    root = tmp_path / "root"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpu pids\n")
    with pytest.raises(SettingsError, match="no memory controller"):
        Group("x", LIMIT, root, membership)
    assert [path.name for path in root.iterdir()] == ["cgroup.controllers"]


def test_kills_are_counted_by_the_group_and_without_one_by_the_machine(tmp_path: Path) -> None:
    membership, vmstat = tmp_path / "membership", tmp_path / "vmstat"
    membership.write_text("4:memory:/a\n")
    vmstat.write_text("pgfault 5\noom_kill 7\n")
    group = tmp_path / "memory/a"
    group.mkdir(parents=True)
    (group / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert oom_kills(tmp_path, membership, vmstat) == 2
    membership.write_text("")
    assert oom_kills(tmp_path, membership, vmstat) == 7
    assert oom_kills(tmp_path, membership, tmp_path / "absent") is None
