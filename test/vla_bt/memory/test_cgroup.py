"""A container's limit is found in either kind of cgroup, at any level, and its absence is no limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from vla_bt.memory.cgroup import cgroup_available


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    return tmp_path / "self_cgroup"


def test_v2_counts_the_tightest_level_and_droppable_cache(tmp_path: Path, membership: Path) -> None:
    membership.write_text("0::/outer/inner\n")
    write(tmp_path / "outer", memory__max="1000\n", memory__current="900\n", memory__stat="anon 500\ninactive_file 300\n")
    write(tmp_path / "outer/inner", memory__max="5000\n", memory__current="100\n", memory__stat="inactive_file 0\n")
    assert cgroup_available(tmp_path, membership) == 400


def test_v2_without_a_limit(tmp_path: Path, membership: Path) -> None:
    membership.write_text("0::/\n")
    write(tmp_path, memory__max="max\n", memory__current="900\n")
    assert cgroup_available(tmp_path, membership) is None


def test_v2_inside_a_container_that_sees_the_host_path(tmp_path: Path, membership: Path) -> None:
    membership.write_text("0::/system.slice/docker-123.scope\n")
    write(tmp_path, memory__max="1000\n", memory__current="1200\n")
    assert cgroup_available(tmp_path, membership) == 0


def test_v1(tmp_path: Path, membership: Path) -> None:
    membership.write_text("12:cpu,cpuacct:/a\n9:memory:/a\n")
    limit = {"memory__limit_in_bytes": "1000\n", "memory__usage_in_bytes": "600\n", "memory__stat": "total_inactive_file 100\n"}
    write(tmp_path / "memory/a", **limit)
    write(tmp_path / "memory", memory__limit_in_bytes="9223372036854771712\n", memory__usage_in_bytes="600\n")
    assert cgroup_available(tmp_path, membership) == 500


@pytest.mark.parametrize("text", ["", "nonsense", "0::", "0::/../../etc", ":::", "9:memory:/gone"])
def test_odd_memberships_mean_no_limit(tmp_path: Path, membership: Path, text: str) -> None:
    membership.write_text(text)
    assert cgroup_available(tmp_path, membership) is None


def test_no_membership_file(tmp_path: Path) -> None:
    assert cgroup_available(tmp_path, tmp_path / "absent") is None


def test_this_machine_answers() -> None:
    left = cgroup_available()
    assert left is None or left >= 0
