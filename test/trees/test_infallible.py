"""Whatever the world says, no branch fails and one finite request leaves after each tick; planted faults are caught."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from py_trees.blackboard import Blackboard
from py_trees.common import Status
from py_trees.composites import Composite
from py_trees.trees import BehaviourTree

from vla_bt.app.loop import TickLoop
from vla_bt.behaviours.leaf import Leaf
from vla_bt.control.causes import load_causes
from vla_bt.memory.monitor import MemoryMonitor
from vla_bt.policy.port import Grade, PolicyInfo, PolicyOutput, PolicyStatus, PolicyStep
from vla_bt.port import Battery, Contact, FrameInfo, GateStatus, Odometry, Operator, Request, Scan, Snapshot, TeleopInput
from vla_bt.proposal import Proposal
from vla_bt.resources import Resources, RobotView
from vla_bt.settings import TreeSettings
from vla_bt.trees.root import create_root
from vla_bt.words import ZERO, Mode, Source, Twist


class ScriptedRobot:
    """A robot port whose snapshot is what the test says."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self.next = Snapshot(0.0)
        self.sent: list[Request] = []

    def now(self) -> float:
        return self.time_s

    def snapshot(self) -> Snapshot:
        return self.next

    def copy_frame(self, sequence: int) -> NDArray[np.uint8] | None:
        return None

    def send(self, request: Request) -> None:
        self.sent.append(request)

    def publish_mode(self, mode: Mode, text: str) -> None: ...

    def publish_goal_status(self, text: str) -> None: ...

    def publish_action(self, twist: Twist) -> None: ...


class ScriptedPolicy:
    """A policy client that says what the test says."""

    def __init__(self) -> None:
        self.output: PolicyOutput | None = None
        self.state = "ready"
        self.goal_id = 0

    def set_goal(self, goal_id: int, goal: str) -> None:
        self.goal_id = goal_id

    def hand_frame(self, frame_sequence: int, frame_time_s: float, measured: Twist) -> bool:
        return True

    def poll(self) -> PolicyOutput | None:
        return self.output

    def set_grade(self, grade: Grade) -> None: ...

    def clear_caches(self) -> None: ...

    def forgive(self) -> None: ...

    def status(self) -> PolicyStatus:
        return PolicyStatus(self.state, "", PolicyInfo("test", "test", 8, 8), 0, 0, 0, 0.0)


class World:
    """The tree in a scripted world."""

    def __init__(self) -> None:
        self.robot, self.policy = ScriptedRobot(), ScriptedPolicy()
        tree_settings = TreeSettings()
        self.resources = Resources(
            tree_settings, RobotView(self.robot), self.policy, None, MemoryMonitor(tree_settings), load_causes()
        )
        Blackboard.clear()
        self.root = create_root()
        tree = BehaviourTree(self.root)
        tree.setup(resources=self.resources)
        self.loop = TickLoop(tree, self.robot, self.resources)

    def tick(self) -> Request:
        self.robot.time_s += 0.05
        return self.loop.tick()

    def statuses(self) -> list[Status]:
        return [child.status for child in self.root.children]


NUMBERS = st.one_of(st.floats(-3.0, 3.0), st.sampled_from([math.nan, math.inf, -math.inf, 1e300]))
AGES = st.sampled_from([0.0, 0.01, 0.3, 10.0, -1.0])
TWISTS = st.builds(Twist, NUMBERS, NUMBERS, NUMBERS)


@st.composite
def snapshots(draw: st.DrawFn, now_s: float = 0.0) -> dict[str, Any]:
    """Any snapshot at all; times are ages, made absolute by the test."""
    maybe = st.booleans()
    return {
        "frame": FrameInfo(draw(st.integers(1, 5)), draw(NUMBERS), draw(AGES), 8, 8, draw(st.integers(0, 2)))
        if draw(maybe)
        else None,
        "odometry": Odometry(draw(NUMBERS), draw(NUMBERS), draw(NUMBERS), draw(TWISTS), draw(AGES)) if draw(maybe) else None,
        "scan": Scan(np.array(draw(st.lists(NUMBERS, max_size=4)), np.float32), -1.0, 0.5, draw(AGES)) if draw(maybe) else None,
        "battery": Battery(draw(NUMBERS), draw(AGES)) if draw(maybe) else None,
        "contact": Contact(1.0, 0.0, draw(AGES)) if draw(maybe) else None,
        "gate": GateStatus(draw(maybe), draw(st.sampled_from(["", "bad"])), draw(TWISTS), Source.IDLE, draw(AGES))
        if draw(maybe)
        else None,
        "operator": Operator(
            TeleopInput(draw(TWISTS), draw(AGES)) if draw(maybe) else None,
            tuple(draw(st.lists(st.sampled_from(["vla", "hybrid", "manual", "warp", ""]), max_size=2))),
            tuple(draw(st.lists(st.sampled_from(["go to the cup", "go forward 1 m", "stop", "asdf", ""]), max_size=2))),
            tuple(draw(st.lists(maybe, max_size=1))),
        ),
    }


def aged(parts: dict[str, Any], now_s: float) -> Snapshot:
    from dataclasses import replace

    made: dict[str, Any] = {}
    for name, part in parts.items():
        if name == "operator":
            teleop = part.teleop
            made[name] = replace(part, teleop=replace(teleop, received_s=now_s - teleop.received_s)) if teleop else part
        else:
            made[name] = replace(part, received_s=now_s - part.received_s) if part is not None else None
    return Snapshot(now_s, **made)


@st.composite
def outputs(draw: st.DrawFn) -> PolicyOutput | None:
    if draw(st.booleans()):
        return None
    actions = np.array(draw(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=3)), np.float32)
    return PolicyOutput(
        PolicyStep(actions, 0.1, draw(NUMBERS)), draw(st.sampled_from([0, 16, 17])), 1, draw(st.floats(0, 1)), 0.5
    )


@given(st.lists(st.tuples(snapshots(), outputs(), st.sampled_from(["ready", "dead", "starting"])), min_size=1, max_size=6))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_no_input_makes_a_branch_fail(rows: list[tuple[dict[str, Any], PolicyOutput | None, str]]) -> None:
    world = World()
    for parts, output, state in rows:
        world.robot.next = aged(parts, world.robot.time_s + 0.05)
        world.policy.output, world.policy.state = output, state
        before = len(world.robot.sent)
        request = world.tick()
        assert world.statuses() == [Status.SUCCESS, Status.SUCCESS, Status.SUCCESS, Status.RUNNING]
        assert world.robot.sent[before:] == [request]
        assert request.twist.is_finite()
        assert world.root.status is Status.RUNNING


def test_with_no_input_at_all_the_robot_is_held() -> None:
    world = World()
    request = world.tick()
    assert (request.twist, request.source) == (ZERO, Source.SAFETY)
    assert "the gate is silent" in world.loop.words


class SecondVoice(Leaf):
    """A planted leaf that proposes beside the one that won."""

    WRITES = ("proposal_policy",)

    def update(self) -> Status:
        """Propose to move."""
        self.write("proposal_policy", Proposal(Twist(0.5, 0.0, 0.0), Source.POLICY, "planted"))
        return Status.SUCCESS


class Sender(Leaf):
    """A planted leaf that tries to send by itself."""

    def update(self) -> Status:
        """Send."""
        self.resources.robot.send(Request(Twist(0.5, 0.0, 0.0), Source.POLICY))  # type: ignore[attr-defined]
        return Status.SUCCESS


def plant(world: World, leaf: Leaf) -> None:
    """Put a leaf into the record branch's place of honour, after the contract was checked."""
    record = world.root.children[2]
    assert isinstance(record, Composite)
    record.prepend_child(leaf)
    leaf.setup(resources=world.resources)


def test_a_second_proposal_stops_the_robot() -> None:
    world = World()
    plant(world, SecondVoice("Second voice"))
    request = world.tick()
    assert (request.twist, request.source) == (ZERO, Source.SAFETY)
    assert "2 proposals in one tick" in world.loop.words


def test_a_leaf_that_sends_is_caught() -> None:
    from vla_bt.app.loop import TickError

    world = World()
    plant(world, Sender("Sender"))
    with pytest.raises(TickError, match="no attribute 'send'"):
        world.tick()
    assert [request.twist for request in world.robot.sent] == [ZERO]


class Failing(Leaf):
    """A planted leaf that fails where nothing may fail."""

    def update(self) -> Status:
        """Fail."""
        return Status.FAILURE


def test_a_branch_that_fails_is_caught() -> None:
    from vla_bt.app.loop import TickError

    world = World()
    sense = world.root.children[0]
    assert isinstance(sense, Composite)
    leaf = Failing("Failing")
    sense.add_child(leaf)
    leaf.setup(resources=world.resources)
    with pytest.raises(TickError, match="Sense failed"):
        world.tick()
    assert world.robot.sent[-1].twist == ZERO
