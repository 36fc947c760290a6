"""The same jobs over the real processes: simulator, camera bridge, gate, tree and policy worker, on the wall clock.

Promises: a job is judged by the same rules as in lockstep, from the truth that the simulator writes; what a job asks for that the
real processes can't do is refused before anything starts; the processes end with zero velocity and leave nothing behind.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from vla_bt.app.drive import CLOSED, SETTLE_S
from vla_bt.app.lockstep import plain
from vla_bt.app.processes import ProcessGroup
from vla_bt.eval.job import USUAL_LATENCY_S, Job
from vla_bt.eval.judge import Claim, GoalLog, Tick, judge, outcome_of
from vla_bt.eval.run import TRACE_TICKS, UNTRAINED
from vla_bt.eval.script import Event
from vla_bt.ros.demo_operator import DemoOperator
from vla_bt.settings import SettingsError
from vla_bt.sim.scenes import HOUSE
from vla_bt.sim.truth import Truth, TruthReader
from vla_bt.words import Source, Twist

RUNS = 30
PERIOD_S = 0.05
READY_S = 60.0
CAMERA = {"camera_width": 320, "camera_height": 180}
"""The simulated camera of these runs [px]: a picture of 720 lines drawn without a graphics card takes a core for itself."""

_POSSIBLE = ("mode", "goal", "teleop", "emergency_stop")


class RealError(RuntimeError):
    """The processes can't go on; the message is one line."""


def check_possible(job: Job) -> None:
    """Refuse a job that needs more than the processes can do.

    Raises
    ------
    SettingsError
        With one line.
    """
    strange = [event.do for event in job.events if event.do not in _POSSIBLE]
    if job.ranges:
        strange.append(f"ranges of {job.ranges[0][0]}")
    for name in ("boxes", "start", "camera"):
        if getattr(job, name):
            strange.append(name)
    if job.policy_latency_s != USUAL_LATENCY_S:
        strange.append("policy_latency_s")
    if job.surfaces != HOUSE:
        strange.append("surfaces")
    if not job.cup:
        strange.append("a room without a cup")
    if strange:
        raise SettingsError(f"scenario {job.scenario} can't run over the real processes: {strange[0]} works in lockstep only")


def spread(jobs: list[Job], count: int = RUNS) -> list[Job]:
    """Take ``count`` jobs evenly from all of them."""
    count = min(count, len(jobs))
    return [jobs[index * len(jobs) // count] for index in range(count)]


class RealRuns:
    """One policy's runs, one after the other: the simulator starts anew for each, the rest stays.

    Parameters
    ----------
    group : ProcessGroup
        Its processes.
    operator : DemoOperator
        Its person.
    policy : str
    interrupted : Event
        Set when a person ends it.
    """

    def __init__(self, group: ProcessGroup, operator: DemoOperator, policy: str, interrupted: threading.Event) -> None:
        self._group, self._operator, self._interrupted = group, operator, interrupted
        self._truth = TruthReader(group.directory / "truth.mmap", time.monotonic)
        self._last_goal = 0
        group.start("gate")
        group.start("bridge")
        name = UNTRAINED if policy == "untrained" else policy
        group.start("tree", ["--ros-args", "-p", f"policy:={name}", "-p", f"runs_directory:={group.logs}"])

    def _wait(self, until: Callable[[], bool], what: str, seconds: float = READY_S) -> None:
        end_s = time.monotonic() + seconds
        while not until():
            if self._interrupted.is_set():
                raise KeyboardInterrupt
            for name, words in self._group.dead().items():
                raise RealError(f"the {name} process ended by itself: {words} (log: {self._group.logs / name}.log)")
            if time.monotonic() > end_s:
                raise RealError(f"{what} after {seconds:.0f} s (logs: {self._group.logs})")
            time.sleep(PERIOD_S / 2)

    def _begin(self, job: Job) -> Truth:
        """Start the simulator in the job's scene, and wait until robot, camera and policy are there."""
        operator = self._operator
        operator.set_mode("manual")
        scene = {name: getattr(job, name) for name in ("scene", "distance", "position", "pattern", "seed")}
        arguments = ["--ros-args"]
        for name, value in (scene | CAMERA).items():
            arguments += ["-p", f"{name}:={value}"]
        self._group.end("sim")
        self._wait(lambda: self._truth() is None, "the old simulator's truth is still there")
        self._group.start("sim", arguments)
        self._wait(lambda: self._truth() is not None, "the simulator does not write its truth")
        self._wait(lambda: operator.has_gate() and operator.has_tree(), "no gate or no tree")
        self._wait(lambda: operator.snapshot.get("policy", {}).get("state") == "ready", "the policy is not ready")
        self._wait(self._sees, "the tree has no fresh camera picture")
        self._last_goal = max(self._last_goal, int(operator.goal.get("id", 0)))
        truth = self._truth()
        if truth is None:
            raise RealError("the simulator's truth is gone")
        return truth

    def _sees(self) -> bool:
        """Tell whether the tree names no cause that would hold the policy."""
        nodes = {node[1]: node[3] for node in self._operator.snapshot.get("nodes", [])}
        return "all well" in nodes.get("Name causes", "") or "free to drive" in nodes.get("Protective stop", "")

    def run(self, job: Job) -> dict[str, Any]:
        """Run one job.

        Returns
        -------
        dict
            As :func:`vla_bt.eval.run.run_job` does; ``result`` is not reproducible here.
        """
        began_s = time.monotonic()
        truth = self._begin(job)
        operator, log = self._operator, GoalLog()
        ticks: list[Tick] = []
        waiting, under_way = list(job.events), list[Event]()
        zero_s = time.monotonic()
        ready_s = zero_s - began_s
        contact = ""
        while not self._interrupted.is_set():
            now_s = time.monotonic() - zero_s
            while waiting and waiting[0].at_s <= now_s:
                event = waiting.pop(0)
                self._do(event, log, len(ticks))
                under_way += [event] * (event.for_s < math.inf)
            for event in [event for event in under_way if event.at_s + event.for_s <= now_s]:
                under_way.remove(event)
                if event.do == "emergency_stop":
                    operator.press_stop(False)
                    operator.call("reset_stop")
            pressed = [event for event in under_way if event.do == "teleop"]
            if pressed and isinstance(pressed[-1].value, tuple):
                operator.drive(Twist(*pressed[-1].value))
            dead = self._group.dead()
            if dead:
                name, words = next(iter(dead.items()))
                raise RealError(f"the {name} process ended by itself: {words}")
            truth = self._truth() or truth
            if truth.touched and not contact:
                contact = f"something at {now_s:.2f} s"
            source = Source[operator.snapshot.get("source", "idle").upper()]
            ticks.append(Tick(now_s, truth.x, truth.y, truth.yaw, truth.twist, source, bool(pressed)))
            line = dict(operator.goal)
            if int(line.get("id", 0)) > self._last_goal:
                for step, evidence in log.enter(line, ticks[-1]):
                    log.claims.append(Claim.judged(int(line["id"]), step, evidence, truth, ticks[-1], log, job))
            closed = bool(log.states) and all(state in CLOSED for state in log.states.values())
            if now_s >= job.time_limit_s:
                break
            if closed and not waiting and not under_way and now_s - max(log.closed_s, job.last_event_s) >= SETTLE_S:
                break
            time.sleep(max(0.0, zero_s + now_s + PERIOD_S - time.monotonic()))
        else:
            raise KeyboardInterrupt
        policy = operator.snapshot.get("policy", {})
        counters = {"policy": {"name": policy.get("name"), "label": policy.get("label"), "weights_hash": ""}}
        result = plain(judge(job, job.make_scene(), ticks, log, truth, contact, counters))
        ok, failure = outcome_of(job, result)
        trace = [tick.line() for tick in ticks[::TRACE_TICKS]]
        timing = {"wall_s": time.monotonic() - began_s, "ready_s": ready_s}
        return {"job": job.to_dict(), "ok": ok, "failure": failure, "result": result, "trace": trace, "timing": plain(timing)}

    def _do(self, event: Event, log: GoalLog, tick: int) -> None:
        match event.do, event.value:
            case "mode", str(mode):
                self._operator.set_mode(mode)
                time.sleep(2 * PERIOD_S)  # modes and goals are topics of their own: neither waits for the other
            case "goal", str(text):
                self._operator.give_goal(text)
                log.told_at.append(tick)
            case "emergency_stop", _:
                self._operator.press_stop(True)


def in_words(pairs: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Write lockstep and real outcomes of the same jobs side by side, with the difference in success."""
    lines = [f"  {'':58s}{'lockstep':>24s}{'real processes':>24s}"]
    for pair in pairs:
        job = pair[0]["job"]
        place = f"{job['scene']} {job['distance']} {job['position']} {job['pattern']} seed {job['seed']}"
        cells = "".join(f"{_one(outcome):>24s}" for outcome in pair)
        lines.append(f"  {place:58s}{cells}")
    shares = [sum(pair[index]["ok"] for pair in pairs) / len(pairs) for index in (0, 1)]
    lines.append(f"  {'successes':58s}" + "".join(f"{share:>24.1%}" for share in shares))
    lines.append(f"  difference: {100 * (shares[1] - shares[0]):+.1f} points over {len(pairs)} runs")
    return "\n".join(lines)


def _one(outcome: dict[str, Any]) -> str:
    time_s = outcome["result"]["time_s"] if outcome["result"] else 0.0
    return f"{'ok' if outcome['ok'] else outcome['failure']} {time_s:.1f} s"
