"""The worker's level: shrunk in place, unloaded, loaded again; out of memory it comes back smaller, three times in a row not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from vla_bt.camera.ring import FrameRingWriter, ring_path
from vla_bt.policy import client as client_module
from vla_bt.policy import records
from vla_bt.policy import worker as worker_module
from vla_bt.policy.client import LONGEST_START_S, START_S, START_WORK_S, WorkerClient
from vla_bt.policy.expert import ExpertPolicy
from vla_bt.policy.port import Grade, PolicyOutput
from vla_bt.policy.worker_exit import OUT_OF_MEMORY
from vla_bt.wire import Mailbox
from vla_bt.words import ZERO

pytestmark = pytest.mark.timeout(300)

POLICY = "stress@tiny"


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds:g} s"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerClient]:
    directory: Path = tmp_path_factory.mktemp("run")
    writer = FrameRingWriter(ring_path(directory), 320, 180)
    writer.write(np.zeros((180, 320, 3), np.uint8), 0.0, time.monotonic())
    client = WorkerClient(POLICY, directory, time.monotonic)
    until(lambda: client.status().state == "ready", 150.0, "ready worker")
    yield client
    client.close()
    writer.close()


def answer(client: WorkerClient) -> PolicyOutput:
    found: list[PolicyOutput] = []

    def arrived() -> bool:
        client.hand_frame(1, time.monotonic(), ZERO)
        output = client.poll()
        if output is not None:
            found.append(output)
        return bool(found)

    until(arrived, 20.0, "answer")
    return found[0]


def test_a_new_goal_is_tidied_up_after_once_its_first_answer_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(worker_module, "clear_caches", lambda: done.append("tidied"))
    mailbox = Mailbox(tmp_path / "policy.sock")
    worker = worker_module.Worker(mailbox, tmp_path / "tree.sock", tmp_path, os.getpid())
    monkeypatch.setattr(worker, "say", lambda data: done.append("answered"))
    policy = ExpertPolicy(lambda: None)
    for goal_id in (1, 2):
        worker._answer(policy, records.pack_goal(goal_id, "go to the cup"))
        for sequence in (1, 2, 3):
            worker._answer(policy, records.pack_step(records.StepRequest(goal_id, sequence, 0.0, ZERO)))
    mailbox.close()
    assert done == ["answered", "tidied", "answered", "answered"] * 2


def test_it_says_what_it_holds_and_clears_when_asked(client: WorkerClient) -> None:
    client.set_goal(1, "go to the cup")
    assert answer(client).goal_id == 1
    until(lambda: client.status().memory is not None, 5.0, "word of its memory")
    memory = client.status().memory
    assert memory is not None
    assert memory.rss_mb > 50.0
    client.clear_caches()
    until(lambda: (held := client.status().memory) is not None and held.clears == memory.clears + 1, 10.0, "clearing")
    assert answer(client).goal_id == 1


def test_it_is_shrunk_in_place_and_goes_on_with_its_goal(client: WorkerClient) -> None:
    client.set_goal(2, "go to the cup")
    answer(client)
    pid = client.worker_pid
    for grade, word in ((Grade.INT8, "8-bit"), (Grade.LAYERS, "half the layers")):
        client.set_grade(grade)
        client.set_grade(grade)
        status = client.status()
        assert (status.state, status.grade) == ("starting", grade)
        assert not client.hand_frame(1, time.monotonic(), ZERO)
        until(lambda: client.status().state == "ready", 60.0, "smaller policy")
        info = client.status().info
        assert info is not None
        assert word in info.label
        assert answer(client).goal_id == 2
    assert client.worker_pid == pid, "the same process"


def test_it_is_unloaded_and_comes_back_step_by_step(client: WorkerClient) -> None:
    client.set_goal(3, "go to the cup")
    pid = client.worker_pid
    client.set_grade(Grade.UNLOADED)
    status = client.status()
    assert (status.state, status.detail, status.grade) == ("dead", "unloaded for want of memory", Grade.UNLOADED)
    until(lambda: not Path(f"/proc/{pid}").exists() or client.status() is None, 5.0, "end of the process")
    time.sleep(0.5)
    assert client.status().state == "dead", "it is not started again by itself"
    client.set_grade(Grade.INT8)
    until(lambda: client.status().state == "ready", 150.0, "loaded policy")
    assert answer(client).goal_id == 3
    client.set_grade(Grade.FULL)
    until(lambda: client.status().state == "ready" and client.status().grade is Grade.FULL, 150.0, "full policy")
    info = client.status().info
    assert info is not None
    assert info.label == "untrained"
    assert answer(client).goal_id == 3


def test_a_kill_that_was_no_want_of_memory_leaves_the_grade(client: WorkerClient) -> None:
    client.set_goal(4, "go to the cup")
    answer(client)
    os.kill(client.worker_pid, signal.SIGKILL)
    until(lambda: client.status().state == "dead", 5.0, "word of the death")
    status = client.status()
    assert (status.detail, status.grade, status.out_of_memory) == ("killed by signal 9", Grade.FULL, 0)
    until(lambda: client.status().state == "ready", 150.0, "restart")


class Machine:
    """Stands in for the kernel and for worker processes: what is tested is what the client makes of their ends."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int | None = 0) -> None:
        self.now_s, self.kills = 100.0, kills
        self.started: list[str] = []
        self.code: int | None = None
        machine = self

        class Process:
            def __init__(self, command: list[str], **_: object) -> None:
                machine.started.append(command[command.index("--grade") + 1])
                machine.code = None
                self.pid = 4_000_000 + len(machine.started)

            @property
            def returncode(self) -> int | None:
                return machine.code

            def poll(self) -> int | None:
                return machine.code

            def kill(self) -> None:
                machine.code = -9

            terminate = kill

            def send_signal(self, number: int) -> None: ...

            def wait(self, timeout: float | None = None) -> None: ...

        monkeypatch.setattr(client_module.subprocess, "Popen", Process)
        monkeypatch.setattr(client_module, "oom_kills", lambda: self.kills)
        self.client = WorkerClient("hybrid", tmp_path, lambda: self.now_s)

    def become_ready(self) -> None:
        from vla_bt.policy.port import PolicyInfo

        grade = Grade[self.started[-1].upper()]
        info = records.WorkerInfo(4_000_000 + len(self.started), PolicyInfo("hybrid", "untrained", 8, 8), 0.1, grade)
        self.client._take(records.pack_info(info))
        assert self.client.status().state == "ready"

    def end(self, code: int) -> None:
        self.code = code
        self.client.status()

    def restart(self) -> None:
        self.now_s += 10.0
        self.client.status()


def test_three_ends_for_want_of_memory_in_a_row_and_it_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    client = machine.client
    for count in (1, 2):
        machine.become_ready()
        machine.kills = count
        machine.end(-signal.SIGKILL)
        status = client.status()
        assert status.detail == "killed by signal 9 by the kernel: out of memory"
        assert (status.state, status.out_of_memory, status.gave_up) == ("dead", count, False)
        machine.restart()
    assert machine.started == ["full", "int8", "layers"]
    machine.end(OUT_OF_MEMORY)
    status = client.status()
    assert status.gave_up
    assert status.detail.startswith("3 times in a row: ")
    assert "vla-bt memory release" in status.detail
    machine.restart()
    client.set_grade(Grade.FULL)
    assert len(machine.started) == 3, "it stays away"
    client.forgive()
    machine.restart()
    assert machine.started[3:] == ["layers"]
    machine.become_ready()
    client.close()


def test_a_minute_of_health_ends_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    for _ in range(4):
        machine.become_ready()
        for _ in range(70):
            machine.now_s += 1.0
            machine.client._heard_s = machine.now_s
            machine.client.status()
        machine.end(OUT_OF_MEMORY)
        assert not machine.client.status().gave_up
        machine.restart()
    assert machine.client.status().out_of_memory == 4
    machine.client.close()


def test_where_the_kernel_does_not_count_a_kill_may_have_been_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch, kills=None)
    machine.end(-signal.SIGKILL)
    status = machine.client.status()
    assert "perhaps for want of memory" in status.detail
    assert status.grade is Grade.INT8
    machine.client.close()


def test_a_larger_grade_is_taken_only_when_the_guard_has_caught_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    machine.end(OUT_OF_MEMORY)
    client = machine.client
    client.set_grade(Grade.FULL)
    assert client.status().grade is Grade.INT8
    client.set_grade(Grade.INT8)
    client.set_grade(Grade.FULL)
    assert client.status().grade is Grade.FULL
    client.close()


def test_a_slow_start_is_waited_for_while_the_worker_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    client, worked_s = machine.client, [0.0]
    monkeypatch.setattr(client_module, "cpu_s", lambda pid: worked_s[0])
    for _ in range(5):
        machine.now_s += START_S + 1.0
        worked_s[0] += START_WORK_S
        assert client.status().state == "starting"
    machine.now_s += START_S + 1.0
    status = client.status()
    assert (status.state, status.detail) == ("dead", f"silent for {START_S + 1.0:.1f} s"), "it hangs"
    machine.restart()
    began_s = machine.now_s
    while client.status().state == "starting":
        machine.now_s += 10.0
        worked_s[0] += 10.0
        assert machine.now_s - began_s < LONGEST_START_S + START_S + 20.0, "it never ends"
    assert machine.now_s - began_s > LONGEST_START_S
    client.close()


def test_one_that_said_it_is_out_of_memory_and_takes_long_to_go_comes_back_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, monkeypatch)
    machine.become_ready()
    error = records.WorkerError(4_000_001, 0, 0, "out of memory: CUDA out of memory", False, True)
    machine.client._take(records.pack_error(error))
    machine.now_s += client_module.SILENCE_S + 0.1
    status = machine.client.status()
    assert (status.state, status.out_of_memory, status.grade) == ("dead", 1, Grade.INT8)
    assert "CUDA out of memory" in status.detail
    machine.client.close()


def test_a_mistake_is_still_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, monkeypatch)
    machine.end(2)
    machine.restart()
    status = machine.client.status()
    assert (machine.started, status.out_of_memory, status.grade) == (["full"], 0, Grade.FULL)
    machine.client.close()
