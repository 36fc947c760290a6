"""The policy's process and its client: one step a frame, deaths named and mended, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from vla_bt.camera.ring import FrameRingWriter, ring_path
from vla_bt.policy.client import WorkerClient
from vla_bt.policy.port import PolicyOutput
from vla_bt.wire import Mailbox, WireError
from vla_bt.words import ZERO, Twist

pytestmark = pytest.mark.timeout(120)

POLICY = "small-cnn@tiny"


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait for something other processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds:g} s"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def runtime_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory short enough for socket names."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def ring(runtime_dir: Path) -> Iterator[FrameRingWriter]:
    """A camera ring with one frame in it."""
    writer = FrameRingWriter(ring_path(runtime_dir), 320, 180)
    pixels = np.random.default_rng(1).integers(0, 256, (180, 320, 3), dtype=np.uint8)
    writer.write(pixels, 0.0, time.monotonic())
    yield writer
    writer.close()


@pytest.fixture(scope="module")
def client(runtime_dir: Path, ring: FrameRingWriter) -> Iterator[WorkerClient]:
    """One real worker for the whole file: starting it takes seconds."""
    client = WorkerClient(POLICY, runtime_dir, time.monotonic)
    assert client.status().state == "starting"
    until(lambda: client.status().state == "ready", 60.0, "ready worker")
    yield client
    pid = client.worker_pid
    client.close()
    assert not Path(f"/proc/{pid}").exists()
    assert [path.name for path in runtime_dir.iterdir()] == ["camera.ring"]


def next_output(client: WorkerClient, sequence: int = 1) -> PolicyOutput:
    """Hand a frame over and wait for what comes of it."""
    until(lambda: client.hand_frame(sequence, time.monotonic(), ZERO), 10.0, "frame taken")
    found: list[PolicyOutput] = []

    def arrived() -> bool:
        output = client.poll()
        if output is not None:
            found.append(output)
        return bool(found)

    until(arrived, 10.0, "output")
    return found[0]


def test_a_frame_makes_one_step_for_its_goal(client: WorkerClient, runtime_dir: Path) -> None:
    assert not client.hand_frame(1, 0.0, ZERO), "a frame before any goal"
    client.set_goal(7, "go around the box on the left to the cup")
    began_s = time.monotonic()
    output = next_output(client)
    took_s = time.monotonic() - began_s
    status = client.status()
    assert (output.goal_id, output.frame_sequence) == (7, 1)
    assert output.step.finite
    assert output.step.actions.shape == (8, 3)
    assert (status.frames_handed, status.steps_taken, status.restarts) == (1, 1, 0)
    assert status.info is not None
    assert status.info.label == "untrained"
    assert 0.0 < status.last_latency_s <= took_s


def test_an_output_of_an_earlier_goal_is_discarded(client: WorkerClient) -> None:
    client.set_goal(8, "go to the cup")
    taken = client.steps_taken  # before the frame: the answer may come while the next goal is told
    until(lambda: client.hand_frame(1, time.monotonic(), ZERO), 5.0, "frame taken")
    client.set_goal(9, "turn left")
    until(lambda: client.poll() is not None or client.status().steps_taken > taken, 10.0, "step")
    assert client.poll() is None
    assert next_output(client).goal_id == 9


def test_one_step_is_under_way_at_most(client: WorkerClient) -> None:
    client.set_goal(10, "go to the cup")
    next_output(client)
    os.kill(client.worker_pid, signal.SIGSTOP)
    try:
        assert client.hand_frame(1, time.monotonic(), ZERO)
        assert not client.hand_frame(1, time.monotonic(), ZERO)
        awaited_since_s = client.status().awaited_since_s
        assert awaited_since_s is not None
        assert 0.0 <= time.monotonic() - awaited_since_s < 5.0
    finally:
        os.kill(client.worker_pid, signal.SIGCONT)
    until(lambda: client.status().steps_taken == client.frames_handed - client.frames_lost, 10.0, "last step")
    assert client.status().awaited_since_s is None


def test_a_frame_that_left_the_ring_is_said_and_the_next_one_works(client: WorkerClient) -> None:
    client.set_goal(11, "go to the cup")
    taken = client.status().steps_taken
    until(lambda: client.hand_frame(999, time.monotonic(), ZERO), 5.0, "frame taken")
    until(lambda: "999" in client.status().detail, 5.0, "word about the lost frame")
    assert client.steps_taken == taken
    assert next_output(client).frame_sequence == 1
    status = client.status()
    assert status.frames_lost == 1
    assert status.frames_handed - status.frames_lost == status.steps_taken


def test_bad_numbers_and_endless_goals_are_refused_at_the_door(client: WorkerClient) -> None:
    assert not client.hand_frame(1, time.monotonic(), Twist(float("nan")))
    with pytest.raises(WireError, match="at most 2048"):
        client.set_goal(12, "x" * 10_000)


def test_malformed_datagrams_are_counted_and_harm_nobody(client: WorkerClient, runtime_dir: Path) -> None:
    stranger = Mailbox(runtime_dir / "stranger.sock")
    try:
        for data in (b"", b"junk", b"VBPG\x01\x00", b"VBPS\x01\x00" + b"\xff" * 48, b"VBPG\x01\x00" + b"\0" * 8 + b"\xff\xfe"):
            assert stranger.send(data, runtime_dir / "policy.sock")
        before = client.ignored
        assert stranger.send(b"VBPR\x01\x00short", runtime_dir / "tree.policy.sock")
        until(lambda: client.status() and client.ignored == before + 1, 5.0, "ignored record")
        until(lambda: client.status() and client.worker_ignored == 5, 5.0, "count of the worker")
    finally:
        stranger.close()
    client.set_goal(13, "go to the cup")
    assert next_output(client).goal_id == 13


def test_the_worker_holds_neither_ros_nor_the_tree_and_goes_first_when_memory_runs_out(client: WorkerClient) -> None:
    maps = Path(f"/proc/{client.worker_pid}/maps").read_text()
    assert "libtorch" in maps
    assert "rclpy" not in maps
    assert int(Path(f"/proc/{client.worker_pid}/oom_score_adj").read_text()) >= 500


def test_a_killed_worker_is_named_restarted_and_given_the_goal_again(client: WorkerClient) -> None:
    client.set_goal(20, "go to the cup")
    next_output(client)
    first, restarts = client.worker_pid, client.restarts
    os.kill(first, signal.SIGKILL)
    until(lambda: client.status().state == "dead", 2.0, "word of the death")
    assert client.status().detail == "killed by signal 9"
    assert not client.hand_frame(1, time.monotonic(), ZERO)
    until(lambda: client.status().state == "ready", 60.0, "restart")
    assert client.worker_pid != first
    assert client.restarts == restarts + 1
    assert next_output(client).goal_id == 20


def test_a_stopped_worker_is_noticed_by_its_silence_and_replaced(client: WorkerClient) -> None:
    client.set_goal(30, "go to the cup")
    next_output(client)
    first = client.worker_pid
    os.kill(first, signal.SIGSTOP)
    until(lambda: client.status().state == "dead", 5.0, "word of the silence")
    assert client.status().detail.startswith("silent for ")
    until(lambda: client.status().state == "ready", 60.0, "restart")
    assert not Path(f"/proc/{first}").exists()
    assert next_output(client).goal_id == 30


def test_a_mistake_in_the_name_is_told_and_not_tried_again(tmp_path: Path) -> None:
    client = WorkerClient("no-such-policy", tmp_path, time.monotonic)
    try:
        until(lambda: client.status().state == "dead", 30.0, "word of the mistake")
        time.sleep(0.5)
        status = client.status()
        assert "unknown policy 'no-such-policy'" in status.detail
        assert (status.state, status.restarts) == ("dead", 0)
    finally:
        client.close()
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_worker_is_used_and_its_successor_gets_the_goal(tmp_path: Path) -> None:
    client = WorkerClient("expert", tmp_path, time.monotonic, spawn=False)
    command = [sys.executable, "-m", "vla_bt.policy.worker", "--policy", "expert", "--runtime-dir", str(tmp_path)]
    environment = os.environ | {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
    client.set_goal(3, "go to the cup")
    try:
        for _ in range(2):
            worker = subprocess.Popen(command, env=environment)
            try:
                until(lambda: client.status().state == "ready", 20.0, "ready worker")
                assert client.worker_pid == worker.pid
                assert next_output(client).goal_id == 3
            finally:
                worker.kill()
                worker.wait()
            until(lambda: client.status().state == "dead", 5.0, "word of the silence")
    finally:
        client.close()
        (tmp_path / "policy.sock").unlink()
    assert list(tmp_path.iterdir()) == []


def test_the_worker_ends_with_its_parent_and_takes_its_socket_along(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-m', 'vla_bt.policy.worker', '--policy', 'expert',"
        f" '--runtime-dir', {str(tmp_path)!r}]); print(p.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    until((tmp_path / "policy.sock").exists, 20.0, "socket")
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not (tmp_path / "policy.sock").exists(), 10.0, "end of the worker")
    until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2], 5.0, "end")


def test_sigterm_while_starting_leaves_no_socket(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vla_bt.policy.worker", "--policy", POLICY, "--runtime-dir", str(tmp_path)]
    worker = subprocess.Popen(command, env=os.environ | {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"})
    until((tmp_path / "policy.sock").exists, 20.0, "socket")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(20.0) == 0
    assert list(tmp_path.iterdir()) == []
