"""The last ten minutes, within bounds, and no message told twice."""

from __future__ import annotations

import json

import pytest

from vla_bt.dashboard import history as module
from vla_bt.dashboard import protocol
from vla_bt.dashboard.history import KEPT_S, TRANSITIONS_KEPT, History, transitions_in


def snapshot(time_s: float) -> str:
    return protocol.message("snapshot", time_s, {"tick": int(time_s * 10), "nodes": [[0, "root", "RUNNING", "x" * 50]] * 30})


def test_a_moment_is_the_newest_that_is_not_after_it() -> None:
    history = History("robot")
    for tick in range(100):
        history.add_snapshot(tick / 10, snapshot(tick / 10))
    (wire,) = history.moment(4.25)
    assert json.loads(wire)["t"] == 4.2
    assert history.span() == (0.0, 9.9)
    assert history.moment(-1.0) == []
    assert json.loads(history.moment(float("inf"))[0])["t"] == 9.9


def test_ten_minutes_are_kept_and_no_more() -> None:
    history = History("robot")
    for second in range(int(KEPT_S) + 100):
        history.add_snapshot(float(second), snapshot(second))
        history.add_picture(float(second), protocol.picture(second, b"jpeg", second, 4, 3))
    first, last = history.span()
    assert last - first == KEPT_S
    assert len(history._pictures.times) <= KEPT_S + 2


def test_bytes_are_bounded_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 20_000)
    history = History("robot")
    for second in range(100):
        history.add_snapshot(float(second), snapshot(second))
        history.add_picture(float(second), bytes(1000))
    assert history._snapshots.size <= 10_000
    assert history._pictures.size <= 10_000 + 1000


def test_a_picture_a_second_is_kept() -> None:
    history = History("robot")
    for frame in range(50):
        assert history.wants_picture(frame / 10) is (frame % 10 == 0)
        history.add_picture(frame / 10, bytes([frame]))
    assert history.moment(2.7) == [bytes([20])]


def test_a_clock_that_began_anew_forgets_what_was() -> None:
    history = History("robot")
    history.add_snapshot(5000.0, snapshot(5000.0))
    history.add_snapshot(3.0, snapshot(3.0))
    assert history.span() == (3.0, 3.0)


def test_who_opens_late_is_told_everything_once() -> None:
    history = History("robot")
    history.add_transitions([[float(count), "Idle", "INVALID", "RUNNING", ""] for count in range(TRANSITIONS_KEPT + 50)])
    row = {"id": 1, "state": "active", "text": "go"}
    assert history.add_goal(row)
    assert not history.add_goal(dict(row))  # a latched topic says it again
    history.add_diagnostics([{"name": "gate", "level": 2}], 1.0)
    history.add_diagnostics([{"name": "gate", "level": 0}, {"name": "tree", "level": 0}], 2.0)
    history.add_snapshot(3.0, snapshot(3.0))
    told = {content["type"]: content for content in map(json.loads, history.opening())}
    assert len(told["transitions"]["rows"]) == TRANSITIONS_KEPT
    assert told["transitions"]["rows"][-1][0] == TRANSITIONS_KEPT + 49
    assert told["goals"]["rows"] == [row]
    assert told["diagnostics"]["rows"] == [{"name": "gate", "level": 0}, {"name": "tree", "level": 0}]
    assert told["snapshot"]["t"] == 3.0


def test_transitions_travel_apart_from_the_snapshot() -> None:
    rows = [[1.0, "Idle", "INVALID", "RUNNING", "why"]]
    content, wire = transitions_in(json.dumps({"time_s": 1.5, "nodes": [], "transitions": rows}))
    assert content["transitions"] == rows
    assert json.loads(wire) == {"type": "snapshot", "t": 1.5, "time_s": 1.5, "nodes": []}


@pytest.mark.parametrize(
    "text", ["", "5", "[]", "{}", '{"time_s": 1}', '{"time_s": "x", "nodes": []}', '{"time_s": 1, "nodes": 3}', "[" * 50_000]
)
def test_what_is_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(protocol.ProtocolError):
        transitions_in(text)
