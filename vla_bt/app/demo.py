"""The demo: the whole application as processes over ROS 2, driven through the topics a person would use, checked at each step.

Promises: nothing is simulated but the robot and its room; every check can fail, and the exit code is 0 only if all held; whatever
happens, Ctrl-C included, the processes end with zero velocity and leave no shared memory behind.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_bt.app.demo_view import DemoView
from vla_bt.app.path_picture import PathPoint, draw_path
from vla_bt.app.processes import ProcessGroup, left_behind
from vla_bt.camera.ring import FrameRingReader
from vla_bt.policy.names import DEFAULT
from vla_bt.ros.demo_operator import TELEOP_PERIOD_S, DemoOperator
from vla_bt.sim.check import GOAL_RADIUS_M
from vla_bt.sim.scenes import make_scene
from vla_bt.sim.truth import Truth, TruthReader
from vla_bt.sim.world import SimWorld
from vla_bt.words import ZERO, Source, Twist

GOAL = "go around the box on the left to the cup"
SCENE = "1box_vert_left"
STOP_LIMIT_S = 0.3
LEAVING_S = 2.0  # a policy worker follows its tree, but need not have done so at once
TIGHT_LINEAR, TIGHT_ANGULAR = 0.10, 0.30
"""Speed limits on the untrained network [m/s, rad/s]."""


class DemoError(RuntimeError):
    """The demo can't go on; the message is one line."""


class Interrupted(Exception):  # noqa: N818 - not an error: a person ended the demo
    """SIGINT or SIGTERM."""


@dataclass
class Demo:
    """State of one demo run.

    Parameters
    ----------
    group : ProcessGroup
        Its processes.
    operator : DemoOperator
        Its person.
    view : DemoView
        Its screen.
    folder : Path
        ``runs/<time>``.
    seed : int
        Of the scene.
    interrupted : Event
        Set when a person ends the demo.
    """

    group: ProcessGroup
    operator: DemoOperator
    view: DemoView
    folder: Path
    seed: int
    interrupted: threading.Event
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    path: list[PathPoint] = field(default_factory=list)
    closest_m: float = math.inf
    _ring: FrameRingReader | None = None
    _truth: TruthReader | None = None
    _frames: list[tuple[float, int]] = field(default_factory=list)

    # ------------------------------------------------------------------ watching

    def watch(self, seconds: float, each: Callable[[], None] | None = None, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass while looking at everything; True when ``until`` came true in time (or there was none)."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            if self.interrupted.is_set():
                raise Interrupted
            dead = self.group.dead()
            if dead:
                name, words = next(iter(dead.items()))
                raise DemoError(f"the {name} process ended by itself: {words} (log: {self.group.logs / name}.log)")
            if each is not None:
                each()
            self._look()
            if until is not None and until():
                return True
            time.sleep(TELEOP_PERIOD_S)
        return until is None

    def truth(self) -> Truth | None:
        """Return the simulator's truth: the judge's, never the tree's."""
        if self._truth is None:
            self._truth = TruthReader(self.group.directory / "truth.mmap", time.monotonic)
        return self._truth()

    def _look(self) -> None:
        now_s = time.monotonic()
        truth = self.truth()
        if truth is not None:
            source = Source[self.operator.snapshot.get("source", "idle").upper()]
            self.path.append(PathPoint(truth.x, truth.y, truth.yaw, source))
            self.closest_m = min(self.closest_m, math.hypot(truth.cup_x - truth.x, truth.cup_y - truth.y))
        frame_words = "none yet"
        if self._ring is None and (self.group.directory / "camera.ring").exists():
            self._ring = FrameRingReader(self.group.directory / "camera.ring")
        frame = self._ring.latest() if self._ring is not None else None
        if frame is not None:
            self._frames.append((now_s, frame.sequence))
            frame_words = f"{self.camera_rate(3.0):.1f} Hz, {1e3 * (now_s - frame.received_s):.0f} ms old"
        self.view.update(self.operator.snapshot, self._figures(frame_words))

    def camera_rate(self, window_s: float) -> float:
        """Frames a second that reached the ring over the last ``window_s`` [Hz]."""
        if not self._frames:
            return 0.0
        last_s, last = self._frames[-1]
        first_s, first = next((entry for entry in self._frames if entry[0] >= last_s - window_s), self._frames[-1])
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0

    def _figures(self, frame_words: str) -> list[tuple[str, str]]:
        snapshot, goal, velocity = self.operator.snapshot, self.operator.goal, self.operator.velocity
        policy = snapshot.get("policy", {})
        label = policy.get("label", "")
        return [
            ("mode", snapshot.get("mode", "-")),
            ("who drives", f"{snapshot.get('source', '-')}: {snapshot.get('words', '')}"),
            ("goal", f"{goal.get('text', '-')} [{goal.get('state', '-')}]"),
            ("policy", f"{policy.get('name', '-')}, {policy.get('state', '-')}" + (f" - {label.upper()}" if label else "")),
            ("asked for", "{:+.2f} m/s  {:+.2f} m/s  {:+.2f} rad/s".format(*snapshot.get("velocity", ZERO))),
            ("cmd_vel", "{:+.2f} m/s  {:+.2f} m/s  {:+.2f} rad/s".format(*velocity)),
            ("cmd_vel rate", f"{self.operator.velocity_rate():.0f} Hz"),
            ("camera", frame_words),
            ("tick", "p50 {:.2f} ms, p99 {:.2f} ms".format(*snapshot.get("tick_ms", (0, 0)))),
            ("closest to cup", f"{self.closest_m:.2f} m" if self.closest_m < math.inf else "-"),
        ]

    def check(self, name: str, ok: bool, words: str) -> None:
        """Enter a check."""
        self.checks[name] = {"ok": bool(ok), "words": words}
        self.view.check(name, ok, words)

    # ------------------------------------------------------------------ phases

    def start(self) -> None:
        """Start sim, bridge, gate and tree, and wait until all of them are there."""
        self.view.begin("start: simulator, camera bridge, gate, tree, policy worker")
        self.group.start("gate")
        self.group.start("sim", ["--ros-args", "-p", f"scene:={SCENE}", "-p", f"seed:={self.seed}"])
        self.group.start("bridge")
        self._start_tree(DEFAULT)
        if not self.watch(30.0, until=lambda: self.camera_rate(1.0) > 0.0 and self.operator.has_gate()):
            raise DemoError(f"no camera frame or no gate after 30 s (logs: {self.group.logs})")
        self.watch(1.0)

    def _start_tree(self, policy: str, *parameters: str) -> None:
        arguments = ["--ros-args"]
        for parameter in (f"policy:={policy}", f"runs_directory:={self.folder}", *parameters):
            arguments += ["-p", parameter]
        self.operator.snapshot = {}
        self.group.start("tree", arguments)

        def ready() -> bool:
            mine = self.operator.snapshot.get("policy", {})
            return self.operator.has_tree() and mine.get("state") == "ready" and policy in mine.get("name", "")

        if not self.watch(60.0, until=ready):
            raise DemoError(f"the tree or its policy is not ready after 60 s: {self.operator.snapshot.get('policy')}")
        recording, words = self.operator.call("record", True)
        if not recording:
            raise DemoError(f"recording could not be started: {words}")

    def manual(self) -> None:
        """Drive by hand through the teleop topic, then fall silent."""
        self.view.begin("manual: a person drives through teleop/cmd_vel")
        before = self.truth()
        for twist in (Twist(0.25, 0.0, 0.0), Twist(0.0, 0.2, 0.0), Twist(0.0, -0.2, 0.3), Twist(-0.2, 0.0, -0.3)):
            self.watch(1.2, each=lambda twist=twist: self.operator.drive(twist))  # type: ignore[misc]
        silent_s = time.monotonic()
        stopped = self.watch(2.0, until=lambda: self.operator.zero_since_s() is not None)
        took_s = (self.operator.zero_since_s() or math.inf) - silent_s
        after = self.truth()
        moved = math.hypot(after.x - before.x, after.y - before.y) if before and after else 0.0
        self.check("driven by hand", moved > 0.05 and "teleop" in self.operator.sources, f"moved {moved:.2f} m")
        self.check("keys released -> zero", stopped, f"{1e3 * took_s:.0f} ms after the last key")
        self.figures["teleop_silence_to_zero_s"] = took_s

    def vla(self) -> None:
        """Let the policy drive to the cup."""
        self._back_to_start()
        policy = self.operator.snapshot.get("policy", {})
        name, label = policy.get("name", ""), policy.get("label", "")
        self.view.begin(f'vla: "{GOAL}" ({name}: {label})')
        self.check("drives by sight", name == DEFAULT and label.startswith("trained"), f"{name}: {label}")
        self.operator.set_mode("vla")
        self.operator.give_goal(GOAL)
        self._reach("vla")

    def _reach(self, name: str, each: Callable[[], None] | None = None) -> None:
        began_s = time.monotonic()
        self.watch(1.0, each, until=lambda: self.operator.goal.get("state") in ("accepted", "active"))
        self.watch(40.0, each, until=lambda: self.operator.goal.get("state") not in ("accepted", "active"))
        self.watch(0.5)
        truth, goal = self.truth(), self.operator.goal
        distance = math.hypot(truth.cup_x - truth.x, truth.cup_y - truth.y) if truth else math.inf
        reached = goal.get("state") == "reached" and distance <= GOAL_RADIUS_M and self.operator.zero_since_s() is not None
        words = f"{goal.get('state')} after {time.monotonic() - began_s:.1f} s, stands {distance:.2f} m from the cup"
        self.check(f"cup reached ({name})", reached, words)
        self.check(
            f"no contact ({name})", truth is not None and not truth.touched, "none" if truth and not truth.touched else "touched"
        )

    def hybrid(self) -> None:
        """A person takes over on the way and hands back."""
        self._back_to_start()
        self.view.begin("hybrid: the policy drives, a person takes over and hands back")
        self.operator.set_mode("hybrid")
        self.operator.give_goal(GOAL)
        self.operator.sources.clear()
        self.watch(3.0)
        drove = "policy" in self.operator.sources
        self.watch(1.5, each=lambda: self.operator.drive(Twist(0.0, 0.15, 0.2)))
        took_over = "takeover" in self.operator.sources
        self.operator.drive(ZERO)
        self.operator.sources.clear()
        back = self.watch(3.0, until=lambda: "policy" in self.operator.sources)
        self.check("takeover and hand-back", drove and took_over and back, "policy -> person -> policy")
        self._reach("hybrid")

    def untrained(self) -> None:
        """Let the real, untrained network propose for a while, under a tight speed limit, and stop it in an emergency."""
        self._back_to_start()
        self.view.begin(f"untrained network: hybrid ticks under a limit of {TIGHT_LINEAR:.2f} m/s")
        limits = (f"max_policy_linear:={TIGHT_LINEAR}", f"max_policy_angular:={TIGHT_ANGULAR}", "initial_mode:=vla")
        self._start_tree("hybrid", *limits)
        self.operator.fastest = 0.0
        self.operator.give_goal(GOAL)
        self.watch(8.0)
        policy = self.operator.snapshot.get("policy", {})
        steps, handed, lost = (policy.get(name, 0) for name in ("steps_taken", "frames_handed", "frames_lost"))
        matched = steps > 20 and handed - lost - steps in (0, 1)  # one may be under way
        self.check("one step for each frame", matched, f"{steps} steps for {handed} frames" + (f", {lost} lost" if lost else ""))
        self.check("says it is untrained", policy.get("label") == "untrained", f"{policy.get('name')}: {policy.get('label')}")
        fastest = self.operator.fastest
        self.check("tight limit held", fastest <= TIGHT_LINEAR + 1e-6, f"at most {fastest:.3f} m/s on cmd_vel")
        self.figures["policy_latency_ms"] = policy.get("latency_ms")

    def emergency_stop(self) -> None:
        """Drive by hand, press the emergency stop, measure, and reset."""
        self.view.begin("emergency stop while a person drives")
        self.operator.set_mode("manual")

        def keys() -> None:
            self.operator.drive(Twist(-0.15, 0.0, 0.2))

        moving = self.watch(5.0, keys, until=lambda: self.operator.velocity.linear_x < -0.1)
        pressed_s = self.operator.press_stop(True)
        stopped = self.watch(2.0, keys, until=lambda: (self.operator.zero_since_s() or 0.0) > pressed_s)
        took_s = (self.operator.zero_since_s() or math.inf) - pressed_s
        self.watch(1.0, keys)
        held = (self.operator.zero_since_s() or math.inf) <= pressed_s + STOP_LIMIT_S
        words = f"zero {1e3 * took_s:.1f} ms after it was pressed, held while keys were pressed"
        self.check("emergency stop", moving and stopped and held and took_s <= STOP_LIMIT_S, words)
        refused, _ = self.operator.call("reset_stop")
        self.operator.press_stop(False)
        self.watch(0.2)
        answered, message = self.operator.call("reset_stop")
        again = self.watch(3.0, keys, until=lambda: self.operator.velocity.linear_x < -0.1)
        self.check(
            "reset", answered and not refused and again, f"refused while pressed; then {message or 'done'}, and driven again"
        )
        self.figures["estop_to_zero_s"] = took_s
        self.watch(0.6)

    def _back_to_start(self) -> None:
        self.operator.set_mode("manual")
        self.watch(2.0, until=lambda: self.operator.zero_since_s() is not None)
        ok, words = self.operator.call("reset_sim")
        if not ok:
            raise DemoError(f"the simulator's reset failed: {words}")
        self.watch(0.5)

    # ------------------------------------------------------------------ afterwards

    def finish(self) -> None:
        """Note the figures that need the living processes."""
        snapshot = self.operator.snapshot
        self.figures["tick_ms"] = dict(zip(("p50", "p99"), snapshot.get("tick_ms", (None, None)), strict=True))
        self.figures["late_ms"] = dict(zip(("p50", "p99"), snapshot.get("late_ms", (None, None)), strict=True))
        self.figures["camera_rate_hz"] = self.camera_rate(60.0)
        self.figures["closest_m"] = self.closest_m
        self.check(
            "camera",
            self.figures["camera_rate_hz"] > 5.0,
            f"{self.figures['camera_rate_hz']:.1f} frames a second reached the ring",
        )

    def conclude(self, codes: dict[str, int | None]) -> None:
        """Check what the ended processes left: exit codes, the episode, no shared memory; draw the pictures."""
        from vla_bt.episodes.format import load
        from vla_bt.episodes.pictures import write_contact_sheet

        bad = {name: code for name, code in codes.items() if code != 0}
        self.check("processes ended by themselves", not bad, "all with exit code 0" if not bad else f"exit codes {bad}")
        self.check_nothing_left()
        episodes = sorted(path for path in self.folder.glob("episode_*.h5") if "partial" not in path.name)
        frames = sum(load(path).frames for path in self.folder.glob("episode_*.h5"))
        self.figures["frames_recorded"] = frames
        self.check("episode", bool(episodes), f"{len(episodes)} of 18 frames, {frames} frames in all")
        if episodes:
            write_contact_sheet(episodes[0], self.folder / "contact_sheet.png")
        world = SimWorld(make_scene(SCENE, seed=self.seed))
        try:
            draw_path(world, self.path, GOAL_RADIUS_M, self.folder / "path.png")
        finally:
            world.close()

    def check_nothing_left(self) -> None:
        """Check that neither files of the runtime directory nor processes that use it are left."""
        end_s = time.monotonic() + LEAVING_S
        left = left_behind(self.group.directory)
        while left and time.monotonic() < end_s:
            time.sleep(0.1)
            left = left_behind(self.group.directory)
        self.check("nothing left behind", not left, "; ".join(left) or "no ring, no socket, no process")

    def run(self) -> None:
        """All phases."""
        self.start()
        self.manual()
        self.vla()
        self.hybrid()
        self.untrained()
        self.emergency_stop()
        self.finish()

    def write_summary(self, error: str = "") -> bool:
        """Write ``summary.json``; returns whether everything held."""
        ok = not error and bool(self.checks) and all(check["ok"] for check in self.checks.values())
        summary = {
            "result": {"ok": ok, "error": error, "goal": GOAL, "scene": SCENE, "seed": self.seed, "checks": self.checks},
            "timing": self.figures,
        }
        text = json.dumps(summary, indent=2, default=str)
        (self.folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        return ok
