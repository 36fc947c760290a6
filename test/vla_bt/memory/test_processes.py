"""Which process is what, where it works, and that looking closely has its price in view."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vla_bt.memory import processes
from vla_bt.memory.processes import CLOSER_PERIOD_S, Closer, ProcessWatch, closer, cpu_s, directory_of, find, role_of, rss_mb


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ("python -m vla_bt.ros.tree_node --ros-args", "tree"),
        ("/x/python -m vla_bt.policy.worker --policy hybrid --runtime-dir /dev/shm/a", "policy"),
        ("python -m vla_bt.ros.gate_node", "gate"),
        ("python -m vla_bt.ros.camera_bridge", "bridge"),
        ("python -m vla_bt.ros.sim_node", "sim"),
        ("/x/python /x/bin/vla-bt run --world ros", "tree"),
        ("/x/bin/vla-bt dashboard", "dashboard"),
        ("python -m vla_bt.cli.main dashboard --port 1", "dashboard"),
        ("/x/python /x/bin/vla-bt teleop", ""),
        ("python -m pytest", ""),
        ("python -m", ""),
        ("vim vla_bt/ros/tree_node.py", ""),
        ("", ""),
    ],
)
def test_a_command_line_tells_the_role(line: str, role: str) -> None:
    assert role_of(line.split(" ")) == role


def test_the_directory_is_the_workers_own_argument_or_follows_from_the_environment() -> None:
    assert directory_of({}, ["x", "--runtime-dir", "/r"]) == "/r"
    assert directory_of({"VLA_BT_RUNTIME_DIR": "/e", "ROS_DOMAIN_ID": "3"}, []) == "/e"
    assert directory_of({"ROS_DOMAIN_ID": "3"}, []) == f"/dev/shm/vla_bt-{os.getuid()}-3"
    assert directory_of({}, []) == f"/dev/shm/vla_bt-{os.getuid()}-0"


def process(proc: Path, pid: int, line: str, environment: str, rss_pages: int, private_kb: int) -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    (folder / "cmdline").write_text(line.replace(" ", "\0") + "\0")
    (folder / "environ").write_text(environment + "\0")
    (folder / "statm").write_text(f"9999 {rss_pages} 0 0 0 0 0\n")
    rollup = (
        f"head\nRss: 1 kB\nPss: {private_kb + 100} kB\nPrivate_Clean: 24 kB\nPrivate_Dirty: {private_kb - 24} kB\nSwap: 76 kB\n"
    )
    (folder / "smaps_rollup").write_text(rollup)


def test_only_those_of_the_directory_are_found(tmp_path: Path) -> None:
    process(tmp_path, 10, "python -m vla_bt.ros.gate_node", "VLA_BT_RUNTIME_DIR=/a", 1000, 2000)
    process(tmp_path, 11, "python -m vla_bt.ros.gate_node", "VLA_BT_RUNTIME_DIR=/b", 1000, 2000)
    process(tmp_path, 12, "bash", "VLA_BT_RUNTIME_DIR=/a", 1000, 2000)
    (tmp_path / "13").mkdir()  # ended while being looked at
    (tmp_path / "self").mkdir()
    assert find("/a", tmp_path) == {"gate": 10}
    assert rss_mb(10, tmp_path) == pytest.approx(1000 * os.sysconf("SC_PAGE_SIZE") / 1e6)
    assert closer(10, tmp_path) == pytest.approx((2.048, 2.1504, 2.048 + 0.052 * 1.024))


def test_one_process_is_looked_at_closely_in_turn_and_none_too_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process(tmp_path, 10, "python -m vla_bt.ros.gate_node", "VLA_BT_RUNTIME_DIR=/a", 1000, 2000)
    process(tmp_path, 11, "python -m vla_bt.ros.sim_node", "VLA_BT_RUNTIME_DIR=/a", 1000, 2000)
    looked: list[int] = []
    spent_s = [0.0]

    def costly(pid: int, proc: Path) -> Closer:
        looked.append(pid)
        spent_s[0] += 0.1
        return Closer(1.0, 2.0, 0.5)

    monkeypatch.setattr(processes, "closer", costly)
    monkeypatch.setattr(processes.time, "thread_time", lambda: spent_s[0])
    now_s = [0.0]
    watch = ProcessWatch("", "/a", lambda: now_s[0], tmp_path)
    for _ in range(400):
        watch.read()
        now_s[0] += CLOSER_PERIOD_S / 4
    assert sorted(looked[:2]) == [10, 11]
    assert len(looked) * 0.1 <= 0.005 * now_s[0] + 0.2
    assert watch.read()["gate"].own_mb == 1.0


def test_what_a_process_holds_follows_its_rss_between_two_closer_looks(tmp_path: Path) -> None:
    page_mb = os.sysconf("SC_PAGE_SIZE") / 1e6
    process(tmp_path, 10, "python -m vla_bt.policy.worker", "VLA_BT_RUNTIME_DIR=/a", 1000, 2000)
    now_s = [0.0]
    watch = ProcessWatch("", "/a", lambda: now_s[0], tmp_path)
    before_mb = watch.read()["policy"].own_mb
    (tmp_path / "10" / "statm").write_text("9999 600 0 0 0 0 0\n")  # it shrank by 400 pages ...
    now_s[0] += CLOSER_PERIOD_S / 4  # ... and nobody has looked closer since
    assert watch.read()["policy"].own_mb == pytest.approx(before_mb - 400 * page_mb)
    (tmp_path / "10" / "statm").write_text("9999 1 0 0 0 0 0\n")
    assert watch.read()["policy"].own_mb == 0.0


def test_a_process_that_ended_is_gone(tmp_path: Path) -> None:
    process(tmp_path, 10, "python -m vla_bt.ros.gate_node", "VLA_BT_RUNTIME_DIR=/a", 1000, 2000)
    watch = ProcessWatch("", "/a", lambda: 0.0, tmp_path)
    assert "gate" in watch.read()
    for path in (tmp_path / "10").iterdir():
        path.unlink()
    (tmp_path / "10").rmdir()
    assert watch.read() == {}


def test_processor_time_is_what_the_process_itself_counts() -> None:
    before_s = time.process_time()
    while time.process_time() - before_s < 0.1:
        pass
    assert cpu_s(os.getpid()) == pytest.approx(time.process_time(), abs=0.1)
    with pytest.raises(FileNotFoundError):
        cpu_s(4_000_000)


MEASURED_ALONE = """
import json, mmap, os, sys
from vla_bt.memory.processes import closer
before = closer(os.getpid())
held = bytearray(b"1") * 20_000_000
taken = closer(os.getpid())
with open(sys.argv[1], "wb") as file:
    file.write(held)
    os.fsync(file.fileno())
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
    assert sum(pages[::4096]) > 0
    mapped = closer(os.getpid())
print(json.dumps([before, taken, mapped]))
"""


def test_a_librarys_pages_are_not_written_and_what_a_program_takes_is(tmp_path: Path) -> None:
    """In a process of its own: other tests' threads allocate too."""
    command = [sys.executable, "-c", MEASURED_ALONE, str(tmp_path / "library")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    before, taken, mapped = (Closer(*figures) for figures in json.loads(printed))
    assert taken.written_mb - before.written_mb == pytest.approx(20.0, abs=1.0)
    assert mapped.uss_mb - taken.uss_mb > 15.0
    assert mapped.written_mb - taken.written_mb < 2.0
