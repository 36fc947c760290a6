"""The tree's side of a policy in its own process: start it, watch it, restart it, hand it frames, never wait for it.

Promises: no call blocks (closing aside); at most one step is under way; an output of an earlier goal is never handed out; a
worker that dies or falls silent is named with its cause, killed if need be, started again with a growing pause, and given the
current goal again. A mistake of the user (unknown policy) is not tried again. Frames handed over and steps taken are counted
apart, so that a lost one shows. One that ended for want of memory (its own word, or the kernel's killer) comes back smaller; the
third time in a row it stays away until :meth:`WorkerClient.forgive`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from vla_bt.memory.cgroup import oom_kills
from vla_bt.memory.processes import cpu_s
from vla_bt.policy import records
from vla_bt.policy.port import Grade, PolicyInfo, PolicyOutput, PolicyStatus, WorkerMemory
from vla_bt.policy.records import StepRequest
from vla_bt.policy.worker_exit import OUT_OF_MEMORY, USER_MISTAKE, cause_of
from vla_bt.wire import Mailbox, WireError
from vla_bt.words import Twist

SILENCE_S = 1.0
START_S = 120.0
"""A worker that is not ready yet may be silent for this long [s] ..."""

START_WORK_S = 0.5
"""... and as long again when it took so much processor time meanwhile: on a busy machine loading takes its time [s] ..."""

LONGEST_START_S = 1200.0
"""... but never longer than this [s]."""

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
OOM_LIMIT = 3
"""So many ends for want of memory in a row, and the policy is given up."""

OOM_FORGOTTEN_S = 60.0
"""A worker that has been ready for this long makes the row end [s]."""

_NO_MEMORY = "of memory"
"""In every cause that means it."""


class WorkerClient:
    """A :class:`~vla_bt.policy.port.PolicyClient` for a worker process.

    Parameters
    ----------
    policy : str
        Name of the policy, as ``vla_bt.policy.factory.make_policy`` takes it.
    runtime_dir : Path
        Directory of the camera's ring and the sockets.
    clock : callable
        Monotonic seconds, the tree's own clock.
    spawn : bool
        Start and restart the worker; without it one that somebody else runs is used.
    name : str
        Name of the socket.
    silence_s : float
        A worker that says nothing for this long, or four times the time a goal takes it if that is longer, counts as dead [s];
        while it loads, see :data:`START_S`.
    """

    def __init__(
        self,
        policy: str,
        runtime_dir: Path,
        clock: Callable[[], float],
        spawn: bool = True,
        name: str = "policy",
        silence_s: float = SILENCE_S,
    ) -> None:
        self._policy, self._runtime_dir, self._clock, self._spawn, self._name = policy, runtime_dir, clock, spawn, name
        self._mailbox = Mailbox(runtime_dir / f"tree.{name}.sock")
        self._worker = runtime_dir / f"{name}.sock"
        self._log = runtime_dir / f"{name}.log"
        self._shortest_silence_s = silence_s
        self._process: subprocess.Popen[bytes] | None = None
        self._dying: list[subprocess.Popen[bytes]] = []  # killed, not yet gone
        self._pid = 0  # of the worker whose records count
        self._ready = False
        self._info: PolicyInfo | None = None
        self._busy_s = 0.0
        self._state, self._detail = "starting", "waiting for a worker"
        self._last_error = ""
        self._heard_s = self._begun_s = clock()
        self._cpu_s = 0.0
        self._restart_at_s: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self._goal: tuple[int, str] | None = None
        self._goal_sent = False
        self._in_flight: tuple[int, float] | None = None  # frame sequence, time handed
        self._output: PolicyOutput | None = None
        self._closed = False
        self._grade = self._floor = (
            Grade.FULL
        )  # what the worker is or becomes; what it may be at most after running out of memory
        self._memory: WorkerMemory | None = None
        self._kills_before: int | None = None
        self._oom_row = self._oom_count = 0
        self._gave_up = False
        self._ready_s: float | None = None
        self.frames_handed = self.frames_lost = self.steps_taken = self.restarts = 0
        self.ignored = self.worker_ignored = 0  # datagrams nobody could read, here and at the worker
        self._last_latency_s = 0.0
        if spawn:
            self._start()

    def set_goal(self, goal_id: int, goal: str) -> None:
        """Start a goal; outputs of earlier goals are discarded from now on.

        Raises
        ------
        WireError
            When the text is longer than ``records.MAX_GOAL_BYTES``.
        """
        records.pack_goal(goal_id, goal)  # refuse before anything changes
        self._goal, self._goal_sent, self._output = (goal_id, goal), False, None
        self._attend()

    def hand_frame(self, frame_sequence: int, frame_time_s: float, measured: Twist) -> bool:
        """Hand one new frame over for one step.

        False when a step is under way, the worker or the goal is not there yet, or ``measured`` holds a non-finite number.
        """
        self._attend()
        if (
            not self._ready
            or not self._goal_sent
            or self._in_flight is not None
            or self._goal is None
            or not measured.is_finite()
        ):
            return False
        request = StepRequest(self._goal[0], frame_sequence, frame_time_s, measured)
        if not self._mailbox.send(records.pack_step(request), self._worker):
            return False
        self._in_flight = (frame_sequence, self._clock())
        self.frames_handed += 1
        return True

    def poll(self) -> PolicyOutput | None:
        """Return the newest output for the current goal that was not returned yet, if any."""
        self._attend()
        output, self._output = self._output, None
        return output

    def status(self) -> PolicyStatus:
        """Report."""
        self._attend()
        return PolicyStatus(
            state=self._state,
            detail=self._detail,
            info=self._info,
            frames_handed=self.frames_handed,
            steps_taken=self.steps_taken,
            restarts=self.restarts,
            last_latency_s=self._last_latency_s,
            awaited_since_s=None if self._in_flight is None else self._in_flight[1],
            frames_lost=self.frames_lost,
            grade=self._grade,
            out_of_memory=self._oom_count,
            gave_up=self._gave_up,
            memory=self._memory,
        )

    def set_grade(self, grade: Grade) -> None:
        """Make the worker smaller in place, end it, or start it anew at another grade; none of it is waited for.

        After it ran out of memory a larger grade is only taken once somebody who watches the memory has asked for one as small.
        """
        if grade >= self._floor:
            self._floor = Grade.FULL
        grade = max(grade, self._floor)
        if grade is self._grade or self._gave_up or self._closed:
            return
        before, self._grade = self._grade, grade
        if not self._spawn:
            self._mailbox.send(records.pack_set_grade(grade), self._worker)  # up, or away: it ends, its owner sees to it
        elif grade is Grade.UNLOADED:
            self._end("unloaded for want of memory")
        elif self._pid and grade > before and self._mailbox.send(records.pack_set_grade(grade), self._worker):
            self.frames_lost += self._in_flight is not None
            self._ready, self._goal_sent, self._in_flight, self._output = False, False, None, None
            self._heard_s = self._begun_s = self._clock()
            self._state, self._detail = "starting", f"becoming {grade.name.lower()} for want of memory"
        else:
            self._end(f"loading it as {grade.name.lower()}")
            self._start()

    def clear_caches(self) -> None:
        """Ask the worker to give back what it doesn't need."""
        if self._ready:
            self._mailbox.send(records.pack_clear(), self._worker)

    def forgive(self) -> None:
        """Try again after three ends for want of memory in a row."""
        if not self._gave_up:
            return
        self._gave_up, self._oom_row = False, 0
        if self._spawn and self._grade is not Grade.UNLOADED:
            self._restart_at_s = self._clock()

    @property
    def worker_pid(self) -> int:
        """Process id of the worker, 0 when there is none."""
        return self._pid

    def close(self) -> None:
        """End the worker if it is ours, and remove the sockets. May take a second."""
        if self._closed:
            return
        self._closed = True
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)  # a stopped one can't hear SIGTERM
            self._process.terminate()
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        for process in self._dying:
            process.wait()
        self._mailbox.close()
        if self._spawn:
            for path in (self._worker, self._log):
                path.unlink(missing_ok=True)

    def _start(self) -> None:
        """Start a worker process. It says so itself before it imports anything heavy."""
        command = [sys.executable, "-m", "vla_bt.policy.worker", "--policy", self._policy, "--name", self._name]
        command += ["--runtime-dir", str(self._runtime_dir), "--parent", str(os.getpid()), "--grade", self._grade.name.lower()]
        self._kills_before, self._ready_s = oom_kills(), None
        # The ROS wheels start every interpreter twice to set library paths; the worker loads no ROS library.
        environment = os.environ | {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1"}
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    start_new_session=True,  # a Ctrl-C in the terminal is the tree's business
                )
        except OSError as error:
            self._lose(f"can't be started: {error.strerror}")
            return
        self._pid, self._ready, self._last_error = self._process.pid, False, ""
        self._heard_s = self._begun_s = self._clock()
        self._cpu_s, self._restart_at_s = 0.0, None
        self._state = "starting"
        self._detail = f"starting again after: {self._detail}" if self.restarts else f"starting {self._policy}"

    def _attend(self) -> None:
        """Read what arrived, notice a death or silence, restart when due, send the goal if it is still to be sent."""
        if self._closed:
            return
        for data in self._mailbox.receive():
            try:
                self._take(data)
            except WireError:
                self.ignored += 1
        now = self._clock()
        self._dying = [process for process in self._dying if process.poll() is None]
        if self._process is not None and self._process.poll() is not None:
            code = self._process.returncode
            self._process = None
            self._gone(code)
        elif self._pid and now - self._heard_s > self._patience_s() and not self._still_loads(now):
            if _NO_MEMORY in self._last_error:  # it has said so, and takes long to go
                self._gone(OUT_OF_MEMORY)
            else:
                self._lose(self._last_error or f"silent for {now - self._heard_s:.1f} s")
        if self._oom_row and self._ready_s is not None and now - self._ready_s > OOM_FORGOTTEN_S:
            self._oom_row = 0
        if self._restart_at_s is not None and now >= self._restart_at_s:
            self.restarts += 1
            self._start()
        if self._in_flight is not None and now - self._in_flight[1] > self._patience_s():
            self._in_flight = None  # the request or its answer was lost on the way
            self.frames_lost += 1
        if self._ready and self._goal is not None and not self._goal_sent:
            self._goal_sent = self._mailbox.send(records.pack_goal(*self._goal), self._worker)

    def _patience_s(self) -> float:
        if not self._ready and self._spawn:
            return START_S
        return max(self._shortest_silence_s, 4.0 * self._busy_s)

    def _still_loads(self, now: float) -> bool:
        """Tell whether a worker that is not ready has worked since it was last asked about, and grant it more time."""
        if self._ready or self._process is None or now - self._begun_s > LONGEST_START_S:
            return False
        with contextlib.suppress(OSError):
            before, self._cpu_s = self._cpu_s, cpu_s(self._pid)
            if self._cpu_s - before >= START_WORK_S:
                self._heard_s = now
                return True
        return False

    def _gone(self, code: int) -> None:
        """Name why the worker ended by itself, and whether it comes back smaller."""
        cause = self._last_error or cause_of(code, self._log)
        if code == -signal.SIGKILL:
            kills = oom_kills()
            if kills is None or self._kills_before is None:
                cause += ", perhaps for want of memory: this kernel does not count"
            elif kills > self._kills_before:
                cause += " by the kernel: out of memory"
        if code != OUT_OF_MEMORY and _NO_MEMORY not in cause:
            self._lose(cause, again=code != USER_MISTAKE)
            return
        self._oom_row += 1
        self._oom_count += 1
        self._grade = self._floor = max(self._grade, min(Grade.LAYERS, Grade(self._grade + 1)))
        self._gave_up = self._oom_row >= OOM_LIMIT
        if self._gave_up:
            cause = f"{OOM_LIMIT} times in a row: {cause}; give it memory, then: vla-bt memory release"
        self._lose(cause, again=not self._gave_up)

    def _end(self, why: str) -> None:
        """End our own worker at once: it holds nothing that has to be written."""
        restarts_at = self._restart_at_s
        self._lose(why, again=False)
        self._restart_at_s = None if self._grade is Grade.UNLOADED else restarts_at

    def _lose(self, cause: str, again: bool = True) -> None:
        """Give a worker up that is gone or as good as gone: say why, make sure of it, plan the next."""
        if self._process is not None:
            self._process.kill()
            self._dying.append(self._process)
            self._process = None
        if self._spawn:
            with contextlib.suppress(OSError):
                self._worker.unlink()
        self.frames_lost += self._in_flight is not None
        was_ready = self._ready
        self._pid, self._ready, self._in_flight, self._output, self._goal_sent = 0, False, None, None, False
        self._memory = None
        self._state, self._detail = "dead", cause
        if self._spawn and again:
            self._pause_s = FIRST_PAUSE_S if was_ready else min(2.0 * self._pause_s, LONGEST_PAUSE_S)
            self._restart_at_s = self._clock() + self._pause_s

    def _take(self, data: bytes) -> None:
        """Act on one record of the worker; those of an earlier worker do not count."""
        kind = records.kind_of(data)
        if kind == records.HEARTBEAT:
            beat = records.unpack_heartbeat(data)
            if self._hear(beat.pid):
                self.worker_ignored = beat.ignored
        elif kind == records.MEMORY:
            pid, memory = records.unpack_memory(data)
            if self._hear(pid):
                self._memory = memory
        elif kind == records.INFO:
            self._take_info(records.unpack_info(data))
        elif kind == records.RESULT:
            self._take_result(records.unpack_result(data))
        elif kind == records.ERROR:
            self._take_error(records.unpack_error(data))
        else:
            raise WireError(f"unknown record {kind!r}")

    def _hear(self, pid: int) -> bool:
        """Note a sign of life; False when it is not from the worker that counts."""
        if pid != self._pid:
            if self._spawn:
                return False
            # Somebody else's worker, or its successor.
            self._pid, self._ready, self._goal_sent, self._in_flight, self._last_error = pid, False, False, None, ""
            self._state, self._detail = "starting", "a worker is starting"
        self._heard_s = self._clock()
        return True

    def _take_info(self, worker: records.WorkerInfo) -> None:
        if self._hear(worker.pid) and (worker.grade is self._grade or not self._spawn):
            self._grade = worker.grade
            self._ready_s = self._clock() if self._ready_s is None else self._ready_s
            self._info, self._busy_s, self._ready = worker.info, worker.busy_s, True
            self._state, self._detail = "ready", worker.info.label

    def _take_result(self, result: records.StepResult) -> None:
        if not self._hear(result.pid):
            return
        self.steps_taken += 1
        self._last_latency_s = result.step.latency_s
        if self._in_flight is not None and self._in_flight[0] == result.frame_sequence:
            self._in_flight = None
        if self._goal is not None and result.goal_id == self._goal[0]:
            self._output = PolicyOutput(
                step=result.step,
                goal_id=result.goal_id,
                frame_sequence=result.frame_sequence,
                frame_time_s=result.frame_time_s,
                received_s=self._clock(),
            )

    def _take_error(self, error: records.WorkerError) -> None:
        if not self._hear(error.pid):
            return
        if error.fatal:
            self._last_error = error.text
            return
        if self._in_flight is not None and self._in_flight[0] == error.frame_sequence:
            self._in_flight = None
            self.frames_lost += 1
        if error.unknown_goal:
            self._goal_sent = False
        elif self._ready:
            self._detail = error.text
