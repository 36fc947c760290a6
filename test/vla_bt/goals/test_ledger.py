"""What becomes of a goal is entered once, in an order the table allows, and told in one line each time."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt.goals.ledger import STEPS_PER_GOAL, TRANSITIONS, Evidence, GoalLedger, IllegalTransitionError, State
from vla_bt.goals.parser import MAX_STEPS

TWO_STEPS = "go forward 1 m, then turn right"


def told(ledger: GoalLedger) -> list[dict[str, object]]:
    lines = [event.to_json() for event in ledger.take_events()]
    assert all("\n" not in line for line in lines)
    return [json.loads(line) for line in lines]


def states(ledger: GoalLedger) -> list[tuple[object, object]]:
    return [(event["id"], event["state"]) for event in told(ledger)]


def test_a_sequence_runs_to_its_end_and_says_by_what_it_was_judged() -> None:
    ledger = GoalLedger(timeout_s=60.0)
    ledger.submit(TWO_STEPS, 1.0)
    assert ledger.active is None
    ledger.activate(2.0)
    goal = ledger.active
    assert goal is not None
    assert (goal.id, goal.index, goal.count, goal.words, goal.started_s) == (1, 0, 2, "1 of 2: move forward 1 m", 2.0)
    first_key = goal.key
    ledger.advance(10.0, Evidence.ODOMETRY)
    goal = ledger.active
    assert goal is not None
    assert (goal.index, goal.subgoal.text, goal.started_s) == (1, "turn right 90 deg", 10.0)
    assert goal.key != first_key
    entry = ledger.advance(15.0, Evidence.TIMED)
    assert (entry.state, entry.closed_s) == (State.REACHED, 15.0)
    assert ledger.active is None
    assert ledger.open is None
    lines = told(ledger)
    assert [line["state"] for line in lines] == ["accepted", "active", "active", "reached"]
    assert [(line["step"], line["of"], line["active_id"]) for line in lines] == [(1, 2, 0), (1, 2, 1), (2, 2, 1), (2, 2, 0)]
    assert lines[2]["evidence"] == ["odometry"]
    assert lines[3]["evidence"] == ["odometry", "timed (no odometry)"]
    assert lines[1]["doing"] == "move forward 1 m"


def test_a_rejected_goal_has_an_id_and_a_reason_and_leaves_the_open_one_alone() -> None:
    ledger = GoalLedger(timeout_s=60.0)
    ledger.submit("go to the cup", 0.0)
    ledger.activate(0.0)
    entry = ledger.submit("x" * 10_000, 1.0)
    assert (entry.id, entry.state) == (2, State.REJECTED)
    assert "too long" in entry.reason
    assert len(entry.text) <= 80
    active = ledger.active
    assert active is not None
    assert active.id == 1
    assert told(ledger)[-1]["active_id"] == 1


def test_a_new_goal_and_a_stop_preempt_the_open_one() -> None:
    ledger = GoalLedger(timeout_s=60.0)
    ledger.submit("go to the cup", 0.0)
    ledger.activate(0.0)
    ledger.submit("go to the door", 1.0)
    ledger.submit("STOP!", 2.0)
    assert states(ledger) == [
        (1, "accepted"),
        (1, "active"),
        (1, "preempted"),
        (2, "accepted"),
        (2, "preempted"),
        (3, "accepted"),
    ]
    assert [entry.reason for entry in ledger.entries] == ["replaced by goal 2", "stopped by goal 3", ""]


def test_a_change_of_mode_preempts_and_a_failure_says_why() -> None:
    ledger = GoalLedger(timeout_s=60.0)
    ledger.submit("go to the cup", 0.0)
    assert ledger.preempt(1.0, "mode changed to manual").state is State.PREEMPTED
    ledger.submit("go forward", 2.0)
    ledger.activate(2.0)
    entry = ledger.fail(3.0, "odometry was lost on the way")
    assert (entry.state, entry.reason) == (State.FAILED, "odometry was lost on the way")


def test_a_goal_expires_by_its_own_clock() -> None:
    ledger = GoalLedger(timeout_s=10.0)
    assert not ledger.expire_if_due(1e9)
    ledger.submit("go to the cup", 0.0)
    ledger.activate(5.0)
    assert not ledger.expire_if_due(15.0)
    assert ledger.expire_if_due(15.1)
    assert not ledger.expire_if_due(15.2)
    assert ledger.entries[-1].reason == "not reached within 10 s"
    ledger.submit("go to the cup", 20.0)
    assert ledger.expire_if_due(30.1)
    assert ledger.entries[-1].reason == "not begun within 10 s"


@pytest.mark.parametrize("act", ["advance", "preempt", "fail"])
def test_nothing_happens_to_a_goal_that_is_not_open(act: str) -> None:
    ledger = GoalLedger(timeout_s=10.0)
    with pytest.raises(IllegalTransitionError, match="no goal is open"):
        getattr(ledger, act)(0.0, Evidence.POLICY)


def test_a_goal_that_was_not_begun_cannot_advance() -> None:
    ledger = GoalLedger(timeout_s=10.0)
    ledger.submit(TWO_STEPS, 0.0)
    with pytest.raises(IllegalTransitionError, match="accepted, not active"):
        ledger.advance(1.0, Evidence.ODOMETRY)


def test_the_table_names_every_state_and_closed_means_closed() -> None:
    assert set(TRANSITIONS) == set(State)
    for state, following in TRANSITIONS.items():
        assert bool(following) == (state.open or state is State.TOLD)
        assert State.TOLD not in following


def test_sub_goal_keys_never_collide() -> None:
    assert MAX_STEPS < STEPS_PER_GOAL


def test_before_the_first_goal_there_is_a_line_to_publish() -> None:
    assert json.loads(GoalLedger(10.0).latest.to_json())["id"] == 0


def test_memory_is_bounded_and_the_open_goal_is_never_dropped() -> None:
    ledger = GoalLedger(timeout_s=1e9)
    ledger.submit("go to the cup", 0.0)
    ledger.activate(0.0)
    for number in range(1000):
        ledger.submit("asdf", float(number))
    assert len(ledger.entries) == 100
    assert ledger.entries[0].id == 1
    assert len(ledger.take_events()) == 256
    assert ledger.advance(1.0, Evidence.POLICY).state is State.REACHED


ACTS = st.lists(st.sampled_from(["cup", "seq", "bad", "stop", "activate", "advance", "preempt", "fail", "expire"]), max_size=60)


@given(ACTS)
def test_any_order_of_calls_keeps_the_book_straight(acts: list[str]) -> None:
    ledger = GoalLedger(timeout_s=5.0)
    texts = {"cup": "go to the cup", "seq": TWO_STEPS, "bad": "asdf", "stop": "stop"}
    seen: dict[int, State] = {}
    for now_s, act in enumerate(acts):
        try:
            if act in texts:
                ledger.submit(texts[act], float(now_s))
            elif act == "activate":
                ledger.activate(float(now_s))
            elif act == "advance":
                ledger.advance(float(now_s), Evidence.STANDING)
            elif act == "expire":
                ledger.expire_if_due(float(now_s))
            else:
                getattr(ledger, act)(float(now_s), "because")
        except IllegalTransitionError:
            pass
        for event in ledger.take_events():
            before = seen.get(event.entry.id, State.TOLD)
            assert event.entry.state in TRANSITIONS[before]
            seen[event.entry.id] = event.entry.state
        assert sum(state.open for state in seen.values()) <= 1
        active = ledger.active
        assert (active is not None) == any(state is State.ACTIVE for state in seen.values())
