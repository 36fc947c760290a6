"""Replay: a recorded run as the source of the same tree, its decisions beside those that were recorded.

Promises: the tree is the robot's own; it gets each recorded picture at the time it arrived and decides again at the tick that
decided then. What people and the goals' ledger had settled (mode, goal, a person's velocity) is taken from the record; what is
compared is the velocity and who it came from. Nothing moves: there is no gate. Deterministic.

What a record can't tell: scan, battery and contacts, so a stop for those shows as a difference; and what happened between two
recorded frames, so a policy with a memory decides alike only if every frame it saw was recorded (``frame_period_s`` as short as
the camera's).
"""

from __future__ import annotations

import math
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bt.app.assemble import assemble
from vla_bt.app.lockstep import plain
from vla_bt.camera.lens import UNKNOWN, Picture, framed
from vla_bt.control.causes import load_causes
from vla_bt.episodes.format import Episode
from vla_bt.episodes.moments import Moment, moments_of
from vla_bt.episodes.recipes import digest_of
from vla_bt.episodes.schema import is_changed
from vla_bt.memory.monitor import MemoryMonitor
from vla_bt.policy.config import preset_names
from vla_bt.policy.factory import make_policy
from vla_bt.policy.inline import InlineClient
from vla_bt.policy.names import shipped
from vla_bt.policy.port import Policy, PolicyInfo, PolicyStep
from vla_bt.port import FrameInfo, GateStatus, Odometry, Operator, Request, Snapshot, TeleopInput
from vla_bt.resources import Resources, RobotView
from vla_bt.settings import SettingsError, TreeSettings
from vla_bt.sim.scenes import ROBOT_RADIUS_M, Scene, make_scene
from vla_bt.sim.truth import BoxTruth, Truth
from vla_bt.words import ZERO, Mode, Source, Twist

RECORDED = "recorded"
"""The policy that answers what was recorded: then the tree alone is tested."""

SAME = 1e-6
"""Velocities that differ by no more are the same: files hold them in single precision [m/s, rad/s]."""


LONGEST_ANSWER_S = 10.0
"""A policy's answer counts for so long, the most the setting allows [s]."""


class ReplayRobot:
    """The ``Robot`` port over recorded decisions, one after the other.

    Parameters
    ----------
    moments : sequence of Moment
    settings : TreeSettings
        ``required_inputs`` says what this robot has; a record tells camera and odometry at most.
    """

    def __init__(self, moments: Sequence[Moment], settings: TreeSettings) -> None:
        self._moments = {moment.sequence: moment for moment in moments}
        self._settings = settings
        self._now_s = 0.0
        self._moment = moments[0]
        self._applied = ZERO
        self._deciding = False
        self._teleop: TeleopInput | None = None
        self._mode = Mode(settings.initial_mode)
        self._goal = ""
        self._requests: tuple[list[str], list[str]] = ([], [])
        self.sent: Request | None = None

    def show(self, moment: Moment) -> None:
        """Go to a recorded decision: mode and goal become what they were then."""
        self._applied = self._moment.applied if moment is not self._moment else ZERO
        self._moment = moment
        modes, goals = self._requests
        if moment.goal != self._goal and self._goal and not moment.goal:
            modes.append(Mode.MANUAL.value)  # whatever closed the goal then: this closes it now
            self._mode = Mode.MANUAL
        if moment.mode is not self._mode:
            modes.append(moment.mode.value)
            self._mode = moment.mode
        if moment.goal != self._goal and moment.goal:
            goals.append(moment.goal)
        self._goal = moment.goal

    def at(self, now_s: float, deciding: bool) -> None:
        """Set the time; ``deciding`` in the tick that decided."""
        self._now_s, self._deciding = now_s, deciding

    @property
    def moment(self) -> Moment:
        """The decision that is being replayed."""
        return self._moment

    # ------------------------------------------------------------------ the port

    def now(self) -> float:
        """Recorded seconds."""
        return self._now_s

    def snapshot(self) -> Snapshot:
        """Return what was known, as far as the record tells."""
        moment, now_s, has = self._moment, self._now_s, self._settings.required_inputs
        modes, goals = (tuple(requests) for requests in self._requests)
        self._requests = ([], [])
        if moment.source in (Source.TELEOP, Source.TAKEOVER) and moment.commanded is not None:
            self._teleop = TeleopInput(moment.commanded, now_s)  # else the last one stays, and is too old
        height, width = moment.image.shape[:2]
        signature = zlib.crc32(np.ascontiguousarray(moment.image[::16, ::16]))
        odometry = moment.odometry if self._deciding else moment.seen_odometry
        # The camera went on then; the pictures between are not recorded, so this one stays fresh for as long as it is the newest.
        receipt_s = max(moment.receipt_s, now_s - 0.5 * self._settings.camera_timeout_s)
        return Snapshot(
            now_s=now_s,
            frame=FrameInfo(moment.sequence, moment.exposure_s, receipt_s, width, height, signature),
            odometry=replace(odometry, received_s=now_s) if odometry is not None and "odometry" in has else None,
            gate=GateStatus(False, "", self._applied, moment.source, now_s),
            operator=Operator(self._teleop, modes, goals, ()),
        )

    def copy_frame(self, sequence: int) -> NDArray[np.uint8] | None:
        """Return a recorded picture."""
        moment = self._moments.get(sequence)
        return moment.image.copy() if moment is not None else None

    def policy_frame(self, sequence: int, picture: Picture) -> NDArray[np.uint8] | None:
        """Return a recorded picture as a policy wants to see it, made as the policy worker makes it; its camera isn't known."""
        moment = self._moments.get(sequence)
        return None if moment is None else framed(moment.image, UNKNOWN, picture)

    def send(self, request: Request) -> None:
        """Keep the decision."""
        self.sent = request

    def publish_mode(self, mode: Mode, text: str) -> None:
        """Nobody listens."""

    def publish_goal_status(self, text: str) -> None:
        """Nobody listens."""

    def publish_action(self, twist: Twist) -> None:
        """Nobody listens."""


class RecordedPolicy:
    """Answers each picture with what was commanded on it."""

    info = PolicyInfo(RECORDED, "the record itself", 16, 16, needs_frame=False)

    def __init__(self, robot: ReplayRobot) -> None:
        self._robot = robot

    def reset(self, goal: str) -> None:
        """Nothing to forget."""

    def step(self, frame: NDArray[np.uint8] | None, time_s: float, measured: Twist) -> PolicyStep:
        """Return the recorded command, good for as long as it takes."""
        moment = self._robot.moment
        commanded = moment.commanded if moment.source is Source.POLICY else None
        return PolicyStep(np.array([commanded or ZERO], np.float32), LONGEST_ANSWER_S, 0.0)


@dataclass(frozen=True)
class Comparison:
    """One decision, then and now."""

    moment: Moment
    request: Request
    words: str

    @property
    def difference(self) -> float:
        """Largest difference of a velocity's components [m/s, rad/s]; NaN where the record doesn't tell."""
        then = self.moment.commanded
        return math.nan if then is None else max(abs(a - b) for a, b in zip(then, self.request.twist, strict=True))

    @property
    def is_same(self) -> bool:
        """The same velocity from the same source."""
        return self.request.source is self.moment.source and not self.difference > SAME


def replay(episodes: list[Episode], policy: str, settings: TreeSettings) -> tuple[dict[str, Any], list[Comparison]]:
    """Replay linked episodes through the tree.

    Parameters
    ----------
    policy : str
        :data:`RECORDED`, or a name that :func:`vla_bt.policy.factory.make_policy` knows; ``expert`` needs simulated episodes.

    Returns
    -------
    dict, list of Comparison
        ``result`` (reproducible) and ``timing`` (not); every decision. ``result`` also tells which ``episodes`` were changed
        after they were recorded, and how many velocities were fed from the record instead of recomputed.

    Raises
    ------
    EpisodeError
        When the episodes don't tell what decisions were made on.
    SettingsError
        When there is no such policy, or it can't be replayed on these.
    """
    began = time.perf_counter()
    moments = moments_of(episodes)
    inputs = ["camera"] + (["odometry"] if all(moment.odometry is not None for moment in moments) else [])
    settings = replace(
        settings,
        required_inputs=inputs,
        initial_mode=Mode.MANUAL.value,
        policy_output_timeout_s=LONGEST_ANSWER_S,  # when an answer came is not recorded; it was fresh when it was followed
    )
    robot = ReplayRobot(moments, settings)
    client = InlineClient(_policy(policy, robot, episodes), robot.policy_frame, robot.now)
    memory = MemoryMonitor(settings)
    memory.sample()
    resources = Resources(settings, RobotView(robot), client, None, memory, load_causes())
    loop = assemble(robot, resources)
    decisions = []
    try:
        for moment in moments:
            robot.show(moment)
            for at_s in ticks_of(moment, settings.tick_period_s):
                robot.at(at_s, at_s == moment.decided_s)
                request = loop.tick()
            decisions.append(Comparison(moment, request, loop.words))
    finally:
        loop.shutdown()
        client.close()
    wall_s = time.perf_counter() - began
    result = _report(decisions, client, policy)
    result["changed"] = [number for number, one in enumerate(episodes) if is_changed(one.attributes, one.columns)]
    result["fed_from_record"] = _fed(moments, policy)
    result["recompute_with"] = policy_behind(episodes) if result["fed_from_record"] else ""
    return {"result": result, "timing": {"wall_s": round(wall_s, 3)}}, decisions


def _fed(moments: Sequence[Moment], policy: str) -> int:
    """Return how many velocities were a policy's then and are handed back now: compared is only what the tree made of them."""
    return sum(moment.source is Source.POLICY and moment.commanded is not None for moment in moments) if policy == RECORDED else 0


def policy_behind(episodes: Sequence[Episode]) -> str:
    """Return the name of the policy that commanded these, where it is here and the file tells it by its weights; else empty.

    A simulated drive without weights was the expert's.
    """
    hashes = {
        str(told)
        for episode in episodes
        for told, source in zip(episode.columns.get("weights_hash", ()), episode.columns["source"], strict=False)
        if source == Source.POLICY
    }
    told = episodes[0].attributes
    if hashes == {""}:
        return "expert" if told.get("origin") == "simulated" and int(told.get("seed", -1)) >= 0 else ""
    for name in preset_names():
        weights = (shipped(name) or Path()) / "model.safetensors"
        if weights.is_file() and {digest_of(weights)} == hashes:
            return name
    return ""


def ticks_of(moment: Moment, period_s: float) -> list[float]:
    """Return when the tree ticks for a decision: when the picture arrived, every period up to the decision, and then [s].

    At least once before the decision: a policy's answer is taken in the tick after the one that asked.
    """
    count = max(1, round((moment.decided_s - moment.receipt_s) / period_s))
    first_s = min(moment.receipt_s, moment.decided_s - period_s)
    times = [max(first_s, moment.decided_s - index * period_s) for index in range(count, 0, -1)]
    return [first_s, *(at_s for at_s in times if at_s > first_s + 1e-9), moment.decided_s]


def _policy(name: str, robot: ReplayRobot, episodes: list[Episode]) -> Policy:
    if name == RECORDED:
        return RecordedPolicy(robot)
    if name != "expert":
        return make_policy(name)
    told = episodes[0].attributes
    if told.get("origin") != "simulated" or int(told.get("seed", -1)) < 0:
        raise SettingsError(
            f"{episodes[0].path}: policy expert drives by simulator truth, and this was not recorded in the simulator"
        )
    try:
        kind, distance, position, pattern = (str(told.get(word, "")) for word in ("scenario", "distance", "position", "pattern"))
        scene = make_scene(kind, distance, position, pattern, int(told["seed"]))
    except ValueError as error:
        raise SettingsError(f"{episodes[0].path}: {error}") from None

    def truth() -> Truth | None:
        odometry = robot.moment.seen_odometry
        return truth_of(scene, odometry) if odometry is not None else None

    return make_policy(name, truth)


def truth_of(scene: Scene, odometry: Odometry) -> Truth:
    """Return what the simulator knew when the robot had come this far from its start."""
    start = scene.start
    cos, sin = math.cos(start.yaw), math.sin(start.yaw)
    room = scene.room
    return Truth(
        time_s=odometry.received_s,
        x=start.x + cos * odometry.x - sin * odometry.y,
        y=start.y + sin * odometry.x + cos * odometry.y,
        yaw=math.remainder(start.yaw + odometry.yaw, 2 * math.pi),
        twist=odometry.twist,
        robot_radius=ROBOT_RADIUS_M,
        cup_x=scene.cup.x,
        cup_y=scene.cup.y,
        boxes=tuple(BoxTruth(box.x, box.y, box.half_x, box.half_y, box.yaw) for box in scene.boxes),
        room=(room.x_min, room.x_max, room.y_min, room.y_max),
        side=scene.side,
        touching=False,
        touched=False,
        scene=scene.name,
    )


def _report(decisions: list[Comparison], client: InlineClient, policy: str) -> dict[str, Any]:
    info = client.status().info
    told = [one.difference for one in decisions if not math.isnan(one.difference)]
    start_s = decisions[0].moment.decided_s
    return {
        "policy": policy,
        "weights_hash": info.weights_hash if info is not None else "",
        "decisions": len(decisions),
        "identical": sum(one.is_same for one in decisions),
        "velocity_not_told": sum(math.isnan(one.difference) for one in decisions),
        "largest_difference": plain(max(told, default=0.0)),
        "mean_difference": plain(sum(told) / len(told) if told else 0.0),
        "sources": {
            "recorded": dict(Counter(one.moment.source.name.lower() for one in decisions)),
            "replayed": dict(Counter(one.request.source.name.lower() for one in decisions)),
        },
        "differences": [
            {
                "episode": one.moment.episode,
                "frame": one.moment.frame,
                "time_s": plain(one.moment.decided_s - start_s),
                "recorded": {"source": one.moment.source.name.lower(), "velocity": one.moment.commanded},
                "replayed": {
                    "source": one.request.source.name.lower(),
                    "velocity": [plain(float(value)) for value in one.request.twist],
                    "words": one.words,
                },
                "difference": None if math.isnan(one.difference) else plain(one.difference),
            }
            for one in decisions
            if not one.is_same
        ],
    }
