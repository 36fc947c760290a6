"""The policy's own process: ``python -m vla_bt.policy.worker --policy hybrid --runtime-dir DIR``.

Promises: holds the network and torch, never ROS or the tree; takes exactly one step for each request it answers; tells of
itself before torch is imported and, once ready, at 10 Hz from its loop, so that a loop that hangs falls silent; exits on
SIGTERM, SIGINT and when its parent is gone, leaving no socket behind; offers itself to the kernel as the first to be killed
when memory runs out; makes its policy smaller in place when told to, and says what that freed. Exit code 2 is a mistake of the
user, which trying again won't mend; 3 means that memory ran out.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from vla_bt.camera.lens import framed
from vla_bt.memory.clearing import clear_caches
from vla_bt.policy import grades, records
from vla_bt.policy.port import Grade
from vla_bt.policy.records import Heartbeat, StepRequest, StepResult, WorkerError, WorkerInfo
from vla_bt.policy.worker_exit import OUT_OF_MEMORY, USER_MISTAKE
from vla_bt.settings import SettingsError
from vla_bt.wire import Mailbox, WireError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vla_bt.policy.port import Policy

HEARTBEAT_S = 0.1
_INFO_EVERY = 5  # heartbeats between two reminders of what is running here
_OOM_SCORE = 800


class FrameGoneError(Exception):
    """The frame has left the ring, or there is no ring."""


class Worker:
    """One policy behind one mailbox.

    Parameters
    ----------
    mailbox : Mailbox
        Where requests arrive.
    tree : Path
        The mailbox of the tree.
    runtime_dir : Path
        Where the camera's ring and the simulator's truth are.
    parent : int
        Process id of the parent; when it is no longer ours, the worker ends.
    """

    def __init__(self, mailbox: Mailbox, tree: Path, runtime_dir: Path, parent: int) -> None:
        from vla_bt.camera.ring import FrameRingReader, ring_path

        self._mailbox, self._tree, self._runtime_dir, self._parent = mailbox, tree, runtime_dir, parent
        self._ring = FrameRingReader(ring_path(runtime_dir))
        self._pid = os.getpid()
        self._policy: Policy | None = None
        self._busy_s = 0.0
        self._grade = Grade.FULL
        self._clears = 0
        self._cleared_mb = self._shrunk_mb = 0.0
        self._goal_id: int | None = None
        self._tidy = True
        self._steps = self._ignored = self._beats = 0

    def say(self, data: bytes) -> None:
        """Send to the tree; whether it listens is its own business."""
        with contextlib.suppress(OSError):
            self._mailbox.send(data, self._tree)

    def fail(self, text: str, goal_id: int = 0, sequence: int = 0, unknown_goal: bool = False, fatal: bool = False) -> None:
        """Tell the tree what went wrong, in one line."""
        line = " ".join(text.split())
        self.say(records.pack_error(WorkerError(self._pid, goal_id, sequence, line, unknown_goal, fatal)))
        print(f"policy worker: {line}", file=sys.stderr, flush=True)

    def beat(self) -> None:
        """Send a heartbeat, and now and then what is running here."""
        ready = self._policy is not None
        if self._policy is not None and self._beats % _INFO_EVERY == 0:
            info = self._policy.info
            info = replace(info, label=grades.label_of(info.label, self._grade))
            self.say(records.pack_info(WorkerInfo(self._pid, info, self._busy_s, self._grade)))
            self.tell_memory()
        self._beats += 1
        self.say(records.pack_heartbeat(Heartbeat(self._pid, ready, self._steps, self._ignored)))

    def tell_memory(self) -> None:
        """Say what this process holds."""
        self.say(records.pack_memory(self._pid, grades.measure(self._clears, self._cleared_mb, self._shrunk_mb)))

    def serve(self, policy: Policy, busy_s: float, grade: Grade = Grade.FULL) -> None:
        """Answer requests until the parent is gone."""
        gc.collect()
        gc.freeze()  # what lives until the end need not be looked at again: clearing stays short
        self._policy, self._busy_s, self._grade, self._beats = policy, busy_s, grade, 0
        next_beat = time.monotonic()
        while os.getppid() == self._parent:
            now = time.monotonic()
            if now >= next_beat:
                self.beat()
                next_beat = now + HEARTBEAT_S
            select.select([self._mailbox], [], [], max(0.0, next_beat - time.monotonic()))
            for data in self._mailbox.receive():
                try:
                    self._answer(policy, data)
                except WireError:
                    self._ignored += 1

    def _answer(self, policy: Policy, data: bytes) -> None:
        if records.kind_of(data) == records.GOAL:
            goal_id, goal = records.unpack_goal(data)
            policy.reset(goal)
            self._goal_id, self._tidy = goal_id, False
            return
        if records.kind_of(data) == records.SET_GRADE:
            self._become(policy, records.unpack_set_grade(data))
            return
        if records.kind_of(data) == records.CLEAR:
            before = grades.held_mb()
            grades.clear(policy)
            self._clears, self._cleared_mb = self._clears + 1, max(0.0, before - grades.held_mb())
            self.tell_memory()
            return
        request = records.unpack_step(data)
        if request.goal_id != self._goal_id:
            text = f"step for goal {request.goal_id}, the worker has goal {self._goal_id}"
            self.fail(text, request.goal_id, request.frame_sequence, unknown_goal=True)
            return
        try:
            frame = self._frame(policy, request)
        except FrameGoneError as gone:
            self.fail(str(gone), request.goal_id, request.frame_sequence)
            return
        step = policy.step(frame, request.frame_time_s, request.measured)
        self._steps += 1
        self.say(records.pack_result(StepResult(self._pid, request.goal_id, request.frame_sequence, request.frame_time_s, step)))
        if not self._tidy:
            # The new goal's words stay, in holes that the network's blocks then miss: without this the heap grows at every few
            # goals. With a small network 0.2 ms, after the answer was sent.
            clear_caches()
            self._tidy = True

    def _become(self, policy: Policy, grade: Grade) -> None:
        """Shrink in place; up again, or away altogether, is for a new process."""
        if grade is Grade.UNLOADED or grade < self._grade:
            raise SystemExit(0)
        before = grades.held_mb()
        gc.unfreeze()
        done = grades.degrade(policy, self._grade, grade)
        if done:
            policy.warm_up()  # type: ignore[attr-defined]  # its first step in this form allocates
        gc.freeze()
        self._grade, self._goal_id, self._beats = grade, None, 0
        self._shrunk_mb = max(0.0, before - grades.held_mb())
        self.beat()

    def _frame(self, policy: Policy, request: StepRequest) -> NDArray[np.uint8] | None:
        """Copy the frame from the ring as the policy wants to see it."""
        info = policy.info
        if not info.needs_frame:
            return None
        found = self._ring.frame(request.frame_sequence)
        if found is None:
            raise FrameGoneError(self._ring.problem or f"frame {request.frame_sequence} has left the ring")
        frame, pixels = found
        return framed(pixels, frame.lens, info.picture)


def _build_policy(name: str, runtime_dir: Path, threads: int, grade: Grade) -> tuple[Policy, float]:
    """Import what the policy needs, build it and run it once; returns how long a goal and a step take."""
    from vla_bt.policy.factory import make_policy

    if name == "expert":
        from vla_bt.sim.truth import TruthReader

        return make_policy(name, TruthReader(runtime_dir / "truth.mmap", time.monotonic)), 0.0
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    policy: Any = grades.load(name, grade)
    return policy, policy.warm_up()


def _first_to_go() -> None:
    """Ask the kernel to end this process before the tree when memory runs out; raising one's own score is always allowed."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))


def _leave(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m vla_bt.policy.worker", description="Run a policy in its own process.")
    parser.add_argument("--policy", required=True, help="expert, a preset such as hybrid, or a saved policy's folder")
    parser.add_argument("--runtime-dir", required=True, type=Path, help="directory of the camera's ring and the sockets")
    parser.add_argument("--name", default="policy", help="name of the socket (default: policy)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network (default: 1)")
    parser.add_argument(
        "--grade",
        default="full",
        choices=("full", "int8", "layers"),
        help="how much of the policy is kept in memory (default: full)",
    )
    parser.add_argument("--parent", type=int, default=0, help="process that must stay the parent (default: the one that is)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the worker; returns the exit code."""
    options = _parser().parse_args(arguments)
    if not options.runtime_dir.is_dir():
        print(f"policy worker: no directory {options.runtime_dir}", file=sys.stderr)
        return USER_MISTAKE
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    _first_to_go()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    mailbox = Mailbox(options.runtime_dir / f"{options.name}.sock")
    try:
        parent = options.parent or os.getppid()
        worker = Worker(mailbox, options.runtime_dir / f"tree.{options.name}.sock", options.runtime_dir, parent)
        worker.beat()  # before torch is imported, which takes seconds
        try:
            grade = Grade[options.grade.upper()]
            policy, busy_s = _build_policy(options.policy, options.runtime_dir, options.threads, grade)
            worker.serve(policy, busy_s, grade)
        except Exception as error:
            if grades.is_out_of_memory(error):
                worker.fail(f"out of memory: {error}" if str(error) else "out of memory", fatal=True)
                return OUT_OF_MEMORY
            if isinstance(error, SettingsError):
                worker.fail(str(error), fatal=True)
                return USER_MISTAKE
            worker.fail(f"{type(error).__name__}: {error}", fatal=True)
            return 1
        return 0
    finally:
        mailbox.close()


if __name__ == "__main__":
    sys.exit(main())
