"""With cgroup v2 a group that holds processes can't share out memory: they make room, and come back."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vla_bt.memory.cgroup import Files, Group
from vla_bt.settings import SettingsError

LIMIT = 256 << 20


@dataclass
class Node:
    """One group of the kernel's."""

    controllers: set[str]
    shares: set[str] = field(default_factory=set)
    pids: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)


class Kernel(Files):
    """Groups as cgroup v2 keeps them, with its rules; ``top`` is the very root only if ``is_root``."""

    def __init__(self, top: Path, pids: list[str], is_root: bool = False, controllers: str = "cpu memory pids") -> None:
        self.top, self.is_root = top, is_root
        self.groups = {top: Node(set(controllers.split()), pids=pids)}
        self.stuck: set[str] = set()
        self.late: list[str] = []  # started while others are being moved

    def _node(self, path: Path) -> Node:
        if path not in self.groups:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        return self.groups[path]

    def _free(self, group: Path) -> bool:
        """The very root may hold processes and share out."""
        return self.is_root and group == self.top

    def read(self, path: Path) -> str:
        node = self._node(path.parent)
        if path.name == "cgroup.procs":
            return "".join(f"{pid}\n" for pid in node.pids)
        if path.name in ("cgroup.controllers", "cgroup.subtree_control"):
            return " ".join(sorted(node.controllers if path.name.endswith("controllers") else node.shares))
        return node.values[path.name]

    def write(self, path: Path, text: str) -> None:
        node = self._node(path.parent)
        if path.name == "cgroup.subtree_control":
            if text[0] == "+":
                if text[1:] not in node.controllers:
                    raise OSError(errno.ENOENT, "No such file or directory")
                if node.pids and not self._free(path.parent):
                    raise OSError(errno.EBUSY, "Device or resource busy")
                node.shares.add(text[1:])
            else:
                node.shares.discard(text[1:])
        elif path.name == "cgroup.procs":
            if node.shares and not self._free(path.parent):
                raise OSError(errno.EBUSY, "Device or resource busy")
            if text in self.stuck:
                raise PermissionError(errno.EACCES, "Permission denied")
            (source,) = (one for one in self.groups.values() if text in one.pids)
            source.pids.remove(text)
            node.pids.append(text)
            if self.late:
                source.pids.append(self.late.pop())
        else:
            if "memory" not in node.controllers:
                raise PermissionError(errno.EACCES, "Permission denied")
            node.values[path.name] = text

    def make(self, path: Path) -> None:
        if path in self.groups:
            raise FileExistsError(errno.EEXIST, "File exists")
        self.groups[path] = Node(set(self._node(path.parent).shares))

    def remove(self, path: Path) -> None:
        node = self._node(path)
        if node.pids or any(other.parent == path for other in self.groups):
            raise OSError(errno.EBUSY, "Device or resource busy")
        del self.groups[path]


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Return root, group and the file of membership."""
    membership = tmp_path / "membership"
    membership.write_text("0::/user.slice/run.scope\n")
    group = tmp_path / "root/user.slice/run.scope"
    group.mkdir(parents=True)
    return tmp_path / "root", group, membership


def test_who_is_in_the_way_makes_room_and_comes_back(place: tuple[Path, Path, Path]) -> None:
    root, top, membership = place
    kernel = Kernel(top, ["10", "11"])
    kernel.late = ["12"]
    group = Group("stress", LIMIT, root, membership, kernel)
    assert (group.version, group.path) == (2, top / "stress")
    assert kernel.groups[top].pids == []
    assert sorted(kernel.groups[top / "stress-others"].pids) == ["10", "11", "12"]
    assert kernel.groups[group.path].values == {"memory.max": str(LIMIT), "memory.swap.max": "0"}
    group.enter(11)
    assert group.members() == [11]
    group.leave(11)
    assert group.members() == []
    group.enter(12)
    group.close()
    assert list(kernel.groups) == [top]
    assert sorted(kernel.groups[top].pids) == ["10", "11", "12"]
    assert kernel.groups[top].shares == set()


def test_at_the_very_root_nobody_moves(place: tuple[Path, Path, Path]) -> None:
    root, top, membership = place
    kernel = Kernel(top, ["1", "10"], is_root=True)
    group = Group("stress", LIMIT, root, membership, kernel)
    assert kernel.groups[top].pids == ["1", "10"]
    group.enter(10)
    group.close()
    assert list(kernel.groups) == [top]
    assert sorted(kernel.groups[top].pids) == ["1", "10"]


def test_what_was_shared_out_before_stays_so(place: tuple[Path, Path, Path]) -> None:
    root, top, membership = place
    kernel = Kernel(top, [])
    kernel.groups[top].shares = {"memory"}
    Group("stress", LIMIT, root, membership, kernel).close()
    assert kernel.groups[top].shares == {"memory"}


def test_who_cannot_be_moved_ends_it_and_all_is_as_before(place: tuple[Path, Path, Path]) -> None:
    root, top, membership = place
    kernel = Kernel(top, ["10", "11"])
    kernel.stuck = {"11"}
    with pytest.raises(SettingsError, match=r"Permission denied.*systemd-run --user --scope -p Delegate=yes"):
        Group("stress", LIMIT, root, membership, kernel)
    assert list(kernel.groups) == [top]
    assert sorted(kernel.groups[top].pids) == ["10", "11"]


def test_a_scope_without_the_memory_controller_is_told_how_to_get_one(place: tuple[Path, Path, Path]) -> None:
    root, top, membership = place
    with pytest.raises(SettingsError, match=r"no memory controller.*Delegate=yes"):
        Group("stress", LIMIT, root, membership, Kernel(top, ["10"], controllers="cpu pids"))
