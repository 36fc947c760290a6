"""A claim of arrival: the robot stands at once, and the goal is reached only when the policy keeps to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from vla_bt.app.drive import LockstepRun
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.scenes import make_scene
from vla_bt.words import ZERO

SETTINGS = TreeSettings()


@pytest.fixture
def run() -> Iterator[LockstepRun]:
    made = LockstepRun(make_scene("1box_vert_left"), "expert", SETTINGS, GateSettings())
    made.robot.set_mode("vla")
    made.robot.give_goal("go around the box on the left to the cup")
    for _ in range(40):
        made.step()
    assert made.robot.gate.state.applied.speed > 0.2
    yield made
    made.close()


def claim(run: LockstepRun, answers: int) -> None:
    """Let the policy's next so many answers claim arrival; the ones after it don't."""
    poll, seen = run.client.poll, []

    def claiming() -> object:
        output = poll()
        if output is None:
            return None
        if output.frame_sequence not in seen:
            seen.append(output.frame_sequence)
        return replace(output, step=replace(output.step, stop_probability=1.0 if len(seen) <= answers else 0.0))

    run.client.poll = claiming  # type: ignore[method-assign,assignment]


def words_of(run: LockstepRun, ticks: int) -> list[str]:
    found = []
    for _ in range(ticks):
        run.step()
        found.append(run.loop.words)
    return found


def state_of(run: LockstepRun) -> str:
    return str(json.loads(run.robot.goal_lines[-1])["state"])


def test_a_claim_that_is_not_kept_to_makes_the_robot_hesitate_and_go_on(run: LockstepRun) -> None:
    claim(run, SETTINGS.stop_answers - 1)
    words = words_of(run, 30)
    assert any("says it has arrived (1)" in said for said in words)
    assert state_of(run) == "active"
    assert run.robot.gate.state.applied.speed > 0.2


def test_a_claim_that_is_kept_to_ends_the_goal_and_the_robot_stands(run: LockstepRun) -> None:
    claim(run, 1000)
    slowing = []
    for _ in range(30):
        run.step()
        slowing.append(run.robot.gate.state.applied.speed)
    assert run.robot.gate.state.applied == ZERO
    assert min(slowing) == 0.0
    assert state_of(run) == "reached"
