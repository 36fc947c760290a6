"""One tree to a runtime directory: a second is refused and takes nothing from the first; it is left tidy, come what may."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vla_bt.ros.single import AnotherRunsError, DirectoryLock

PATIENCE_S = 30.0
SOCKETS = ("tree.gate.sock", "tree.policy.sock", "policy.sock")


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="vla_bt-single-", dir="/dev/shm") as path:
        yield Path(path)


def test_a_directory_has_one_process_of_a_kind(directory: Path) -> None:
    first = DirectoryLock(directory, "tree")
    with pytest.raises(AnotherRunsError, match=f"another tree runs in {directory}; .* VLA_BT_RUNTIME_DIR"):
        DirectoryLock(directory, "tree")
    DirectoryLock(directory, "other").close()
    first.close()
    DirectoryLock(directory, "tree").close()


def test_a_killed_process_leaves_no_lock(directory: Path) -> None:
    program = f"""
import pathlib, time
from vla_bt.ros.single import DirectoryLock
lock = DirectoryLock(pathlib.Path({str(directory)!r}), "tree")
print("held", flush=True)
time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(AnotherRunsError):
        DirectoryLock(directory, "tree")
    holder.kill()
    holder.communicate()
    DirectoryLock(directory, "tree").close()


def start(
    environment: dict[str, str], directory: Path, runs: Path, command: tuple[str, ...] = ("-m", "vla_bt.ros.tree_node")
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command, "--ros-args", "-p", "policy:=expert", "-p", f"runs_directory:={runs}"],
        env={**environment, "VLA_BT_RUNTIME_DIR": str(directory)},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_sockets(process: subprocess.Popen[str], directory: Path) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not all((directory / name).exists() for name in SOCKETS):
        assert time.monotonic() < end_s
        assert process.poll() is None
        time.sleep(0.05)


@pytest.mark.ros
def test_a_leaf_that_fails_at_the_end_is_reported_and_everything_is_still_ended(
    ros_environment: dict[str, str], directory: Path, tmp_path: Path
) -> None:
    program = """
import sys
from vla_bt.app.loop import TickLoop
from vla_bt.behaviours.sensing import CopySnapshot
def broken(leaf, status):
    raise KeyError("planted")
def first(leaf):
    print("ticked", file=sys.stderr, flush=True)
    CopySnapshot.update = update
    return update(leaf)
update, CopySnapshot.update = CopySnapshot.update, first
def ending(loop):
    CopySnapshot.terminate = broken
    shutdown(loop)
shutdown, TickLoop.shutdown = TickLoop.shutdown, ending
from vla_bt.ros.tree_node import main
sys.exit(main())
"""
    tree = start(ros_environment, directory, tmp_path, ("-c", program))
    wait_for_sockets(tree, directory)
    assert tree.stderr is not None
    while "ticked" not in (line := tree.stderr.readline()):  # a leaf that never ran has nothing to end
        assert line
    tree.send_signal(signal.SIGINT)
    said = tree.communicate(timeout=PATIENCE_S)[1]
    assert tree.returncode == 1, said
    assert "while ending: KeyError: 'planted'" in said
    assert not any((directory / name).exists() for name in SOCKETS)


@pytest.mark.ros
def test_a_second_tree_is_refused_in_one_line(ros_environment: dict[str, str], directory: Path, tmp_path: Path) -> None:
    def files() -> dict[str, int]:
        return {name: (directory / name).stat().st_ino for name in SOCKETS if (directory / name).exists()}

    first = start(ros_environment, directory, tmp_path)
    try:
        wait_for_sockets(first, directory)
        before = files()
        second = start(ros_environment, directory, tmp_path)
        said = second.communicate(timeout=PATIENCE_S)[1]
        assert (second.returncode, said) == (
            2,
            f"tree: another tree runs in {directory}; a second robot needs its own VLA_BT_RUNTIME_DIR\n",
        )
        assert files() == before
        assert first.poll() is None
    finally:
        first.send_signal(signal.SIGINT)
        said = first.communicate(timeout=PATIENCE_S)[1]
    assert first.returncode == 0, said
    assert "another tree" not in said
    third = start(ros_environment, directory, tmp_path)
    try:
        wait_for_sockets(third, directory)
    finally:
        third.send_signal(signal.SIGINT)
        third.communicate(timeout=PATIENCE_S)
