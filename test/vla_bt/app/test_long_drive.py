"""A long drive is told goals in ever other words, changes some on the way, and lets the robot stand between them."""

from __future__ import annotations

import json
from typing import Any

from vla_bt.app.long_drive import BETWEEN_GOALS_S, LongDrive
from vla_bt.goals.ledger import GoalLedger


def drive(seed: int, minutes: float, reached_after_s: float = 15.0) -> tuple[LongDrive, list[tuple[float, str]], list[str]]:
    """Let a person talk to a ledger; returns the person, what was said when, and what became of it."""
    person, ledger = LongDrive(seed), GoalLedger(30.0)
    line: dict[str, Any] = {}
    said: list[tuple[float, str]] = []
    became: list[str] = []
    now_s, begun_s = 0.0, 0.0
    while now_s < 60.0 * minutes:
        now_s += 0.25
        words = person.look(now_s, line)
        if words is not None:
            assert words.put_back is (ledger.open is None)
            said.append((now_s, words.sentence))
            if ledger.submit(words.sentence, now_s).state.open:
                begun_s = now_s
            ledger.activate(now_s)
        if ledger.open is not None and now_s - begun_s > reached_after_s:
            ledger.fail(now_s, "enough")
        ledger.expire_if_due(now_s)
        events = ledger.take_events()
        became += [event.entry.state.value for event in events]
        if events:
            line = json.loads(events[-1].to_json())
    return person, said, became


def test_goals_are_many_and_changed_on_the_way() -> None:
    person, said, became = drive(0, 30.0)
    assert person.told == len(said)
    assert len(person.sentences) > 60
    assert became.count("preempted") > 20
    assert became.count("rejected") > 3
    assert person.changed >= became.count("preempted")
    assert any(sentence == "stop" for _, sentence in said)


def test_one_seed_one_drive() -> None:
    assert drive(3, 5.0)[1] == drive(3, 5.0)[1]
    assert drive(3, 5.0)[1] != drive(4, 5.0)[1]


def test_the_robot_stands_between_goals() -> None:
    person = LongDrive(1)
    closed = {"id": 1, "state": "reached", "active_id": 0}
    assert person.look(10.0, closed) is None
    assert person.look(10.0 + BETWEEN_GOALS_S - 0.1, closed) is None
    words = person.look(10.0 + BETWEEN_GOALS_S + 0.1, closed)
    assert words is not None
    assert words.put_back
    assert person.look(10.0 + BETWEEN_GOALS_S + 0.2, closed) is None, "the ledger has not said yet what it makes of it"


def test_a_refused_sentence_leaves_the_goal_open() -> None:
    person = LongDrive(1)
    person.look(0.0, {})
    words = person.look(5.0, {})
    assert words is not None
    for count in range(100):
        later = person.look(6.0 + count, {"id": 2, "state": "rejected", "active_id": 1})
        if later is not None:
            assert not later.put_back
