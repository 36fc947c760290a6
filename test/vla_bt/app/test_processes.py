"""Children end with their parent, and what a group leaves behind is found: files and processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest

from vla_bt.app import processes
from vla_bt.app.processes import left_behind


def sleeper(directory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "60"], env={**os.environ, "VLA_BT_RUNTIME_DIR": str(directory)})


def test_a_directory_and_a_process_that_are_left_are_found(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    assert left_behind(directory) == []
    with sleeper(directory) as child, sleeper(tmp_path / "run2") as other:
        try:
            assert left_behind(directory) == [f"process {child.pid}: sleep 60"]
            directory.mkdir()
            assert left_behind(directory)[0] == str(directory)
        finally:
            child.kill()
            other.kill()
    directory.rmdir()
    assert left_behind(directory) == []


@pytest.mark.ros
def test_the_demo_fails_over_a_process_that_is_left(tmp_path: Path) -> None:
    pytest.importorskip("rclpy")
    from vla_bt.app.demo import Demo
    from vla_bt.app.demo_view import DemoView

    group: Any = SimpleNamespace(directory=tmp_path / "gone")
    demo = Demo(group, cast(Any, None), DemoView(live=False), tmp_path, 0, threading.Event())
    with sleeper(group.directory) as child:
        try:
            demo.check_nothing_left()
        finally:
            child.kill()
    assert demo.checks["nothing left behind"] == {"ok": False, "words": f"process {child.pid}: sleep 60"}
    demo.check_nothing_left()
    assert demo.checks["nothing left behind"]["ok"]


def test_a_child_ends_with_its_parent() -> None:
    program = """
import os, subprocess
from vla_bt.app.processes import die_with_parent
print(subprocess.Popen(["sleep", "60"], preexec_fn=die_with_parent, stdout=subprocess.DEVNULL).pid, flush=True)
os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    child = int(done.stdout)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(child).wait(5.0)


def test_no_library_is_loaded_between_fork_and_exec(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("the loader's lock is held")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert subprocess.run(["true"], preexec_fn=processes.die_with_parent).returncode == 0
